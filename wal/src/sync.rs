//! The atomics and threads of the append protocol: the standard library's, or loom's when the models run.
//!
//! Only what the models execute goes through here (`marks`, `ring`, `append`, `bell`). Threads that
//! touch files use the standard library directly; they are no part of a model.

#[cfg(not(booking_loom))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
    thread::{Thread, current},
};

#[cfg(booking_loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering, fence},
    thread::{Thread, current},
};
