//! What is asked and what is answered, as JSON.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::load::wire;

/// How long a hold lasts, as booking-manager's by default.
pub(super) const HOLD_MILLIS: i64 = 600_000;
/// What the answer of a bare server says, which makes it as large as one that has done something.
pub(super) const CONSTANT: &str = r#"{"booking_id":"c0000000-0000-8010-8000-000000000000","user_id":"00000000-0000-8000-8000-000000000000","event_id":"40000000-0000-8000-8000-000000000000","ticket_ids":["80000000-0000-8000-8000-000000000000"],"total_amount":75.00,"currency":"USD","status":"pending","created_at":"2026-01-01T00:00:00.000Z","expires_at":"2026-01-01T00:10:00.000Z","expires_in_ms":600000}"#;

/// A new event, as far as the front end looks at it.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'b> {
    pub(super) total_seats: u32,
    #[serde(borrow)]
    price: &'b RawValue,
}

impl Event<'_> {
    /// What a ticket costs.
    pub(super) fn price_cents(&self) -> Option<i64> {
        wire::hundredths(self.price.get().as_bytes()).and_then(|cents| cents.try_into().ok())
    }
}

/// A hold that is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    pub(super) user_id: Uuid,
    pub(super) event_id: Uuid,
    pub(super) ticket_ids: Vec<Uuid>,
}

impl Wanted {
    /// Reads one; `None` if it is none, or names no ticket, or one twice.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let wanted: Self = serde_json::from_slice(body).ok()?;
        let tickets = &wanted.ticket_ids;
        let distinct = (1..tickets.len()).all(|place| !tickets[..place].contains(&tickets[place]));
        (!tickets.is_empty() && distinct).then_some(wanted)
    }
}

/// The booking that would come of it.
#[derive(Debug)]
pub(super) struct Booking {
    pub(super) id: Uuid,
    pub(super) wanted: Wanted,
    pub(super) created_millis: i64,
}

impl Booking {
    /// When the hold ends.
    pub(super) const fn expires_millis(&self) -> i64 {
        self.created_millis + HOLD_MILLIS
    }

    /// The answer.
    pub(super) fn json(&self, total_cents: i64) -> String {
        let Wanted { user_id, event_id, ticket_ids } = &self.wanted;
        let mut json = String::with_capacity(CONSTANT.len() + ticket_ids.len() * 40);
        // A string takes whatever is written to it.
        let _ = write!(
            json,
            r#"{{"booking_id":"{}","user_id":"{user_id}","event_id":"{event_id}","ticket_ids":["#,
            self.id
        );
        for (place, ticket) in ticket_ids.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let _ = write!(json, r#"{comma}"{ticket}""#);
        }
        let _ = write!(
            json,
            r#"],"total_amount":{}.{:02},"currency":"USD","status":"pending","created_at":"{:.3}","expires_at":"{:.3}","expires_in_ms":{HOLD_MILLIS}}}"#,
            total_cents / 100,
            total_cents % 100,
            instant(self.created_millis),
            instant(self.expires_millis()),
        );
        json
    }
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_is_as_large_as_the_constant() {
        let wanted =
            Wanted { user_id: Uuid::nil(), event_id: Uuid::nil(), ticket_ids: vec![Uuid::max()] };
        let booking = Booking { id: Uuid::nil(), wanted, created_millis: 1_767_225_600_000 };
        let json = booking.json(7_500);
        assert_eq!(json.len(), CONSTANT.len(), "{json}");
        let members = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
        let (made, constant) = (members(&json), members(CONSTANT));
        assert!(made.as_object().unwrap().keys().eq(constant.as_object().unwrap().keys()));
        for member in ["total_amount", "created_at", "expires_at", "expires_in_ms"] {
            assert_eq!(made[member], constant[member]);
        }
    }

    #[test]
    fn what_is_no_hold_is_refused() {
        let id = Uuid::nil();
        let hold = |tickets: &str| {
            format!(r#"{{"user_id":"{id}","event_id":"{id}","ticket_ids":[{tickets}]}}"#)
        };
        assert!(Wanted::read(hold(&format!("\"{id}\"")).as_bytes()).is_some());
        for bad in [hold(""), hold(&format!("\"{id}\",\"{id}\"")), hold("1"), String::new()] {
            assert!(Wanted::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
