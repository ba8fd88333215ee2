//! What recovery would decide, without doing it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use booking_manager::image::Image;
use booking_manager::image::snapshot::{self, Named, Snapshot};
use serde::Serialize;
use uuid::Uuid;
use wal::{RecoveryReport, TornTail};

use crate::Status;
use crate::fault::{Cause, Fault, Refusal};
use crate::fold::{Folded, Pass};
use crate::frames::check_directory;
use crate::progress::Progress;
use crate::snapshots::{self, Identity};

/// What recovery would decide.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// There is no log: a server would begin one.
    Fresh,
    /// A server would open it.
    Sound(Summary),
    /// A server would refuse it.
    Refused {
        /// Records before the damage, all of which are legal.
        records_before: u64,
        /// The first bad place.
        damage: Refusal,
    },
}

/// What recovery would find.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    /// Identity of the log.
    pub uuid: Uuid,
    /// Epoch of the last segment.
    pub epoch: u32,
    /// Segment files.
    pub segments: usize,
    /// The snapshot from which it would go on; `None` if it would read the log from its beginning.
    pub begun: Option<Begun>,
    /// Records in the log's whole life.
    pub records: u64,
    /// Bytes of all good frames that were read, the log's own included.
    pub bytes: u64,
    /// Where the log ends.
    pub end: u64,
    /// The largest position known to have been durable.
    pub durable_floor: u64,
    /// Whether the log was closed in order, so that nothing can be missing at its end.
    pub clean: bool,
    /// What would be cut off.
    pub torn: Option<Torn>,
    /// Hash of the state that the records make, as a server logs it at that position.
    pub state_hash: String,
    /// How long it took to load the snapshot.
    #[serde(skip)]
    pub loading: Duration,
    /// How long it took to read and check, and to apply the records.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// A snapshot from which reading goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Begun {
    /// Its position.
    pub lsn: u64,
    /// Records before that.
    pub records: u64,
}

/// What was written behind the end and never known to be durable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Torn {
    /// Where it begins, and what is wrong there.
    #[serde(flatten)]
    pub fault: Fault,
    /// From there to the last byte that is not zero.
    pub bytes_dropped: u64,
}

impl From<TornTail> for Torn {
    fn from(tail: TornTail) -> Self {
        let TornTail { file, offset, lsn, bytes_dropped, reason } = tail;
        let fault = Fault { file, offset, lsn: lsn.get(), reason: reason.to_string() };
        Self { fault, bytes_dropped }
    }
}

impl Summary {
    pub(crate) fn new(report: RecoveryReport, begun: Option<Begun>, image: &Image) -> Self {
        Self {
            uuid: report.uuid,
            epoch: report.epoch,
            segments: report.segments,
            begun,
            records: image.records(),
            bytes: report.bytes,
            end: report.end.get(),
            durable_floor: report.durable_floor.get(),
            clean: report.clean,
            torn: report.torn.map(Torn::from),
            state_hash: image.hash().to_string(),
            loading: Duration::ZERO,
            elapsed: report.elapsed,
        }
    }
}

impl Begun {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self { lsn: snapshot.lsn.get(), records: snapshot.image.records() }
    }
}

impl Verdict {
    /// Decides as recovery would: goes on from the newest usable snapshot, or else reads the log from
    /// its beginning. Each record must be legal given those before it, by the fold that a server
    /// starts from.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn on(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self::with_image(directory)?.0)
    }

    /// As [`Verdict::on`], with the state at the end; of no use unless the log is sound.
    ///
    /// # Errors
    /// As [`Verdict::on`].
    pub fn with_image(directory: &Path) -> anyhow::Result<(Self, Image)> {
        check_directory(directory)?;
        let log = Identity::of(directory);
        let waiting = Progress::waiting("loading a snapshot");
        let listed = snapshot::list(directory)?;
        let newest = snapshots::newest_whole(&listed);
        if let Some(damage) = foreign(newest.as_ref(), log) {
            return Ok((Self::Refused { records_before: 0, damage }, Image::new()));
        }
        let from = newest.map(|(snapshot, _)| snapshot);
        let loading = waiting.elapsed();
        drop(waiting);
        let begun = from.as_deref().map(Begun::of);
        let pass = Pass { directory, log, from, floor: listed.first() };
        let Folded { image, records, outcome, .. } = pass.fold("checking", |_, _| ())?;
        let verdict = match outcome {
            Ok(report) if report.segments == 0 => Self::Fresh,
            Ok(report) => Self::Sound(Summary { loading, ..Summary::new(report, begun, &image) }),
            Err(damage) => {
                let before = begun.map_or(0, |begun| begun.records);
                Self::Refused { records_before: before + records, damage }
            }
        };
        Ok((verdict, image))
    }

    /// The file that it names, if any.
    pub(crate) const fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Fresh | Self::Sound(Summary { torn: None, .. }) => None,
            Self::Sound(Summary { torn: Some(torn), .. }) => Some(&mut torn.fault.file),
            Self::Refused { damage, .. } => Some(&mut damage.fault.file),
        }
    }

    /// What the exit code says of it.
    pub const fn status(&self) -> Status {
        match self {
            Self::Fresh | Self::Sound(_) => Status::Sound,
            Self::Refused { .. } => Status::Damaged,
        }
    }
}

/// What is said of a snapshot of another log.
fn foreign(newest: Option<&(Box<Snapshot>, &Named)>, log: Option<Identity>) -> Option<Refusal> {
    let ((snapshot, named), log) = newest.zip(log)?;
    let reason = snapshots::of_another_log(snapshot.log, log.uuid);
    let fault = Fault { file: named.path.clone(), offset: 0, lsn: named.lsn.get(), reason };
    let refusal = Refusal { fault, durable_floor: None, cause: Cause::ForeignSnapshot };
    (snapshot.log != log.uuid).then_some(refusal)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("verdict       no log: a server would begin one"),
            Self::Sound(summary) => write!(f, "{summary}\nverdict       sound"),
            Self::Refused { records_before, damage } => {
                writeln!(f, "damage        {damage}")?;
                writeln!(f, "records       {records_before} before it")?;
                f.write_str("verdict       refused: a server would not start")
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "uuid          {}", self.uuid)?;
        writeln!(f, "epoch         {}", self.epoch)?;
        writeln!(f, "segments      {}", self.segments)?;
        if let Some(Begun { lsn, records }) = self.begun {
            writeln!(f, "begun         at the snapshot at LSN {lsn}, after {records} records")?;
        }
        writeln!(f, "records       {}", self.records)?;
        writeln!(f, "bytes         {}", self.bytes)?;
        writeln!(f, "end           LSN {}", self.end)?;
        writeln!(f, "durable       at least to LSN {}", self.durable_floor)?;
        writeln!(f, "state         {}", self.state_hash)?;
        match &self.torn {
            Some(torn) => write!(f, "tail          torn: {torn}"),
            None if self.clean => f.write_str("tail          clean: the log was closed in order"),
            None => f.write_str("tail          open: a server has it, or ended without closing it"),
        }
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {} bytes would be dropped", self.fault, self.bytes_dropped)
    }
}
