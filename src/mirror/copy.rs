//! The bytes of `COPY ... FROM STDIN (FORMAT binary)`.
//!
//! A header, then for each row the number of its fields and each field as its length (-1: null) and
//! its value in PostgreSQL's own form, all big-endian; at the end a row of -1 fields (PostgreSQL's
//! manual, "COPY", binary format). A [`Copy`] is taken away in pieces, so that a million rows need
//! no more memory than one piece.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::domain::{Amount, Currency, PublicId, Timestamp};

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// From this size on a piece is sent.
const PIECE_BYTES: usize = 64 << 10;
/// Room for the row that crosses the bound.
const ROW_BYTES: usize = 4 << 10;
const NULL: i32 = -1;
const UUID_OID: u32 = 2950;
const UUID_BYTES: i32 = 16;
/// Milliseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MILLIS: i64 = 946_684_800_000;
/// Decimals of the money columns: more than any currency of ISO 4217 has.
const DECIMALS: u32 = 4;
/// PostgreSQL's numbers are made of digits to this base, so that one of them is the decimals.
const BASE: u128 = 10_000;

/// Microseconds since 2000: what PostgreSQL takes for an instant.
pub(super) fn micros(at: Timestamp) -> i64 {
    // 48 bits of milliseconds: no overflow.
    (i64::try_from(at.millis()).unwrap_or(i64::MAX / 2_000) - EPOCH_MILLIS) * 1_000
}

/// An id as PostgreSQL takes it.
pub(super) const fn uuid(id: PublicId) -> Uuid {
    Uuid::from_u128(id.0)
}

/// Rows on their way.
#[derive(Debug)]
pub(super) struct Copy {
    bytes: BytesMut,
}

impl Copy {
    /// No row yet.
    pub(super) fn begin() -> Self {
        let mut bytes = BytesMut::with_capacity(PIECE_BYTES + ROW_BYTES);
        bytes.put_slice(SIGNATURE);
        bytes.put_i32(0);
        bytes.put_i32(0);
        Self { bytes }
    }

    /// Begins a row of so many fields, which must follow.
    pub(super) fn row(&mut self, fields: i16) -> &mut Self {
        self.bytes.put_i16(fields);
        self
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.bytes.put_i32(NULL);
        self
    }

    pub(super) fn id(&mut self, id: PublicId) -> &mut Self {
        self.bytes.put_i32(UUID_BYTES);
        self.bytes.put_u128(id.0);
        self
    }

    pub(super) fn ids(&mut self, ids: impl ExactSizeIterator<Item = PublicId>) -> &mut Self {
        let count = i32::try_from(ids.len()).expect("a booking has few tickets");
        self.bytes.put_i32(20 + count * (4 + UUID_BYTES));
        // One dimension, no nulls, and where its numbering begins.
        self.bytes.put_i32(1);
        self.bytes.put_i32(0);
        self.bytes.put_u32(UUID_OID);
        self.bytes.put_i32(count);
        self.bytes.put_i32(1);
        for id in ids {
            self.id(id);
        }
        self
    }

    pub(super) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.put_i32(i32::try_from(value.len()).expect("a field is short"));
        self.bytes.put_slice(value);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes())
    }

    pub(super) fn integer(&mut self, number: u32) -> &mut Self {
        self.raw(&i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes())
    }

    pub(super) fn time(&mut self, at: Timestamp) -> &mut Self {
        self.raw(&micros(at).to_be_bytes())
    }

    pub(super) fn maybe_time(&mut self, at: Option<Timestamp>) -> &mut Self {
        match at {
            Some(at) => self.time(at),
            None => self.null(),
        }
    }

    pub(super) fn money(&mut self, amount: Amount, currency: Currency) -> &mut Self {
        let missing = DECIMALS.saturating_sub(currency.decimals());
        let minor = u128::try_from(amount.minor()).unwrap_or(0);
        let digits = digits(minor * 10_u128.pow(missing));
        let count = i16::try_from(digits.len()).unwrap_or(0);
        self.bytes.put_i32(8 + 2 * i32::from(count));
        self.bytes.put_i16(count);
        // How many digits stand before the point, less one: all but the last, which is the decimals.
        self.bytes.put_i16(count - 2);
        // Not negative; and the decimals that are shown.
        self.bytes.put_u16(0);
        self.bytes.put_u16(4);
        for digit in digits {
            self.bytes.put_u16(digit);
        }
        self
    }

    /// The rows so far, once there are enough to be sent.
    pub(super) fn piece(&mut self) -> Option<Bytes> {
        (self.bytes.len() >= PIECE_BYTES).then(|| {
            let piece = self.bytes.split().freeze();
            self.bytes.reserve(PIECE_BYTES + ROW_BYTES);
            piece
        })
    }

    /// The last rows, and the end.
    pub(super) fn end(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }
}

/// The digits of `number` to the base, the first of which is not zero.
fn digits(mut number: u128) -> Vec<u16> {
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(u16::try_from(number % BASE).expect("less than the base"));
        number /= BASE;
    }
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(fill: impl FnOnce(&mut Copy)) -> Vec<u8> {
        let mut copy = Copy::begin();
        let header = copy.bytes.len();
        fill(&mut copy);
        let end = copy.end();
        assert_eq!(end[end.len() - 2..], [0xff, 0xff]);
        end[header..end.len() - 2].to_vec()
    }

    #[test]
    fn money_is_digits_to_the_base_ten_thousand() {
        let money = |minor, code: &str| {
            let currency = Currency::from_code(code).unwrap();
            bytes_of(|copy| {
                copy.money(Amount::from_minor(minor).unwrap(), currency);
            })
        };
        assert_eq!(money(0, "USD"), [0, 0, 0, 8, 0, 0, 0xff, 0xfe, 0, 0, 0, 4]);
        // 19.99 is 19 and 9900 of ten thousand.
        let expected = [0, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 4, 0, 19, 0x26, 0xac];
        assert_eq!(money(1_999, "USD"), expected);
        // 0.05: nothing before the point.
        assert_eq!(money(5, "USD"), [0, 0, 0, 10, 0, 1, 0xff, 0xff, 0, 0, 0, 4, 1, 0xf4]);
        assert_eq!(money(7, "JPY"), [0, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 4, 0, 7, 0, 0]);
    }

    #[test]
    fn instants_count_microseconds_from_2000() {
        assert_eq!(micros(Timestamp::from_millis(946_684_800_001)), 1_000);
        assert_eq!(micros(Timestamp::from_millis(0)), -946_684_800_000_000);
        assert!(micros(Timestamp::MAX) > 0);
    }

    #[test]
    fn pieces_are_given_away_when_they_are_large() {
        let mut copy = Copy::begin();
        assert!(copy.piece().is_none());
        copy.row(1).raw(&[7; PIECE_BYTES]);
        assert!(copy.piece().unwrap().len() > PIECE_BYTES);
        assert!(copy.piece().is_none());
        assert_eq!(copy.end().len(), 2);
    }
}
