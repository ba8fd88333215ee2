//! The same figures for Prometheus.
//!
//! Names begin with `booking_` (or are the conventional `process_` ones), carry their unit, and
//! counters end in `_total`:
//!
//! | name | kind | labels | |
//! |---|---|---|---|
//! | `booking_requests_total` | counter | `outcome` = `succeeded`, `failed` | booking requests that have ended |
//! | `booking_requests_admitted_total` | counter | | those that reached the engine |
//! | `booking_request_duration_seconds` | histogram | `operation` | every request, by what it was about |
//! | `booking_responses_total` | counter | `class` = `1xx` to `5xx` | |
//! | `booking_connections_open` | gauge | | |
//! | `booking_connections_opened_total`, `booking_connections_refused_total` | counter | | |
//! | `booking_lane_length`, `booking_lane_capacity` | gauge | `lane` | requests in an admission lane |
//! | `booking_ticket_locks` | gauge | `state` = `active`, `expired` | tickets under a hold |
//! | `booking_users`, `booking_events`, `booking_tickets`, `booking_bookings`, `booking_idempotency_keys` | gauge | | the size of the state |
//! | `booking_wal_lsn_bytes` | gauge | `mark` = `reserved`, `published`, `durable` | the marks on the log |
//! | `booking_wal_…` | | | the log's counters |
//! | `booking_wal_poisoned`, `booking_wal_disk_full` | gauge | | 1 if so |
//! | `booking_mirror_state` | gauge | `state` = `off` and those of the mirror | 1 for the state it is in |
//! | `booking_mirror_lsn_bytes`, `booking_mirror_lag_bytes`, `booking_mirror_lag_records` | gauge | | once PostgreSQL has said how far it is |
//! | `booking_mirror_lag_seconds` | gauge | | age of the oldest durable record that PostgreSQL does not have |
//! | `booking_mirror_batches_total`, `booking_mirror_records_total`, `booking_mirror_failures_total` | counter | | transactions committed, records in them, errors |
//! | `booking_mirror_breaker_open` | gauge | | 1 while nothing is tried |
//! | `booking_snapshot_lsn_bytes`, `booking_snapshot_size_bytes` | gauge | | of the newest snapshot |
//! | `booking_snapshots_total`, `booking_snapshots_failed_total`, `booking_wal_segments_removed_total` | counter | | |
//! | `booking_uptime_seconds`, `process_start_time_seconds` | gauge | | |
//! | `process_resident_memory_bytes`, `booking_memory_bytes` | gauge | `kind` for the second | |
//!
//! The histogram's bounds are those of [`BOUNDS_MICROS`]; a request is counted to a bound if it fell
//! into the HDR bucket of that bound or a shorter one, so within 0.8 %.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::figures::Figures;
use super::latency::Latency;
use crate::mirror::State;

/// The upper ends of the histogram's buckets, in microseconds: 1, 2 and 5 times the powers of ten.
const BOUNDS_MICROS: [u64; 17] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

pub(super) fn render(figures: Figures) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(figures)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("writing to a string cannot fail");
    text
}

#[derive(Debug)]
struct Exposition(Figures);

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let figures = &self.0;
        page.requests(figures)?;
        page.connections(figures)?;
        page.engine(figures)?;
        page.wal_marks(figures)?;
        page.wal_counters(figures)?;
        page.mirror(figures)?;
        page.checkpoints(figures)?;
        page.process(figures)
    }
}

/// The page as far as it is written.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn gauge<N: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: N,
    ) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    /// One metric with one label, whose values `each` goes through.
    fn family<L: fmt::Display>(
        &mut self,
        descriptor: (&str, &str, Option<&Unit>, MetricType),
        label: &str,
        each: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let (name, help, unit, kind) = descriptor;
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (value, count) in each {
            let labels = [(label, value.to_string())];
            let encoder = encoder.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(count).encode(encoder)?,
                MetricType::Gauge
                | MetricType::Histogram
                | MetricType::Info
                | MetricType::Unknown => ConstGauge::new(count).encode(encoder)?,
            }
        }
        Ok(())
    }

    fn checkpoints(&mut self, figures: &Figures) -> fmt::Result {
        let checkpoints = &figures.checkpoints;
        let lsn = checkpoints.newest.map_or(0, |newest| newest.lsn.get());
        let help = "Position of the newest snapshot";
        self.gauge("booking_snapshot_lsn", help, Some(&Unit::Bytes), lsn)?;
        let bytes = checkpoints.newest.map_or(0, |newest| newest.bytes);
        self.gauge("booking_snapshot_size", "Its length", Some(&Unit::Bytes), bytes)?;
        self.counter("booking_snapshots", "Snapshots made", None, checkpoints.made)?;
        let help = "Checkpoints that failed";
        self.counter("booking_snapshots_failed", help, None, checkpoints.failed)?;
        let removed = checkpoints.segments_removed;
        self.counter("booking_wal_segments_removed", "Segments removed", None, removed)
    }

    fn requests(&mut self, figures: &Figures) -> fmt::Result {
        let bookings = &figures.bookings;
        let outcomes = [("succeeded", bookings.succeeded), ("failed", bookings.failed)];
        let help = "Booking requests that have ended";
        let requests = ("booking_requests", help, None, MetricType::Counter);
        self.family(requests, "outcome", outcomes.into_iter())?;
        let help = "Booking requests that reached the engine";
        self.counter("booking_requests_admitted", help, None, bookings.admitted)?;
        let classes = figures.responses.iter().enumerate();
        let classes = classes.map(|(class, &count)| (format!("{}xx", class + 1), count));
        let responses = ("booking_responses", "Responses by status", None, MetricType::Counter);
        self.family(responses, "class", classes)?;
        let mut encoder = self.0.encode_descriptor(
            "booking_request_duration",
            "Time from a request to its answer",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for latency in &figures.latencies {
            let labels = [("operation", latency.operation.name())];
            histogram(&mut encoder.encode_family(&labels)?, latency)?;
        }
        Ok(())
    }

    fn connections(&mut self, figures: &Figures) -> fmt::Result {
        let connections = &figures.connections;
        self.gauge("booking_connections_open", "Open connections", None, connections.open)?;
        let help = "Connections accepted";
        self.counter("booking_connections_opened", help, None, connections.opened)?;
        let help = "Connections turned away since there were too many";
        self.counter("booking_connections_refused", help, None, connections.refused)
    }

    fn engine(&mut self, figures: &Figures) -> fmt::Result {
        let engine = &figures.engine;
        let lengths = engine.lane_lengths.iter().map(|&length| u64::from(length)).enumerate();
        let capacities = engine.lane_lengths.iter().map(|_| u64::from(engine.lane_capacity));
        let lengths_help = "Booking requests in the admission lane";
        let lengths_of = ("booking_lane_length", lengths_help, None, MetricType::Gauge);
        self.family(lengths_of, "lane", lengths)?;
        let capacity_help = "Booking requests that the admission lane takes";
        let capacities_of = ("booking_lane_capacity", capacity_help, None, MetricType::Gauge);
        self.family(capacities_of, "lane", capacities.enumerate())?;
        let states = [("active", engine.active_locks), ("expired", engine.expired_locks)];
        let locks = ("booking_ticket_locks", "Tickets under a hold", None, MetricType::Gauge);
        self.family(locks, "state", states.into_iter())?;
        for (name, help, value) in [
            ("booking_users", "Users", engine.users),
            ("booking_events", "Events", engine.events),
            ("booking_tickets", "Tickets of all events", engine.tickets),
            ("booking_bookings", "Bookings ever made", engine.bookings),
            ("booking_idempotency_keys", "Idempotency keys remembered", engine.idempotency_keys),
        ] {
            self.gauge(name, help, None, value)?;
        }
        Ok(())
    }

    fn wal_marks(&mut self, figures: &Figures) -> fmt::Result {
        let log = &figures.log;
        let marks = [
            ("reserved", log.reserved.get()),
            ("published", log.published.get()),
            ("durable", log.durable.get()),
        ];
        let help = "The marks on the log, as positions in its whole life";
        let lsn = ("booking_wal_lsn", help, Some(&Unit::Bytes), MetricType::Gauge);
        self.family(lsn, "mark", marks.into_iter())?;
        let counters = &log.counters;
        for (name, help, unit, value) in [
            (
                "poisoned",
                "1 if a write of the log has failed",
                None,
                u64::from(log.poisoned.is_some()),
            ),
            ("disk_full", "1 if the disk was full lately", None, u64::from(counters.disk_full)),
            ("segments_ahead", "Segments prepared", None, counters.segments_ahead),
            ("segments_mapped", "Segments mapped", None, counters.segments_mapped),
            ("mapped", "Bytes of segments mapped", Some(&Unit::Bytes), counters.mapped_bytes),
            ("group_max", "The largest group synced", Some(&Unit::Bytes), counters.group_bytes_max),
        ] {
            self.gauge(&format!("booking_wal_{name}"), help, unit, value)?;
        }
        let longest = counters.sync_time_max.as_secs_f64();
        self.gauge("booking_wal_sync_max", "The longest sync", Some(&Unit::Seconds), longest)
    }

    fn wal_counters(&mut self, figures: &Figures) -> fmt::Result {
        let counters = &figures.log.counters;
        for (name, help, unit, value) in [
            ("records", "Records published", None, counters.records),
            ("written", "Bytes reserved", Some(&Unit::Bytes), counters.bytes),
            ("synced", "Bytes synced", Some(&Unit::Bytes), counters.synced_bytes),
            ("syncs", "Groups synced", None, counters.syncs),
            ("void_frames", "Reservations that became void", None, counters.void_frames),
            ("old_holes", "Reservations not filled for 100 ms", None, counters.old_holes),
            ("segments_made", "Segments made", None, counters.segments_made),
        ] {
            self.counter(&format!("booking_wal_{name}"), help, unit, value)?;
        }
        let reasons = [
            ("no_room", counters.refused_no_room),
            ("too_far_ahead", counters.refused_too_far_ahead),
        ];
        let help = "Reservations refused";
        let refused = ("booking_wal_refused", help, None, MetricType::Counter);
        self.family(refused, "reason", reasons.into_iter())?;
        let (help, unit) = ("Time spent in syncs", Some(&Unit::Seconds));
        let name = "booking_wal_sync_time";
        let encoder = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(counters.sync_time.as_secs_f64()).encode(encoder)
    }

    fn mirror(&mut self, figures: &Figures) -> fmt::Result {
        let mirror = figures.mirror.as_ref();
        let now = mirror.map_or("off", |mirror| mirror.state.name());
        let states = ["off"].into_iter().chain(State::ALL.map(State::name));
        let states = states.map(|state| (state, u64::from(state == now)));
        let help = "1 for the state that the PostgreSQL mirror is in";
        self.family(("booking_mirror_state", help, None, MetricType::Gauge), "state", states)?;
        let Some(mirror) = mirror else { return Ok(()) };
        let bytes = Some(&Unit::Bytes);
        for (name, help, unit, value) in [
            (
                "lsn",
                "PostgreSQL holds the log before it",
                bytes,
                mirror.mirrored.map(wal::Lsn::get),
            ),
            ("lag", "Durable bytes that PostgreSQL does not hold", bytes, mirror.lag_bytes),
            ("lag_records", "Records that PostgreSQL does not hold", None, mirror.lag_records),
        ] {
            if let Some(value) = value {
                self.gauge(&format!("booking_mirror_{name}"), help, unit, value)?;
            }
        }
        let help = "Age of the oldest durable record that PostgreSQL does not hold";
        let lag = mirror.lag.as_secs_f64();
        self.gauge("booking_mirror_lag", help, Some(&Unit::Seconds), lag)?;
        let help = "1 while nothing is tried";
        self.gauge("booking_mirror_breaker_open", help, None, u64::from(mirror.breaker_open))?;
        for (name, help, value) in [
            ("batches", "Transactions committed", mirror.batches),
            ("records", "Records written", mirror.written),
            ("failures", "Errors of the mirror", mirror.failures),
        ] {
            self.counter(&format!("booking_mirror_{name}"), help, None, value)?;
        }
        Ok(())
    }

    fn process(&mut self, figures: &Figures) -> fmt::Result {
        let uptime = figures.uptime.as_secs_f64();
        self.gauge("booking_uptime", "Time since the start", Some(&Unit::Seconds), uptime)?;
        let started = float(figures.started.millis()) / 1_000.0;
        let help = "When the process was started, since 1970";
        self.gauge("process_start_time", help, Some(&Unit::Seconds), started)?;
        let memory = &figures.memory;
        let help = "Memory in RAM";
        let resident = memory.resident_bytes;
        self.gauge("process_resident_memory", help, Some(&Unit::Bytes), resident)?;
        let kinds = [
            ("anonymous", memory.anonymous_bytes),
            ("file", memory.file_bytes),
            ("shared", memory.shared_bytes),
        ];
        let help = "Memory in RAM by kind";
        let by_kind = ("booking_memory", help, Some(&Unit::Bytes), MetricType::Gauge);
        self.family(by_kind, "kind", kinds.into_iter())
    }
}

fn histogram(encoder: &mut MetricEncoder<'_>, latency: &Latency) -> fmt::Result {
    let life = &latency.life;
    let count = life.histogram.len();
    let mut below = 0;
    // The encoder wants each bucket's own count and adds them up itself.
    let mut buckets = Vec::with_capacity(BOUNDS_MICROS.len() + 1);
    for bound in BOUNDS_MICROS.map(|micros| micros * 1_000) {
        let up_to = life.at_most(bound);
        buckets.push((seconds(bound), up_to - below));
        below = up_to;
    }
    buckets.push((f64::INFINITY, count - below));
    encoder.encode_histogram::<NoLabelSet>(seconds(life.sum_nanos), count, &buckets, None)
}

fn seconds(nanos: u64) -> f64 {
    float(nanos) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn float(value: u64) -> f64 {
    value as f64
}
