//! The clock that every client of a history reads.

use std::time::Instant;

use super::harness::now;
use super::history::Moment;

/// Counts from the beginning of the history; all copies count alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(now())
    }

    pub(crate) fn now(self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_nanos()).expect("less than centuries"))
    }
}
