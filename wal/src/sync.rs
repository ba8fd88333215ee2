//! The atomics, locks and threads of the log: the standard library's, or those of a model checker
//! while models run: loom's (`--cfg booking_loom`) or shuttle's (`--cfg booking_shuttle`).
//!
//! Under loom only `marks`, `append`, `reservation` and `bell` run, over modelled memory; under
//! shuttle the whole log does, its two threads included, on real files, and time is made up: it
//! passes when somebody sleeps.

#[cfg(not(any(booking_loom, booking_shuttle)))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
    },
    thread,
};

#[cfg(booking_loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
    thread,
};

#[cfg(booking_shuttle)]
pub(crate) use shuttle::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
    },
    thread,
};

/// Sleeps until somebody unparks this thread, and for so long at most.
#[cfg(not(any(booking_loom, booking_shuttle)))]
pub(crate) fn park_timeout(longest: std::time::Duration) {
    thread::park_timeout(longest);
}

/// Lets others run, and then time has passed. (Shuttle's own never ends by itself.)
#[cfg(booking_shuttle)]
pub(crate) fn park_timeout(longest: std::time::Duration) {
    thread::yield_now();
    crate::stopwatch::pass(longest);
}

/// Where others may come between under a model checker that does not see the memory itself.
#[inline]
pub(crate) fn step() {
    #[cfg(booking_shuttle)]
    thread::sleep(std::time::Duration::ZERO);
}

/// Where a sync takes its time under a model checker: others run meanwhile, and groups gather after it.
#[inline]
pub(crate) fn take_a_while() {
    #[cfg(booking_shuttle)]
    {
        use shuttle::rand::Rng;

        let micros = shuttle::rand::thread_rng().gen_range(0..200);
        park_timeout(std::time::Duration::from_micros(micros));
    }
}
