//! Which request is answered how.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use uuid::Uuid;

use crate::load::clock::unix_millis;

use super::Behind;
use super::bodies::{Booking, CONSTANT, Event, Wanted};
use super::ids;
use super::shows::Shows;

/// Tickets in a page, at most.
const PAGE: u32 = 10_000;
/// Seats of an event, at most.
const SEATS_MAX: u32 = 1_000_000;

/// What one runtime answers from.
#[derive(Debug)]
pub(super) struct Desk {
    behind: Behind,
    shows: Arc<Shows>,
}

/// An answer before it is one of HTTP.
struct Reply {
    status: StatusCode,
    body: Bytes,
    /// Of a new booking.
    location: Option<HeaderValue>,
}

impl Reply {
    fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), location: None }
    }

    fn problem(status: StatusCode, code: &str) -> Self {
        let body = format!(r#"{{"status":{},"code":"{code}"}}"#, status.as_u16());
        Self::json(status, body)
    }

    fn booked(body: impl Into<Bytes>, location: HeaderValue) -> Self {
        Self { location: Some(location), ..Self::json(StatusCode::CREATED, body) }
    }

    fn malformed() -> Self {
        Self::problem(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed")
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(location) = self.location {
            headers.insert(LOCATION, location);
            // Of no use here; they make the answer as large as booking-manager's.
            headers.insert("x-log-position", HeaderValue::from_static("1234567890"));
            headers.insert("x-request-id", HeaderValue::from_static("0123456789abcdef-00000001"));
        }
        response
    }
}

/// Answers a request.
pub(super) async fn answer(
    desk: Rc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        // Whoever asked has gone.
        return Ok(Reply::malformed().response());
    };
    let body = body.to_bytes();
    let path = head.uri.path();
    let reply = match (&head.method, path) {
        (&Method::POST, "/api/bookings") => desk.hold(&body).await,
        (&Method::POST, "/api/users") => desk.register(&body).await,
        (&Method::POST, "/api/events") => desk.show(&body).await,
        (&Method::GET, "/health") => Ok(Reply::json(StatusCode::OK, r#"{"status":"ok"}"#)),
        (&Method::GET, _) => Ok(desk.tickets(path, head.uri.query().unwrap_or_default())),
        _ => Ok(Reply::problem(StatusCode::NOT_FOUND, "not_found")),
    };
    let reply = reply.unwrap_or_else(|error| {
        let body = serde_json::json!({ "status": 500, "code": "internal", "detail": format!("{error:#}") });
        Reply::json(StatusCode::INTERNAL_SERVER_ERROR, body.to_string())
    });
    Ok(reply.response())
}

impl Desk {
    pub(super) const fn new(behind: Behind, shows: Arc<Shows>) -> Self {
        Self { behind, shows }
    }

    async fn hold(&self, body: &[u8]) -> anyhow::Result<Reply> {
        if let Behind::Nothing = self.behind {
            let location =
                HeaderValue::from_static("/api/bookings/c0000000-0000-8010-8000-000000000000");
            return Ok(Reply::booked(Bytes::from_static(CONSTANT.as_bytes()), location));
        }
        let Some(wanted) = Wanted::read(body) else {
            return Ok(Reply::malformed());
        };
        let created_millis = unix_millis();
        let booking = Booking { id: ids::booking(created_millis), wanted, created_millis };
        let total = match &self.behind {
            Behind::Nothing => None,
            Behind::Postgres(pool) => pool.hold(&booking).await?,
            Behind::Redis(link) => link.hold(&booking).await?,
        };
        let Some(total) = total else {
            return Ok(Reply::problem(StatusCode::CONFLICT, "seats_unavailable"));
        };
        let location = HeaderValue::from_str(&format!("/api/bookings/{}", booking.id))?;
        Ok(Reply::booked(booking.json(total), location))
    }

    async fn register(&self, body: &[u8]) -> anyhow::Result<Reply> {
        let id = ids::user();
        let text = str::from_utf8(body)?;
        match &self.behind {
            Behind::Nothing => {}
            Behind::Postgres(pool) => pool.register(id, text).await?,
            Behind::Redis(link) => link.register(id, text).await?,
        }
        Ok(Reply::json(StatusCode::CREATED, format!(r#"{{"user_id":"{id}"}}"#)))
    }

    async fn show(&self, body: &[u8]) -> anyhow::Result<Reply> {
        let made = serde_json::from_slice(body).ok();
        let made =
            made.and_then(|event: Event<'_>| Some((event.total_seats, event.price_cents()?)));
        let Some((seats, price)) = made.filter(|(seats, _)| (1..=SEATS_MAX).contains(seats)) else {
            return Ok(Reply::malformed());
        };
        let id = ids::event();
        match &self.behind {
            Behind::Nothing => {}
            Behind::Postgres(pool) => pool.show(id, seats, price).await?,
            Behind::Redis(link) => link.show(id, seats, price).await?,
        }
        self.shows.add(id, seats);
        Ok(Reply::json(StatusCode::CREATED, format!(r#"{{"event_id":"{id}"}}"#)))
    }

    /// A page of an event's tickets: which there are, not which are free.
    fn tickets(&self, path: &str, query: &str) -> Reply {
        let event =
            path.strip_prefix("/api/events/").and_then(|rest| rest.strip_suffix("/tickets"));
        let event = event.and_then(|event| Uuid::try_parse(event).ok());
        let known = event.and_then(|event| Some((event, self.shows.seats(event)?)));
        let Some((event, seats)) = known else {
            return Reply::problem(StatusCode::NOT_FOUND, "not_found");
        };
        let (mut last, mut limit) = (0, PAGE);
        for (name, value) in query.split('&').filter_map(|member| member.split_once('=')) {
            match name {
                "limit" => limit = value.parse().unwrap_or(PAGE).min(PAGE),
                "after" => {
                    let after = Uuid::try_parse(value).ok();
                    last = after.and_then(|after| ids::seat(event, after)).unwrap_or(seats);
                }
                _ => {}
            }
        }
        let mut page = String::from("[");
        for seat in (last..seats).take(limit as usize).map(|seat| seat + 1) {
            let comma = if page.len() == 1 { "" } else { "," };
            let id = ids::ticket(event, seat);
            // A string takes whatever is written to it.
            let _ = write!(page, r#"{comma}{{"id":"{id}","seat_number":{seat}}}"#);
        }
        page.push(']');
        Reply::json(StatusCode::OK, page)
    }
}
