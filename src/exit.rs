//! Why the process ends other than as told, and the exit code that says so (those of `sysexits.h`).

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use booking_manager::engine::OpenError;
use booking_manager::image::snapshot::SnapshotError;
use thiserror::Error;
use wal::{DirectoryError, Poison, RecoveryError, SealError};

/// Bad configuration.
pub(crate) const USAGE: u8 = 2;
/// The log is damaged, or was written by a newer version.
const DATA: u8 = 65;
/// The address cannot be listened on.
const UNAVAILABLE: u8 = 69;
/// The system refuses what the process cannot do without.
const SYSTEM: u8 = 71;
/// A file or directory cannot be used.
const CANNOT_CREATE: u8 = 73;
/// The disk failed while running.
const INPUT_OUTPUT: u8 = 74;
/// Somebody else has the data directory; later it may be free.
const TRY_LATER: u8 = 75;

/// Why the process ends.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("cannot listen on SERVER_HOST={host} SERVER_PORT={port}: {source}")]
    Listen { host: IpAddr, port: u16, source: io::Error },
    #[error("cannot write PORT_FILE={}: {source}", path.display())]
    PortFile { path: PathBuf, source: io::Error },
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot open the log in DATA_DIR: {0}")]
    Open(#[source] OpenError),
    #[error("{0}")]
    Poisoned(Poison),
    #[error("draining failed: {0}")]
    Drain(#[source] io::Error),
    #[error("the log was not sealed: {0}")]
    Seal(#[source] SealError),
}

impl Failure {
    /// The exit code for it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Listen { .. } => UNAVAILABLE,
            Self::PortFile { .. } => CANNOT_CREATE,
            Self::Thread(_) | Self::Signals(_) | Self::Drain(_) => SYSTEM,
            Self::Open(error) => open_code(error),
            Self::Poisoned(_) | Self::Seal(_) => INPUT_OUTPUT,
        }
    }
}

fn open_code(error: &OpenError) -> u8 {
    match error {
        OpenError::Log(error) | OpenError::WithoutSnapshot { source: error, .. } => log_code(error),
        OpenError::Snapshots(
            SnapshotError::Io { .. } | SnapshotError::NoRoom { .. } | SnapshotError::Stopped { .. },
        ) => CANNOT_CREATE,
        OpenError::Snapshots(SnapshotError::Damaged { .. } | SnapshotError::Newer { .. })
        | OpenError::OtherLog(_) => DATA,
    }
}

fn log_code(error: &wal::OpenError) -> u8 {
    use wal::OpenError;
    match error {
        OpenError::Option(_) => USAGE,
        OpenError::Directory(error) | OpenError::Recovery(RecoveryError::Directory(error)) => {
            directory_code(error)
        }
        OpenError::Recovery(
            RecoveryError::Unreadable(_)
            | RecoveryError::Damaged { .. }
            | RecoveryError::Removed { .. }
            | RecoveryError::NoSuchStart { .. }
            | RecoveryError::Apply { .. }
            | RecoveryError::EpochsExhausted,
        )
        | OpenError::PositionsExhausted => DATA,
        OpenError::Io(_) | OpenError::NoSpace { .. } | OpenError::Segment(_) => CANNOT_CREATE,
    }
}

fn directory_code(error: &DirectoryError) -> u8 {
    match error {
        DirectoryError::Locked { .. } => TRY_LATER,
        DirectoryError::Io(_) | DirectoryError::ForeignName { .. } => CANNOT_CREATE,
    }
}
