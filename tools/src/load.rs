//! `booking-load`: puts a server under load, measures it, and checks that it told the truth.
//!
//! **Invariant:** it knows of the server what its API says, and nothing else.
//!
//! Reading order: [`arguments`] is what can be asked for; a [`run`] goes from making users and events
//! ([`setup`], [`world`]) to the [`report`] ([`figures`] for machines, [`percentiles`] and [`plot`] for
//! eyes). In between is a [`phase`] of load or, in a [`storm`], several. Each of its threads is a
//! [`worker`], which keeps many [`connection`]s busy by a schedule and knows nothing of bookings;
//! what is asked is decided by a [`crowd`] of users, whose [`plan`] is the [`scenario`], with
//! [`supply`] for seats that are asked for once. [`ledger`] is what they were told; [`sweep`] reads
//! everything back, as [`rows`], and [`claims`] is whether it can be true. [`wire`] is HTTP,
//! [`operation`] the kinds of requests, [`tally`] and [`beat`] what was measured, [`live`] the line
//! that tells how it goes; [`client`] asks one thing at a time, [`server`] is which one is asked,
//! [`skew`] what time it is there, [`process`] what it costs, [`clock`] the time here. [`demo`] tells
//! a story of a [`town`]; [`compare`] runs other servers, too, under the same load.

use std::io::Write;

use crate::Status;
use crate::output::Output;

pub mod arguments;
mod beat;
mod claims;
mod client;
mod clock;
mod compare;
mod connection;
mod crowd;
mod demo;
mod figures;
mod ledger;
mod live;
mod operation;
mod percentiles;
mod phase;
mod plan;
mod plot;
mod process;
mod report;
mod rows;
mod run;
mod scenario;
mod server;
mod setup;
mod skew;
mod storm;
mod supply;
mod sweep;
mod tally;
mod town;
mod wire;
mod worker;
mod world;

pub use scenario::Scenario;

/// Runs a scenario and reports what came of it.
///
/// # Errors
/// The server cannot be used, or the report cannot be written.
pub fn load(
    scenario: Scenario,
    run: &arguments::Run,
    output: &mut Output<impl Write>,
) -> anyhow::Result<Status> {
    let outcome = run::run(scenario, run)?;
    report::write(&outcome, output)
}

/// Makes very many holds lapse together and reports what others noticed.
///
/// # Errors
/// As [`load`].
pub fn storm(storm: &arguments::Storm, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    report::write(&storm::run(storm)?, output)
}

/// Fills a server with people and shows, and walks one booking through its life.
///
/// # Errors
/// The server cannot be used, or the story cannot be written.
pub fn demo(place: &arguments::Place, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    demo::demo(&place.url, output)
}

/// Runs booking-manager and others in turns, and compares them.
///
/// # Errors
/// A contender cannot be started or used, or the result cannot be written.
pub fn compare(
    order: &arguments::Compare,
    output: &mut Output<impl Write>,
) -> anyhow::Result<Status> {
    compare::compare(order, output)
}

/// Is the front end of a contender until it is ended.
///
/// # Errors
/// It cannot listen, or what is behind it is not there.
pub fn front(front: &arguments::Front) -> anyhow::Result<Status> {
    compare::front(front)?;
    Ok(Status::Sound)
}
