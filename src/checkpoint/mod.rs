//! Checkpoints: the log folded into snapshots in the background, and old segments removed.
//!
//! **Invariants.** The engine is never paused and never read: a snapshot is made from the snapshot
//! before it and the records since, as recovery would do it. Only records that are durable go into
//! one. Of the snapshots two are kept, and the older counts only if it was read back and checked as
//! a whole, at the start or as the base of the newer; a segment is removed only when it lies below
//! the older one of the two, below what the mirror has confirmed, and below what is to be retained.
//! No snapshot takes space that the log needs next.
//!
//! A checkpoint is made when the log has grown by so many bytes since the last one, when so much
//! time has passed and there are new records, or when the admin socket asks ([`admin`]). One
//! thread makes them, with a low priority and with pauses in its writing, so that bookings keep
//! the processor and the disk. For the time of one, and while the older snapshot is checked after a
//! start, the state is in memory a second time.
//!
//! A record that cannot follow those before it means that memory and log have parted: the process
//! stops. A damaged file is told, counted and tried again; the state in memory is not touched by it.
//! So is a snapshot for which there is no room, and one whose sync failed: it is removed without ever
//! having had a name, and the next one is another file. After a failed sync of the directory, though,
//! nobody knows which names are on disk, and a later sync that succeeded would not tell: no snapshot
//! is made and no segment removed any more before the next start.

mod admin;
mod fold;
mod retention;
mod status;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};
use wal::Lsn;

pub use retention::{Needed, Retention};
pub use status::{Figures, Made, Status};

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::engine::{Engine, Recovery};
use crate::image::snapshot::{self, SEGMENTS_LEFT_FREE, SnapshotError, Summary};
use admin::Admin;
use fold::FoldError;

/// How often the thread looks whether a checkpoint is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing is tried after a checkpoint that failed, unless asked for.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// Between two blocks of a snapshot (64 KiB): about 100 MB a second are written at most.
const BLOCK_PAUSE: Duration = Duration::from_micros(600);
/// How nice the thread is to all others (`nice(2)`).
const NICENESS: i32 = 15;

/// When checkpoints are made, and what is kept of the log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where log and snapshots are.
    pub directory: PathBuf,
    /// How many bytes the log grows between two checkpoints.
    pub log_bytes: u64,
    /// How much time passes between two, if there are new records.
    pub age: Duration,
    /// What is kept of the log beyond what is needed.
    pub retention: Retention,
}

/// Which part of the log somebody else still reads; called before segments are removed.
pub type Reader = Box<dyn Fn() -> Needed + Send>;

/// What the admin socket asks for: a checkpoint, answered here.
type Request = Sender<Result<Made, String>>;

/// The thread that makes checkpoints; dropping this ends it, in the middle of one if need be.
#[derive(Debug)]
pub struct Checkpointer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    requests: Option<Sender<Request>>,
    admin: Option<Admin>,
    status: Arc<Status>,
}

impl Checkpointer {
    /// Starts the thread and the admin socket. `recovery` tells from which snapshot the state came.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(
        engine: Arc<Engine>,
        settings: Settings,
        recovery: &Recovery,
        mirror: Reader,
    ) -> io::Result<Self> {
        let (requests, asked) = flume::bounded(0);
        let admin = Admin::listen(&settings.directory, requests.clone());
        let work = Work::new(engine, settings, recovery, mirror);
        let (stop, status) = (Arc::clone(&work.stop), Arc::clone(&work.status));
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || work.run(&asked))?;
        Ok(Self { stop, thread: Some(thread), requests: Some(requests), admin, status })
    }

    /// What has been done, for the statistics.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        // Release, with the acquire in `stopping`: nothing is passed along, but no reflex Relaxed.
        self.stop.store(true, Ordering::Release);
        drop((self.requests.take(), self.admin.take()));
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // If it panicked the process has ended.
            let _ = thread.join();
        }
    }
}

/// Why a checkpoint was not made.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fold(#[from] FoldError),
    #[error(transparent)]
    Snapshot(SnapshotError),
    #[error("the process is stopping")]
    Stopped,
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Stopped { .. } => Self::Stopped,
            SnapshotError::Io { .. }
            | SnapshotError::NoRoom { .. }
            | SnapshotError::Damaged { .. }
            | SnapshotError::Newer { .. } => Self::Snapshot(error),
        }
    }
}

struct Work {
    engine: Arc<Engine>,
    clock: Clock,
    settings: Settings,
    mirror: Reader,
    stop: Arc<AtomicBool>,
    status: Arc<Status>,
    last: Option<Summary>,
    last_at: Timestamp,
    /// Records in the log's whole life when it was opened.
    records_at_start: u64,
    /// After a failure.
    not_before: Option<Timestamp>,
}

impl Work {
    fn new(engine: Arc<Engine>, settings: Settings, recovery: &Recovery, mirror: Reader) -> Self {
        Self {
            clock: engine.clock().clone(),
            last_at: engine.clock().now(),
            last: recovery.snapshot,
            records_at_start: recovery.records,
            not_before: None,
            engine,
            settings,
            mirror,
            stop: Arc::new(AtomicBool::new(false)),
            status: Arc::new(Status::new(recovery.snapshot)),
        }
    }

    fn run(mut self, asked: &Receiver<Request>) {
        be_nice();
        match self.find_older() {
            Ok(older) => self.status.kept(older),
            Err(Failure::Stopped) => {}
            Err(failure) => {
                tracing::error!(%failure, "the snapshots were not looked through; the log is kept");
            }
        }
        while !self.stopping() {
            let answer = match asked.recv_timeout(LOOK_INTERVAL) {
                Ok(answer) => Some(answer),
                Err(RecvTimeoutError::Timeout) if self.is_due() => None,
                Err(RecvTimeoutError::Timeout) => {
                    // Time has passed, and the mirror has come further.
                    self.remove_segments();
                    continue;
                }
                // The socket's thread holds a sender too, so the flag says when to end.
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let outcome = self.checkpoint();
            self.remove_segments();
            if let Some(answer) = answer {
                // Whoever asked may have gone.
                let _ = answer.send(outcome.map_err(|failure| failure.to_string()));
            }
        }
    }

    /// Where the snapshot before the one stands that the state came from, if there is a whole one.
    /// That its name, and the other's, is on disk even if a crash came before anybody made sure:
    /// the log has synced the directory since, when it began the segment of this boot.
    fn find_older(&self) -> Result<Option<Lsn>, Failure> {
        let Some(last) = self.last else { return Ok(None) };
        let listed = snapshot::list(&self.settings.directory)?;
        for named in listed.iter().filter(|named| named.lsn < last.lsn) {
            let lsn = named.lsn.get();
            match snapshot::load_named(named, || self.stopping()) {
                Ok((_, older)) if older.log == last.log => return Ok(Some(older.lsn)),
                Ok(_) => tracing::error!(lsn, "an older snapshot is one of another log"),
                Err(SnapshotError::Stopped { .. }) => return Err(Failure::Stopped),
                Err(error) => tracing::error!(lsn, %error, "an older snapshot cannot be used"),
            }
        }
        Ok(None)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_due(&self) -> bool {
        let now = self.clock.now();
        if self.not_before.is_some_and(|earliest| now < earliest) || !self.has_news() {
            return false;
        }
        if self.engine.log().directory().check_names().is_err() {
            return false;
        }
        let last = self.last.map_or(Lsn::ZERO, |last| last.lsn);
        let grown = self.engine.log().durable().since(last) >= self.settings.log_bytes;
        let waited = Duration::from_millis(now.millis_since(self.last_at));
        grown || waited >= self.settings.age
    }

    /// Whether there are records behind the last snapshot.
    fn has_news(&self) -> bool {
        let records = self.records_at_start + self.engine.log().stats().records;
        records > self.last.map_or(0, |last| last.records)
    }

    /// Makes a snapshot of what is durable now, unless the last one is that.
    fn checkpoint(&mut self) -> Result<Made, Failure> {
        let begun = self.clock.now();
        let outcome = self.make(begun);
        let now = self.clock.now();
        match &outcome {
            Ok(made) => {
                (self.last_at, self.not_before) = (now, None);
                self.status.made(made);
                tracing::info!(
                    lsn = made.summary.lsn.get(),
                    records = made.summary.records,
                    bytes = made.summary.bytes,
                    state_hash = %made.summary.state_hash,
                    elapsed_ms = u64::try_from(made.elapsed.as_millis()).unwrap_or(u64::MAX),
                    "snapshot"
                );
            }
            Err(Failure::Stopped) => {}
            Err(Failure::Fold(FoldError::Illegal { lsn, source })) => {
                panic!("the log contradicts itself at LSN {lsn}: {source}");
            }
            Err(failure) => {
                self.not_before = Some(now + RETRY_INTERVAL);
                self.status.failed(failure.to_string());
                let then = match self.engine.log().directory().check_names() {
                    Ok(()) => "it is tried again",
                    Err(_) => "none is made any more before the server is started again",
                };
                tracing::error!(%failure, "no snapshot was made; the log is kept, and {then}");
            }
        }
        outcome
    }

    fn make(&mut self, begun: Timestamp) -> Result<Made, Failure> {
        let directory = &self.settings.directory;
        let log = self.engine.log();
        if let Some(last) = self.last.filter(|_| !self.has_news()) {
            let made = Made::new(directory, last, Duration::ZERO);
            if made.path.is_file() {
                return Ok(made);
            }
        }
        // Nobody could tell whether the one that is made now would be there after a power cut.
        log.directory().check_names().map_err(SnapshotError::from)?;
        // A crash may have left a part of one, and its space is wanted.
        snapshot::remove_unfinished(directory)?;
        let found = snapshot::newest(directory, || self.stopping())?;
        if !found.refused.is_empty() {
            // The one that counted as the older may be the only one there is.
            self.status.kept(None);
        }
        for (named, error) in found.refused {
            if matches!(error, SnapshotError::Io { .. }) {
                // It may be whole all the same: nothing is decided, and nothing removed.
                return Err(error.into());
            }
            tracing::error!(lsn = named.lsn.get(), %error, "a snapshot cannot be used; the one before it is");
        }
        let (base, base_summary) = found.newest.unzip();
        let base_lsn = base_summary.map(|base| base.lsn);
        let folded = fold::fold(directory, log, base, || self.stopping())?;
        let folded = folded.ok_or(Failure::Stopped)?;
        if let Some(base) = base_summary.filter(|base| base.lsn == folded.lsn) {
            // What is new is not durable yet: this is the snapshot of what is.
            self.last = Some(base);
            return Ok(Made::new(directory, base, Duration::ZERO));
        }
        let (locked, left_free) = (log.directory(), self.left_free());
        let pace = || self.pace();
        let written = snapshot::write(locked, &folded, begun, left_free, pace)?;
        let summary = written.ok_or(Failure::Stopped)?;
        self.prune(&[summary.lsn, base_lsn.unwrap_or(summary.lsn)]);
        self.last = Some(summary);
        let elapsed = Duration::from_millis(self.clock.now().millis_since(begun));
        self.status.kept(base_lsn);
        Ok(Made::new(directory, summary, elapsed))
    }

    /// How much of the disk a snapshot leaves to the log. One that has no room for its next segment
    /// has no use for what is less than that, and the snapshot lets old segments go.
    fn left_free(&self) -> u64 {
        let log = self.engine.log();
        let segments = if log.stats().disk_full { 0 } else { SEGMENTS_LEFT_FREE };
        segments * log.segment_bytes()
    }

    /// Removes all snapshots but those. One that stays is in nobody's way, and the next time is
    /// tried again.
    fn prune(&self, keep: &[Lsn]) {
        match snapshot::prune(&self.settings.directory, keep) {
            Ok(removed) => removed.iter().for_each(|removed| {
                tracing::info!(path = %removed.path.display(), "removed a snapshot");
            }),
            Err(error) => tracing::error!(%error, "snapshots that nothing needs were not removed"),
        }
    }

    /// Leaves the disk to the log between two blocks.
    fn pace(&self) -> std::ops::ControlFlow<()> {
        std::thread::park_timeout(BLOCK_PAUSE);
        if self.stopping() {
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Removes the segments that nobody needs.
    fn remove_segments(&self) {
        let log = self.engine.log();
        let older = self.status.figures().older;
        let (now, needed) = (self.clock.now(), (self.mirror)());
        let floor =
            self.settings.retention.floor(&log.segments(), log.durable(), older, needed, now);
        match log.remove_below(floor) {
            Ok(removed) => {
                self.status.removed(removed.files, removed.bytes);
                if removed.files > 0 {
                    tracing::info!(
                        segments = removed.files,
                        bytes = removed.bytes,
                        first_lsn = removed.first.get(),
                        "removed segments of the log that nothing needs"
                    );
                }
            }
            Err(error) => {
                // It is tried every second, and told once.
                let told = error.to_string();
                if self.status.figures().last_error.as_ref() != Some(&told) {
                    tracing::error!(%error, "segments that nothing needs were not removed");
                    self.status.failed(told);
                }
            }
        }
    }
}

/// Lets every other thread go first.
fn be_nice() {
    // On Linux this concerns the calling thread alone. Without it the thread merely is less polite.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(test)]
mod tests;
