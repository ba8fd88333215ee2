//! The tests' only way to wait and to read the time.
#![allow(
    clippy::disallowed_methods,
    reason = "a test of a real process waits in real time; this module is the one place that does"
)]

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A moment to measure from.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds of UTC since 1970, as this machine has them.
pub(crate) fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Polls until `condition` holds; fails the test with `what` when it does not within `limit`.
pub(crate) fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        sleep(POLL_INTERVAL);
    }
}

/// Lets time go by where the passing of time itself is what is tested or what carries the load.
pub(crate) fn observe_for(span: Duration) {
    sleep(span);
}
