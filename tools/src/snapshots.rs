//! The snapshot files of a directory, looked into.
//!
//! A snapshot counts as usable if it is whole, of this log, and where its name says; anything else is
//! passed over, and blamed. A starting server takes the newest one that is whole and where its name
//! says, and does not start if it is of another log. A file that a running server removes meanwhile
//! is none that was there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use booking_manager::image::snapshot::{self, Named, Snapshot, SnapshotError, Summary};
use serde::Serialize;
use uuid::Uuid;
use wal::{Lsn, Reader};

use crate::fault::shown_path;
use crate::instant;
use crate::progress::Progress;

/// What the segments of a log say of it as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Of the log.
    pub uuid: Uuid,
    /// Base of the first segment that is left.
    pub first: Lsn,
    /// Where the log stood when that segment was begun; nothing lies between the two.
    pub cut: Lsn,
}

impl Identity {
    /// `None` if there is no log, or its headers cannot be read, of which the reader of its frames
    /// says more.
    pub fn of(directory: &Path) -> Option<Self> {
        let reader = Reader::open(directory).ok()?;
        let header = reader.segments().first()?.header;
        Some(Self { uuid: header.uuid, first: header.base, cut: header.prev_end })
    }

    /// Whether all records from `lsn` on are left.
    pub fn reaches_back_to(self, lsn: Lsn) -> bool {
        lsn >= self.first || lsn == self.cut
    }
}

/// A snapshot file and what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Shelved {
    /// Its position; of a damaged one, as the name says.
    pub lsn: u64,
    /// The file.
    #[serde(serialize_with = "shown_path")]
    pub file: PathBuf,
    /// Of the file.
    pub bytes: u64,
    /// When it was made, as it says.
    pub made: Option<String>,
    /// How many records it stands for; `None` if it is damaged.
    pub records: Option<u64>,
    /// The hash of the state in it; `None` if it is damaged.
    pub state_hash: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub condition: Condition,
    /// How long ago it was made.
    pub age_seconds: Option<u64>,
}

/// What can be said of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "condition", content = "reason", rename_all = "snake_case")]
pub enum Condition {
    /// It is whole, and of this log.
    Whole,
    /// It holds exactly what the log makes up to its position.
    Sound,
    /// It is whole, and the log that it should hold has been removed, or was not read so far.
    NotCompared,
    /// It cannot be used, or does not hold what the log makes.
    Damaged(String),
}

impl Shelved {
    /// Notes what was found wrong.
    pub fn blame(&mut self, reason: impl Into<String>) {
        self.condition = Condition::Damaged(reason.into());
    }

    /// Whether something is wrong with it.
    pub const fn is_damaged(&self) -> bool {
        matches!(self.condition, Condition::Damaged(_))
    }
}

impl fmt::Display for Shelved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LSN {}: ", self.lsn)?;
        match &self.condition {
            Condition::Whole => f.write_str("whole")?,
            Condition::Sound => f.write_str("sound")?,
            Condition::NotCompared => f.write_str("whole, not compared with the log")?,
            Condition::Damaged(reason) => return write!(f, "damaged: {reason}"),
        }
        let records = self.records.unwrap_or_default();
        write!(f, ", {records} records, {} bytes", self.bytes)
    }
}

/// What loading a snapshot came to.
#[derive(Debug)]
pub enum Loaded {
    /// It is whole. It is usable unless it is of another log or not where its name says, for which
    /// it is blamed.
    Whole(Box<Snapshot>, Shelved),
    /// It is not whole, for which it is blamed.
    Damaged(Shelved),
    /// It was removed since it was listed.
    Gone,
}

/// Loads a snapshot of a log and checks all that can be checked without reading the log.
pub fn load(named: &Named, log: Option<Identity>) -> Loaded {
    let path = &named.path;
    let bytes = fs::metadata(path).map_or(0, |found| found.len());
    let mut shelved = Shelved {
        lsn: named.lsn.get(),
        file: path.clone(),
        bytes,
        made: None,
        records: None,
        state_hash: None,
        condition: Condition::Whole,
        age_seconds: None,
    };
    let (snapshot, summary) = match snapshot::load(path, || false) {
        Ok(loaded) => loaded,
        Err(SnapshotError::Io { .. }) if !path.exists() => return Loaded::Gone,
        Err(error) => {
            shelved.blame(error.to_string());
            return Loaded::Damaged(shelved);
        }
    };
    let Summary { log: uuid, lsn, records, made_at, state_hash, bytes } = summary;
    if lsn != named.lsn {
        shelved.blame(format!("{} holds the state at LSN {lsn}", path.display()));
    }
    if let Some(Identity { uuid: own, .. }) = log.filter(|log| log.uuid != uuid) {
        shelved.blame(format!("{} {}", path.display(), of_another_log(uuid, own)));
    }
    shelved.made = Some(instant::show(made_at));
    shelved.age_seconds = Some(instant::now().millis_since(made_at) / 1_000);
    (shelved.bytes, shelved.records) = (bytes, Some(records));
    shelved.state_hash = Some(state_hash.to_string());
    Loaded::Whole(Box::new(snapshot), shelved)
}

/// Loads all snapshots, one at a time. They are given oldest first, and the oldest usable one from
/// which the log goes on.
pub fn shelve(listed: &[Named], log: Option<Identity>) -> (Vec<Shelved>, Option<Box<Snapshot>>) {
    let (mut shelf, mut oldest) = (Vec::new(), None);
    for named in listed {
        match load(named, log) {
            Loaded::Whole(snapshot, shelved) => {
                let usable = !shelved.is_damaged();
                shelf.push(shelved);
                if usable && log.is_none_or(|log| log.reaches_back_to(snapshot.lsn)) {
                    oldest = Some(snapshot);
                }
            }
            Loaded::Damaged(shelved) => shelf.push(shelved),
            Loaded::Gone => {}
        }
    }
    shelf.reverse();
    (shelf, oldest)
}

/// What is said of a snapshot of the log `found` beside the log `own`.
pub fn of_another_log(found: Uuid, own: Uuid) -> String {
    format!("is of another log ({found} instead of {own})")
}

/// The newest usable snapshot that is `wanted`.
///
/// # Errors
/// The directory cannot be listed.
pub fn newest_usable(
    directory: &Path,
    log: Identity,
    wanted: impl Fn(&Snapshot) -> bool,
) -> anyhow::Result<Option<Box<Snapshot>>> {
    let _waiting = Progress::waiting("loading a snapshot");
    let loaded = snapshot::list(directory)?.into_iter().map(|named| load(&named, Some(log)));
    let mut usable = loaded.filter_map(|loaded| match loaded {
        Loaded::Whole(snapshot, shelved) => (!shelved.is_damaged()).then_some(snapshot),
        Loaded::Damaged(_) | Loaded::Gone => None,
    });
    Ok(usable.find(|snapshot| wanted(snapshot)))
}

/// The snapshot that a starting server would take: the newest one that is whole and where its name
/// says, whatever it is of.
pub fn newest_whole(listed: &[Named]) -> Option<(Box<Snapshot>, &Named)> {
    listed.iter().find_map(|named| match load(named, None) {
        Loaded::Whole(snapshot, shelved) => (!shelved.is_damaged()).then_some((snapshot, named)),
        Loaded::Damaged(_) | Loaded::Gone => None,
    })
}
