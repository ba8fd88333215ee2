//! Rules for the head of a request: what is ambiguous or too long is refused before anything else
//! is looked at.

use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

use super::problem::{Problem, Reason};
use crate::domain::KEY_CHARS_MAX;

/// The longest request target accepted, in bytes.
pub(super) const TARGET_BYTES_MAX: usize = 2_048;
/// The longest request identifier that is taken over from a client, in characters.
const REQUEST_ID_CHARS_MAX: usize = 128;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Checks what every request must fulfil.
pub(super) fn check(parts: &Parts) -> Result<(), Problem> {
    check_target(&parts.uri)?;
    if parts.method == Method::CONNECT {
        // What follows may have been meant for the tunnel that is refused.
        return Err(malformed("There are no tunnels here."));
    }
    let hosts = parts.headers.get_all(HOST).iter().count();
    match parts.version {
        _ if hosts > 1 => Err(malformed("There must be one Host header.")),
        Version::HTTP_11 if hosts == 0 => Err(malformed("There must be a Host header.")),
        _ => check_framing(&parts.headers),
    }
}

fn check_target(uri: &Uri) -> Result<(), Problem> {
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > TARGET_BYTES_MAX {
        let detail = format!("A request target may have {TARGET_BYTES_MAX} bytes.");
        return Err(Reason::TargetTooLong.because(detail));
    }
    Ok(())
}

/// Refuses a body whose end two readers could see at different places.
fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(both_lengths());
    }
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !chunked || codings.next().is_some() {
        return Err(malformed("The only transfer coding that is understood is chunked."));
    }
    Ok(())
}

/// The refusal of a request whose body has two lengths.
pub(super) fn both_lengths() -> Problem {
    malformed("Content-Length and Transfer-Encoding exclude each other.")
}

/// The refusal of a request with a line, of its head or its trailers, that ends in a line feed alone.
pub(super) fn bare_line_feed() -> Problem {
    malformed("Lines end with a carriage return and a line feed.")
}

fn malformed(detail: &'static str) -> Problem {
    Reason::MalformedRequest.because(detail).closing()
}

/// Checks that the body is declared to be JSON in UTF-8, or not declared to be anything.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Reason::UnsupportedMediaType.because("Send the body without Content-Encoding."));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (None, _) => Ok(()),
        (Some(value), None) if is_json(value) => Ok(()),
        _ => {
            Err(Reason::UnsupportedMediaType.because("The Content-Type must be application/json."))
        }
    }
}

fn is_json(value: &HeaderValue) -> bool {
    // By far the most frequent one.
    if value.as_bytes() == b"application/json" {
        return true;
    }
    let Ok(text) = value.to_str() else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    parts.next().is_some_and(|media_type| {
        media_type.eq_ignore_ascii_case("application/json")
            && parts.all(|parameter| match parameter.split_once('=') {
                Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                    let charset = charset.trim().trim_matches('"');
                    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
                }
                _ => true,
            })
    })
}

/// The declared length of the body.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The idempotency key, if there is one.
///
/// The draft writes it as a structured-field string, in quotes; most clients write it bare. Both
/// are accepted, and the quotes are not part of the key: `"k-1"` and `k-1` are the same.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Reason::BadParameter.because("There may be one Idempotency-Key header."));
    }
    match value.to_str().ok().and_then(bare_key) {
        Some(key) => Ok(Some(key)),
        None => Err(Reason::BadParameter.because(format!(
            "Idempotency-Key must be 1 to {KEY_CHARS_MAX} visible ASCII characters."
        ))),
    }
}

fn bare_key(text: &str) -> Option<&str> {
    let key = match text.strip_prefix('"') {
        // Nothing inside the quotes may need unescaping.
        Some(rest) => rest.strip_suffix('"').filter(|key| !key.contains(['"', '\\']))?,
        None => text,
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && (1..=KEY_CHARS_MAX).contains(&key.len())).then_some(key)
}

/// The client's own request identifier, if it is fit to be repeated.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let value = values.next()?;
    let sane = (1..=REQUEST_ID_CHARS_MAX).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic);
    (sane && values.next().is_none()).then_some(value)
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn parts(version: Version, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status(version: Version, target: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let refused = check(&parts(version, target, headers)).err()?;
        Some(refused.reason.status().as_u16())
    }

    #[test]
    fn a_head_has_one_host_and_one_length() {
        let host = ("host", "x");
        assert_eq!(status(Version::HTTP_11, "/", &[host]), None);
        assert_eq!(status(Version::HTTP_11, "/", &[]), Some(400));
        assert_eq!(status(Version::HTTP_10, "/", &[]), None);
        assert_eq!(status(Version::HTTP_11, "/", &[host, host]), Some(400));
        let chunked = ("transfer-encoding", "Chunked");
        assert_eq!(status(Version::HTTP_11, "/", &[host, chunked]), None);
        let length = ("content-length", "1");
        let both = [host, chunked, length];
        assert_eq!(status(Version::HTTP_11, "/", &both), Some(400));
        let gzip = ("transfer-encoding", "gzip, chunked");
        assert_eq!(status(Version::HTTP_11, "/", &[host, gzip]), Some(400));
    }

    #[test]
    fn a_target_is_bounded() {
        let host = [("host", "x")];
        let target = |length: usize| format!("/{}", "a".repeat(length - 1));
        let fits = target(TARGET_BYTES_MAX);
        assert_eq!(status(Version::HTTP_11, &fits, &host), None);
        let long = target(TARGET_BYTES_MAX + 1);
        assert_eq!(status(Version::HTTP_11, &long, &host), Some(414));
    }

    #[test]
    fn a_body_is_json_in_utf_8() {
        let ok = |headers: &[(&str, &str)]| {
            check_json(&parts(Version::HTTP_11, "/", headers).headers).is_ok()
        };
        assert!(ok(&[]));
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"; v=1",
        ] {
            assert!(ok(&[("content-type", good)]), "{good}");
        }
        for bad in [
            "text/plain",
            "",
            "application/jsonp",
            "application/json; charset=latin1",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!ok(&[("content-type", bad)]), "{bad}");
        }
        let json = ("content-type", "application/json");
        assert!(!ok(&[json, json]));
        assert!(!ok(&[json, ("content-encoding", "gzip")]));
        assert!(ok(&[json, ("content-encoding", "identity")]));
    }

    #[test]
    fn idempotency_keys_may_be_quoted() {
        let key = |headers: &[(&str, &str)]| {
            let parts = parts(Version::HTTP_11, "/", headers);
            let key = idempotency_key(&parts.headers).map(|key| key.map(str::to_owned));
            key.map_err(|problem| problem.reason.status().as_u16())
        };
        let one = |value: &str| key(&[("idempotency-key", value)]);
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(one("k-1"), Ok(Some("k-1".into())));
        assert_eq!(one("\"k-1\""), Ok(Some("k-1".into())));
        assert_eq!(one("a\"b"), Ok(Some("a\"b".into())));
        assert!(one(&"x".repeat(255)).is_ok());
        assert!(one(&format!("\"{}\"", "x".repeat(255))).is_ok());
        let long = "x".repeat(256);
        for bad in ["", "\"\"", "\"a", "\"a\\\"b\"", "a b", &long, "\"k\";a=1"] {
            assert_eq!(one(bad), Err(400), "{bad}");
        }
        let twice = [("idempotency-key", "k"), ("idempotency-key", "k")];
        assert_eq!(key(&twice), Err(400));
    }

    #[test]
    fn request_ids_are_taken_over_if_sane() {
        let id = |headers: &[(&str, &str)]| {
            let parts = parts(Version::HTTP_11, "/", headers);
            request_id(&parts.headers).cloned()
        };
        assert_eq!(id(&[("x-request-id", "abc-1")]).unwrap(), "abc-1");
        assert!(id(&[]).is_none());
        let long = "x".repeat(129);
        for bad in ["", "a b", &long] {
            assert!(id(&[("x-request-id", bad)]).is_none(), "{bad}");
        }
        assert!(id(&[("x-request-id", "a"), ("x-request-id", "b")]).is_none());
    }
}
