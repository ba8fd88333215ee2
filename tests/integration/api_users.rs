//! Users: created, read, changed, deleted.

use serde_json::json;

use crate::harness::{fresh_email, fresh_uuid, shared};

#[test]
fn a_new_user_can_be_read_back() {
    let client = shared();
    let email = fresh_email();
    let made = client.post("/api/users", &json!({"email": email, "name": "Zoë 李"})).expect(201);
    assert_eq!(made.str("email"), email);
    assert_eq!(made.str("name"), "Zoë 李");
    let id = made.str("user_id");
    let location = made.header("location").expect("a 201 has a Location");
    assert!(
        location.ends_with(&format!("/api/users/{id}")),
        "Location leads elsewhere: {location}"
    );
    let read = client.get(&format!("/api/users/{id}")).expect(200);
    assert_eq!(read.str("id"), id);
    assert_eq!(read.str("email"), email);
    assert_eq!(read.str("name"), "Zoë 李");
    assert_eq!(read.str("created_at"), read.str("updated_at"));
}

#[test]
fn a_user_can_be_changed() {
    let client = shared();
    let id = client.create_user();
    let path = format!("/api/users/{id}");
    let email = fresh_email();
    let changed = client.put(&path, &json!({"email": email, "name": "Grace Hopper"})).expect(200);
    assert_eq!(changed.str("id"), id);
    assert_eq!(changed.str("email"), email);
    assert_eq!(changed.str("name"), "Grace Hopper");
    assert!(changed.str("updated_at") >= changed.str("created_at"));
    assert_eq!(client.get(&path).expect(200).json, changed.json);
}

#[test]
fn a_user_may_keep_its_email_when_it_is_changed() {
    let client = shared();
    let email = fresh_email();
    let made = client.post("/api/users", &json!({"email": email, "name": "Before"})).expect(201);
    let path = format!("/api/users/{}", made.str("user_id"));
    let changed = client.put(&path, &json!({"email": email, "name": "After"}));
    assert_eq!(changed.expect(200).str("name"), "After");
}

#[test]
fn a_deleted_user_is_gone() {
    let client = shared();
    let id = client.create_user();
    let path = format!("/api/users/{id}");
    let gone = client.delete(&path).expect(204);
    assert!(gone.text.is_empty(), "a 204 has no body: {}", gone.text);
    client.get(&path).expect_refusal(404, "user_not_found");
    client.delete(&path).expect_refusal(404, "user_not_found");
    client
        .put(&path, &json!({"email": fresh_email(), "name": "Nobody"}))
        .expect_refusal(404, "user_not_found");
    let show = client.create_show(1);
    client.book(&id, &show.id, &show.tickets).expect_refusal(404, "user_not_found");
}

#[test]
fn a_user_with_a_live_booking_cannot_be_deleted() {
    let client = shared();
    let show = client.create_show(2);
    let (holder, buyer) = (client.create_user(), client.create_user());
    let held = client.hold(&holder, &show.id, &show.tickets[..1]);
    let bought = client.hold(&buyer, &show.id, &show.tickets[1..]);
    client.confirm(&bought, &buyer).expect(200);
    for user in [&holder, &buyer] {
        client.delete(&format!("/api/users/{user}")).expect_refusal(409, "user_has_bookings");
    }
    client.cancel(&held, &holder).expect(200);
    client.delete(&format!("/api/users/{holder}")).expect(204);
    client.delete(&format!("/api/users/{buyer}")).expect(409);
}

#[test]
fn an_email_belongs_to_one_user() {
    let client = shared();
    let body = json!({"email": fresh_email(), "name": "First"});
    client.post("/api/users", &body).expect(201);
    client.post("/api/users", &body).expect_refusal(409, "email_taken");
    let other = client.create_user();
    client.put(&format!("/api/users/{other}"), &body).expect_refusal(409, "email_taken");
}

#[test]
fn a_user_that_was_never_created_is_not_found() {
    let client = shared();
    let nobody = fresh_uuid();
    for path in [format!("/api/users/{nobody}"), format!("/api/users/{nobody}/bookings")] {
        client.get(&path).expect_refusal(404, "user_not_found");
    }
}

#[test]
fn all_that_is_wrong_with_a_user_is_said_at_once() {
    let client = shared();
    let reply = client
        .post("/api/users", &json!({"email": "not an address", "name": ""}))
        .expect_refusal(422, "validation_failed");
    let errors = reply.json["errors"].as_array().expect("errors");
    for member in ["email", "name"] {
        let said = errors.iter().any(|error| {
            let pointer = error["pointer"].as_str().unwrap_or_default();
            pointer.contains(member) && error["detail"].is_string()
        });
        assert!(said, "nothing is said of {member}: {}", reply.text);
    }
}
