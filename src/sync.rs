//! The atomics, the lock and the map of the concurrent protocols: the standard library's and
//! papaya's, or those of a model checker while models run: loom's (`--cfg booking_loom`) or
//! shuttle's (`--cfg booking_shuttle`).

#[cfg(not(any(booking_loom, booking_shuttle)))]
pub(crate) use {
    papaya::HashMap,
    std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    std::sync::{Mutex, MutexGuard},
    std::thread::yield_now,
};

#[cfg(booking_loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};

#[cfg(booking_shuttle)]
pub(crate) use shuttle::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};

#[cfg(any(booking_loom, booking_shuttle))]
pub(crate) mod map;
#[cfg(any(booking_loom, booking_shuttle))]
pub(crate) use map::HashMap;

/// So many words that are 0. Fresh zero pages of the system serve as they are, so that what is large
/// costs no more than it uses.
#[cfg(not(any(booking_loom, booking_shuttle)))]
pub(crate) fn zeroed<Word: bytemuck::Zeroable>(count: usize) -> Box<[Word]> {
    bytemuck::zeroed_slice_box(count)
}

#[cfg(any(booking_loom, booking_shuttle))]
pub(crate) fn zeroed<Word: Default>(count: usize) -> Box<[Word]> {
    std::iter::repeat_with(Word::default).take(count).collect()
}
