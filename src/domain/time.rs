//! Instants as the log keeps them.

use std::ops::Add;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, at most [`Timestamp::MAX`] (the year 10889).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last instant that fits into the 48 bits of a status word.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// An instant `milliseconds` after the epoch; later ones than [`Timestamp::MAX`] become it.
    pub const fn from_millis(milliseconds: u64) -> Self {
        if milliseconds < Self::MAX.0 { Self(milliseconds) } else { Self::MAX }
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// How many milliseconds `self` lies after `earlier`; 0 if it does not.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}
