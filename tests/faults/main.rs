//! Crashes, failing system calls, full disks and clocks that step: a real server meets each of them,
//! and what it told its clients stays true.
//!
//! | module | what happens to the server | needs |
//! |---|---|---|
//! | [`crash_images`] | the machine crashes: only what was synced is there afterwards | root, loop devices, btrfs |
//! | [`injected`] | a system call fails, or is the last one before a kill: each in turn | strace |
//! | [`call_order`] | nothing: the order of its system calls is checked | strace |
//! | [`full_disk`] | there is no space left, and then there is | root, loop devices |
//! | [`hanging_sync`] | a sync that takes longer than requests may wait | strace |
//! | [`clocks`] | the time of day and the time since boot step; the process is suspended | a C compiler, x86-64 |
//!
//! `btrfs-progs` and `strace` are installed from Debian's packages where they are missing and the
//! tests run as root. Where the right or the means for a test is missing, it says so and shows nothing;
//! with `FAULTS_REQUIRED=1` it fails.
//!
//! A run takes a sample of what could be tried, by a seed that it prints. `FAULTS=long` tries
//! everything, which takes long: `FAULTS=long cargo test --test faults -- --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "all of this is test code: a panic is a failed test, and what it prints is its report"
)]

mod audit;
mod call_order;
mod clocks;
mod crash_images;
mod disks;
mod full_disk;
mod hanging_sync;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the API and of the mirror, each of which uses another part"
)]
#[path = "../integration/harness/mod.rs"]
mod harness;
mod injected;
mod means;
mod script;
mod trace;
