//! The parsers of what clients send, for whoever feeds them with bytes that no client would write
//! (`tests/fuzz`). They take and give plain values, so that nothing of the rest has to be shown.

use std::fmt;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::heard::{Heard, Skip, has_bare_line_feed, has_both_lengths};
use super::problem::{Problem, Reason};
use super::query::Query;
use super::{body, head, query, rfc3339, route};
use crate::domain::{Email, EventDetails, PersonName, PublicId};

/// A refusal as its client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The status code.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// The faults of a body: where, and what.
    pub faults: Vec<(String, String)>,
    /// The whole answer's body.
    pub body: String,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let body = String::from_utf8_lossy(&problem.body("/", "id")).into_owned();
        let (status, code) = (problem.reason.status().as_u16(), problem.reason.code());
        let faults =
            if let Reason::ValidationFailed(faults) = problem.reason { faults } else { Vec::new() };
        let faults = faults.into_iter().map(|f| (f.pointer.into_owned(), f.detail.into_owned()));
        let faults = faults.collect();
        Self { status, code, faults, body }
    }
}

/// The body that creates or changes a user.
pub fn user(text: &[u8]) -> Result<(Email, PersonName), Refused> {
    Ok(body::user(text).map(|user| (user.email, user.name))?)
}

/// The body that creates an event.
pub fn event(text: &[u8]) -> Result<EventDetails, Refused> {
    Ok(body::event(text)?)
}

/// Who asks for tickets, of which event, for which tickets.
pub type Hold = (PublicId, PublicId, Vec<PublicId>);

/// The body that asks for tickets.
pub fn hold(text: &[u8]) -> Result<Hold, Refused> {
    Ok(body::hold(text).map(|hold| (hold.user, hold.event, hold.tickets))?)
}

/// The body that asks for tickets, looked at in detail from the first.
pub fn hold_in_detail(text: &[u8]) -> Result<Hold, Refused> {
    Ok(body::hold_in_detail(text).map(|hold| (hold.user, hold.event, hold.tickets))?)
}

/// The body that confirms or cancels a booking.
pub fn owner(text: &[u8]) -> Result<PublicId, Refused> {
    Ok(body::owner(text)?)
}

/// An id as it stands in a path or a body.
pub fn id(text: &str) -> Option<PublicId> {
    query::parse_id(text)
}

/// An event's date.
pub fn date(text: &str) -> Result<(), &'static str> {
    rfc3339::check(text)
}

/// A path with its encoded plain characters decoded.
pub fn plain_path(path: &str) -> Option<String> {
    route::plain(path).map(std::borrow::Cow::into_owned)
}

/// What a method does to what lives at a path, in words.
pub fn route(method: &str, path: &str) -> Result<String, Refused> {
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    Ok(route::resolve(&method, path).map(|action| format!("{action:?}"))?)
}

/// The parameters of a list: how many, behind which entry.
pub fn page(text: &str) -> Result<(Option<usize>, Option<PublicId>), Refused> {
    let query = Query::parse(Some(text))?;
    let (limit, after) = (query.limit()?, query.after()?);
    // Either kind of status is fine or refused.
    let _ = (query.ticket_status(), query.booking_status());
    Ok((limit, after))
}

/// The target of the next page.
pub fn next_page(path: &str, query: &str, last: PublicId) -> String {
    query::next_page(path, Some(query), last)
}

/// What headers say that are looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// The idempotency key.
    pub key: Result<Option<String>, Refused>,
    /// The request identifier that is repeated.
    pub request_id: Option<String>,
    /// Whether the body is said to be JSON, or nothing.
    pub json: Result<(), Refused>,
    /// The length of the body.
    pub length: Option<u64>,
}

/// Reads headers, each a name and a value; those that can be none are left out.
pub fn headers<'h>(headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>) -> Said {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
    Said {
        key: head::idempotency_key(&map).map(|key| key.map(str::to_owned)).map_err(Refused::from),
        request_id: head::request_id(&map).and_then(text),
        json: head::check_json(&map).map_err(Refused::from),
        length: head::content_length(&map),
    }
}

/// Tells heads from bodies in what comes on a connection, however it is cut.
#[derive(Default)]
pub struct Heads(Heard);

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Heads {
    /// More came.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.0.hear(bytes);
    }

    /// The next head, if it has come: whether it has two lengths, and a bare line feed. What follows
    /// it is a body of this length, or in chunks.
    pub fn take(&mut self, length: Option<u64>) -> Option<(bool, bool)> {
        let body = length.map_or(Skip::ChunkSize(0), |length| Skip::of(Some(length)));
        self.0.take_head(body, |head| (has_both_lengths(head), has_bare_line_feed(head)))
    }
}
