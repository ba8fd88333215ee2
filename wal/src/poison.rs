//! Why the log stopped for good.
//!
//! **Invariant:** a log is poisoned at most once and never healed. The first failure is kept; what
//! fails after it is a consequence.
//!
//! A failed `fdatasync` may have dropped the pages it could not write, and the next call then reports
//! success over the loss. So no call is ever repeated to see whether it works now: only a restart
//! reads the disk again.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The failure that stopped the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// What was being done, as the name of the system call or a short phrase.
    pub operation: &'static str,
    /// The file it was done to.
    pub file: PathBuf,
    /// The operating system's text, with its number.
    pub reason: String,
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "log stopped: {} of {} failed: {}",
            self.operation,
            self.file.display(),
            self.reason
        )
    }
}

impl std::error::Error for Poison {}

impl Poison {
    pub(crate) fn new(operation: &'static str, file: &Path, error: &io::Error) -> Self {
        Self { operation, file: file.to_owned(), reason: error.to_string() }
    }
}

/// Holds the first failure. Reading it costs one Acquire load while the log is healthy.
#[derive(Debug, Default)]
pub(crate) struct PoisonCell(OnceLock<Poison>);

impl PoisonCell {
    pub(crate) fn get(&self) -> Option<&Poison> {
        self.0.get()
    }

    /// Keeps `poison` unless there is one already; true when this was the first.
    pub(crate) fn set(&self, poison: Poison) -> bool {
        self.0.set(poison).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_kept() {
        let cell = PoisonCell::default();
        let first = Poison::new(
            "fdatasync",
            Path::new("/data/wal-0.seg"),
            &io::Error::from_raw_os_error(5),
        );
        assert!(cell.get().is_none());
        assert!(cell.set(first.clone()));
        assert!(!cell.set(Poison::new("rename", Path::new("x"), &io::Error::other("later"))));
        assert_eq!(cell.get(), Some(&first));
        assert_eq!(
            first.to_string(),
            "log stopped: fdatasync of /data/wal-0.seg failed: Input/output error (os error 5)"
        );
    }
}
