//! All frames of a log in order, and the damage between them, past which reading goes on.
//!
//! What counts as damage is decided by [`wal::Reader`], as in recovery, with one exception that a
//! reader of single frames cannot see: a log whose last segment is gone, file and all, reads as one
//! that ends there. [`crate::verdict`] notices it. A segment header that is damaged stops recovery,
//! but not this: that segment is named and left out, since without its header no frame in it can be
//! told from chance, and reading goes on behind it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, bail};
use wal::frame::FrameView;
use wal::header::segment_name;
use wal::{Damage, Lsn, ReadError, Reader, SegmentSize};

use crate::fault::Fault;

/// What stands at a place in the log.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// A whole frame, the log's own included.
    Frame(FrameView<'a>, Frames<'a>),
    /// Damage.
    Damage(Fault, Beyond),
    /// Records that were shown already, from one position to another, are none any more: a crash
    /// took them back. Only a log that is being followed can say so.
    TakenBack(Lsn, Lsn),
}

/// How reading goes on behind damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// At the next whole frame, or the next segment, so many bytes further on.
    Skipped(u64),
    /// Nothing readable follows.
    Nothing,
}

/// The log that a frame belongs to, so that its place can be named.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    directory: &'a Path,
    size: SegmentSize,
}

impl<'a> Frames<'a> {
    /// Of the log in `directory`, whose segments are of this size.
    pub const fn new(directory: &'a Path, size: SegmentSize) -> Self {
        Self { directory, size }
    }
}

impl Frames<'_> {
    /// Base of the segment in which a frame lies.
    pub fn base_of(self, lsn: Lsn) -> Lsn {
        self.size.base_of(lsn)
    }

    /// Names the place of a whole frame, with what is wrong with it.
    pub fn fault(self, lsn: Lsn, reason: String) -> Fault {
        Fault {
            file: self.directory.join(segment_name(self.size.base_of(lsn))),
            offset: self.size.offset_of(lsn),
            lsn: lsn.get(),
            reason,
        }
    }
}

/// Checks that there is a directory: the log itself takes a missing one for an empty one, which
/// would turn a misspelt path into a sound log.
///
/// # Errors
/// There is none, or it cannot be looked at.
pub fn check_directory(directory: &Path) -> anyhow::Result<()> {
    let found = fs::metadata(directory);
    let found = found.with_context(|| format!("cannot read {}", directory.display()))?;
    if !found.is_dir() {
        bail!("cannot read {}: it is not a directory", directory.display());
    }
    Ok(())
}

/// From where to where the files of the log reach, as far as that can be told. The end is that of the
/// last file, most of which may not have been written yet.
pub fn extent(directory: &Path) -> (Lsn, Lsn) {
    // Whoever reads the log says what is wrong with it.
    let reader = Reader::open(directory).ok();
    let segments = reader.as_ref().map_or(&[][..], Reader::segments);
    let from = segments.first().map_or(Lsn::ZERO, |segment| segment.header.base);
    (from, segments.last().map_or(from, |segment| segment.header.end()))
}

/// Shows `visit` everything from the first frame to the end of what is written, until it breaks off.
///
/// # Errors
/// The log cannot be read, or `visit` failed.
pub fn each(
    directory: &Path,
    visit: impl FnMut(Found<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    follow(directory, || Ok(ControlFlow::Break(())), visit)
}

/// As [`each`], and asks `idle` at the end of what is written whether to look again.
///
/// # Errors
/// As [`each`], or `idle` failed.
pub fn follow(
    directory: &Path,
    mut idle: impl FnMut() -> anyhow::Result<ControlFlow<()>>,
    mut visit: impl FnMut(Found<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    check_directory(directory)?;
    let mut reader = Reader::open_lenient(directory)?;
    loop {
        let size = reader.segment_size();
        let flow = match reader.next_frame() {
            Ok(Some(view)) => {
                // Known since before the frame was read, but for the first one of a new log.
                let size = size.or_else(|| segment_size(directory));
                let size = size.context("a frame in a log without a single good header")?;
                visit(Found::Frame(view, Frames { directory, size }))?
            }
            Ok(None) => idle()?,
            Err(ReadError::CutBehindReader { cut, read }) => {
                reader.seek(cut)?;
                visit(Found::TakenBack(cut, read))?
            }
            Err(error) => {
                let damage = damage_in(error)?;
                let beyond = reader.skip_damage()?.map_or(Beyond::Nothing, Beyond::Skipped);
                let flow = visit(Found::Damage(Fault::from(&damage), beyond))?;
                if beyond == Beyond::Nothing { ControlFlow::Break(()) } else { flow }
            }
        };
        if flow.is_break() {
            return Ok(());
        }
    }
}

fn segment_size(directory: &Path) -> Option<SegmentSize> {
    Reader::open_lenient(directory).ok()?.segment_size()
}

/// What is damaged, if that is what the error says; the others say that the log could not be read.
pub(crate) fn damage_in(error: ReadError) -> anyhow::Result<Damage> {
    match error {
        ReadError::Damage(damage) => Ok(damage),
        error @ ReadError::Directory(_) => Err(error.into()),
        error @ ReadError::Removed { .. } => {
            let removed = "a server beside this has removed segments; run it again";
            Err(anyhow::Error::new(error).context(removed))
        }
        error @ (ReadError::NoSuchPosition { .. } | ReadError::CutBehindReader { .. }) => {
            let restarted = "a server has started beside this and changed the log; run it again";
            Err(anyhow::Error::new(error).context(restarted))
        }
    }
}
