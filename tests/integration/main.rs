//! The contract, tested from outside: a real server process, real sockets, real files.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "all of this is test code: a panic is a failed test, and what it prints is its report"
)]

mod api_bookings;
mod api_errors;
mod api_events;
mod api_headers;
mod api_idempotency;
mod api_lists;
mod api_stats;
mod api_users;
mod bounds;
mod contention;
mod contract_model;
mod contract_order;
mod crash;
mod damaged_log;
mod expiry;
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the mirror and of faults, each of which uses another part"
)]
mod harness;
mod hostile_bodies;
mod idle;
mod known_failures;
mod large;
#[allow(dead_code, reason = "shared with the tests of faults, which use more of it")]
#[path = "../faults/means.rs"]
mod means;
mod money;
mod openapi;
mod shutdown;
mod slow_clients;
mod smuggling;
mod snapshot_faults;
mod snapshots;
mod timeouts;
mod tour;
mod transport;
