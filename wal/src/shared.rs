//! What the handle and the two background threads share, and how they tell each other things.
//!
//! **Invariant:** the stop state only rises, and the log is closed no later than it stops for a poison.
//!
//! | word | written by | read by |
//! |---|---|---|
//! | `stop` | `Log::seal`, its drop, whoever poisons (maximum, AcqRel) | both threads after each wake-up (Acquire) |
//! | `pressed` | who finds no room, or half of what may be unsynced to be so (true), the syncer at each sync (false) | the same, and the syncer, whose wait for an interval or for a group to gather it ends; Relaxed: whoever sets it ends a park afterwards |
//! | `segments` | the preparer | the syncer, the statistics, removals; a lock, taken once per group |
//! | `files` | the preparer (new ones), removals (the oldest) | who asks; a lock of its own |
//!
//! The marks, the memory, the demand and the bells have their own modules.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use crate::{
    append::Append,
    bell::Bell,
    demand::Demand,
    directory::{IoFault, LockedDirectory},
    header::{SEGMENT_HEADER_BYTES, SegmentHeader},
    marks::{Geometry, Marks},
    options::{Durability, Options},
    poison::{Poison, PoisonCell},
    retention::Files,
    ring::Ring,
    segment::LiveSegment,
    stats::Counters,
    sync::{AtomicBool, AtomicU8, Mutex, MutexGuard, Ordering},
};

/// What the background threads are told.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Run,
    /// Sync everything and write the clean end.
    Seal,
    /// Stop where you are.
    Quit,
}

/// What the handle and the threads share.
pub(crate) struct Shared {
    pub(crate) append: Append,
    /// With the log's own segment size, the unsynced bound as the ring allows it, and the reserve as
    /// it is kept.
    pub(crate) options: Options,
    pub(crate) directory: LockedDirectory,
    pub(crate) syncer_bell: Bell,
    /// `Commit`: what somebody waits for.
    pub(crate) demand: Demand,
    pub(crate) preparer_bell: Bell,
    pub(crate) counters: Counters,
    segments: Mutex<VecDeque<Arc<LiveSegment>>>,
    /// Every segment there is, mapped or not.
    pub(crate) files: Files,
    slots: u64,
    pub(crate) poison: PoisonCell,
    stop: AtomicU8,
    /// The syncer was told that there is no room, or that half of what may be unsynced is; cleared after
    /// each sync. One that comes during a sync is forgotten: whoever is refused again tells it again.
    pressed: AtomicBool,
}

impl Shared {
    /// A log that goes on at `header` behind the segments `staying`, with nothing mapped yet.
    /// Touches no file.
    pub(crate) fn new(
        mut options: Options,
        directory: LockedDirectory,
        header: &SegmentHeader,
        staying: &[SegmentHeader],
    ) -> Result<Arc<Self>, IoFault> {
        options.segment_bytes = header.segment_size.get();
        options.reserve_bytes = options.effective_reserve_bytes();
        let slots = options.ring_slots();
        // What is ahead, in use, and being given back must have slots beside what is unsynced.
        let for_unsynced = slots - u64::from(options.segments_ahead) - 2;
        options.unsynced_bytes_max =
            options.unsynced_bytes_max.min(for_unsynced * options.segment_bytes);
        let geometry =
            Geometry { segment_bytes: options.segment_bytes, header_bytes: SEGMENT_HEADER_BYTES };
        let ring = Ring::new(geometry, slots)
            .map_err(IoFault::of("reserve address space for", directory.path()))?;
        let start = header.base.get() + SEGMENT_HEADER_BYTES;
        let marks = Marks::new(start, geometry, options.unsynced_bytes_max);
        let on_publish = options.durability != Durability::Commit;
        let seeds = usize::try_from(slots).unwrap_or(usize::MAX);
        Ok(Arc::new(Self {
            append: Append::new(marks, ring, seeds, header.epoch, on_publish),
            options,
            directory,
            syncer_bell: Bell::new(),
            demand: Demand::new(start),
            preparer_bell: Bell::new(),
            counters: Counters::default(),
            segments: Mutex::new(VecDeque::new()),
            files: Files::new(staying),
            slots,
            poison: PoisonCell::default(),
            stop: AtomicU8::new(Stop::Run as u8),
            pressed: AtomicBool::new(false),
        }))
    }

    /// The mapped segments, by rising base. Held for a moment only; never during a system call that
    /// may take long.
    pub(crate) fn lock_segments(&self) -> MutexGuard<'_, VecDeque<Arc<LiveSegment>>> {
        // No panic can leave the queue half-changed.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    pub(crate) fn stop(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::Run,
            1 => Stop::Seal,
            _ => Stop::Quit,
        }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop() != Stop::Run
    }

    /// Raises the stop state and ends every park.
    pub(crate) fn set_stop(&self, stop: Stop) {
        self.stop.fetch_max(stop as u8, Ordering::AcqRel);
        self.syncer_bell.interrupt();
        self.preparer_bell.interrupt();
    }

    pub(crate) fn quit(&self) {
        self.set_stop(Stop::Quit);
    }

    /// Stops the log for good. The reason is set before the log is closed, so that whoever finds it
    /// closed finds the reason as well.
    pub(crate) fn poison(&self, poison: Poison) {
        self.poison.set(poison);
        self.append.marks.close();
        self.quit();
        self.append.notify();
    }

    pub(crate) fn something_unsynced(&self) -> bool {
        self.unsynced_bytes() > 0
    }

    /// Half of what may be unsynced is: time to sync, whatever the mode says.
    pub(crate) fn group_pressing(&self) -> bool {
        self.unsynced_bytes() >= self.options.unsynced_bytes_max / 2
    }

    /// Whether the syncer has something to do; an interval that is not over yet does not count.
    pub(crate) fn group_due(&self) -> bool {
        match self.options.durability {
            Durability::Commit => self.demand.exceeds(self.append.marks.durable()),
            Durability::Interval(_) => self.something_unsynced(),
            // Asked for, but synced meanwhile: nothing is left to do.
            Durability::Os => {
                self.group_pressing() || (self.pressed() && self.something_unsynced())
            }
        }
    }

    pub(crate) fn group_synced(&self) {
        self.pressed.store(false, Ordering::Relaxed);
    }

    fn unsynced_bytes(&self) -> u64 {
        // `durable` first: the other way round it could be the larger one.
        let durable = self.append.marks.durable();
        self.append.marks.reserved() - durable
    }

    /// Whether the group that is being gathered was asked for before its time.
    pub(crate) fn pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Ends a timed wait of the syncer, once per group.
    pub(crate) fn press(&self) {
        if !self.pressed.swap(true, Ordering::Relaxed) {
            self.syncer_bell.interrupt();
        }
    }

    /// Gets whoever can make room to work.
    #[cold]
    pub(crate) fn ask_for_room(&self) {
        self.preparer_bell.ring();
        if self.something_unsynced() {
            self.demand.ask(self.append.marks.reserved(), &self.syncer_bell);
            self.press();
        }
    }
}
