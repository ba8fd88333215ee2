//! The circuit breaker: how long nothing is tried after something failed.
//!
//! **Invariant:** after `n` failures in a row the next try comes at a random moment within
//! `min(FIRST * 2^(n-1), LONGEST)`, so that many mirrors of one PostgreSQL do not come back at the
//! same instant (full jitter; Brooker, "Exponential Backoff And Jitter", 2015). It never comes
//! at once: a [`SHORTEST`] wait keeps a quick failure from becoming a busy loop.

use std::time::Duration;

use rand::RngExt;

/// The bound of the first wait.
pub const FIRST: Duration = Duration::from_millis(100);
/// The bound of the longest wait.
pub const LONGEST: Duration = Duration::from_secs(30);
/// What is waited at least.
const SHORTEST: Duration = Duration::from_millis(10);
/// How long is waited when an operator must act, so that the repair heals without a restart.
pub const BLOCKED: Duration = Duration::from_secs(5);
const _: () = assert!(SHORTEST.as_millis() < FIRST.as_millis());
const _: () = assert!(FIRST.as_millis() < LONGEST.as_millis());

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
}

impl Breaker {
    /// Something worked: the next failure counts as the first.
    pub(super) fn close(&mut self) {
        self.failures = 0;
    }

    /// Something failed that may work by itself: how long to wait.
    pub(super) fn open(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let bound = bound(self.failures).as_micros();
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        Duration::from_micros(rand::rng().random_range(0..=bound)).max(SHORTEST)
    }
}

fn bound(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_begin_anew_after_a_success() {
        assert_eq!(bound(1), FIRST);
        assert_eq!(bound(2), FIRST * 2);
        assert_eq!(bound(9), FIRST * 256);
        assert_eq!((bound(10), bound(u32::MAX)), (LONGEST, LONGEST));
        let mut breaker = Breaker::default();
        for _ in 0..40 {
            let wait = breaker.open();
            assert!((SHORTEST..=LONGEST).contains(&wait), "{wait:?}");
        }
        breaker.close();
        assert!(breaker.open() <= FIRST);
    }
}
