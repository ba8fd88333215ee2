//! The directory of a log: which files belong to it, and who may write to it.
//!
//! Names that begin with `wal-` or end in `.seg` are the log's, and only exact segment names
//! (16 lower-case hex digits, so that no base has two names) and temporary names are accepted
//! among them. Everything else is none of its business and left alone, so a directory may hold
//! snapshots or a note beside the log.
//!
//! One process owns the directory by an exclusive `flock` on [`LOCK_FILE`]. The kernel drops it
//! when the process ends, however it ends, so a stale lock file locks nobody out.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;
use thiserror::Error;

use crate::header::{segment_name, temporary_name};
use crate::lsn::Lsn;

/// Name of the file whose lock makes a process the owner. It holds nothing.
pub const LOCK_FILE: &str = "wal.lock";

const HEX_DIGITS: usize = 16;

/// A system call that failed, with what it was done to.
#[derive(Debug, Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct IoFault {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl IoFault {
    /// Whether the file is not there (any more).
    pub(crate) fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// For `map_err`: names the operation and the path of a failed call.
    pub(crate) fn of<E: Into<io::Error>>(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self { operation, path: path.to_owned(), source: source.into() }
    }
}

/// Why a directory cannot be used as a log.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// Another process, or another log in this one, owns the directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file looks like one of the log's and is not.
    #[error("{} is not a segment's name; move it out of the log's directory", path.display())]
    ForeignName {
        /// The file.
        path: PathBuf,
    },
}

/// A segment file by its name alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    /// The base that the name gives.
    pub base: Lsn,
    /// Where the file is.
    pub path: PathBuf,
}

/// The files of a log, as a directory listing shows them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// Segments, by rising base.
    pub segments: Vec<SegmentFile>,
    /// Half-made segments: nobody's data, removed by the next owner.
    pub temporary: Vec<PathBuf>,
}

/// Lists the files of the log in `directory`. A directory that does not exist holds none.
///
/// # Errors
/// [`DirectoryError::ForeignName`] or a failed system call.
pub fn list(directory: &Path) -> Result<Listing, DirectoryError> {
    let mut listing = Listing::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        Err(error) => return Err(IoFault::of("list", directory)(error).into()),
    };
    for entry in entries {
        let path = entry.map_err(IoFault::of("list", directory))?.path();
        match classify(&path) {
            Name::Segment(base) => listing.segments.push(SegmentFile { base, path }),
            Name::Temporary => listing.temporary.push(path),
            Name::Other => {}
            Name::Foreign => return Err(DirectoryError::ForeignName { path }),
        }
    }
    listing.segments.sort_unstable_by_key(|segment| segment.base);
    Ok(listing)
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Name {
    Segment(Lsn),
    Temporary,
    Foreign,
    Other,
}

fn classify(path: &Path) -> Name {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let ours = name.starts_with(b"wal-") || name.ends_with(b".seg");
    let Ok(text) = std::str::from_utf8(name) else {
        return if ours { Name::Foreign } else { Name::Other };
    };
    let digits = text.strip_prefix("wal-").and_then(|rest| rest.get(..HEX_DIGITS));
    let base = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(Lsn::new);
    // Comparing with the name that this base would get refuses upper case, signs and suffixes.
    match base {
        Some(base) if text == segment_name(base) => Name::Segment(base),
        Some(base) if text == temporary_name(base) => Name::Temporary,
        _ if ours => Name::Foreign,
        _ => Name::Other,
    }
}

/// A directory that this process owns until the value is dropped.
///
/// **Invariant:** once a sync of it has failed, nobody knows which names the medium has, and a later
/// sync that returned success would not tell. So [`sync`](Self::sync) fails from then on, whoever asks.
/// The log alone goes on giving names to new segments: each changes the directory anew, so that its
/// sync is not the one that failed over again, and poisons the log if it fails.
#[derive(Debug)]
pub struct LockedDirectory {
    path: PathBuf,
    handle: File,
    lock: File,
    /// Held during a sync, and from a segment's renaming on: the system tells of a failure once,
    /// and it must be told to whoever's names it concerns.
    names: Mutex<Names>,
}

/// Why a segment has not got its name.
#[cfg(not(booking_loom))]
#[derive(Debug)]
pub(crate) enum NameFault {
    /// It has not been renamed.
    Rename(io::Error),
    /// It has, and nobody knows whether the medium has it so.
    Sync(IoFault),
}

/// Whether it is known which names the medium has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Names {
    Known,
    Unknown,
}

impl Drop for LockedDirectory {
    /// Closing the file is not enough: a child that this process is just starting has a copy of the
    /// descriptor until it executes its program, and would keep the lock for that long.
    fn drop(&mut self) {
        // Should it fail, the lock ends with its last descriptor all the same.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

impl LockedDirectory {
    /// Creates the directory if it is missing and takes the lock, without waiting.
    ///
    /// # Errors
    /// [`DirectoryError::Locked`] when somebody else owns it, or a failed system call.
    pub fn acquire(directory: &Path) -> Result<Self, DirectoryError> {
        create_durably(directory)?;
        let handle = File::open(directory).map_err(IoFault::of("open", directory))?;
        let path = directory.join(LOCK_FILE);
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(IoFault::of("create", &path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let names = Mutex::new(Names::Known);
                Ok(Self { path: directory.to_owned(), handle, lock, names })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::Locked { path }),
            Err(errno) => Err(IoFault::of("lock", &path)(errno).into()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// The failed `fsync`, which is final: every later call fails without trying.
    pub fn sync(&self) -> Result<(), IoFault> {
        let mut names = self.lock_names();
        self.check(*names)?;
        self.sync_holding(&mut names)
    }

    /// Gives a segment that was just made its name, durably, whatever became of other names.
    #[cfg(not(booking_loom))]
    pub(crate) fn name_segment(&self, from: &Path, to: &Path) -> Result<(), NameFault> {
        let mut names = self.lock_names();
        fs::rename(from, to).map_err(NameFault::Rename)?;
        self.sync_holding(&mut names).map_err(NameFault::Sync)
    }

    fn sync_holding(&self, names: &mut Names) -> Result<(), IoFault> {
        self.handle.sync_all().map_err(|error| {
            *names = Names::Unknown;
            IoFault::of("sync", &self.path)(error)
        })
    }

    fn lock_names(&self) -> MutexGuard<'_, Names> {
        // A thread that panicked with it changed nothing.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That no sync of the directory has failed. To be asked before what must not be done while
    /// nobody knows which names the medium has.
    ///
    /// # Errors
    /// One has, in this process.
    pub fn check_names(&self) -> Result<(), IoFault> {
        let names = *self.lock_names();
        self.check(names)
    }

    fn check(&self, names: Names) -> Result<(), IoFault> {
        match names {
            Names::Known => Ok(()),
            Names::Unknown => {
                let reason = "an earlier sync has failed, and only a restart looks at it again";
                Err(IoFault::of("rely on the names in", &self.path)(io::Error::other(reason)))
            }
        }
    }

    /// Removes `files`, in this order and each durably before the next, so that a crash in between
    /// leaves a set from which only a tail is missing. A file that is already gone is fine.
    ///
    /// # Errors
    /// The first call that failed; the files behind it are still there.
    pub fn remove(&self, files: &[PathBuf]) -> Result<(), IoFault> {
        for file in files {
            match fs::remove_file(file) {
                Ok(()) => self.sync()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(IoFault::of("remove", file)(error)),
            }
        }
        Ok(())
    }
}

/// Creates `directory` and makes its name durable. Parents are made as well, top down.
fn create_durably(directory: &Path) -> Result<(), IoFault> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(IoFault::of("create", directory)(error)),
    }
    let handle = File::open(parent).map_err(IoFault::of("open", parent))?;
    handle.sync_all().map_err(IoFault::of("sync", parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_the_logs() {
        let check = |name: &str, expected: Name| {
            assert_eq!(classify(Path::new(name)), expected, "{name}");
        };
        check("wal-0000000000000000.seg", Name::Segment(Lsn::ZERO));
        check("wal-00000000000abc00.seg", Name::Segment(Lsn::new(0xabc00)));
        check("wal-00000000000abc00.seg.tmp", Name::Temporary);
        for other in ["wal.lock", "snapshot-1", "README", "lost+found", "a.seg.tmp", "walrus"] {
            check(other, Name::Other);
        }
        for foreign in [
            "wal-00000000000ABC00.seg",
            "wal-+00000000000abc0.seg",
            "wal-00000000000abc0.seg",
            "wal-00000000000abc000.seg",
            "wal-00000000000abc00.seg.old",
            "wal-00000000000abc00",
            "wal-",
            "x.seg",
            ".seg",
        ] {
            check(foreign, Name::Foreign);
        }
    }

    #[test]
    fn a_listing_is_sorted_and_names_the_foreign_file() {
        let directory = tempfile::tempdir().unwrap();
        let touch = |name: &str| fs::write(directory.path().join(name), b"").unwrap();
        touch("wal-0000000000020000.seg");
        touch("wal-0000000000000000.seg");
        touch("wal-0000000000040000.seg.tmp");
        touch("note.txt");
        let listing = list(directory.path()).unwrap();
        let bases: Vec<u64> = listing.segments.iter().map(|s| s.base.get()).collect();
        assert_eq!((bases, listing.temporary.len()), (vec![0, 0x20000], 1));

        touch("wal-backup.seg");
        match list(directory.path()) {
            Err(DirectoryError::ForeignName { path }) => assert!(path.ends_with("wal-backup.seg")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_directory_has_one_owner_until_he_lets_go() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/log");
        let owner = LockedDirectory::acquire(&path).unwrap();
        assert!(matches!(LockedDirectory::acquire(&path), Err(DirectoryError::Locked { .. })));
        drop(owner);
        LockedDirectory::acquire(&path).unwrap();
    }

    #[test]
    fn what_keeps_a_directory_from_being_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, b"").unwrap();
        match LockedDirectory::acquire(&file.join("log")) {
            Err(DirectoryError::Io(fault)) => assert_eq!(fault.path, file.join("log")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_file_that_is_gone_need_not_be_removed() {
        let root = tempfile::tempdir().unwrap();
        let owner = LockedDirectory::acquire(root.path()).unwrap();
        let [first, gone, directory, last] =
            ["first", "gone", "directory", "last"].map(|name| root.path().join(name));
        fs::write(&first, b"").unwrap();
        fs::write(&last, b"").unwrap();
        fs::create_dir(&directory).unwrap();
        let fault = owner.remove(&[first.clone(), gone, directory.clone(), last.clone()]);
        assert_eq!(fault.unwrap_err().path, directory);
        assert!(!first.exists() && last.exists());
    }

    #[test]
    fn a_missing_directory_lists_as_empty() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(list(&root.path().join("none")).unwrap(), Listing::default());
    }

    #[test]
    fn what_cannot_be_listed_is_not_taken_for_missing() {
        let fault =
            |kind: io::ErrorKind| IoFault::of("open", Path::new("x"))(io::Error::from(kind));
        assert!(fault(io::ErrorKind::NotFound).is_missing());
        assert!(!fault(io::ErrorKind::PermissionDenied).is_missing());
        let file = tempfile::NamedTempFile::new().unwrap();
        match list(file.path()) {
            Err(DirectoryError::Io(fault)) => assert_eq!(fault.path, file.path()),
            other => panic!("{other:?}"),
        }
    }
}
