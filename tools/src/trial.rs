//! What recovery would say of a log if some of its files were gone and one were cut short.
//!
//! The files themselves are left alone: a directory of links to them is made in the system's
//! temporary place, with a shortened copy of the one that would be cut, and recovery is asked there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use booking_manager::image::snapshot::Named;
use wal::{Lsn, SegmentSize};

use crate::verdict::Verdict;

/// A segment as it would be: whole, or zero from a position on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// From where on it would be zero.
    pub cut: Option<(Lsn, SegmentSize)>,
}

/// Recovery's verdict on a log of these parts, with these snapshots. Files are named as they are in `directory`, where
/// those of `parts` lie.
///
/// # Errors
/// The files cannot be read, or there is no temporary place.
pub fn verdict(directory: &Path, parts: &[Part], snapshots: &[Named]) -> anyhow::Result<Verdict> {
    let stage = tempfile::tempdir().context("cannot make a temporary directory")?;
    for Part { path, cut } in parts {
        let name = path.file_name().context("a segment has a name")?;
        let there = stage.path().join(name);
        match cut {
            Some((lsn, size)) => shortened(path, &there, *lsn, *size)?,
            None => link(path, &there)?,
        }
    }
    for Named { path, .. } in snapshots {
        let name = path.file_name().context("a snapshot has a name")?;
        link(path, &stage.path().join(name))?;
    }
    let mut verdict = Verdict::on(stage.path())?;
    if let Some(file) = verdict.file_mut()
        && let Some(name) = file.file_name()
    {
        *file = directory.join(name);
    }
    Ok(verdict)
}

fn link(path: &Path, there: &Path) -> anyhow::Result<()> {
    let target = fs::canonicalize(path);
    let target = target.with_context(|| format!("cannot find {}", path.display()))?;
    symlink(target, there).with_context(|| format!("cannot link {}", there.display()))
}

/// Writes to `there` a copy of a segment that is zero from `lsn` on, as long as the segment, and
/// syncs it.
///
/// # Errors
/// It cannot be read or written.
pub fn shortened(path: &Path, there: &Path, lsn: Lsn, size: SegmentSize) -> anyhow::Result<()> {
    let copy = || -> io::Result<()> {
        let mut copy = File::create_new(there)?;
        io::copy(&mut File::open(path)?.take(size.offset_of(lsn)), &mut copy)?;
        // What lies between the end of what was copied and this length reads as zeros. Nobody
        // writes to a segment of an earlier epoch, so that it may stay a hole.
        copy.set_len(size.get())?;
        copy.sync_all()
    };
    copy().with_context(|| format!("cannot copy {} to {}", path.display(), there.display()))
}
