//! Request bodies: whatever comes is read or refused, and a refusal is short whatever was sent. The
//! quick way of reading a hold and the one in detail agree.

use booking_manager::domain::{SEATS_PER_EVENT_MAX, TICKETS_PER_BOOKING_MAX};
use booking_manager::http::parsers::{self, Refused};

/// No refusal of a body is longer, a fault for each of the tickets that there may be included.
const REFUSAL_BYTES_MAX: usize = 16_384;

fn check<T>(read: Result<T, Refused>) -> Option<T> {
    let refused = match read {
        Ok(value) => return Some(value),
        Err(refused) => refused,
    };
    match refused.status {
        400 => assert_eq!(refused.code, "malformed_json"),
        422 => {
            assert_eq!(refused.code, "validation_failed");
            assert!(!refused.faults.is_empty(), "a refusal without a fault");
        }
        status => panic!("a body is answered {status}"),
    }
    for (pointer, _) in &refused.faults {
        assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?} is no pointer");
    }
    assert!(refused.body.len() < REFUSAL_BYTES_MAX, "{} bytes", refused.body.len());
    None
}

pub(crate) fn run(bytes: &[u8]) {
    if let Some((email, name)) = check(parsers::user(bytes)) {
        assert!(email.as_str().contains('@') && !name.as_str().trim().is_empty());
    }
    if let Some(event) = check(parsers::event(bytes)) {
        assert!((1..=SEATS_PER_EVENT_MAX).contains(&event.total_seats));
        assert!(event.price.minor() >= 0);
        assert_eq!(parsers::date(&event.date), Ok(()));
    }
    let _ = check(parsers::owner(bytes));
    let (hold, detailed) = (check(parsers::hold(bytes)), check(parsers::hold_in_detail(bytes)));
    match (hold, detailed) {
        // What is too long is for the engine to refuse, unless something else is wrong as well.
        (Some((_, _, tickets)), None) => assert!(tickets.len() > TICKETS_PER_BOOKING_MAX),
        (hold, detailed) => assert_eq!(hold, detailed),
    }
}
