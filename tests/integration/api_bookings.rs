//! Bookings: held, confirmed, cancelled, refused.

use serde_json::Value;

use crate::harness::{Reply, fresh_uuid, minor_units, shared};

fn conflicts(reply: &Reply) -> &Vec<Value> {
    reply.json["conflicts"]
        .as_array()
        .unwrap_or_else(|| panic!("the refusal lists no conflicts: {}", reply.text))
}

#[test]
fn a_booking_says_what_it_is() {
    let client = shared();
    let show = client.create_show(3);
    let user = client.create_user();
    let made = client.book(&user, &show.id, &show.tickets[..2]).expect(201);
    assert_eq!(made.str("status"), "pending");
    assert_eq!(minor_units(&made.json["total_amount"]), 15_000);
    let left = made.json["expires_in_ms"].as_u64().expect("expires_in_ms");
    assert!((1..=600_000).contains(&left), "{left} ms of 10 minutes");
    let id = made.str("booking_id");
    let location = made.header("location").expect("a 201 has a Location");
    assert!(
        location.ends_with(&format!("/api/bookings/{id}")),
        "Location leads elsewhere: {location}"
    );
    let read = client.booking(id).expect(200);
    assert_eq!(read.str("id"), id);
    assert_eq!(read.str("user_id"), user);
    assert_eq!(read.str("event_id"), show.id);
    assert_eq!(read.str("status"), "pending");
    assert_eq!(read.str("expires_at"), made.str("expires_at"));
    assert_eq!(minor_units(&read.json["total_amount"]), 15_000);
    assert_eq!(read.str("currency").len(), 3);
    assert_eq!(read.json["ticket_ids"].as_array().map(Vec::len), Some(2));
    let time = |name| read.str(name).parse::<jiff::Timestamp>().unwrap();
    let held_for = time("expires_at").duration_since(time("created_at"));
    assert_eq!(held_for.as_millis(), 600_000, "the default hold");
}

#[test]
fn a_confirmed_booking_sells_its_tickets() {
    let client = shared();
    let show = client.create_show(2);
    let user = client.create_user();
    let id = client.hold(&user, &show.id, &show.tickets[..1]);
    assert_eq!(client.ticket_status(&show.id, &show.tickets[0]), "reserved");
    let confirmed = client.confirm(&id, &user).expect(200);
    assert_eq!(confirmed.str("status"), "confirmed");
    assert_eq!(confirmed.str("id"), id);
    assert_eq!(client.booking(&id).expect(200).json, confirmed.json);
    assert_eq!(client.ticket_status(&show.id, &show.tickets[0]), "sold");
    assert_eq!(client.ticket_status(&show.id, &show.tickets[1]), "available");
    let event = client.event(&show.id).expect(200).json;
    assert_eq!(event["sold"], 1);
    assert_eq!(event["available"], 1);
}

#[test]
fn a_cancelled_booking_gives_its_tickets_back() {
    let client = shared();
    let show = client.create_show(2);
    let (first, second) = (client.create_user(), client.create_user());
    let id = client.hold(&first, &show.id, &show.tickets);
    let cancelled = client.cancel(&id, &first).expect(200);
    assert_eq!(cancelled.str("status"), "cancelled");
    assert_eq!(client.event(&show.id).expect(200).json["available"], 2);
    client.hold(&second, &show.id, &show.tickets);
    assert_eq!(client.booking(&id).expect(200).str("status"), "cancelled");
}

#[test]
fn a_booking_takes_all_its_tickets_or_none() {
    let client = shared();
    let show = client.create_show(6);
    let (first, second) = (client.create_user(), client.create_user());
    let sold = client.hold(&first, &show.id, &show.tickets[1..2]);
    client.confirm(&sold, &first).expect(200);
    client.hold(&first, &show.id, &show.tickets[3..5]);
    let refused =
        client.book(&second, &show.id, &show.tickets).expect_refusal(409, "seats_unavailable");
    let mut found: Vec<(u64, &str, &str)> = conflicts(&refused)
        .iter()
        .map(|conflict| {
            assert!(
                conflict["held_by_you"] != true && conflict["booking_id"].is_null(),
                "a stranger's booking is not the asker's business: {conflict}"
            );
            let seat = conflict["seat_number"].as_u64().unwrap_or_default();
            let text = |name: &str| conflict[name].as_str().unwrap_or_default();
            (seat, text("status"), text("ticket_id"))
        })
        .collect();
    found.sort_unstable();
    let tickets = &show.tickets;
    let due = [
        (2, "sold", tickets[1].as_str()),
        (4, "reserved", tickets[3].as_str()),
        (5, "reserved", tickets[4].as_str()),
    ];
    assert_eq!(found, due, "every taken ticket is listed, and no other");
    assert_eq!(client.event(&show.id).expect(200).json["available"], 3);
}

#[test]
fn the_same_set_again_is_the_same_booking() {
    let client = shared();
    let show = client.create_show(3);
    let user = client.create_user();
    let first = client.book(&user, &show.id, &show.tickets).expect(201);
    let mut turned = show.tickets.clone();
    turned.reverse();
    for tickets in [&show.tickets, &turned] {
        let again = client.book(&user, &show.id, tickets).expect(200);
        assert_eq!(again.str("booking_id"), first.str("booking_id"));
        assert_eq!(again.str("expires_at"), first.str("expires_at"));
        assert_eq!(again.str("status"), "pending");
    }
    assert_eq!(client.bookings_of(&user).len(), 1);
}

#[test]
fn an_overlap_with_ones_own_booking_is_named() {
    let client = shared();
    let show = client.create_show(3);
    let user = client.create_user();
    let id = client.hold(&user, &show.id, &show.tickets[..2]);
    for tickets in [&show.tickets[..1], &show.tickets[1..], &show.tickets[..]] {
        let refused =
            client.book(&user, &show.id, tickets).expect_refusal(409, "seats_unavailable");
        for conflict in conflicts(&refused) {
            assert_eq!(conflict["held_by_you"], true, "{conflict}");
            assert_eq!(conflict["booking_id"], id.as_str(), "{conflict}");
        }
    }
}

#[test]
fn the_same_set_again_after_confirmation_is_refused() {
    let client = shared();
    let show = client.create_show(1);
    let user = client.create_user();
    let id = client.hold(&user, &show.id, &show.tickets);
    client.confirm(&id, &user).expect(200);
    let refused =
        client.book(&user, &show.id, &show.tickets).expect_refusal(409, "seats_unavailable");
    assert_eq!(conflicts(&refused)[0]["status"], "sold");
}

#[test]
fn confirming_and_cancelling_are_the_owners_alone() {
    let client = shared();
    let show = client.create_show(1);
    let (owner, other) = (client.create_user(), client.create_user());
    let id = client.hold(&owner, &show.id, &show.tickets);
    client.confirm(&id, &other).expect_refusal(403, "not_your_booking");
    client.cancel(&id, &other).expect_refusal(403, "not_your_booking");
    assert_eq!(client.booking(&id).expect(200).str("status"), "pending");
}

#[test]
fn what_happened_to_a_booking_can_be_asked_for_again() {
    let client = shared();
    let show = client.create_show(2);
    let user = client.create_user();
    let bought = client.hold(&user, &show.id, &show.tickets[..1]);
    let first = client.confirm(&bought, &user).expect(200);
    assert_eq!(client.confirm(&bought, &user).expect(200).json, first.json);
    let given_back = client.hold(&user, &show.id, &show.tickets[1..]);
    let first = client.cancel(&given_back, &user).expect(200);
    assert_eq!(client.cancel(&given_back, &user).expect(200).json, first.json);
}

#[test]
fn the_end_of_a_booking_is_final() {
    let client = shared();
    let show = client.create_show(2);
    let user = client.create_user();
    let bought = client.hold(&user, &show.id, &show.tickets[..1]);
    client.confirm(&bought, &user).expect(200);
    client.cancel(&bought, &user).expect_refusal(409, "already_confirmed");
    let given_back = client.hold(&user, &show.id, &show.tickets[1..]);
    client.cancel(&given_back, &user).expect(200);
    client.confirm(&given_back, &user).expect_refusal(409, "booking_cancelled");
    assert_eq!(client.event(&show.id).expect(200).json["sold"], 1);
}

#[test]
fn a_booking_that_was_never_made_is_not_found() {
    let client = shared();
    let user = client.create_user();
    let nothing = fresh_uuid();
    let refusals =
        [client.booking(&nothing), client.confirm(&nothing, &user), client.cancel(&nothing, &user)];
    for refusal in refusals {
        refusal.expect_refusal(404, "booking_not_found");
    }
}
