//! Ids: an event's has room below it for those of its tickets, a booking's begins with the time.
//!
//! So neighbouring seats are neighbours in an index, and new bookings are at its end: what one would
//! choose who wants a database to be quick.

use rand::RngExt as _;
use uuid::{Builder, Uuid};

/// A new user or event; the last four bytes of an event's are zero.
pub(super) fn event() -> Uuid {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[12..].fill(0);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// A new user.
pub(super) fn user() -> Uuid {
    Builder::from_random_bytes(rand::rng().random()).into_uuid()
}

/// A new booking.
pub(super) fn booking(unix_millis: i64) -> Uuid {
    let millis = u64::try_from(unix_millis).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &rand::rng().random()).into_uuid()
}

/// The ticket of an event's seat, which count from 1.
pub(super) fn ticket(event: Uuid, seat: u32) -> Uuid {
    Uuid::from_u128(event.as_u128() | u128::from(seat))
}

/// Which seat of the event a ticket is; `None` if it is not one of its tickets.
pub(super) fn seat(event: Uuid, ticket: Uuid) -> Option<u32> {
    u32::try_from(event.as_u128() ^ ticket.as_u128()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_knows_its_seat() {
        let [one, other] = [event(), event()];
        for number in [1, 70_000, 1_000_000] {
            assert_eq!(seat(one, ticket(one, number)), Some(number));
            assert_eq!(seat(other, ticket(one, number)), None);
        }
        assert!(booking(1_000) < booking(2_000), "ordered by time");
    }
}
