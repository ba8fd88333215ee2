//! An event of a million seats: quickly made, completely listed, cheaply kept.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::harness::{Call, Server, Settings, event_body, now};

const SEATS: usize = 1_000_000;
const CREATION_LIMIT: Duration = Duration::from_secs(20);
const ANONYMOUS_BYTES_MAX: u64 = 100 * 1_024 * 1_024;

/// Reads the list to its end; every seat must come once and in order.
#[track_caller]
fn count_listed(server: &Server, path: &str) -> usize {
    let mut list = BufReader::with_capacity(256 * 1_024, server.stream(path));
    let mut entry = Vec::with_capacity(512);
    let mut count = 0;
    loop {
        entry.clear();
        list.read_until(b'}', &mut entry).expect("the list goes on");
        if entry.last() != Some(&b'}') {
            assert_eq!(entry, b"]", "the list has an end");
            return count;
        }
        count += 1;
        if count % 1_000 == 1 {
            let text = std::str::from_utf8(&entry[1..]).expect("UTF-8");
            let ticket: serde_json::Value = serde_json::from_str(text).expect("a ticket");
            assert_eq!(ticket["seat_number"], count, "out of order");
        }
    }
}

#[test]
fn an_event_of_a_million_seats_is_made_listed_and_kept_cheaply() {
    // What is timed is the server, not the disk.
    let mut server = Settings::new().durability("os").start();
    let call = Call::new("POST", "/api/events").json(&event_body(SEATS, 7_500));
    let start = now();
    let id = server.send(&call).expect(201).str("event_id").to_owned();
    assert!(start.elapsed() < CREATION_LIMIT, "the creation took {:?}", start.elapsed());
    let event = server.event(&id).expect(200).json;
    assert_eq!(event["available"], SEATS);
    let path = format!("/api/events/{id}/tickets");
    assert_eq!(count_listed(&server, &path), SEATS, "tickets are missing");
    let anonymous = server.anonymous_bytes();
    assert!(anonymous < ANONYMOUS_BYTES_MAX, "{anonymous} bytes for a million tickets");

    let last = server.get(&format!("{path}?limit=3")).expect(200);
    let ticket = last.array()[2]["id"].as_str().expect("an id");
    let booking = server.hold(&server.create_user(), &id, &[ticket]);
    server.kill9();
    server.restart();
    server.booking(&booking).expect(200);
    let event = server.event(&id).expect(200).json;
    assert_eq!(event["available"], SEATS - 1, "after a restart: {event}");
}
