//! HTTP/1.1, as much of it as a load generator needs: one request at a time on a connection, written
//! into a buffer in one piece, and answers of declared length.
//!
//! Of an answer only its status, its length and whether the connection ends with it are read from
//! the head; members of the body are found by their names, without parsing the rest. That is sound
//! for this server's answers, whose members are compact and whose texts of clients' making (which
//! could contain anything) stand nowhere before the members that are looked for.

use std::io::Write as _;

use memchr::memmem;
use uuid::Uuid;

/// The longest head that is taken.
const HEADERS_MAX: usize = 32;

/// An answer's head, once it is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) head_bytes: usize,
    pub(super) body_bytes: usize,
    /// Whether the server closes the connection after this answer.
    pub(super) closes: bool,
}

impl Head {
    /// How many bytes the whole answer has.
    pub(super) const fn bytes(&self) -> usize {
        self.head_bytes + self.body_bytes
    }

    /// The answer, of whose bytes at least so many are there.
    pub(super) fn answer<'b>(&self, bytes: &'b [u8]) -> Answer<'b> {
        Answer { status: self.status, body: &bytes[self.head_bytes..self.bytes()] }
    }
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'b> {
    pub(super) status: u16,
    pub(super) body: &'b [u8],
}

/// What came is not an answer that can be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the answer is not HTTP/1.1")]
    Head,
    #[error("the answer has no content-length")]
    Length,
}

/// Reads an answer's head, if it is there as a whole.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Malformed::Head),
    };
    let status = response.code.ok_or(Malformed::Head)?;
    let (mut length, mut closes) = (None, false);
    for header in &*response.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = digits(header.value);
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let bodiless = status == 204 || status == 304;
    let length = if bodiless { Some(0) } else { length };
    let body_bytes = length.and_then(|length| usize::try_from(length).ok());
    Ok(Some(Head { status, head_bytes, body_bytes: body_bytes.ok_or(Malformed::Length)?, closes }))
}

/// A decimal number that is the whole text.
fn digits(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.len() < 19 && text.iter().all(u8::is_ascii_digit);
    plain.then(|| text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

impl<'b> Answer<'b> {
    /// The text after `"name":"`, to the next quotation mark. For members that need no escapes.
    pub(super) fn text(&self, name: &str) -> Option<&'b [u8]> {
        text(self.body, name)
    }

    /// The problem's code; empty for a success or for what is no problem document.
    pub(super) fn code(&self) -> &'b [u8] {
        if self.status < 400 { b"" } else { self.text("code").unwrap_or_default() }
    }

    /// An id among the members.
    pub(super) fn id(&self, name: &str) -> Option<Uuid> {
        Uuid::try_parse_ascii(self.text(name)?).ok()
    }

    /// An amount among the members, in hundredths.
    pub(super) fn hundredths(&self, name: &str) -> Option<u64> {
        hundredths(raw(self.body, name)?)
    }

    /// A whole number among the members.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        digits(raw(self.body, name)?)
    }
}

/// As [`Answer::text`], in a part of a body.
pub(super) fn text<'b>(body: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let rest = after(body, name)?.strip_prefix(b"\"")?;
    Some(&rest[..memchr::memchr(b'"', rest)?])
}

/// What stands as a member's value, if it is not a text, an array or an object.
pub(super) fn raw<'b>(body: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let rest = after(body, name)?;
    Some(&rest[..rest.iter().position(|byte| b",}]".contains(byte))?])
}

fn after<'b>(body: &'b [u8], name: &str) -> Option<&'b [u8]> {
    // On the stack: this is done several times for each answer.
    let mut member = [0_u8; 32];
    let length = name.len() + 3;
    let mut end = member.get_mut(..length)?;
    end.write_all(b"\"").and_then(|()| end.write_all(name.as_bytes())).ok()?;
    end.write_all(b"\":").ok()?;
    let place = memmem::find(body, &member[..length])?;
    Some(&body[place + length..])
}

/// A JSON number with at most two decimals, as hundredths.
pub(super) fn hundredths(text: &[u8]) -> Option<u64> {
    let (whole, decimals) = match memchr::memchr(b'.', text) {
        None => (text, &b""[..]),
        Some(point) => (&text[..point], &text[point + 1..]),
    };
    let cents = match decimals {
        [] if whole.len() == text.len() => 0,
        [tenths] => digits(&[*tenths])? * 10,
        [_, _] => digits(decimals)?,
        _ => return None,
    };
    digits(whole)?.checked_mul(100)?.checked_add(cents)
}

/// An instant as this server writes its own, `2026-11-23T08:47:37.988Z`, in milliseconds since 1970.
pub(super) fn millis(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?;
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

/// Writes requests for one server.
#[derive(Clone, Debug)]
pub(super) struct Pen {
    /// What ends the head of a request without a body.
    get_end: Vec<u8>,
    /// What follows the target of a request with one, up to its length.
    post_middle: Vec<u8>,
}

const ID_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;
const HOLD_OPENING: &[u8] = b"{\"user_id\":\"";
const HOLD_EVENT: &[u8] = b"\",\"event_id\":\"";
const HOLD_TICKETS: &[u8] = b"\",\"ticket_ids\":[";

impl Pen {
    /// For the server of this name, which may have a port behind a colon.
    pub(super) fn new(host: &str) -> Self {
        Self {
            get_end: format!(" HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes(),
            post_middle: format!(
                " HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: "
            )
            .into_bytes(),
        }
    }

    /// `GET` of the target that `target` writes.
    pub(super) fn get(&self, out: &mut Vec<u8>, target: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(b"GET ");
        target(out);
        out.extend_from_slice(&self.get_end);
    }

    /// `POST` of a body to a path.
    pub(super) fn post(&self, out: &mut Vec<u8>, path: &str, body: &[u8]) {
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(path.as_bytes());
        self.length(out, body.len());
        out.extend_from_slice(body);
    }

    /// As [`Pen::post`], with an idempotency key.
    pub(super) fn post_keyed(&self, out: &mut Vec<u8>, path: &str, key: &str, body: &[u8]) {
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(&self.post_middle);
        number(out, body.len());
        // A vector takes whatever is written to it.
        let _ = write!(out, "\r\nidempotency-key: {key}\r\n\r\n");
        out.extend_from_slice(body);
    }

    /// `POST /api/bookings`.
    pub(super) fn hold(
        &self,
        out: &mut Vec<u8>,
        user: Uuid,
        event: Uuid,
        tickets: impl ExactSizeIterator<Item = Uuid>,
    ) {
        let fixed = HOLD_OPENING.len() + HOLD_EVENT.len() + HOLD_TICKETS.len() + 2 * ID_BYTES;
        // Each ticket has two quotation marks and a comma behind it, or the closing bracket.
        let bytes = fixed + tickets.len() * (ID_BYTES + 3) + 1;
        out.extend_from_slice(b"POST /api/bookings");
        self.length(out, bytes);
        out.extend_from_slice(HOLD_OPENING);
        id(out, user);
        out.extend_from_slice(HOLD_EVENT);
        id(out, event);
        out.extend_from_slice(HOLD_TICKETS);
        for (place, ticket) in tickets.enumerate() {
            out.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
            id(out, ticket);
            out.push(b'"');
        }
        out.extend_from_slice(b"]}");
    }

    /// `POST /api/bookings/{booking}/{verb}`.
    pub(super) fn end(&self, out: &mut Vec<u8>, booking: Uuid, verb: &str, user: Uuid) {
        out.extend_from_slice(b"POST /api/bookings/");
        id(out, booking);
        out.push(b'/');
        out.extend_from_slice(verb.as_bytes());
        self.length(out, HOLD_OPENING.len() + ID_BYTES + 2);
        out.extend_from_slice(HOLD_OPENING);
        id(out, user);
        out.extend_from_slice(b"\"}");
    }

    fn length(&self, out: &mut Vec<u8>, bytes: usize) {
        out.extend_from_slice(&self.post_middle);
        number(out, bytes);
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// Writes an id.
pub(super) fn id(out: &mut Vec<u8>, id: Uuid) {
    let mut text = [0; ID_BYTES];
    id.hyphenated().encode_lower(&mut text);
    out.extend_from_slice(&text);
}

/// Writes a number.
pub(super) fn number(out: &mut Vec<u8>, number: usize) {
    // A vector takes whatever is written to it.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\nx: y\r\n\r\nabc";
        for end in 0..answer.len() - 3 {
            assert_eq!(head(&answer[..end]), Ok(None), "{end}");
        }
        let whole = head(answer).unwrap().unwrap();
        assert_eq!((whole.status, whole.bytes(), whole.closes), (201, answer.len(), false));
        assert_eq!(whole.answer(answer).body, b"abc");
        let last = head(b"HTTP/1.1 204 No Content\r\nconnection: Close\r\n\r\n").unwrap().unwrap();
        assert_eq!((last.body_bytes, last.closes), (0, true));
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        assert_eq!(head(b"SSH-2.0-OpenSSH\r\n\r\n"), Err(Malformed::Head));
        for length in ["", "content-length: -1\r\n", "transfer-encoding: chunked\r\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
            assert_eq!(head(answer.as_bytes()), Err(Malformed::Length), "{length}");
        }
    }

    #[test]
    fn members_are_found_by_name() {
        let body = br#"{"booking_id":"c0000000-0000-8001-be97-10324c31b1e8","total_amount":150.00,"expires_at":"2026-11-23T08:57:38.048Z","expires_in_ms":600000}"#;
        let answer = Answer { status: 201, body };
        assert_eq!(
            answer.id("booking_id").unwrap().to_string(),
            "c0000000-0000-8001-be97-10324c31b1e8"
        );
        assert_eq!(answer.hundredths("total_amount"), Some(15_000));
        assert_eq!(answer.number("expires_in_ms"), Some(600_000));
        assert_eq!(answer.text("expires_at").and_then(millis), Some(1_795_424_258_048));
        assert_eq!(answer.id("expires_at"), None);
        assert_eq!(answer.text("gone"), None);
        assert_eq!(answer.code(), b"");
        let refusal = Answer { status: 409, body: br#"{"code":"seats_unavailable"}"# };
        assert_eq!(refusal.code(), b"seats_unavailable");
    }

    #[test]
    fn money_is_read_to_the_cent() {
        for (text, cents) in [("0", 0), ("7", 700), ("7.5", 750), ("19.99", 1_999), ("0.05", 5)] {
            assert_eq!(hundredths(text.as_bytes()), Some(cents), "{text}");
        }
        for text in ["", ".5", "7.", "-1", "1e3", "1.005", "1.-5", "99999999999999999999"] {
            assert_eq!(hundredths(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn requests_say_how_long_they_are() {
        let pen = Pen::new("localhost:1");
        let ids: Vec<Uuid> = (0..3).map(Uuid::from_u128).collect();
        for count in 1..=3 {
            let mut out = Vec::new();
            pen.hold(&mut out, ids[0], ids[1], ids[..count].iter().copied());
            check(&out, "/api/bookings", |body| {
                assert_eq!(body["ticket_ids"].as_array().unwrap().len(), count);
                assert_eq!(body["event_id"], ids[1].to_string());
            });
        }
        let mut out = Vec::new();
        pen.end(&mut out, ids[2], "confirm", ids[1]);
        check(&out, &format!("/api/bookings/{}/confirm", ids[2]), |body| {
            assert_eq!(body, &serde_json::json!({"user_id": ids[1].to_string()}));
        });
        let mut out = Vec::new();
        pen.get(&mut out, |out| out.extend_from_slice(b"/health"));
        assert_eq!(out, b"GET /health HTTP/1.1\r\nhost: localhost:1\r\n\r\n");
    }

    fn check(request: &[u8], path: &str, body: impl FnOnce(&serde_json::Value)) {
        let text = str::from_utf8(request).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\nhost: localhost:1\r\n")));
        assert!(head.ends_with(&format!("content-length: {}", rest.len())), "{text}");
        body(&serde_json::from_str(rest).unwrap());
    }
}
