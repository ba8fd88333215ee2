//! booking-manager
pub mod clock;
pub mod domain;
pub mod engine;
pub mod http;
pub mod stats;
mod sync;
