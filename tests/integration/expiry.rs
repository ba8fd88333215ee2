//! A hold ends exactly at its deadline, whoever does or does not look.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Call, Client, Reply, Server, Settings, Shared, Show, World, fresh_uuid, millis, now, sweep,
    unix_millis, wait_until,
};

fn short_holds() -> Settings {
    Settings::new().hold_ttl_seconds(1)
}

/// A server with short holds for tests that mind no neighbours.
fn shared_short_holds() -> &'static Server {
    static SHARED: Shared = Shared::new();
    SHARED.get(short_holds)
}

/// Waits until the moment that the booking itself names as its deadline has passed.
#[track_caller]
fn wait_past_deadline(booking: &Value) {
    const CLOCKS_APART_MILLIS: i64 = 30;
    let deadline = millis(&booking["expires_at"]) + CLOCKS_APART_MILLIS;
    // In case that this machine's clock was set forward, as the server's is not.
    let left = booking["expires_in_ms"].as_u64().map(Duration::from_millis).expect("a span");
    let start = now();
    wait_until(Duration::from_secs(10), "the deadline has passed", || {
        unix_millis() >= deadline && start.elapsed() >= left
    });
}

/// Books all tickets of a show and confirms in time, which a client that is kept waiting may have to
/// try again; gives the answer to the booking.
#[track_caller]
fn confirmed(client: &Client, user: &str, show: &Show) -> Reply {
    let mut made = client.book(user, &show.id, &show.tickets).expect(201);
    wait_until(Duration::from_secs(60), "a hold is confirmed in time", || {
        let reply = client.confirm(made.str("booking_id"), user);
        if reply.status == 200 {
            return true;
        }
        reply.expect_refusal(409, "booking_expired");
        assert!(unix_millis() >= millis(&made.json["expires_at"]), "refused before its deadline");
        made = client.book(user, &show.id, &show.tickets).expect(201);
        false
    });
    made
}

/// A lapsed hold of all tickets of a show of so many seats.
fn lapsed(client: &Client, seats: usize) -> (Show, String, String) {
    let show = client.create_show(seats);
    let user = client.create_user();
    let made = client.book(&user, &show.id, &show.tickets).expect(201);
    wait_past_deadline(&made.json);
    (show, user, made.str("booking_id").to_owned())
}

#[test]
fn a_lapsed_hold_cannot_be_confirmed() {
    let server = shared_short_holds();
    let (show, user, booking) = lapsed(server, 2);
    server.confirm(&booking, &user).expect_refusal(409, "booking_expired");
    assert_eq!(server.booking(&booking).expect(200).str("status"), "expired");
    let event = server.event(&show.id).expect(200).json;
    assert_eq!(event["sold"], 0, "refused, yet sold: {event}");
    assert_eq!(event["available"], 2, "{event}");
}

#[test]
fn a_lapsed_hold_is_free_to_others_at_once() {
    let server = short_holds().durability("os").start();
    let (show, user, booking) = lapsed(&server, 2);
    confirmed(&server, &server.create_user(), &show);
    server.confirm(&booking, &user).expect_refusal(409, "booking_expired");
    let cancelled = server.cancel(&booking, &user);
    assert_eq!(cancelled.status / 100, 4, "nothing is left to cancel");
    assert_eq!(server.event(&show.id).expect(200).json["sold"], 2);
}

#[test]
fn everything_read_after_the_deadline_agrees_that_the_hold_is_over() {
    let server = short_holds().start();
    let (show, user, booking) = lapsed(&server, 3);
    assert_eq!(server.booking(&booking).expect(200).str("status"), "expired");
    assert_eq!(server.bookings_of(&user)[0]["status"], "expired");
    for ticket in server.tickets(&show.id) {
        assert_eq!(ticket["status"], "available", "{ticket}");
    }
    let world = World { users: vec![user], shows: vec![show] };
    sweep(&server, &world);
}

#[test]
fn the_list_of_available_tickets_has_those_of_a_lapsed_hold() {
    let server = shared_short_holds();
    let (show, ..) = lapsed(server, 3);
    let path = format!("/api/events/{}/tickets/available", show.id);
    assert_eq!(server.get(&path).expect(200).array().len(), 3);
}

#[test]
fn a_confirmed_booking_outlives_its_deadline() {
    let server = short_holds().durability("os").start();
    let show = server.create_show(1);
    let made = confirmed(&server, &server.create_user(), &show);
    wait_past_deadline(&made.json);
    assert_eq!(server.booking(made.str("booking_id")).expect(200).str("status"), "confirmed");
    server
        .book(&server.create_user(), &show.id, &show.tickets)
        .expect_refusal(409, "seats_unavailable");
}

#[test]
fn a_user_whose_holds_have_lapsed_may_book_and_may_go() {
    let server = shared_short_holds();
    let (show, user, booking) = lapsed(server, 1);
    let again = server.book(&user, &show.id, &show.tickets).expect(201);
    assert_ne!(again.str("booking_id"), booking, "a new hold is a new booking");
    wait_past_deadline(&again.json);
    server.delete(&format!("/api/users/{user}")).expect(204);
}

#[test]
fn a_hold_says_how_long_it_lasts() {
    let server = shared_short_holds();
    let show = server.create_show(1);
    let user = server.create_user();
    let made = server.book(&user, &show.id, &show.tickets).expect(201);
    let left = made.json["expires_in_ms"].as_u64().expect("expires_in_ms");
    assert!(left <= 1_000, "{left} ms left of a second");
}

#[test]
fn many_holds_that_lapse_together_are_all_free() {
    let server = short_holds().start();
    let show = server.create_show(400);
    let users = server.create_users(4);
    let mut last = Value::Null;
    for (index, ticket) in show.tickets.iter().enumerate() {
        let user = &users[index % users.len()];
        let made = server.book(user, &show.id, &[ticket]).expect(201);
        last = made.json;
    }
    wait_past_deadline(&last);
    assert_eq!(server.event(&show.id).expect(200).json["available"], 400);
    let next = server.create_user();
    for tickets in show.tickets.chunks(50) {
        server.hold(&next, &show.id, tickets);
    }
    for user in &users {
        let bookings = server.bookings_of(user);
        assert!(bookings.iter().all(|b| b["status"] == "expired"));
    }
}

#[test]
fn the_locks_of_lapsed_holds_are_swept_in_the_end() {
    let server = short_holds().start();
    lapsed(&server, 50);
    wait_until(Duration::from_secs(30), "lapsed holds are swept", || {
        let stats = server.stats();
        let locks = &stats["lock_stats"];
        locks["active_locks"] == 0 && locks["expired_locks"] == 0
    });
}

#[test]
fn a_hold_lapses_while_the_server_is_down() {
    let mut server = short_holds().start();
    let show = server.create_show(2);
    let user = server.create_user();
    let call = Call::book(&user, &show.id, &show.tickets).key(&fresh_uuid());
    let made = server.send(&call).expect(201);
    server.kill9();
    wait_past_deadline(&made.json);
    server.restart();
    let booking = made.str("booking_id");
    assert_eq!(server.booking(booking).expect(200).str("status"), "expired");
    server.confirm(booking, &user).expect_refusal(409, "booking_expired");
    server.hold(&server.create_user(), &show.id, &show.tickets);
    let again = server.send(&call).expect(201);
    assert_eq!(again.json, made.json, "the first success again");
}

#[test]
fn a_restart_neither_shortens_nor_lengthens_a_hold() {
    let mut server = Settings::new().hold_ttl_seconds(600).start();
    let show = server.create_show(1);
    let user = server.create_user();
    let made = server.book(&user, &show.id, &show.tickets).expect(201);
    server.kill9();
    server.restart();
    let read = server.booking(made.str("booking_id")).expect(200);
    assert_eq!(read.str("status"), "pending");
    assert_eq!(read.str("expires_at"), made.str("expires_at"));
}
