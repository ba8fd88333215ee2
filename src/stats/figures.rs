//! One reading of everything that the statistics show, from which each of their forms is made.

use std::time::Duration;

use wal::{Log, LogStats, Lsn};

use super::latency::Latency;
use super::memory::Memory;
use super::shard::Second;
use super::{STATUS_CLASSES, Stats};
use crate::checkpoint;
use crate::domain::Timestamp;
use crate::engine::{Engine, EngineStats};
use crate::mirror;

/// Booking requests that reached the engine; `admitted` is never less than the other two together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bookings {
    pub(super) admitted: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
}

/// Connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Connections {
    /// Now.
    pub(super) open: u64,
    /// Ever accepted.
    pub(super) opened: u64,
    /// Ever turned away.
    pub(super) refused: u64,
}

/// The log's marks and counters.
#[derive(Clone, Debug)]
pub(super) struct LogFigures {
    pub(super) durability: String,
    pub(super) epoch: u32,
    pub(super) reserved: Lsn,
    pub(super) published: Lsn,
    pub(super) durable: Lsn,
    pub(super) poisoned: Option<String>,
    pub(super) counters: LogStats,
    /// Segment files, and where the first of them begins.
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    pub(super) first: Lsn,
}

impl LogFigures {
    /// The marks are read in an order that keeps `durable <= published <= reserved` in the reading,
    /// since each only rises.
    fn read(log: &Log) -> Self {
        let durable = log.durable();
        let published = log.published();
        let reserved = log.reserved();
        let segments = log.segments();
        Self {
            files: segments.len() as u64,
            file_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            first: segments.first().map_or(Lsn::ZERO, |segment| segment.base),
            durability: log.durability().to_string(),
            epoch: log.epoch(),
            reserved,
            published,
            durable,
            poisoned: log.poisoned().map(|poison| poison.to_string()),
            counters: log.stats(),
        }
    }

    /// Bytes that are reserved and not durable yet.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.reserved.get().saturating_sub(self.durable.get())
    }
}

/// One reading of everything.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) started: Timestamp,
    pub(super) uptime: Duration,
    pub(super) now: Timestamp,
    pub(super) bookings: Bookings,
    pub(super) connections: Connections,
    /// By the first digit of the status, 1 to 5.
    pub(super) responses: [u64; STATUS_CLASSES],
    pub(super) latencies: Vec<Latency>,
    pub(super) engine: EngineStats,
    pub(super) log: LogFigures,
    /// `None` if there is no mirror.
    pub(super) mirror: Option<mirror::Reading>,
    pub(super) checkpoints: checkpoint::Figures,
    pub(super) memory: Memory,
}

impl Figures {
    pub(super) fn gather(stats: &Stats, engine: &Engine, now: Second) -> Self {
        Self::from_parts(stats, engine.stats(), LogFigures::read(engine.log()), now)
    }

    pub(super) fn from_parts(
        stats: &Stats,
        engine: EngineStats,
        log: LogFigures,
        now: Second,
    ) -> Self {
        Self {
            started: stats.started,
            uptime: stats.uptime(),
            now: stats.clock.now(),
            bookings: stats.bookings(),
            connections: stats.connections(),
            responses: stats.responses(),
            latencies: stats.latencies(now),
            engine,
            log,
            mirror: stats.mirror.get().map(|mirror| mirror.read()),
            checkpoints: stats.checkpoints.get().map(|status| status.figures()).unwrap_or_default(),
            memory: Memory::read(),
        }
    }

    /// Booking requests that are in a lane.
    pub(super) fn pending(&self) -> u64 {
        self.engine.lane_lengths.iter().map(|&length| u64::from(length)).sum()
    }

    /// Booking requests a second over the whole life, with two decimals.
    #[expect(clippy::cast_precision_loss, reason = "a rate with two decimals")]
    pub(super) fn requests_per_second(&self) -> f64 {
        let seconds = self.uptime.as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        (self.bookings.admitted as f64 / seconds * 100.0).round() / 100.0
    }
}
