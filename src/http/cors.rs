//! Cross-origin requests (the Fetch standard's CORS protocol): off unless origins are configured.

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};

/// Which origins may read the answers. No credentials are ever allowed, as there are none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum AllowedOrigins {
    /// None: no cross-origin header is sent at all.
    #[default]
    None,
    /// All of them.
    Any,
    /// These, each as `scheme://host[:port]`.
    These(Vec<String>),
}

/// How long a browser may remember what a preflight said, in seconds.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("Content-Type, Idempotency-Key, X-Request-Id");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Allow, Idempotent-Replayed, Link, Location, Retry-After, X-Log-Position, X-Request-Id",
);

impl AllowedOrigins {
    /// Whether the request only asks what a later one may do.
    pub(super) fn is_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        *self != Self::None
            && *method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Adds to an answer what lets the asking page read it.
    pub(super) fn permit(&self, request: &HeaderMap, preflight: bool, answer: &mut HeaderMap) {
        let Some(origin) = self.granted(request, answer) else {
            return;
        };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if preflight {
            answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            answer.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
        } else {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }

    /// The origin to name, if the asking one is allowed.
    fn granted(&self, request: &HeaderMap, answer: &mut HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Any => request.contains_key(ORIGIN).then_some(HeaderValue::from_static("*")),
            Self::These(origins) => {
                // A cache must not give one page's answer to another, nor to none.
                answer.append(VARY, HeaderValue::from_static("Origin"));
                let origin = request.get(ORIGIN)?;
                let known = origins.iter().any(|known| known.as_bytes() == origin);
                known.then(|| origin.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: HeaderValue = HeaderValue::from_static("https://shop.example");

    fn answer(allowed: &AllowedOrigins, origin: Option<HeaderValue>, preflight: bool) -> HeaderMap {
        let mut request = HeaderMap::new();
        request.extend(origin.map(|origin| (ORIGIN, origin)));
        let mut answer = HeaderMap::new();
        allowed.permit(&request, preflight, &mut answer);
        answer
    }

    #[test]
    fn nothing_is_said_unless_configured() {
        assert!(answer(&AllowedOrigins::None, Some(PAGE), true).is_empty());
        assert!(answer(&AllowedOrigins::Any, None, false).is_empty());
    }

    #[test]
    fn a_listed_origin_is_named_and_others_are_not() {
        let these = AllowedOrigins::These(vec!["https://shop.example".into()]);
        let granted = answer(&these, Some(PAGE), false);
        assert_eq!(granted[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
        assert_eq!(granted[VARY], "Origin");
        assert!(granted.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        let other = HeaderValue::from_static("https://shop.example.evil");
        let denied = answer(&these, Some(other), false);
        assert!(!denied.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(denied[VARY], "Origin");
    }

    #[test]
    fn a_preflight_is_told_methods_and_headers() {
        let any = answer(&AllowedOrigins::Any, Some(PAGE), true);
        assert_eq!(any[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let headers = any[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        assert!(headers.contains("Idempotency-Key"));
    }

    #[test]
    fn an_options_request_is_a_preflight_only_with_its_headers() {
        let mut headers = HeaderMap::new();
        assert!(!AllowedOrigins::Any.is_preflight(&Method::OPTIONS, &headers));
        headers.insert(ORIGIN, PAGE);
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, METHODS);
        assert!(AllowedOrigins::Any.is_preflight(&Method::OPTIONS, &headers));
        assert!(!AllowedOrigins::None.is_preflight(&Method::OPTIONS, &headers));
        assert!(!AllowedOrigins::Any.is_preflight(&Method::GET, &headers));
    }
}
