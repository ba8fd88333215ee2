//! Answers with their headers: what hyper is given.

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::problem::{PROBLEM_JSON, Problem, RETRY_AFTER_SECONDS, Reason};
use super::reply::{AnswerBody, Content, Success};

pub(super) const X_LOG_POSITION: HeaderName = HeaderName::from_static("x-log-position");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const METRICS: HeaderValue = HeaderValue::from_static(crate::stats::METRICS_MEDIA_TYPE);
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static(PROBLEM_JSON);
/// How many headers most answers have.
const HEADERS_USUAL: usize = 6;

/// A success with the headers that belong to it.
pub(super) fn success(told: Success) -> Response<AnswerBody> {
    let (content_type, body) = match told.content {
        Content::Empty => (None, AnswerBody::Whole(Bytes::new())),
        Content::Json(json) => (Some(JSON), AnswerBody::Whole(json.into())),
        Content::Metrics(text) => (Some(METRICS), AnswerBody::Whole(text.into())),
        Content::Text(text) => (Some(TEXT), AnswerBody::Whole(text.into())),
        Content::Listing(listing) => (Some(JSON), AnswerBody::Listing(listing)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = told.status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS_USUAL);
    let replayed = told.replayed.then_some((IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")));
    let allow = told.allow.map(HeaderValue::from_static);
    headers.extend(content_type.map(|value| (CONTENT_TYPE, value)));
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
    headers.insert(CONTENT_TYPE, PROBLEM);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        headers.insert(RETRY_AFTER, seconds);
    }
    if let Reason::MethodNotAllowed(methods) = refused.reason {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    if refused.closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
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
