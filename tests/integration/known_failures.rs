//! What other implementations of this API are known to get wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Call, Raw, Reply, Settings, event_body, fresh_email, minor_units, now, shared, together,
    unix_millis, wait_until,
};

#[test]
fn every_id_in_an_answer_can_be_read() {
    let client = shared();
    let body = json!({"email": fresh_email(), "name": "Real"});
    let user = client.post("/api/users", &body).expect(201);
    let user = user.str("user_id");
    client.get(&format!("/api/users/{user}")).expect(200);
    let show = client.create_show(3);
    let listed = client.tickets(&show.id);
    assert!(listed.iter().all(|ticket| ticket["event_id"] == show.id.as_str()));
    for ticket in &show.tickets {
        let booking = client.hold(user, &show.id, &[ticket]);
        let read = client.booking(&booking).expect(200);
        assert_eq!(read.json["ticket_ids"], json!([ticket]));
        let confirmed = client.confirm(&booking, user).expect(200);
        client.booking(confirmed.str("id")).expect(200);
        client.event(confirmed.str("event_id")).expect(200);
    }
    for booking in client.bookings_of(user) {
        client.booking(booking["id"].as_str().unwrap()).expect(200);
    }
}

#[test]
fn a_total_is_the_sum_of_the_tickets_own_prices() {
    let client = shared();
    let user = client.create_user();
    for cents in [1, 999, 4_200, 123_456] {
        let show = client.create_show_at(3, cents);
        let made = client.book(&user, &show.id, &show.tickets).expect(201);
        assert_eq!(minor_units(&made.json["total_amount"]), 3 * cents);
        let listed = client.tickets(&show.id);
        assert!(listed.iter().all(|t| minor_units(&t["price"]) == cents));
    }
}

#[test]
fn a_second_cancel_does_not_free_the_next_owners_seat() {
    let client = shared();
    let show = client.create_show(1);
    let (first, second) = (client.create_user(), client.create_user());
    let given_back = client.hold(&first, &show.id, &show.tickets);
    client.cancel(&given_back, &first).expect(200);
    let taken = client.hold(&second, &show.id, &show.tickets);
    client.cancel(&given_back, &first).expect(200);
    assert_eq!(client.ticket_status(&show.id, &show.tickets[0]), "reserved");
    client.confirm(&taken, &second).expect(200);
    client.cancel(&given_back, &first).expect(200);
    assert_eq!(client.ticket_status(&show.id, &show.tickets[0]), "sold");
}

#[test]
fn a_seat_is_not_sold_again_under_another_events_id() {
    let client = shared();
    let (show, other) = (client.create_show(2), client.create_show(2));
    let (first, second) = (client.create_user(), client.create_user());
    client.hold(&first, &show.id, &show.tickets[..1]);
    for tickets in
        [vec![&show.tickets[0]], vec![&show.tickets[1]], vec![&other.tickets[0], &show.tickets[1]]]
    {
        client.book(&second, &other.id, &tickets).expect_refusal(422, "unknown_tickets");
    }
    assert_eq!(client.event(&other.id).expect(200).json["available"], 2);
    assert_eq!(client.event(&show.id).expect(200).json["available"], 1);
}

#[test]
fn a_seat_is_not_sold_twice_in_one_request() {
    let client = shared();
    let show = client.create_show(2);
    let user = client.create_user();
    let (seat, upper) = (&show.tickets[0], show.tickets[0].to_uppercase());
    for twice in [vec![seat, seat], vec![seat, &upper]] {
        client.book(&user, &show.id, &twice).expect_refusal(422, "duplicate_tickets");
    }
    assert_eq!(client.event(&show.id).expect(200).json["available"], 2);
}

#[test]
fn one_user_does_not_hold_a_seat_in_two_bookings() {
    let client = shared();
    let show = client.create_show(3);
    let user = client.create_user();
    let replies = together(12, |number| {
        let last = 1 + number % 3;
        client.book(&user, &show.id, &show.tickets[..last])
    });
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 201 | 409), "{}", reply.text);
    }
    let mut seats = BTreeSet::new();
    for booking in client.bookings_of(&user) {
        for ticket in booking["ticket_ids"].as_array().expect("ticket_ids") {
            let new = seats.insert(ticket.to_string());
            assert!(new, "the user holds {ticket} in two bookings");
        }
    }
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, client.bookings_of(&user).len());
}

#[test]
fn a_cancelled_seat_that_lists_as_available_can_be_booked() {
    let client = shared();
    let show = client.create_show(1);
    for _ in 0..20 {
        let user = client.create_user();
        let path = format!("/api/events/{}/tickets/available", show.id);
        let free = client.get(&path).expect(200);
        let seat = free.array()[0]["id"].as_str().expect("an id");
        let booking = client.hold(&user, &show.id, &[seat]);
        client.cancel(&booking, &user).expect(200);
    }
}

#[test]
fn holds_are_released_when_they_lapse_and_stay_lapsed() {
    let server = Settings::new().hold_ttl_seconds(1).start();
    let show = server.create_show(1);
    let users = server.create_users(3);
    let mut lapsed: Vec<(String, &String)> = Vec::new();
    for user in &users {
        let mut booking = String::new();
        wait_until(Duration::from_secs(10), "the seat is free again", || {
            let reply = server.book(user, &show.id, &show.tickets);
            assert!(matches!(reply.status, 201 | 409), "{}", reply.text);
            booking = reply.json["booking_id"].as_str().unwrap_or("").to_owned();
            reply.status == 201
        });
        for (old, owner) in &lapsed {
            server.confirm(old, owner).expect_refusal(409, "booking_expired");
        }
        lapsed.push((booking, user));
    }
}

#[test]
fn accepted_bookings_outlive_sigterm() {
    let mut server = Settings::new().start();
    let show = server.create_show(10);
    let user = server.create_user();
    let held: Vec<String> =
        show.tickets.iter().map(|ticket| server.hold(&user, &show.id, &[ticket])).collect();
    server.confirm(&held[0], &user).expect(200);
    assert_eq!(server.terminate().code(), Some(0));
    server.restart();
    for (index, booking) in held.iter().enumerate() {
        let due = if index == 0 { "confirmed" } else { "pending" };
        assert_eq!(server.booking(booking).expect(200).str("status"), due);
    }
}

#[test]
fn a_large_event_is_there_before_its_client_loses_patience() {
    const PATIENCE: Duration = Duration::from_secs(20);
    // What is timed is the server, not the disk.
    let server = Settings::new().durability("os").start();
    let call = Call::new("POST", "/api/events").json(&event_body(50_000, 100));
    let start = now();
    let made = server.send(&call).expect(201);
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    let event = server.event(made.str("event_id")).expect(200).json;
    assert_eq!(event["available"], 50_000);
}

#[test]
fn a_large_event_whose_client_left_is_there_whole_or_not_at_all() {
    let server = Settings::new().start();
    let body = event_body(50_000, 100);
    let request = format!(
        "POST /api/events HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..10 {
        Raw::connect(server.address()).send(&request);
        for event in server.get("/api/events").expect(200).array() {
            assert_eq!(event["available"], 50_000, "half an event: {event}");
        }
    }
    let events = server.get("/api/events").expect(200);
    for event in events.array().iter().take(3) {
        let path = format!("/api/events/{}/tickets", event["id"].as_str().unwrap());
        let listed = server.get(&path).expect(200).text;
        let listed = listed.matches("\"seat_number\"").count();
        assert_eq!(listed, 50_000, "half an event is listed");
    }
    server.create_show(3);
}

#[test]
fn a_new_event_is_listed_at_once() {
    let client = shared();
    for _ in 0..5 {
        let show = client.create_show(1);
        let events = client.get("/api/events").expect(200);
        let listed = events.array().iter().any(|e| e["id"] == show.id.as_str());
        assert!(listed, "a new event is not listed");
    }
}

/// The server's own times must be UTC to the millisecond, and now; the nearest of the zones is four
/// hours away.
#[track_caller]
fn expect_now_in_utc(text: &str) {
    let sound = text.len() == "2027-07-01T20:00:00.000Z".len() && text.ends_with('Z');
    assert!(sound, "not UTC with milliseconds: {text}");
    let time: jiff::Timestamp = text.parse().expect("RFC 3339");
    let apart = (unix_millis() - time.as_millisecond()).abs();
    assert!(apart < 600_000, "{text} is {apart} ms away from UTC");
}

#[test]
fn times_are_utc_whatever_the_time_zone() {
    for zone in ["America/New_York", "Asia/Kolkata", "XYZ-9"] {
        let server = Settings::new().env("TZ", zone).start();
        let show = server.create_show(1);
        let user = server.create_user();
        let booking = server.hold(&user, &show.id, &show.tickets);
        let user = server.get(&format!("/api/users/{user}")).expect(200);
        let event = server.event(&show.id).expect(200);
        let booking = server.booking(&booking).expect(200);
        for reply in [&user, &event, &booking] {
            expect_now_in_utc(reply.str("created_at"));
            expect_now_in_utc(reply.str("updated_at"));
        }
        for ticket in server.tickets(&show.id) {
            expect_now_in_utc(ticket["created_at"].as_str().expect("created_at"));
        }
        expect_now_in_utc(server.get("/health").expect(200).str("timestamp"));
    }
}

#[test]
fn a_clients_mistake_is_never_the_servers() {
    let client = shared();
    let user = json!({"email": fresh_email(), "name": "Twice"});
    client.post("/api/users", &user).expect(201);
    let event = |member: &str, value: Value| {
        let mut body: Value = serde_json::from_str(&event_body(5, 100)).unwrap();
        body[member] = value;
        Call::post("/api/events", &body)
    };
    let mistakes = [
        Call::post("/api/users", &user),
        Call::post("/api/users", &json!({"email": 5, "name": []})),
        event("date", json!("soon")),
        event("date", json!("2027-13-45T99:00:00Z")),
        event("date", json!("")),
        event("total_seats", json!(0)),
        event("total_seats", json!(-5)),
        event("total_seats", json!(2.5)),
        event("total_seats", json!(1e30)),
        event("price", json!(-0.5)),
        Call::get("/api/users/%00"),
        Call::get("/api/events/%F0%9F%8E%AB"),
    ];
    for call in mistakes {
        let reply = client.send(&call);
        assert_eq!(reply.status / 100, 4, "{call:?}: {}", reply.text);
        reply.assert_problem();
    }
}

#[test]
fn a_full_queue_is_overload_and_nothing_else() {
    let server = Settings::new().one_lane_of(1).start();
    let show = server.create_show(8);
    let users = server.create_users(32);
    let client = server.client();
    let replies: Vec<Reply> = together(32, |number| {
        let replies = (0..20).map(|round| {
            let ticket = &show.tickets[(number + round) % 8];
            client.book(&users[number], &show.id, &[ticket])
        });
        replies.collect::<Vec<Reply>>()
    })
    .into_iter()
    .flatten()
    .collect();
    for reply in replies {
        match reply.status {
            200 | 201 => {}
            409 => drop(reply.expect_refusal(409, "seats_unavailable")),
            _ => {
                let after = reply.header("retry-after").is_some();
                reply.expect_refusal(503, "overloaded");
                assert!(after, "a 503 without Retry-After");
            }
        }
    }
    assert_eq!(server.settled_stats()["queue_stats"]["total_pending"], 0);
}

#[test]
fn a_browsers_preflight_is_answered() {
    let server = Settings::new().env("CORS_ALLOWED_ORIGINS", "https://shop.example").start();
    for path in ["/api/bookings", "/api/events", "/api/users"] {
        let preflight = Call::new("OPTIONS", path)
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        let reply = server.send(&preflight);
        assert!(
            matches!(reply.status, 200 | 204),
            "{path}: the preflight was answered {}",
            reply.status
        );
        let allowed = reply.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://shop.example"), "{path}");
    }
}
