//! Refusals in the document: one schema and one example for each code, both taken from a refusal as it
//! is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::successors;

use serde_json::{Map, Value, json};

use super::{answers, samples, schemas};
use crate::domain::{Conflict, Refusal, TicketStatus};
use crate::http::problem::{Fault, PROBLEM_JSON, Problem, Reason};
use crate::http::route::RESOURCES;

/// The members that every problem has, in the order they are written.
const COMMON: [&str; 8] =
    ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"];

/// A refusal as a client may get it.
struct Sample {
    status: u16,
    body: Value,
}

impl Sample {
    fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap()
    }

    /// The members that this refusal has beside those that all have.
    fn own(&self) -> Vec<&str> {
        let members = self.body.as_object().unwrap().keys().map(String::as_str);
        members.filter(|name| !COMMON.contains(name)).collect()
    }

    /// What it has of its own.
    fn schema(&self) -> Value {
        let mut properties = Map::new();
        for name in ["type", "title", "status", "code", "retryable"] {
            properties.insert(name.to_owned(), json!({"const": self.body[name]}));
        }
        for name in self.own() {
            properties.insert(name.to_owned(), schemas::of_problem(name));
        }
        let mut schema = json!({
            "description": self.text("title"),
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": properties,
        });
        if !self.own().is_empty() {
            schema["required"] = json!(self.own());
        }
        schema
    }
}

/// What comes after a reason in the list of all: every one has its arm, so none is left out.
fn after(reason: &Reason) -> Option<Reason> {
    Some(match reason {
        Reason::MalformedRequest => Reason::MalformedJson,
        Reason::MalformedJson => Reason::BadParameter,
        Reason::BadParameter => Reason::NotFound,
        Reason::NotFound => Reason::MethodNotAllowed(RESOURCES[0].methods()),
        Reason::MethodNotAllowed(_) => Reason::RequestTimeout,
        Reason::RequestTimeout => Reason::BodyTooLarge,
        Reason::BodyTooLarge => Reason::TargetTooLong,
        Reason::TargetTooLong => Reason::UnsupportedMediaType,
        Reason::UnsupportedMediaType => Reason::HeadersTooLarge,
        Reason::HeadersTooLarge => {
            let detail = "must be an e-mail address of the form local@domain";
            Reason::ValidationFailed(vec![Fault::new("/email", detail)])
        }
        Reason::ValidationFailed(_) => Reason::NotReady,
        Reason::NotReady => Reason::TooManyConnections,
        Reason::TooManyConnections => Reason::StorageUnavailable,
        Reason::StorageUnavailable => Reason::Engine(Refusal::UserNotFound),
        Reason::Engine(refusal) => return after_refusal(refusal).map(Reason::Engine),
    })
}

/// The same for what the engine refuses.
fn after_refusal(refusal: &Refusal) -> Option<Refusal> {
    let tickets = || vec![samples::ticket(11).public()];
    Some(match refusal {
        Refusal::UserNotFound => Refusal::EventNotFound,
        Refusal::EventNotFound => Refusal::BookingNotFound,
        Refusal::BookingNotFound => Refusal::DuplicateTickets(tickets()),
        Refusal::DuplicateTickets(_) => Refusal::TooManyTickets,
        Refusal::TooManyTickets => Refusal::UnknownTickets(tickets()),
        Refusal::UnknownTickets(_) => Refusal::UnknownCursor,
        Refusal::UnknownCursor => Refusal::NotYourBooking,
        Refusal::NotYourBooking => Refusal::SeatsUnavailable(vec![
            conflict(11, TicketStatus::Sold),
            Conflict {
                held_by_you: Some(samples::booking_id()),
                ..conflict(12, TicketStatus::Reserved)
            },
        ]),
        Refusal::SeatsUnavailable(_) => Refusal::EmailTaken,
        Refusal::EmailTaken => Refusal::BookingExpired,
        Refusal::BookingExpired => Refusal::BookingCancelled,
        Refusal::BookingCancelled => Refusal::AlreadyConfirmed,
        Refusal::AlreadyConfirmed => Refusal::RequestInFlight,
        Refusal::RequestInFlight => Refusal::KeyReused,
        Refusal::KeyReused => Refusal::UserHasBookings,
        Refusal::UserHasBookings => Refusal::TotalTooLarge,
        Refusal::TotalTooLarge => Refusal::Overloaded,
        Refusal::Overloaded => Refusal::StorageUnavailable,
        Refusal::StorageUnavailable => return None,
    })
}

fn conflict(slot: u32, status: TicketStatus) -> Conflict {
    let ticket = samples::ticket(slot);
    Conflict { ticket, slot: ticket.slot, status, held_by_you: None }
}

/// Every refusal, by its code; where a code has several reasons, the first.
fn every() -> BTreeMap<&'static str, Sample> {
    let mut samples = BTreeMap::new();
    for reason in successors(Some(Reason::MalformedRequest), after) {
        let problem = if let Reason::Engine(refusal) = reason {
            refusal.into()
        } else {
            Problem::from(reason)
        };
        let body = problem.body("/api/bookings", "662c23e1d16495740000000000000003");
        let body = serde_json::from_slice(&body).unwrap();
        let status = problem.reason.status().as_u16();
        samples.entry(problem.reason.code()).or_insert(Sample { status, body });
    }
    samples
}

/// `seats_unavailable` as a schema is called: `SeatsUnavailable`.
fn schema_name(code: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    code.split('_').map(capital).collect()
}

fn reference(code: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", schema_name(code))})
}

/// Every refusal, and the answers that refuse, as far as operations refer to them.
pub(super) struct Refused {
    samples: BTreeMap<&'static str, Sample>,
    responses: Map<String, Value>,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self { samples: every(), responses: Map::new() }
    }

    /// What all problems have in common, and what each has of its own.
    pub(super) fn schemas(&self) -> Map<String, Value> {
        let common = COMMON.map(|name| (name.to_owned(), schemas::of_problem(name)));
        let problem = json!({
            "description": "A refusal (RFC 9457). Programs go by `code`, which never changes.",
            "type": "object",
            "properties": Map::from_iter(common),
            "required": COMMON,
        });
        let each = self.samples.iter().map(|(code, sample)| (schema_name(code), sample.schema()));
        [("Problem".to_owned(), problem)].into_iter().chain(each).collect()
    }

    /// Every refusal as it is sent.
    pub(super) fn examples(&self) -> Map<String, Value> {
        let example = |(code, sample): (&&str, &Sample)| {
            ((*code).to_owned(), json!({"summary": sample.text("title"), "value": sample.body}))
        };
        self.samples.iter().map(example).collect()
    }

    /// The codes by the status that they are sent with.
    pub(super) fn by_status<'c>(&self, codes: &BTreeSet<&'c str>) -> BTreeMap<u16, Vec<&'c str>> {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for code in codes {
            by_status.entry(self.samples[code].status).or_default().push(code);
        }
        by_status
    }

    /// Refers to the answer that refuses for one of `codes`, which share a status.
    pub(super) fn reference(&mut self, codes: &[&str]) -> Value {
        let name = format!("{}-{}", self.samples[codes[0]].status, codes.join("-"));
        let response = self.response(codes);
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.responses.insert(name, response);
        reference
    }

    /// The answers that were referred to.
    pub(super) fn into_responses(self) -> Map<String, Value> {
        self.responses
    }

    /// The answer that refuses for one of `codes`, which share a status.
    pub(super) fn response(&self, codes: &[&str]) -> Value {
        let said =
            codes.iter().map(|code| format!("`{code}`: {}", self.samples[code].text("title")));
        let example = |code: &&str| {
            ((*code).to_owned(), json!({"$ref": format!("#/components/examples/{code}")}))
        };
        let mut headers = vec!["X-Request-Id", "X-Log-Position"];
        match self.samples[codes[0]].status {
            405 => headers.push("Allow"),
            503 => headers.push("Retry-After"),
            _ => {}
        }
        json!({
            "description": said.collect::<Vec<_>>().join("; "),
            "headers": answers::headers(&headers),
            "content": {PROBLEM_JSON: {
                "schema": schema_of(codes),
                "examples": codes.iter().map(example).collect::<Map<_, _>>(),
            }},
        })
    }
}

fn schema_of(codes: &[&str]) -> Value {
    if let [code] = codes {
        return reference(code);
    }
    let mapping = codes.iter().map(|code| ((*code).to_owned(), reference(code)["$ref"].clone()));
    json!({
        "oneOf": codes.iter().map(|code| reference(code)).collect::<Vec<_>>(),
        "discriminator": {
            "propertyName": "code",
            "mapping": mapping.collect::<Map<_, _>>(),
        },
    })
}
