//! The segments of a log as one chain: headers read, checked one by one and against each other.
//!
//! After [`Chain::load`] these hold, and the walk over frames relies on them:
//!
//! - every file is exactly one segment long, of one size, and its header belongs to its name;
//! - all segments are of one log, and each begins where the one before it ends;
//! - the epoch changes exactly at segments that say so, and then it rises;
//! - a segment that begins an epoch names a cut within the segment before it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use uuid::Uuid;

use crate::damage::{Damage, Reason};
use crate::directory::{self, DirectoryError, IoFault, Listing, SegmentFile};
use crate::header::{HEADER_BYTES, Link, SegmentHeader, segment_name};
use crate::lsn::{Lsn, SegmentSize};

/// How a segment does not fit its name, its file or its neighbours. In the order of the checks.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ChainFault {
    /// The header names another position than the file name.
    #[error("header says base {found:#x}")]
    WrongBase {
        /// The base in the header.
        found: u64,
    },
    /// The file is not one segment long.
    #[error("file is {found} bytes long instead of {expected}")]
    WrongFileLength {
        /// The segment size in the header.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// The segment is of another log.
    #[error("segment is of another log ({found} instead of {expected})")]
    OtherLog {
        /// The log of the segments before.
        expected: Uuid,
        /// The log that this header names.
        found: Uuid,
    },
    /// The segment size changes within the log.
    #[error("segment size is {found} instead of {expected}")]
    OtherSize {
        /// Of the segments before.
        expected: u64,
        /// Of this one.
        found: u64,
    },
    /// Segments before this one are missing.
    #[error("segment {expected} is missing before this one")]
    Gap {
        /// File name of the first missing segment.
        expected: String,
    },
    /// The epoch falls, or changes without the segment saying so, or the other way round.
    #[error("epoch {found} does not follow epoch {previous} here")]
    EpochOrder {
        /// Epoch of the segment before.
        previous: u32,
        /// Epoch of this one.
        found: u32,
    },
}

/// Why the segments of a directory do not make a log.
#[derive(Debug, Error)]
pub enum ChainError {
    /// A system call failed, or a name is foreign.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A header cannot be read, or does not fit.
    #[error(transparent)]
    Damage(#[from] Damage),
}

impl From<IoFault> for ChainError {
    fn from(fault: IoFault) -> Self {
        Self::Directory(fault.into())
    }
}

impl ChainError {
    /// Whether it can come of a listing that was out of date before its files were opened.
    fn may_pass(&self) -> bool {
        match self {
            Self::Directory(DirectoryError::Io(fault)) => fault.is_missing(),
            Self::Directory(DirectoryError::Locked { .. } | DirectoryError::ForeignName { .. }) => {
                false
            }
            Self::Damage(damage) => matches!(damage.reason, Reason::Chain(ChainFault::Gap { .. })),
        }
    }
}

/// One segment of a checked chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What its header says.
    pub header: SegmentHeader,
    /// Where the file is.
    pub path: PathBuf,
    /// Where its frames must end, known from the segment after it: its own end, or the cut that
    /// the next epoch names. `None` for the last segment, whose end has to be found.
    pub cut: Option<Lsn>,
}

/// The segments of a log, by rising base. May be empty: a log that was never written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    /// All segments.
    pub segments: Vec<Segment>,
}

impl Chain {
    /// Reads and checks the headers of all listed segments.
    ///
    /// # Errors
    /// The first header that cannot be read or does not fit, or a failed system call.
    pub fn load(listing: &Listing) -> Result<Self, ChainError> {
        let mut segments: Vec<Segment> = Vec::with_capacity(listing.segments.len());
        for file in &listing.segments {
            let (header, length) = read_header(file)?;
            check_length(&header, length).map_err(|fault| damage(file, Reason::Chain(fault)))?;
            if let Some(previous) = segments.last_mut() {
                check_follows(&previous.header, &header)
                    .map_err(|fault| damage(file, Reason::Chain(fault)))?;
                previous.cut = Some(header.prev_end);
            }
            segments.push(Segment { header, path: file.path.clone(), cut: None });
        }
        Ok(Self { segments })
    }

    /// Lists `directory` and loads the segments with a base at or above `from`, as
    /// [`Chain::load`] does, of a log that somebody else may be using.
    ///
    /// A listing is not taken at one instant: a segment removed meanwhile may be in it, and one
    /// behind another that is no longer in it. So what a listing that is out of date could explain
    /// is believed only of one that is found twice.
    ///
    /// # Errors
    /// As [`Chain::load`].
    pub fn load_live(directory: &Path, from: Lsn) -> Result<Self, ChainError> {
        let mut before = None;
        loop {
            let mut listing = directory::list(directory)?;
            listing.temporary.clear();
            listing.segments.retain(|segment| segment.base >= from);
            match Self::load(&listing) {
                Err(error) if error.may_pass() && before.as_ref() != Some(&listing) => {
                    before = Some(listing);
                }
                outcome => return outcome,
            }
        }
    }

    /// This chain behind `segment`, whose file may be gone from the directory; `None` unless it
    /// follows.
    pub(crate) fn behind(&self, segment: &Segment) -> Option<Self> {
        let next = self.segments.first()?.header;
        check_follows(&segment.header, &next).ok()?;
        let mut first = segment.clone();
        first.cut = Some(next.prev_end);
        let segments = std::iter::once(first).chain(self.segments.iter().cloned()).collect();
        Some(Self { segments })
    }

    /// Index of the segment in which the frame at `lsn` lies, if there is one.
    #[must_use]
    pub fn index_of(&self, lsn: Lsn) -> Option<usize> {
        let first = self.segments.first()?;
        let size = first.header.segment_size;
        let ahead = lsn.get().checked_sub(first.header.base.get())? / size.get();
        usize::try_from(ahead).ok().filter(|&index| index < self.segments.len())
    }

    /// Where the log was cut, if `lsn` lies between that and the end of the segment that was cut: no
    /// frame there belongs to the log.
    pub(crate) fn cut_behind_which_lies(&self, lsn: Lsn) -> Option<Lsn> {
        self.segments[self.index_of(lsn)?].cut.filter(|&cut| cut < lsn)
    }

    /// The largest position that the headers say was durable: floors, and the cuts of epochs.
    #[must_use]
    pub fn durable_floor(&self) -> Lsn {
        let floors = self.segments.iter().map(|s| s.header.durable_floor.max(s.cut_before()));
        floors.max().unwrap_or_default()
    }

    /// Size of the log's segments, if it has any.
    #[must_use]
    pub fn segment_size(&self) -> Option<SegmentSize> {
        self.segments.first().map(|segment| segment.header.segment_size)
    }
}

impl Segment {
    /// The end of the epoch before, if this segment begins one. The end that a continuing header
    /// names is no evidence: it is written ahead of the frames before it.
    fn cut_before(&self) -> Lsn {
        match self.header.link {
            Link::FirstOfEpoch { .. } => self.header.prev_end,
            Link::Continues => Lsn::ZERO,
        }
    }
}

/// Reads one segment's header, checks it against the file's name, and tells the file's length.
pub(crate) fn read_header(segment: &SegmentFile) -> Result<(SegmentHeader, u64), ChainError> {
    let path: &Path = &segment.path;
    let file = File::open(path).map_err(IoFault::of("open", path))?;
    let length = file.metadata().map_err(IoFault::of("stat", path))?.len();
    let mut bytes = [0; HEADER_BYTES];
    let there = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
    file.read_exact_at(&mut bytes[..there], 0).map_err(IoFault::of("read", path))?;
    let header = SegmentHeader::decode(&bytes[..there])
        .map_err(|fault| damage(segment, Reason::Header(fault)))?;
    if header.base != segment.base {
        let fault = ChainFault::WrongBase { found: header.base.get() };
        return Err(damage(segment, Reason::Chain(fault)).into());
    }
    Ok((header, length))
}

/// Checks that the file is one segment long.
pub(crate) fn check_length(header: &SegmentHeader, found: u64) -> Result<(), ChainFault> {
    let expected = header.segment_size.get();
    if found == expected { Ok(()) } else { Err(ChainFault::WrongFileLength { expected, found }) }
}

pub(crate) fn check_follows(
    previous: &SegmentHeader,
    next: &SegmentHeader,
) -> Result<(), ChainFault> {
    if next.uuid != previous.uuid {
        return Err(ChainFault::OtherLog { expected: previous.uuid, found: next.uuid });
    }
    if next.segment_size != previous.segment_size {
        let expected = previous.segment_size.get();
        return Err(ChainFault::OtherSize { expected, found: next.segment_size.get() });
    }
    if next.base != previous.end() {
        return Err(ChainFault::Gap { expected: segment_name(previous.end()) });
    }
    let rises = match next.link {
        Link::Continues => next.epoch == previous.epoch,
        Link::FirstOfEpoch { .. } => next.epoch > previous.epoch,
    };
    if !rises {
        return Err(ChainFault::EpochOrder { previous: previous.epoch, found: next.epoch });
    }
    Ok(())
}

pub(crate) fn damage(segment: &SegmentFile, reason: Reason) -> Damage {
    Damage { path: segment.path.clone(), offset: 0, lsn: segment.base, reason }
}
