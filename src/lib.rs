//! booking-manager
pub mod clock;
#[cfg(not(booking_loom))]
pub mod config;
pub mod domain;
pub mod engine;
#[cfg(not(booking_loom))]
pub mod stats;
mod sync;
#[cfg(not(booking_loom))]
pub mod telemetry;
