//! The statistics, the metrics and the health.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Server, Settings, World, fresh_uuid, shared, wait_until};

#[track_caller]
fn number(stats: &Value, pointer: &str) -> u64 {
    let found = stats.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no count {pointer} in {stats}"))
}

/// Three bookings of two tickets each (one held, one confirmed, one cancelled) and one refusal.
fn server_with_some_history() -> (Server, World) {
    let server = Settings::new().start();
    let world = World::create(&server, 2, 8);
    let (user, show) = (world.users[0].clone(), world.show().clone());
    server.hold(&user, &show.id, &show.tickets[..2]);
    let bought = server.hold(&user, &show.id, &show.tickets[2..4]);
    let given_back = server.hold(&user, &show.id, &show.tickets[4..6]);
    server.confirm(&bought, &user).expect(200);
    server.cancel(&given_back, &user).expect(200);
    let other = &world.users[1];
    server.book(other, &show.id, &show.tickets[..1]).expect(409);
    (server, world)
}

#[test]
fn the_statistics_keep_their_shape() {
    let stats = shared().stats();
    for name in [
        "/total_requests",
        "/successful_bookings",
        "/failed_bookings",
        "/queue_length",
        "/uptime_seconds",
        "/lock_stats/total_locks",
        "/lock_stats/active_locks",
        "/lock_stats/expired_locks",
        "/queue_stats/total_queues",
        "/queue_stats/total_pending",
    ] {
        number(&stats, name);
    }
    assert!(stats["requests_per_second"].is_number(), "{stats}");
    assert_eq!(number(&stats, "/queue_stats/total_queues"), 3);
    for queue in 0..3 {
        number(&stats, &format!("/queue_stats/queue_{queue}/length"));
        let capacity = number(&stats, &format!("/queue_stats/queue_{queue}/capacity"));
        assert_eq!(capacity, 1_024, "the default capacity");
    }
    assert!(stats["latency"].is_object(), "no latency: {stats}");
    assert!(stats["wal"].is_object(), "no wal: {stats}");
    for added in ["mirror", "memory"] {
        assert!(stats.get(added).is_some(), "no {added}: {stats}");
    }
}

#[test]
fn the_statistics_count_every_booking_request_once() {
    let (server, world) = server_with_some_history();
    let stats = server.settled_stats();
    assert_eq!(number(&stats, "/total_requests"), 4, "{stats}");
    assert_eq!(number(&stats, "/successful_bookings"), 3, "{stats}");
    assert_eq!(number(&stats, "/failed_bookings"), 1, "{stats}");
    assert_eq!(number(&stats, "/queue_length"), 0, "{stats}");
    assert_eq!(number(&stats, "/queue_stats/total_pending"), 0, "{stats}");
    let show = world.show();
    server.book(&world.users[0], &show.id, &[fresh_uuid()]).expect(422);
    server.book(&fresh_uuid(), &show.id, &show.tickets).expect(404);
    let stats = server.settled_stats();
    assert_eq!(number(&stats, "/successful_bookings"), 3, "{stats}");
}

#[test]
fn the_statistics_count_the_tickets_under_a_hold() {
    let (server, _) = server_with_some_history();
    let stats = server.settled_stats();
    assert_eq!(number(&stats, "/lock_stats/active_locks"), 2, "{stats}");
    assert_eq!(number(&stats, "/lock_stats/expired_locks"), 0, "{stats}");
}

#[test]
fn lanes_are_as_many_and_as_long_as_configured() {
    let settings = Settings::new().env("QUEUE_COUNT", 5).env("QUEUE_CAPACITY", 7);
    let stats = settings.start().stats();
    assert_eq!(number(&stats, "/queue_stats/total_queues"), 5);
    for queue in 0..5 {
        let capacity = number(&stats, &format!("/queue_stats/queue_{queue}/capacity"));
        assert_eq!(capacity, 7);
    }
}

#[test]
fn the_uptime_grows() {
    let before = number(&shared().stats(), "/uptime_seconds");
    wait_until(Duration::from_secs(60), "a second of uptime passes", || {
        number(&shared().stats(), "/uptime_seconds") > before
    });
}

#[test]
fn the_metrics_are_prometheus_text() {
    let client = shared();
    client.create_show(1);
    let reply = client.get("/metrics").expect(200);
    let mut samples = 0;
    for line in reply.text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        samples += 1;
        let (series, value) = line.rsplit_once(' ').expect("series and value");
        let sound = value.parse::<f64>().is_ok() || value.trim_start_matches('+') == "Inf";
        assert!(sound, "not a number: {line}");
        let name = series.split('{').next().unwrap_or_default();
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(!name.is_empty() && name.chars().all(letter), "not a metric's name: {line}");
        assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
    }
    assert!(samples > 5, "hardly any metrics:\n{}", reply.text);
}

#[test]
fn a_healthy_server_says_so() {
    let client = shared();
    let health = client.get("/health").expect(200);
    assert_eq!(health.str("status"), "healthy");
    assert_eq!(health.str("service"), "booking-manager");
    assert!(health.str("timestamp").ends_with('Z'), "{}", health.text);
    let features = health.json["features"].as_array().expect("features");
    for feature in ["concurrent_booking", "ticket_locks", "load_balanced_queues"] {
        assert!(features.iter().any(|f| f == feature), "{}", health.text);
    }
    client.get("/livez").expect(200);
    client.get("/readyz").expect(200);
}
