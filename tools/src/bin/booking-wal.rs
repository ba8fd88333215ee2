//! The process: wiring, and nothing else.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tools::Status;
use tools::arguments::{Arguments, Command};
use tools::output::Output;
use tools::{
    audit, checkpoint, export, history, listing, manual, migrate, repair, replay, state, tally,
};

const DAMAGED: u8 = 1;
/// Also what clap exits with when the command line is wrong.
const UNREADABLE: u8 = 2;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(Status::Sound) => ExitCode::SUCCESS,
        Ok(Status::Damaged) => ExitCode::from(DAMAGED),
        Err(error) => {
            // Without standard error the exit code is all there is left to say.
            let _ = writeln!(io::stderr(), "booking-wal: {error:#}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Status> {
    let mut output = Output::new(BufWriter::new(io::stdout().lock()));
    let status = match &arguments.command {
        Command::Verify(place) => audit::verify(place, &mut output),
        Command::Inspect(request) => listing::inspect(request, &mut output),
        Command::Stats(census) => tally::stats(census, &mut output),
        Command::History(tale) => history::history(tale, &mut output),
        Command::State(glance) => state::state(glance, &mut output),
        Command::Export(extract) => export::export(extract, &mut output),
        Command::Snapshot(place) => checkpoint::snapshot(place, &mut output),
        Command::Repair(surgery) => repair::repair(surgery, &mut output),
        Command::Replay(order) => replay::replay(order, &mut output),
        Command::Migrate(migrate) => migrate::migrate(migrate, &mut output),
        Command::Completions { shell } => {
            manual::completions(Arguments::command(), *shell, &mut output)
        }
        Command::Man { out } => manual::pages(Arguments::command(), out.as_deref(), &mut output),
    }?;
    output.finish()?;
    Ok(status)
}
