//! The process: wiring, and nothing else.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tools::load::arguments::{Arguments, Command};
use tools::load::{Scenario, compare, demo, front, load, storm};
use tools::output::Output;
use tools::{Status, manual};

const WRONG: u8 = 1;
/// Also what clap exits with when the command line is wrong.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(Status::Sound) => ExitCode::SUCCESS,
        Ok(Status::Damaged) => ExitCode::from(WRONG),
        Err(error) => {
            // Without standard error the exit code is all there is left to say.
            let _ = writeln!(io::stderr(), "booking-load: {error:#}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Status> {
    let mut output = Output::new(BufWriter::new(io::stdout().lock()));
    let status = match &arguments.command {
        Command::HotEvent(run) => load(Scenario::HotEvent, run, &mut output),
        Command::HotSeats(run) => load(Scenario::HotSeats, run, &mut output),
        Command::Groups(run) => load(Scenario::Groups, run, &mut output),
        Command::ManyEvents(run) => load(Scenario::ManyEvents, run, &mut output),
        Command::Checkout(run) => load(Scenario::Checkout, run, &mut output),
        Command::Browse(run) => load(Scenario::Browse, run, &mut output),
        Command::ExpiryStorm(order) => storm(order, &mut output),
        Command::Compare(order) => compare(order, &mut output),
        Command::Front(order) => front(order),
        Command::Demo(place) => demo(place, &mut output),
        Command::Completions { shell } => {
            manual::completions(Arguments::command(), *shell, &mut output)
        }
        Command::Man { out } => manual::pages(Arguments::command(), out.as_deref(), &mut output),
    }?;
    output.finish()?;
    Ok(status)
}
