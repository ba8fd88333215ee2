//! The fields of a fact, by name and in order: for lines of text and of JSON alike.
//!
//! Texts come from clients. In text they are quoted and escaped, so that no text can pass for
//! another field, break a line or steer a terminal.

use std::fmt;

use booking_manager::domain::{
    Amount, Currency, EventCreated, EventNumber, Fact, Held, KeyBound, PublicId, RequestStamp,
    Subject, Timestamp, UserNumber,
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use uuid::Uuid;

use crate::instant;
use crate::names::{BookingNumber, Names};

/// The names of all kinds of facts.
pub const KINDS: [&str; 9] = [
    "user_created",
    "user_updated",
    "user_deleted",
    "event_created",
    "held",
    "confirmed",
    "cancelled",
    "expired",
    "key_bound",
];

/// The name of a fact's kind, one of [`KINDS`].
pub const fn kind(fact: &Fact<'_>) -> &'static str {
    match fact {
        Fact::UserCreated(_) => KINDS[0],
        Fact::UserUpdated(_) => KINDS[1],
        Fact::UserDeleted(_) => KINDS[2],
        Fact::EventCreated(_) => KINDS[3],
        Fact::Held(_) => KINDS[4],
        Fact::Confirmed(_) => KINDS[5],
        Fact::Cancelled(_) => KINDS[6],
        Fact::Expired(_) => KINDS[7],
        Fact::KeyBound(_) => KINDS[8],
    }
}

/// What a field holds.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    /// A count, or an amount in minor units.
    Number(u64),
    /// Seats.
    Numbers(Vec<u32>),
    /// A text of our own making: an id, a time, an amount.
    Word(String),
    /// A text of a client's making.
    Text(String),
}

/// The fields of one fact.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// The fields of a fact, with what is known of the ids in it.
    pub fn of(fact: &Fact<'_>, names: &Names) -> Self {
        let mut fields = Self::default();
        match fact {
            Fact::UserCreated(fact) => {
                fields.user(fact.user.number, names);
                fields.person(fact.email, fact.name);
                fields.stamp(fact.stamp);
            }
            Fact::UserUpdated(fact) => {
                fields.user(fact.user, names);
                fields.person(fact.email, fact.name);
            }
            Fact::UserDeleted(fact) => fields.user(fact.user, names),
            Fact::EventCreated(fact) => fields.event_created(fact, names),
            Fact::Held(fact) => fields.held(fact, names),
            Fact::Confirmed(fact) | Fact::Cancelled(fact) | Fact::Expired(fact) => {
                fields.booking((fact.event, fact.row), names);
                fields.stamp(fact.stamp);
            }
            Fact::KeyBound(fact) => fields.key_bound(fact, names),
        }
        fields
    }

    fn put(&mut self, name: &'static str, value: Value) {
        self.0.push((name, value));
    }

    fn number(&mut self, name: &'static str, number: u32) {
        self.put(name, Value::Number(number.into()));
    }

    fn text(&mut self, name: &'static str, text: &str) {
        self.put(name, Value::Text(text.to_owned()));
    }

    fn id(&mut self, name: &'static str, id: Option<PublicId>) {
        if let Some(PublicId(bits)) = id {
            self.put(name, Value::Word(Uuid::from_u128(bits).to_string()));
        }
    }

    fn time(&mut self, name: &'static str, time: Timestamp) {
        self.put(name, Value::Word(instant::show(time)));
    }

    fn user(&mut self, number: UserNumber, names: &Names) {
        self.number("user", number.get());
        self.id("user_id", names.user(number).map(|id| id.public()));
    }

    fn event(&mut self, number: EventNumber, names: &Names) {
        self.number("event", number.get());
        self.id("event_id", names.event(number).map(|id| id.public()));
    }

    /// A booking, with its event and, if that is known, its user.
    fn booking(&mut self, number: BookingNumber, names: &Names) {
        let (event, row) = number;
        self.event(event, names);
        self.number("row", row.get());
        self.id("booking_id", names.booking(number).map(|id| id.public()));
        if let Some(user) = names.booker(number) {
            self.user(user, names);
        }
    }

    fn person(&mut self, email: &str, name: &str) {
        self.text("email", email);
        self.text("name", name);
    }

    /// An amount: in minor units always, and as people write it if its currency is known.
    fn amount(&mut self, names: [&'static str; 2], amount: Amount, currency: Option<Currency>) {
        let [minor, shown] = names;
        // An amount is never negative.
        self.put(minor, Value::Number(amount.minor().unsigned_abs()));
        if let Some(currency) = currency {
            self.put(shown, Value::Word(amount.display(currency.decimals()).to_string()));
            self.put("currency", Value::Word(currency.code().to_owned()));
        }
    }

    fn stamp(&mut self, stamp: Option<RequestStamp<'_>>) {
        if let Some(RequestStamp { key, fingerprint }) = stamp {
            self.text("key", key);
            self.put("fingerprint", Value::Word(format!("{fingerprint:032x}")));
        }
    }

    fn event_created(&mut self, fact: &EventCreated<'_>, names: &Names) {
        self.event(fact.event.number, names);
        self.text("name", fact.name);
        self.text("artist", fact.artist);
        self.text("venue", fact.venue);
        self.text("date", fact.date);
        self.number("total_seats", fact.total_seats);
        self.amount(["price_minor", "price"], fact.price, Some(fact.currency));
        self.stamp(fact.stamp);
    }

    fn held(&mut self, fact: &Held<'_>, names: &Names) {
        self.booking((fact.event, fact.row), names);
        let seats = fact.tickets.iter().map(|slot| slot.get().saturating_add(1)).collect();
        self.put("seats", Value::Numbers(seats));
        self.amount(["total_minor", "total"], fact.total, names.currency(fact.event));
        self.time("deadline", fact.deadline);
        self.stamp(fact.stamp);
    }

    fn key_bound(&mut self, fact: &KeyBound<'_>, names: &Names) {
        let subject = match fact.subject {
            Subject::UserCreated(_) => "user_created",
            Subject::EventCreated(_) => "event_created",
            Subject::Held(..) => "held",
            Subject::HeldAlready(..) => "held_already",
            Subject::Confirmed(..) => "confirmed",
            Subject::Cancelled(..) => "cancelled",
        };
        self.put("subject", Value::Word(subject.to_owned()));
        match fact.subject {
            Subject::UserCreated(user) => self.user(user, names),
            Subject::EventCreated(event) => self.event(event, names),
            Subject::Held(event, row)
            | Subject::HeldAlready(event, row)
            | Subject::Confirmed(event, row)
            | Subject::Cancelled(event, row) => self.booking((event, row), names),
        }
        self.stamp(Some(fact.stamp));
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{name}=")?;
            match value {
                Value::Number(number) => write!(f, "{number}")?,
                Value::Numbers(numbers) => {
                    let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
                    f.write_str(&numbers.join(","))?;
                }
                Value::Word(word) => f.write_str(word)?,
                Value::Text(text) => write!(f, "{text:?}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Value::Number(number) => map.serialize_entry(name, number)?,
                Value::Numbers(numbers) => map.serialize_entry(name, numbers)?,
                Value::Word(text) | Value::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use booking_manager::domain::UserUpdated;

    use super::*;

    #[test]
    fn no_text_can_pass_for_a_field_or_break_a_line() {
        let fact = Fact::UserUpdated(UserUpdated {
            user: UserNumber::new(3),
            email: "a@b",
            name: "x\" user=4\n\u{1b}[2J",
            at: Timestamp::from_millis(0),
        });
        let shown = Fields::of(&fact, &Names::default()).to_string();
        assert_eq!(shown, r#"user=3 email="a@b" name="x\" user=4\n\u{1b}[2J""#);
    }
}
