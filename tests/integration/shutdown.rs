//! SIGTERM: what was accepted is kept, what was begun is answered, and the process ends well.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    Call, Holds, Load, Raw, Server, Settings, World, event_body, now, observe_for, recovered_state,
    stopped_state, sweep, wait_until,
};

const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Sends SIGTERM and waits until the server takes no new requests.
fn begin_to_drain(server: &Server) {
    server.send_sigterm();
    wait_until(DRAIN_LIMIT, "the server takes no new requests", || !server.is_ready());
}

#[test]
fn everything_accepted_before_sigterm_is_there_afterwards() {
    let mut server = Settings::new().start();
    let world = World::create(&server, 8, 100);
    for round in 0..3 {
        let load = Load::start(&server, &world, 8, 3, round);
        observe_for(Duration::from_millis(400));
        let status = server.terminate();
        assert_eq!(status.code(), Some(0), "SIGTERM is a clean end");
        let report = load.join();
        server.restart();
        report.ledger.check(&server, &world, Holds::Last);
        report.ledger.check_replays(&server, 50);
        sweep(&server, &world);
    }
}

#[test]
fn the_state_is_the_same_before_and_after_a_restart() {
    let mut server = Settings::new().start();
    let world = World::create(&server, 3, 12);
    let load = Load::start(&server, &world, 3, 2, 7);
    observe_for(Duration::from_millis(300));
    load.stop();
    for _ in 0..2 {
        let status = server.terminate();
        assert_eq!(status.code(), Some(0), "SIGTERM is a clean end");
        let at_the_end = stopped_state(&server);
        server.restart();
        assert_eq!(recovered_state(&server), at_the_end, "replayed to another state");
        server.create_user();
    }
}

#[test]
fn a_request_that_was_begun_is_answered() {
    let mut server = Settings::new().start();
    let show = server.create_show(2);
    let user = server.create_user();
    let body =
        json!({"user_id": user, "event_id": show.id, "ticket_ids": show.tickets}).to_string();
    let mut connection = Raw::connect(server.address());
    connection.send(format!(
        "POST /api/bookings HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    ));
    assert_eq!(connection.reply().status, 100, "the server asks for the body");
    begin_to_drain(&server);
    let reply = connection.send(body).reply();
    assert!(
        matches!(reply.status, 201 | 503),
        "begun before SIGTERM and answered {}",
        reply.status
    );
    assert_eq!(server.wait_for_exit().code(), Some(0));
    server.restart();
    let bookings = server.bookings_of(&user);
    if reply.status == 201 {
        assert_eq!(bookings[0]["id"], reply.json()["booking_id"]);
    }
    assert_eq!(bookings.len(), usize::from(reply.status == 201));
}

#[test]
fn a_list_that_was_begun_is_sent_to_its_end() {
    const SEATS: usize = 100_000;
    let mut server = Settings::new().start();
    let made =
        server.send(&Call::new("POST", "/api/events").json(&event_body(SEATS, 100))).expect(201);
    let mut connection = Raw::connect(server.address());
    connection.get(&format!("/api/events/{}/tickets", made.str("event_id")));
    connection.wait_for_first_byte();
    begin_to_drain(&server);
    let reply = connection.reply();
    let listed = reply.body.iter().filter(|&&byte| byte == b'{').count();
    assert_eq!(listed, SEATS, "the list was cut short");
    assert_eq!(server.wait_for_exit().code(), Some(0));
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let mut server = Settings::new().start();
    let mut idle: Vec<Raw> = (0..10).map(|_| Raw::connect(server.address())).collect();
    for connection in &mut idle[..5] {
        assert_eq!(connection.get("/livez").reply().status, 200);
    }
    let start = now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(start.elapsed() < DRAIN_LIMIT, "took {:?}", start.elapsed());
}
