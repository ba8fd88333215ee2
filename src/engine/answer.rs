//! What the engine answers: a result, the position in the log that it stands on, and what stays
//! open until the answer has left.

use super::idempotency::Key;
use super::lanes::LanePlace;
use super::ledger::Position;
use crate::domain::{
    Amount, BookingId, BookingStatus, Currency, Email, EventDetails, EventId, PersonName, Refusal,
    SlotIndex, TicketId, TicketStatus, Timestamp, UserId,
};
use std::sync::Arc;

/// An answer of the engine, not to be given before its position is durable.
#[must_use]
#[derive(Debug)]
pub struct Answer<'e, T> {
    /// What was done or seen, or why nothing was done.
    pub result: Result<T, Refusal>,
    /// Where it stands in the log.
    pub position: Position,
    /// To be dropped when the answer has become durable, or its client has gone.
    pub open: Open<'e>,
}

/// What a request occupies from its admission until its answer is durable.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "kept for what dropping them does")]
pub struct Open<'e> {
    pub(super) lane: Option<LanePlace<'e>>,
    pub(super) key: Key<'e>,
}

/// Something that was created, now or by an earlier request with the same idempotency key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Created<Id> {
    /// What was created.
    pub id: Id,
    /// When.
    pub at: Timestamp,
    /// Whether an earlier request did it.
    pub replayed: bool,
}

/// A user as a client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserView {
    /// Its id.
    pub id: UserId,
    /// Its e-mail address.
    pub email: Email,
    /// Its name.
    pub name: PersonName,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// An event as a client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventView {
    /// Its id.
    pub id: EventId,
    /// What the organiser said of it.
    pub details: Arc<EventDetails>,
    /// How many tickets nobody has.
    pub available: u32,
    /// How many are under a hold.
    pub reserved: u32,
    /// How many are sold; the three add up to the total at every instant.
    pub sold: u32,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A ticket as a client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TicketView {
    /// Its id.
    pub id: TicketId,
    /// Its place in the event; the seat number is one more.
    pub slot: SlotIndex,
    /// Its status.
    pub status: TicketStatus,
    /// When that status came to be.
    pub updated_at: Timestamp,
}

/// A booking as a client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookingView {
    /// Its id.
    pub id: BookingId,
    /// Whose it is.
    pub user: UserId,
    /// Of which event.
    pub event: EventId,
    /// Its tickets, in seat order.
    pub tickets: Vec<TicketId>,
    /// Its status.
    pub status: BookingStatus,
    /// The sum of the tickets' prices.
    pub total: Amount,
    /// In which currency.
    pub currency: Currency,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its status came to be.
    pub updated_at: Timestamp,
    /// When the hold ends, or would have ended.
    pub expires_at: Timestamp,
}

/// How a request for tickets succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// A new booking was made: 201.
    New,
    /// The user's own pending booking of just these tickets was there already: 200.
    Existing,
}

/// A request for tickets that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// The booking as it was when the request first succeeded (pending).
    pub booking: BookingView,
    /// Whether the request made it.
    pub hold: Hold,
    /// When the request first succeeded: what is left of the hold counts from here.
    pub answered_at: Timestamp,
    /// Whether this repeats the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// A confirmation or cancellation that succeeded, now or before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The booking afterwards.
    pub booking: BookingView,
    /// Whether this repeats the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}
