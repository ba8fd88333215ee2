//! The program `booking-wal` on real logs: what it prints, what it exits with, and that it changes
//! nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod inspect;
mod run;
mod sound;
mod story;
