//! What has been done, for the statistics.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wal::Lsn;

use crate::image::snapshot::{Summary, file_name};

/// A snapshot that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// What it says of itself.
    pub summary: Summary,
    /// Its file.
    pub path: PathBuf,
    /// How long it took.
    pub elapsed: Duration,
}

impl Made {
    pub(super) fn new(directory: &Path, summary: Summary, elapsed: Duration) -> Self {
        Self { summary, path: directory.join(file_name(summary.lsn)), elapsed }
    }
}

/// Figures of the checkpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// The newest snapshot.
    pub newest: Option<Summary>,
    /// Where the one before it stands, if it was whole when it was last read.
    pub older: Option<Lsn>,
    /// How long it took to make it, if this process did.
    pub elapsed: Option<Duration>,
    /// Snapshots made by this process.
    pub made: u64,
    /// Tries that failed.
    pub failed: u64,
    /// What was wrong with the last try, if it failed.
    pub last_error: Option<String>,
    /// Segments removed by this process.
    pub segments_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
}

/// The figures as they stand; written by the thread that makes checkpoints.
#[derive(Debug)]
pub struct Status(Mutex<Figures>);

impl Status {
    pub(super) fn new(newest: Option<Summary>) -> Self {
        Self(Mutex::new(Figures { newest, ..Figures::default() }))
    }

    /// A copy.
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// Held for a moment only; no panic can leave the figures half-changed.
    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn made(&self, made: &Made) {
        let mut figures = self.lock();
        figures.newest = Some(made.summary);
        figures.elapsed = Some(made.elapsed);
        figures.made += 1;
        figures.last_error = None;
    }

    pub(super) fn kept(&self, older: Option<Lsn>) {
        self.lock().older = older;
    }

    pub(super) fn failed(&self, error: String) {
        let mut figures = self.lock();
        figures.failed += 1;
        figures.last_error = Some(error);
    }

    pub(super) fn removed(&self, segments: u64, bytes: u64) {
        let mut figures = self.lock();
        figures.segments_removed += segments;
        figures.bytes_removed += bytes;
    }
}
