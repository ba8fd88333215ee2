//! The engine's face: what it is set up with, what it is made of, and how its answers are made.

use std::path::Path;
use std::time::Duration;

use crossbeam::queue::SegQueue;
use wal::Urgency;

use super::answer::{Answer, Open};
use super::expiry;
use super::idempotency::Key;
use super::lanes::Lanes;
use super::ledger::{Ledger, NoRoom, Position};
use super::row::State;
use super::slots::Turn;
use super::store::Store;
use crate::clock::Clock;
use crate::domain::{
    BookingStatus, EventNumber, Fact, PublicId, Refusal, RequestStamp, RowNumber, TicketStatus,
};
use crate::image::snapshot::{self, Found, Named, OtherLog, Snapshot, SnapshotError, Summary};
use crate::image::{Image, StateHash};
use crate::sync::{AtomicU64, Ordering};

/// The longest hold, so that its length fits beside a booking.
pub const HOLD_TTL_MAX: Duration = Duration::from_millis(u32::MAX as u64);

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a hold lasts, at most [`HOLD_TTL_MAX`].
    pub hold_ttl: Duration,
    /// How many admission lanes there are.
    pub lane_count: u32,
    /// How many requests each lane takes.
    pub lane_capacity: u32,
    /// How many bookings may ever be made: dead ones keep their row (96 bytes for one ticket).
    pub bookings_max: u64,
    /// How many idempotency keys are kept at a time (about 100 bytes each).
    pub idempotency_keys_max: usize,
}

/// A request for tickets.
#[derive(Clone, Copy, Debug)]
pub struct HoldRequest<'a> {
    /// Who asks.
    pub user: PublicId,
    /// For which event.
    pub event: PublicId,
    /// For which tickets, in any order.
    pub tickets: &'a [PublicId],
    /// The idempotency key and fingerprint of the request, if it carries a key.
    pub stamp: Option<RequestStamp<'a>>,
}

/// Where a listing of tickets goes on.
#[derive(Clone, Debug)]
pub struct TicketCursor {
    pub(super) event: EventNumber,
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) status: Option<TicketStatus>,
}

impl TicketCursor {
    /// Whether the listing is complete.
    pub fn is_done(&self) -> bool {
        self.next >= self.end
    }
}

/// Where a listing of events goes on.
#[derive(Clone, Debug)]
pub struct EventCursor {
    pub(super) next: u32,
    pub(super) end: u32,
}

impl EventCursor {
    /// Whether the listing is complete.
    pub fn is_done(&self) -> bool {
        self.next >= self.end
    }
}

/// Where a listing of a user's bookings, newest first, goes on.
#[derive(Clone, Debug)]
pub struct UserBookingCursor {
    pub(super) next: Option<(EventNumber, RowNumber)>,
    pub(super) status: Option<BookingStatus>,
}

impl UserBookingCursor {
    /// Whether the listing is complete.
    pub fn is_done(&self) -> bool {
        self.next.is_none()
    }
}

/// Figures for the statistics.
#[derive(Clone, Debug)]
pub struct EngineStats {
    /// Requests in each lane now.
    pub lane_lengths: Vec<u32>,
    /// What each lane takes.
    pub lane_capacity: u32,
    /// Tickets under a hold whose deadline lies ahead.
    pub active_locks: u64,
    /// Tickets under a lapsed hold that nobody has taken over or swept yet.
    pub expired_locks: u64,
    /// Users ever created.
    pub users: u64,
    /// Events ever created.
    pub events: u64,
    /// Tickets of all events.
    pub tickets: u64,
    /// Bookings ever attempted past the first look at their seats.
    pub bookings: u64,
    /// Idempotency keys remembered.
    pub idempotency_keys: u64,
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovery {
    /// What it found in the log.
    pub report: wal::RecoveryReport,
    /// The snapshot that it began from.
    pub snapshot: Option<Summary>,
    /// Newer snapshots that could not be used, and why.
    pub refused: Vec<(Named, SnapshotError)>,
    /// Records in the log's whole life.
    pub records: u64,
}

/// Why the state could not be recovered. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log was not opened.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The log was not opened, and there are snapshots that could not be used.
    #[error("{source}; snapshots that could not be used: {refused}")]
    WithoutSnapshot {
        /// Why the log was not opened.
        source: wal::OpenError,
        /// What is wrong with them.
        refused: String,
    },
    /// The snapshots cannot be listed.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// The snapshot is not one of this log.
    #[error(transparent)]
    OtherLog(#[from] OtherLog),
}

impl OpenError {
    fn of(source: wal::OpenError, refused: &[(Named, SnapshotError)]) -> Self {
        if refused.is_empty() {
            return Self::Log(source);
        }
        let told: Vec<_> = refused.iter().map(|(_, error)| error.to_string()).collect();
        Self::WithoutSnapshot { source, refused: told.join("; ") }
    }
}

/// A snapshot of another log must not be taken for one of this. What is wrong with the log itself
/// is for the log to say.
fn check_log(directory: &Path, snapshot: &Snapshot) -> Result<(), OtherLog> {
    let reader = wal::Reader::open(directory).ok();
    let log = reader.and_then(|reader| Some(reader.segments().first()?.header.uuid));
    log.map_or(Ok(()), |log| snapshot.check_log(log))
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    pub(super) store: Store,
    pub(super) log: wal::Log,
    pub(super) clock: Clock,
    pub(super) lanes: Lanes,
    pub(super) hold_ttl_millis: u32,
    pub(super) bookings_max: u64,
    /// Deadlines of new bookings, on their way to the sweeper.
    pub(super) due: SegQueue<expiry::Due>,
    /// Tickets of lapsed bookings that the sweeper knows of and has not expired yet.
    pub(super) lapsed_tickets: AtomicU64,
}

impl Engine {
    /// Recovers the state from the newest whole snapshot and the log behind it in
    /// `options.directory`, and opens the log for appending.
    ///
    /// # Errors
    ///
    /// As [`wal::Log::open`]; a record that contradicts those before it counts as damage there. A
    /// damaged snapshot is none, as long as the log reaches back to the one before it.
    pub fn open(
        mut options: wal::Options,
        settings: &Settings,
        clock: Clock,
    ) -> Result<(Self, Recovery), OpenError> {
        // The lock comes first: who does not get it must not look at snapshots that the owner is
        // just replacing.
        let directory = wal::Log::lock(&options)?;
        let Found { newest, refused, durable_floor } =
            snapshot::newest(directory.path(), || false)?;
        let (mut image, snapshot) = match newest {
            Some((snapshot, summary)) => {
                check_log(directory.path(), &snapshot)?;
                (snapshot.image, Some(summary))
            }
            None => (Image::new(), None),
        };
        options.start = snapshot.map_or(wal::Lsn::ZERO, |summary| summary.lsn);
        options.durable_floor = options.durable_floor.max(durable_floor);
        let opened = wal::Log::open_in(directory, options, |record| image.apply(&record));
        let (log, report) = opened.map_err(|error| OpenError::of(error, &refused))?;
        image.purge_keys();
        let (newest, records) = (image.newest(), image.records());
        let store = Store::restored(image, settings.idempotency_keys_max);
        let ttl = settings.hold_ttl.min(HOLD_TTL_MAX).as_millis();
        let engine = Self {
            store,
            log,
            clock: clock.not_before(newest),
            lanes: Lanes::new(settings.lane_count, settings.lane_capacity),
            bookings_max: settings.bookings_max,
            hold_ttl_millis: u32::try_from(ttl).unwrap_or(u32::MAX),
            due: SegQueue::new(),
            lapsed_tickets: AtomicU64::new(0),
        };
        engine.schedule_restored();
        Ok((engine, Recovery { report, snapshot, refused, records }))
    }

    /// Tells the sweeper of the bookings that were left pending.
    fn schedule_restored(&self) {
        for (_, event) in self.store.events.iter() {
            for (number, row) in event.seats.rows() {
                if row.word().state() == State::Pending {
                    self.due.push((row.word().time(), event.id.number, number));
                }
            }
        }
    }

    /// The log behind the engine.
    pub fn log(&self) -> &wal::Log {
        &self.log
    }

    /// The engine's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where an answer stands that has read its last word and has no record of its own.
    pub fn position(&self) -> Position {
        let mark = self.log.reserved();
        Position { lsn: mark, wait_for: mark }
    }

    /// Figures for the statistics.
    pub fn stats(&self) -> EngineStats {
        let expired_locks = self.lapsed_tickets.load(Ordering::Relaxed);
        EngineStats {
            lane_lengths: self.lanes.lengths().collect(),
            lane_capacity: self.lanes.capacity(),
            active_locks: self.store.reserved().saturating_sub(expired_locks),
            expired_locks,
            users: self.store.users.table.claimed().into(),
            events: self.store.events.claimed().into(),
            tickets: self.store.tickets.load(Ordering::Relaxed),
            bookings: self.store.bookings.load(Ordering::Relaxed),
            idempotency_keys: self.store.keys.len() as u64,
        }
    }

    /// A hash of all users, events and bookings, equal for equal states. It means something only
    /// while nothing is being written.
    pub fn state_hash(&self) -> StateHash {
        self.store.hash()
    }

    /// Answers with what `work` did or saw, at the position of its own record if it wrote one.
    pub(super) fn answer<T>(
        &self,
        work: impl FnOnce() -> Result<(T, Option<Position>), Refusal>,
    ) -> Answer<'_, T> {
        self.keyed(None, |_| work())
    }

    /// The same for a request that may carry an idempotency key.
    pub(super) fn keyed<'e, T>(
        &'e self,
        stamp: Option<RequestStamp<'_>>,
        work: impl FnOnce(&mut Key<'e>) -> Result<(T, Option<Position>), Refusal>,
    ) -> Answer<'e, T> {
        let begun = stamp.map_or(Ok(Key::None), |stamp| self.store.keys.begin(stamp));
        let (result, key) = match begun {
            Ok(mut key) => (work(&mut key), key),
            Err(refusal) => (Err(refusal), Key::None),
        };
        let (result, own) = match result {
            Ok((value, own)) => (Ok(value), own),
            Err(refusal) => (Err(refusal), None),
        };
        let position = own.unwrap_or_else(|| self.position());
        Answer { result, position, open: Open { lane: None, key } }
    }

    /// A step taken now; holds that it finds lapsed are expired with this urgency.
    pub(super) fn turn(&self, urgency: Urgency) -> Turn<'_, wal::Log> {
        Turn { ledger: &self.log, now: self.clock.now(), urgency }
    }

    /// Reserves a place for a fact that nobody competes for.
    pub(super) fn reserve(
        &self,
        urgency: Urgency,
        fact: &Fact<'_>,
    ) -> Result<wal::Reservation<'_>, Refusal> {
        Ledger::reserve(&self.log, urgency, fact).map_err(|NoRoom| Refusal::StorageUnavailable)
    }
}
