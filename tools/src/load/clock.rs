//! The one place where the generator reads a clock: it measures time, and nothing but time.

use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};

/// The monotonic clock.
#[allow(clippy::disallowed_methods, reason = "a load generator measures time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970 by this machine's clock, for comparison with the server's.
pub(super) fn unix_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Lets a moment pass, before one looks again whether what is waited for is there.
pub(super) fn pause() {
    const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    // A signal may end it sooner.
    let _ = poll(&mut [], Some(&MOMENT));
}

/// Nanoseconds, for histograms: at least 1, which is the least that they tell apart.
pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1)
}
