//! Recovery: decides where a log ends, or that it must not be opened.
//!
//! One pass walks the frames from the first segment on, or from the position of a snapshot, hands
//! each caller's record to `apply` and stops at the first place P where no good frame is. What that means is decided by D, the largest
//! position that anything in the log says was durable: the headers' floors, the cuts of closed
//! epochs, the claims of all good frames, also of those *behind* P, and what the caller knows from
//! elsewhere: a floor, and the position of a snapshot, before which everything was durable.
//!
//! | # | what is found | decision |
//! |---|---|---|
//! | R1 | no segments (also: only temporary files) and no floor | a fresh log |
//! | R2 | a foreign name, a header that is damaged, newer, or does not fit its neighbours | refuse |
//! | R3 | P < D | corruption: refuse; file, offset, LSN and reason are those of P |
//! | R4 | P >= D, and only zeros from P on | the log ends at P |
//! | R5 | P >= D, and something behind it | torn tail: the log ends at P; report what is dropped |
//! | R6 | P is the end of the last segment, P >= D | the log ends at P |
//! | R7 | a good frame that this version may neither know nor skip | refuse: written by a newer version |
//! | R8 | `apply` returns an error | refuse at that record |
//! | R9 | reading should begin before the first segment there is | refuse: removed |
//! | R10 | reading should begin within a frame or a header | refuse: no such start |
//! | R11 | reading should begin behind the end of the log, or behind a cut | R3 |
//!
//! Where reading may begin is decided by `start`; segments before it are read no further than
//! their headers. Claims of frames before it are not seen and not missed: a claim is never beyond
//! its frame, and everything before the start is known to have been durable anyway.
//!
//! The end of a closed epoch is not found but known (the next header names it), so a bad frame
//! before it always falls under R3, and what lies behind it is dead and never looked at.
//!
//! # What the next boot does
//!
//! It never appends to or edits a segment. The next epoch begins at the first segment base at or
//! after P ([`NextSegment::base`]), with `prev_end` = P. Files with a greater base can only be
//! segments made ahead or torn off by the cut, dead either way, and are removed
//! first, last one first; a file with that very base is replaced by the rename that brings the new
//! segment in. So a boot that logged nothing leaves no segment behind, and a process that crashes
//! at every start does not fill the disk. All headers stay contiguous at every step.
//!
//! Before P is decided the last epoch's segments are synced, so that what is read and applied, and
//! what the next header vouches for, is on the medium even when only the process had died; then
//! clean pages are dropped and the medium is read. Nothing is written.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use crate::chain::{Chain, ChainError, Segment};
use crate::damage::{Damage, Reason};
use crate::directory::{self, DirectoryError, IoFault, LockedDirectory};
use crate::frame::{FrameHeader, Kind, Record};
use crate::header::{Link, SegmentHeader, segment_name};
use crate::lsn::{Lsn, SegmentSize};
use crate::scan::{Evidence, ReadFrom};
use crate::start::{self, Start, StartFault};
use crate::stopwatch::Stopwatch;
use crate::walk::{Stop, Walk, check_known};

/// What was dropped behind the end of a log: written and never acknowledged as durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// The segment in which the log ends.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The same place as a position.
    pub lsn: Lsn,
    /// From there to the last byte that is not zero, in bytes of the log.
    pub bytes_dropped: u64,
    /// What is wrong with the first frame dropped.
    pub reason: Reason,
}

/// What is known of a log before it is read, from a snapshot or a mirror.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// Everything before it was durable; [`Lsn::ZERO`] if nothing is known.
    pub durable_floor: Lsn,
    /// Where reading begins: [`Lsn::ZERO`], or a position before which everything was durable and
    /// is known to the caller, at which a frame begins or ends.
    pub start: Lsn,
}

/// What recovery found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryReport {
    /// Callers' records applied.
    pub records: u64,
    /// Bytes of all good frames, the log's own included.
    pub bytes: u64,
    /// Segment files there are. Of those that end before [`RecoveryReport::start`] only the headers
    /// were read.
    pub segments: usize,
    /// Base of the first segment there is.
    pub first: Lsn,
    /// Where reading began.
    pub start: Lsn,
    /// P: where the log ends.
    pub end: Lsn,
    /// D: the largest position known to have been durable.
    pub durable_floor: Lsn,
    /// What was dropped behind the end, if anything.
    pub torn: Option<TornTail>,
    /// The log was closed in order (or is new), so nothing can be missing at its end.
    pub clean: bool,
    /// Epoch of the last segment; 0 for a log that was never written.
    pub epoch: u32,
    /// Identity of the log; nil for a log that was never written.
    pub uuid: Uuid,
    /// How long it took. For people only.
    pub elapsed: Duration,
}

/// Why a log must not be opened. Nothing was changed.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The directory cannot be used, or a system call failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A header is damaged, newer or does not fit, or a frame is of a newer version.
    #[error("the log cannot be read: {0}")]
    Unreadable(#[source] Damage),
    /// A record that was durable is gone or damaged.
    #[error("the log is damaged: {damage} (known to have been durable up to LSN {durable})")]
    Damaged {
        /// The first bad place.
        #[source]
        damage: Damage,
        /// D.
        durable: Lsn,
    },
    /// The log no longer reaches back to where reading should begin.
    #[error(
        "the log begins at LSN {first}, records before it were removed, and reading should begin \
         at LSN {start}: needs a snapshot at or past LSN {first}"
    )]
    Removed {
        /// Where reading should begin.
        start: Lsn,
        /// Base of the first segment there is.
        first: Lsn,
    },
    /// No frame begins or ends where reading should begin.
    #[error(
        "reading cannot begin at LSN {start}, which lies within the frame or header at LSN {begins}"
    )]
    NoSuchStart {
        /// Where reading should begin.
        start: Lsn,
        /// Where the frame or header around it begins.
        begins: Lsn,
    },
    /// The caller refused a record.
    #[error("{} at offset {offset} (LSN {lsn}): record refused: {source}", path.display())]
    Apply {
        /// The segment file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// The record's position.
        lsn: Lsn,
        /// The caller's error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There have been 4,294,967,295 boots.
    #[error("the log has no epochs left")]
    EpochsExhausted,
}

impl From<IoFault> for RecoveryError {
    fn from(fault: IoFault) -> Self {
        Self::Directory(fault.into())
    }
}

impl From<ChainError> for RecoveryError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Directory(error) => Self::Directory(error),
            ChainError::Damage(damage) => Self::Unreadable(damage),
        }
    }
}

/// A recovered log, and how to go on from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// What was found.
    pub report: RecoveryReport,
    /// What the new epoch's first segment must say.
    pub next: NextSegment,
    /// Headers of the segments that stay before it, by rising base.
    pub staying: Vec<SegmentHeader>,
}

/// The first segment of the new epoch, and what has to go before it may come.
///
/// In this order: [`NextSegment::remove_leftovers`]; make the file under its temporary name,
/// complete and synced; rename it to its final name (replacing a dead file of that name); sync the
/// directory. Each step may be the last one before a crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextSegment {
    /// The log's segment size: the existing log's, whatever the options say.
    pub segment_size: SegmentSize,
    /// The log's identity, drawn here if the log is new.
    pub uuid: Uuid,
    /// The new epoch.
    pub epoch: u32,
    /// Where the new segment begins.
    pub base: Lsn,
    /// P: where the log was cut.
    pub prev_end: Lsn,
    /// Whether the epoch before ended with a seal.
    pub clean_end_before: bool,
    /// Half-made segments to remove.
    pub temporary: Vec<PathBuf>,
    /// Dead segments to remove, last one first. Not the one at `base`, which is replaced.
    pub dead: Vec<PathBuf>,
}

impl NextSegment {
    /// The header of the segment. `salt` must be fresh randomness.
    #[must_use]
    pub fn header(&self, salt: u64, created_ms: u64) -> SegmentHeader {
        SegmentHeader {
            segment_size: self.segment_size,
            uuid: self.uuid,
            base: self.base,
            prev_end: self.prev_end,
            durable_floor: self.prev_end,
            epoch: self.epoch,
            link: Link::FirstOfEpoch { clean_end_before: self.clean_end_before },
            salt,
            created_ms,
        }
    }

    /// Removes half-made and dead segments, durably.
    ///
    /// # Errors
    /// The first call that failed. Recovering again is safe.
    pub fn remove_leftovers(&self, directory: &LockedDirectory) -> Result<(), IoFault> {
        directory.remove(&self.temporary)?;
        directory.remove(&self.dead)
    }
}

/// Recovers the log in `directory`, calling `apply` for each caller's record in LSN order from
/// `known.start` on while reading. `apply` must only touch memory, and what it built must be thrown away on an error.
///
/// `fresh_size` is the segment size if there is no log yet.
///
/// # Errors
/// See [`RecoveryError`]; the directory's contents are then as they were.
pub fn recover<E: Error + Send + Sync + 'static>(
    directory: &LockedDirectory,
    fresh_size: SegmentSize,
    known: Known,
    apply: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<Recovered, RecoveryError> {
    let listing = directory::list(directory.path())?;
    let chain = Chain::load(&listing)?;
    sync_last_epoch(&chain)?;
    let report = decide(directory.path(), chain.clone(), known, apply)?;
    let next = next_segment(&chain, &report, listing.temporary, fresh_size)?;
    let headers = chain.segments.iter().map(|segment| segment.header);
    let staying = headers.filter(|header| header.base < next.base).collect();
    Ok(Recovered { report, next, staying })
}

/// Makes the same decision without lock, sync or any change: for a tool. On the log of a running
/// server it reports the log as it stands, whose end may have moved on since.
///
/// It reads all that is there, also of a log from whose beginning segments were removed, which a
/// server can only open together with a snapshot.
///
/// # Errors
/// See [`RecoveryError`].
pub fn verify<E: Error + Send + Sync + 'static>(
    directory: &Path,
    on_record: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<RecoveryReport, RecoveryError> {
    let chain = Chain::load_live(directory, Lsn::ZERO)?;
    let start = chain.segments.first().map_or(Lsn::ZERO, |segment| segment.header.base);
    decide_live(directory, chain, start, on_record)
}

/// As [`verify`], and from `start` on, as a server does that has a snapshot of that position.
///
/// # Errors
/// See [`RecoveryError`].
pub fn verify_from<E: Error + Send + Sync + 'static>(
    directory: &Path,
    start: Lsn,
    on_record: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<RecoveryReport, RecoveryError> {
    decide_live(directory, Chain::load_live(directory, Lsn::ZERO)?, start, on_record)
}

/// Decides on a log that somebody may be using, who may remove segments meanwhile.
fn decide_live<E: Error + Send + Sync + 'static>(
    directory: &Path,
    chain: Chain,
    start: Lsn,
    on_record: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<RecoveryReport, RecoveryError> {
    let missing = |error: &RecoveryError| matches!(error, RecoveryError::Directory(DirectoryError::Io(fault)) if fault.is_missing());
    let first = chain.segments.first().map(|segment| segment.header.base);
    let outcome = decide(directory, chain, Known { start, ..Known::default() }, on_record);
    if outcome.as_ref().is_err_and(missing) {
        let now = directory::list(directory)?.segments.first().map(|segment| segment.base);
        if let Some(now) = now.filter(|&now| first.is_some_and(|first| first < now)) {
            return Err(RecoveryError::Removed { start, first: now });
        }
    }
    outcome
}

/// Syncs what the last boot may have left in memory. Closed epochs were synced by the boot that
/// closed them.
fn sync_last_epoch(chain: &Chain) -> Result<(), IoFault> {
    let last = chain.segments.last().map(|segment| segment.header.epoch);
    for Segment { path, header, .. } in &chain.segments {
        if Some(header.epoch) == last {
            let file = File::open(path).map_err(IoFault::of("open", path))?;
            file.sync_data().map_err(IoFault::of("sync", path))?;
        }
    }
    Ok(())
}

fn decide<E: Error + Send + Sync + 'static>(
    directory: &Path,
    chain: Chain,
    known: Known,
    mut apply: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<RecoveryReport, RecoveryError> {
    let started = Stopwatch::start();
    let mut report = begin(&chain, known);
    let begun = start::begin(chain, known.start, ReadFrom::Medium)
        .map_err(|fault| no_start(fault, known.start, report.durable_floor))?;
    let Some(Start { mut walk, end, clean }) = begun else {
        check_nothing_is_missing(directory, report.durable_floor)?;
        return Ok(report);
    };
    (report.end, report.clean) = (end, clean);
    let mut looked_again = None;
    loop {
        let stop = match walk.advance() {
            Ok(header) => {
                check_known(&header).map_err(|reason| {
                    RecoveryError::Unreadable(walk.damage_at(header.lsn, reason))
                })?;
                take(&mut report, &header);
                if !header.kind.is_internal() {
                    let applied = apply(walk.view(header).record());
                    applied.map_err(|error| refused_record(&walk, header.lsn, error))?;
                }
                continue;
            }
            Err(stop) => stop,
        };
        let (damage, evidence) = match stop {
            Stop::Io(fault) => return Err(fault.into()),
            Stop::Full => (walk.log_ends(), Evidence::default()),
            Stop::Bad(reason) if walk.in_closed_epoch() => {
                (walk.damage(reason), Evidence::default())
            }
            Stop::Bad(reason) => (walk.damage(reason), walk.evidence()?),
        };
        report.durable_floor = report.durable_floor.max(evidence.durable);
        if damage.lsn >= report.durable_floor {
            report.torn = evidence.written_end.map(|end| torn_tail(damage, end));
            report.clean &= report.torn.is_none();
            report.elapsed = started.elapsed();
            return Ok(report);
        }
        // A second look before refusing: under a running server the frame may have been filled,
        // and even become durable, after the walk had stopped at it.
        if looked_again == Some(damage.lsn) {
            return Err(RecoveryError::Damaged { damage, durable: report.durable_floor });
        }
        looked_again = Some(damage.lsn);
    }
}

/// What is known from the headers alone.
fn begin(chain: &Chain, known: Known) -> RecoveryReport {
    let first = chain.segments.first().map_or(Lsn::ZERO, |segment| segment.header.base);
    let last = chain.segments.last().map(|segment| segment.header);
    RecoveryReport {
        records: 0,
        bytes: 0,
        segments: chain.segments.len(),
        first,
        start: known.start.max(first),
        end: Lsn::ZERO,
        durable_floor: chain.durable_floor().max(known.durable_floor).max(known.start),
        torn: None,
        clean: true,
        epoch: last.map_or(0, |header| header.epoch),
        uuid: last.map_or(Uuid::nil(), |header| header.uuid),
        elapsed: Duration::ZERO,
    }
}

fn no_start(fault: StartFault, start: Lsn, durable: Lsn) -> RecoveryError {
    match fault {
        StartFault::Removed { first } => RecoveryError::Removed { start, first },
        StartFault::Within { begins } => RecoveryError::NoSuchStart { start, begins },
        StartFault::Damaged(damage) => RecoveryError::Damaged { damage, durable },
        StartFault::Io(fault) => fault.into(),
    }
}

/// Accounts for a good frame.
fn take(report: &mut RecoveryReport, header: &FrameHeader) {
    report.bytes += header.span() as u64;
    report.end = header.end();
    report.clean = header.kind == Kind::SEAL;
    report.records += u64::from(!header.kind.is_internal());
    if let Some(durable) = header.claim.position(header.lsn) {
        report.durable_floor = report.durable_floor.max(durable);
    }
}

fn torn_tail(damage: Damage, written_end: Lsn) -> TornTail {
    let Damage { path, offset, lsn, reason } = damage;
    TornTail { file: path, offset, lsn, bytes_dropped: written_end.since(lsn), reason }
}

fn refused_record<E: Error + Send + Sync + 'static>(
    walk: &Walk,
    lsn: Lsn,
    error: E,
) -> RecoveryError {
    let segment = walk.segment();
    let offset = lsn.since(segment.header.base);
    RecoveryError::Apply { path: segment.path.clone(), offset, lsn, source: error.into() }
}

/// A log without segments is new, unless somebody knows better.
fn check_nothing_is_missing(directory: &Path, floor: Lsn) -> Result<(), RecoveryError> {
    if floor == Lsn::ZERO {
        return Ok(());
    }
    let expected = segment_name(Lsn::ZERO);
    let path = directory.join(&expected);
    let reason = Reason::LogEnds { expected };
    let damage = Damage { path, offset: 0, lsn: Lsn::ZERO, reason };
    Err(RecoveryError::Damaged { damage, durable: floor })
}

/// Where and as what the log goes on.
fn next_segment(
    chain: &Chain,
    report: &RecoveryReport,
    temporary: Vec<PathBuf>,
    fresh_size: SegmentSize,
) -> Result<NextSegment, RecoveryError> {
    let segment_size = chain.segment_size().unwrap_or(fresh_size);
    let base = segment_size.base_at_or_after(report.end);
    let dead = chain.segments.iter().rev().filter(|segment| segment.header.base > base);
    let uuid = match chain.segments.last() {
        Some(last) => last.header.uuid,
        None => uuid::Builder::from_random_bytes(rand::random()).into_uuid(),
    };
    Ok(NextSegment {
        segment_size,
        uuid,
        epoch: report.epoch.checked_add(1).ok_or(RecoveryError::EpochsExhausted)?,
        base,
        prev_end: report.end,
        clean_end_before: report.clean && !chain.segments.is_empty(),
        temporary,
        dead: dead.map(|segment| segment.path.clone()).collect(),
    })
}
