//! The log as its users hold it: opened, appended to, waited for, sealed.
//!
//! **Invariant:** `reserved >= published >= durable`; an answer may leave when
//! [`Log::answerable`] has reached what [`Log::reserved`] was after the last thing the answer saw.
//!
//! The work is elsewhere: positions in `marks`, memory in `ring`, frames in `append`, the two threads
//! in `syncer` and `ahead`, the past in `recovery`. What is here joins them.

use std::{
    error::Error,
    fmt, io,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use thiserror::Error;
use uuid::Uuid;

use crate::{
    ahead::Preparer,
    append::{INTERNAL_BYTES, ReserveError, Urgency},
    directory::{DirectoryError, IoFault, LockedDirectory},
    frame::{FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, Record, RecordType},
    header::{PAGE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader},
    lsn::Lsn,
    marks::{Keep, LSN_MAX, Refused},
    options::{Durability, OptionError, Options},
    poison::Poison,
    recovery::{self, Known, RecoveryError, RecoveryReport},
    reservation::Reservation,
    retention::{Removed, SegmentFacts},
    segment::{self, MakeError, Pace},
    shared::{Shared, Stop},
    stats::LogStats,
    stopwatch::wall_clock_ms,
    sync::{
        Mutex, MutexGuard, Ordering,
        thread::{self, JoinHandle},
    },
    syncer::Syncer,
};

/// Room beyond the reserve that is written through before [`Log::open`] returns.
const FIRST_ROOM_BYTES: u64 = 4 << 20;

/// Why a log was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An option is out of its bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The directory cannot be had.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log cannot be recovered, or the caller refused a record. Nothing was changed.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// There is no space for the new epoch's first segment.
    #[error("no space in {} for a segment of {bytes} bytes", path.display())]
    NoSpace {
        /// The log's directory.
        path: PathBuf,
        /// Bytes that are needed.
        bytes: u64,
    },
    /// Making the first segment failed.
    #[error(transparent)]
    Segment(Poison),
    /// The log has no positions left.
    #[error("the log has no positions left")]
    PositionsExhausted,
}

/// Why a log was not sealed. Its directory is as after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Writing failed, now or before.
    #[error(transparent)]
    Poisoned(Poison),
}

/// A memory-mapped write-ahead log with group commit. Shared by reference between threads.
///
/// Dropping it without [`Log::seal`] stops its threads and leaves the directory as a crash would.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    header: SegmentHeader,
    keep_take: u64,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("directory", &self.shared.directory.path())
            .field("reserved", &self.reserved())
            .field("published", &self.published())
            .field("durable", &self.durable())
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Locks the directory, recovers what is there (calling `apply` for each record in LSN order,
    /// from [`Options::start`] on), begins a new epoch in a new segment, and starts the syncer and the preparer.
    ///
    /// An error from `apply` refuses the log like damage at that record.
    ///
    /// # Errors
    /// See [`OpenError`]. No record or segment is changed by a recovery that fails.
    pub fn open<E: Error + Send + Sync + 'static>(
        options: Options,
        apply: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let directory = Self::lock(&options)?;
        Self::open_in(directory, options, apply)
    }

    /// Checks the options and locks their directory, for whoever has something to read there before
    /// the log is opened ([`Log::open_in`]).
    ///
    /// # Errors
    /// [`OpenError::Option`] or [`OpenError::Directory`].
    pub fn lock(options: &Options) -> Result<LockedDirectory, OpenError> {
        options.check()?;
        Ok(LockedDirectory::acquire(&options.directory)?)
    }

    /// As [`Log::open`], in a directory that is locked already: that of the options.
    ///
    /// # Errors
    /// See [`OpenError`]. No record or segment is changed by a recovery that fails.
    pub fn open_in<E: Error + Send + Sync + 'static>(
        directory: LockedDirectory,
        options: Options,
        apply: impl FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        debug_assert_eq!(directory.path(), options.directory, "the lock is that of another");
        let fresh_size = options.check()?;
        let known = Known { durable_floor: options.durable_floor, start: options.start };
        let recovered = recovery::recover(&directory, fresh_size, known, apply)?;
        let next = recovered.next;
        let header = next.header(rand::random(), wall_clock_ms());
        if header.base.get() >= LSN_MAX {
            return Err(OpenError::PositionsExhausted);
        }
        let shared = Shared::new(options, directory, &header, &recovered.staying)?;
        next.remove_leftovers(&shared.directory)?;
        let segment_bytes = shared.options.segment_bytes;
        let room =
            SEGMENT_HEADER_BYTES + shared.options.reserve_bytes + INTERNAL_BYTES + FIRST_ROOM_BYTES;
        let zeroed = room.next_multiple_of(PAGE_BYTES.into()).min(segment_bytes);
        let segment = segment::make(&shared.directory, &header, zeroed, |_| Pace::Continue)
            .map_err(|error| open_error(error, &shared))?;
        shared.install(segment, &header).map_err(OpenError::Segment)?;
        let base = header.base.get();
        shared.append.ring.populate(base, base + zeroed);
        shared.append.marks.raise_limit(base + zeroed);
        Ok((Self::start(shared, header, zeroed)?, recovered.report))
    }

    fn start(
        shared: Arc<Shared>,
        header: SegmentHeader,
        first_zeroed_bytes: u64,
    ) -> Result<Self, IoFault> {
        let keep_take = INTERNAL_BYTES + shared.options.reserve_bytes;
        // The handle comes first: if a thread cannot be started, dropping it stops the others.
        let log = Self { shared, threads: Mutex::new(Vec::new()), header, keep_take };
        let syncer = Syncer::new(Arc::clone(&log.shared));
        let shared = Arc::clone(&log.shared);
        let preparer = Preparer { shared, header, first_zeroed_bytes };
        log.spawn("wal-syncer", move || syncer.run())?;
        log.spawn("wal-preparer", move || preparer.run())?;
        Ok(log)
    }

    fn spawn(
        &self,
        name: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), IoFault> {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(IoFault::of("start a thread for", self.shared.directory.path()))?;
        self.lock_threads().push(thread);
        Ok(())
    }

    /// Claims room for a record and writes all of it but the commit word. Never blocks, allocates
    /// nothing, makes no system call unless it refuses.
    ///
    /// # Errors
    /// See [`ReserveError`]; nothing was changed then.
    #[inline]
    pub fn reserve(
        &self,
        record: RecordType,
        urgency: Urgency,
        payload: &[u8],
    ) -> Result<Reservation<'_>, ReserveError> {
        debug_assert!(!record.kind.is_internal(), "kinds below 16 belong to the log");
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ReserveError::TooLong);
        }
        let keep = match urgency {
            Urgency::Take => self.keep_take,
            Urgency::Release => INTERNAL_BYTES,
        };
        let reserved = self.shared.append.reserve(record, payload, keep);
        let mut reservation = reserved.map_err(|refused| self.refused(refused))?;
        if self.shared.append.marks.geometry().begins_segment(reservation.lsn().get()) {
            // Without it the next segment would be begun only after the next sync, which in `Os` mode
            // may be several segments away.
            reservation.then_ring(&self.shared.preparer_bell);
        }
        Ok(reservation)
    }

    #[cold]
    fn refused(&self, refused: Refused) -> ReserveError {
        match refused {
            Refused::Closed if self.poisoned().is_some() => ReserveError::Poisoned,
            Refused::Closed => ReserveError::Sealed,
            Refused::NoRoom => {
                self.shared.counters.refused_no_room.fetch_add(1, Ordering::Relaxed);
                self.shared.ask_for_room();
                ReserveError::NoRoom
            }
            Refused::TooFarAhead => {
                self.shared.counters.refused_too_far_ahead.fetch_add(1, Ordering::Relaxed);
                self.shared.ask_for_room();
                ReserveError::TooFarAhead
            }
        }
    }

    /// End of what is claimed. Read after the last thing an answer depends on, it covers all of it.
    #[must_use]
    pub fn reserved(&self) -> Lsn {
        Lsn::new(self.shared.append.marks.reserved())
    }

    /// End of the contiguous committed frames, as far as somebody looked.
    #[must_use]
    pub fn published(&self) -> Lsn {
        Lsn::new(self.shared.append.marks.published())
    }

    /// End of what is on disk.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Lsn::new(self.shared.append.marks.durable())
    }

    /// Up to here answers may leave: `durable` in `Commit` mode, `published` in the others.
    #[must_use]
    pub fn answerable(&self) -> Lsn {
        match self.shared.options.durability {
            Durability::Commit => self.durable(),
            Durability::Interval(_) | Durability::Os => self.published(),
        }
    }

    /// Whether answers may leave before a sync: in `Interval` and `Os` mode, where a
    /// [`kick`](Self::kick) moves the mark by itself.
    #[must_use]
    pub fn answers_on_publish(&self) -> bool {
        self.shared.options.durability != Durability::Commit
    }

    /// Whether a record of any length could be reserved at `Urgency::Take` now. A hint: others may
    /// take the room first.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let marks = &self.shared.append.marks;
        let has_room = marks.has_room(FRAME_BYTES_MAX as u64, Keep::Bytes(self.keep_take));
        if !has_room {
            self.shared.ask_for_room();
        }
        has_room
    }

    /// To be called by whoever is going to wait for [`answerable`](Self::answerable), after it has
    /// reserved or read what it waits for: has everything that is reserved by now synced, and costs a
    /// few loads if somebody else asked for that. Many that are going to wait need one call together,
    /// behind the last of them, and share a group then. A record for which nobody calls it is synced with
    /// the next one for which somebody does. In `Interval` and `Os` mode it advances `published` in the
    /// caller's thread, so that most answers need not wait at all.
    pub fn kick(&self) {
        let shared = &self.shared;
        match shared.options.durability {
            Durability::Commit => {
                if shared.something_unsynced() {
                    shared.demand.ask(shared.append.marks.reserved(), &shared.syncer_bell);
                }
            }
            Durability::Interval(_) => {
                shared.append.publish();
                if shared.something_unsynced() {
                    shared.syncer_bell.ring();
                }
                if shared.group_pressing() {
                    shared.press();
                }
            }
            Durability::Os => {
                shared.append.publish();
                if shared.group_pressing() {
                    shared.syncer_bell.ring();
                }
            }
        }
    }

    /// Registers what is called after each advance of `answerable` that somebody may wait for, after
    /// each sync, and on poisoning: by the syncer, or by a thread that filled a hole. It must not block.
    ///
    /// # Panics
    /// When something is registered already.
    pub fn on_progress(&self, notify: Box<dyn Fn() + Send + Sync>) {
        assert!(
            self.shared.append.set_notify(notify),
            "on_progress is called once, before serving"
        );
    }

    /// Why the log stopped for good, if it did. One load while it is healthy.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.shared.poison.get().cloned()
    }

    /// A reading of the counters; cheap enough for every request of a statistics page.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let Shared { append, counters, options, .. } = &*self.shared;
        let (marks, tally) = (&append.marks, &append.tally);
        let in_use_end = marks.geometry().base(marks.reserved()) + options.segment_bytes;
        let segments_mapped = self.shared.segment_count();
        LogStats {
            records: tally.records(),
            void_frames: tally.void_frames.load(Ordering::Relaxed),
            internal_frames: tally.internal_frames.load(Ordering::Relaxed),
            bytes: marks.reserved() - self.header.base.get(),
            segments_ahead: marks.limit().saturating_sub(in_use_end) / options.segment_bytes,
            segments_mapped,
            mapped_bytes: segments_mapped * options.segment_bytes,
            ..counters.read()
        }
    }

    /// All segment files there are, by rising base, those made ahead included. No system call.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentFacts> {
        self.shared.files.list()
    }

    /// Removes whole segments that end at or below `floor`, oldest first, each durably before the
    /// next; a crash leaves a log that opens. What lies at or beyond `durable` stays whatever
    /// `floor` says, and so do segments that are still mapped and the last one, so a later call may
    /// remove what this one had to leave. Without anything to remove it makes no system call.
    ///
    /// From then on the log can only be opened together with a snapshot ([`Options::start`]) at or
    /// past the base of the first segment that stays, so nothing may be removed but below one that
    /// is on disk. To be called from any thread, also while readers read.
    ///
    /// # Errors
    /// The first call that failed; segments before that one are gone. After a failed sync of the
    /// directory, this one or another, every later removal fails.
    pub fn remove_below(&self, floor: Lsn) -> Result<Removed, IoFault> {
        // Both only rise, so a reading that is late is only too modest.
        let durable = self.durable();
        let mapped = self.shared.mapped_from().map_or(durable, Lsn::new);
        self.shared.files.remove_below(floor.min(durable).min(mapped), &self.shared.directory)
    }

    /// The directory, for whoever keeps other files beside the segments.
    #[must_use]
    pub fn directory(&self) -> &LockedDirectory {
        &self.shared.directory
    }

    /// Length of each of its segment files.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.shared.options.segment_bytes
    }

    /// Identity of the log.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.header.uuid
    }

    /// Number of this boot, from 1.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.header.epoch
    }

    /// The mode it was opened with.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared.options.durability
    }

    /// Refuses further reservations, waits until those that exist are filled, syncs, writes the clean
    /// end and stops the threads; returns where the log ends. Calling it again returns the same.
    ///
    /// # Errors
    /// [`SealError::Poisoned`] when the log is, or becomes so.
    pub fn seal(&self) -> Result<Lsn, SealError> {
        self.shared.append.marks.close();
        self.shared.set_stop(Stop::Seal);
        self.join();
        match self.poisoned() {
            Some(poison) => Err(SealError::Poisoned(poison)),
            None => Ok(self.durable()),
        }
    }

    /// Waits for the threads, which were told to stop.
    fn join(&self) {
        let mut threads = self.lock_threads();
        for thread in threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                let panicked = io::Error::other(format!("the thread {name} panicked"));
                let directory = self.shared.directory.path();
                self.shared.poison(Poison::new("background work", directory, &panicked));
            }
        }
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        // Handles are pushed and drained; a panic between cannot leave a wrong state.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.quit();
        self.join();
    }
}

fn open_error(error: MakeError, shared: &Shared) -> OpenError {
    match error {
        MakeError::NoSpace => OpenError::NoSpace {
            path: shared.directory.path().to_owned(),
            bytes: shared.options.segment_bytes,
        },
        MakeError::Failed(poison) => OpenError::Segment(poison),
        MakeError::Stopped => unreachable!("nobody can stop a log that is not open yet"),
    }
}
