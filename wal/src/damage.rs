//! Damage, as it is reported to people: which file, which offset, which position, and why.

use std::path::PathBuf;

use thiserror::Error;

use crate::chain::ChainFault;
use crate::frame::FrameFault;
use crate::header::HeaderFault;
use crate::lsn::Lsn;

/// A place in the log that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{} at offset {offset} (LSN {lsn}): {reason}", path.display())]
pub struct Damage {
    /// The segment file.
    pub path: PathBuf,
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// The same place as a position in the log.
    pub lsn: Lsn,
    /// What is wrong.
    pub reason: Reason,
}

/// What can be wrong.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Reason {
    /// The segment header itself.
    #[error(transparent)]
    Header(HeaderFault),
    /// The header against its neighbours.
    #[error(transparent)]
    Chain(ChainFault),
    /// The frame that should be here.
    #[error(transparent)]
    Frame(FrameFault),
    /// The frame is whole and reaches beyond the place where its epoch was cut.
    #[error("frame ends at {end}, beyond the end of its epoch at {cut}")]
    CrossesCut {
        /// Where the frame ends.
        end: Lsn,
        /// Where the epoch ends.
        cut: Lsn,
    },
    /// The frame is whole, and of an internal kind that this version does not know and may not
    /// skip.
    #[error("written by a newer version (internal record kind {kind}, flags {flags:#04x})")]
    NewerFrame {
        /// The frame's kind.
        kind: u16,
        /// The frame's flags.
        flags: u8,
    },
    /// The log should go on, and a later boot has cut it here.
    #[error("the log was cut here by a later start of the server")]
    Cut,
    /// The last segment is full, and the log should go on.
    #[error("the log ends here; segment {expected} is missing")]
    LogEnds {
        /// File name of the missing segment.
        expected: String,
    },
}

impl Reason {
    /// Whether a newer version of the program could read the place.
    #[must_use]
    pub const fn is_newer_version(&self) -> bool {
        matches!(self, Self::NewerFrame { .. } | Self::Header(HeaderFault::Newer { .. }))
    }
}
