//! booking-manager
pub mod clock;
pub mod codec;
pub mod domain;
pub mod engine;
mod sync;
