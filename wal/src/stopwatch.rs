//! The only readings of a clock in the log, all for measuring how long something took.
//!
//! No decision about contents depends on them: they pace background work, fill statistics, and tell
//! an old hole from a new one. The creation time in a segment's header is for people.

use std::time::{Duration, SystemTime};

#[cfg(not(booking_shuttle))]
use std::time::Instant;

#[cfg(booking_shuttle)]
use made_up::Instant;
#[cfg(booking_shuttle)]
pub(crate) use made_up::pass;

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

/// The time of the models: it stands still until somebody sleeps.
#[cfg(booking_shuttle)]
mod made_up {
    use std::{cell::Cell, time::Duration};

    thread_local! {
        /// All threads of a model are one to the system.
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    #[derive(Copy, Clone, Debug)]
    pub(super) struct Instant(Duration);

    impl Instant {
        pub(super) fn now() -> Self {
            Self(PASSED.get())
        }

        pub(super) fn elapsed(self) -> Duration {
            PASSED.get() - self.0
        }
    }

    pub(crate) fn pass(time: Duration) {
        PASSED.set(PASSED.get() + time);
    }
}
