//! The log as its users see it: its format, recovery, what damage and power cuts do to it, and a log
//! in use. One program, as linking takes longer than compiling any of its files.
#![allow(clippy::unwrap_used, reason = "a failing test may panic")]
#![allow(clippy::wildcard_enum_match_arm, reason = "what a test did not expect is a failure")]

mod ahead;
mod damage;
mod format;
mod live;
mod live_support;
mod power_cut;
mod read_live;
mod reader;
mod recovery;
mod retention;
mod start;
mod support;
