//! booking-manager
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod stats;
mod sync;
pub mod telemetry;
