//! The only readings of a clock in the log, all for measuring how long something took.
//!
//! No decision about contents depends on them: they pace background work, fill statistics, and tell
//! an old hole from a new one. The creation time in a segment's header is for people.

use std::time::{Duration, Instant, SystemTime};

/// Measures from when it was started.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[allow(
        clippy::disallowed_methods,
        reason = "durations of system calls, not the time of anything"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Nanoseconds, for counters.
    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Milliseconds since the Unix epoch, 0 when the clock stands before it.
#[allow(clippy::disallowed_methods, reason = "informative field of the segment header")]
pub(crate) fn wall_clock_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
