//! booking-manager
pub mod clock;
pub mod domain;
pub mod engine;
mod sync;
