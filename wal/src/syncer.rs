//! The syncer: the one thread that makes the log durable, group by group.
//!
//! **Invariant:** `durable` is raised to a position only after `fdatasync` has returned for every
//! segment that holds a byte between the old mark and the new one, and every frame between them was
//! committed before the call. A failed call is never repeated.
//!
//! # A group
//!
//! 1. Pad the tail's page, if the group is large enough to be worth it: what is acknowledged then lies
//!    on pages that no later group rewrites.
//! 2. Walk to that point. At a hole (claimed, not committed) spin shortly, then settle for the prefix.
//! 3. `fdatasync` the touched segments in LSN order, raise `durable`, notify.
//!
//! While one group syncs the next one gathers, and whoever waits for many records asks once for all of
//! them ([`crate::demand`]). Where groups are shared, the next one gathers a little longer
//! ([`crate::gathering`]).
//!
//! # Waiting
//!
//! | mode | a group is due | who rings |
//! |---|---|---|
//! | `Commit` | somebody waits for something beyond `durable`, and the group has gathered | `kick` |
//! | `Interval` | something is reserved beyond `durable`, and the interval since the last sync is over, or half of what may be unsynced is, or room was asked for | `kick` |
//! | `Os` | half of what may be unsynced is, or room was asked for | `kick` |
//!
//! Refused reservations ring too. An idle syncer is parked without a timeout, so an idle log uses no
//! processor; only the first 5 ms of idleness are timed: then one small frame carries the last group's
//! durable claim to disk (not in `Os` mode, which promises nothing about the disk).
//!
//! A hole that does not close is waited for with short sleeps, counted when it is 100 ms old, and after
//! 5 s it poisons the log: what stands behind it cannot become durable, and it is never skipped.

use std::{sync::Arc, time::Duration};

use crate::{
    append::INTERNAL_BYTES,
    frame::Kind,
    gathering::Gathering,
    header::PAGE_BYTES,
    marks::Keep,
    options::Durability,
    poison::Poison,
    segment::LiveSegment,
    shared::{Shared, Stop},
    stopwatch::Stopwatch,
    sync::{Ordering, park_timeout, thread},
};

/// Idleness after which the last group's claim is carried to disk.
const IDLE_CARRY_AFTER: Duration = Duration::from_millis(5);
/// Age at which a hole is counted as old.
const HOLE_OLD: Duration = Duration::from_millis(100);
/// Age at which a hole ends the log.
const HOLE_FATAL: Duration = Duration::from_secs(5);
/// Looks at a hole before the prefix is taken: a few microseconds, the time between a claim and its
/// commit on a running thread. A thread that lost its core takes milliseconds, for which nobody spins.
const HOLE_SPINS: u32 = 100;
/// Sleep between two looks at a hole with nothing in front of it.
const HOLE_PAUSE: Duration = Duration::from_micros(50);

const _: () = assert!(HOLE_OLD.as_nanos() < HOLE_FATAL.as_nanos());

/// What the syncer does next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Turn {
    Group,
    CarryClaim,
    Seal,
    Quit,
}

/// A hole at a position, from when it was first seen.
#[derive(Copy, Clone, Debug)]
struct Hole {
    at: u64,
    since: Stopwatch,
    counted: bool,
}

pub(crate) struct Syncer {
    shared: Arc<Shared>,
    /// Everything below is claimed durable by a frame or header on disk.
    carried: u64,
    hole: Option<Hole>,
    last_sync: Stopwatch,
    gathering: Gathering,
    /// Records up to the last sync.
    records: u64,
}

impl Syncer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let carried = shared.append.marks.durable();
        let (last_sync, gathering) = (Stopwatch::start(), Gathering::default());
        Self { shared, carried, hole: None, last_sync, gathering, records: 0 }
    }

    /// Runs until the log stops.
    pub(crate) fn run(mut self) {
        self.shared.syncer_bell.attend();
        loop {
            let outcome = match self.next_turn() {
                Turn::Group => self.sync_group(),
                Turn::CarryClaim => self.carry_claim(),
                Turn::Seal => self.seal(),
                Turn::Quit => return,
            };
            if let Err(poison) = outcome {
                self.shared.poison(poison);
            }
        }
    }

    /// Sleeps until there is something to do.
    fn next_turn(&self) -> Turn {
        loop {
            match self.shared.stop() {
                Stop::Run => {}
                Stop::Seal => return Turn::Seal,
                Stop::Quit => return Turn::Quit,
            }
            if self.shared.group_due() {
                self.let_gather();
                // A stop may have ended the gathering, and decides what becomes of the group.
                if self.shared.stop() == Stop::Run {
                    return Turn::Group;
                }
            } else if self.sleep_idle() {
                return Turn::CarryClaim;
            }
        }
    }

    /// Parks until the bell rings. True when the time to carry the claim has come.
    fn sleep_idle(&self) -> bool {
        let (bell, marks) = (&self.shared.syncer_bell, &self.shared.append.marks);
        let carry =
            self.shared.options.durability != Durability::Os && marks.durable() > self.carried;
        let since = Stopwatch::start();
        bell.arm();
        // The look that pairs with the ringer's fence.
        let idle = |shared: &Shared| !shared.group_due() && shared.stop() == Stop::Run;
        if idle(&self.shared) {
            if carry {
                park_timeout(IDLE_CARRY_AFTER);
            } else {
                thread::park();
            }
        }
        bell.disarm();
        carry && since.elapsed() >= IDLE_CARRY_AFTER && idle(&self.shared)
    }

    /// Waits for as long as the group may gather, unless it is needed before.
    fn let_gather(&self) {
        let span = match self.shared.options.durability {
            Durability::Commit => self.gathering.span(),
            Durability::Interval(interval) => interval,
            Durability::Os => return,
        };
        let over = |shared: &Shared| shared.group_pressing() || shared.pressed();
        while !over(&self.shared) && self.shared.stop() == Stop::Run {
            let left = span.saturating_sub(self.last_sync.elapsed());
            if left.is_zero() {
                break;
            }
            park_timeout(left);
        }
    }

    fn sync_group(&mut self) -> Result<(), Poison> {
        let append = &self.shared.append;
        let durable = append.marks.durable();
        if append.marks.reserved() - durable >= self.shared.options.pad_group_bytes_min {
            append.pad_page(PAGE_BYTES.into());
        }
        // Not beyond: what is claimed from here on belongs to the next group and its pages.
        let target = append.marks.reserved();
        let mut walked = append.walk(target);
        let mut spins = 0;
        while walked.hole && spins < HOLE_SPINS {
            std::hint::spin_loop();
            walked = append.walk(target);
            spins += 1;
        }
        self.watch_hole(walked.hole.then_some(walked.published))?;
        if walked.published == durable {
            park_timeout(HOLE_PAUSE);
            return Ok(());
        }
        self.sync_to(durable, walked.published)
    }

    fn sync_to(&mut self, from: u64, to: u64) -> Result<(), Poison> {
        let counters = &self.shared.counters;
        let watch = Stopwatch::start();
        for segment in self.shared.segments_between(from, to) {
            segment.sync()?;
        }
        let nanos = watch.nanos();
        counters.record_sync(nanos, to - from);
        self.last_sync = Stopwatch::start();
        self.shared.append.marks.advance_durable(to);
        let records = self.shared.append.tally.records();
        let (took, others) = (Duration::from_nanos(nanos), self.shared.something_unsynced());
        self.gathering.learn(took, records - self.records, others);
        self.records = records;
        self.shared.group_synced();
        let geometry = self.shared.append.marks.geometry();
        if geometry.base(from) != geometry.base(to) {
            self.shared.preparer_bell.ring();
        }
        self.shared.append.notify();
        Ok(())
    }

    /// Keeps the age of the hole that was met, if one was.
    fn watch_hole(&mut self, at: Option<u64>) -> Result<(), Poison> {
        let Some(at) = at else {
            self.hole = None;
            return Ok(());
        };
        let hole = match &mut self.hole {
            Some(hole) if hole.at == at => hole,
            other => other.insert(Hole { at, since: Stopwatch::start(), counted: false }),
        };
        let age = hole.since.elapsed();
        if age >= HOLE_OLD && !hole.counted {
            hole.counted = true;
            self.shared.counters.old_holes.fetch_add(1, Ordering::Relaxed);
        }
        if age < HOLE_FATAL {
            return Ok(());
        }
        let text = format!("the reservation at {at} was not filled within {HOLE_FATAL:?}");
        let directory = self.shared.directory.path();
        Err(Poison::new("waiting for a reservation", directory, &std::io::Error::other(text)))
    }

    /// Writes one small frame, whose claim says that everything before it is durable.
    fn carry_claim(&mut self) -> Result<(), Poison> {
        let keep = Keep::Bytes(INTERNAL_BYTES / 2);
        match self.shared.append.append_internal(Kind::IDLE, keep) {
            Ok(end) => {
                self.carried = end;
                self.sync_group()
            }
            // No room, or closed: the claim stays in memory, as it does in any crash before this.
            Err(_) => {
                self.carried = self.shared.append.marks.durable();
                Ok(())
            }
        }
    }

    /// Syncs all that was reserved, then writes and syncs the clean end. The log is closed already.
    fn seal(&mut self) -> Result<(), Poison> {
        self.sync_all()?;
        // Without room for it the next boot finds no clean end, and nothing else is wrong.
        if self.shared.append.append_internal(Kind::SEAL, Keep::Nothing).is_ok() {
            self.sync_all()?;
        }
        self.shared.quit();
        Ok(())
    }

    fn sync_all(&mut self) -> Result<(), Poison> {
        while self.shared.something_unsynced() && self.shared.stop() != Stop::Quit {
            self.sync_group()?;
        }
        Ok(())
    }
}

impl Shared {
    /// The segments that hold bytes of `[from, to)`, in LSN order.
    fn segments_between(&self, from: u64, to: u64) -> impl Iterator<Item = Arc<LiveSegment>> {
        // At most a few; collected so that the lock is not held during a sync.
        let touched: Vec<_> = self
            .lock_segments()
            .iter()
            .filter(|s| s.base < to && s.base + self.options.segment_bytes > from)
            .cloned()
            .collect();
        touched.into_iter()
    }
}
