//! The program `booking-load` against the real server, and against one that lies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod demo;
#[allow(dead_code, reason = "shared with the tests of the server, which use all of it")]
#[path = "../../../tests/integration/harness/time.rs"]
mod harness;
mod liar;
mod lies;
mod manual;
mod program;
mod restarts;
mod scenarios;
mod server;
mod storm;
