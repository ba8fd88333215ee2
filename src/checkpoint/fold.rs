//! The state at the log's durable mark, from a snapshot and the records since.

use std::path::Path;

use wal::{Log, Lsn, ReadError, Reader};

use crate::image::snapshot::{OtherLog, Snapshot};
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
    /// The snapshot to begin from is not one of this log.
    #[error(transparent)]
    OtherLog(#[from] OtherLog),
    /// The snapshot to begin from lies beyond what is durable of the log.
    #[error(
        "the snapshot at LSN {lsn} lies beyond LSN {durable}, up to which the log is durable: it was \
         not made by this server; move it out of the data directory"
    )]
    Beyond {
        /// Where it stands.
        lsn: Lsn,
        /// Where the log is.
        durable: Lsn,
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
        Some(base) => {
            base.check_log(log.uuid())?;
            if base.lsn > durable {
                return Err(FoldError::Beyond { lsn: base.lsn, durable });
            }
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
