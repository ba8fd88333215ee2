//! The program `booking-wal` on real logs: what it prints, what it exits with, and that it changes
//! nothing but what it was told to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkpoint;
#[allow(
    dead_code,
    clippy::print_stderr,
    reason = "shared with the tests of the mirror, which use all of it and print what failed"
)]
#[path = "../../../tests/mirror/cluster.rs"]
mod cluster;
mod damage;
mod export;
mod follow;
#[allow(dead_code, reason = "shared with the tests of the server, which use all of it")]
#[path = "../../../tests/integration/harness/time.rs"]
mod harness;
mod history;
mod inspect;
mod manual;
mod migrate;
mod repair;
mod replay;
mod run;
mod snapshots;
mod sound;
mod state;
mod story;
