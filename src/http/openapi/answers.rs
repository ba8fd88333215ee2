//! Headers and parameters, and the answers that are no refusals.

use serde_json::{Map, Value, json};

use crate::domain::{BookingStatus, KEY_CHARS_MAX, TicketStatus};
use crate::http::dress::{JSON, METRICS, TEXT};
use crate::http::problem::RETRY_AFTER_SECONDS;
use crate::http::query::LIMIT_MAX;

/// An answer that is no refusal.
pub(super) struct Told {
    pub(super) status: u16,
    description: &'static str,
    /// Beside those that every answer has.
    headers: &'static [&'static str],
    content: Option<(&'static str, Value)>,
    links: Value,
}

impl Told {
    pub(super) fn empty(status: u16, description: &'static str) -> Self {
        Self { status, description, headers: &[], content: None, links: Value::Null }
    }

    /// With a body of this schema.
    pub(super) fn json(status: u16, description: &'static str, schema: &str) -> Self {
        let content = Some((JSON, reference(schema)));
        Self { content, ..Self::empty(status, description) }
    }

    /// With an array of this schema, which may lead on.
    pub(super) fn list(description: &'static str, schema: &str) -> Self {
        let array = json!({"type": "array", "items": reference(schema)});
        let content = Some((JSON, array));
        Self { content, headers: &["Link"], ..Self::empty(200, description) }
    }

    pub(super) fn text(status: u16, description: &'static str) -> Self {
        let content = Some((TEXT, json!({"type": "string"})));
        Self { content, ..Self::empty(status, description) }
    }

    pub(super) fn metrics(description: &'static str) -> Self {
        let content = Some((METRICS, json!({"type": "string"})));
        Self { content, ..Self::empty(200, description) }
    }

    pub(super) fn document(description: &'static str) -> Self {
        let schema = json!({"type": "object", "required": ["openapi", "info", "paths"]});
        Self { content: Some((JSON, schema)), ..Self::empty(200, description) }
    }

    pub(super) fn with_headers(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }

    /// What can be asked next, by the operations that take an id as `(operation, member)`.
    pub(super) fn leads_to(self, operations: &[(&str, &str)]) -> Self {
        let links = operations.iter().map(|(operation, member)| {
            let parameters = json!({"id": format!("$response.body#/{member}")});
            let link = json!({"operationId": operation, "parameters": parameters});
            ((*operation).to_owned(), link)
        });
        Self { links: Value::Object(links.collect()), ..self }
    }

    /// As an OpenAPI response.
    pub(super) fn response(&self) -> Value {
        let mut names = vec!["X-Request-Id", "X-Log-Position"];
        names.extend(self.headers);
        let mut response = json!({"description": self.description, "headers": headers(&names)});
        if let Some((media_type, schema)) = &self.content {
            response["content"] = json!({*media_type: {"schema": schema}});
        }
        if !self.links.is_null() {
            response["links"] = self.links.clone();
        }
        response
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// References to these headers.
pub(super) fn headers(names: &[&str]) -> Map<String, Value> {
    let header =
        |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.iter().map(header).collect()
}

/// The headers of answers.
pub(super) fn header_components() -> Value {
    let string = || json!({"type": "string"});
    json!({
        "X-Request-Id": {
            "description": "The request's own, if it had one that could be repeated; else one that \
                            was made. Log lines name it.",
            "required": true,
            "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
        },
        "X-Log-Position": {
            "description": "Where the answer stands in the log: at the record of what it did, or, if \
                            it did nothing, at a mark that was durable before it was sent. Absent only \
                            until the log has been opened.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "Location": {
            "description": "The path of what was made.",
            "required": true,
            "schema": {"type": "string", "format": "uri-reference"},
        },
        "Link": {
            "description": "`<…>; rel=\"next\"` (RFC 8288): where the list goes on. Only with `limit`, \
                            and only if there may be more.",
            "schema": string(),
        },
        "Allow": {
            "description": "The methods that there are.",
            "required": true,
            "schema": string(),
        },
        "Retry-After": {
            "description": "In how many seconds to try again.",
            "required": true,
            "schema": {"const": RETRY_AFTER_SECONDS.parse::<u32>().unwrap()},
        },
        "Idempotent-Replayed": {
            "description": "There if this is the first answer to an earlier request with the same \
                            Idempotency-Key.",
            "schema": {"const": "true"},
        },
    })
}

/// The parameters of requests, by the names that actions refer to them by.
pub(super) fn parameter_components() -> Value {
    let query = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "query", "description": description, "schema": schema});
    json!({
        "id": {
            "name": "id", "in": "path", "required": true,
            "description": "The id, as it was answered.",
            "schema": reference("Id"),
        },
        "limit": query(
            "limit",
            "How many entries a page may have. It may have fewer and yet not be the last: that one has no \
             Link. Without `limit` the whole list comes.",
            json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
        ),
        "after": query(
            "after",
            "The id of the entry to go on behind: the last one of the page before.",
            reference("Id"),
        ),
        "ticket-status": query(
            "status",
            "Only tickets of this status.",
            json!({"type": "string", "enum": TicketStatus::ALL.map(TicketStatus::name)}),
        ),
        "booking-status": query(
            "status",
            "Only bookings of this status.",
            json!({"type": "string", "enum": BookingStatus::ALL.map(BookingStatus::name)}),
        ),
        "request-id": {
            "name": "X-Request-Id", "in": "header",
            "description": "A name for the request, to be repeated in the answer. One that is not of \
                            this form is ignored.",
            "schema": {"type": "string"},
            "example": "checkout-7f3a",
        },
        "idempotency-key": {
            "name": "Idempotency-Key", "in": "header",
            "description": format!(
                "1 to {KEY_CHARS_MAX} visible ASCII characters, with or without quotes around them. The \
                 same key, path and body get the first success again, with Idempotent-Replayed, for at \
                 least 24 hours and across restarts. Another body is 422 `idempotency_key_reused`, a \
                 request still in flight 409 `request_in_flight`. Refusals are not remembered."
            ),
            "schema": {
                "type": "string",
                "anyOf": [
                    {"pattern": format!("^[!#-~][!-~]{{0,{}}}$", KEY_CHARS_MAX - 1)},
                    {"pattern": format!("^\"[!#-\\[\\]-~]{{1,{KEY_CHARS_MAX}}}\"$")},
                ],
            },
            "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
        },
    })
}

/// The statistics: the members that clients rely on, and that there are more.
pub(super) fn statistics() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    let object = |members: &[&str]| {
        let properties: Map<_, _> = members.iter().map(|m| ((*m).to_owned(), count())).collect();
        json!({"type": "object", "properties": properties, "required": members})
    };
    let counts = [
        "total_requests",
        "successful_bookings",
        "failed_bookings",
        "queue_length",
        "uptime_seconds",
    ];
    let mut statistics = object(&counts);
    statistics["description"] = json!(
        "What was done so far. `total_requests` counts booking requests that reached the engine, and \
         equals `successful_bookings` + `failed_bookings` once none is in flight. `lock_stats` counts \
         tickets under a hold. Members may be added."
    );
    let mut queues = object(&["total_queues", "total_pending"]);
    queues["patternProperties"] = json!({"^queue_[0-9]+$": object(&["length", "capacity"])});
    let more = [
        ("requests_per_second", json!({"type": "number", "minimum": 0})),
        ("lock_stats", object(&["total_locks", "active_locks", "expired_locks"])),
        ("queue_stats", queues),
        (
            "latency",
            json!({
                "description": "By operation: whole life and the last ten seconds, in microseconds.",
                "type": "object",
            }),
        ),
        ("wal", json!({"description": "The log.", "type": "object"})),
        ("mirror", json!({"description": "The copy in PostgreSQL.", "type": "object"})),
        ("memory", json!({"description": "In bytes.", "type": "object"})),
    ];
    let mut required: Vec<&str> = counts.into();
    for (name, schema) in more {
        required.push(name);
        statistics["properties"][name] = schema;
    }
    statistics["required"] = json!(required);
    statistics
}
