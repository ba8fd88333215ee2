//! The document of `GET /api/bookings/stats`.
//!
//! The members from `total_requests` to `queue_stats` are the contract that clients rely on; the
//! others were added. Sizes are bytes, times microseconds where a name does not say otherwise.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::figures::{Figures, LogFigures};
use super::latency::Summary;
use crate::checkpoint;
use crate::mirror::Reading;

pub(super) fn render(figures: &Figures) -> Value {
    let Figures { bookings, engine, connections, .. } = figures;
    json!({
        "total_requests": bookings.admitted,
        "successful_bookings": bookings.succeeded,
        "failed_bookings": bookings.failed,
        "queue_length": figures.pending(),
        "uptime_seconds": figures.uptime.as_secs(),
        "requests_per_second": figures.requests_per_second(),
        "lock_stats": {
            "total_locks": engine.active_locks + engine.expired_locks,
            "active_locks": engine.active_locks,
            "expired_locks": engine.expired_locks,
        },
        "queue_stats": queues(figures),
        "latency": latencies(figures),
        "latency_unit": "microseconds",
        "responses": responses(figures),
        "connections": {
            "open": connections.open,
            "opened": connections.opened,
            "refused": connections.refused,
        },
        "state": {
            "users": engine.users,
            "events": engine.events,
            "tickets": engine.tickets,
            "bookings": engine.bookings,
            "idempotency_keys": engine.idempotency_keys,
        },
        "wal": wal(&figures.log),
        "snapshot": snapshot(figures),
        "mirror": mirror(figures.mirror.as_ref()),
        "memory": figures.memory,
    })
}

fn queues(figures: &Figures) -> Value {
    let lengths = &figures.engine.lane_lengths;
    let capacity = figures.engine.lane_capacity;
    let queue = |(number, length)| {
        (format!("queue_{number}"), json!({"length": length, "capacity": capacity}))
    };
    let mut queues: Map<String, Value> = lengths.iter().enumerate().map(queue).collect();
    queues.insert("total_queues".to_owned(), json!(lengths.len()));
    queues.insert("total_pending".to_owned(), json!(figures.pending()));
    Value::Object(queues)
}

fn latencies(figures: &Figures) -> Value {
    let of_operation = figures.latencies.iter().map(|latency| {
        let both = json!({
            "life": summary(latency.life.summary()),
            "last_10_seconds": summary(latency.recent.summary()),
        });
        (latency.operation.name().to_owned(), both)
    });
    Value::Object(of_operation.collect())
}

fn summary(summary: Summary) -> Value {
    let Summary { count, p50, p90, p99, p999, max } = summary;
    json!({"count": count, "p50": p50, "p90": p90, "p99": p99, "p99.9": p999, "max": max})
}

fn responses(figures: &Figures) -> Value {
    let classes = figures.responses.iter().enumerate();
    Value::Object(
        classes.map(|(class, count)| (format!("{}xx", class + 1), json!(count))).collect(),
    )
}

fn wal(log: &LogFigures) -> Value {
    let counters = &log.counters;
    json!({
        "durability": log.durability,
        "epoch": log.epoch,
        "poisoned": log.poisoned,
        "reserved_lsn": log.reserved.get(),
        "published_lsn": log.published.get(),
        "durable_lsn": log.durable.get(),
        "unsynced_bytes": log.unsynced_bytes(),
        "records": counters.records,
        "bytes": counters.bytes,
        "void_frames": counters.void_frames,
        "internal_frames": counters.internal_frames,
        "syncs": counters.syncs,
        "synced_bytes": counters.synced_bytes,
        "sync_time": micros(counters.sync_time),
        "sync_time_mean": micros(mean(counters.sync_time, counters.syncs)),
        "sync_time_last": micros(counters.last_sync_time),
        "sync_time_max": micros(counters.sync_time_max),
        "group_bytes_last": counters.last_group_bytes,
        "group_bytes_max": counters.group_bytes_max,
        "old_holes": counters.old_holes,
        "first_lsn": log.first.get(),
        "segments": log.files,
        "segment_bytes": log.file_bytes,
        "segments_made": counters.segments_made,
        "segments_ahead": counters.segments_ahead,
        "segments_mapped": counters.segments_mapped,
        "mapped_bytes": counters.mapped_bytes,
        "refused_no_room": counters.refused_no_room,
        "refused_too_far_ahead": counters.refused_too_far_ahead,
        "disk_full": counters.disk_full,
    })
}

/// Positions and lags are null until PostgreSQL has said how far it is.
fn mirror(mirror: Option<&Reading>) -> Value {
    let Some(mirror) = mirror else { return json!({"state": "off"}) };
    let next_try = mirror.next_try.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    json!({
        "state": mirror.state.name(),
        "target": mirror.target,
        "mirrored_lsn": mirror.mirrored.map(wal::Lsn::get),
        "lag_bytes": mirror.lag_bytes,
        "lag_records": mirror.lag_records,
        "lag_seconds": mirror.lag.as_secs_f64(),
        "records": mirror.records,
        "records_written": mirror.written,
        "batches": mirror.batches,
        "failures": mirror.failures,
        "breaker": if mirror.breaker_open { "open" } else { "closed" },
        "next_try_ms": next_try,
        "last_error": mirror.error,
    })
}

fn snapshot(figures: &Figures) -> Value {
    let checkpoint::Figures { newest, older, elapsed, made, failed, last_error, .. } =
        &figures.checkpoints;
    json!({
        "lsn": newest.map(|newest| newest.lsn.get()),
        "older_lsn": older.map(wal::Lsn::get),
        "bytes": newest.map(|newest| newest.bytes),
        "records": newest.map(|newest| newest.records),
        "age_seconds": newest.map(|newest| figures.now.millis_since(newest.made_at) / 1_000),
        "elapsed_milliseconds": elapsed.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        "made": made,
        "failed": failed,
        "last_error": last_error,
        "segments_removed": figures.checkpoints.segments_removed,
        "segment_bytes_removed": figures.checkpoints.bytes_removed,
    })
}

fn mean(sum: Duration, count: u64) -> Duration {
    let nanos = sum.as_nanos().checked_div(u128::from(count)).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
