//! Refusals as clients see them: RFC 9457 problem details.
//!
//! This is the only place that knows which status code a refusal has. `type` is a relative
//! reference that will not change, `/problems/` and the code; a program goes by `code`.

use std::borrow::Cow;

use hyper::StatusCode;

use super::json::Json;
use super::route::Methods;
use crate::domain::{Conflict, PublicId, Refusal, TICKETS_PER_BOOKING_MAX};

/// The media type of every refusal.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// When to come back after a 503, in seconds.
pub(super) const RETRY_AFTER_SECONDS: &str = "1";

/// What kind of refusal it is: a closed list of what the edge refuses by itself, and whatever the
/// engine refuses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// The request's head or framing is ambiguous or broken.
    MalformedRequest,
    /// The body is not JSON.
    MalformedJson,
    /// A parameter in path, query or header is not acceptable.
    BadParameter,
    /// Nothing lives at this path.
    NotFound,
    /// What lives there does not know the method; it knows these.
    MethodNotAllowed(Methods),
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body is too long.
    BodyTooLarge,
    /// The request target is too long.
    TargetTooLong,
    /// The body is not declared to be JSON.
    UnsupportedMediaType,
    /// The head is too long.
    HeadersTooLarge,
    /// The body is JSON but breaks these rules.
    ValidationFailed(Vec<Fault>),
    /// The server is replaying its log.
    NotReady,
    /// Too many connections.
    TooManyConnections,
    /// The log has failed; or it has not moved for too long.
    StorageUnavailable,
    /// The engine refused.
    Engine(Refusal),
}

/// One broken rule, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// A JSON pointer (RFC 6901) to the culprit.
    pub(super) pointer: Cow<'static, str>,
    /// What it must be.
    pub(super) detail: Cow<'static, str>,
}

impl Fault {
    /// `detail` is wrong with what stands at `pointer`.
    pub(super) fn new(
        pointer: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// A refusal on its way to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    pub(super) reason: Reason,
    /// What is to be said about this occurrence; the reason's own words where there is nothing.
    detail: Option<Cow<'static, str>>,
    /// Whether the connection cannot go on, because what follows on it cannot be told apart.
    pub(super) closes: bool,
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None, closes: false }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        if refusal == Refusal::TotalTooLarge {
            let detail = "add up to more than one booking can cost";
            return Reason::ValidationFailed(vec![Fault::new("/ticket_ids", detail)]).into();
        }
        Reason::Engine(refusal).into()
    }
}

impl Reason {
    /// This refusal with something to say about the occurrence.
    pub(super) fn because(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { detail: Some(detail.into()), ..self.into() }
    }

    /// The status code.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::MalformedRequest | Self::MalformedJson | Self::BadParameter => {
                StatusCode::BAD_REQUEST
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ValidationFailed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotReady | Self::TooManyConnections | Self::StorageUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Engine(refusal) => status_of(refusal),
        }
    }

    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::MalformedJson => "malformed_json",
            Self::BadParameter => "bad_parameter",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ValidationFailed(_) => "validation_failed",
            Self::NotReady => "not_ready",
            Self::TooManyConnections => "overloaded",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Engine(refusal) => refusal.code(),
        }
    }

    fn retryable(&self) -> bool {
        match self {
            Self::RequestTimeout
            | Self::NotReady
            | Self::TooManyConnections
            | Self::StorageUnavailable => true,
            Self::MalformedRequest
            | Self::MalformedJson
            | Self::BadParameter
            | Self::NotFound
            | Self::MethodNotAllowed(_)
            | Self::BodyTooLarge
            | Self::TargetTooLong
            | Self::UnsupportedMediaType
            | Self::HeadersTooLarge
            | Self::ValidationFailed(_) => false,
            Self::Engine(refusal) => refusal.retryable(),
        }
    }

    /// Whether the server itself failed, rather than the client, or the load on it.
    pub(super) fn is_of_the_server(&self) -> bool {
        *self == Self::StorageUnavailable || *self == Self::Engine(Refusal::StorageUnavailable)
    }

    /// The same words for every occurrence.
    fn title(&self) -> &'static str {
        match self {
            Self::MalformedRequest => "The request is not well-formed HTTP",
            Self::MalformedJson => "The body is not well-formed JSON",
            Self::BadParameter => "A parameter is not acceptable",
            Self::NotFound => "There is nothing at this path",
            Self::MethodNotAllowed(_) => "The method is not allowed here",
            Self::RequestTimeout => "The request did not arrive in time",
            Self::BodyTooLarge => "The body is too large",
            Self::TargetTooLong => "The request target is too long",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::HeadersTooLarge => "The header fields are too large",
            Self::ValidationFailed(_) => "The request breaks a rule",
            Self::NotReady => "The server is not ready yet",
            Self::TooManyConnections => "The server is overloaded",
            Self::StorageUnavailable => "The log cannot be written",
            Self::Engine(refusal) => title_of(refusal),
        }
    }

    fn default_detail(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed(_) => "The Allow header lists the methods that are.",
            Self::ValidationFailed(_) => "The errors say which, each with a pointer to its place.",
            Self::NotReady => "The log is being replayed. Try again shortly.",
            Self::TooManyConnections => "There are too many connections. Try again shortly.",
            Self::StorageUnavailable => {
                "It is unknown whether the request took effect. Repeat it with the same \
                 Idempotency-Key, or look."
            }
            Self::Engine(refusal) => detail_of(refusal),
            Self::MalformedRequest
            | Self::MalformedJson
            | Self::BadParameter
            | Self::NotFound
            | Self::RequestTimeout
            | Self::BodyTooLarge
            | Self::TargetTooLong
            | Self::UnsupportedMediaType
            | Self::HeadersTooLarge => self.title(),
        }
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::UserNotFound | Refusal::EventNotFound | Refusal::BookingNotFound => {
            StatusCode::NOT_FOUND
        }
        Refusal::DuplicateTickets(_)
        | Refusal::TooManyTickets
        | Refusal::UnknownTickets(_)
        | Refusal::KeyReused
        | Refusal::TotalTooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::UnknownCursor => StatusCode::BAD_REQUEST,
        Refusal::NotYourBooking => StatusCode::FORBIDDEN,
        Refusal::SeatsUnavailable(_)
        | Refusal::EmailTaken
        | Refusal::BookingExpired
        | Refusal::BookingCancelled
        | Refusal::AlreadyConfirmed
        | Refusal::RequestInFlight
        | Refusal::UserHasBookings => StatusCode::CONFLICT,
        Refusal::Overloaded | Refusal::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn title_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UserNotFound => "There is no such user",
        Refusal::EventNotFound => "There is no such event",
        Refusal::BookingNotFound => "There is no such booking",
        Refusal::DuplicateTickets(_) => "A ticket is named more than once",
        Refusal::TooManyTickets => "Too many tickets for one booking",
        Refusal::UnknownTickets(_) => "Some tickets do not exist",
        Refusal::UnknownCursor => "A parameter is not acceptable",
        Refusal::NotYourBooking => "The booking belongs to another user",
        Refusal::SeatsUnavailable(_) => "Some seats are not available",
        Refusal::EmailTaken => "The e-mail address is taken",
        Refusal::BookingExpired => "The booking has expired",
        Refusal::BookingCancelled => "The booking was cancelled",
        Refusal::AlreadyConfirmed => "The booking is confirmed already",
        Refusal::RequestInFlight => "The same request is still in flight",
        Refusal::KeyReused => "The idempotency key was used before",
        Refusal::UserHasBookings => "The user has live bookings",
        Refusal::TotalTooLarge => "The total is too large",
        Refusal::Overloaded => "The server is overloaded",
        Refusal::StorageUnavailable => "The log cannot be written",
    }
}

fn detail_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::DuplicateTickets(_) => "Each ticket may be named once; ticket_ids lists those.",
        Refusal::TooManyTickets => {
            const { assert!(TICKETS_PER_BOOKING_MAX == 100, "the next line says 100") };
            "One booking takes at most 100 tickets."
        }
        Refusal::UnknownTickets(_) => "These ticket_ids name no ticket of the event.",
        Refusal::UnknownCursor => "The list has nothing with the id that after names.",
        Refusal::NotYourBooking => "Only the user who made it can confirm or cancel it.",
        Refusal::SeatsUnavailable(_) => "Nothing was booked; conflicts lists what was not free.",
        Refusal::EmailTaken => "Another user has it; case does not count.",
        Refusal::BookingExpired => "Its hold ended before the request. Book again.",
        Refusal::BookingCancelled => "A cancelled booking cannot come back. Book again.",
        Refusal::AlreadyConfirmed => "A confirmed booking cannot be cancelled.",
        Refusal::RequestInFlight => "A request with this Idempotency-Key is being worked on.",
        Refusal::KeyReused => "It belongs to a request with another method, path or body.",
        Refusal::UserHasBookings => "A user with pending or confirmed bookings stays.",
        Refusal::Overloaded => "There is no room for this now. Nothing was changed.",
        Refusal::StorageUnavailable => "Nothing was changed. Try again shortly.",
        Refusal::UserNotFound
        | Refusal::EventNotFound
        | Refusal::BookingNotFound
        | Refusal::TotalTooLarge => title_of(refusal),
    }
}

impl Problem {
    /// This refusal, and nothing after it on the connection.
    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The body.
    pub(super) fn body(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let reason = &self.reason;
        let detail = self.detail.as_deref();
        let mut json = Json::with_capacity(384);
        json.raw("{\"type\":\"/problems/").raw(reason.code());
        json.raw("\",\"title\":").string(reason.title());
        json.raw(",\"status\":")
            .raw(reason.status().as_str())
            .raw(",\"detail\":")
            .string(detail.unwrap_or_else(|| reason.default_detail()));
        json.raw(",\"instance\":").string(instance);
        json.raw(",\"code\":\"").raw(reason.code());
        json.raw("\",\"request_id\":").string(request_id);
        json.raw(",\"retryable\":");
        json.raw(if reason.retryable() { "true" } else { "false" });
        write_members(&mut json, reason);
        json.raw("}");
        json.into_bytes()
    }
}

/// The typed members that a refusal has beside those that all have.
fn write_members(json: &mut Json, reason: &Reason) {
    let ids = |json: &mut Json, ids: &[PublicId]| {
        json.raw(",\"ticket_ids\":").list(ids, |json, id| {
            json.id(*id);
        });
    };
    match reason {
        Reason::ValidationFailed(faults) => {
            json.raw(",\"errors\":").list(faults, |json, fault| {
                json.raw("{\"pointer\":").string(&fault.pointer);
                json.raw(",\"detail\":").string(&fault.detail).raw("}");
            });
        }
        Reason::Engine(Refusal::SeatsUnavailable(conflicts)) => {
            json.raw(",\"conflicts\":").list(conflicts, write_conflict);
        }
        Reason::Engine(Refusal::DuplicateTickets(tickets) | Refusal::UnknownTickets(tickets)) => {
            ids(json, tickets);
        }
        Reason::Engine(Refusal::TotalTooLarge) => {
            let detail = "the sum of their prices is too large";
            json.raw(",\"errors\":[{\"pointer\":\"/ticket_ids\",\"detail\":")
                .string(detail)
                .raw("}]");
        }
        Reason::Engine(Refusal::TooManyTickets) => {
            json.raw(",\"limit\":").number(TICKETS_PER_BOOKING_MAX as u64);
        }
        Reason::MalformedRequest
        | Reason::MalformedJson
        | Reason::BadParameter
        | Reason::NotFound
        | Reason::MethodNotAllowed(_)
        | Reason::RequestTimeout
        | Reason::BodyTooLarge
        | Reason::TargetTooLong
        | Reason::UnsupportedMediaType
        | Reason::HeadersTooLarge
        | Reason::NotReady
        | Reason::TooManyConnections
        | Reason::StorageUnavailable
        | Reason::Engine(
            Refusal::UserNotFound
            | Refusal::EventNotFound
            | Refusal::BookingNotFound
            | Refusal::UnknownCursor
            | Refusal::NotYourBooking
            | Refusal::EmailTaken
            | Refusal::BookingExpired
            | Refusal::BookingCancelled
            | Refusal::AlreadyConfirmed
            | Refusal::RequestInFlight
            | Refusal::KeyReused
            | Refusal::UserHasBookings
            | Refusal::Overloaded
            | Refusal::StorageUnavailable,
        ) => {}
    }
}

fn write_conflict(json: &mut Json, conflict: &Conflict) {
    json.raw("{\"ticket_id\":").id(conflict.ticket.public());
    json.raw(",\"seat_number\":").number(u64::from(conflict.slot.seat_number()));
    json.raw(",\"status\":\"").raw(conflict.status.name());
    json.raw("\"");
    if let Some(booking) = conflict.held_by_you {
        json.raw(",\"held_by_you\":true,\"booking_id\":").id(booking.public());
    }
    json.raw("}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        BookingId, EventNumber, RowNumber, SlotIndex, Tag, TicketId, TicketStatus,
    };

    fn body(problem: &Problem) -> Value {
        serde_json::from_slice(&problem.body("/api/\"x", "id-1")).unwrap()
    }

    #[test]
    fn a_problem_has_all_its_members() {
        let problem = Reason::BadParameter.because("limit must be a number");
        assert_eq!(
            body(&problem),
            json!({
                "type": "/problems/bad_parameter",
                "title": "A parameter is not acceptable",
                "status": 400,
                "detail": "limit must be a number",
                "instance": "/api/\"x",
                "code": "bad_parameter",
                "request_id": "id-1",
                "retryable": false,
            })
        );
    }

    #[test]
    fn conflicts_name_the_booking_only_if_it_is_the_askers_own() {
        let event = EventNumber::new(1);
        let tag = Tag::new(5);
        let conflict = |slot, held_by_you| Conflict {
            ticket: TicketId { event, slot: SlotIndex::new(slot), tag },
            slot: SlotIndex::new(slot),
            status: TicketStatus::Reserved,
            held_by_you,
        };
        let row = RowNumber::new(3);
        let own = BookingId { event, row, tag };
        let refusal = Refusal::SeatsUnavailable(vec![conflict(0, None), conflict(7, Some(own))]);
        let body = body(&refusal.into());
        assert_eq!(body["status"], 409);
        assert_eq!(body["retryable"], true);
        assert_eq!(body["conflicts"][0]["seat_number"], 1);
        assert!(body["conflicts"][0].get("held_by_you").is_none());
        assert_eq!(body["conflicts"][1]["held_by_you"], true);
        let id = uuid::Uuid::from_u128(own.public().0).to_string();
        assert_eq!(body["conflicts"][1]["booking_id"], id);
    }

    #[test]
    fn validation_lists_every_fault() {
        let faults = vec![Fault::new("/a", "is required"), Fault::new("/b/3", "must be")];
        let body = body(&Reason::ValidationFailed(faults).into());
        assert_eq!(body["status"], 422);
        assert_eq!(body["errors"][1]["pointer"], "/b/3");
        assert_eq!(body["errors"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_engines_refusals_keep_their_codes_and_get_the_contracts_status() {
        let cases = [
            (Refusal::UserNotFound, 404, "user_not_found"),
            (Refusal::NotYourBooking, 403, "not_your_booking"),
            (Refusal::EmailTaken, 409, "email_taken"),
            (Refusal::BookingExpired, 409, "booking_expired"),
            (Refusal::RequestInFlight, 409, "request_in_flight"),
            (Refusal::KeyReused, 422, "idempotency_key_reused"),
            (Refusal::TooManyTickets, 422, "too_many_tickets"),
            (Refusal::TotalTooLarge, 422, "validation_failed"),
            (Refusal::Overloaded, 503, "overloaded"),
            (Refusal::StorageUnavailable, 503, "storage_unavailable"),
        ];
        for (refusal, status, code) in cases {
            let body = body(&refusal.into());
            assert_eq!(body["status"], status, "{code}");
            assert_eq!(body["code"], code);
            assert_eq!(body["type"], format!("/problems/{code}"));
        }
    }
}
