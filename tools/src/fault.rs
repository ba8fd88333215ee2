//! Damage as it is named: which file, which offset, which position, and why.

use std::fmt;
use std::path::{Path, PathBuf};

use booking_manager::codec::CodecError;
use booking_manager::image::ReplayError;
use serde::{Serialize, Serializer};
use wal::{Damage, RecoveryError};

/// A place in the log that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// The segment file.
    #[serde(serialize_with = "shown_path")]
    pub file: PathBuf,
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// The same place as a position in the log.
    pub lsn: u64,
    /// What is wrong there.
    pub reason: String,
}

/// A path as a JSON text; bytes that are no UTF-8 are replaced rather than refused.
pub(crate) fn shown_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, lsn, reason } = self;
        write!(f, "{} at offset {offset} (LSN {lsn}): {reason}", file.display())
    }
}

impl From<&Damage> for Fault {
    fn from(damage: &Damage) -> Self {
        Self {
            file: damage.path.clone(),
            offset: damage.offset,
            lsn: damage.lsn.get(),
            reason: damage.reason.to_string(),
        }
    }
}

/// A log that recovery would refuse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// The first bad place.
    #[serde(flatten)]
    pub fault: Fault,
    /// The largest position known to have been durable, where that is why the place counts as
    /// damaged.
    pub durable_floor: Option<u64>,
    /// What would have to be done about it.
    #[serde(skip)]
    pub cause: Cause,
}

/// Why recovery refuses, as far as a repair has to tell it apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The log is damaged at the place.
    Damage,
    /// It is not damaged: a newer version of the program wrote it.
    NewerVersion,
    /// The place is sound, and a snapshot is of a later one: the log ends before it, or has neither
    /// beginning nor end of a record there.
    SnapshotBeyond,
    /// The snapshot that a server would begin with is of another log.
    ForeignSnapshot,
    /// The records before the place were removed, and no snapshot stands for them.
    NoBeginning,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)?;
        match self.durable_floor {
            Some(durable) => write!(f, " (known to have been durable up to LSN {durable})"),
            None => Ok(()),
        }
    }
}

impl TryFrom<RecoveryError> for Refusal {
    /// What is no statement about the log: it could not be read.
    type Error = anyhow::Error;

    fn try_from(error: RecoveryError) -> anyhow::Result<Self> {
        match error {
            RecoveryError::Unreadable(damage) => {
                let newer = damage.reason.is_newer_version();
                let cause = if newer { Cause::NewerVersion } else { Cause::Damage };
                Ok(Self { fault: Fault::from(&damage), durable_floor: None, cause })
            }
            RecoveryError::Damaged { damage, durable } => {
                let durable_floor = Some(durable.get());
                Ok(Self { fault: Fault::from(&damage), durable_floor, cause: Cause::Damage })
            }
            RecoveryError::Apply { path, offset, lsn, source } => {
                let newer = matches!(
                    source.downcast_ref(),
                    Some(ReplayError::Codec(CodecError::Unknown { .. }))
                );
                let cause = if newer { Cause::NewerVersion } else { Cause::Damage };
                let reason = refused_record(&source);
                let fault = Fault { file: path, offset, lsn: lsn.get(), reason };
                Ok(Self { fault, durable_floor: None, cause })
            }
            error @ (RecoveryError::Directory(_)
            | RecoveryError::Removed { .. }
            | RecoveryError::NoSuchStart { .. }
            | RecoveryError::EpochsExhausted) => Err(error.into()),
        }
    }
}

/// What is said of a whole record whose payload is not a fact.
pub(crate) fn refused_record(reason: &dyn fmt::Display) -> String {
    format!("record refused: {reason}")
}
