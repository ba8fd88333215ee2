//! The rows of the tables, and the order of their columns.
//!
//! Each `columns` names the columns of a table in the order in which `put` writes them.

use jiff::Timestamp as Instant;

use super::copy::Copy;
use crate::domain::{
    Amount, BookingId, BookingStatus, Currency, EventId, RowNumber, SlotIndex, TicketKey,
    TicketStatus, Timestamp, UserId,
};

/// A row of `users`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UserRow {
    pub(super) id: UserId,
    pub(super) email: Box<str>,
    pub(super) name: Box<str>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) deleted_at: Option<Timestamp>,
}

impl UserRow {
    pub(super) const COPY: &str = "COPY users (id, email, name, created_at, updated_at, deleted_at) FROM STDIN (FORMAT binary)";

    pub(super) fn put(&self, copy: &mut Copy) {
        copy.row(6)
            .id(self.id.public())
            .text(&self.email)
            .text(&self.name)
            .time(self.created_at)
            .time(self.updated_at)
            .maybe_time(self.deleted_at);
    }
}

/// A row of `events`, with the secret of its tickets' ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct EventRow {
    pub(super) id: EventId,
    pub(super) ticket_key: TicketKey,
    pub(super) name: Box<str>,
    pub(super) artist: Box<str>,
    pub(super) venue: Box<str>,
    pub(super) date: Box<str>,
    pub(super) total_seats: u32,
    pub(super) price: Amount,
    pub(super) currency: Currency,
    pub(super) created_at: Timestamp,
}

impl EventRow {
    pub(super) const COPY: &str = "COPY events (id, name, artist, venue, date, starts_at, total_seats, price, \
         currency, created_at, updated_at) FROM STDIN (FORMAT binary)";
    pub(super) const COPY_KEYS: &str =
        "COPY booking_mirror_events (event_id, ticket_key) FROM STDIN (FORMAT binary)";

    pub(super) fn put(&self, copy: &mut Copy) {
        copy.row(11)
            .id(self.id.public())
            .text(&self.name)
            .text(&self.artist)
            .text(&self.venue)
            .text(&self.date);
        match starts_at(&self.date) {
            Some(micros) => copy.raw(&micros.to_be_bytes()),
            None => copy.null(),
        };
        copy.integer(self.total_seats)
            .money(self.price, self.currency)
            .text(self.currency.code())
            .time(self.created_at)
            // What was said of an event never changes.
            .time(self.created_at);
    }

    pub(super) fn put_key(&self, copy: &mut Copy) {
        copy.row(2).id(self.id.public()).raw(&self.ticket_key.reveal().to_be_bytes());
    }
}

/// Microseconds since 2000 of a date as it was sent.
pub(super) fn starts_at(date: &str) -> Option<i64> {
    const EPOCH_MICROS: i64 = 946_684_800_000_000;
    let instant: Instant = date.parse().ok()?;
    Some(instant.as_microsecond() - EPOCH_MICROS)
}

/// A row of `bookings`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BookingRow {
    pub(super) id: BookingId,
    pub(super) user: UserId,
    pub(super) event: EventId,
    pub(super) ticket_key: TicketKey,
    pub(super) slots: Box<[SlotIndex]>,
    pub(super) status: BookingStatus,
    pub(super) total: Amount,
    pub(super) currency: Currency,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl BookingRow {
    pub(super) const COPY: &str = "COPY bookings (id, user_id, event_id, ticket_ids, status, total_amount, \
         currency, created_at, updated_at, expires_at) FROM STDIN (FORMAT binary)";

    pub(super) fn put(&self, copy: &mut Copy) {
        let ticket = |&slot: &SlotIndex| self.ticket_key.ticket(self.event.number, slot).public();
        copy.row(10)
            .id(self.id.public())
            .id(self.user.public())
            .id(self.event.public())
            .ids(self.slots.iter().map(ticket))
            .text(self.status.name())
            .money(self.total, self.currency)
            .text(self.currency.code())
            .time(self.created_at)
            .time(self.updated_at)
            .time(self.expires_at);
    }
}

/// What the tickets of an event have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seats {
    pub(super) event: EventId,
    pub(super) ticket_key: TicketKey,
    pub(super) price: Amount,
    pub(super) currency: Currency,
    pub(super) created_at: Timestamp,
}

impl EventRow {
    pub(super) fn seats(&self) -> Seats {
        let Self { id, ticket_key, price, currency, created_at, .. } = *self;
        Seats { event: id, ticket_key, price, currency, created_at }
    }
}

/// What may change of a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TicketState {
    pub(super) status: TicketStatus,
    /// The live booking that has it.
    pub(super) holder: Option<RowNumber>,
    pub(super) updated_at: Timestamp,
}

/// The columns of a ticket, for [`put_ticket`].
pub(super) const COPY_TICKETS: &str = "COPY tickets (id, event_id, seat_number, price, status, booking_id, created_at, updated_at) \
     FROM STDIN (FORMAT binary)";

/// Writes a row of `tickets`.
pub(super) fn put_ticket(
    copy: &mut Copy,
    seats: Seats,
    slot: SlotIndex,
    state: TicketState,
    holder: Option<BookingId>,
) {
    copy.row(8)
        .id(seats.ticket_key.ticket(seats.event.number, slot).public())
        .id(seats.event.public())
        .integer(slot.seat_number())
        .money(seats.price, seats.currency)
        .text(state.status.name());
    match holder {
        Some(booking) => copy.id(booking.public()),
        None => copy.null(),
    };
    copy.time(seats.created_at).time(state.updated_at);
}
