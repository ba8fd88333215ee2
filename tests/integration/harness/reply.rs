//! An answer of the server, with the checks that are asked of it again and again.

use serde_json::Value;
use ureq::http::{HeaderMap, Response};

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) text: String,
    /// The body as JSON; null if it is not JSON.
    pub(crate) json: Value,
    /// What was asked, for messages.
    pub(crate) asked: String,
}

impl Reply {
    pub(crate) fn read(asked: String, response: Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let (parts, body) = response.into_parts();
        let bytes = body.into_with_config().limit(u64::MAX).read_to_vec()?;
        let text = String::from_utf8(bytes).expect("answers are UTF-8");
        Ok(Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
            asked,
        })
    }

    /// Fails the test unless the status is `status`.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status, status,
            "{} was answered {}: {}",
            self.asked, self.status, self.text
        );
        self
    }

    /// Fails the test unless this is a well-formed refusal with this status and code.
    #[track_caller]
    pub(crate) fn expect_refusal(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        reply.assert_problem();
        assert_eq!(
            reply.code(),
            code,
            "{} was refused with another code: {}",
            reply.asked,
            reply.text
        );
        reply
    }

    /// Fails the test unless the body is a complete RFC 9457 problem.
    #[track_caller]
    pub(crate) fn assert_problem(&self) {
        let kind = self.header("content-type").unwrap_or_default();
        assert!(
            kind.starts_with("application/problem+json"),
            "{}: an error must be application/problem+json, not {kind:?}: {}",
            self.asked,
            self.text
        );
        for member in ["type", "title", "detail", "instance", "code", "request_id"] {
            assert!(
                self.json[member].is_string(),
                "{}: the problem lacks the text `{member}`: {}",
                self.asked,
                self.text
            );
        }
        assert_eq!(
            self.json["status"].as_u64(),
            Some(u64::from(self.status)),
            "{}: status in the problem and of the answer differ: {}",
            self.asked,
            self.text
        );
        assert!(
            self.json["retryable"].is_boolean(),
            "{}: the problem lacks `retryable`: {}",
            self.asked,
            self.text
        );
        assert_eq!(
            self.json["request_id"].as_str(),
            self.header("x-request-id"),
            "{}: the problem names another request id than the header",
            self.asked
        );
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or("")
    }

    /// A header's value, if it is there once and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A text member of the body.
    #[track_caller]
    pub(crate) fn str(&self, member: &str) -> &str {
        self.json[member].as_str().unwrap_or_else(|| {
            panic!("{}: no text `{member}` in the answer: {}", self.asked, self.text)
        })
    }

    /// The elements of the body.
    #[track_caller]
    pub(crate) fn array(&self) -> &Vec<Value> {
        self.json
            .as_array()
            .unwrap_or_else(|| panic!("{}: not an array: {}", self.asked, self.text))
    }

    /// Where the answer stands in the log.
    #[track_caller]
    pub(crate) fn log_position(&self) -> u64 {
        let value = self
            .header("x-log-position")
            .unwrap_or_else(|| panic!("{}: no X-Log-Position", self.asked));
        value.parse().unwrap_or_else(|_| panic!("{}: X-Log-Position is {value:?}", self.asked))
    }

    /// Where the `Link` header leads on to: path and query.
    #[track_caller]
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        assert!(
            link.contains("rel=\"next\""),
            "{}: a Link without rel=\"next\": {link}",
            self.asked
        );
        let (_, rest) = link.split_once('<')?;
        let (target, _) = rest.split_once('>')?;
        let path = target.find("/api/").map(|start| &target[start..]);
        Some(path.unwrap_or_else(|| panic!("a strange Link: {link}")).into())
    }
}

/// A time as milliseconds of UTC since 1970.
#[track_caller]
pub(crate) fn millis(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("a time must be a text, not {time}"));
    text.parse::<jiff::Timestamp>().expect("RFC 3339").as_millisecond()
}

/// An amount with two decimals as whole cents.
#[track_caller]
pub(crate) fn minor_units(amount: &Value) -> i64 {
    let number =
        amount.as_f64().unwrap_or_else(|| panic!("money must be a JSON number, not {amount}"));
    (number * 100.0).round() as i64
}
