//! Answers with their headers: what hyper is given.

use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::problem::{PROBLEM_JSON, Problem, RETRY_AFTER_SECONDS, Reason};
use super::reply::{AnswerBody, Content, Success};
use super::route::Methods;

pub(super) const X_LOG_POSITION: HeaderName = HeaderName::from_static("x-log-position");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The media type of every answer that is data.
pub(super) const JSON: &str = "application/json";
/// The media type of figures for Prometheus.
pub(super) const METRICS: &str = crate::stats::METRICS_MEDIA_TYPE;
/// The media type of what is for people.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
/// How many headers most answers have.
const HEADERS_USUAL: usize = 6;

/// A success with the headers that belong to it.
pub(super) fn success(told: Success) -> Response<AnswerBody> {
    let (content_type, body) = match told.content {
        Content::Empty => (None, AnswerBody::Whole(Bytes::new())),
        Content::Json(json) => (Some(JSON), AnswerBody::Whole(json)),
        Content::Document(json) => (Some(JSON), AnswerBody::Whole(Bytes::from_static(json))),
        Content::Metrics(text) => (Some(METRICS), AnswerBody::Whole(text.into())),
        Content::Text(text) => (Some(TEXT), AnswerBody::Whole(text.into())),
        Content::Listing(listing) => (Some(JSON), AnswerBody::Listing(listing)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = told.status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS_USUAL);
    let replayed = told.replayed.then_some((IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")));
    let allow = told.allow.and_then(methods);
    headers.extend(content_type.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value))));
    headers.extend(told.location.map(|value| (LOCATION, value)));
    headers.extend(told.link.map(|value| (LINK, value)));
    headers.extend(allow.map(|value| (ALLOW, value)));
    headers.extend(replayed);
    response
}

/// A refusal with the headers that belong to it. This is where it is logged.
pub(super) fn problem(
    refused: &Problem,
    parts: &Parts,
    request_id: &HeaderValue,
) -> Response<AnswerBody> {
    let id = request_id.to_str().unwrap_or_default();
    let status = refused.reason.status();
    log_refusal(refused, parts, id);
    let body = refused.body(parts.uri.path(), id);
    let mut response = Response::new(AnswerBody::Whole(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        headers.insert(RETRY_AFTER, seconds);
    }
    if let Reason::MethodNotAllowed(allowed) = refused.reason {
        headers.extend(methods(allowed).map(|methods| (ALLOW, methods)));
    }
    response
}

/// The value of `Allow`; a list of methods always is one.
fn methods(allowed: Methods) -> Option<HeaderValue> {
    HeaderValue::try_from(allowed.to_string()).ok()
}

/// A refusal is the client's business; only what the server itself fails at is worth a warning,
/// and of that not the overload, which would only add to it.
fn log_refusal(problem: &Problem, parts: &Parts, request_id: &str) {
    let code = problem.reason.code();
    let (method, path) = (&parts.method, parts.uri.path());
    if problem.reason.is_of_the_server() {
        tracing::warn!(request_id, code, %method, path, "failed");
    } else {
        tracing::debug!(request_id, code, %method, path, "refused");
    }
}
