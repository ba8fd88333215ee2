//! The README's five-minute tour, end to end.

use crate::harness::{Call, Settings, minor_units};

/// Creates a user.
pub(crate) const USER: &str = r#"{"email":"ada@example.com","name":"Ada Lovelace"}"#;
/// Creates an event.
pub(crate) const EVENT: &str = r#"{"name":"Summer Night","artist":"The Analytical Engines","venue":"Royal Albert Hall","date":"2027-07-01T20:00:00Z","total_seats":100,"price":75.00}"#;
/// Books two tickets; the ids are those of the answers before.
pub(crate) const BOOKING: &str =
    r#"{"user_id":"USER_ID","event_id":"EVENT_ID","ticket_ids":["TICKET_1","TICKET_2"]}"#;
/// Confirms (or cancels) the booking.
pub(crate) const CONFIRMATION: &str = r#"{"user_id":"USER_ID"}"#;

#[test]
fn the_five_minute_tour_works_as_written() {
    let client = Settings::new().start();
    let post = |path: &str, body: &str| client.send(&Call::new("POST", path).json(body));

    let user = post("/api/users", USER).expect(201);
    let user_id = user.str("user_id");
    let event = post("/api/events", EVENT).expect(201);
    let event_id = event.str("event_id");

    let tickets =
        client.get(&format!("/api/events/{event_id}/tickets/available?limit=2")).expect(200);
    assert_eq!(tickets.array().len(), 2);
    let ticket = |index: usize| tickets.array()[index]["id"].as_str().expect("an id");

    let booking = BOOKING
        .replace("USER_ID", user_id)
        .replace("EVENT_ID", event_id)
        .replace("TICKET_1", ticket(0))
        .replace("TICKET_2", ticket(1));
    let booked = post("/api/bookings", &booking).expect(201);
    assert_eq!(booked.str("status"), "pending");
    assert_eq!(minor_units(&booked.json["total_amount"]), 15_000);

    let booking_id = booked.str("booking_id");
    let read = client.booking(booking_id).expect(200);
    assert_eq!(read.str("status"), "pending");

    let confirmation = CONFIRMATION.replace("USER_ID", user_id);
    let confirmed = post(&format!("/api/bookings/{booking_id}/confirm"), &confirmation);
    assert_eq!(confirmed.expect(200).str("status"), "confirmed");

    let event = client.event(event_id).expect(200);
    assert_eq!(event.json["sold"], 2);
    assert_eq!(event.json["available"], 98);
    let stats = client.settled_stats();
    assert_eq!(stats["total_requests"], 1, "{stats}");
    assert_eq!(stats["successful_bookings"], 1, "{stats}");
    assert_eq!(client.get("/health").expect(200).str("status"), "healthy");
}

#[test]
fn the_readme_shows_these_bodies() {
    let readme = include_str!("../../README.md");
    for body in [USER, EVENT] {
        assert!(readme.contains(&format!("-d '{body}'")), "the tour does not send {body}");
    }
    let quoted = |body: &str| body.replace('"', "\\\"");
    let booking = quoted(BOOKING)
        .replace("USER_ID", "$USER_ID")
        .replace("EVENT_ID", "$EVENT_ID")
        .replace("TICKET_", "$TICKET_");
    let confirmation = quoted(CONFIRMATION).replace("USER_ID", "$USER_ID");
    for body in [booking, confirmation] {
        assert!(readme.contains(&format!("-d \"{body}\"")), "the tour does not send {body}");
    }
}
