//! Refusals: their codes, their shape, and which one wins.

use serde_json::{Value, json};

use crate::harness::{Call, Show, fresh_uuid, shared};

/// A user and a show, with a request for its first ticket that would succeed.
fn sound_request() -> (Show, Value) {
    let client = shared();
    let show = client.create_show(4);
    let user = client.create_user();
    let body = json!({"user_id": user, "event_id": show.id, "ticket_ids": [show.tickets[0]]});
    (show, body)
}

#[test]
fn an_unknown_path_is_a_problem_too() {
    let client = shared();
    for path in ["/nothing", "/api/nothing", "/api/bookings/a/b/c"] {
        let reply = client.get(path).expect_refusal(404, "not_found");
        assert_eq!(reply.json["retryable"], false);
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let client = shared();
    for (method, path, allowed) in [
        ("DELETE", "/api/events", &["GET", "POST"][..]),
        ("PUT", "/api/bookings", &["POST"]),
        ("POST", "/health", &["GET"]),
        ("POST", "/api/bookings/stats", &["GET"]),
    ] {
        let call = match method {
            "DELETE" => Call::new(method, path),
            _ => Call::new(method, path).json("{}"),
        };
        let reply = client.send(&call).expect(405);
        reply.assert_problem();
        let allow = reply.header("allow").expect("a 405 has Allow").to_owned();
        for method in allowed {
            assert!(allow.contains(method), "{path}: Allow is {allow:?}");
        }
    }
}

#[test]
fn a_body_that_is_not_json_is_malformed() {
    let client = shared();
    for path in ["/api/users", "/api/events", "/api/bookings"] {
        for body in ["{", "", "no json", "{\"email\":}", "{} trailing"] {
            client.send(&Call::new("POST", path).json(body)).expect_refusal(400, "malformed_json");
        }
    }
}

#[test]
fn json_of_another_shape_is_refused() {
    let client = shared();
    for path in ["/api/users", "/api/events", "/api/bookings"] {
        for body in ["[]", "null", "7", r#"{"email":7,"user_id":[],"name":{}}"#] {
            let reply = client.send(&Call::new("POST", path).json(body));
            assert!(
                matches!(reply.status, 400 | 422),
                "{path} answered {} to {body}",
                reply.status
            );
            reply.assert_problem();
        }
    }
}

#[test]
fn another_media_type_is_unsupported() {
    let client = shared();
    let call = Call::new("POST", "/api/users").body("email=a@b&name=c");
    for kind in ["application/x-www-form-urlencoded", "text/plain"] {
        client
            .send(&call.clone().header("content-type", kind))
            .expect_refusal(415, "unsupported_media_type");
    }
}

#[test]
fn json_may_name_its_charset() {
    let client = shared();
    let (_, body) = sound_request();
    let call = Call::new("POST", "/api/bookings").body(&body.to_string());
    let call = call.header("content-type", "application/json; charset=utf-8");
    client.send(&call).expect(201);
}

#[test]
fn a_bad_parameter_is_refused() {
    let client = shared();
    let (show, body) = sound_request();
    let user = body["user_id"].as_str().unwrap();
    for path in [
        format!("/api/events/{}/tickets?limit=many", show.id),
        format!("/api/events/{}/tickets?limit=-1", show.id),
        format!("/api/events/{}/tickets?status=folded", show.id),
        format!("/api/users/{user}/bookings?status=folded"),
        "/api/events?limit=x".to_owned(),
        "/api/events?after=x".to_owned(),
        // Ids, but of nothing that the list has.
        format!("/api/events?after={user}"),
        format!("/api/events/{}/tickets?after={user}", show.id),
        format!("/api/users/{user}/bookings?after={user}"),
    ] {
        client.get(&path).expect_refusal(400, "bad_parameter");
    }
}

#[test]
fn an_id_that_is_no_uuid_names_nothing() {
    let client = shared();
    for path in ["/api/users/7", "/api/events/x", "/api/bookings/-"] {
        let reply = client.get(path);
        assert!(matches!(reply.status, 400 | 404), "{path} was answered {}", reply.status);
        reply.assert_problem();
    }
}

#[test]
fn a_ticket_named_twice_is_refused() {
    let client = shared();
    let (show, mut body) = sound_request();
    body["ticket_ids"] = json!([show.tickets[0], show.tickets[1], show.tickets[0]]);
    client.post("/api/bookings", &body).expect_refusal(422, "duplicate_tickets");
    assert_eq!(client.event(&show.id).expect(200).json["available"], 4);
}

#[test]
fn too_many_tickets_are_refused() {
    let client = shared();
    let show = client.create_show(400);
    let user = client.create_user();
    client.book(&user, &show.id, &show.tickets).expect_refusal(422, "too_many_tickets");
    assert_eq!(client.event(&show.id).expect(200).json["available"], 400);
}

#[test]
fn a_ticket_that_does_not_exist_is_unknown() {
    let client = shared();
    let (show, mut body) = sound_request();
    body["ticket_ids"] = json!([show.tickets[0], fresh_uuid()]);
    client.post("/api/bookings", &body).expect_refusal(422, "unknown_tickets");
    assert_eq!(client.event(&show.id).expect(200).json["available"], 4);
}

#[test]
fn the_media_type_is_judged_before_the_json() {
    let call = Call::new("POST", "/api/bookings").body("{");
    shared()
        .send(&call.header("content-type", "text/plain"))
        .expect_refusal(415, "unsupported_media_type");
}

#[test]
fn the_shape_is_judged_before_the_user() {
    let client = shared();
    let (_, mut body) = sound_request();
    body["user_id"] = json!(fresh_uuid());
    body["ticket_ids"] = json!([]);
    client.post("/api/bookings", &body).expect_refusal(422, "validation_failed");
}

#[test]
fn the_user_is_judged_before_the_event() {
    let client = shared();
    let (_, mut body) = sound_request();
    body["user_id"] = json!(fresh_uuid());
    body["event_id"] = json!(fresh_uuid());
    client.post("/api/bookings", &body).expect_refusal(404, "user_not_found");
}

#[test]
fn the_event_is_judged_before_the_tickets() {
    let client = shared();
    let (_, mut body) = sound_request();
    body["event_id"] = json!(fresh_uuid());
    body["ticket_ids"] = json!([fresh_uuid()]);
    client.post("/api/bookings", &body).expect_refusal(404, "event_not_found");
}

#[test]
fn the_tickets_are_judged_before_the_idempotency_key() {
    let client = shared();
    let (_, mut body) = sound_request();
    let key = fresh_uuid();
    let post = |body: &Value| client.send(&Call::post("/api/bookings", body).key(&key));
    post(&body).expect(201);
    body["ticket_ids"] = json!([fresh_uuid()]);
    post(&body).expect_refusal(422, "unknown_tickets");
    body["event_id"] = json!(fresh_uuid());
    post(&body).expect_refusal(404, "event_not_found");
    body["user_id"] = json!(fresh_uuid());
    post(&body).expect_refusal(404, "user_not_found");
}

#[test]
fn the_idempotency_key_is_judged_before_the_seats() {
    let client = shared();
    let (show, mut body) = sound_request();
    let key = fresh_uuid();
    let post = |body: &Value| client.send(&Call::post("/api/bookings", body).key(&key));
    post(&body).expect(201);
    client.hold(&client.create_user(), &show.id, &show.tickets[1..2]);
    body["ticket_ids"] = json!([show.tickets[1]]);
    post(&body).expect_refusal(422, "idempotency_key_reused");
}

#[test]
fn unknown_tickets_are_judged_before_taken_ones() {
    let client = shared();
    let (show, mut body) = sound_request();
    client.hold(&client.create_user(), &show.id, &show.tickets[..1]);
    body["ticket_ids"] = json!([show.tickets[0], fresh_uuid()]);
    client.post("/api/bookings", &body).expect_refusal(422, "unknown_tickets");
}

#[test]
fn a_refusal_says_whether_it_pays_to_ask_again() {
    let client = shared();
    let (show, body) = sound_request();
    client.hold(&client.create_user(), &show.id, &show.tickets[..1]);
    let taken = client.post("/api/bookings", &body).expect(409);
    assert_eq!(taken.json["retryable"], true, "a held seat may come free");
    let nobody = client.get(&format!("/api/users/{}", fresh_uuid()));
    assert_eq!(nobody.json["retryable"], false);
}
