//! Events and their tickets.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Call, fresh_uuid, minor_units, shared};

fn concert() -> Value {
    json!({
        "name": "Ode to Joy", "artist": "Ünïted Players", "venue": "Hall \"B\"",
        "date": "2027-07-01T20:00:00+02:00", "total_seats": 3, "price": 75.5
    })
}

#[test]
fn a_new_event_can_be_read_back() {
    let client = shared();
    let asked = concert();
    let made = client.post("/api/events", &asked).expect(201);
    let id = made.str("event_id");
    let location = made.header("location").expect("a 201 has a Location");
    assert!(
        location.ends_with(&format!("/api/events/{id}")),
        "Location leads elsewhere: {location}"
    );
    let read = client.event(id).expect(200);
    assert_eq!(read.str("id"), id);
    for member in ["name", "artist", "venue", "date", "total_seats"] {
        assert_eq!(made.json[member], asked[member], "{member} in the 201");
        assert_eq!(read.json[member], asked[member], "{member} in the event");
    }
    assert_eq!(minor_units(&made.json["price"]), 7_550);
    assert_eq!(minor_units(&read.json["price"]), 7_550);
    assert_eq!(read.str("currency").len(), 3, "an ISO 4217 code");
    assert_eq!(read.json["available"], 3);
    assert_eq!(read.json["reserved"], 0);
    assert_eq!(read.json["sold"], 0);
    assert_eq!(read.str("created_at"), read.str("updated_at"));
}

#[test]
fn an_event_may_name_its_currency() {
    let client = shared();
    let mut asked = concert();
    asked["currency"] = json!("JPY");
    asked["price"] = json!(5000);
    let made = client.post("/api/events", &asked).expect(201);
    let read = client.event(made.str("event_id")).expect(200);
    assert_eq!(read.str("currency"), "JPY");
    assert_eq!(read.json["price"].as_f64(), Some(5000.0));
}

#[test]
fn an_event_may_lie_in_the_past() {
    let client = shared();
    let mut asked = concert();
    asked["date"] = json!("1999-12-31T23:59:59Z");
    let made = client.post("/api/events", &asked).expect(201);
    let read = client.event(made.str("event_id")).expect(200);
    assert_eq!(read.str("date"), "1999-12-31T23:59:59Z");
}

#[test]
fn every_seat_of_a_new_event_is_listed_once_and_in_order() {
    let client = shared();
    let show = client.create_show(250);
    let tickets = client.tickets(&show.id);
    for (index, ticket) in tickets.iter().enumerate() {
        assert_eq!(ticket["seat_number"], index + 1, "seats out of order");
        assert_eq!(ticket["event_id"], show.id.as_str());
        assert_eq!(ticket["status"], "available");
        assert_eq!(minor_units(&ticket["price"]), 7_500);
        assert!(ticket["created_at"].is_string(), "{ticket}");
        assert!(ticket["updated_at"].is_string(), "{ticket}");
    }
    let ids: HashSet<&String> = show.tickets.iter().collect();
    assert_eq!(ids.len(), 250, "two tickets share an id");
}

#[test]
fn an_event_that_was_never_created_is_not_found() {
    let client = shared();
    let nothing = fresh_uuid();
    for path in ["", "/tickets", "/tickets/available"] {
        client.get(&format!("/api/events/{nothing}{path}")).expect_refusal(404, "event_not_found");
    }
}

#[test]
fn a_bad_member_of_an_event_is_refused_and_named() {
    let client = shared();
    let bad = [
        ("total_seats", json!(0)),
        ("total_seats", json!(4_000_000_000_u32)),
        ("price", json!(-1)),
        ("price", json!(1.005)),
        ("date", json!("next Friday")),
        ("date", json!("2027-02-30T20:00:00Z")),
        ("name", json!("")),
        ("currency", json!("XQQ")),
    ];
    for (member, value) in bad {
        let mut asked = concert();
        asked[member] = value;
        let reply = client.post("/api/events", &asked).expect_refusal(422, "validation_failed");
        let errors = reply.json["errors"].as_array().expect("errors");
        let named = errors.iter().any(|error| {
            let pointer = error["pointer"].as_str().unwrap_or_default();
            pointer.contains(member)
        });
        assert!(named, "{member} is not named: {}", reply.text);
    }
}

#[test]
fn all_that_is_wrong_with_an_event_is_said_at_once() {
    let client = shared();
    let mut asked = concert();
    asked["date"] = json!("never");
    asked["total_seats"] = json!(0);
    asked["venue"] = json!(" ");
    let reply = client.post("/api/events", &asked).expect_refusal(422, "validation_failed");
    let errors = reply.json["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 3, "three things are wrong: {}", reply.text);
}

#[test]
fn a_missing_member_of_an_event_is_refused() {
    let client = shared();
    for member in ["name", "artist", "venue", "date", "total_seats", "price"] {
        let mut asked = concert();
        asked.as_object_mut().unwrap().remove(member);
        let reply = client.send(&Call::post("/api/events", &asked));
        assert!(
            reply.status == 422 || reply.status == 400,
            "without {member} the answer was {}: {}",
            reply.status,
            reply.text
        );
        reply.assert_problem();
    }
}
