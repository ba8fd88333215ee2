//! The whole document, made and compared with what is kept.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::refusals::Refused;
use super::schemas::fields;
use super::{KEPT, SERVED, actions, answers, schemas};
use crate::domain::{SEATS_PER_EVENT_MAX, TICKETS_PER_BOOKING_MAX};
use crate::http::body::{EventMembers, OwnerMembers};
use crate::http::connection::HEAD_BYTES_MAX;
use crate::http::head::TARGET_BYTES_MAX;
use crate::http::route::{ID, RESOURCES, Verb};

/// What the operator gets who configures nothing.
const BODY_BYTES_DEFAULT: usize = 65_536;
/// Set, it makes the test write the copy instead of comparing it.
const UPDATE: &str = "UPDATE_OPENAPI";

fn preface() -> String {
    let bounds = [
        ("{target}", TARGET_BYTES_MAX),
        ("{head}", HEAD_BYTES_MAX),
        ("{body}", BODY_BYTES_DEFAULT),
        ("{tickets}", TICKETS_PER_BOOKING_MAX),
        ("{seats}", SEATS_PER_EVENT_MAX as usize),
    ];
    let text = include_str!("preface.md").to_owned();
    let text = bounds.iter().fold(text, |text, (name, bound)| {
        assert!(text.contains(name), "{name} is not said");
        text.replace(name, &bound.to_string())
    });
    text.trim_end().to_owned()
}

fn document() -> Value {
    let mut refused = Refused::new();
    let mut paths = json!({});
    for resource in &RESOURCES {
        let path = format!("/{}", resource.path.join("/"));
        let has_id = resource.path.contains(&ID);
        for (verb, action) in resource.deeds {
            let operation = actions::operation(*verb, action(ID), has_id, &mut refused);
            let verb = match verb {
                Verb::Get => "get",
                Verb::Put => "put",
                Verb::Post => "post",
                Verb::Delete => "delete",
            };
            paths[&path][verb] = operation;
        }
    }
    // No operation is answered by these.
    for code in ["not_found", "method_not_allowed"] {
        refused.reference(&[code]);
    }
    let mut schemas = schemas::components();
    schemas.extend(refused.schemas());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "booking-manager",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A ticket-booking engine.",
            "description": preface(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "users", "description": "Who books."},
            {"name": "events", "description": "What can be booked."},
            {"name": "bookings", "description": "Who has which tickets."},
            {"name": "process", "description": "How the server is."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "examples": refused.examples(),
            "responses": refused.into_responses(),
            "headers": answers::header_components(),
            "parameters": answers::parameter_components(),
        },
    })
}

#[test]
fn the_document_that_is_kept_is_what_the_code_makes() {
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os(UPDATE).is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/openapi/openapi.json");
        std::fs::write(path, made).unwrap();
        return;
    }
    let differing = made.lines().zip(KEPT.lines()).find(|(made, kept)| made != kept);
    assert!(
        made == KEPT,
        "openapi.json is not what the code makes (first: {differing:?}): look at what has changed, \
         then run the test again with {UPDATE}=1"
    );
}

#[test]
fn what_is_served_is_what_is_kept_without_blanks() {
    let kept: Value = serde_json::from_str(KEPT).unwrap();
    assert_eq!(String::from_utf8_lossy(&SERVED), kept.to_string());
}

/// Every `$ref` and every `operationId` of a link in `value`.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for target in &found {
        let there = target.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        assert!(there.is_some(), "{target} leads nowhere");
    }
    for kind in ["schemas", "examples", "headers", "parameters"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let target = format!("#/components/{kind}/{name}");
            assert!(found.contains(target.as_str()), "nothing leads to {target}");
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_links_name_them() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let operations = || paths.values().flat_map(|path| path.as_object().unwrap().values());
    let mut names = BTreeSet::new();
    for operation in operations() {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} is two operations");
    }
    for response in operations().flat_map(|o| o["responses"].as_object().unwrap().values()) {
        for link in response["links"].as_object().into_iter().flat_map(|links| links.values()) {
            let target = link["operationId"].as_str().unwrap();
            assert!(names.contains(target), "a link leads to {target}");
        }
    }
}

#[test]
fn the_members_of_a_request_are_those_it_is_read_into() {
    assert_eq!(fields::<OwnerMembers<'static>>(), ["user_id"]);
    assert_eq!(fields::<EventMembers<'static>>().last(), Some(&"currency"));
    let document = document();
    let event = &document["components"]["schemas"]["EventBody"];
    let names = ["name", "artist", "venue", "date", "total_seats", "price"];
    for name in names {
        assert!(event["required"].as_array().unwrap().contains(&json!(name)), "{name}");
    }
    assert_eq!(event["required"].as_array().unwrap().len(), names.len());
    assert_eq!(event["properties"].as_object().unwrap().len(), names.len() + 1);
}
