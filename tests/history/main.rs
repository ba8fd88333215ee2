//! The guarantees G1 to G5, shown on recorded histories.
//!
//! Clients of a real server fight for the same seats and write down every request with what became
//! of it and when: what they were answered, with its `X-Log-Position`, or that no answer came,
//! because they lost patience, hung up, or the server was killed. A checker then decides in linear
//! time whether a booking engine that keeps its promises could have behaved like that.
//!
//! Reading order: [`history`], [`checker`], [`matching`], [`model`], [`judge`], [`counters`]; then how
//! histories come to be: [`wire`], [`recorder`], [`crowd`], [`edge`], [`course`]. That the checker
//! sees what is wrong is shown in [`controls`]: a good history is changed in one place, and the
//! checker must say in which way.
//!
//! `BOOKING_HISTORY_OPERATIONS` says how many operations are recorded, a million unless it is set:
//!
//! ```sh
//! BOOKING_HISTORY_OPERATIONS=20000000 cargo test --test history -- --nocapture
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "all of this is test code: a panic is a failed test, and what it prints is its report"
)]

mod answers;
mod checker;
mod controls;
mod counters;
mod course;
mod crowd;
mod edge;
mod episodes;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the API, which use all of it"
)]
#[path = "../integration/harness/mod.rs"]
mod harness;
mod history;
mod judge;
mod keys;
mod matching;
#[allow(dead_code, reason = "shared with the tests of faults, which use more of it")]
#[path = "../faults/means.rs"]
mod means;
mod model;
mod rare;
mod recorder;
mod records;
mod requests;
mod second_opinion;
mod server_clock;
mod stopwatch;
mod story;
mod violations;
mod whole;
mod wire;
mod world;
