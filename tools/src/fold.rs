//! One pass of recovery over a log, with an image made on the way.
//!
//! The pass begins at the log's beginning or at a snapshot, and decides as a starting server does. To
//! what the log itself says it adds what snapshots say by their mere names: that nothing before
//! their positions can be missing.

use std::path::Path;

use anyhow::bail;
use booking_manager::image::snapshot::{Named, Snapshot, file_name};
use booking_manager::image::{Image, ReplayError};
use wal::header::segment_name;
use wal::{Lsn, Reader, Record, RecoveryError, RecoveryReport};

use crate::fault::{Cause, Fault, Refusal};
use crate::frames::extent;
use crate::progress::Progress;
use crate::snapshots::Identity;

/// Where a pass begins, and what is known before it.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Of the log.
    pub directory: &'a Path,
    /// What the headers said when the snapshots were listed.
    pub log: Option<Identity>,
    /// What is gone on from; the beginning of the log if there is none.
    pub from: Option<Box<Snapshot>>,
    /// The snapshot that is furthest by its name, whatever is in it.
    pub floor: Option<&'a Named>,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Folded {
    /// The state where it ended; of no use if a record was refused.
    pub image: Image,
    /// Records that were read and are legal.
    pub records: u64,
    /// The furthest position before which everything was read: where the log ends or, if a segment
    /// was begun behind that and nothing logged in it, where its first frame would be.
    pub reached: Lsn,
    /// What recovery decides.
    pub outcome: Result<RecoveryReport, Refusal>,
}

impl Pass<'_> {
    /// Goes through the log. `before` is shown the state before each record.
    ///
    /// # Errors
    /// The log cannot be read, or a server has removed what was about to be.
    pub fn fold(
        self,
        what: &'static str,
        mut before: impl FnMut(&Image, &Record<'_>),
    ) -> anyhow::Result<Folded> {
        let Self { directory, log, from, floor } = self;
        let (start, mut image) = match from {
            Some(snapshot) => (snapshot.lsn, snapshot.image),
            None => (Lsn::ZERO, Image::new()),
        };
        let (begin, end) = extent(directory);
        let mut progress = Progress::over(what, begin.max(start), end.max(start));
        let mut records = 0;
        let outcome = wal::verify_from(directory, start, |record| {
            progress.reach(record.lsn);
            before(&image, &record);
            image.apply(&record)?;
            records += 1;
            Ok::<_, ReplayError>(())
        });
        let reached = outcome.as_ref().map_or(Lsn::ZERO, |report| reached(directory, report));
        let outcome = match outcome {
            Ok(report) => match floor.filter(|floor| floor.lsn > reached) {
                Some(floor) => Err(falls_short(directory, &report, floor)),
                None => Ok(report),
            },
            Err(error) => Err(refusal(directory, log, start, error)?),
        };
        Ok(Folded { image, records, reached, outcome })
    }
}

/// Up to where snapshots of a log may be: a server that has begun another segment, and logged nothing
/// yet, takes the beginning of that for the end of the log.
fn reached(directory: &Path, report: &RecoveryReport) -> Lsn {
    let reader = Reader::open(directory);
    reader.map_or(report.end, |reader| reader.frame_behind(report.end))
}

/// What is said of a log that ends before a snapshot of it.
fn falls_short(directory: &Path, report: &RecoveryReport, floor: &Named) -> Refusal {
    let reader = Reader::open(directory).ok();
    let segments = reader.as_ref().map_or(&[][..], Reader::segments);
    let last = segments.iter().rfind(|segment| segment.header.base <= report.end);
    let base = last.map_or(Lsn::ZERO, |segment| segment.header.base);
    let why = report.torn.as_ref().map_or_else(String::new, |torn| format!("{}; ", torn.reason));
    Refusal {
        fault: Fault {
            file: directory.join(segment_name(base)),
            offset: report.end.since(base),
            lsn: report.end.get(),
            reason: format!("{why}the log ends here, before {}", file_name(floor.lsn)),
        },
        durable_floor: Some(floor.lsn.get()),
        cause: Cause::SnapshotBeyond,
    }
}

/// What recovery says of the log; an error if it says nothing of it.
fn refusal(
    directory: &Path,
    log: Option<Identity>,
    start: Lsn,
    error: RecoveryError,
) -> anyhow::Result<Refusal> {
    let (file, lsn, reason, cause) = match error {
        RecoveryError::Removed { first, .. } if log.is_some_and(|log| log.first == first) => {
            let reason = "what was logged before this was removed, and no usable snapshot is here \
                          that stands for it";
            (segment_name(first), first, reason.to_owned(), Cause::NoBeginning)
        }
        RecoveryError::Removed { first, .. } => {
            bail!("a server has removed the log before LSN {first} meanwhile; run it again")
        }
        RecoveryError::NoSuchStart { begins, .. } => {
            let reason = format!("its position lies within the frame or header at LSN {begins}");
            (file_name(start), begins, reason, Cause::SnapshotBeyond)
        }
        error @ (RecoveryError::Directory(_)
        | RecoveryError::Unreadable(_)
        | RecoveryError::Damaged { .. }
        | RecoveryError::Apply { .. }
        | RecoveryError::EpochsExhausted) => {
            let mut refusal = Refusal::try_from(error)?;
            if refusal.fault.lsn < start.get() && refusal.cause == Cause::Damage {
                refusal.cause = Cause::SnapshotBeyond;
            }
            return Ok(refusal);
        }
    };
    let fault = Fault { file: directory.join(file), offset: 0, lsn: lsn.get(), reason };
    Ok(Refusal { fault, durable_floor: None, cause })
}
