//! Making a segment's file, so that appending to it never meets anything but written blocks.
//!
//! **Invariant:** a file with a segment's final name is one segment long, all of its blocks are
//! allocated, its header is on disk, and so is its name. What is not so yet has a temporary name and
//! is nobody's data.
//!
//! Blocks that were allocated and never written cost a journal commit when a sync first covers them,
//! so the file is written through with zeros in advance. The zeros go in writes of one page: written in
//! large pieces they would lie in large folios of the page cache, and one dirty byte would then write
//! the whole folio at each sync. They are synced chunk by chunk, so that no burst of dirty pages stands
//! in front of the syncer's next `fdatasync`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate, fdatasync},
    io::Errno,
};

use crate::{
    directory::{LockedDirectory, NameFault},
    header::{PAGE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, temporary_name},
    lsn::Lsn,
    poison::Poison,
    sync::take_a_while,
};

/// Zeros between two syncs and pauses: about a millisecond of a modest disk.
const CHUNK_BYTES: u64 = 256 << 10;

const PAGE: usize = PAGE_BYTES as usize;
static ZEROS: [u8; PAGE] = [0; PAGE];

const _: () = assert!(CHUNK_BYTES.is_multiple_of(PAGE_BYTES as u64));

/// A segment that can be appended to: its file is open for syncing.
#[derive(Debug)]
pub(crate) struct LiveSegment {
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

/// Why no segment was made. The temporary file is gone.
#[derive(Debug)]
pub(crate) enum MakeError {
    /// The disk or a quota is full. Worth trying again.
    NoSpace,
    /// The log was told to stop.
    Stopped,
    /// Final.
    Failed(Poison),
}

/// Whether slow work should go on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    Continue,
    Stop,
}

impl LiveSegment {
    /// Syncs what was stored into the mapping. A failure is final.
    pub(crate) fn sync(&self) -> Result<(), Poison> {
        take_a_while();
        fdatasync(&self.file).map_err(|errno| Poison::new("fdatasync", &self.path, &errno.into()))
    }

    /// The same file under a handle of its own. The kernel reports a failed write-back once to each
    /// handle: with a shared one, a sync of the preparer could swallow the failure that the syncer's
    /// next sync must see, and `durable` would pass over lost bytes.
    pub(crate) fn reopened(&self) -> Result<Self, Poison> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(|error| Poison::new("open", &self.path, &error))?;
        Ok(Self { base: self.base, path: self.path.clone(), file })
    }

    /// Writes zeros over `[from, to)` of the file and syncs them, a chunk at a time; `each` is told
    /// how far it got. The blocks must be allocated and nothing may be stored there yet.
    pub(crate) fn write_zeros(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(u64) -> Pace,
    ) -> Result<(), MakeError> {
        let mut at = from;
        while at < to {
            let end = to.min(at + CHUNK_BYTES);
            for page in (at..end).step_by(PAGE) {
                self.file
                    .write_all_at(&ZEROS, page)
                    .map_err(|error| failed("write", &self.path, error))?;
            }
            self.sync().map_err(MakeError::Failed)?;
            at = end;
            if each(at) == Pace::Stop {
                return Err(MakeError::Stopped);
            }
        }
        Ok(())
    }
}

/// Makes the segment of `header` with the first `zeroed_bytes` written through (a multiple of a
/// page), and gives it its name for good.
pub(crate) fn make(
    directory: &LockedDirectory,
    header: &SegmentHeader,
    zeroed_bytes: u64,
    each: impl FnMut(u64) -> Pace,
) -> Result<LiveSegment, MakeError> {
    let temporary = directory.path().join(temporary_name(header.base));
    let made = make_temporary(&temporary, header, zeroed_bytes, each)
        .and_then(|segment| name(directory, segment, header.base));
    if made.is_err() {
        // Its space must come back; that it cannot be removed changes nothing for the caller.
        drop(fs::remove_file(&temporary));
    }
    made
}

fn make_temporary(
    path: &Path,
    header: &SegmentHeader,
    zeroed_bytes: u64,
    each: impl FnMut(u64) -> Pace,
) -> Result<LiveSegment, MakeError> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(|error| failed("create", path, error))?;
    let segment = LiveSegment { base: header.base.get(), path: path.to_owned(), file };
    let bytes = header.segment_size.get();
    match fallocate(&segment.file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        // The file system cannot allocate ahead: writing zeros over the whole length must do.
        Err(Errno::OPNOTSUPP) => segment.write_zeros(0, bytes, |_| Pace::Continue)?,
        Err(errno) => return Err(failed("fallocate", path, errno.into())),
    }
    segment.write_zeros(SEGMENT_HEADER_BYTES, zeroed_bytes, each)?;
    segment.file.write_all_at(&header.encode(), 0).map_err(|error| failed("write", path, error))?;
    segment.sync().map_err(MakeError::Failed)?;
    Ok(segment)
}

fn name(
    directory: &LockedDirectory,
    segment: LiveSegment,
    base: Lsn,
) -> Result<LiveSegment, MakeError> {
    let path = directory.path().join(segment_name(base));
    directory.name_segment(&segment.path, &path).map_err(|fault| match fault {
        NameFault::Rename(error) => failed("rename", &segment.path, error),
        NameFault::Sync(fault) => {
            MakeError::Failed(Poison::new("fsync", directory.path(), &fault.source))
        }
    })?;
    Ok(LiveSegment { path, ..segment })
}

/// A full disk is no failure, and neither is a process or a system that is out of descriptors or
/// memory for the moment: nothing of the new file is in use yet, so it can be tried again.
/// Everything else is final.
fn failed(operation: &'static str, path: &Path, error: io::Error) -> MakeError {
    let full = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::FileTooLarge,
        io::ErrorKind::OutOfMemory,
    ];
    let exhausted = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    if full.contains(&error.kind()) || exhausted.contains(&error.raw_os_error()) {
        MakeError::NoSpace
    } else {
        MakeError::Failed(Poison::new(operation, path, &error))
    }
}
