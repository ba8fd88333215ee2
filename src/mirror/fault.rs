//! What can go wrong, in two classes: what passes by itself, and what an operator must act on.
//!
//! **Invariant:** every error that PostgreSQL can give falls into one of the two. What is not known
//! is taken to pass: it is tried again, and shown as it was said. An [`Obstacle`] says in its text
//! what to do.

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::{DbError, SqlState};
use uuid::Uuid;
use wal::{Lsn, ReadError};

use crate::codec::CodecError;
use crate::image::snapshot::{OtherLog, SnapshotError};

/// How an operator has the tables made and filled anew.
const REBUILD: &str = "have the tables made anew with `booking-wal migrate down --yes`: the mirror then \
                       makes them and fills them again by itself";

/// Why the mirror stopped where it was. Nothing of its transaction is in PostgreSQL.
#[derive(Debug, Error)]
pub enum Fault {
    /// PostgreSQL cannot be reached, or the connection ended.
    #[error("no connection to PostgreSQL: {0}")]
    Connection(String),
    /// PostgreSQL refused for a reason that passes: stopping, starting, full, a lock, a conflict.
    #[error("PostgreSQL: {message} ({code})")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// What it said.
        message: String,
    },
    /// PostgreSQL did not answer.
    #[error("PostgreSQL did not answer for {} s", .0.as_secs())]
    Silent(Duration),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(#[from] ReadError),
    /// The snapshots beside the log cannot be listed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It will not pass by itself.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
}

/// What an operator must act on. Its text says how.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Obstacle {
    /// The tables hold another log.
    #[error(
        "the database holds the mirror of another log ({theirs} instead of {ours}): use another \
         database, or have that mirror removed with `booking-wal migrate down --yes`"
    )]
    OtherLog {
        /// The log in PostgreSQL.
        theirs: Uuid,
        /// The log that is being read.
        ours: Uuid,
    },
    /// The snapshot to fill the tables from is of another log.
    #[error(transparent)]
    OtherSnapshot(#[from] OtherLog),
    /// Somebody else mirrors into this database now.
    #[error("another process is mirroring into this database: stop it, or use another database")]
    Busy,
    /// Somebody else moved the checkpoint.
    #[error(
        "another process has advanced the mirror in this database: stop it, or use another database"
    )]
    Overtaken,
    /// The tables were made by a newer version.
    #[error(
        "the tables are of version {found}, and this program knows up to {known}: run the newer \
         program, or have its `booking-wal migrate down --yes` remove them"
    )]
    Newer {
        /// The version in PostgreSQL.
        found: i32,
        /// The newest version this program knows.
        known: i32,
    },
    /// A migration is recorded that is not the one that this program has under the number.
    #[error(
        "migration {version} in the database is not this program's: use another database, or run \
         the program that made the tables"
    )]
    OtherMigration {
        /// Its number.
        version: i32,
    },
    /// PostgreSQL is too old.
    #[error("PostgreSQL is version {found}: it must be {needed} or newer")]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: i32,
    },
    /// Tables with our names that are not ours.
    #[error(
        "the schema {schema} has tables of the same names that are not the mirror's ({tables}); \
         nothing was changed: use another database, or a role whose search_path begins with an \
         empty schema"
    )]
    Foreign {
        /// The schema.
        schema: String,
        /// The tables.
        tables: String,
    },
    /// The role has no schema to create tables in.
    #[error("the role's search_path names no schema that exists: create one for it")]
    NoSchema,
    /// A table or column is gone or has changed.
    #[error("the mirror's tables were changed or dropped ({message}): {REBUILD}")]
    Altered {
        /// What PostgreSQL said.
        message: String,
    },
    /// The rows are not as the mirror left them.
    #[error("rows of the mirror were changed by somebody else ({what}): {REBUILD}")]
    Meddled {
        /// Which, and how it showed.
        what: String,
    },
    /// PostgreSQL is ahead of the log.
    #[error(
        "the mirror is at LSN {mirrored}, but the log ends at LSN {end}: the log was replaced by \
         an older copy. Bring back the newer log, or accept the loss: {REBUILD}"
    )]
    Ahead {
        /// Where PostgreSQL is.
        mirrored: Lsn,
        /// Where the log ends.
        end: Lsn,
    },
    /// PostgreSQL has records that this log never had, though it is long enough.
    #[error(
        "the mirror is at LSN {mirrored} of a log that this one is an older copy of, which has gone on \
         by itself since. Bring back the other log, or accept the loss: {REBUILD}"
    )]
    OtherBranch {
        /// Where PostgreSQL is.
        mirrored: Lsn,
    },
    /// The log no longer has what comes next, and no snapshot stands in for it.
    #[error(
        "the log begins at LSN {first}, behind what the tables hold, and there is no whole snapshot \
         to fill them from{refused}: `booking-wal snapshot` makes one"
    )]
    NoBeginning {
        /// Where the log begins.
        first: Lsn,
        /// Those that are there, and why not from them.
        refused: String,
    },
    /// A record that this program does not know.
    #[error("the record at LSN {lsn} cannot be mirrored: {error}")]
    Record {
        /// Where it is.
        lsn: Lsn,
        /// Why.
        error: String,
    },
    /// Wrong password, unknown role, or not let in.
    #[error(
        "PostgreSQL does not let the mirror in ({message}): correct DATABASE_URL or DB_*, or pg_hba.conf"
    )]
    Login {
        /// What PostgreSQL said.
        message: String,
    },
    /// The database does not exist.
    #[error("{message}: create it (`createdb`), or correct DATABASE_URL or DB_NAME")]
    NoDatabase {
        /// What PostgreSQL said.
        message: String,
    },
    /// The role may not do what the mirror does.
    #[error(
        "the role lacks a right ({message}): make it the owner of the schema and of the mirror's tables"
    )]
    Permission {
        /// What PostgreSQL said.
        message: String,
    },
    /// The server is not who it should be, or TLS cannot be had.
    #[error(
        "TLS with PostgreSQL failed ({0}): correct DB_SSL_MODE, DB_SSL_ROOT_CERT or the server's certificate"
    )]
    Tls(String),
    /// The trusted certificates cannot be read.
    #[error("the trusted certificates cannot be used ({0}): correct DB_SSL_ROOT_CERT")]
    Certificates(String),
}

impl Fault {
    /// What an operator must act on, if it is that.
    pub const fn obstacle(&self) -> Option<&Obstacle> {
        match self {
            Self::Obstacle(obstacle) => Some(obstacle),
            Self::Connection(_)
            | Self::Refused { .. }
            | Self::Silent(_)
            | Self::Log(_)
            | Self::Snapshot(_) => None,
        }
    }

    /// A record that cannot be read.
    pub(super) fn codec(lsn: Lsn, error: &CodecError) -> Self {
        Obstacle::Record { lsn, error: error.to_string() }.into()
    }
}

impl From<OtherLog> for Fault {
    fn from(other: OtherLog) -> Self {
        Obstacle::from(other).into()
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) => refused(refusal),
            None => Self::Connection(with_sources(&error)),
        }
    }
}

/// An error and what caused it, in one line.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn refused(refusal: &DbError) -> Fault {
    let code = refusal.code();
    let message = match refusal.detail() {
        Some(detail) => format!("{}: {detail}", refusal.message()),
        None => refusal.message().to_owned(),
    };
    let class = code.code().get(..2).unwrap_or_default();
    let altered = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_OBJECT,
        SqlState::DATATYPE_MISMATCH,
        SqlState::WRONG_OBJECT_TYPE,
        SqlState::NOT_NULL_VIOLATION,
        SqlState::GENERATED_ALWAYS,
    ];
    if altered.contains(code) || class == "22" {
        return Obstacle::Altered { message }.into();
    }
    if class == "23" {
        let of = |name: Option<&str>| name.unwrap_or("?").to_owned();
        let (table, constraint) = (of(refusal.table()), of(refusal.constraint()));
        let what = format!("table {table}, constraint {constraint}: {message}");
        return Obstacle::Meddled { what }.into();
    }
    match code {
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Obstacle::Permission { message }.into()
        }
        code if *code == SqlState::INVALID_CATALOG_NAME => Obstacle::NoDatabase { message }.into(),
        _ if class == "28" => Obstacle::Login { message }.into(),
        code => Fault::Refused { code: code.code().to_owned(), message },
    }
}
