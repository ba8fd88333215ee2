//! The engine (skeleton: public face only)
#![allow(
    clippy::unimplemented,
    unused_variables,
    dead_code,
    reason = "skeleton"
)]

mod answer;
mod idempotency;
mod lanes;

pub use answer::{
    Answer, BookingView, Created, Ended, EventView, Hold, Made, Open, Position, TicketView,
    UserView,
};

use crate::clock::Clock;
use crate::domain::{
    BookingStatus, Email, EventDetails, EventId, EventNumber, PersonName, PublicId, RequestStamp,
    RowNumber, TicketStatus, UserId, UserNumber,
};
use std::time::Duration;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a hold lasts.
    pub hold_ttl: Duration,
    /// How many admission lanes there are.
    pub lane_count: u32,
    /// How many requests each lane takes.
    pub lane_capacity: u32,
}

/// A request for tickets.
#[derive(Clone, Copy, Debug)]
pub struct HoldRequest<'a> {
    /// Who asks.
    pub user: PublicId,
    /// For which event.
    pub event: PublicId,
    /// For which tickets, in any order.
    pub tickets: &'a [PublicId],
    /// The idempotency key and fingerprint of the request, if it carries a key.
    pub stamp: Option<RequestStamp<'a>>,
}

/// Where a listing of tickets goes on.
#[derive(Clone, Debug)]
pub struct TicketCursor {
    pub(super) event: EventNumber,
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) status: Option<TicketStatus>,
}
impl TicketCursor {
    /// Whether the listing is complete.
    pub fn is_done(&self) -> bool {
        self.next >= self.end
    }
}

/// Where a listing of events goes on.
#[derive(Clone, Debug)]
pub struct EventCursor {
    pub(super) next: u32,
    pub(super) end: u32,
}
impl EventCursor {
    /// Whether the listing is complete.
    pub fn is_done(&self) -> bool {
        self.next >= self.end
    }
}

/// Where a listing of a user's bookings, newest first, goes on.
#[derive(Clone, Debug)]
pub struct UserBookingCursor {
    pub(super) user: UserNumber,
    pub(super) next: Option<(EventNumber, RowNumber)>,
    pub(super) status: Option<BookingStatus>,
}
impl UserBookingCursor {
    /// Whether the listing is complete.
    pub fn is_done(&self) -> bool {
        self.next.is_none()
    }
}

/// Figures for the statistics.
#[derive(Clone, Debug)]
pub struct EngineStats {
    /// Requests in each lane now.
    pub lane_lengths: Vec<u32>,
    /// What each lane takes.
    pub lane_capacity: u32,
    /// Tickets under a hold whose deadline lies ahead.
    pub active_locks: u64,
    /// Tickets under a lapsed hold that nobody has taken over or swept yet.
    pub expired_locks: u64,
    /// Users that exist.
    pub users: u64,
    /// Events that exist.
    pub events: u64,
    /// Tickets of all events.
    pub tickets: u64,
    /// Bookings ever made.
    pub bookings: u64,
    /// Idempotency keys remembered.
    pub idempotency_keys: u64,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    log: wal::Log,
    clock: Clock,
}

impl Engine {
    /// Recovers the state from the log in `options.directory` and opens the log for appending.
    pub fn open(
        options: wal::Options,
        settings: Settings,
        clock: Clock,
    ) -> Result<(Self, wal::RecoveryReport), wal::OpenError> {
        unimplemented!()
    }
    /// The log behind the engine.
    pub fn log(&self) -> &wal::Log {
        &self.log
    }
    /// The engine's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
    /// Where a read that ends now stands: for answers that no other method gives a position.
    pub fn position(&self) -> Position {
        unimplemented!()
    }

    /// Creates a user. Refused: `EmailTaken`, `KeyReused`, `RequestInFlight`, `StorageUnavailable`, `Overloaded`.
    pub fn create_user(
        &self,
        email: Email,
        name: PersonName,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Created<UserId>> {
        unimplemented!()
    }
    /// Replaces a user's e-mail address and name.
    pub fn update_user(
        &self,
        id: PublicId,
        email: Email,
        name: PersonName,
    ) -> Answer<'_, UserView> {
        unimplemented!()
    }
    /// Deletes a user who has no live booking.
    pub fn delete_user(&self, id: PublicId) -> Answer<'_, ()> {
        unimplemented!()
    }
    /// Shows a user.
    pub fn user(&self, id: PublicId) -> Answer<'_, UserView> {
        unimplemented!()
    }
    /// Begins a listing of a user's bookings, newest first; `after` is a booking of that user. Refused: `UserNotFound`, `BookingNotFound` (a bad `after`).
    pub fn user_bookings(
        &self,
        user: PublicId,
        after: Option<PublicId>,
        status: Option<BookingStatus>,
    ) -> Answer<'_, UserBookingCursor> {
        unimplemented!()
    }
    /// Appends up to `max` more bookings to `page`; looks at a bounded number of rows, so it may append none and not be done.
    pub fn next_user_bookings(
        &self,
        cursor: &mut UserBookingCursor,
        max: usize,
        page: &mut Vec<BookingView>,
    ) -> Position {
        unimplemented!()
    }

    /// Creates an event with all its tickets.
    pub fn create_event(
        &self,
        details: EventDetails,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Created<EventId>> {
        unimplemented!()
    }
    /// Shows an event.
    pub fn event(&self, id: PublicId) -> Answer<'_, EventView> {
        unimplemented!()
    }
    /// Begins a listing of events, oldest first. Refused: `EventNotFound` (a bad `after`).
    pub fn events(&self, after: Option<PublicId>) -> Answer<'_, EventCursor> {
        unimplemented!()
    }
    /// Appends up to `max` more events to `page`.
    pub fn next_events(
        &self,
        cursor: &mut EventCursor,
        max: usize,
        page: &mut Vec<EventView>,
    ) -> Position {
        unimplemented!()
    }
    /// Begins a listing of an event's tickets in seat order. Answers with the event too (for what its tickets share). Refused: `EventNotFound`, `UnknownTickets` (a bad `after`).
    pub fn tickets(
        &self,
        event: PublicId,
        after: Option<PublicId>,
        status: Option<TicketStatus>,
    ) -> Answer<'_, (EventView, TicketCursor)> {
        unimplemented!()
    }
    /// Appends up to `max` more tickets to `page`; looks at a bounded number of slots, so it may append none and not be done.
    pub fn next_tickets(
        &self,
        cursor: &mut TicketCursor,
        max: usize,
        page: &mut Vec<TicketView>,
    ) -> Position {
        unimplemented!()
    }

    /// Takes tickets for a user, all or none.
    pub fn hold(&self, request: &HoldRequest<'_>) -> Answer<'_, Made> {
        unimplemented!()
    }
    /// Shows a booking.
    pub fn booking(&self, id: PublicId) -> Answer<'_, BookingView> {
        unimplemented!()
    }
    /// Confirms a pending booking of `user`.
    pub fn confirm(
        &self,
        booking: PublicId,
        user: PublicId,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Ended> {
        unimplemented!()
    }
    /// Cancels a pending booking of `user`.
    pub fn cancel(
        &self,
        booking: PublicId,
        user: PublicId,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Ended> {
        unimplemented!()
    }

    /// Figures for the statistics.
    pub fn stats(&self) -> EngineStats {
        unimplemented!()
    }
    /// A hash of the whole state, equal for equal states; meaningful while nothing is being written.
    pub fn state_hash(&self) -> u128 {
        unimplemented!()
    }
}
