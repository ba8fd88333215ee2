//! The mirror, tested from outside: a real server, a real PostgreSQL, real kills of both.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "all of this is test code: a panic is a failed test, and what it prints is its report"
)]

mod branches;
mod cluster;
mod compare;
mod following;
mod full_disk;
mod hangs;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the API and of faults, each of which uses another part"
)]
#[path = "../integration/harness/mod.rs"]
mod harness;
mod images;
mod kills;
#[allow(dead_code, reason = "shared with the tests of faults, which use more of it")]
#[path = "../faults/means.rs"]
mod means;
mod obstacles;
mod retention;
mod tls;
