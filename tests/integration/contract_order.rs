//! Which refusal wins, for every set of rules that a request can break at once: the contract's order,
//! as a model that is asked beside the server.

use serde_json::{Value, json};

use crate::harness::{Call, Client, Show, fresh_email, fresh_uuid, shared};

/// A rule that a request can break, in the order in which they win, with what is answered then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rule {
    MediaType,
    Json,
    Validation,
    User,
    Target,
    /// Unknown tickets of a hold; the wrong owner of a booking.
    Right,
    Key,
    /// Taken seats of a hold; the other end of a booking.
    State,
}

use Rule::{Json, Key, MediaType, Right, State, Target, User, Validation};

const RULES: [Rule; 8] = [MediaType, Json, Validation, User, Target, Right, Key, State];

/// What the contract says is answered where only this rule is broken.
type Answers = fn(Rule) -> (u16, &'static str);

fn of_hold(rule: Rule) -> (u16, &'static str) {
    match rule {
        MediaType => (415, "unsupported_media_type"),
        Json => (400, "malformed_json"),
        Validation => (422, "validation_failed"),
        User => (404, "user_not_found"),
        Target => (404, "event_not_found"),
        Right => (422, "unknown_tickets"),
        Key => (422, "idempotency_key_reused"),
        State => (409, "seats_unavailable"),
    }
}

fn of_confirm(rule: Rule) -> (u16, &'static str) {
    match rule {
        Target => (404, "booking_not_found"),
        Right => (403, "not_your_booking"),
        State => (409, "booking_cancelled"),
        MediaType | Json | Validation | User | Key => of_hold(rule),
    }
}

fn of_cancel(rule: Rule) -> (u16, &'static str) {
    if rule == State { (409, "already_confirmed") } else { of_confirm(rule) }
}

/// Sends a request for every set of broken rules but the empty one, as `request` makes it, and
/// compares with the first rule of the set.
#[track_caller]
fn walk(client: &Client, answers: Answers, request: impl Fn(&dyn Fn(Rule) -> bool) -> Call) {
    for set in 1..1_u32 << RULES.len() {
        let breaks = |rule: Rule| set & (1 << rule as u32) != 0;
        let broken: Vec<Rule> = RULES.into_iter().filter(|rule| breaks(*rule)).collect();
        let (status, code) = answers(broken[0]);
        let reply = client.send(&request(&breaks));
        assert_eq!((reply.status, reply.code()), (status, code), "{broken:?}: {}", reply.text);
    }
}

/// A key that belongs to another request.
fn used_key(client: &Client) -> String {
    let key = fresh_uuid();
    let body = json!({"email": fresh_email(), "name": "Other"});
    client.send(&Call::post("/api/users", &body).key(&key)).expect(201);
    key
}

/// A POST that breaks those of the rules that do not depend on what is asked for.
fn posted(path: &str, body: &Value, key: &str, breaks: &dyn Fn(Rule) -> bool) -> Call {
    let mut text = body.to_string();
    if breaks(Json) {
        text.push('}');
    }
    let kind = if breaks(MediaType) { "text/plain" } else { "application/json" };
    let call = Call::new("POST", path).body(&text).header("content-type", kind);
    if breaks(Key) { call.key(key) } else { call }
}

#[test]
fn holds_are_refused_in_the_order_of_the_contract() {
    let client = shared();
    let show: Show = client.create_show(2);
    let (user, other) = (client.create_user(), client.create_user());
    client.hold(&other, &show.id, &show.tickets[..1]);
    let key = used_key(client);
    walk(client, of_hold, |breaks| {
        let ticket = if breaks(State) { &show.tickets[0] } else { &show.tickets[1] };
        let mut tickets = vec![ticket.clone()];
        tickets.extend(breaks(Right).then(fresh_uuid));
        tickets.extend(breaks(Validation).then(|| "seat 7".to_owned()));
        let body = json!({
            "user_id": if breaks(User) { fresh_uuid() } else { user.clone() },
            "event_id": if breaks(Target) { fresh_uuid() } else { show.id.clone() },
            "ticket_ids": tickets,
        });
        posted("/api/bookings", &body, &key, breaks)
    });
    assert_eq!(client.event(&show.id).expect(200).json["available"], 1, "nothing was taken");
    client.hold(&user, &show.id, &show.tickets[1..]);
}

/// Walks through a request that ends a booking in the way of `deed`, where `ended` has come to the
/// other end.
#[track_caller]
fn walk_ends(deed: &str, answers: Answers, end_other: impl Fn(&Client, &str, &str)) {
    let client = shared();
    let show = client.create_show(2);
    let (user, other) = (client.create_user(), client.create_user());
    let pending = client.hold(&user, &show.id, &show.tickets[..1]);
    let ended = client.hold(&user, &show.id, &show.tickets[1..]);
    end_other(client, &ended, &user);
    let key = used_key(client);
    walk(client, answers, |breaks| {
        let booking = if breaks(State) { &ended } else { &pending };
        let booking = if breaks(Target) { fresh_uuid() } else { booking.clone() };
        let asking = if breaks(Right) { other.clone() } else { user.clone() };
        let asking = if breaks(User) { fresh_uuid() } else { asking };
        let asking = if breaks(Validation) { "me".to_owned() } else { asking };
        let body = json!({"user_id": asking});
        posted(&format!("/api/bookings/{booking}/{deed}"), &body, &key, breaks)
    });
    assert_eq!(client.booking(&pending).expect(200).str("status"), "pending", "nothing was done");
}

#[test]
fn confirmations_are_refused_in_the_order_of_the_contract() {
    walk_ends("confirm", of_confirm, |client, booking, user| {
        client.cancel(booking, user).expect(200);
    });
}

#[test]
fn cancellations_are_refused_in_the_order_of_the_contract() {
    walk_ends("cancel", of_cancel, |client, booking, user| {
        client.confirm(booking, user).expect(200);
    });
}

#[test]
fn the_transport_wins_over_all_else() {
    let client = shared();
    let broken = |path: &str| Call::new("POST", path).body("{").key("");
    for (call, status, code) in [
        (broken("/api/nothing"), 404, "not_found"),
        (broken("/api/bookings/"), 404, "not_found"),
        (broken("/api/bookings/stats"), 405, "method_not_allowed"),
        (broken("/api/bookings/7/confirm"), 400, "bad_parameter"),
        (broken("/api/bookings").header("content-type", "text/plain"), 400, "bad_parameter"),
    ] {
        client.send(&call).expect_refusal(status, code);
    }
}

#[test]
fn a_key_has_1_to_255_visible_characters() {
    let client = shared();
    let visible: String = ('!'..='~').filter(|c| *c != '"').collect();
    let body = || json!({"email": fresh_email(), "name": "Keyed"});
    for key in
        [fresh_uuid(), visible, "k".repeat(219) + &fresh_uuid(), format!("\"{}\"", fresh_uuid())]
    {
        let call = Call::post("/api/users", &body()).key(&key);
        let first = client.send(&call).expect(201);
        let again = client.send(&call).expect(201);
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{key}");
        assert_eq!(again.json, first.json, "{key}");
    }
    for key in ["", " ", "a b", "a\tb", "\"", "\"a", "\u{e9}", &"k".repeat(256)] {
        let call = Call::post("/api/users", &body()).key(key);
        client.send(&call).expect_refusal(400, "bad_parameter");
    }
}
