//! The one clock.
//!
//! Wall time at start, carried forward by the boot-time monotonic clock: steps of the wall clock
//! while the process runs change nothing, a suspended machine counts as time passed, and the clock
//! never stands behind the newest time in the log ([`Clock::not_before`]). Nothing else in the
//! project reads the time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::domain::Timestamp;

/// Tells the time; cloning it gives another hand on the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        /// What is added to the boot-time clock, in milliseconds.
        offset: u64,
    },
    Manual(Arc<AtomicU64>),
}

/// Milliseconds since the machine was started, suspended time included.
fn boot_millis() -> u64 {
    millis(ClockId::Boottime)
}

fn millis(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000 + nanos / 1_000_000
}

impl Clock {
    /// A clock that shows wall time now and is carried forward by the boot-time clock.
    pub fn system() -> Self {
        let offset = millis(ClockId::Realtime).saturating_sub(boot_millis());
        Self(Source::System { offset })
    }

    /// A clock that stands still until it is moved: for tests.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.millis()))))
    }

    /// The same clock, moved forward if it stood before `earliest`. For use once, after replay and
    /// before anything else has read it.
    #[must_use]
    pub fn not_before(self, earliest: Timestamp) -> Self {
        let behind = earliest.millis_since(self.now());
        match self.0 {
            Source::System { offset } => Self(Source::System { offset: offset + behind }),
            Source::Manual(time) => {
                time.fetch_add(behind, Ordering::AcqRel);
                Self(Source::Manual(time))
            }
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { offset } => Timestamp::from_millis(boot_millis() + offset),
            // Acquire, with the AcqRel of `advance`: who sees the new time sees what came before it.
            Source::Manual(time) => Timestamp::from_millis(time.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock forward; a system clock moves by itself.
    pub fn advance(&self, span: Duration) {
        match &self.0 {
            Source::System { .. } => {}
            Source::Manual(time) => {
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                time.fetch_add(millis, Ordering::AcqRel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_stands_behind_the_log() {
        let ahead = Clock::system().now() + Duration::from_secs(3_600);
        assert!(Clock::system().not_before(ahead).now() >= ahead);
        let behind = Timestamp::from_millis(1);
        let clock = Clock::system().not_before(behind);
        assert!(clock.now() < ahead, "a log in the past moves nothing");
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        assert_eq!(clock.now().millis(), 5);
        clock.clone().advance(Duration::from_millis(3));
        assert_eq!(clock.now().millis(), 8);
    }
}
