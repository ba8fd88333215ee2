//! How far somebody wants the log to be synced, so that a group gathers until its waiters have been
//! heard instead of beginning with the first record.
//!
//! **Invariant:** when `ask` returns, the sleeper behind the bell will find the demand at `upto` or
//! further, or has been woken since it was.
//!
//! `upto` only rises (`fetch_max`), and is written by whoever asks. Asking for what somebody else has
//! asked for already costs one load: whoever raised the demand rings, or is just about to. All
//! accesses are Relaxed; the bell's fences order them: a ringer raises the demand in front of its
//! fence, the sleeper reads it behind its own ([`crate::bell`]). The value is a position in the log and
//! nothing is read on its strength: the syncer walks the commit words as ever.

use crossbeam::utils::CachePadded;

use crate::{
    bell::Bell,
    sync::{AtomicU64, Ordering},
};

#[derive(Debug)]
pub(crate) struct Demand {
    upto: CachePadded<AtomicU64>,
}

impl Demand {
    pub(crate) fn new(upto: u64) -> Self {
        Self { upto: CachePadded::new(AtomicU64::new(upto)) }
    }

    /// Wants everything before `upto` synced, and wakes the sleeper if it has to know.
    pub(crate) fn ask(&self, upto: u64, bell: &Bell) {
        let is_new = || self.upto.fetch_max(upto, Ordering::Relaxed) < upto;
        if self.upto.load(Ordering::Relaxed) < upto && is_new() {
            bell.ring();
        }
    }

    /// Whether anything from `durable` on is wanted.
    pub(crate) fn exceeds(&self, durable: u64) -> bool {
        self.upto.load(Ordering::Relaxed) > durable
    }
}
