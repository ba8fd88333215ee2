//! What clients do with bookings: hold, show, confirm, cancel.
//!
//! This is the ladder of checks around the slot protocol, in the order in which refusals win:
//! the shape of the request, the user, the event, the tickets, the lane, the idempotency key, and
//! last the seats.

use wal::Urgency;

use super::answer::{Answer, BookingView, Ended, Hold, Made, Open};
use super::catalog::Event;
use super::idempotency::Key;
use super::ledger::{NoRoom, Place, Position};
use super::row::{OwnedStamp, Row, State, Terms, Word};
use super::slots::{Ending, HoldOutcome, Taken, Turn};
use super::user::User;
use super::{Engine, HoldRequest};
use crate::domain::{
    BookingId, BookingStatus, Conflict, Fact, KeyBound, PublicId, Refusal, RequestStamp, RowNumber,
    SlotIndex, Slots, Subject, TICKETS_PER_BOOKING_MAX, Tag, TicketStatus, Timestamp,
};
use crate::sync::{Ordering, yield_now};

/// How often an owner that was helped looks for the LSN that the helper leaves.
const LSN_LOOKS: u32 = 8;

impl Engine {
    /// Takes tickets for a user, all or none.
    ///
    /// Refused: `DuplicateTickets`, `TooManyTickets`, `UserNotFound`, `EventNotFound`,
    /// `UnknownTickets`, `TotalTooLarge`, `Overloaded`, `RequestInFlight`, `KeyReused`,
    /// `SeatsUnavailable`, `StorageUnavailable`.
    pub fn hold(&self, request: &HoldRequest<'_>) -> Answer<'_, Made> {
        let (user, event, slots) = match self.check_hold(request) {
            Ok(checked) => checked,
            Err(refusal) => return self.refused(refusal),
        };
        let Some(lane) = self.lanes.enter(event.id.number) else {
            return self.refused(Refusal::Overloaded);
        };
        let mut answer = self.keyed(request.stamp, |key| match key.replay() {
            Some((subject, at)) => Ok((self.made_before(subject, at)?, None)),
            None => self.hold_slots(user, event, &slots, request.stamp, key),
        });
        answer.open.lane = Some(lane);
        answer
    }

    fn check_hold(
        &self,
        request: &HoldRequest<'_>,
    ) -> Result<(&User, &Event, Vec<SlotIndex>), Refusal> {
        if request.tickets.len() > TICKETS_PER_BOOKING_MAX {
            return Err(Refusal::TooManyTickets);
        }
        refuse_duplicates(request.tickets)?;
        let user = self.store.users.find(request.user).ok_or(Refusal::UserNotFound)?;
        let event = self.find_event(request.event).ok_or(Refusal::EventNotFound)?;
        let mut slots = Vec::with_capacity(request.tickets.len());
        slots.extend(request.tickets.iter().filter_map(|&id| event.slot_of(id)));
        if slots.len() < request.tickets.len() || slots.is_empty() {
            let unknown = |id: &&PublicId| event.slot_of(**id).is_none();
            let unknown = request.tickets.iter().filter(unknown).copied().collect();
            return Err(Refusal::UnknownTickets(unknown));
        }
        slots.sort_unstable();
        Ok((user, event, slots))
    }

    fn hold_slots(
        &self,
        user: &User,
        event: &Event,
        slots: &[SlotIndex],
        stamp: Option<RequestStamp<'_>>,
        key: &mut Key<'_>,
    ) -> Result<(Made, Option<Position>), Refusal> {
        let now = self.clock.now();
        let terms = Terms {
            tag: Tag::new(rand::random()),
            user: user.id.number,
            slots: Slots::new(slots),
            total: event.details.total_of(slots).ok_or(Refusal::TotalTooLarge)?,
            created_at: now,
            ttl_millis: self.hold_ttl_millis,
            stamp: stamp.map(OwnedStamp::new),
        };
        let turn = Turn { ledger: &self.log, now, urgency: Urgency::Take };
        let claim = || self.claim_booking();
        let link = |number, row: &Row| user.link(event.id.number, number, row);
        match event.seats.hold(turn, &terms, claim, link).map_err(no_room)? {
            HoldOutcome::Made { row: number, position } => {
                let row = event.seats.row(number).expect("it was just made");
                let position = position.or_else(|| self.helped_position(row));
                self.due.push((terms.deadline(), event.id.number, number));
                key.succeeded(Subject::Held(event.id.number, number), now);
                Ok((self.made(event, number, row, Hold::New, now), position))
            }
            HoldOutcome::Taken(taken) => {
                let Some((number, row)) = held_already(event, user, slots, &taken) else {
                    return Err(Refusal::SeatsUnavailable(conflicts(event, user, &taken)));
                };
                let subject = Subject::HeldAlready(event.id.number, number);
                // Two requests at once: the other may have made it after this one read the clock.
                let now = now.max(row.terms.created_at);
                let position = self.bind(stamp, subject, now, key)?;
                Ok((self.made(event, number, row, Hold::Existing, now), position))
            }
            HoldOutcome::UserGone => Err(Refusal::UserNotFound),
            HoldOutcome::OverBound => Err(Refusal::Overloaded),
            HoldOutcome::TableFull => {
                self.store.bookings.fetch_sub(1, Ordering::Relaxed);
                Err(Refusal::Overloaded)
            }
        }
    }

    /// Makes room for one more booking under the bound of all.
    fn claim_booking(&self) -> bool {
        let more = |bookings| (bookings < self.bookings_max).then_some(bookings + 1);
        let bookings = &self.store.bookings;
        bookings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Where the record of a booking is that another thread wrote: its LSN if that thread says so
    /// soon, and a mark that certainly lies behind it.
    fn helped_position(&self, row: &Row) -> Option<Position> {
        for _ in 0..LSN_LOOKS {
            if let Some(lsn) = row.lsn() {
                return Some(Position { lsn, wait_for: self.log.reserved() });
            }
            yield_now();
        }
        None
    }

    /// Logs what a key stands for from now on, when nothing else had to be logged.
    fn bind(
        &self,
        stamp: Option<RequestStamp<'_>>,
        subject: Subject,
        at: Timestamp,
        key: &mut Key<'_>,
    ) -> Result<Option<Position>, Refusal> {
        let Some(stamp) = stamp else { return Ok(None) };
        let fact = Fact::KeyBound(KeyBound { stamp, subject, at });
        let position = self.reserve(Urgency::Take, &fact)?.fill();
        key.succeeded(subject, at);
        Ok(Some(position))
    }

    /// The booking as it was when a request for it succeeded: pending.
    fn made(
        &self,
        event: &Event,
        number: RowNumber,
        row: &Row,
        hold: Hold,
        answered_at: Timestamp,
    ) -> Made {
        let pending = Word::new(State::Pending, row.terms.deadline());
        let booking =
            self.booking_view(event, number, row, pending).expect("a pending word has a status");
        Made { booking, hold, answered_at, replayed: false }
    }

    fn made_before(&self, subject: Subject, at: Timestamp) -> Result<Made, Refusal> {
        let (event, number, hold) = match subject {
            Subject::Held(event, number) => (event, number, Hold::New),
            Subject::HeldAlready(event, number) => (event, number, Hold::Existing),
            Subject::UserCreated(_)
            | Subject::EventCreated(_)
            | Subject::Confirmed(..)
            | Subject::Cancelled(..) => return Err(Refusal::KeyReused),
        };
        let (event, row) = self.linked(event, number);
        Ok(Made { replayed: true, ..self.made(event, number, row, hold, at) })
    }

    /// Shows a booking.
    ///
    /// Refused: `BookingNotFound`.
    pub fn booking(&self, id: PublicId) -> Answer<'_, BookingView> {
        self.answer(|| {
            let (event, number, row) = self.find_booking(id).ok_or(Refusal::BookingNotFound)?;
            let turn = self.turn(Urgency::Take);
            let word = self.settled_or_read(event, turn, number, row);
            let view = self.booking_view(event, number, row, word);
            Ok((view.ok_or(Refusal::BookingNotFound)?, None))
        })
    }

    /// Confirms a pending booking of `user`; one that is confirmed already stays so.
    ///
    /// Refused: `UserNotFound`, `BookingNotFound`, `NotYourBooking`, `RequestInFlight`,
    /// `KeyReused`, `BookingExpired`, `BookingCancelled`, `StorageUnavailable`.
    pub fn confirm(
        &self,
        booking: PublicId,
        user: PublicId,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Ended> {
        self.end(booking, user, stamp, Ending::Confirm)
    }

    /// Cancels a pending booking of `user`; one that is cancelled already stays so.
    ///
    /// Refused: `UserNotFound`, `BookingNotFound`, `NotYourBooking`, `RequestInFlight`,
    /// `KeyReused`, `BookingExpired`, `AlreadyConfirmed`, `StorageUnavailable`.
    pub fn cancel(
        &self,
        booking: PublicId,
        user: PublicId,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Ended> {
        self.end(booking, user, stamp, Ending::Cancel)
    }

    fn end(
        &self,
        booking: PublicId,
        user: PublicId,
        stamp: Option<RequestStamp<'_>>,
        ending: Ending,
    ) -> Answer<'_, Ended> {
        let (event, number, row) = match self.check_owner(booking, user) {
            Ok(found) => found,
            Err(refusal) => return self.refused(refusal),
        };
        let view = |word, replayed| {
            let booking = self.booking_view(event, number, row, word);
            booking.map(|booking| Ended { booking, replayed }).ok_or(Refusal::BookingNotFound)
        };
        self.keyed(stamp, |key| {
            if key.replay().is_some() {
                return Ok((view(row.word(), true)?, None));
            }
            let now = self.clock.now();
            let turn = Turn { ledger: &self.log, now, urgency: Urgency::Release };
            let (word, own) = event.seats.end(turn, number, row, ending, stamp).map_err(no_room)?;
            refuse_other_end(word, ending)?;
            let subject = match ending {
                Ending::Confirm => Subject::Confirmed(event.id.number, number),
                Ending::Cancel => Subject::Cancelled(event.id.number, number),
            };
            let position = match own {
                Some(position) => {
                    key.succeeded(subject, now);
                    Some(position)
                }
                None => self.bind(stamp, subject, now, key)?,
            };
            Ok((view(word, false)?, position))
        })
    }

    fn check_owner(
        &self,
        booking: PublicId,
        user: PublicId,
    ) -> Result<(&Event, RowNumber, &Row), Refusal> {
        let user = self.store.users.find(user).ok_or(Refusal::UserNotFound)?;
        let (event, number, row) = self.find_booking(booking).ok_or(Refusal::BookingNotFound)?;
        if row.terms.user != user.id.number {
            return Err(Refusal::NotYourBooking);
        }
        Ok((event, number, row))
    }

    /// A row's word, settled if the log lets it be, for readers: a lapsed hold that cannot be
    /// expired because the log has no room is still there.
    pub(super) fn settled_or_read(
        &self,
        event: &Event,
        turn: Turn<'_, wal::Log>,
        number: RowNumber,
        row: &Row,
    ) -> Word {
        event.seats.settle(turn, number, row).unwrap_or_else(|NoRoom| row.word())
    }

    /// A booking as clients see it, unless it has not come to be.
    pub(super) fn booking_view(
        &self,
        event: &Event,
        number: RowNumber,
        row: &Row,
        word: Word,
    ) -> Option<BookingView> {
        let status = word.status()?;
        let terms = &row.terms;
        let user =
            self.store.users.table.get(terms.user.get()).expect("a row names a user that exists");
        let updated_at = match status {
            BookingStatus::Pending => terms.created_at,
            BookingStatus::Confirmed | BookingStatus::Cancelled | BookingStatus::Expired => {
                word.time()
            }
        };
        Some(BookingView {
            id: BookingId { event: event.id.number, row: number, tag: terms.tag },
            user: user.id,
            event: event.id,
            tickets: terms.slots.as_slice().iter().map(|&slot| event.ticket(slot)).collect(),
            status,
            total: terms.total,
            currency: event.details.currency,
            created_at: terms.created_at,
            updated_at,
            expires_at: terms.deadline(),
        })
    }

    /// An answer that refuses.
    fn refused<T>(&self, refusal: Refusal) -> Answer<'_, T> {
        Answer { result: Err(refusal), position: self.position(), open: Open::default() }
    }
}

fn no_room(_: NoRoom) -> Refusal {
    Refusal::StorageUnavailable
}

/// Refuses ids that are named more than once, each once.
fn refuse_duplicates(tickets: &[PublicId]) -> Result<(), Refusal> {
    if tickets.len() < 2 {
        return Ok(());
    }
    let mut sorted = tickets.to_vec();
    sorted.sort_unstable();
    let mut duplicates: Vec<_> =
        sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    duplicates.dedup();
    if duplicates.is_empty() { Ok(()) } else { Err(Refusal::DuplicateTickets(duplicates)) }
}

/// The user's own pending booking of exactly these slots, if that is what has taken them.
fn held_already<'e>(
    event: &'e Event,
    user: &User,
    slots: &[SlotIndex],
    taken: &[Taken],
) -> Option<(RowNumber, &'e Row)> {
    let first = taken.first()?;
    let row = event.seats.row(first.row)?;
    let same = taken.len() == slots.len()
        && row.terms.user == user.id.number
        && row.terms.slots.as_slice() == slots
        && taken.iter().all(|t| t.row == first.row && t.word.state() == State::Pending);
    same.then_some((first.row, row))
}

fn conflicts(event: &Event, user: &User, taken: &[Taken]) -> Vec<Conflict> {
    let conflict = |taken: &Taken| {
        let row = event.seats.row(taken.row).expect("a slot names a row that is complete");
        let id = BookingId { event: event.id.number, row: taken.row, tag: row.terms.tag };
        let sold = taken.word.state() == State::Confirmed;
        Conflict {
            ticket: event.ticket(taken.slot),
            slot: taken.slot,
            status: if sold { TicketStatus::Sold } else { TicketStatus::Reserved },
            held_by_you: (row.terms.user == user.id.number).then_some(id),
        }
    };
    taken.iter().map(conflict).collect()
}

/// Refuses if the booking's end is not the one that was asked for.
fn refuse_other_end(word: Word, ending: Ending) -> Result<(), Refusal> {
    match (word.state(), ending) {
        (State::Confirmed, Ending::Confirm) | (State::Cancelled, Ending::Cancel) => Ok(()),
        (State::Confirmed, Ending::Cancel) => Err(Refusal::AlreadyConfirmed),
        (State::Cancelled, Ending::Confirm) => Err(Refusal::BookingCancelled),
        (State::Expired, _) => Err(Refusal::BookingExpired),
        (State::RefusedConflict | State::RefusedNoRoom, _) => Err(Refusal::BookingNotFound),
        (State::Acquiring | State::Pending, _) => unreachable!("the protocol ended it"),
    }
}
