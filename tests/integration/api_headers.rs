//! What every answer carries besides its body.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Call, Client, Reply, Settings, fresh_email, fresh_uuid, shared, together, wait_until,
};

#[test]
fn a_request_id_is_echoed_or_made() {
    let client = shared();
    for path in ["/health", "/api/events?limit=1", "/api/nothing"] {
        let echoed = client.send(&Call::get(path).header("x-request-id", "trace-42"));
        assert_eq!(echoed.header("x-request-id"), Some("trace-42"), "{path}");
        let (one, other) = (client.get(path), client.get(path));
        let made = |reply: &Reply| reply.header("x-request-id").map(str::to_owned);
        assert!(made(&one).is_some_and(|id| !id.is_empty()), "{path}: no id");
        assert_ne!(made(&one), made(&other), "{path}: one id for two requests");
    }
}

#[test]
fn every_answer_carries_a_log_position() {
    let client = shared();
    let nobody = fresh_uuid();
    let paths = [
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/api/events?limit=1",
        "/api/bookings/stats",
        "/api/nothing",
        &format!("/api/users/{nobody}"),
    ];
    for path in paths {
        client.get(path).log_position();
    }
    client.delete("/api/events").expect(405).log_position();
    let malformed = Call::new("POST", "/api/users").json("{");
    client.send(&malformed).expect(400).log_position();
}

#[test]
fn log_positions_of_writes_grow() {
    let client = shared();
    let mut last = 0;
    let mut grown = |reply: Reply| {
        let position = reply.log_position();
        assert!(
            position > last,
            "{} stands at {position}, the write before at {last}",
            reply.asked
        );
        last = position;
    };
    let show = client.create_show(2);
    let user = client.create_user();
    for ticket in &show.tickets {
        let booked = client.book(&user, &show.id, &[ticket]).expect(201);
        let id = booked.str("booking_id").to_owned();
        grown(booked);
        grown(client.confirm(&id, &user).expect(200));
    }
    let body = json!({"email": fresh_email(), "name": "Later"});
    grown(client.post("/api/users", &body).expect(201));
}

#[test]
fn a_read_stands_no_earlier_than_the_write_it_shows() {
    let client = shared();
    let show = client.create_show(1);
    let user = client.create_user();
    let booked = client.book(&user, &show.id, &show.tickets).expect(201);
    let read = client.booking(booked.str("booking_id")).expect(200);
    assert!(read.log_position() >= booked.log_position());
}

#[test]
fn a_full_lane_says_when_to_come_back() {
    let server = Settings::new().one_lane_of(1).start();
    let mut refused = None;
    wait_until(Duration::from_secs(20), "a full lane refuses", || {
        let show = server.create_show(64);
        let users = server.create_users(16);
        let client = server.client();
        let replies = together(16, |number| {
            client.book(&users[number], &show.id, &show.tickets[number..=number])
        });
        refused = replies.into_iter().find(|reply| reply.status == 503);
        refused.is_some()
    });
    let refused = refused.unwrap().expect_refusal(503, "overloaded");
    assert_eq!(refused.json["retryable"], true);
    let after = refused.header("retry-after").expect("a 503 has Retry-After");
    assert!(after.parse::<u32>().is_ok(), "Retry-After is {after:?}");
}

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

fn preflight(origin: &str) -> Call {
    Call::new("OPTIONS", "/api/bookings")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,idempotency-key")
}

fn simple(origin: &str) -> Call {
    Call::get("/api/events?limit=1").header("origin", origin)
}

/// The preflight and a simple request of this origin must both be allowed.
#[track_caller]
fn expect_allowed(client: &Client, origin: &str) {
    let reply = client.send(&preflight(origin));
    assert!(matches!(reply.status, 200 | 204), "preflight: {}", reply.status);
    let methods = reply.header("access-control-allow-methods");
    assert!(
        methods.is_some_and(|methods| methods.contains("POST")),
        "POST is not allowed: {methods:?}"
    );
    let headers = reply.header("access-control-allow-headers");
    let headers = headers.unwrap_or_default().to_ascii_lowercase();
    assert!(
        headers.contains("content-type") && headers.contains("idempotency-key"),
        "the headers are not allowed: {headers:?}"
    );
    for reply in [reply, client.send(&simple(origin)).expect(200)] {
        let allowed = reply.header(ALLOW_ORIGIN);
        assert!(
            allowed == Some(origin) || allowed == Some("*"),
            "{}: {allowed:?} is allowed, not {origin}",
            reply.asked
        );
    }
}

#[track_caller]
fn expect_not_allowed(client: &Client, origin: &str) {
    for call in [preflight(origin), simple(origin)] {
        let reply = client.send(&call);
        assert_eq!(
            reply.header(ALLOW_ORIGIN),
            None,
            "{}: {origin} must not be allowed",
            reply.asked
        );
    }
}

#[test]
fn other_origins_are_not_allowed_unless_configured() {
    expect_not_allowed(shared(), "https://shop.example");
}

#[test]
fn configured_origins_are_allowed_and_no_others() {
    let origins = "https://shop.example,https://admin.example";
    let server = Settings::new().env("CORS_ALLOWED_ORIGINS", origins).start();
    expect_allowed(&server, "https://shop.example");
    expect_allowed(&server, "https://admin.example");
    expect_not_allowed(&server, "https://evil.example");
    expect_not_allowed(&server, "https://shop.example.evil.example");
}

#[test]
fn every_origin_is_allowed_by_a_star() {
    let server = Settings::new().env("CORS_ALLOWED_ORIGINS", "*").start();
    expect_allowed(&server, "https://anything.example");
}
