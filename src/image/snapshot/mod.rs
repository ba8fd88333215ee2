//! Snapshots: an image of the log at an LSN, in a file.
//!
//! **Invariants.** A file has its final name only when every byte of it is on disk, and never
//! changes afterwards. It says of itself which log it is of and where in it, and nothing of it is
//! believed before its checksums, its counts, its references and its state hash have been checked.
//! A snapshot is only made of what was durable: so its position is one before which nothing of the
//! log can be missing.
//!
//! ```text
//!  snapshot-<LSN, 16 lower-case hex digits>.snap
//!
//!  +--------+-------+-------+ ... +--------+
//!  | header | block | block |     | footer |        all integers little-endian
//!  +--------+-------+-------+ ... +--------+
//! ```
//!
//! Header, 96 bytes:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic: `89 53 4E 50 0D 0A 1A 0A` |
//! | 8 | 4 | CRC-32 of bytes 12 to 96 |
//! | 12 | 2 + 2 | major version 1, minor version 0 |
//! | 16 | 16 | uuid of the log |
//! | 32 | 8 | LSN: every record before it is in the image, none behind it |
//! | 40 | 8 | records applied in the log's whole life |
//! | 48 | 8 | newest time in those records, in milliseconds since 1970 |
//! | 56 | 8 | when the snapshot was made, in milliseconds since 1970, for people only |
//! | 64 | 32 | zero |
//!
//! Block, 16 bytes and its payload:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of bytes 4 to the end, begun with the header's CRC and the block's index (u32) |
//! | 4 | 4 | bytes of the payload, at most 1 MiB |
//! | 8 | 2 | kind: 1 users, 2 an event, 3 bookings of the last event, 4 keys, 5 footer |
//! | 10 | 2 | zero |
//! | 12 | 4 | entries in the payload |
//!
//! So a block that is lost, repeated, moved, or from another snapshot fails its check. The entries
//! are encoded by bincode as those of the log are; see [`super::entries`] for what they mean and
//! `layout.rs` for their fields. Users and events come in the order of their numbers, bookings in
//! the order of their rows. Which booking took a seat last is not written: it is the one whose
//! record stands last. Versions: a later major version is refused by name, never called damaged.

mod layout;
mod read;
mod room;
mod write;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;
use wal::{IoFault, Lsn};

use super::{Image, StateHash};
use crate::domain::Timestamp;

pub use read::{load, read};
pub use room::SEGMENTS_LEFT_FREE;
pub use write::write;

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".snap";
const UNFINISHED_SUFFIX: &str = ".snap.tmp";

/// An image with its place.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Of which log.
    pub log: Uuid,
    /// Every record before this is in the image, none behind it.
    pub lsn: Lsn,
    /// The state there.
    pub image: Image,
}

/// What a snapshot file says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Of which log it is.
    pub log: Uuid,
    /// Where in it.
    pub lsn: Lsn,
    /// Records applied in the log's whole life.
    pub records: u64,
    /// When it was made, for people only.
    pub made_at: Timestamp,
    /// The hash of the state.
    pub state_hash: StateHash,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A snapshot file, by its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Named {
    /// Its position, as the name says.
    pub lsn: Lsn,
    /// Where it is.
    pub path: PathBuf,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A system call failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It would not fit. Worth trying again when there is more space.
    #[error(
        "no room for a snapshot in {}: {needed} bytes are needed, {left_free} beside them are left \
         to the log, and {free} are free",
        directory.display()
    )]
    NoRoom {
        /// Where.
        directory: PathBuf,
        /// Bytes that had yet to be written.
        needed: u64,
        /// Bytes that it was to leave free.
        left_free: u64,
        /// Bytes that there are.
        free: u64,
    },
    /// Reading was given up because the caller said so.
    #[error("stopped reading {}", path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what a snapshot holds.
    #[error("{} is damaged at offset {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A later version of this program wrote it.
    #[error("{} was written by a newer version of this program (format {major})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format's major version.
        major: u16,
    },
}

/// A snapshot that does not belong to the log beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the snapshot at LSN {lsn} is of another log ({snapshot} instead of {log}): bring back the files \
     that belong together, or have the snapshot set aside with `booking-wal repair`"
)]
pub struct OtherLog {
    /// Where the snapshot stands.
    pub lsn: Lsn,
    /// The log that it is of.
    pub snapshot: Uuid,
    /// The log that is there.
    pub log: Uuid,
}

impl Snapshot {
    /// Checks that it is of this log.
    ///
    /// # Errors
    /// It is not.
    pub fn check_log(&self, log: Uuid) -> Result<(), OtherLog> {
        let (lsn, snapshot) = (self.lsn, self.log);
        if snapshot == log { Ok(()) } else { Err(OtherLog { lsn, snapshot, log }) }
    }
}

impl From<IoFault> for SnapshotError {
    fn from(fault: IoFault) -> Self {
        let IoFault { operation, path, source } = fault;
        Self::Io { operation, path, source }
    }
}

impl SnapshotError {
    /// Whether the file is not there.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }
}

/// The name of the snapshot at `lsn`.
pub fn file_name(lsn: Lsn) -> String {
    format!("{PREFIX}{:016x}{SUFFIX}", lsn.get())
}

fn position_in(name: &str) -> Option<Lsn> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let whole = digits.len() == 16 && lower;
    whole.then(|| u64::from_str_radix(digits, 16).ok().map(Lsn::new))?
}

/// The snapshots in a directory, the newest first. None of them has been looked into. What is no
/// file, and no link to one, is none, whatever its name.
///
/// # Errors
///
/// The directory cannot be read. One that is not there has none.
pub fn list(directory: &Path) -> Result<Vec<Named>, SnapshotError> {
    let failed = || SnapshotError::io("list", directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed()(error)),
    };
    let mut named = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed())?;
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(lsn) = name.and_then(position_in) else { continue };
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => named.push(Named { lsn, path }),
            Ok(_) => {}
            // Removed just now, or a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed()(error)),
        }
    }
    named.sort_unstable_by(|a, b| b.cmp(a));
    Ok(named)
}

/// What was found in a directory.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest snapshot that is whole, with what it says of itself.
    pub newest: Option<(Snapshot, Summary)>,
    /// Newer ones that cannot be used, and why.
    pub refused: Vec<(Named, SnapshotError)>,
    /// The largest position in the name of any: nothing before it can be missing from the log.
    pub durable_floor: Lsn,
}

/// Loads the newest snapshot of a directory that is whole, unless `stop` says to give up. Somebody
/// else may be making others and removing these meanwhile.
///
/// # Errors
///
/// The directory cannot be read, or it was stopped. A snapshot that cannot be used is no error: the
/// one before it is tried, and [`Found::refused`] tells.
pub fn newest(directory: &Path, stop: impl Fn() -> bool) -> Result<Found, SnapshotError> {
    let mut found = Found::default();
    let mut listed = list(directory)?;
    while !listed.is_empty() {
        let named = listed.remove(0);
        found.durable_floor = found.durable_floor.max(named.lsn);
        match load_named(&named, &stop) {
            Ok(newest) => {
                found.newest = Some(newest);
                break;
            }
            Err(error @ SnapshotError::Stopped { .. }) => return Err(error),
            // It made room for newer ones, so there are some.
            Err(error) if error.is_missing() => {
                found.refused.clear();
                listed = list(directory)?;
            }
            Err(error) => found.refused.push((named, error)),
        }
    }
    Ok(found)
}

/// Loads a snapshot, whose name must say where it stands as it does itself.
///
/// # Errors
///
/// As [`load`]; one under another's name is damaged.
pub fn load_named(
    named: &Named,
    stop: impl Fn() -> bool,
) -> Result<(Snapshot, Summary), SnapshotError> {
    let loaded = load(&named.path, stop)?;
    if loaded.1.lsn == named.lsn {
        return Ok(loaded);
    }
    let reason = format!("it is one of LSN {}, and its name says otherwise", loaded.1.lsn.get());
    Err(SnapshotError::Damaged { path: named.path.clone(), offset: 32, reason })
}

/// Removes what was never finished.
///
/// # Errors
///
/// The directory cannot be read, or a file not be removed.
pub fn remove_unfinished(directory: &Path) -> Result<(), SnapshotError> {
    let listed = fs::read_dir(directory).map_err(SnapshotError::io("list", directory))?;
    for entry in listed {
        let path = entry.map_err(SnapshotError::io("list", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(PREFIX) && name.ends_with(UNFINISHED_SUFFIX) {
            fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Removes all snapshots but those at `keep`, oldest first; returns those that are gone.
///
/// # Errors
///
/// The directory cannot be read, or a file not be removed.
pub fn prune(directory: &Path, keep: &[Lsn]) -> Result<Vec<Named>, SnapshotError> {
    let mut surplus = list(directory)?;
    surplus.retain(|named| !keep.contains(&named.lsn));
    for named in surplus.iter().rev() {
        fs::remove_file(&named.path).map_err(SnapshotError::io("remove", &named.path))?;
    }
    Ok(surplus)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, lsn, records, state_hash, bytes, .. } = self;
        write!(f, "LSN {} of log {log}: {records} records, {bytes} bytes, ", lsn.get())?;
        write!(f, "state {state_hash}")
    }
}

#[cfg(test)]
mod tests;
