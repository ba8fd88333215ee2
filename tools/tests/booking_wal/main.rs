//! The program `booking-wal` on real logs: what it prints, what it exits with, and that it changes
//! nothing but what it was told to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoint;
mod damage;
mod export;
mod follow;
mod history;
mod inspect;
mod manual;
mod repair;
mod run;
mod snapshots;
mod sound;
mod state;
mod story;
