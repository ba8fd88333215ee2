//! Waking a background thread that sleeps, at the price of one load when it does not.
//!
//! **Invariant:** when `ring` returns, whatever the caller did before it will be seen by the thread's
//! next look for work, or the thread has been unparked.
//!
//! The sleeper announces itself and looks again; the ringer does its work and looks whether somebody
//! sleeps. Each writes one word and reads the other's, so at least one of them must see the other:
//!
//! | sleeper | ringer |
//! |---|---|
//! | `idle = true` (arm) | claims, commits, raises a mark |
//! | `fence(SeqCst)` | `fence(SeqCst)` |
//! | looks for work; none: parks | loads `idle`; set: takes it and unparks |
//!
//! Whichever fence comes first in the order of all such fences, the other side's load behind its own
//! fence sees the store in front of this one. Without the fences both could read the old values, and
//! the thread would sleep over work. `unpark` before `park` leaves a token, so the gap between the
//! look and the park is harmless. Only the ringer that takes `idle` from true to false makes the
//! system call; the rest of a crowd pays for a fence and a load. It takes it by a compare-and-swap, so
//! that a ringer that comes too late for one sleep writes nothing over the announcement of the next.
//!
//! `idle` is written by the sleeper (both values) and by ringers (false only). Its stores are Release
//! and the taking compare-and-swap is Acquire, so that the ringer sees the thread handle stored before.

use std::sync::OnceLock;

use crate::sync::{
    AtomicBool, Ordering, fence,
    thread::{Thread, current},
};

#[derive(Debug)]
pub(crate) struct Bell {
    idle: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { idle: AtomicBool::new(false), sleeper: OnceLock::new() }
    }

    /// Makes the calling thread the one that the bell wakes. Before its first `arm`, and once.
    pub(crate) fn attend(&self) {
        let first = self.sleeper.set(current()).is_ok();
        debug_assert!(first, "a bell has one sleeper");
    }

    /// The sleeper is about to look for work a last time and then to park.
    pub(crate) fn arm(&self) {
        self.idle.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The sleeper found work, or woke.
    pub(crate) fn disarm(&self) {
        // A ringer that already took the flag leaves an unpark token: one spurious wake-up later on.
        self.idle.store(false, Ordering::Release);
    }

    /// Wakes the sleeper if it is idle.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it; the compare-and-swap decides who unparks.
        let take =
            || self.idle.compare_exchange(true, false, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if self.idle.load(Ordering::Relaxed) && take() {
            self.unpark();
        }
    }

    /// Ends a park of any kind, also a timed one of a thread that is not idle.
    pub(crate) fn interrupt(&self) {
        self.disarm();
        self.unpark();
    }

    fn unpark(&self) {
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
        }
    }
}
