//! The OpenAPI document: served, complete, and a judge that does convict.

use serde_json::{Value, json};

use crate::harness::{Call, Reply, fresh_uuid, judge, shared};

fn document() -> Value {
    shared().get("/openapi.json").expect(200).json
}

#[test]
fn the_document_is_served_without_an_engine_being_asked() {
    let reply = shared().get("/openapi.json").expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json["openapi"], "3.1.0");
    assert!(!reply.text.contains('\n'), "JSON is compact");
    let kept = include_str!("../../src/http/openapi/openapi.json");
    assert_eq!(reply.json, serde_json::from_str::<Value>(kept).unwrap());
    let head = shared().send(&Call::new("HEAD", "/openapi.json")).expect(200);
    assert_eq!(head.header("content-length"), Some(reply.text.len().to_string().as_str()));
}

/// The endpoints that clients rely on, with the statuses and codes that the contract names.
const CONTRACT: [(&str, &str, u16); 18] = [
    ("get", "/health", 200),
    ("get", "/livez", 200),
    ("get", "/readyz", 200),
    ("post", "/api/users", 201),
    ("get", "/api/users/{id}", 200),
    ("put", "/api/users/{id}", 200),
    ("delete", "/api/users/{id}", 204),
    ("get", "/api/users/{id}/bookings", 200),
    ("post", "/api/events", 201),
    ("get", "/api/events", 200),
    ("get", "/api/events/{id}", 200),
    ("get", "/api/events/{id}/tickets", 200),
    ("get", "/api/events/{id}/tickets/available", 200),
    ("post", "/api/bookings", 201),
    ("get", "/api/bookings/{id}", 200),
    ("post", "/api/bookings/{id}/confirm", 200),
    ("post", "/api/bookings/{id}/cancel", 200),
    ("get", "/api/bookings/stats", 200),
];

#[test]
fn every_endpoint_of_the_contract_is_documented() {
    let document = document();
    for (method, path, status) in CONTRACT {
        let response = &document["paths"][path][method]["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} {status} is not documented");
    }
    assert!(document["paths"]["/metrics"]["get"].is_object());
}

#[test]
fn every_code_of_the_contract_is_documented_with_its_status() {
    let codes: [(u16, &[&str]); 9] = [
        (400, &["malformed_json", "bad_parameter"]),
        (403, &["not_your_booking"]),
        (404, &["not_found", "user_not_found", "event_not_found", "booking_not_found"]),
        (
            409,
            &[
                "seats_unavailable",
                "email_taken",
                "booking_expired",
                "booking_cancelled",
                "already_confirmed",
                "request_in_flight",
                "user_has_bookings",
            ],
        ),
        (413, &["body_too_large"]),
        (415, &["unsupported_media_type"]),
        (431, &["headers_too_large"]),
        (
            422,
            &[
                "validation_failed",
                "unknown_tickets",
                "duplicate_tickets",
                "too_many_tickets",
                "idempotency_key_reused",
            ],
        ),
        (503, &["overloaded", "storage_unavailable", "not_ready"]),
    ];
    let document = document();
    for (status, codes) in codes {
        for code in codes {
            let example = &document["components"]["examples"][code]["value"];
            assert_eq!(example["status"], status, "{code}");
            assert_eq!(example["code"], *code);
        }
    }
    let names =
        ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"];
    let required = &document["components"]["schemas"]["Problem"]["required"];
    assert_eq!(*required, json!(names));
}

/// What the judge says of an answer that was changed after it came.
#[track_caller]
fn convicted(path: &str, change: impl Fn(&mut Reply)) -> String {
    let mut reply = shared().get(path);
    assert_eq!(judge("GET", path, &reply), Ok(()));
    change(&mut reply);
    judge("GET", path, &reply).expect_err("a false answer passes")
}

#[test]
fn what_is_not_documented_is_noticed() {
    let client = shared();
    let path = format!("/api/users/{}", client.create_user());
    let says = |what: String, part: &str| assert!(what.contains(part), "{what}");
    says(convicted(&path, |reply| reply.status = 202), "202 is not documented");
    says(convicted(&path, |reply| drop(reply.headers.remove("x-request-id"))), "is missing");
    says(
        convicted(&path, |reply| {
            reply.headers.insert("x-new", "1".parse().unwrap());
        }),
        "x-new is not documented",
    );
    says(
        convicted(&path, |reply| {
            reply.headers.insert("x-log-position", "far".parse().unwrap());
        }),
        "must be of type",
    );
    says(
        convicted(&path, |reply| {
            reply.headers.insert("content-type", "text/html".parse().unwrap());
        }),
        "media type",
    );
    says(convicted(&path, |reply| drop(reply.json["id"].take())), "must be of type");
    says(convicted(&path, |reply| reply.json["id"] = json!("7")), "must match");
    says(
        convicted(&path, |reply| drop(reply.json.as_object_mut().unwrap().remove("email"))),
        "lacks",
    );
    let nobody = format!("/api/users/{}", fresh_uuid());
    says(convicted(&nobody, |reply| reply.json["code"] = json!("not_here")), "must be");
    says(convicted(&nobody, |reply| reply.json["retryable"] = json!(true)), "must be");
    says(convicted("/nothing", |reply| reply.json["code"] = json!("user_not_found")), "must be");
}
