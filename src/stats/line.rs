//! The same figures as one structured log line.

use std::fmt;

use super::figures::Figures;
use super::latency::Latency;
use super::{Stats, this_second};
use crate::engine::Engine;

/// Writes the figures of this moment as one line at level `info`.
pub fn log_line(stats: &Stats, engine: &Engine) {
    write(&Figures::gather(stats, engine, this_second()));
}

fn write(figures: &Figures) {
    let Figures { bookings, engine, connections, log, memory, .. } = figures;
    let mirror = figures.mirror.as_ref();
    let [_, ok, redirected, refused, broken] = figures.responses;
    tracing::info!(
        total_requests = bookings.admitted,
        successful_bookings = bookings.succeeded,
        failed_bookings = bookings.failed,
        queue_length = figures.pending(),
        uptime_seconds = figures.uptime.as_secs(),
        requests_per_second = figures.requests_per_second(),
        active_locks = engine.active_locks,
        expired_locks = engine.expired_locks,
        queue_lengths = ?engine.lane_lengths,
        latency = %Latencies(&figures.latencies),
        responses_2xx = ok,
        responses_3xx = redirected,
        responses_4xx = refused,
        responses_5xx = broken,
        connections_open = connections.open,
        connections_refused = connections.refused,
        users = engine.users,
        events = engine.events,
        bookings = engine.bookings,
        wal_durable_lsn = log.durable.get(),
        wal_unsynced_bytes = log.unsynced_bytes(),
        wal_records = log.counters.records,
        wal_syncs = log.counters.syncs,
        wal_sync_max_us = u64::try_from(log.counters.sync_time_max.as_micros()).unwrap_or(u64::MAX),
        wal_old_holes = log.counters.old_holes,
        wal_disk_full = log.counters.disk_full,
        mirror = mirror.map_or("off", |mirror| mirror.state.name()),
        mirror_lag_bytes = mirror.and_then(|mirror| mirror.lag_bytes),
        mirror_lag_records = mirror.and_then(|mirror| mirror.lag_records),
        mirror_lag_seconds = mirror.map(|mirror| mirror.lag.as_secs_f64()),
        mirror_error = mirror.and_then(|mirror| mirror.error.as_deref()),
        snapshot_lsn = figures.checkpoints.newest.map_or(0, |newest| newest.lsn.get()),
        snapshots_failed = figures.checkpoints.failed,
        memory_anonymous_bytes = memory.anonymous_bytes,
        memory_resident_bytes = memory.resident_bytes,
        "statistics"
    );
}

/// The operations that were seen in the last seconds, as `hold(count=3 p50=..)` with microseconds.
struct Latencies<'f>(&'f [Latency]);

impl fmt::Display for Latencies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for latency in self.0 {
            let summary = latency.recent.summary();
            if summary.count == 0 {
                continue;
            }
            write!(
                f,
                "{gap}{}(count={} p50={} p90={} p99={} p99.9={} max={})",
                latency.operation.name(),
                summary.count,
                summary.p50,
                summary.p90,
                summary.p99,
                summary.p999,
                summary.max,
            )?;
            gap = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn write_for_test(figures: &Figures) {
    write(figures);
}
