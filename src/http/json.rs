//! Answer writing: JSON of fixed shape, by hand, into one buffer.
//!
//! An answer's shape is known when the server is compiled, so it is written as literal text with
//! values in between. That costs a seventh of what a serializer does. What is written is compact
//! and UTF-8, and strings are escaped as `serde_json` escapes them.

use super::digits::HEXADECIMAL;
use super::rfc3339::Written;
use crate::domain::{Amount, PublicId, Timestamp};

/// A JSON text in the making.
#[derive(Debug, Default)]
pub(super) struct Json(Vec<u8>);

impl Json {
    /// An empty text with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes were written.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Text that is JSON already: the literal parts of a shape.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A string with its quotes.
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.0.push(b'"');
        let bytes = text.as_bytes();
        let mut written = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.0.extend_from_slice(&bytes[written..at]);
            self.escape(byte);
            written = at + 1;
        }
        self.0.extend_from_slice(&bytes[written..]);
        self.0.push(b'"');
        self
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x09 => b't',
            0x0A => b'n',
            0x0C => b'f',
            0x0D => b'r',
            _ => {
                self.0.extend_from_slice(b"\\u00");
                self.0.extend_from_slice(&HEXADECIMAL[usize::from(byte)]);
                return;
            }
        };
        self.0.extend_from_slice(&[b'\\', short]);
    }

    /// A UUID with its quotes.
    pub(super) fn id(&mut self, id: PublicId) -> &mut Self {
        self.0.push(b'"');
        self.bare_id(id);
        self.0.push(b'"');
        self
    }

    /// A UUID without quotes.
    pub(super) fn bare_id(&mut self, id: PublicId) -> &mut Self {
        /// Where the digits of each byte stand.
        const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let mut text = [b'-'; uuid::fmt::Hyphenated::LENGTH];
        for (place, byte) in PLACES.into_iter().zip(id.0.to_be_bytes()) {
            text[place..place + 2].copy_from_slice(&HEXADECIMAL[usize::from(byte)]);
        }
        self.0.extend_from_slice(&text);
        self
    }

    /// A time with its quotes.
    pub(super) fn time(&mut self, time: Timestamp) -> &mut Self {
        self.0.push(b'"');
        self.0.extend_from_slice(Written::new(time).as_bytes());
        self.0.push(b'"');
        self
    }

    /// A whole number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// An amount of money in a currency with `decimals` decimals, as [`Amount::display`] shows it.
    pub(super) fn amount(&mut self, amount: Amount, decimals: u32) -> &mut Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(amount.minor());
        let decimals = decimals as usize;
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(decimals));
        self.raw(if whole.is_empty() { "0" } else { whole });
        if decimals > 0 {
            self.0.push(b'.');
            self.0.extend(std::iter::repeat_n(b'0', decimals - fraction.len()));
            self.raw(fraction);
        }
        self
    }

    /// What `write` makes of each of `items`, with commas in between.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.0.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            write(self, item);
        }
        self.0.push(b']');
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        write(&mut json);
        String::from_utf8(json.into_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn ids_are_written_as_uuid_does(id: u128) {
            let ours = text(|json| { json.bare_id(PublicId(id)); });
            prop_assert_eq!(ours, uuid::Uuid::from_u128(id).to_string());
        }

        #[test]
        fn strings_are_escaped_as_serde_json_does(string in "\\PC*|[\\x00-\\x7f]*") {
            let ours = text(|json| { json.string(&string); });
            prop_assert_eq!(ours, serde_json::to_string(&string).unwrap());
        }

        #[test]
        fn amounts_are_written_as_they_are_shown(
            shift in 0..54_u32,
            minor in 0..=Amount::MAX.minor(),
            decimals in 0..=4_u32,
        ) {
            let amount = Amount::from_minor(minor >> shift).unwrap();
            let ours = text(|json| { json.amount(amount, decimals); });
            prop_assert_eq!(ours, amount.display(decimals).to_string());
        }
    }

    #[test]
    fn every_ascii_character_is_escaped_as_serde_json_does() {
        for byte in 0..=0x7F_u8 {
            let string = format!("a{}b", char::from(byte));
            let ours = text(|json| {
                json.string(&string);
            });
            assert_eq!(ours, serde_json::to_string(&string).unwrap());
        }
    }

    #[test]
    fn values_are_written_in_their_form() {
        let id = PublicId(0x550e8400_e29b_41d4_a716_446655440000);
        let amount = Amount::parse("19.9", 2).unwrap();
        let written = text(|json| {
            json.raw("{\"id\":").id(id);
            json.raw(",\"at\":").time(Timestamp::from_millis(1));
            json.raw(",\"n\":").number(u64::MAX);
            json.raw(",\"price\":").amount(amount, 2);
            json.raw(",\"list\":").list([1, 2], |json, n| {
                json.number(n);
            });
            json.raw("}");
        });
        assert_eq!(
            written,
            "{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"at\":\"1970-01-01T00:00:00.001Z\",\
             \"n\":18446744073709551615,\"price\":19.90,\"list\":[1,2]}"
        );
    }
}
