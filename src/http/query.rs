//! Query parameters of lists: `limit`, `after`, `status`.
//!
//! Parameters that a resource does not know are ignored, as clients add their own (to get around
//! caches, say). One that it knows may stand there once.

use std::borrow::Cow;

use super::problem::{Problem, Reason};
use crate::domain::{BookingStatus, PublicId, TicketStatus};

/// The most items that `limit` may ask for; a list without `limit` is streamed and has no bound.
pub(super) const LIMIT_MAX: usize = 10_000;

/// The parameters of a list, unchecked.
#[derive(Debug, Default)]
pub(super) struct Query<'q> {
    limit: Option<Cow<'q, str>>,
    after: Option<Cow<'q, str>>,
    status: Option<Cow<'q, str>>,
}

impl<'q> Query<'q> {
    /// Takes the known parameters out of `text`, the part of the target after `?`.
    pub(super) fn parse(text: Option<&'q str>) -> Result<Self, Problem> {
        let mut query = Self::default();
        let parameters = text.unwrap_or_default().split('&');
        for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match decode(name)?.as_ref() {
                "limit" => &mut query.limit,
                "after" => &mut query.after,
                "status" => &mut query.status,
                _ => continue,
            };
            if place.replace(decode(value)?).is_some() {
                return Err(bad(format!("{name} is given more than once")));
            }
        }
        Ok(query)
    }

    /// How many items, if not all.
    pub(super) fn limit(&self) -> Result<Option<usize>, Problem> {
        let Some(text) = &self.limit else {
            return Ok(None);
        };
        // `parse` alone would take a plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(limit @ 1..=LIMIT_MAX) if digits => Ok(Some(limit)),
            _ => Err(bad(format!("limit must be a whole number from 1 to {LIMIT_MAX}"))),
        }
    }

    /// The id to go on after.
    pub(super) fn after(&self) -> Result<Option<PublicId>, Problem> {
        let Some(text) = &self.after else {
            return Ok(None);
        };
        match parse_id(text.as_bytes()) {
            Some(id) => Ok(Some(id)),
            None => Err(bad("after must be the UUID of an entry of the list")),
        }
    }

    /// Which tickets, if not all.
    pub(super) fn ticket_status(&self) -> Result<Option<TicketStatus>, Problem> {
        let Some(name) = &self.status else {
            return Ok(None);
        };
        match TicketStatus::from_name(name) {
            Some(status) => Ok(Some(status)),
            None => Err(bad("status must be available, reserved, sold or cancelled")),
        }
    }

    /// Which bookings, if not all.
    pub(super) fn booking_status(&self) -> Result<Option<BookingStatus>, Problem> {
        let Some(name) = &self.status else {
            return Ok(None);
        };
        match BookingStatus::from_name(name) {
            Some(status) => Ok(Some(status)),
            None => Err(bad("status must be pending, confirmed, cancelled or expired")),
        }
    }
}

fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
    Reason::BadParameter.because(detail)
}

/// A UUID in the form with hyphens, the only one that is accepted.
pub(super) fn parse_id(text: impl AsRef<[u8]>) -> Option<PublicId> {
    let text = text.as_ref();
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return None;
    }
    let id = uuid::Uuid::try_parse_ascii(text).ok()?;
    Some(PublicId(id.as_u128()))
}

/// Undoes percent-encoding and `+`.
fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let broken = || bad("the query is not well-formed percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b'%', high, low, rest @ ..] => {
                bytes.push(hex(*high).ok_or_else(broken)? << 4 | hex(*low).ok_or_else(broken)?);
                rest
            }
            [b'%', ..] => return Err(broken()),
            [byte, rest @ ..] => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                rest
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err(broken()),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The target of the next page: what was asked for, but going on after `last`.
///
/// Only what the list knows is repeated, in its shortest form, so that the target stays short
/// enough to be asked for.
pub(super) fn next_page(path: &str, query: Option<&str>, last: PublicId) -> String {
    let query = Query::parse(query).unwrap_or_default();
    let mut target = format!("{path}?");
    if let Ok(Some(limit)) = query.limit() {
        target.push_str(&format!("limit={limit}&"));
    }
    if let Some(status) = query.status
        && (TicketStatus::from_name(&status).is_some()
            || BookingStatus::from_name(&status).is_some())
    {
        target.push_str(&format!("status={status}&"));
    }
    let last = uuid::Uuid::from_u128(last.0);
    target.push_str(&format!("after={last}"));
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

    fn limit(text: &str) -> Option<Option<usize>> {
        Query::parse(Some(text)).unwrap().limit().ok()
    }

    #[test]
    fn limit_is_a_number_within_its_bounds() {
        assert_eq!(limit(""), Some(None));
        assert_eq!(limit("limit=1"), Some(Some(1)));
        assert_eq!(limit("a=b&&limit=10000&c"), Some(Some(10_000)));
        assert_eq!(limit("l%69mit=1%30"), Some(Some(10)));
        for bad in [
            "limit=",
            "limit",
            "limit=0",
            "limit=10001",
            "limit=-1",
            "limit=+1",
            "limit=%2B1",
            "limit=1e2",
            "limit=99999999999999999999999",
        ] {
            assert_eq!(limit(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_known_parameter_stands_there_once_and_unknown_ones_are_ignored() {
        assert!(Query::parse(Some("limit=1&limit=1")).is_err());
        assert!(Query::parse(Some("x=1&x=2")).is_ok());
        assert!(Query::parse(Some("limit=%zz")).is_err());
        assert!(Query::parse(Some("limit=%ff")).is_err());
    }

    #[test]
    fn ids_and_statuses_are_checked() {
        let query = format!("after={ID}&status=sold");
        let query = Query::parse(Some(&query)).unwrap();
        assert_eq!(query.after().unwrap(), parse_id(ID));
        assert_eq!(query.ticket_status().unwrap(), Some(TicketStatus::Sold));
        assert!(query.booking_status().is_err());
        let query = Query::parse(Some("after=7&status=")).unwrap();
        assert!(query.after().is_err());
        assert!(query.ticket_status().is_err());
    }

    #[test]
    fn ids_have_hyphens() {
        assert!(parse_id(ID).is_some());
        assert!(parse_id(ID.to_uppercase()).is_some());
        for bad in [
            "",
            "550e8400e29b41d4a716446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "550e8400-e29b-41d4-a716-4466554400é",
        ] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_next_page_keeps_what_the_list_knows() {
        let next = |query| next_page("/api/events", query, parse_id(ID).unwrap());
        assert_eq!(next(Some("limit=2")), format!("/api/events?limit=2&after={ID}"));
        assert_eq!(
            next(Some("after=x&status=%73old&l%69mit=0002")),
            format!("/api/events?limit=2&status=sold&after={ID}")
        );
        let long = format!("limit=1&x={0}&status={0}", "a".repeat(900));
        assert_eq!(next(Some(&long)), format!("/api/events?limit=1&after={ID}"));
        assert_eq!(next(None), format!("/api/events?after={ID}"));
    }
}
