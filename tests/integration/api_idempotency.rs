//! Idempotency keys: the first success again, whatever happens in between.

use serde_json::json;

use crate::harness::{
    Call, Client, Reply, Server, Settings, fresh_email, fresh_uuid, shared, together,
};

#[track_caller]
fn expect_replay(again: &Reply, first: &Reply) {
    assert_eq!(again.status, first.status, "replayed: {}", again.text);
    assert_eq!(
        again.header("idempotent-replayed"),
        Some("true"),
        "{}: not marked as a replay",
        again.asked
    );
    assert_eq!(again.json, first.json, "replayed with another body");
}

/// One keyed POST of every kind, each answered with success.
fn one_of_each(client: &Client) -> Vec<(Call, Reply)> {
    let show = client.create_show(2);
    let user = client.create_user();
    let bought = client.hold(&user, &show.id, &show.tickets[..1]);
    let given_back = client.hold(&user, &show.id, &show.tickets[1..]);
    let owner = json!({"user_id": user});
    let other_show = client.create_show(2);
    let calls = [
        Call::post("/api/users", &json!({"email": fresh_email(), "name": "Keyed"})),
        Call::post(
            "/api/events",
            &json!({"name": "Keyed", "artist": "A", "venue": "V", "total_seats": 2,
                    "date": "2027-01-01T00:00:00Z", "price": 10}),
        ),
        Call::book(&user, &other_show.id, &other_show.tickets),
        Call::post(&format!("/api/bookings/{bought}/confirm"), &owner),
        Call::post(&format!("/api/bookings/{given_back}/cancel"), &owner),
    ];
    let keyed = calls.into_iter().map(|call| call.key(&fresh_uuid()));
    keyed
        .map(|call| {
            let reply = client.send(&call);
            assert!(matches!(reply.status, 200 | 201), "{}: {}", reply.asked, reply.text);
            assert_eq!(reply.header("idempotent-replayed"), None, "nothing to replay");
            (call, reply)
        })
        .collect()
}

#[track_caller]
fn expect_replays(client: &Client, answered: &[(Call, Reply)]) {
    for (call, first) in answered {
        expect_replay(&client.send(call), first);
    }
}

#[test]
fn the_same_key_and_body_get_the_first_success_again() {
    let client = shared();
    expect_replays(client, &one_of_each(client));
}

#[test]
fn the_first_success_is_replayed_after_the_booking_has_ended() {
    let client = shared();
    let show = client.create_show(1);
    let user = client.create_user();
    let call = Call::book(&user, &show.id, &show.tickets).key(&fresh_uuid());
    let first = client.send(&call).expect(201);
    let id = first.str("booking_id");
    client.cancel(id, &user).expect(200);
    client.hold(&client.create_user(), &show.id, &show.tickets);
    expect_replay(&client.send(&call), &first);
    assert_eq!(client.booking(id).expect(200).str("status"), "cancelled");
}

#[test]
fn the_same_key_with_another_body_is_refused() {
    let client = shared();
    let show = client.create_show(2);
    let user = client.create_user();
    let key = fresh_uuid();
    let call = Call::book(&user, &show.id, &show.tickets[..1]).key(&key);
    let first = client.send(&call).expect(201);
    client
        .send(&Call::book(&user, &show.id, &show.tickets[1..]).key(&key))
        .expect_refusal(422, "idempotency_key_reused");
    expect_replay(&client.send(&call), &first);
    assert_eq!(client.event(&show.id).expect(200).json["reserved"], 1);
}

#[test]
fn a_refusal_is_not_remembered() {
    let client = shared();
    let show = client.create_show(1);
    let (first, second) = (client.create_user(), client.create_user());
    let in_the_way = client.hold(&first, &show.id, &show.tickets);
    let call = Call::book(&second, &show.id, &show.tickets).key(&fresh_uuid());
    client.send(&call).expect_refusal(409, "seats_unavailable");
    client.cancel(&in_the_way, &first).expect(200);
    let made = client.send(&call).expect(201);
    assert_eq!(made.header("idempotent-replayed"), None);
    expect_replay(&client.send(&call), &made);
}

#[test]
fn a_key_that_was_refused_is_free_for_another_body() {
    let client = shared();
    let show = client.create_show(2);
    let user = client.create_user();
    client.hold(&client.create_user(), &show.id, &show.tickets[..1]);
    let key = fresh_uuid();
    client.send(&Call::book(&user, &show.id, &show.tickets).key(&key)).expect(409);
    client.send(&Call::book(&user, &show.id, &show.tickets[1..]).key(&key)).expect(201);
}

#[test]
fn a_key_that_is_empty_or_too_long_is_refused() {
    let client = shared();
    let body = json!({"email": fresh_email(), "name": "Keyed"});
    let keys = ["k".repeat(256), String::new()];
    for key in keys {
        let reply = client.send(&Call::post("/api/users", &body).key(&key));
        assert!(
            matches!(reply.status, 400 | 422),
            "a key of {} characters was answered {}",
            key.len(),
            reply.status
        );
        reply.assert_problem();
    }
    let longest = Call::post("/api/users", &body).key(&"k".repeat(255));
    client.send(&longest).expect(201);
}

#[test]
fn the_same_key_at_the_same_time_gives_one_booking() {
    let client = shared();
    for _ in 0..10 {
        let show = client.create_show(3);
        let user = client.create_user();
        let call = Call::book(&user, &show.id, &show.tickets).key(&fresh_uuid());
        let replies = together(8, |_| client.send(&call));
        let bookings = client.bookings_of(&user);
        assert_eq!(bookings.len(), 1, "one key, one booking");
        let mut fresh = 0;
        for reply in &replies {
            if reply.status == 409 {
                assert_eq!(reply.code(), "request_in_flight", "{}", reply.text);
                continue;
            }
            assert_eq!(reply.status, 201, "{}", reply.text);
            assert_eq!(bookings[0]["id"], reply.str("booking_id"));
            fresh += usize::from(reply.header("idempotent-replayed").is_none());
        }
        assert_eq!(fresh, 1, "exactly one answer is the first");
    }
}

fn started_with_one_of_each() -> (Server, Vec<(Call, Reply)>) {
    let server = Settings::new().start();
    let answered = one_of_each(&server);
    (server, answered)
}

#[test]
fn keys_outlive_a_crash() {
    let (mut server, answered) = started_with_one_of_each();
    server.kill9();
    server.restart();
    expect_replays(&server, &answered);
    server.kill9();
    server.restart();
    expect_replays(&server, &answered);
}

#[test]
fn keys_outlive_a_clean_restart() {
    let (mut server, answered) = started_with_one_of_each();
    server.terminate();
    server.restart();
    expect_replays(&server, &answered);
}
