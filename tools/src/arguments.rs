//! The command line.

use std::path::PathBuf;

use booking_manager::domain::{BookingStatus, EventNumber};
use booking_manager::mirror::Secret;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::filter::{Filter, Named};
use crate::moment::Moment;
use crate::seat::Seat;

/// Opens the log of a data directory, offline or beside a running server
///
/// Works on a live directory and on a copy alike. Nothing is ever changed, except by `repair`, which
/// changes the log and keeps what it changed, and by `snapshot`, which adds a file. Output is text, or with --json for machines; while long
/// work goes on, a bar on standard error shows how far it has come, if that is a terminal. A reader
/// that closes the pipe early is no error.
#[derive(Debug, Parser)]
#[command(
    name = "booking-wal",
    version,
    after_help = "Exit codes: 0 nothing is wrong; 1 damage or a difference, which was named; 2 the \
                  command line is wrong, or the directory or the database cannot be used."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the log and its snapshots against each other, and say what recovery would decide
    ///
    /// Reads the whole log from the disk, checks every frame, and checks that every record is legal
    /// given those before it: a seat has one holder at a time, totals add up, a booking ends once.
    /// Each snapshot must be whole, of this log, and exactly the state that the records before it
    /// make; the log must reach at least to the newest one, even if that is damaged. Ends in what
    /// all of it comes to (tickets, bookings, money), in the hash of the state (as the server logs
    /// it), in what a crash left torn behind the end, or in the first damaged place.
    ///
    /// A server that starts reads less: it goes on from the newest snapshot that it can use. So the
    /// verdict may be that something is damaged and a server would start all the same; that is
    /// damage to the exit code, too. If the beginning of the log has been removed, checking begins
    /// at the oldest snapshot that can be used.
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
    ///
    /// Also how many records of each kind there were over time, which snapshots there are, and how
    /// long recovery would take, which is estimated from how fast this very run could load the
    /// newest one, read the rest of the log from the disk and check it.
    Stats(Census),
    /// Tell everything that ever happened to one seat
    ///
    /// Holds, confirmations, cancellations and expiries, in the order of the log, with booking, user,
    /// time and LSN, and who has the seat at the end. If the first segments of the log have been
    /// removed, what they told is not known; the answer says from where on it is complete.
    History(Tale),
    /// Show what was at a moment: events with their counters, or the seats of one event
    ///
    /// The answer is exact for the position that it names: every record before that is in it, none
    /// behind. A hold counts as reserved until its end is recorded. Beside a running server the end
    /// of the log may be a little ahead of what is durable. A name of a client's making is quoted.
    State(Glance),
    /// List bookings with all their columns, as they were at a moment
    ///
    /// As NDJSON, the first line is an object that says for what position of which log the rest is
    /// exact, and how many bookings follow. As CSV, the first line has the names of the columns,
    /// ids and seat numbers of one booking are separated by spaces, and the position is told on
    /// standard error, since CSV has no place for it that all readers skip. Amounts are in the
    /// currency's main unit.
    Export(Extract),
    /// Make a snapshot
    ///
    /// A running server is asked, through the socket `admin.sock` in its data directory, to make
    /// one now. If none runs, the lock of the directory is taken, the log is recovered as a starting
    /// server does it, and the snapshot is made of where it ends. Older snapshots and the log
    /// stay as they are. Nothing is made of a log that a server would refuse.
    Snapshot(Place),
    /// Cut damage off the end of a log, so that a server starts again
    ///
    /// A tail that a crash left torn needs no repair: nothing in it was acknowledged, and the server
    /// cuts it off itself. What the server refuses is damage *before* a position that was known to be
    /// durable. Restore from a backup if there is one. If there is none, this throws away everything
    /// from the damage to the end of the log, *acknowledged records among it*, and so it first only
    /// explains: file, offset, LSN, what is lost. To go on, repeat the LSN that it names with
    /// --lose-acknowledged-records-from.
    ///
    /// It takes the lock of the directory and so refuses while a server runs. Before anything is
    /// changed the outcome is tried on links to the files, in the system's temporary directory, and
    /// all files that will be changed or removed are kept, by hard links, in a directory
    /// `repair-<time>` inside the data directory; move them back to undo it. Snapshots beyond the cut are
    /// set aside there as well. A PostgreSQL mirror that
    /// is ahead of the cut has records that the log then lacks, and must be filled anew.
    Repair(Surgery),
    /// Fill a PostgreSQL database from the log, or compare the two
    ///
    /// Does what a server does that mirrors into the database, with the same code, and goes on from
    /// where the database stands: an empty one is filled from the beginning of the log, or from the
    /// newest snapshot if that has been removed. Each transaction moves the database's checkpoint with
    /// its rows, so after a kill the same command goes on, without a gap and without a duplicate.
    ///
    /// Only what is durable is replayed. Without a server that is all that recovery would keep; the
    /// lock of the directory is taken while that is decided, and what a killed server left in memory
    /// is synced first. Beside a running server another process cannot know its durable mark: then
    /// replay ends at the last position that the log itself proves durable, and says so.
    ///
    /// --verify compares every row with the log, at the position that the database claims. It only
    /// reads, and a mirror may go on meanwhile. A difference is listed and makes the exit code 1.
    Replay(Replay),
    /// Make, show or remove the tables in a PostgreSQL database
    ///
    /// A server and `replay` make them by themselves. Tables of the same names that are not the
    /// mirror's are never touched.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of all subcommands
    Man {
        /// Write a page for the program and each subcommand into this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Which log to count, and how.
#[derive(Clone, Debug, Args)]
pub struct Census {
    /// Which log, and how to answer.
    #[command(flatten)]
    pub place: Place,
    /// List the segment files (JSON always does)
    #[arg(long)]
    pub segments: bool,
    /// Seconds per line of the table of rates; by default so many that it stays short
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub bucket: Option<u32>,
}

/// Which seat of which log.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["ticket", "event"]))]
pub struct Tale {
    /// Which log, and how to answer.
    #[command(flatten)]
    pub place: Place,
    /// The ticket of the seat; seats count from 1
    #[arg(long, value_name = "UUID|EVENT/SEAT")]
    pub ticket: Option<Seat>,
    /// The event of the seat
    #[arg(long, value_name = "UUID|NUMBER", requires = "seat", conflicts_with = "ticket")]
    pub event: Option<Named<EventNumber>>,
    /// The number of the seat, from 1
    #[arg(long, value_name = "N", requires = "event", conflicts_with = "ticket")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub seat: Option<u32>,
}

/// What of which moment.
#[derive(Clone, Debug, Args)]
pub struct Glance {
    /// Which log, and how to answer.
    #[command(flatten)]
    pub place: Place,
    /// When the log had come to this position, or before the first record decided after this time
    /// (RFC 3339); otherwise at the end of the log
    #[arg(long, value_name = "LSN|TIME")]
    pub at: Option<Moment>,
    /// The seats of this event
    #[arg(long, value_name = "UUID|NUMBER")]
    pub event: Option<Named<EventNumber>>,
}

/// Which bookings of which moment.
#[derive(Clone, Debug, Args)]
pub struct Extract {
    /// The data directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub format: Format,
    /// When the log had come to this position, or before the first record decided after this time
    /// (RFC 3339); otherwise at the end of the log
    #[arg(long, value_name = "LSN|TIME")]
    pub at: Option<Moment>,
    /// Of this event alone
    #[arg(long, value_name = "UUID|NUMBER")]
    pub event: Option<Named<EventNumber>>,
    /// Of this status alone: pending, confirmed, cancelled or expired
    #[arg(long, value_name = "STATUS", value_parser = crate::filter::booking_status)]
    pub status: Option<BookingStatus>,
}

/// How bookings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values
    Csv,
}

/// What to cut off which log.
#[derive(Clone, Debug, Args)]
pub struct Surgery {
    /// Which log, and how to answer.
    #[command(flatten)]
    pub place: Place,
    /// Cut the log where its damage begins
    #[arg(long, required = true)]
    pub cut_tail: bool,
    /// Explain what would be cut, and change nothing; takes no lock
    #[arg(long)]
    pub dry_run: bool,
    /// Confirm that the log is to end at this LSN, though records behind it were acknowledged
    #[arg(long, value_name = "LSN", value_parser = crate::filter::position)]
    pub lose_acknowledged_records_from: Option<u64>,
}

/// Which database.
#[derive(Clone, Debug, Args)]
pub struct Database {
    /// The database, as postgres://user:password@host:port/name?sslmode=prefer
    ///
    /// Other users of the machine can see the command line: let the URL come from DATABASE_URL, or
    /// the password from PGPASSWORD. Neither is ever shown.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub to: Secret,
}

/// What is done to the tables.
#[derive(Clone, Debug, Subcommand)]
pub enum Migrate {
    /// Show which migrations were carried out; exit code 1 if any was not
    Status(Schema),
    /// Carry out what was not yet
    Up(Schema),
    /// Remove the tables with all their rows; the log has them all the same
    Down {
        /// Whose tables, and how to answer.
        #[command(flatten)]
        schema: Schema,
        /// Do it; otherwise it is only said what would be dropped
        #[arg(long)]
        yes: bool,
    },
}

/// Whose tables, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct Schema {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// Answer in JSON: one object
    #[arg(long)]
    pub json: bool,
}

/// What to replay into which database.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("start").args(["from_beginning", "from_snapshot"]))]
pub struct Replay {
    /// Which log, and how to answer.
    #[command(flatten)]
    pub place: Place,
    /// Into which database.
    #[command(flatten)]
    pub database: Database,
    /// Fill an empty database from the beginning of the log
    #[arg(long)]
    pub from_beginning: bool,
    /// Fill an empty database from the newest snapshot, and then from the log behind it
    #[arg(long)]
    pub from_snapshot: bool,
    /// Compare every row with the log afterwards
    #[arg(long)]
    pub verify: bool,
    /// Compare every row with the log, and replay nothing
    #[arg(long, conflicts_with_all = ["start", "verify"])]
    pub verify_only: bool,
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
    /// Go on as the log grows, until interrupted or the reader closes the pipe
    ///
    /// A line comes as soon as its record is written, which may be before it is durable: another
    /// process than the server cannot tell. Should a crash take such a record back, a line says so
    /// once a server has restarted.
    #[arg(short, long)]
    pub follow: bool,
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
