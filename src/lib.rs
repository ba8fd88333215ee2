//! booking-manager
pub mod clock;
#[cfg(not(booking_loom))]
pub mod codec;
pub mod domain;
pub mod engine;
pub mod http;
pub mod stats;
mod sync;
