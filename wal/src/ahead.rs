//! The preparer: a thread that keeps mapped, written-through segments ready beyond the tail.
//!
//! **Invariant:** `limit` is raised only after the bytes below it are zeros on disk in a file whose
//! name is on disk, and are mapped. When that cannot be had, `limit` stays, and `reserve` refuses.
//!
//! It is also the only thread that changes what the ring holds, so nothing is mapped while it decides.
//!
//! * **The first segment.** `Log::open` makes it with only its first part written through and maps it,
//!   so that a start takes milliseconds; the preparer writes the rest and raises `limit` step by step.
//!   The blocks are allocated from the beginning, so a full disk cannot interrupt this.
//! * **Ahead.** As soon as the tail enters a segment, the next one is begun: in small chunks with pauses
//!   while there is room enough, without pauses when more than half of the room is used up.
//! * **Giving back.** A segment that ends at or below `durable` is unmapped and its file closed. So the
//!   mapped bytes are bounded by the ring, which has slots for what may be unsynced, one segment in use
//!   and those ahead; with all slots taken the preparer waits for `durable`.
//! * **Full disk.** The half-made file is removed, `disk_full` is set, and a second later the next try
//!   is made.
//!
//! It sleeps on a [`Bell`](crate::bell::Bell) that the first record of a segment rings once it is
//! filled, `reserve` when it has to refuse, and the syncer when `durable` enters another segment.

use std::{sync::Arc, time::Duration};

use crate::{
    header::SegmentHeader,
    lsn::Lsn,
    poison::Poison,
    segment::{self, LiveSegment, MakeError, Pace},
    shared::Shared,
    stopwatch::{Stopwatch, wall_clock_ms},
    sync::{Ordering, park_timeout, thread},
};

/// Between two tries to make a segment on a full disk.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Between two chunks of zeros while nobody is waiting for them.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) struct Preparer {
    pub(crate) shared: Arc<Shared>,
    /// Of the newest segment.
    pub(crate) header: SegmentHeader,
    /// How far the first segment was written through by `Log::open`, in bytes of the file.
    pub(crate) first_zeroed_bytes: u64,
}

impl Preparer {
    /// Runs until the log stops.
    pub(crate) fn run(mut self) {
        self.shared.preparer_bell.attend();
        let mut outcome = self.finish_first();
        while outcome.is_ok() && !self.shared.stopping() {
            self.give_back();
            if self.wanted() {
                outcome = self.prepare_next();
            } else {
                self.sleep();
            }
        }
        if let Err(poison) = outcome {
            self.shared.poison(poison);
        }
    }

    fn finish_first(&self) -> Result<(), Poison> {
        let Some(segment) = self.shared.newest_segment() else {
            return Ok(());
        };
        let segment = segment.reopened()?;
        let to = self.shared.options.segment_bytes;
        let mut limit = segment.base + self.first_zeroed_bytes;
        let written = segment.write_zeros(self.first_zeroed_bytes, to, |zeroed| {
            let from = std::mem::replace(&mut limit, segment.base + zeroed);
            self.shared.append.ring.populate(from, limit);
            self.shared.append.marks.raise_limit(limit);
            self.pace()
        });
        match written {
            Ok(()) | Err(MakeError::Stopped) => Ok(()),
            Err(MakeError::NoSpace) => {
                let full = std::io::Error::other("no space for blocks that were allocated");
                Err(Poison::new("write", &segment.path, &full))
            }
            Err(MakeError::Failed(poison)) => Err(poison),
        }
    }

    /// Whether another segment should be made, and has a slot.
    fn wanted(&self) -> bool {
        let marks = &self.shared.append.marks;
        let segment_bytes = self.shared.options.segment_bytes;
        let ahead = u64::from(self.shared.options.segments_ahead) * segment_bytes;
        let in_use_end = marks.geometry().base(marks.reserved()) + segment_bytes;
        marks.limit() < in_use_end + ahead && self.shared.segment_count() < self.shared.slots()
    }

    fn prepare_next(&mut self) -> Result<(), Poison> {
        let marks = &self.shared.append.marks;
        let durable = Lsn::new(marks.durable());
        let header = self.header.following(rand::random(), durable, wall_clock_ms());
        let zeroed = header.segment_size.get();
        match segment::make(&self.shared.directory, &header, zeroed, |_| self.pace()) {
            Ok(segment) => {
                self.shared.counters.disk_full.store(false, Ordering::Relaxed);
                self.shared.install(segment, &header)?;
                self.shared.append.ring.populate(header.base.get(), header.end().get());
                self.shared.append.marks.raise_limit(header.end().get());
                self.header = header;
                Ok(())
            }
            Err(MakeError::NoSpace) => {
                self.shared.counters.disk_full.store(true, Ordering::Relaxed);
                self.wait_to_retry();
                Ok(())
            }
            Err(MakeError::Stopped) => Ok(()),
            Err(MakeError::Failed(poison)) => Err(poison),
        }
    }

    /// Between chunks: leaves the disk to the syncer while there is room enough.
    fn pace(&self) -> Pace {
        if self.shared.stopping() {
            return Pace::Stop;
        }
        let marks = &self.shared.append.marks;
        let room = marks.limit().saturating_sub(marks.reserved());
        if room > self.shared.options.segment_bytes / 2 {
            park_timeout(PAUSE);
        }
        Pace::Continue
    }

    /// Lets go of the segments that lie entirely below `durable`.
    fn give_back(&self) {
        while let Some(segment) = self.shared.take_durable_segment() {
            // A slot that cannot be given back stays mapped to the old file, which is harmless: the
            // next segment replaces it, and fails for good if that fails as well.
            drop(self.shared.append.ring.unmap(segment.base));
        }
    }

    fn sleep(&self) {
        let bell = &self.shared.preparer_bell;
        bell.arm();
        if !self.wanted() && !self.shared.has_durable_segment() && !self.shared.stopping() {
            thread::park();
        }
        bell.disarm();
    }

    fn wait_to_retry(&self) {
        let since = Stopwatch::start();
        while !self.shared.stopping() {
            let Some(left) = RETRY_AFTER.checked_sub(since.elapsed()) else {
                break;
            };
            park_timeout(left);
            self.give_back();
        }
    }
}

impl Shared {
    /// Maps a segment and makes it known; `limit` is still below it.
    pub(crate) fn install(
        &self,
        segment: LiveSegment,
        header: &SegmentHeader,
    ) -> Result<(), Poison> {
        let base = segment.base;
        let mapped = self.append.ring.map(base, &segment.file);
        mapped.map_err(|error| Poison::new("mmap", &segment.path, &error))?;
        self.append.set_seed(base, header.expected().seed);
        self.lock_segments().push_back(Arc::new(segment));
        self.files.push(header);
        self.counters.segments_made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The segment that was installed last.
    fn newest_segment(&self) -> Option<Arc<LiveSegment>> {
        self.lock_segments().back().cloned()
    }

    /// Segments that are mapped.
    pub(crate) fn segment_count(&self) -> u64 {
        self.lock_segments().len() as u64
    }

    /// Nothing below is mapped: base of the oldest mapped segment.
    pub(crate) fn mapped_from(&self) -> Option<u64> {
        self.lock_segments().front().map(|segment| segment.base)
    }

    fn has_durable_segment(&self) -> bool {
        let durable = self.append.marks.durable();
        self.mapped_from().is_some_and(|base| base + self.options.segment_bytes <= durable)
    }

    /// Takes the oldest segment out if it lies entirely below `durable`.
    fn take_durable_segment(&self) -> Option<Arc<LiveSegment>> {
        if self.has_durable_segment() { self.lock_segments().pop_front() } else { None }
    }
}
