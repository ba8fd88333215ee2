//! `booking-load`: puts a server under load, measures it, and checks that it told the truth.
//!
//! **Invariant:** it knows of the server what its API says, and nothing else.
//!
//! Reading order: [`arguments`] is what can be asked for; [`run`] is a run from making users and events
//! ([`setup`], [`world`]) to the report ([`report`]). In between, each thread is a [`worker`], which
//! keeps many [`connection`]s busy by a schedule and knows nothing of bookings; what is asked is
//! decided by a [`crowd`] of users, whose [`plan`] is the scenario, with [`supply`] for seats that are
//! asked for once; [`ledger`] is what they were told, [`sweep`] holds it against what the server says
//! afterwards. [`wire`] is HTTP, [`operation`] the kinds of requests, [`tally`] and [`beat`] what was
//! measured, [`client`] asks one thing at a time, [`server`] is which one is asked, [`process`] what
//! it costs, [`clock`] the time.

use std::io::Write;

use crate::Status;
use crate::output::Output;

pub mod arguments;
mod beat;
mod client;
mod clock;
mod connection;
mod crowd;
mod ledger;
mod operation;
mod plan;
mod process;
mod report;
mod run;
mod server;
mod setup;
mod supply;
mod sweep;
mod tally;
mod wire;
mod worker;
mod world;

pub use run::Scenario;

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
