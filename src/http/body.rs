//! Request bodies: what clients send, as the domain wants it.
//!
//! A body is read in two steps. JSON that is broken, or that names a member twice, is malformed and
//! nothing more is said about it. Then every member is checked by itself and *all* faults are
//! collected, each with a pointer. Members that nobody asked for are ignored, and skipping one does
//! not recurse, however deep it is. A booking request, the hot path, is first read straight into its
//! ids; only where that fails is it looked at in detail.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::problem::{Fault, Problem, Reason};
use super::query::parse_id;
use super::rfc3339;
use crate::domain::{
    Amount, AmountFault, Currency, Email, EventDetails, PersonName, PublicId, SEATS_PER_EVENT_MAX,
    TICKETS_PER_BOOKING_MAX, Title,
};

/// `POST` and `PUT` of a user.
#[derive(Debug)]
pub(super) struct UserBody {
    pub(super) email: Email,
    pub(super) name: PersonName,
}

/// `POST /api/bookings`.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct HoldBody {
    pub(super) user: PublicId,
    pub(super) event: PublicId,
    pub(super) tickets: Vec<PublicId>,
}

/// A member as it stands in the text; `null` counts as absent.
type Member<'b> = Option<&'b RawValue>;

#[derive(serde::Deserialize)]
pub(super) struct UserMembers<'b> {
    #[serde(borrow)]
    email: Member<'b>,
    #[serde(borrow)]
    name: Member<'b>,
}

#[derive(serde::Deserialize)]
pub(super) struct EventMembers<'b> {
    #[serde(borrow)]
    name: Member<'b>,
    #[serde(borrow)]
    artist: Member<'b>,
    #[serde(borrow)]
    venue: Member<'b>,
    #[serde(borrow)]
    date: Member<'b>,
    #[serde(borrow)]
    total_seats: Member<'b>,
    #[serde(borrow)]
    price: Member<'b>,
    #[serde(borrow)]
    currency: Member<'b>,
}

#[derive(serde::Deserialize)]
pub(super) struct HoldMembers<'b> {
    #[serde(borrow)]
    user_id: Member<'b>,
    #[serde(borrow)]
    event_id: Member<'b>,
    #[serde(borrow)]
    ticket_ids: Member<'b>,
}

#[derive(serde::Deserialize)]
pub(super) struct OwnerMembers<'b> {
    #[serde(borrow)]
    user_id: Member<'b>,
}

/// A booking request without a fault.
#[derive(serde::Deserialize)]
struct SoundHold {
    user_id: SoundId,
    event_id: SoundId,
    ticket_ids: Vec<SoundId>,
}

struct SoundId(PublicId);

impl<'de> Deserialize<'de> for SoundId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl Visitor<'_> for IdVisitor {
            type Value = SoundId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID")
            }

            fn visit_bytes<E: serde::de::Error>(self, text: &[u8]) -> Result<SoundId, E> {
                let id = parse_id(text);
                id.map(SoundId).ok_or_else(|| E::custom("not a UUID"))
            }
        }
        // Of a string, and not checked to be UTF-8: what is not does not pass for an id.
        deserializer.deserialize_bytes(IdVisitor)
    }
}

/// Reads the body that creates or changes a user.
pub(super) fn user(body: &[u8]) -> Result<UserBody, Problem> {
    let members: UserMembers<'_> = object(body)?;
    let mut faults = Faults::default();
    let email = faults.text("/email", members.email, Email::parse);
    let name = faults.text("/name", members.name, PersonName::parse);
    match (email, name) {
        (Some(email), Some(name)) => Ok(UserBody { email, name }),
        _ => Err(faults.into()),
    }
}

/// Reads the body that creates an event.
pub(super) fn event(body: &[u8]) -> Result<EventDetails, Problem> {
    let members: EventMembers<'_> = object(body)?;
    let mut faults = Faults::default();
    let name = faults.text("/name", members.name, Title::parse);
    let artist = faults.text("/artist", members.artist, Title::parse);
    let venue = faults.text("/venue", members.venue, Title::parse);
    let date =
        faults.text("/date", members.date, |text| rfc3339::check(text).map(|()| text.into()));
    let total_seats = faults.member("/total_seats", members.total_seats, seats);
    let currency = match members.currency {
        None => Some(Currency::DEFAULT),
        currency => faults.text("/currency", currency, |code| {
            Currency::from_code(code).ok_or("must be a currency code of ISO 4217, such as USD")
        }),
    };
    let price = faults.member("/price", members.price, |text| price(text, currency));
    match (name, artist, venue, date, total_seats, price, currency) {
        (
            Some(name),
            Some(artist),
            Some(venue),
            Some(date),
            Some(total_seats),
            Some(price),
            Some(currency),
        ) => Ok(EventDetails { name, artist, venue, date, total_seats, price, currency }),
        _ => Err(faults.into()),
    }
}

/// Reads a request for tickets.
pub(super) fn hold(body: &[u8]) -> Result<HoldBody, Problem> {
    // A derived reader would take an array for an object.
    if body.first() == Some(&b'{')
        && let Ok(sound) = serde_json::from_slice::<SoundHold>(body)
        && !sound.ticket_ids.is_empty()
    {
        return Ok(HoldBody {
            user: sound.user_id.0,
            event: sound.event_id.0,
            tickets: sound.ticket_ids.into_iter().map(|id| id.0).collect(),
        });
    }
    hold_in_detail(body)
}

/// Reads a request for tickets member by member, so that everything that is wrong can be told.
pub(super) fn hold_in_detail(body: &[u8]) -> Result<HoldBody, Problem> {
    let members: HoldMembers<'_> = object(body)?;
    let mut faults = Faults::default();
    let user = faults.text("/user_id", members.user_id, id);
    let event = faults.text("/event_id", members.event_id, id);
    let tickets = faults.tickets(members.ticket_ids);
    match (user, event, tickets) {
        (Some(user), Some(event), Some(tickets)) => Ok(HoldBody { user, event, tickets }),
        _ => Err(faults.into()),
    }
}

/// Reads who confirms or cancels.
pub(super) fn owner(body: &[u8]) -> Result<PublicId, Problem> {
    let members: OwnerMembers<'_> = object(body)?;
    let mut faults = Faults::default();
    let user = faults.text("/user_id", members.user_id, id);
    user.ok_or_else(|| faults.into())
}

/// Reads the members of an object.
fn object<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    let first = body.iter().find(|byte| !b" \t\r\n".contains(byte));
    let malformed = |error: serde_json::Error| Reason::MalformedJson.because(error.to_string());
    if first.is_some_and(|byte| *byte != b'{') {
        return match serde_json::from_slice::<&RawValue>(body) {
            Ok(_) => Err(Faults(vec![Fault::new("", "must be an object")]).into()),
            Err(error) => Err(malformed(error)),
        };
    }
    serde_json::from_slice(body).map_err(malformed)
}

/// What is wrong with a body.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        Reason::ValidationFailed(faults.0).into()
    }
}

impl Faults {
    fn add<T>(&mut self, pointer: impl Into<Cow<'static, str>>, detail: String) -> Option<T> {
        self.0.push(Fault::new(pointer, detail));
        None
    }

    /// A required member, read from its raw text by `read`.
    fn member<'b, T, E: fmt::Display>(
        &mut self,
        pointer: &'static str,
        member: Member<'b>,
        read: impl FnOnce(&'b str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(raw) = member else {
            return self.add(pointer, "is required".into());
        };
        match read(raw.get()) {
            Ok(value) => Some(value),
            Err(detail) => self.add(pointer, detail.to_string()),
        }
    }

    /// A required string, read from its text by `read`.
    fn text<T, E: fmt::Display>(
        &mut self,
        pointer: &'static str,
        member: Member<'_>,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.member(pointer, member, |raw| {
            let text = string(raw).map_err(String::from)?;
            read(&text).map_err(|detail| detail.to_string())
        })
    }

    /// The list of tickets: not empty, and all of them UUIDs.
    fn tickets(&mut self, member: Member<'_>) -> Option<Vec<PublicId>> {
        const POINTER: &str = "/ticket_ids";
        let raw = self.member(POINTER, member, |raw| {
            serde_json::from_str::<Vec<&RawValue>>(raw)
                .map_err(|_not_one| "must be an array of UUIDs")
        })?;
        if raw.is_empty() {
            return self.add(POINTER, "must name at least one ticket".into());
        }
        if raw.len() > TICKETS_PER_BOOKING_MAX {
            // A fault for each of them would be many times as long as what was sent.
            let detail = format!("must name at most {TICKETS_PER_BOOKING_MAX} tickets");
            return self.add(POINTER, detail);
        }
        let before = self.0.len();
        let mut tickets = Vec::with_capacity(raw.len());
        for (index, raw) in raw.into_iter().enumerate() {
            let read = string(raw.get()).and_then(|text| id(&text));
            match read {
                Ok(ticket) => tickets.push(ticket),
                Err(detail) => {
                    let pointer = format!("{POINTER}/{index}");
                    let _: Option<()> = self.add(pointer, detail.into());
                }
            }
        }
        (self.0.len() == before).then_some(tickets)
    }
}

fn string(raw: &str) -> Result<Cow<'_, str>, &'static str> {
    if !raw.starts_with('"') {
        return Err("must be a string");
    }
    // Most strings have no escapes and can be borrowed.
    if let Ok(text) = serde_json::from_str::<&str>(raw) {
        return Ok(Cow::Borrowed(text));
    }
    match serde_json::from_str(raw) {
        Ok(text) => Ok(Cow::Owned(text)),
        // Half of a surrogate pair, which no text can have.
        Err(_) => Err("must be a string of Unicode characters"),
    }
}

fn id(text: &str) -> Result<PublicId, &'static str> {
    parse_id(text).ok_or("must be a UUID")
}

fn seats(raw: &str) -> Result<u32, String> {
    let fault = || format!("must be a whole number from 1 to {SEATS_PER_EVENT_MAX}");
    // JSON has no plus sign and no leading zeros, so what parses is a plain number.
    match raw.parse() {
        Ok(seats @ 1..=SEATS_PER_EVENT_MAX) => Ok(seats),
        _ => Err(fault()),
    }
}

fn price(raw: &str, currency: Option<Currency>) -> Result<Amount, String> {
    if !raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err("must be a number".into());
    }
    if raw.contains(['e', 'E']) {
        return Err("must be written without an exponent, such as 75.00".into());
    }
    let known = currency.unwrap_or(Currency::DEFAULT);
    match Amount::parse(raw, known.decimals()) {
        Ok(price) => Ok(price),
        // How many decimals are right is not known without the currency, which has its own fault.
        Err(AmountFault::TooPrecise(_)) if currency.is_none() => {
            Err("must fit the currency".into())
        }
        Err(fault) => Err(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

    /// The code of the refusal and the pointers of its faults.
    fn refused<T: fmt::Debug>(read: Result<T, Problem>) -> (&'static str, Vec<String>) {
        let problem = read.unwrap_err();
        let code = problem.reason.code();
        let Reason::ValidationFailed(faults) = problem.reason else {
            return (code, Vec::new());
        };
        let pointers = faults.into_iter().map(|fault| fault.pointer.into_owned());
        (code, pointers.collect())
    }

    fn event_with(change: &str, value: &str) -> String {
        let mut members = vec![
            ("name", "\"Tour\""),
            ("artist", "\"Ada\""),
            ("venue", "\"Hall\""),
            ("date", "\"2025-06-01T20:00:00Z\""),
            ("total_seats", "100"),
            ("price", "75.00"),
        ];
        members.retain(|(name, _)| *name != change);
        members.push((change, value));
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn money_is_exact() {
        let price = |text: &str| event(event_with("price", text).as_bytes()).map(|e| e.price);
        assert_eq!(price("75.00").unwrap().minor(), 7_500);
        assert_eq!(price("19.99").unwrap().minor(), 1_999);
        assert_eq!(price("0").unwrap().minor(), 0);
        for bad in
            ["1.005", "-1", "1e2", "7.5E1", "\"75.00\"", "true", "[1]", "99999999999999999999"]
        {
            assert_eq!(refused(price(bad)), ("validation_failed", vec!["/price".into()]), "{bad}");
        }
        assert_eq!(refused(price("01")).0, "malformed_json");
        let yen = event_with("currency", "\"JPY\"").replace("75.00", "75.5");
        assert_eq!(refused(event(yen.as_bytes())).1, ["/price"]);
    }

    #[test]
    fn seats_are_a_whole_number_within_bounds() {
        let seats = |text: &str| event(event_with("total_seats", text).as_bytes());
        assert_eq!(seats("1").unwrap().total_seats, 1);
        assert_eq!(seats("1000000").unwrap().total_seats, 1_000_000);
        for bad in ["0", "1000001", "-1", "1.0", "1e3", "\"5\"", "4294967297"] {
            assert_eq!(refused(seats(bad)).1, ["/total_seats"], "{bad}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let body = r#"{"name":"","artist":7,"date":"tomorrow","total_seats":0,"currency":"XXX"}"#;
        let (code, pointers) = refused(event(body.as_bytes()));
        assert_eq!(code, "validation_failed");
        let all = ["/name", "/artist", "/venue", "/date", "/total_seats", "/currency", "/price"];
        assert_eq!(pointers, all);
        assert_eq!(refused(user(b"{}")).1, ["/email", "/name"]);
        assert_eq!(refused(user(b"{\"email\":null}")).1, ["/email", "/name"]);
    }

    #[test]
    fn the_currency_is_optional() {
        let default = event(event_with("currency", "null").as_bytes()).unwrap();
        assert_eq!(default.currency, Currency::DEFAULT);
        let euro = event(event_with("currency", "\"EUR\"").as_bytes()).unwrap();
        assert_eq!(euro.currency.code(), "EUR");
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for bad in [
            "",
            " ",
            "{",
            "{\"user_id\":}",
            "{} {}",
            "{'a':1}",
            "{\"user_id\":\"a\",\"user_id\":\"b\"}",
            "\u{feff}{}",
            "[",
        ] {
            assert_eq!(refused(hold(bad.as_bytes())).0, "malformed_json", "{bad}");
        }
        assert_eq!(refused(hold(b"{\"user_id\":\"\xff\"}")).0, "malformed_json", "not UTF-8");
        for other in ["[]", "null", "7", "\"x\"", " true"] {
            assert_eq!(refused(hold(other.as_bytes())), ("validation_failed", vec![String::new()]));
        }
    }

    #[test]
    fn a_hold_names_its_faulty_tickets() {
        let body = |tickets: &str| {
            format!("{{\"user_id\":\"{ID}\",\"event_id\":\"{ID}\",\"ticket_ids\":{tickets}}}")
        };
        let sound = hold(body(&format!("[\"{ID}\"]")).as_bytes()).unwrap();
        assert_eq!(sound.tickets, [parse_id(ID).unwrap()]);
        let faulty = body(&format!("[\"{ID}\",\"x\",7,\"{ID}\",null]"));
        assert_eq!(
            refused(hold(faulty.as_bytes())).1,
            ["/ticket_ids/1", "/ticket_ids/2", "/ticket_ids/4"]
        );
        for bad in ["[]", "{}", "\"x\"", "null"] {
            assert_eq!(refused(hold(body(bad).as_bytes())).1, ["/ticket_ids"], "{bad}");
        }
        let many = format!("[{}7]", "7,".repeat(TICKETS_PER_BOOKING_MAX));
        assert_eq!(refused(hold(body(&many).as_bytes())).1, ["/ticket_ids"], "one fault for all");
        let array = format!("[\"{ID}\",\"{ID}\",[\"{ID}\"]]");
        assert_eq!(refused(hold(array.as_bytes())).1, [""]);
    }

    #[test]
    fn what_nobody_asked_for_is_ignored_however_deep() {
        let depth = 100_000;
        let deep =
            format!("{{\"x\":{}{},\"user_id\":\"{ID}\"}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(owner(deep.as_bytes()).unwrap(), parse_id(ID).unwrap());
        let deep = format!("{{\"user_id\":{}", "{\"a\":".repeat(depth));
        assert_eq!(refused(owner(deep.as_bytes())).0, "malformed_json");
        let deep = format!("{{\"user_id\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refused(owner(deep.as_bytes())).1, ["/user_id"]);
    }

    #[test]
    fn escapes_are_undone_and_half_characters_refused() {
        let read = |email: &str| user(format!("{{\"email\":{email},\"name\":\"A\"}}").as_bytes());
        assert_eq!(read("\"a\\u0040b\"").unwrap().email.as_str(), "a@b");
        assert_eq!(refused(read("\"a@b\\ud800\"")).1, ["/email"]);
        let escaped = format!("{{\"user_id\":\"\\u0035{}\"}}", &ID[1..]);
        assert_eq!(owner(escaped.as_bytes()).unwrap(), parse_id(ID).unwrap());
    }
}
