//! The figures from what was recorded, in each of their forms.

use super::*;
use std::time::Duration;

use crate::engine::EngineStats;
use figures::LogFigures;
use wal::{LogStats, Lsn};

fn engine() -> EngineStats {
    EngineStats {
        lane_lengths: vec![2, 1, 2],
        lane_capacity: 100,
        active_locks: 40,
        expired_locks: 5,
        users: 7,
        events: 3,
        tickets: 900,
        bookings: 11,
        idempotency_keys: 4,
    }
}

fn log() -> LogFigures {
    let counters = LogStats {
        records: 12,
        syncs: 4,
        sync_time: Duration::from_millis(2),
        refused_no_room: 3,
        ..LogStats::default()
    };
    LogFigures {
        durability: "commit".to_owned(),
        epoch: 2,
        reserved: Lsn::new(300),
        published: Lsn::new(200),
        durable: Lsn::new(100),
        poisoned: None,
        files: 2,
        file_bytes: 8192,
        first: Lsn::ZERO,
        counters,
    }
}

fn stats() -> (Stats, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    (Stats::with_clock(clock.clone()), clock)
}

fn figures(stats: &Stats, now: u64) -> Figures {
    Figures::from_parts(stats, engine(), log(), Second(now))
}

fn record(recorder: &Recorder, operation: Operation, micros: u64, now: u64) {
    recorder.record_at(operation, Duration::from_micros(micros), 200, Second(now));
}

#[test]
fn places_and_names_are_in_step() {
    for (place, operation) in Operation::ALL.into_iter().enumerate() {
        assert_eq!(operation.place(), place);
    }
    let mut names = Operation::ALL.map(Operation::name);
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn percentiles_are_those_of_the_sorted_durations() {
    let (stats, _) = stats();
    let recorders = [stats.recorder(), stats.recorder()];
    // A spread over four orders of magnitude, in an order that is not sorted.
    let mut micros: Vec<u64> = (1..=5_000).map(|n| n * n * 7_919 % 1_999_993 + 1).collect();
    for (place, &duration) in micros.iter().enumerate() {
        record(&recorders[place % 2], Operation::Hold, duration, 5);
    }
    micros.sort_unstable();
    let latency = stats.latencies(Second(5)).remove(Operation::Hold.place());
    for summary in [latency.life.summary(), latency.recent.summary()] {
        assert_eq!(summary.count, 5_000);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let check = |told: f64, rank: usize| {
            let exact = micros[rank - 1] as f64;
            let allowed = (exact * 0.008).max(0.1);
            assert!(told >= exact - 0.1 && told <= exact + allowed, "{told} for {exact}");
        };
        check(summary.p50, 2_500);
        check(summary.p90, 4_500);
        check(summary.p99, 4_950);
        check(summary.p999, 4_995);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let longest = micros[4_999] as f64;
        assert!((summary.max - longest).abs() < 0.1, "the maximum is exact");
    }
}

#[test]
fn nothing_recorded_is_all_zero() {
    let (stats, _) = stats();
    let summary = stats.latencies(Second(0))[0].life.summary();
    assert_eq!(summary.count, 0);
    assert_eq!([summary.p50, summary.p999, summary.max], [0.0; 3]);
}

#[test]
fn the_last_seconds_forget_and_the_life_does_not() {
    let (stats, _) = stats();
    let recorder = stats.recorder();
    record(&recorder, Operation::Confirm, 900, 100);
    record(&recorder, Operation::Confirm, 100, 106);
    let at = |now| {
        let latency = stats.latencies(Second(now)).remove(Operation::Confirm.place());
        (latency.life.summary(), latency.recent.summary())
    };
    let (life, recent) = at(106);
    assert_eq!((life.count, recent.count), (2, 2));
    let (life, recent) = at(110);
    assert_eq!((life.count, recent.count), (2, 1));
    assert_eq!((life.max, recent.max), (900.0, 100.0));
    assert_eq!(at(500).1.count, 0);
}

#[test]
fn a_recorder_that_ends_leaves_its_figures_and_its_memory() {
    let (stats, _) = stats();
    for _ in 0..20 {
        record(&stats.recorder(), Operation::Other, 5, 1);
    }
    assert_eq!(stats.shards().len(), 1);
    let both = (stats.recorder(), stats.recorder());
    assert_eq!(stats.shards().len(), 2);
    drop(both);
    assert_eq!(stats.latencies(Second(1))[Operation::Other.place()].life.summary().count, 20);
}

#[test]
fn the_real_clock_puts_a_request_into_the_last_seconds() {
    // In one second: a thread that waits for ten may find what it recorded forgotten.
    let (stats, now) = loop {
        let (stats, begun) = (Stats::new(), this_second());
        stats.recorder().record(Operation::Hold, Duration::from_micros(3), 201);
        let now = this_second();
        if now == begun {
            break (stats, now);
        }
    };
    assert_eq!(stats.latencies(now)[0].recent.summary().count, 1);
    assert_eq!(stats.responses(), [0, 1, 0, 0, 0]);
}

#[test]
fn totals_agree_once_nothing_is_in_flight_and_never_overshoot() {
    let stats = Stats::new();
    std::thread::scope(|scope| {
        let worker = || {
            for number in 0..20_000 {
                stats.booking_admitted();
                if number % 3 == 0 {
                    stats.booking_failed();
                } else {
                    stats.booking_succeeded();
                }
            }
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        while workers.iter().any(|worker| !worker.is_finished()) {
            let Bookings { admitted, succeeded, failed } = stats.bookings();
            assert!(succeeded + failed <= admitted);
            assert!(admitted <= succeeded + failed + 40_000);
        }
    });
    let expected = Bookings { admitted: 40_000, succeeded: 26_666, failed: 13_334 };
    assert_eq!(stats.bookings(), expected);
}

#[test]
fn connections_are_counted() {
    let (stats, _) = stats();
    for _ in 0..3 {
        stats.connection_opened();
    }
    stats.connection_closed();
    stats.connection_refused();
    assert_eq!(stats.connections(), Connections { open: 2, opened: 3, refused: 1 });
}

#[test]
fn the_document_has_the_shape_of_the_contract() {
    let (stats, clock) = stats();
    for _ in 0..1_250 {
        stats.booking_admitted();
    }
    for _ in 0..1_180 {
        stats.booking_succeeded();
    }
    for _ in 0..70 {
        stats.booking_failed();
    }
    clock.advance(Duration::from_secs(3_600));
    let recorder = stats.recorder();
    record(&recorder, Operation::Hold, 150, 9);
    let document = document::render(&figures(&stats, 9));
    let contract = serde_json::json!({
        "total_requests": 1250, "successful_bookings": 1180, "failed_bookings": 70,
        "queue_length": 5, "uptime_seconds": 3600, "requests_per_second": 0.35,
        "lock_stats": {"total_locks": 45, "active_locks": 40, "expired_locks": 5},
        "queue_stats": {
            "queue_0": {"length": 2, "capacity": 100},
            "queue_1": {"length": 1, "capacity": 100},
            "queue_2": {"length": 2, "capacity": 100},
            "total_queues": 3, "total_pending": 5,
        },
        "mirror": {"state": "off"},
    });
    for (member, expected) in contract.as_object().unwrap() {
        assert_eq!(&document[member], expected, "{member}");
    }
    let hold = &document["latency"]["hold"];
    for window in ["life", "last_10_seconds"] {
        assert_eq!(hold[window]["count"], 1);
        for member in ["p50", "p90", "p99", "p99.9", "max"] {
            assert_eq!(hold[window][member], 150.0, "{member}");
        }
    }
    for operation in Operation::ALL {
        assert!(document["latency"][operation.name()]["life"]["p99.9"].is_f64());
    }
    assert_eq!(document["wal"]["unsynced_bytes"], 200);
    assert_eq!(document["wal"]["sync_time_mean"], 500);
    assert!(document["wal"]["poisoned"].is_null());
    assert!(document["memory"]["anonymous_bytes"].as_u64().unwrap() > 0);
    assert_eq!(document["responses"]["2xx"], 1);
}

#[test]
fn the_rate_is_zero_before_any_time_has_passed() {
    let (stats, _) = stats();
    stats.booking_admitted();
    assert_eq!(figures(&stats, 0).requests_per_second(), 0.0);
}

#[test]
fn the_metrics_are_well_formed() {
    let (stats, clock) = stats();
    clock.advance(Duration::from_millis(1_500));
    let recorder = stats.recorder();
    for micros in [40, 70, 700, 20_000_000] {
        record(&recorder, Operation::Hold, micros, 1);
    }
    stats.booking_admitted();
    stats.booking_succeeded();
    let text = metrics::render(figures(&stats, 1));
    for line in [
        "# TYPE booking_requests counter",
        "booking_requests_total{outcome=\"succeeded\"} 1",
        "booking_requests_admitted_total 1",
        "# UNIT booking_request_duration_seconds seconds",
        "booking_request_duration_seconds_bucket{le=\"0.00005\",operation=\"hold\"} 1",
        "booking_request_duration_seconds_bucket{le=\"0.0001\",operation=\"hold\"} 2",
        "booking_request_duration_seconds_bucket{le=\"0.001\",operation=\"hold\"} 3",
        "booking_request_duration_seconds_bucket{le=\"10.0\",operation=\"hold\"} 3",
        "booking_request_duration_seconds_bucket{le=\"+Inf\",operation=\"hold\"} 4",
        "booking_request_duration_seconds_count{operation=\"hold\"} 4",
        "booking_request_duration_seconds_sum{operation=\"hold\"} 20.00081",
        "booking_responses_total{class=\"2xx\"} 4",
        "booking_lane_length{lane=\"1\"} 1",
        "booking_ticket_locks{state=\"expired\"} 5",
        "booking_wal_lsn_bytes{mark=\"durable\"} 100",
        "booking_wal_refused_total{reason=\"no_room\"} 3",
        "booking_wal_sync_time_seconds_total 0.002",
        "booking_uptime_seconds 1.5",
        "process_start_time_seconds 1700000000.0",
    ] {
        assert!(text.lines().any(|told| told == line), "no line {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let types = text.lines().filter(|line| line.starts_with("# TYPE "));
    let mut names: Vec<&str> = types.filter_map(|line| line.split(' ').nth(2)).collect();
    let told = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), told, "a name told twice");
}

#[test]
fn the_line_is_one_line_with_the_same_figures() {
    let (stats, _) = stats();
    stats.booking_admitted();
    record(&stats.recorder(), Operation::Cancel, 250, 1);
    let lines = crate::telemetry::captured(crate::config::LogFormat::Json, || {
        line::write_for_test(&figures(&stats, 1));
    });
    assert_eq!(lines.len(), 1);
    let told: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let fields = &told["fields"];
    assert_eq!(fields["message"], "statistics");
    assert_eq!(fields["total_requests"], 1);
    assert_eq!(fields["active_locks"], 40);
    assert_eq!(fields["wal_unsynced_bytes"], 200);
    let latency = "cancel(count=1 p50=250 p90=250 p99=250 p99.9=250 max=250)";
    assert_eq!(fields["latency"], latency);
}
