//! booking-manager
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
mod sync;
