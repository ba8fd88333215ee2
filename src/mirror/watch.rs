//! How the mirror is doing, for whoever asks from other threads.
//!
//! The mirror's thread writes here a few times a second at most; readers take the same lock for as
//! long as a copy takes. The positions are one atomic each, since the log's retention asks for one of
//! them on its own.
//!
//! # What the mirror needs of the log
//!
//! [`Watch::needed`] names the position from which on segments must stay, as far as retention bounds
//! that. Nothing that the mirror is going to read may be removed before it is named, so:
//!
//! 1. When a session has begun, it is what PostgreSQL says, whatever was known before: the tables may
//!    have been emptied since. Empty tables name nothing, which stands for all of the log.
//! 2. Only then is the newest snapshot looked for, if one is needed. Retention removes nothing behind
//!    the older of two snapshots, so the log behind the newest one is there at that moment.
//! 3. That snapshot's position is named before the tables are filled from it, however long that
//!    takes. Snapshots that are made meanwhile do not move it.
//! 4. With each batch it moves on to the checkpoint.

use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;

use wal::Lsn;

use super::session::Doing;
use super::write::Checkpoint;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

#[cfg(all(test, any(booking_loom, booking_shuttle)))]
mod models;

/// Stands for a position that is not known: no log reaches it.
const UNKNOWN: u64 = u64::MAX;

/// What the mirror is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Getting into PostgreSQL.
    Connecting,
    /// Writing what the log has and PostgreSQL has not.
    CatchingUp,
    /// Writing what comes.
    Streaming,
    /// The breaker is open: something failed, and will be tried again.
    BackingOff,
    /// Something failed that an operator must act on; it is tried again, but will not pass by itself.
    Blocked,
}

impl State {
    /// Every state, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Connecting, Self::CatchingUp, Self::Streaming, Self::BackingOff, Self::Blocked];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::CatchingUp => "catching_up",
            Self::Streaming => "streaming",
            Self::BackingOff => "backing_off",
            Self::Blocked => "blocked",
        }
    }
}

/// The log as far as the mirror may read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Everything before it is durable.
    pub durable: Lsn,
    /// How many records the log has had in its whole life.
    pub records: u64,
}

/// Tells where the log is now.
pub type ReadMarks = Box<dyn Fn() -> Marks + Send + Sync>;

/// One reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// What the mirror is doing.
    pub state: State,
    /// Where to, without the password.
    pub target: String,
    /// PostgreSQL holds every record before it; `None` until it was asked.
    pub mirrored: Option<Lsn>,
    /// Bytes of the log between that and the durable mark.
    pub lag_bytes: Option<u64>,
    /// Records of the log that PostgreSQL does not have.
    pub lag_records: Option<u64>,
    /// The age of the oldest durable record that PostgreSQL does not have; nothing if it has all.
    pub lag: Duration,
    /// Records that PostgreSQL has of this log.
    pub records: Option<u64>,
    /// Transactions committed by this process.
    pub batches: u64,
    /// Records that they wrote.
    pub written: u64,
    /// Errors since the start.
    pub failures: u64,
    /// Whether nothing is tried at the moment.
    pub breaker_open: bool,
    /// In how long something is tried again.
    pub next_try: Option<Duration>,
    /// What went wrong last, if that is not over.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Progress {
    state: State,
    records: Option<u64>,
    oldest: Option<Timestamp>,
    batches: u64,
    written: u64,
    failures: u64,
    next_try: Option<Timestamp>,
    error: Option<String>,
}

/// Where the mirror says how it is doing.
pub struct Watch {
    target: String,
    marks: ReadMarks,
    clock: Clock,
    /// Where reading has come to with everything before it in PostgreSQL; written by the mirror's
    /// thread, with release, read with acquire.
    mirrored: AtomicU64,
    /// The checkpoint in PostgreSQL; likewise.
    confirmed: AtomicU64,
    /// Where the log is needed from; likewise.
    needed: AtomicU64,
    progress: Mutex<Progress>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("reading", &self.read()).finish_non_exhaustive()
    }
}

impl Watch {
    pub(super) fn new(target: String, marks: ReadMarks, clock: Clock) -> Self {
        let progress = Progress {
            state: State::Connecting,
            records: None,
            oldest: None,
            batches: 0,
            written: 0,
            failures: 0,
            next_try: None,
            error: None,
        };
        Self {
            target,
            marks,
            clock,
            mirrored: AtomicU64::new(UNKNOWN),
            confirmed: AtomicU64::new(UNKNOWN),
            needed: AtomicU64::new(UNKNOWN),
            progress: Mutex::new(progress),
        }
    }

    /// The mirror needs the log from here on; `None` as long as that is not known: then it may need
    /// all of it.
    pub fn needed(&self) -> Option<Lsn> {
        known(&self.needed)
    }

    /// The checkpoint that PostgreSQL holds, if it has said so and has one.
    pub(super) fn confirmed(&self) -> Option<Lsn> {
        known(&self.confirmed)
    }

    /// How the mirror is doing now.
    pub fn read(&self) -> Reading {
        // In this order: what is durable only grows, so that the lag is not too small.
        let mirrored = known(&self.mirrored);
        let progress = self.lock();
        let marks = (self.marks)();
        let now = self.clock.now();
        Reading {
            state: progress.state,
            target: self.target.clone(),
            mirrored,
            lag_bytes: mirrored.map(|mirrored| marks.durable.since(mirrored)),
            lag_records: progress.records.map(|records| marks.records.saturating_sub(records)),
            lag: Duration::from_millis(
                progress.oldest.map_or(0, |oldest| now.millis_since(oldest)),
            ),
            records: progress.records,
            batches: progress.batches,
            written: progress.written,
            failures: progress.failures,
            breaker_open: progress.next_try.is_some(),
            next_try: progress.next_try.map(|at| Duration::from_millis(at.millis_since(now))),
            error: progress.error.clone(),
        }
    }

    pub(super) fn durable(&self) -> Lsn {
        (self.marks)().durable
    }

    /// Every field of it is right by itself, so it is good after a panic as well.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connecting(&self) {
        let mut progress = self.lock();
        (progress.state, progress.next_try) = (State::Connecting, None);
    }

    /// PostgreSQL has said how far it is, if it holds anything.
    pub(super) fn begun(&self, checkpoint: Option<Checkpoint>) {
        let at = checkpoint.map_or(UNKNOWN, |checkpoint| checkpoint.lsn.get());
        for place in [&self.needed, &self.confirmed, &self.mirrored] {
            place.store(at, Ordering::Release);
        }
        self.lock().records = checkpoint.map(|checkpoint| checkpoint.records);
    }

    /// The session is about to do this.
    pub(super) fn does(&self, doing: Doing) {
        match doing {
            Doing::Loading(from) => {
                self.needed.store(from.get(), Ordering::Release);
                self.lock().state = State::CatchingUp;
            }
            Doing::Writing(oldest) => self.waiting(oldest),
        }
    }

    /// The session goes on from there.
    pub(super) fn resumed(&self, checkpoint: Checkpoint) {
        self.begun(Some(checkpoint));
        self.lock().state = State::CatchingUp;
    }

    /// Every record before `mirrored` is in PostgreSQL, whose checkpoint is at `confirmed`.
    pub(super) fn advanced(&self, step: &super::Progress, confirmed: Lsn, records: u64) {
        self.needed.store(confirmed.get(), Ordering::Release);
        self.confirmed.store(confirmed.get(), Ordering::Release);
        self.mirrored.store(step.mirrored.get(), Ordering::Release);
        let mut progress = self.lock();
        if step.caught_up {
            progress.state = State::Streaming;
        }
        if step.caught_up || step.records > 0 {
            progress.oldest = None;
        }
        progress.error = None;
        progress.records = Some(records);
        progress.written += step.records;
        progress.batches += u64::from(step.records > 0);
    }

    /// The time of the oldest record that is to be written next.
    pub(super) fn waiting(&self, oldest: Option<Timestamp>) {
        self.lock().oldest = oldest;
    }

    pub(super) fn failed(&self, blocked: bool, error: String, wait: Duration) {
        let next_try = self.clock.now() + wait;
        let mut progress = self.lock();
        progress.state = if blocked { State::Blocked } else { State::BackingOff };
        progress.failures += 1;
        progress.error = Some(error);
        progress.next_try = Some(next_try);
    }
}

fn known(lsn: &AtomicU64) -> Option<Lsn> {
    let lsn = lsn.load(Ordering::Acquire);
    (lsn != UNKNOWN).then(|| Lsn::new(lsn))
}
