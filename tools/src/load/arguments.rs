//! The command line of `booking-load`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::server::Server;

/// Puts a booking-manager server under load, measures it, and checks that it told the truth
///
/// Every run makes users and events of its own, through the API, so it can be repeated on the same
/// server and beside other clients. Afterwards everything that it made is read back and compared with
/// what the server had answered.
///
/// In a closed loop (the default) each of --connections sends its next request when it has its
/// answer. In an open loop (--rate) requests are due on a fixed schedule, and latency counts from
/// when a request was due, whether or not a connection was free for it.
#[derive(Debug, Parser)]
#[command(
    name = "booking-load",
    version,
    after_help = "Exit codes: 0 all is well; 1 the server broke a promise, which was named; 2 the \
                  command line is wrong, or the server cannot be used."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One event, and every request asks for a seat that nobody else wants
    ///
    /// So no request is refused, and what is measured is how fast one event can be sold. If the seats
    /// of an event do not last, the next event follows; by default there are enough for 80,000
    /// holds a second. If they do not last either, the oldest holds are cancelled and their seats taken
    /// again; cancellations are then listed by themselves.
    HotEvent(Run),
    /// Everybody wants one of the same 100 seats
    ///
    /// Whoever gets one cancels it with the next request, so that the fight goes on.
    HotSeats(Run),
    /// Groups of 1 to 8 want seats next to each other in a small hall
    ///
    /// The sets overlap at random. Whoever gets theirs cancels it with the next request.
    Groups(Run),
    /// Many events, and every request asks for a seat that nobody else wants
    ///
    /// As `hot-event`, with all events in turns.
    ManyEvents(Run),
    /// Customers look for free seats, hold some of those they saw, then confirm (70 %), cancel (20 %)
    /// or walk away (10 %)
    ///
    /// Seats that two saw at once are refused to the second. Seats that are sold or left behind are
    /// not free again, so in a long run the halls fill up, and more and more people only look.
    Checkout(Run),
    /// Nobody buys: pages of events, single events, pages of tickets and of free tickets
    Browse(Run),
    /// Very many holds lapse together, while others book other events at a steady rate
    ///
    /// Measures how much the others notice: once before the first hold lapses, and once from then
    /// until a second after the last. --rate is that of the others (2,000 if not given). The server needs a
    /// short HOLD_TTL_SECONDS, long enough for placing the holds and measuring before: 15, say.
    ExpiryStorm(Storm),
    /// Run booking-manager, a bare server, PostgreSQL and Redis in turns, and compare them
    ///
    /// All are started here, each in a directory of its own, and get the requests of `hot-event` from
    /// the same generator, in a closed loop unless --rate is given. PostgreSQL and Redis stand behind
    /// a small front end that speaks the same HTTP; what is not installed is left out, and the table
    /// says so. After each turn what was acknowledged is compared with what is stored. Ratios are to
    /// the bare server of the same round, which has a second turn in each round as a control.
    Compare(Compare),
    /// Stand before a backend of a comparison
    #[command(hide = true)]
    Front(Front),
    /// Fill a server with people, halls and shows, and walk one booking through its life
    ///
    /// Tells of each step what is asked, what is answered, and what that means.
    Demo(Place),
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

/// Which server.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Which server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: Server,
}

/// How to put a server under load.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Which server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: Server,
    /// Open loop: requests a second, in all; otherwise a closed loop
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// Connections, in all
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: u32,
    /// Threads that share the connections
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// How long to measure, such as 10s, 500ms or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub duration: Duration,
    /// How long to run before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub warmup: Duration,
    /// Users to make
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: u32,
    /// Events to make; by default what the scenario needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub events: Option<u32>,
    /// Seats of each event; by default what the scenario needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub seats: Option<u32>,
    /// How long an answer may take before its connection is given up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span)]
    pub timeout: Duration,
    /// Begin the random choices with this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Also measure the CPU time of this process, which should be the server
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Do not check afterwards what the server has told
    #[arg(long)]
    pub no_sweep: bool,
    /// Write the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Write percentiles of each kind of request into this directory, as HDR histogram plotters read
    /// them (.hgrm, milliseconds)
    #[arg(long, value_name = "DIR")]
    pub hdr: Option<PathBuf>,
    /// Draw latency by percentile into this file (SVG)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// How to put a server into a storm.
#[derive(Clone, Debug, Args)]
pub struct Storm {
    /// Which server and so on.
    #[command(flatten)]
    pub run: Run,
    /// How many holds lapse together
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub holds: u32,
}

/// How to compare servers.
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// The booking-manager to start; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where the contenders keep their data meanwhile; should be on a disk
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub directory: PathBuf,
    /// Leave out all others, but for the bare server
    #[arg(long, value_enum, value_name = "WHO", value_delimiter = ',')]
    pub only: Vec<Competitor>,
    /// Open loop: requests a second, in all; otherwise a closed loop
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// How often all take their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Slices to measure of each contender, in all rounds together; rounded up to fill the rounds
    #[arg(long, value_name = "N", default_value_t = 25)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slices: u32,
    /// How long a slice is
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub slice: Duration,
    /// How long each turn runs before its first slice
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub warmup: Duration,
    /// Connections, in all
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Users to make
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub users: u32,
    /// Write the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw the rates into this file (SVG)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
}

/// Who can take part in a comparison, in all its forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Competitor {
    /// With durability `commit` and `os`.
    BookingManager,
    /// With `FOR UPDATE` and as one statement.
    #[value(name = "postgresql")]
    PostgreSql,
    /// With `appendfsync` `always` and `everysec`.
    Redis,
}

/// What a front end stands before.
#[derive(Clone, Debug, Args)]
pub struct Front {
    /// What is behind it.
    #[arg(long, value_enum)]
    pub backend: Backend,
    /// The directory of PostgreSQL's socket, or Redis's socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// What can be behind a front end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Backend {
    /// Nothing: it answers a constant.
    Noop,
    /// PostgreSQL, by a function that locks the seats, then changes them.
    PostgresForUpdate,
    /// PostgreSQL, by one statement that changes the seats if they are free.
    PostgresOneStatement,
    /// Redis, by a script.
    Redis,
}

/// Reads a span of time with a unit.
fn span(text: &str) -> anyhow::Result<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => anyhow::bail!("a time is a number and ms, s, m or h"),
    };
    let number: f64 = number.parse().context("a time begins with a number")?;
    let seconds = number * unit;
    ensure!(seconds <= 86_400.0, "more than a day is too long");
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn spans_have_units() {
        for (text, millis) in
            [("10s", 10_000), ("1.5s", 1_500), ("250ms", 250), ("2m", 120_000), ("3", 3_000)]
        {
            assert_eq!(span(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in ["", "s", "1d", "1s2", "-1s", "25h", "1.2.3s"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
