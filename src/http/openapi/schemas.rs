//! Schemas of what is sent and answered.
//!
//! Which members there are is never said here: of an answer they are read off what is written of a
//! sample, and of a request off the type that it is read into, and which of them are required off what
//! is said of `{}`. What a member means stands in [`member`], once for all that have it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value, json};

use super::samples::parsed;
use super::{answers, samples};
use crate::domain::{
    Amount, BookingStatus, Currency, DATE_BYTES_MAX, EMAIL_CHARS_MAX, NAME_CHARS_MAX,
    SEATS_PER_EVENT_MAX, TICKETS_PER_BOOKING_MAX, TITLE_CHARS_MAX, TicketStatus,
};
use crate::http::body::{self, EventMembers, HoldMembers, OwnerMembers, UserMembers};
use crate::http::handlers::health::{self, Health};
use crate::http::json::Json;
use crate::http::problem::{Problem, Reason};
use crate::http::shape;

/// No control character anywhere.
const PLAIN_TEXT: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$";
const EMAIL: &str = "^[^@\\s\\u0000-\\u001F\\u007F-\\u009F]+@[^@.\\s\\u0000-\\u001F\\u007F-\\u009F]+(\\.[^@.\\s\\u0000-\\u001F\\u007F-\\u009F]+)*$";
const UUID: &str = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
const OWN_TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

/// What a status is the status of.
#[derive(Clone, Copy)]
enum Of {
    Ticket,
    Booking,
    Health,
    Other,
}

/// All schemas but those of refusals.
pub(super) fn components() -> Map<String, Value> {
    let user = samples::user();
    let new_user = shape::new_user(user.id.public(), user.email.as_str(), user.name.as_str());
    let event = samples::event();
    let new_event = shape::new_event(event.id, samples::time(0), &event.details);
    let made = shape::made(&samples::made());
    let booking = samples::booking(BookingStatus::Confirmed);
    let ticket = samples::ticket_view();
    Map::from_iter([
        named("Id", id("An id: a UUID that the server made.")),
        named("TicketStatus", words(&TicketStatus::ALL.map(TicketStatus::name))),
        named("BookingStatus", words(&BookingStatus::ALL.map(BookingStatus::name))),
        named("Currency", currency()),
        named("User", answer("A user.", parsed(shape::user(&user)), Of::Other)),
        named("CreatedUser", answer("A new user.", parsed(new_user), Of::Other)),
        named("Event", answer("An event.", written(|json| shape::event(json, &event)), Of::Other)),
        named("CreatedEvent", answer("A new event.", parsed(new_event), Of::Other)),
        named("Ticket", {
            let ticket = written(|json| shape::ticket(json, &ticket, &event));
            answer("A ticket of an event.", ticket, Of::Ticket)
        }),
        named("Booking", {
            let booking = parsed(shape::one_booking(&booking));
            answer("A booking.", booking, Of::Booking)
        }),
        named("MadeBooking", answer("A booking, as it is made.", parsed(made), Of::Booking)),
        named("Health", health()),
        named("Statistics", answers::statistics()),
        named("UserBody", request::<UserMembers<'static>, _>("A user.", body::user)),
        named("EventBody", request::<EventMembers<'static>, _>("An event.", body::event)),
        named("HoldBody", request::<HoldMembers<'static>, _>("Who wants what.", body::hold)),
        named("OwnerBody", request::<OwnerMembers<'static>, _>("Who asks.", body::owner)),
    ])
}

/// What `write` writes, read again.
fn written(write: impl FnOnce(&mut Json)) -> Value {
    let mut json = Json::default();
    write(&mut json);
    parsed(json)
}

fn named(name: &str, schema: Value) -> (String, Value) {
    (name.to_owned(), schema)
}

/// An object that is answered, by the members of what was written of a sample.
fn answer(description: &str, sample: Value, of: Of) -> Value {
    let names: Vec<&String> = sample.as_object().unwrap().keys().collect();
    let properties: Map<_, _> =
        names.iter().map(|name| ((*name).clone(), member(name, of))).collect();
    json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "required": names,
        "examples": [sample],
    })
}

/// The health of the process; the reason is there if it is not well.
fn health() -> Value {
    let of = |health| {
        let sample = samples::content(health::describe(&health, samples::time(0)));
        answer("How the process is.", sample, Of::Health)
    };
    let (well, mut schema) = (of(Health::Healthy), of(Health::Unhealthy("EIO".to_owned())));
    for part in ["required", "examples"] {
        schema[part] = well[part].clone();
    }
    schema
}

/// An object that is asked for: its members are those of `T`, and those that `read` misses in an
/// empty object are required.
fn request<T: Deserialize<'static>, B: fmt::Debug>(
    description: &str,
    read: impl Fn(&[u8]) -> Result<B, Problem>,
) -> Value {
    let Reason::ValidationFailed(faults) = read(b"{}").unwrap_err().reason else {
        panic!("an empty object breaks no rule of {description}");
    };
    let required: Vec<&str> = faults.iter().map(|fault| &fault.pointer[1..]).collect();
    let fields = fields::<T>();
    let properties: Map<_, _> =
        fields.iter().map(|name| ((*name).to_owned(), asked(name, &required))).collect();
    json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

/// A member of a request. One that is not required may be `null`, which counts as absent.
fn asked(name: &str, required: &[&str]) -> Value {
    let schema = match name {
        // What is answered is the server's own or was accepted before, and needs fewer words.
        "user_id" | "event_id" => id("An id, as it was answered."),
        "ticket_ids" => json!({
            "description": "The tickets, in any order, each once.",
            "type": "array",
            "items": id("A ticket of the event."),
            "minItems": 1,
            "maxItems": TICKETS_PER_BOOKING_MAX,
            "uniqueItems": true,
        }),
        name => member(name, Of::Other),
    };
    if required.contains(&name) {
        return schema;
    }
    json!({"anyOf": [schema, {"type": "null"}], "default": Currency::DEFAULT.code()})
}

fn id(description: &str) -> Value {
    json!({"description": description, "type": "string", "format": "uuid", "pattern": UUID})
}

fn id_of(what: &str) -> Value {
    json!({"description": format!("The id of {what}."), "$ref": "#/components/schemas/Id"})
}

fn words(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

fn text(description: &str, chars_max: usize) -> Value {
    json!({
        "description": description,
        "type": "string",
        "minLength": 1,
        "maxLength": chars_max,
        "allOf": [{"pattern": "\\S"}, {"pattern": PLAIN_TEXT}],
    })
}

fn time(description: &str) -> Value {
    json!({
        "description": description,
        "type": "string",
        "format": "date-time",
        "pattern": OWN_TIME,
    })
}

fn count(description: &str) -> Value {
    json!({"description": description, "type": "integer", "minimum": 0})
}

fn amount(description: &str) -> Value {
    json!({
        "description": format!(
            "{description} A plain decimal number, without an exponent, with at most as many decimals \
             as the currency has, and at most {} of its smallest units.",
            Amount::MAX.minor()
        ),
        "type": "number",
        "minimum": 0,
        "maximum": Amount::MAX.minor(),
    })
}

fn currency() -> Value {
    let letters = || b'A'..=b'Z';
    let codes =
        letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    let codes = codes.map(|code| String::from_utf8(code.to_vec()).unwrap());
    let known: Vec<String> = codes.filter(|code| Currency::from_code(code).is_some()).collect();
    json!({
        "description": "A currency of ISO 4217 that has a smallest unit.",
        "type": "string",
        "enum": known,
    })
}

/// What a member means, wherever it stands.
fn member(name: &str, of: Of) -> Value {
    match (name, of) {
        ("id", _) => id_of("this"),
        ("user_id", _) => id_of("the user"),
        ("event_id", _) => id_of("the event"),
        ("booking_id", _) => id_of("the booking"),
        ("ticket_ids", _) => json!({
            "description": "The tickets, in seat order.",
            "type": "array",
            "items": {"$ref": "#/components/schemas/Id"},
        }),
        ("email", _) => json!({
            "description": "Unique among users, without regard to the case of ASCII letters.",
            "type": "string",
            "maxLength": EMAIL_CHARS_MAX,
            "pattern": EMAIL,
        }),
        ("name", _) => {
            assert_eq!(NAME_CHARS_MAX, TITLE_CHARS_MAX, "people's names and titles differ");
            text("Its name.", NAME_CHARS_MAX)
        }
        ("artist", _) => text("Who performs.", TITLE_CHARS_MAX),
        ("venue", _) => text("Where.", TITLE_CHARS_MAX),
        ("date", _) => json!({
            "description": "When it begins: RFC 3339 with an offset from UTC; it may lie in the past, \
                            and comes back as it was sent.",
            "type": "string",
            "format": "date-time",
            "pattern": DATE,
            "maxLength": DATE_BYTES_MAX,
        }),
        ("total_seats", _) => json!({
            "description": "How many seats there are, numbered from 1.",
            "type": "integer",
            "minimum": 1,
            "maximum": SEATS_PER_EVENT_MAX,
        }),
        ("price", _) => amount("What one ticket costs."),
        ("total_amount", _) => amount("The sum of the tickets' own prices."),
        ("currency", _) => json!({"$ref": "#/components/schemas/Currency"}),
        ("seat_number", _) => json!({
            "description": "The place in the event, from 1.", "type": "integer", "minimum": 1,
        }),
        ("available", _) => count("How many tickets nobody has."),
        ("reserved", _) => count("How many are under a hold."),
        ("sold", _) => {
            count("How many are sold. The three add up to total_seats at every instant.")
        }
        ("created_at", _) => time("When it was created."),
        ("updated_at", _) => time("When it last changed."),
        ("expires_at", _) => time("When the hold ends, exactly, or would have ended."),
        ("expires_in_ms", _) => count("What was left of the hold when this was answered first."),
        ("status", Of::Ticket) => json!({"$ref": "#/components/schemas/TicketStatus"}),
        ("status", Of::Booking) => json!({"$ref": "#/components/schemas/BookingStatus"}),
        ("status", Of::Health) => words(&["healthy", "starting", "unhealthy"]),
        ("timestamp", _) => time("Now."),
        ("service", _) => json!({"const": "booking-manager"}),
        ("version", _) => json!({"description": "Of the server.", "type": "string"}),
        ("features", _) => json!({
            "description": "What it can do.", "type": "array", "items": {"type": "string"},
        }),
        ("reason", _) => json!({"description": "Why it is not well.", "type": "string"}),
        (name, _) => panic!("{name} is answered, and nothing is said of it here"),
    }
}

/// What a member of a problem means.
pub(super) fn of_problem(name: &str) -> Value {
    let string = |description| json!({"description": description, "type": "string"});
    let array =
        |description, items| json!({"description": description, "type": "array", "items": items});
    match name {
        "type" => json!({
            "description": "`/problems/` and the code.", "type": "string", "format": "uri-reference",
        }),
        "title" => string("The same words for every occurrence."),
        "status" => json!({"description": "The status code.", "type": "integer"}),
        "detail" => string("What is to be said of this occurrence."),
        "instance" => string("The path that was asked for; `*` where none could be read."),
        "code" => string("What was refused, for programs."),
        "request_id" => string("As in X-Request-Id."),
        "retryable" => json!({
            "description": "Whether the same request may succeed later, as it is.",
            "type": "boolean",
        }),
        "errors" => array(
            "All that is wrong, at once.",
            json!({
                "type": "object",
                "properties": {
                    "pointer": string("A JSON pointer (RFC 6901) to the culprit."),
                    "detail": string("What it must be."),
                },
                "required": ["pointer", "detail"],
            }),
        ),
        "conflicts" => array("Every ticket that was not free.", conflict()),
        "ticket_ids" => {
            array("The tickets that this is about.", json!({"$ref": "#/components/schemas/Id"}))
        }
        "limit" => json!({
            "description": "How many tickets one booking may take.",
            "const": TICKETS_PER_BOOKING_MAX,
        }),
        name => panic!("a problem has {name}, and nothing is said of it here"),
    }
}

fn conflict() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ticket_id": id_of("the ticket"),
            "seat_number": member("seat_number", Of::Ticket),
            "status": {"$ref": "#/components/schemas/TicketStatus"},
            "held_by_you": {"description": "Whose booking has it: yours.", "const": true},
            "booking_id": id_of("your booking that has it"),
        },
        "required": ["ticket_id", "seat_number", "status"],
        "dependentRequired": {"held_by_you": ["booking_id"], "booking_id": ["held_by_you"]},
    })
}

/// The names of the members that `T` is read from.
pub(super) fn fields<T: Deserialize<'static>>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It is asked for its names, and given nothing.
    assert!(T::deserialize(Names(&mut fields)).is_err());
    fields
}

/// Reads nothing, but notes what it is asked for.
struct Names<'n>(&'n mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
