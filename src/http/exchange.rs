//! One request and its answer.

use std::cell::Cell;
use std::convert::Infallible;
use std::hash::Hasher;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::time::Instant;
use wal::Lsn;

use super::digits::HEXADECIMAL;
use super::dress::{self, X_LOG_POSITION};
use super::durability::{Unsettled, Waiters, settled};
use super::handlers::{Ask, bookings, events, health, statistics, users};
use super::head::{self, X_REQUEST_ID};
use super::list::{self, Listing, Source};
use super::problem::{Problem, Reason};
use super::query::{self, Query, parse_id};
use super::reply::{AnswerBody, Content, Outcome, Success};
use super::route::{self, Action, Methods, Probe, Read, Write};
use super::wire::Peer;
use super::{HttpOptions, Shared, intake, openapi};
use crate::domain::{PublicId, RequestStamp, TicketStatus};
use crate::engine::{Answer, Engine};
use crate::stats::{Operation, Recorder};

/// The key of the fingerprints of requests. They are kept in the log, beside the idempotency keys,
/// so it can never change; it is no secret, and protects nothing but against chance.
const FINGERPRINT_KEY: [u8; 16] = *b"booking-manager1";

/// What the requests of one runtime thread share.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) shared: Arc<Shared>,
    pub(super) options: Arc<HttpOptions>,
    pub(super) recorder: Recorder,
    pub(super) waiters: Rc<Waiters>,
    /// Random, so that no two runtimes make the same request identifier.
    pub(super) id_prefix: u64,
    /// How many request identifiers were made.
    pub(super) ids_made: Cell<u64>,
}

/// What was made of a request, ready to be told.
struct Decided {
    operation: Operation,
    result: Result<Success, Problem>,
    /// Where the answer stands; unknown if the engine was not asked.
    lsn: Option<Lsn>,
}

/// Answers a request, in every case.
pub(super) async fn answer(
    runtime: Rc<Runtime>,
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let began = Instant::now();
    let (parts, mut body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let request_id = match head::request_id(&parts.headers) {
        Some(id) => id.clone(),
        None => runtime.make_request_id(),
    };
    let preflight = runtime.options.cors.is_preflight(&parts.method, &parts.headers);
    let undecided = |result| Decided { operation: Operation::Other, result, lsn: None };
    let decided = match peer.check_head(&parts.headers) {
        Err(problem) => undecided(Err(problem)),
        Ok(()) if preflight => undecided(head::check(&parts).map(|()| Success::empty())),
        Ok(()) => runtime.decide(&peer, &parts, &mut body).await,
    };
    let reads_body = matches!(parts.method, Method::POST | Method::PUT);
    let is_unread = has_body && (decided.result.is_err() || !reads_body);
    let closes = decided.result.as_ref().is_err_and(|problem| problem.closes)
        || is_unread && !intake::discard(&mut body, &parts.headers, &peer).await;
    if closes && is_unread {
        // The client may still be sending what nobody reads.
        peer.linger();
    }
    let operation = decided.operation;
    let mut response = match decided.result {
        Ok(success) => dress::success(success),
        Err(problem) => dress::problem(&problem, &parts, &request_id),
    };
    let headers = response.headers_mut();
    if let Some(lsn) = decided.lsn.or_else(|| runtime.mark()) {
        headers.insert(X_LOG_POSITION, lsn.get().into());
    }
    headers.insert(X_REQUEST_ID, request_id);
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let cors = &runtime.options.cors;
    cors.permit(&parts.headers, preflight, headers);
    let status = response.status().as_u16();
    runtime.recorder.record(operation, began.elapsed(), status);
    Ok(response)
}

impl Runtime {
    /// An identifier for a request that has none: random for the runtime, then counted.
    pub(super) fn make_request_id(&self) -> HeaderValue {
        let count = self.ids_made.get();
        self.ids_made.set(count.wrapping_add(1));
        let number = u128::from(self.id_prefix) << 64 | u128::from(count);
        let text = number.to_be_bytes().map(|byte| HEXADECIMAL[usize::from(byte)]);
        let text = Bytes::copy_from_slice(text.as_flattened());
        HeaderValue::from_maybe_shared(text).expect("hexadecimal digits are visible ASCII")
    }

    /// How far the log is answerable: where an answer stands that asked nothing of the engine.
    pub(super) fn mark(&self) -> Option<Lsn> {
        let engine = self.shared.engine()?;
        Some(engine.log().answerable())
    }

    async fn decide(&self, peer: &Peer, parts: &Parts, body: &mut Incoming) -> Decided {
        let mut operation = Operation::Other;
        let mut lsn = None;
        let result = self.try_decide(peer, parts, body, &mut operation, &mut lsn).await;
        Decided { operation, result, lsn }
    }

    async fn try_decide(
        &self,
        peer: &Peer,
        parts: &Parts,
        body: &mut Incoming,
        operation: &mut Operation,
        lsn: &mut Option<Lsn>,
    ) -> Result<Success, Problem> {
        head::check(parts)?;
        let Some(path) = route::plain(parts.uri.path()) else {
            return Err(Reason::BadParameter.because("The path is not percent-encoded properly."));
        };
        let action = route::resolve(&parts.method, &path)?;
        *operation = operation_of(action);
        let (engine, outcome) = match action {
            Action::Describe(methods) => return Ok(describe(methods)),
            Action::Probe(probe) => return self.probe(probe),
            Action::Read(read) => {
                let engine = self.engine()?;
                (engine, self.read(engine, read, parts).await?)
            }
            Action::Write(write) => {
                let engine = self.engine()?;
                let request = Sent { parts, body, path: &path };
                (engine, self.write(engine, write, request, peer).await?)
            }
        };
        self.settle(engine, outcome, lsn).await
    }

    /// Waits until what was decided may be told; `lsn` is where it stands, if it may.
    async fn settle(
        &self,
        engine: &Engine,
        outcome: Outcome<'_>,
        lsn: &mut Option<Lsn>,
    ) -> Result<Success, Problem> {
        let Outcome { result, position, open, mut admission } = outcome;
        let settled = settled(&self.waiters, engine.log(), position.wait_for).await;
        if settled.is_err()
            && let Some(admission) = &mut admission
        {
            admission.booked = false;
        }
        // What the request occupied is free from here on: its lane, its idempotency key.
        drop(open);
        settled.map_err(unsettled)?;
        *lsn = Some(position.lsn);
        result
    }

    /// The engine, if there is one and its log is sound.
    fn engine(&self) -> Result<&Arc<Engine>, Problem> {
        let engine = self.shared.engine().ok_or(Reason::NotReady)?;
        match engine.log().poisoned() {
            None => Ok(engine),
            Some(_) => Err(unsettled(Unsettled::Poisoned)),
        }
    }

    fn probe(&self, probe: Probe) -> Result<Success, Problem> {
        Ok(match probe {
            Probe::Health => health::health(&self.shared),
            Probe::Liveness => health::liveness(),
            Probe::Readiness => health::readiness(&self.shared),
            Probe::Document => openapi::document(),
            Probe::Metrics => {
                let engine = self.shared.engine().ok_or(Reason::NotReady)?;
                statistics::metrics(engine, &self.shared.stats)
            }
        })
    }

    async fn read<'e>(
        &self,
        engine: &'e Arc<Engine>,
        read: Read<'_>,
        parts: &Parts,
    ) -> Result<Outcome<'e>, Problem> {
        match read {
            Read::Statistics => Ok(statistics::read(engine, &self.shared.stats)),
            Read::User(id) => Ok(users::read(engine, path_id(id)?)),
            Read::Event(id) => Ok(events::read(engine, path_id(id)?)),
            Read::Booking(id) => Ok(bookings::read(engine, path_id(id)?)),
            Read::Events => {
                let query = Query::parse(parts.uri.query())?;
                let (after, limit) = (query.after()?, query.limit()?);
                let begun = events::list(engine, after);
                self.list(engine, begun, limit, parts).await
            }
            Read::UserBookings(id) => {
                let user = path_id(id)?;
                let query = Query::parse(parts.uri.query())?;
                let (after, limit) = (query.after()?, query.limit()?);
                let begun = bookings::list(engine, user, after, query.booking_status()?);
                self.list(engine, begun, limit, parts).await
            }
            Read::Tickets(id) => {
                let event = path_id(id)?;
                let query = Query::parse(parts.uri.query())?;
                let (after, limit) = (query.after()?, query.limit()?);
                let begun = events::tickets(engine, event, after, query.ticket_status()?);
                self.list(engine, begun, limit, parts).await
            }
            Read::AvailableTickets(id) => {
                let event = path_id(id)?;
                let query = Query::parse(parts.uri.query())?;
                let (after, limit) = (query.after()?, query.limit()?);
                let available = Some(TicketStatus::Available);
                let begun = events::tickets(engine, event, after, available);
                self.list(engine, begun, limit, parts).await
            }
        }
    }

    /// A list that was begun: one page of it, or all of it as a stream.
    async fn list<'e>(
        &self,
        engine: &'e Arc<Engine>,
        begun: Answer<'e, Source>,
        limit: Option<usize>,
        parts: &Parts,
    ) -> Result<Outcome<'e>, Problem> {
        let position = begun.position;
        let source = match begun.result {
            Ok(source) => source,
            Err(_) => return Ok(Outcome::of(begun, |_| Success::empty())),
        };
        let Some(limit) = limit else {
            let (listing, position) = Listing::begin(source, engine, &self.waiters, position);
            let content = Content::Listing(Box::new(listing));
            return Ok(Outcome::seen(Success::new(StatusCode::OK, content), position));
        };
        let page = list::page(source, engine, position, limit, &self.shared).await;
        let link = page.goes_on_after.and_then(|last| {
            let target = query::next_page(parts.uri.path(), parts.uri.query(), last);
            HeaderValue::try_from(format!("<{target}>; rel=\"next\"")).ok()
        });
        let success = Success { link, ..Success::new(StatusCode::OK, Content::Json(page.text)) };
        Ok(Outcome::seen(success, page.position))
    }

    async fn write<'e>(
        &'e self,
        engine: &'e Engine,
        write: Write<'_>,
        sent: Sent<'_>,
        peer: &Peer,
    ) -> Result<Outcome<'e>, Problem> {
        // An id in the path is checked first: a body is not taken in for nothing.
        match write {
            Write::CreateUser => users::create(engine, self.take_in(sent, peer).await?.ask()),
            Write::CreateEvent => events::create(engine, self.take_in(sent, peer).await?.ask()),
            Write::Hold => {
                let taken = self.take_in(sent, peer).await?;
                bookings::hold(engine, &self.shared.stats, taken.ask())
            }
            Write::UpdateUser(id) => {
                let id = path_id(id)?;
                users::update(engine, id, self.take_in(sent, peer).await?.ask())
            }
            Write::DeleteUser(id) => Ok(users::delete(engine, path_id(id)?).await),
            Write::Confirm(id) => {
                let id = path_id(id)?;
                bookings::confirm(engine, id, self.take_in(sent, peer).await?.ask())
            }
            Write::Cancel(id) => {
                let id = path_id(id)?;
                bookings::cancel(engine, id, self.take_in(sent, peer).await?.ask())
            }
        }
    }

    /// The body and the idempotency key of a request.
    async fn take_in<'r>(&self, sent: Sent<'r>, peer: &Peer) -> Result<Taken<'r>, Problem> {
        let headers = &sent.parts.headers;
        let key = match sent.parts.method {
            Method::POST => head::idempotency_key(headers)?,
            // Repeating any other method does nothing new anyway.
            _ => None,
        };
        head::check_json(headers)?;
        let max = self.options.max_body_bytes;
        let body = intake::read(sent.body, headers, max, peer).await?;
        let stamp = key.map(|key| RequestStamp {
            key,
            fingerprint: fingerprint(&sent.parts.method, sent.path, &body),
        });
        Ok(Taken { body, stamp })
    }
}

/// A request whose body has not been taken in.
struct Sent<'r> {
    parts: &'r Parts,
    path: &'r str,
    body: &'r mut Incoming,
}

/// What was taken in.
struct Taken<'r> {
    body: Bytes,
    stamp: Option<RequestStamp<'r>>,
}

impl Taken<'_> {
    fn ask(&self) -> Ask<'_> {
        Ask { body: &self.body, stamp: self.stamp }
    }
}

/// What makes two requests with one idempotency key the same: method, path and body, byte by byte.
fn fingerprint(method: &Method, path: &str, body: &[u8]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(&FINGERPRINT_KEY);
    hasher.write(method.as_str().as_bytes());
    // Neither a method nor a path can contain a zero byte.
    hasher.write(&[0]);
    hasher.write(path.as_bytes());
    hasher.write(&[0]);
    hasher.write(body);
    hasher.finish128().as_u128()
}

fn path_id(text: &str) -> Result<PublicId, Problem> {
    parse_id(text).ok_or_else(|| Reason::BadParameter.because("The id in the path must be a UUID."))
}

fn unsettled(why: Unsettled) -> Problem {
    match why {
        Unsettled::Poisoned => Reason::StorageUnavailable.into(),
        Unsettled::Stalled => Reason::StorageUnavailable.because(
            "The log has not moved for too long. It is unknown whether the request took effect. \
             Repeat it with the same Idempotency-Key, or look.",
        ),
    }
}

fn describe(methods: Methods) -> Success {
    Success { allow: Some(methods), ..Success::empty() }
}

fn operation_of(action: Action<'_>) -> Operation {
    match action {
        Action::Describe(_) | Action::Probe(_) | Action::Read(Read::Statistics) => Operation::Other,
        Action::Read(Read::User(_)) => Operation::UserRead,
        Action::Read(Read::Event(_) | Read::Events) => Operation::EventRead,
        Action::Read(Read::Tickets(_) | Read::AvailableTickets(_)) => Operation::TicketList,
        Action::Read(Read::Booking(_) | Read::UserBookings(_)) => Operation::BookingRead,
        Action::Write(Write::CreateUser | Write::UpdateUser(_) | Write::DeleteUser(_)) => {
            Operation::UserWrite
        }
        Action::Write(Write::CreateEvent) => Operation::EventCreate,
        Action::Write(Write::Hold) => Operation::Hold,
        Action::Write(Write::Confirm(_)) => Operation::Confirm,
        Action::Write(Write::Cancel(_)) => Operation::Cancel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_method_path_and_body_apart_and_never_change() {
        let of = fingerprint(&Method::POST, "/api/bookings", b"{}");
        assert_ne!(of, fingerprint(&Method::PUT, "/api/bookings", b"{}"));
        assert_ne!(of, fingerprint(&Method::POST, "/api/users", b"{}"));
        assert_ne!(of, fingerprint(&Method::POST, "/api/bookings", b"{ }"));
        assert_ne!(fingerprint(&Method::POST, "/a", b"b"), fingerprint(&Method::POST, "/ab", b""));
        assert_eq!(of, GOLDEN, "{of:#034x}");
    }

    /// Old logs hold fingerprints.
    const GOLDEN: u128 = 0xa507_e076_baa5_d77d_c4dc_f981_1be9_94cc;
}
