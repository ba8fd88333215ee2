//! The atomics of the concurrent protocols: the standard ones, or loom's when models are checked
//! (`RUSTFLAGS="--cfg booking_loom"`).

#[cfg(booking_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(booking_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Lets another thread run while this one waits for it.
pub(crate) fn yield_now() {
    #[cfg(booking_loom)]
    loom::thread::yield_now();
    #[cfg(not(booking_loom))]
    std::thread::yield_now();
}
