//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::filter::Filter;

/// Opens the log of a data directory, offline or beside a running server. Never changes anything.
#[derive(Debug, Parser)]
#[command(
    name = "booking-wal",
    version,
    after_help = "Exit codes: 0 nothing is wrong; 1 damage, which was named; 2 the command line is \
                  wrong, or the directory cannot be read."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Decide as recovery would, and say what it would find
    ///
    /// Reads the whole log from the disk, checks every frame and decodes every record, and ends in
    /// the decision that a starting server would come to: that the log is sound, with where it ends
    /// and what a crash left torn behind that; or the first damaged place. Whether a record
    /// contradicts those before it is not checked; the server does that when it starts.
    Verify(Place),
    /// List records, one a line
    ///
    /// Each line has the record's LSN, epoch, time (RFC 3339, UTC), kind and decoded fields. Public
    /// ids are shown where the record that issued them is in the log. Damage is named in its place,
    /// and the listing goes on behind it; what a crash left torn behind the end is not listed, only
    /// `verify` tells of it. The secret of an event's ticket ids is not shown, except in what
    /// --raw shows.
    Inspect(Request),
    /// Count segments, records and bytes by kind, and say what recovery would do now
    Stats(Place),
}

/// Which log, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The data directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Answer in JSON: one object, or for `inspect` one object a line
    #[arg(long)]
    pub json: bool,
}

/// Which records of which log.
#[derive(Clone, Debug, Args)]
pub struct Request {
    /// Which log, and how to answer.
    #[command(flatten)]
    pub place: Place,
    /// Which records.
    #[command(flatten)]
    pub filter: Filter,
    /// Show the payload in hexadecimal, too
    #[arg(long)]
    pub raw: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
