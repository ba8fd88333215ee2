//! What the server lists, as far as the sweep looks at it.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// A booking in the list of its user's.
#[derive(Debug, Deserialize)]
pub(super) struct Booking<'b> {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) event_id: Uuid,
    pub(super) ticket_ids: Vec<Uuid>,
    pub(super) status: &'b str,
    #[serde(borrow)]
    pub(super) total_amount: &'b RawValue,
    pub(super) expires_at: &'b str,
}

/// A ticket in the list of its event's.
#[derive(Debug, Deserialize)]
pub(super) struct Ticket<'b> {
    pub(super) id: Uuid,
    pub(super) seat_number: u32,
    pub(super) status: &'b str,
    #[serde(borrow)]
    pub(super) price: &'b RawValue,
}

/// An event's counters.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Counters {
    pub(super) total_seats: u64,
    pub(super) available: u64,
    pub(super) reserved: u64,
    pub(super) sold: u64,
}
