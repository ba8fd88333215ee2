//! What an image is made of.

use super::ReplayError::{self, Illegal};
use super::hash::{BookingEntry, UserEntry};
use super::pages::Pages;
use crate::domain::{
    Amount, BookingId, BookingStatus, Email, EventDetails, EventId, EventNumber, PersonName,
    RowNumber, SlotIndex, Slots, Subject, Tag, TicketId, TicketKey, TicketStatus, Timestamp,
    UserId, UserNumber,
};

/// Where a booking is: its event, and its row there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BookingPlace {
    /// The event.
    pub event: EventNumber,
    /// The row.
    pub row: RowNumber,
}

/// A user, perhaps deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The e-mail address; free for others once the user is deleted.
    pub email: Email,
    /// The name.
    pub name: PersonName,
    /// Since when.
    pub created_at: Timestamp,
    /// When address or name were set last.
    pub updated_at: Timestamp,
    /// When the user was deleted, if so.
    pub deleted_at: Option<Timestamp>,
    /// The user's newest booking; each booking leads on to the one before.
    pub newest: Option<BookingPlace>,
    /// How many of the user's bookings are live.
    pub(super) live: u32,
}

impl User {
    pub(super) fn hashed(&self) -> UserEntry<'_> {
        UserEntry {
            id: self.id,
            email: self.email.as_str(),
            name: self.name.as_str(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted: self.deleted_at.is_some(),
        }
    }
}

/// A booking that was made, whatever became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Booking {
    /// The random part of its id.
    pub tag: Tag,
    /// Whose it is.
    pub user: UserNumber,
    /// Its tickets.
    pub slots: Slots,
    /// The sum of their prices.
    pub total: Amount,
    /// When it was made.
    pub created_at: Timestamp,
    /// How long it is or was held unless confirmed, in milliseconds.
    pub ttl_millis: u32,
    /// Where it stands.
    pub status: BookingStatus,
    /// When it was confirmed, cancelled or expired; when it was made, if it is pending.
    pub changed_at: Timestamp,
    /// The LSN of the record that made it.
    pub made_at: wal::Lsn,
    /// The same user's booking before this one.
    pub earlier: Option<BookingPlace>,
}

impl Booking {
    pub(super) fn hashed(&self, event: EventNumber, row: RowNumber) -> BookingEntry<'_> {
        BookingEntry {
            event,
            row,
            tag: self.tag,
            user: self.user,
            status: self.status,
            changed_at: self.changed_at,
            total: self.total,
            created_at: self.created_at,
            deadline: self.deadline(),
            slots: self.slots.as_slice(),
        }
    }

    /// Until when it is or was held.
    pub fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.created_at.millis() + u64::from(self.ttl_millis))
    }

    /// Whether it keeps its tickets from others.
    pub const fn is_live(&self) -> bool {
        match self.status {
            BookingStatus::Pending | BookingStatus::Confirmed => true,
            BookingStatus::Cancelled | BookingStatus::Expired => false,
        }
    }
}

/// A ticket as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The id.
    pub id: TicketId,
    /// Available, reserved or sold.
    pub status: TicketStatus,
    /// Since when.
    pub updated_at: Timestamp,
    /// The live booking that has it.
    pub holder: Option<RowNumber>,
}

/// An event with its seats and bookings.
#[derive(Clone, Debug)]
pub struct Event {
    /// The id.
    pub id: EventId,
    /// The secret of its tickets' ids.
    pub ticket_key: TicketKey,
    /// What the organiser said of it.
    pub details: EventDetails,
    /// Since when.
    pub created_at: Timestamp,
    /// For each seat the row that last took it, 0 for none.
    pub(super) slots: Box<[u32]>,
    /// By row number less one.
    pub(super) bookings: Pages<Booking>,
    pub(super) reserved: u32,
    pub(super) sold: u32,
}

impl Event {
    pub(super) fn new(
        id: EventId,
        ticket_key: TicketKey,
        details: EventDetails,
        created_at: Timestamp,
    ) -> Self {
        let slots = vec![0; details.total_seats as usize].into_boxed_slice();
        let bookings = Pages::default();
        Self { id, ticket_key, details, created_at, slots, bookings, reserved: 0, sold: 0 }
    }

    /// Tickets under a hold.
    pub const fn reserved(&self) -> u32 {
        self.reserved
    }

    /// Tickets sold.
    pub const fn sold(&self) -> u32 {
        self.sold
    }

    /// Tickets that are neither.
    pub const fn available(&self) -> u32 {
        self.details.total_seats - self.reserved - self.sold
    }

    /// The booking of a row.
    pub fn booking(&self, row: RowNumber) -> Option<&Booking> {
        self.bookings.get(row.get().checked_sub(1)?)
    }

    pub(super) fn booking_mut(&mut self, row: RowNumber) -> Option<&mut Booking> {
        self.bookings.get_mut(row.get().checked_sub(1)?)
    }

    /// All bookings in the order of their rows.
    pub fn bookings(&self) -> impl Iterator<Item = (RowNumber, &Booking)> {
        self.bookings.iter().map(|(index, booking)| (RowNumber::new(index + 1), booking))
    }

    /// The public id of a booking.
    pub fn booking_id(&self, row: RowNumber, booking: &Booking) -> BookingId {
        BookingId { event: self.id.number, row, tag: booking.tag }
    }

    /// The row that last took a seat, whatever became of it since; `None` also for a seat that is
    /// not there.
    pub fn last_taker(&self, slot: SlotIndex) -> Option<RowNumber> {
        let row = *self.slots.get(slot.index())?;
        (row != 0).then(|| RowNumber::new(row))
    }

    /// Puts a booking of a snapshot in its place. Of those that took a seat, the one whose record
    /// stands last took it last.
    pub(super) fn restore(&mut self, row: RowNumber, booking: Booking) -> Result<(), ReplayError> {
        let (count, made_at) = (booking.slots.count(), booking.made_at);
        for &slot in booking.slots.as_slice() {
            let taker = self.last_taker(slot).and_then(|row| self.booking(row));
            if taker.is_none_or(|taker| taker.made_at < made_at) {
                self.slots[slot.index()] = row.get();
            }
        }
        match booking.status {
            BookingStatus::Pending => self.reserved += count,
            BookingStatus::Confirmed => self.sold += count,
            BookingStatus::Cancelled | BookingStatus::Expired => {}
        }
        let vacant = self.bookings.set(row.get() - 1, booking);
        if vacant { Ok(()) } else { Err(Illegal("a row used twice")) }
    }

    /// Checks that a live booking has its tickets, and that its price is right.
    pub(super) fn check_held(&self, row: RowNumber, booking: &Booking) -> Result<(), ReplayError> {
        let slots = booking.slots.as_slice();
        if self.details.total_of(slots) != Some(booking.total) {
            return Err(Illegal("a booking whose total is not the sum of its prices"));
        }
        let taken = slots.iter().all(|&slot| self.last_taker(slot) == Some(row));
        if booking.is_live() && !taken {
            return Err(Illegal("a live booking of a ticket that another took later"));
        }
        Ok(())
    }

    /// All tickets in seat order.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> {
        (0..self.details.total_seats).map(|index| {
            let slot = SlotIndex::new(index);
            let id = self.ticket_key.ticket(self.id.number, slot);
            let taker = self.last_taker(slot).and_then(|row| Some((row, self.booking(row)?)));
            let Some((row, booking)) = taker else {
                let (status, updated_at) = (TicketStatus::Available, self.created_at);
                return Ticket { id, status, updated_at, holder: None };
            };
            let status = match booking.status {
                BookingStatus::Pending => TicketStatus::Reserved,
                BookingStatus::Confirmed => TicketStatus::Sold,
                BookingStatus::Cancelled | BookingStatus::Expired => TicketStatus::Available,
            };
            let holder = booking.is_live().then_some(row);
            Ticket { id, status, updated_at: booking.changed_at, holder }
        })
    }

    /// Gives its parts away: what the engine is built from.
    pub fn into_parts(self) -> (Box<[u32]>, impl Iterator<Item = (RowNumber, Booking)>) {
        let bookings = self.bookings.into_iter();
        (self.slots, bookings.map(|(index, booking)| (RowNumber::new(index + 1), booking)))
    }
}

/// What an idempotency key stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyEntry {
    /// A hash of the request.
    pub fingerprint: u128,
    /// The success to give again.
    pub subject: Subject,
    /// When it was bound.
    pub at: Timestamp,
}
