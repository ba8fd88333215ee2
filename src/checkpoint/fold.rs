//! The state at the log's durable mark, from a snapshot and the records since.

use std::path::Path;

use wal::{Log, Lsn, ReadError, Reader};

use crate::image::snapshot::Snapshot;
use crate::image::{Image, ReplayError};

/// After how many records it is asked whether to stop.
const RECORDS_PER_LOOK: u64 = 1_024;

/// Why the log could not be folded.
#[derive(Debug, thiserror::Error)]
pub(super) enum FoldError {
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    /// There is no snapshot to begin from, and the log no longer has its beginning.
    #[error(
        "no snapshot can be used, and the log begins at LSN {first}: restore one from a backup"
    )]
    NoBeginning {
        /// Where it begins.
        first: Lsn,
    },
    /// The snapshot to begin from is not one of this log, or lies beyond what is durable of it.
    #[error("the snapshot at LSN {lsn} is not one of this log, or lies beyond its durable end")]
    OtherLog {
        /// Where it stands.
        lsn: Lsn,
    },
    /// A record cannot follow those before it.
    #[error("LSN {lsn}: {source}")]
    Illegal {
        /// Where it stands.
        lsn: Lsn,
        /// What is wrong with it.
        source: ReplayError,
    },
}

/// Folds what is durable now; `None` if it was stopped.
pub(super) fn fold(
    directory: &Path,
    log: &Log,
    base: Option<Snapshot>,
    stop: impl Fn() -> bool,
) -> Result<Option<Snapshot>, FoldError> {
    let durable = log.durable();
    let mut reader = Reader::open(directory)?;
    let mut image = match base {
        Some(base) if base.log != log.uuid() || base.lsn > durable => {
            return Err(FoldError::OtherLog { lsn: base.lsn });
        }
        Some(base) => {
            reader.seek(base.lsn)?;
            base.image
        }
        None => {
            let first = reader.segments().first().map_or(Lsn::ZERO, |first| first.header.base);
            if first != Lsn::ZERO {
                return Err(FoldError::NoBeginning { first });
            }
            Image::new()
        }
    };
    reader.set_durable(durable);
    let mut records = 0_u64;
    while let Some(record) = reader.next_record()? {
        let lsn = record.lsn;
        image.apply(&record).map_err(|source| FoldError::Illegal { lsn, source })?;
        records += 1;
        if records.is_multiple_of(RECORDS_PER_LOOK) && stop() {
            return Ok(None);
        }
    }
    image.purge_keys();
    Ok(Some(Snapshot { log: log.uuid(), lsn: reader.position(), image }))
}
