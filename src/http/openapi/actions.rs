//! What can be done, action by action: in words, and with every answer there may be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answers::Told;
use super::refusals::Refused;
use crate::domain::Refusal;
use crate::http::problem::Reason;
use crate::http::route::{Action, Probe, Read, Verb, Write};

/// What is said of an action.
struct Described {
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    /// Parameters of the query, by the names of their components.
    query: &'static [&'static str],
    /// The schema of the body.
    body: Option<&'static str>,
    told: Vec<Told>,
    /// What the engine may refuse.
    refusals: Vec<&'static str>,
}

impl Described {
    fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: "",
            query: &[],
            body: None,
            told: Vec::new(),
            refusals: Vec::new(),
        }
    }

    fn saying(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    fn body(self, schema: &'static str) -> Self {
        Self { body: Some(schema), ..self }
    }

    fn told(mut self, told: Told) -> Self {
        self.told.push(told);
        self
    }

    fn refused(mut self, refusals: &[Refusal]) -> Self {
        self.refusals.extend(refusals.iter().map(Refusal::code));
        self
    }
}

/// An action as an OpenAPI operation.
pub(super) fn operation(
    verb: Verb,
    action: Action<'_>,
    has_id: bool,
    refused: &mut Refused,
) -> Value {
    let described = match action {
        Action::Describe(_) => unreachable!("no route leads to it"),
        Action::Probe(probe) => of_probe(probe),
        Action::Read(read) => of_read(read),
        Action::Write(write) => of_write(write),
    };
    let mut parameters: Vec<&str> = Vec::new();
    parameters.extend(has_id.then_some("id"));
    parameters.extend(described.query);
    parameters.extend((verb == Verb::Post).then_some("idempotency-key"));
    parameters.push("request-id");
    let reference = |name| json!({"$ref": format!("#/components/parameters/{name}")});
    let parameters: Vec<Value> = parameters.into_iter().map(reference).collect();
    let mut operation = json!({
        "operationId": described.id,
        "tags": [described.tag],
        "summary": described.summary,
        "description": described.description,
        "parameters": parameters,
        "responses": responses(&described, verb, action, has_id, refused),
    });
    if let Some(schema) = described.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {
                "schema": {"$ref": format!("#/components/schemas/{schema}")},
            }},
        });
    }
    operation
}

fn responses(
    described: &Described,
    verb: Verb,
    action: Action<'_>,
    has_id: bool,
    refused: &mut Refused,
) -> Value {
    let mut codes: BTreeSet<&str> = described.refusals.iter().copied().collect();
    // The head may be refused before anybody looks what is asked for, and so may the connection.
    codes.extend(
        [
            Reason::MalformedRequest,
            Reason::RequestTimeout,
            Reason::TargetTooLong,
            Reason::HeadersTooLarge,
            Reason::TooManyConnections,
        ]
        .map(|reason| reason.code()),
    );
    if matches!(action, Action::Read(_) | Action::Write(_)) {
        codes.extend([Reason::NotReady, Reason::StorageUnavailable].map(|reason| reason.code()));
    }
    if action == Action::Probe(Probe::Metrics) {
        codes.insert(Reason::NotReady.code());
    }
    if has_id || !described.query.is_empty() || verb == Verb::Post {
        codes.insert(Reason::BadParameter.code());
    }
    if described.body.is_some() {
        codes.extend(
            [
                Reason::MalformedJson,
                Reason::BodyTooLarge,
                Reason::UnsupportedMediaType,
                Reason::ValidationFailed(Vec::new()),
            ]
            .map(|reason| reason.code()),
        );
    }
    let mut responses = json!({});
    for told in &described.told {
        responses[told.status.to_string()] = told.response();
    }
    for (status, codes) in refused.by_status(&codes) {
        let place = &mut responses[status.to_string()];
        if place.is_null() {
            *place = refused.reference(&codes);
        } else {
            add(place, &refused.response(&codes));
        }
    }
    responses
}

/// Adds to an answer another one with the same status and another media type.
fn add(told: &mut Value, refused: &Value) {
    let words = [&*told, refused].map(|response| response["description"].as_str().unwrap());
    let description = words.join(" Or a refusal: ");
    told["description"] = json!(description);
    for (media_type, content) in refused["content"].as_object().unwrap() {
        told["content"][media_type] = content.clone();
    }
}

fn of_probe(probe: Probe) -> Described {
    match probe {
        Probe::Health => Described::new("readHealth", "process", "How the process is")
            .told(Told::json(200, "It is well.", "Health"))
            .told(Told::json(503, "It has not recovered yet, or its log has failed.", "Health")),
        Probe::Liveness => Described::new("readLiveness", "process", "Whether the process answers")
            .told(Told::text(200, "It does.")),
        Probe::Readiness => {
            Described::new("readReadiness", "process", "Whether requests are welcome")
                .saying("One line per check, `name: ok` or `name: what is wrong`.")
                .told(Told::text(200, "All checks are ok."))
                .told(Told::text(
                    503,
                    "It is replaying its log, its log has failed, or it is stopping.",
                ))
        }
        Probe::Metrics => Described::new("readMetrics", "process", "Figures for Prometheus")
            .told(Told::metrics("The figures, in the text format.")),
        Probe::Document => Described::new("readDocument", "process", "This document")
            .told(Told::document("This document.")),
    }
}

fn of_read(read: Read<'_>) -> Described {
    const PAGES: &str = "Streamed, however long it is. With `limit` it comes in pages, each of which \
                         leads on by a Link.";
    match read {
        Read::Statistics => Described::new("readStatistics", "process", "What was done so far")
            .told(Told::json(200, "The statistics.", "Statistics")),
        Read::User(_) => Described::new("readUser", "users", "A user")
            .told(Told::json(200, "The user.", "User"))
            .refused(&[Refusal::UserNotFound]),
        Read::UserBookings(_) => {
            Described::new("listUserBookings", "users", "A user's bookings, newest first")
                .saying(PAGES)
                .query(&["limit", "after", "booking-status"])
                .told(Told::list("The bookings.", "Booking"))
                .refused(&[Refusal::UserNotFound, Refusal::UnknownCursor])
        }
        Read::Events => Described::new("listEvents", "events", "All events, oldest first")
            .saying(PAGES)
            .query(&["limit", "after"])
            .told(Told::list("The events.", "Event"))
            .refused(&[Refusal::UnknownCursor]),
        Read::Event(_) => Described::new("readEvent", "events", "An event")
            .told(Told::json(200, "The event.", "Event"))
            .refused(&[Refusal::EventNotFound]),
        Read::Tickets(_) => {
            Described::new("listTickets", "events", "An event's tickets, in seat order")
                .saying(PAGES)
                .query(&["limit", "after", "ticket-status"])
                .told(Told::list("The tickets.", "Ticket"))
                .refused(&[Refusal::EventNotFound, Refusal::UnknownCursor])
        }
        Read::AvailableTickets(_) => {
            Described::new("listAvailableTickets", "events", "An event's tickets that are free")
                .saying(PAGES)
                .query(&["limit", "after"])
                .told(Told::list("The tickets, in seat order.", "Ticket"))
                .refused(&[Refusal::EventNotFound, Refusal::UnknownCursor])
        }
        Read::Booking(_) => Described::new("readBooking", "bookings", "A booking")
            .told(Told::json(200, "The booking.", "Booking"))
            .refused(&[Refusal::BookingNotFound]),
    }
}

/// What may be refused of a request that carries an idempotency key.
const KEYED: [Refusal; 3] = [Refusal::RequestInFlight, Refusal::KeyReused, Refusal::Overloaded];

fn of_write(write: Write<'_>) -> Described {
    match write {
        Write::Hold => return hold(),
        Write::Confirm(_) => return confirm(),
        Write::Cancel(_) => return cancel(),
        Write::CreateUser | Write::UpdateUser(_) | Write::DeleteUser(_) | Write::CreateEvent => {}
    }
    let made: &'static [&'static str] = &["Location", "Idempotent-Replayed"];
    match write {
        Write::CreateUser => {
            let user = Told::json(201, "The user was created.", "CreatedUser");
            let next = ["readUser", "replaceUser", "deleteUser", "listUserBookings"];
            Described::new("createUser", "users", "Create a user")
                .body("UserBody")
                .told(user.with_headers(made).leads_to(&next.map(|next| (next, "user_id"))))
                .refused(&[Refusal::EmailTaken])
                .refused(&KEYED)
        }
        Write::UpdateUser(_) => {
            Described::new("replaceUser", "users", "Replace a user's address and name")
                .body("UserBody")
                .told(Told::json(200, "The user as it is now.", "User"))
                .refused(&[Refusal::UserNotFound, Refusal::EmailTaken])
        }
        Write::DeleteUser(_) => Described::new("deleteUser", "users", "Delete a user")
            .saying("Refused while the user has a booking that is pending or confirmed.")
            .told(Told::empty(204, "The user is gone."))
            .refused(&[Refusal::UserNotFound, Refusal::UserHasBookings]),
        Write::CreateEvent => {
            let event = Told::json(201, "The event was created.", "CreatedEvent");
            let next = ["readEvent", "listTickets", "listAvailableTickets"];
            Described::new("createEvent", "events", "Create an event with all its tickets")
                .body("EventBody")
                .told(event.with_headers(made).leads_to(&next.map(|next| (next, "event_id"))))
                .refused(&KEYED)
        }
        Write::Hold | Write::Confirm(_) | Write::Cancel(_) => unreachable!("described above"),
    }
}

fn hold() -> Described {
    let next = ["readBooking", "confirmBooking", "cancelBooking"].map(|next| (next, "booking_id"));
    let told = |status, description| Told::json(status, description, "MadeBooking").leads_to(&next);
    Described::new("holdTickets", "bookings", "Hold tickets for a user")
        .saying(
            "All of them or none, until `expires_at`. A user who asks for exactly the set that one of \
             its own pending bookings holds gets that booking back, with 200 and its expiry \
             unchanged. `seats_unavailable` lists every ticket that was not free, and names the \
             booking that has it if that is the asking user's own.",
        )
        .body("HoldBody")
        .told(
            told(200, "The user holds just these tickets already: the booking that does.")
                .with_headers(&["Idempotent-Replayed"]),
        )
        .told(
            told(201, "The tickets are held.").with_headers(&["Location", "Idempotent-Replayed"]),
        )
        .refused(&[
            Refusal::UserNotFound,
            Refusal::EventNotFound,
            Refusal::DuplicateTickets(Vec::new()),
            Refusal::TooManyTickets,
            Refusal::UnknownTickets(Vec::new()),
            Refusal::SeatsUnavailable(Vec::new()),
            Refusal::TotalTooLarge,
        ])
        .refused(&KEYED)
}

fn confirm() -> Described {
    Described::new("confirmBooking", "bookings", "Confirm a booking: its tickets are sold")
        .saying("For its owner alone. Confirming again answers the same.")
        .body("OwnerBody")
        .told(
            Told::json(200, "The booking, confirmed.", "Booking")
                .with_headers(&["Idempotent-Replayed"]),
        )
        .refused(&[
            Refusal::UserNotFound,
            Refusal::BookingNotFound,
            Refusal::NotYourBooking,
            Refusal::BookingExpired,
            Refusal::BookingCancelled,
        ])
        .refused(&KEYED)
}

fn cancel() -> Described {
    Described::new("cancelBooking", "bookings", "Cancel a booking: its tickets are free")
        .saying("For its owner alone. Cancelling again answers the same.")
        .body("OwnerBody")
        .told(
            Told::json(200, "The booking, cancelled.", "Booking")
                .with_headers(&["Idempotent-Replayed"]),
        )
        .refused(&[
            Refusal::UserNotFound,
            Refusal::BookingNotFound,
            Refusal::NotYourBooking,
            Refusal::BookingExpired,
            Refusal::AlreadyConfirmed,
        ])
        .refused(&KEYED)
}
