//! What each action does: reads the body, calls the engine, says what the answer looks like.
//!
//! Handlers are synchronous. They know neither headers nor status codes of refusals, and what they
//! return has not been told to anybody yet.

pub(super) mod bookings;
pub(super) mod events;
pub(super) mod health;
pub(super) mod statistics;
pub(super) mod users;

use crate::domain::RequestStamp;

/// What a request brings along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) body: &'a [u8],
    /// The idempotency key and the fingerprint of the request, if it carries a key.
    pub(super) stamp: Option<RequestStamp<'a>>,
}
