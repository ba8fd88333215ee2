//! `booking-wal`: opens the log of a data directory offline, or beside a running server.
//!
//! **Invariant:** nothing here changes anything. No lock is taken, no file is opened for writing,
//! nothing is synced. What a server that has the directory can notice is the load: `verify` and
//! `stats` read the medium, as recovery does, and so let go of the cached pages of the log, for
//! which the kernel may write some of them back sooner than it would have.
//!
//! Reading order: [`arguments`] is what can be asked for; [`verdict`], [`listing`] and [`tally`]
//! answer the three subcommands; [`frames`] is how two of them read on past damage, and [`fault`]
//! how damage is named; [`names`], [`fields`] and [`filter`] are what is known, shown and asked of
//! a single record; [`instant`] is time as text, [`output`] where all of it goes.
//!
//! Architecture invariant: of the server these modules know the domain and the codec alone. So they
//! can tell whether a record is whole and decodes, and not whether it contradicts those before it:
//! that is only known to the engine, which checks it when the server starts.

pub mod arguments;
pub mod fault;
pub mod fields;
pub mod filter;
pub mod frames;
pub mod instant;
pub mod listing;
pub mod names;
pub mod output;
pub mod tally;
pub mod verdict;

/// What a log was found to be; the exit code says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Nothing is wrong with what was looked at.
    Sound,
    /// Something is damaged, or written by a newer version, and was named.
    Damaged,
}
