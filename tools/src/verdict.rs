//! `verify`: what recovery would decide, without doing it.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use booking_manager::codec;
use booking_manager::image::{Image, ReplayError};
use serde::Serialize;
use uuid::Uuid;
use wal::{Lsn, RecoveryReport, TornTail};

use crate::Status;
use crate::arguments::Place;
use crate::fault::{Fault, Refusal, shown_path};
use crate::frames::{check_directory, extent};
use crate::output::Output;
use crate::progress::Progress;

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
    /// Records, all of which are legal.
    pub records: u64,
    /// Bytes of all good frames, the log's own included.
    pub bytes: u64,
    /// Where the log ends.
    pub end: u64,
    /// The largest position known to have been durable.
    pub durable_floor: u64,
    /// Whether the log was closed in order, so that nothing can be missing at its end.
    pub clean: bool,
    /// What would be cut off.
    pub torn: Option<Torn>,
    /// Hash of the state that the records make, as a server logs it at that position; `None` if the
    /// beginning of the log has been removed, so that the records could only be decoded.
    pub state_hash: Option<String>,
    /// How long it took to read and check, and to apply the records.
    #[serde(skip)]
    pub elapsed: Duration,
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

impl From<RecoveryReport> for Summary {
    fn from(report: RecoveryReport) -> Self {
        Self {
            uuid: report.uuid,
            epoch: report.epoch,
            segments: report.segments,
            records: report.records,
            bytes: report.bytes,
            end: report.end.get(),
            durable_floor: report.durable_floor.get(),
            clean: report.clean,
            torn: report.torn.map(Torn::from),
            state_hash: None,
            elapsed: report.elapsed,
        }
    }
}

impl Verdict {
    /// Reads the whole log and decides as recovery would. Each record must be legal given those
    /// before it, by the fold that a server starts from.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn on(directory: &Path) -> anyhow::Result<Self> {
        check_directory(directory)?;
        let (from, to) = extent(directory);
        let mut progress = Progress::over("checking", from, to);
        // Without its beginning a log does not say what its records follow on.
        let mut image = (from == Lsn::ZERO).then(Image::new);
        let mut decoded = 0;
        let outcome = wal::verify(directory, |record| {
            match &mut image {
                Some(image) => image.apply(&record)?,
                None => codec::decode_record(&record).map(drop)?,
            }
            progress.reach(record.lsn);
            decoded += 1;
            Ok::<_, ReplayError>(())
        });
        match outcome {
            Ok(report) if report.segments == 0 => Ok(Self::Fresh),
            Ok(report) => {
                let mut summary = Summary::from(report);
                summary.state_hash = image.map(|image| format!("{:032x}", image.hash().get()));
                Ok(Self::Sound(summary))
            }
            Err(error) => {
                Ok(Self::Refused { records_before: decoded, damage: Refusal::try_from(error)? })
            }
        }
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
        writeln!(f, "records       {}", self.records)?;
        writeln!(f, "bytes         {}", self.bytes)?;
        writeln!(f, "end           LSN {}", self.end)?;
        writeln!(f, "durable       at least to LSN {}", self.durable_floor)?;
        match &self.state_hash {
            Some(hash) => writeln!(f, "state         {hash}")?,
            None => writeln!(f, "state         not checked: the log lacks its beginning")?,
        }
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

/// A verdict with the directory that it is on.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(serialize_with = "shown_path")]
    directory: &'a PathBuf,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Says what recovery would decide.
///
/// # Errors
/// The log cannot be read, or the answer not be written.
pub fn verify(place: &Place, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let verdict = Verdict::on(&place.directory)?;
    if place.json {
        output.json(&Answer { directory: &place.directory, verdict: &verdict })?;
    } else {
        output.line(format_args!("directory     {}", place.directory.display()))?;
        output.line(&verdict)?;
    }
    Ok(verdict.status())
}
