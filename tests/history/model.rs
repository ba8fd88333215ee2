//! The sequential model: the records of the log one after the other, each of which must be legal
//! given those before it, and what every ticket, booking and counter was at any position.
//!
//! A *position* `x` stands for the state after all records with an LSN below `x`. What a client saw
//! is looked for between two positions, so everything is kept with the positions that it held for.

use std::collections::{BTreeMap, HashMap};

use booking_manager::domain::{
    BookingId, BookingStatus, EventNumber, RowNumber, SlotIndex, TicketStatus, UserNumber,
};

use super::records::{Deed, How, Record};
use super::violations::Kind;

/// Positions from `low` to `high`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Window {
    fn meets(self, from: u64, to: u64) -> bool {
        from <= self.high && to >= self.low
    }
}

/// All events, until they are forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) shows: BTreeMap<EventNumber, Show>,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    price: i64,
    pub(crate) created_at: u64,
    seats: Vec<Seat>,
    bookings: HashMap<RowNumber, Booking>,
    /// Every change of the counters, in the order of the log.
    pub(crate) changes: Vec<Change>,
}

/// A ticket: which bookings took it, at which LSN.
#[derive(Clone, Debug, Default)]
struct Seat {
    takes: Vec<(u64, RowNumber)>,
}

/// A booking.
#[derive(Clone, Debug)]
pub(crate) struct Booking {
    pub(crate) id: BookingId,
    pub(crate) user: UserNumber,
    pub(crate) slots: Box<[SlotIndex]>,
    pub(crate) total: i64,
    pub(crate) created_at: u64,
    pub(crate) deadline: u64,
    /// The LSN of the record that made it.
    pub(crate) held: u64,
    pub(crate) end: Option<End>,
}

/// The end of a pending booking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) lsn: u64,
    pub(crate) at: u64,
    pub(crate) how: How,
}

/// A change of an event's counters and what they were after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) lsn: u64,
    pub(crate) row: RowNumber,
    pub(crate) reserved: i64,
    pub(crate) sold: i64,
}

/// What a ticket was for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SeatState<'m> {
    /// Free since this time: the event's creation, or the end of the booking before.
    Free(u64),
    Reserved(&'m Booking),
    Sold(&'m Booking, u64),
}

impl SeatState<'_> {
    pub(crate) fn status(self) -> TicketStatus {
        match self {
            Self::Free(_) => TicketStatus::Available,
            Self::Reserved(_) => TicketStatus::Reserved,
            Self::Sold(..) => TicketStatus::Sold,
        }
    }
}

impl Booking {
    /// Whether it had this status at some position of the window.
    pub(crate) fn had(&self, status: BookingStatus, window: Window) -> bool {
        let until = self.end.map_or(u64::MAX, |end| end.lsn);
        let ended_so = self.end.is_some_and(|end| end.status() == status);
        let pending = status == BookingStatus::Pending && window.meets(self.held + 1, until);
        pending || ended_so && window.meets(until.saturating_add(1), u64::MAX)
    }

    fn is_live(&self) -> bool {
        self.end.is_none_or(|end| end.how == How::Confirmed)
    }
}

impl End {
    pub(crate) fn status(self) -> BookingStatus {
        match self.how {
            How::Confirmed => BookingStatus::Confirmed,
            How::Cancelled => BookingStatus::Cancelled,
            How::Expired => BookingStatus::Expired,
        }
    }
}

/// What is wrong with a record, and a word about it.
pub(crate) type Illegal = (Kind, String);

fn illegal(kind: Kind, what: impl Into<String>) -> Result<(), Illegal> {
    Err((kind, what.into()))
}

impl Model {
    pub(crate) fn show(&self, event: EventNumber) -> Option<&Show> {
        self.shows.get(&event)
    }

    /// The booking that an id names, tag and all.
    pub(crate) fn booking(&self, id: BookingId) -> Option<&Booking> {
        self.show(id.event)?.bookings.get(&id.row).filter(|booking| booking.id == id)
    }

    pub(crate) fn booking_at(&self, event: EventNumber, row: RowNumber) -> Option<&Booking> {
        self.show(event)?.bookings.get(&row)
    }

    /// Applies a record. One that is illegal leaves the model as it was.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        match &record.deed {
            Deed::User | Deed::KeyBound(_) => Ok(()),
            Deed::Event { event, seats, price } => {
                let show = Show {
                    price: *price,
                    created_at: record.at,
                    seats: vec![Seat::default(); *seats as usize],
                    bookings: HashMap::new(),
                    changes: Vec::new(),
                };
                match self.shows.insert(*event, show) {
                    None => Ok(()),
                    Some(_) => illegal(Kind::IllegalRecord, "an event is made twice"),
                }
            }
            Deed::Held { booking, .. } => match self.shows.get_mut(&booking.event) {
                Some(show) => show.hold(record),
                None => illegal(Kind::IllegalRecord, "a booking of no event"),
            },
            Deed::Ended { event, row, how } => match self.shows.get_mut(event) {
                Some(show) => show.end(*row, *how, record),
                None => illegal(Kind::IllegalRecord, "the end of a booking of no event"),
            },
        }
    }

    /// Forgets the events below `event` at which nothing can happen any more.
    pub(crate) fn forget_before(&mut self, event: EventNumber) {
        let is_over = |show: &Show| show.bookings.values().all(|booking| booking.end.is_some());
        self.shows.retain(|number, show| *number >= event || !is_over(show));
    }
}

impl Show {
    pub(crate) fn seats(&self) -> u32 {
        u32::try_from(self.seats.len()).expect("an event has fewer")
    }

    fn hold(&mut self, record: &Record) -> Result<(), Illegal> {
        let Deed::Held { booking: id, user, slots, total, deadline } = &record.deed else {
            return Ok(());
        };
        if self.bookings.contains_key(&id.row) {
            return illegal(Kind::IllegalRecord, "a row is used twice");
        }
        if slots.is_empty() || !slots.is_sorted_by(|a, b| a < b) {
            return illegal(Kind::IllegalRecord, "its slots are none or not in order");
        }
        if *total != self.price * slots.len() as i64 {
            return illegal(Kind::IllegalRecord, "the total is not the sum of the prices");
        }
        for slot in slots {
            let Some(seat) = self.seats.get(slot.index()) else {
                return illegal(Kind::IllegalRecord, "a seat that there is not");
            };
            let holder = seat.takes.last().and_then(|(_, row)| self.bookings.get(row));
            if let Some(holder) = holder.filter(|holder| holder.is_live()) {
                let what = format!("seat {} is taken by {holder:?}", slot.seat_number());
                return illegal(Kind::TicketTaken, what);
            }
        }
        for slot in slots {
            self.seats[slot.index()].takes.push((record.lsn, id.row));
        }
        self.change(record.lsn, id.row, slots.len() as i64, 0);
        let booking = Booking {
            id: *id,
            user: *user,
            slots: slots.clone(),
            total: *total,
            created_at: record.at,
            deadline: *deadline,
            held: record.lsn,
            end: None,
        };
        self.bookings.insert(id.row, booking);
        Ok(())
    }

    fn end(&mut self, row: RowNumber, how: How, record: &Record) -> Result<(), Illegal> {
        let Some(booking) = self.bookings.get_mut(&row) else {
            return illegal(Kind::NotPending, "the end of a booking that was not made");
        };
        if booking.end.is_some() {
            return illegal(Kind::NotPending, format!("it had ended: {booking:?}"));
        }
        let lapsed = record.at >= booking.deadline;
        match (how, lapsed) {
            (How::Expired, false) => {
                return illegal(
                    Kind::ExpiredEarly,
                    format!("the deadline lies ahead: {booking:?}"),
                );
            }
            (How::Confirmed | How::Cancelled, true) => {
                return illegal(Kind::EndedLate, format!("the deadline had passed: {booking:?}"));
            }
            (How::Expired, true) | (How::Confirmed | How::Cancelled, false) => {}
        }
        booking.end = Some(End { lsn: record.lsn, at: record.at, how });
        let count = booking.slots.len() as i64;
        let sold = if how == How::Confirmed { count } else { 0 };
        self.change(record.lsn, row, -count, sold);
        Ok(())
    }

    fn change(&mut self, lsn: u64, row: RowNumber, reserved: i64, sold: i64) {
        let before = self.changes.last().map_or((0, 0), |last| (last.reserved, last.sold));
        let change = Change { lsn, row, reserved: before.0 + reserved, sold: before.1 + sold };
        self.changes.push(change);
    }

    pub(crate) fn slots_of(&self, row: RowNumber) -> &[SlotIndex] {
        self.bookings.get(&row).map_or(&[], |booking| &booking.slots)
    }

    /// Whether a ticket was in such a state at some position of the window.
    pub(crate) fn seat_was(
        &self,
        slot: SlotIndex,
        window: Window,
        mut such: impl FnMut(SeatState<'_>) -> bool,
    ) -> bool {
        let Some(Seat { takes }) = self.seats.get(slot.index()) else {
            return false;
        };
        let begins = takes.partition_point(|(lsn, _)| *lsn < window.low).saturating_sub(1);
        let first = takes.first().map_or(u64::MAX, |(lsn, _)| *lsn);
        if window.meets(0, first) && such(SeatState::Free(self.created_at)) {
            return true;
        }
        for (place, (taken, row)) in takes.iter().enumerate().skip(begins) {
            if *taken >= window.high {
                break;
            }
            let booking = &self.bookings[row];
            let ended = booking.end.map_or(u64::MAX, |end| end.lsn);
            if window.meets(taken + 1, ended) && such(SeatState::Reserved(booking)) {
                return true;
            }
            let Some(end) = booking.end else {
                continue;
            };
            let next = takes.get(place + 1).map_or(u64::MAX, |(lsn, _)| *lsn);
            let state = match end.how {
                How::Confirmed => SeatState::Sold(booking, end.at),
                How::Cancelled | How::Expired => SeatState::Free(end.at),
            };
            if window.meets(end.lsn + 1, next) && such(state) {
                return true;
            }
        }
        false
    }

    /// Whether the last booking of a ticket before `below` expired at or behind `low`.
    pub(crate) fn expired_within(&self, slot: SlotIndex, low: u64, below: u64) -> bool {
        let Some(Seat { takes }) = self.seats.get(slot.index()) else {
            return false;
        };
        let taken = takes.partition_point(|(lsn, _)| *lsn < below);
        let last = taken.checked_sub(1).map(|last| &self.bookings[&takes[last].1]);
        let end = last.and_then(|booking| booking.end);
        end.is_some_and(|end| end.how == How::Expired && end.lsn >= low && end.lsn < below)
    }

    /// What a ticket was at a position, in words.
    pub(crate) fn tell_seat(&self, slot: SlotIndex, window: Window) -> String {
        let mut told = Vec::new();
        self.seat_was(slot, window, |state| {
            told.push(format!("{state:?}"));
            false
        });
        format!("seat {} was, one after the other: {}", slot.seat_number(), told.join("; "))
    }
}
