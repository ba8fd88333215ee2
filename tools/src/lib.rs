//! `booking-wal`: opens the log of a data directory offline, or beside a running server.
//!
//! **Invariant:** only [`repair`] changes a log, and it says so; [`checkpoint`] adds a file beside it.
//! That one and [`replay`] build on where a log ends, and so take its lock and sync it where no
//! server has it. For all else no lock is taken, no file is opened for writing, nothing is synced.
//! What a server that has the directory can notice is the load: `verify` and `stats` read the medium,
//! as recovery does, and so let go of the cached pages of the log, for which the kernel may write
//! some of them back sooner than it would have.
//!
//! Reading order: [`arguments`] is what can be asked for; [`audit`], [`listing`], [`tally`],
//! [`history`], [`state`] and [`export`] answer the subcommands that read, [`checkpoint`] and [`repair`]
//! those that write, with [`cut`] what a repair would do and [`trial`] what would come of it;
//! [`fold`] is a pass of recovery, [`verdict`] what a starting server would make of one, [`snapshots`]
//! what it could begin with, [`moment`] the state in the midst of the log, [`totals`] what a state comes
//! to; [`frames`] is how most of them read on past damage, and [`fault`] how damage is named;
//! [`names`], [`fields`], [`filter`] and [`seat`] are what is known, shown and asked of a single
//! record, [`rates`] how many there were when; [`instant`] is time as text, [`output`] where all of
//! it goes, [`progress`] what is shown meanwhile, [`patience`] how a log that grows is waited for;
//! [`replay`] fills a database from the log and [`compare`] holds the two against each other;
//! [`migrate`] is about the tables, [`database`] how to get in; [`manual`] is the program about itself.
//!
//! Architecture invariant: of the server these modules know the domain, the codec, the image and the
//! mirror, never the engine. The image is the very fold that recovery starts from, so that
//! [`verdict`] refuses what a server would.

pub mod arguments;
pub mod audit;
pub mod checkpoint;
pub mod compare;
pub mod cut;
pub mod database;
pub mod export;
pub mod fault;
pub mod fields;
pub mod filter;
pub mod fold;
pub mod frames;
pub mod history;
pub mod instant;
pub mod listing;
pub mod load;
pub mod manual;
pub mod migrate;
pub mod moment;
pub mod names;
pub mod output;
pub mod patience;
pub mod progress;
pub mod rates;
pub mod repair;
pub mod replay;
pub mod seat;
pub mod snapshots;
pub mod state;
pub mod tally;
pub mod totals;
pub mod trial;
pub mod verdict;

/// What a log was found to be; the exit code says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Nothing is wrong with what was looked at.
    Sound,
    /// Something is damaged, or written by a newer version, and was named.
    Damaged,
}
