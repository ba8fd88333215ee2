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
    let mut reader = Reader::open(directory)?;
    let mut image = match base {
        Some(base) => {
            reader.seek(base.lsn)?;
            base.image
        }
        None => Image::new(),
    };
    reader.set_durable(log.durable());
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
