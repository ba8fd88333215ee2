//! What the server has done and how long it took: counters, latencies, and their three forms (the
//! statistics document, the Prometheus text, the log line).
//!
//! **Invariant:** recording waits for nobody and allocates nothing. Latencies and responses go into a
//! [`Recorder`]'s own memory (the protocol is in `shard`); the few counters that all threads share
//! are one locked addition each, on a cache line of their own. Readers add up what they find.
//!
//! **Bookings:** every admitted booking request is later counted as succeeded or as failed, once. A
//! reader loads these two first, with acquire, and then the admitted ones: each end was published
//! (release) after its admission, so a document never shows more ends than requests, and equal
//! numbers once none is in flight.
//!
//! Why not `hdrhistogram`'s own `sync` module: a refresh there waits until every recorder has come by,
//! so one idle runtime would stall the reader, and the recorder that comes by allocates.
//!
//! Two clocks: uptime comes from the project's [`Clock`]; which second a request ended in comes from
//! the kernel's coarse monotonic clock, which costs 3 ns instead of 23 and is late by 4 ms at most.
//!
//! This module deliberately does not know HTTP: it is told an operation, a time and a status number.

mod document;
mod figures;
mod latency;
mod layout;
mod line;
mod memory;
mod metrics;
mod operation;
mod shard;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam::utils::CachePadded;
use rustix::time::{ClockId, clock_gettime};

use crate::checkpoint;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::engine::Engine;
use crate::mirror::Watch;

use figures::{Bookings, Connections, Figures};
use latency::Latency;
use operation::STATUS_CLASSES;
use shard::{Durations, Second, Shard};

pub use line::log_line;
pub use operation::Operation;

/// The media type of [`Stats::metrics_text`].
pub const METRICS_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the server has done since it was started.
#[derive(Debug)]
pub struct Stats {
    clock: Clock,
    started: Timestamp,
    admitted: CachePadded<AtomicU64>,
    succeeded: CachePadded<AtomicU64>,
    failed: CachePadded<AtomicU64>,
    opened: CachePadded<AtomicU64>,
    closed: CachePadded<AtomicU64>,
    refused: CachePadded<AtomicU64>,
    /// One per recorder that lives, or lived and left its shard to the next. Locked to add one and to
    /// read, never to record.
    shards: Mutex<Vec<Arc<Shard>>>,
    checkpoints: OnceLock<Arc<checkpoint::Status>>,
    /// How the mirror is doing, if there is one.
    mirror: OnceLock<Arc<Watch>>,
}

/// Records for one thread.
#[derive(Debug)]
pub struct Recorder {
    shard: Arc<Shard>,
    /// The shard has one writer, so a recorder may move to another thread but not be shared.
    not_shared: PhantomData<Cell<()>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shard.release();
    }
}

impl Recorder {
    /// Counts a request that was answered with `status` after `elapsed`.
    #[inline]
    pub fn record(&self, operation: Operation, elapsed: Duration, status: u16) {
        self.record_at(operation, elapsed, status, this_second());
    }

    #[inline]
    fn record_at(&self, operation: Operation, elapsed: Duration, status: u16, now: Second) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.shard.record(operation, nanos, status, now);
    }
}

/// The second on the coarse monotonic clock.
#[inline]
fn this_second() -> Second {
    Second(u64::try_from(clock_gettime(ClockId::MonotonicCoarse).tv_sec).unwrap_or(0))
}

impl Stats {
    /// Nothing done yet; uptime counts from here.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::with_clock(Clock::system()))
    }

    fn with_clock(clock: Clock) -> Self {
        Self {
            started: clock.now(),
            clock,
            admitted: CachePadded::default(),
            succeeded: CachePadded::default(),
            failed: CachePadded::default(),
            opened: CachePadded::default(),
            closed: CachePadded::default(),
            refused: CachePadded::default(),
            shards: Mutex::default(),
            checkpoints: OnceLock::new(),
            mirror: OnceLock::new(),
        }
    }

    /// From now on shows what the checkpoints do, too. The first call counts.
    pub fn show_checkpoints(&self, status: Arc<checkpoint::Status>) {
        let _ = self.checkpoints.set(status);
    }

    /// From now on shows how this mirror does, too. The first call counts.
    pub fn show_mirror(&self, mirror: Arc<Watch>) {
        let _ = self.mirror.set(mirror);
    }

    /// A recorder for one thread.
    pub fn recorder(&self) -> Recorder {
        let mut shards = self.lock_shards();
        let free = shards.iter().find(|shard| shard.claim()).cloned();
        let shard = free.unwrap_or_else(|| {
            let shard = Arc::new(Shard::claimed());
            shards.push(Arc::clone(&shard));
            shard
        });
        Recorder { shard, not_shared: PhantomData }
    }

    /// A push either happened or it did not, so the list is good after a panic as well.
    fn lock_shards(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Shard>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a booking request that reached the engine. One of the two below must follow.
    pub fn booking_admitted(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an admitted booking request that got its tickets.
    pub fn booking_succeeded(&self) {
        // Release, here and below, with the acquire in `bookings`.
        self.succeeded.fetch_add(1, Ordering::Release);
    }

    /// Counts an admitted booking request that did not get them.
    pub fn booking_failed(&self) {
        self.failed.fetch_add(1, Ordering::Release);
    }

    /// Counts a connection that was accepted.
    pub fn connection_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection that was accepted.
    pub fn connection_closed(&self) {
        self.closed.fetch_add(1, Ordering::Release);
    }

    /// Counts a connection that was turned away since there were too many.
    pub fn connection_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The document of `GET /api/bookings/stats`.
    pub fn stats_json(&self, engine: &Engine) -> serde_json::Value {
        document::render(&Figures::gather(self, engine, this_second()))
    }

    /// The text of `GET /metrics`, of the type [`METRICS_MEDIA_TYPE`].
    pub fn metrics_text(&self, engine: &Engine) -> String {
        metrics::render(Figures::gather(self, engine, this_second()))
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.clock.now().millis_since(self.started))
    }

    fn bookings(&self) -> Bookings {
        let succeeded = self.succeeded.load(Ordering::Acquire);
        let failed = self.failed.load(Ordering::Acquire);
        Bookings { succeeded, failed, admitted: self.admitted.load(Ordering::Relaxed) }
    }

    fn connections(&self) -> Connections {
        let closed = self.closed.load(Ordering::Acquire);
        let opened = self.opened.load(Ordering::Relaxed);
        let refused = self.refused.load(Ordering::Relaxed);
        Connections { open: opened.saturating_sub(closed), opened, refused }
    }

    fn responses(&self) -> [u64; STATUS_CLASSES] {
        let mut responses = [0; STATUS_CLASSES];
        for shard in self.shards() {
            shard.add_responses(&mut responses);
        }
        responses
    }

    /// The latency of each operation, in the order of [`Operation::ALL`].
    fn latencies(&self, now: Second) -> Vec<Latency> {
        let shards = self.shards();
        let of = |operation| {
            let (mut life, mut recent) = (Durations::none(), Durations::none());
            for shard in &shards {
                shard.add_life(operation, &mut life);
                shard.add_last_seconds(operation, now, &mut recent);
            }
            Latency { operation, life, recent }
        };
        Operation::ALL.into_iter().map(of).collect()
    }

    /// The shards there are now; the lock is not held while they are read.
    fn shards(&self) -> Vec<Arc<Shard>> {
        self.lock_shards().clone()
    }
}

#[cfg(test)]
mod tests;
