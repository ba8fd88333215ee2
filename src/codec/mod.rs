//! How facts become the payload of a log record, and back.
//!
//! One struct per (kind, version), encoded by bincode 2 with fixed-width little-endian integers, so
//! that every byte has a documented place: a text is a `u64` length and its UTF-8, an option is one
//! byte (0 or 1) and, after a 1, its content; fields stand in the order of the struct. A payload
//! must be consumed to its last byte. Bytes that were ever written stay readable: a change of a
//! struct is a new version beside the old one, and the golden payloads in the tests never change.
//!
//! | kind | record | kind | record |
//! |---|---|---|---|
//! | 16 | user created | 21 | booking confirmed |
//! | 17 | user updated | 22 | booking cancelled |
//! | 18 | user deleted | 23 | booking expired |
//! | 19 | event created | 24 | idempotency key bound |
//! | 20 | booking held | | |

use std::borrow::Cow;

use arrayvec::ArrayVec;
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::de::{BorrowDecode, BorrowDecoder, Decode};
use bincode::enc::write::Writer;
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use wal::{Kind, RecordType};

use crate::domain::{
    Amount, Currency, DATE_BYTES_MAX, EMAIL_CHARS_MAX, EVENTS_MAX, EventCreated, EventId,
    EventNumber, Fact, Held, KEY_CHARS_MAX, KeyBound, NAME_CHARS_MAX, ROWS_PER_EVENT_MAX,
    RequestStamp, RowNumber, SEATS_PER_EVENT_MAX, SlotIndex, Subject, TICKETS_PER_BOOKING_MAX,
    TITLE_CHARS_MAX, Tag, TicketKey, Timestamp, Transition, UserCreated, UserDeleted, UserId,
    UserNumber, UserUpdated,
};

/// The longest payload of any fact, in bytes.
pub const FACT_BYTES_MAX: usize = 4_096;

const UTF8_BYTES_MAX: usize = 4;
const FIXED_FIELDS_BYTES_MAX: usize = 160;
const _: () = assert!(
    3 * TITLE_CHARS_MAX * UTF8_BYTES_MAX + DATE_BYTES_MAX + KEY_CHARS_MAX + FIXED_FIELDS_BYTES_MAX
        <= FACT_BYTES_MAX,
    "an event fits"
);
const _: () = assert!(
    4 * TICKETS_PER_BOOKING_MAX + KEY_CHARS_MAX + FIXED_FIELDS_BYTES_MAX <= FACT_BYTES_MAX,
    "a booking fits"
);
const _: () = assert!(
    (EMAIL_CHARS_MAX + NAME_CHARS_MAX) * UTF8_BYTES_MAX + KEY_CHARS_MAX + FIXED_FIELDS_BYTES_MAX
        <= FACT_BYTES_MAX,
    "a user fits"
);
const _: () = assert!(FACT_BYTES_MAX <= wal::PAYLOAD_BYTES_MAX, "any fact fits into a frame");

type Layout = Configuration<LittleEndian, Fixint, Limit<FACT_BYTES_MAX>>;
const LAYOUT: Layout =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<FACT_BYTES_MAX>();

const USER_CREATED: Kind = Kind::new(16);
const USER_UPDATED: Kind = Kind::new(17);
const USER_DELETED: Kind = Kind::new(18);
const EVENT_CREATED: Kind = Kind::new(19);
const HELD: Kind = Kind::new(20);
const CONFIRMED: Kind = Kind::new(21);
const CANCELLED: Kind = Kind::new(22);
const EXPIRED: Kind = Kind::new(23);
const KEY_BOUND: Kind = Kind::new(24);
const _: () = assert!(USER_CREATED.get() >= Kind::FIRST_FREE, "the log keeps the lower kinds");

/// Why a payload is not a fact.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The kind or version is not one that this program knows.
    #[error("kind {kind} version {version} was written by a newer version of this program")]
    Unknown {
        /// The record's kind.
        kind: u16,
        /// Its payload's version.
        version: u8,
    },
    /// The bytes do not have the layout of their kind.
    #[error("the payload does not decode: {0}")]
    Malformed(String),
    /// Bytes were left over behind the last field.
    #[error("the payload has {0} bytes behind its last field")]
    TooLong(usize),
    /// A field holds a value that is never written.
    #[error("{0} is out of its range")]
    OutOfRange(&'static str),
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct StampV1<'a> {
    key: &'a str,
    fingerprint: u128,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct UserCreatedV1<'a> {
    user: u32,
    tag: u64,
    at: u64,
    email: &'a str,
    name: &'a str,
    stamp: Option<StampV1<'a>>,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct UserUpdatedV1<'a> {
    user: u32,
    at: u64,
    email: &'a str,
    name: &'a str,
}

#[derive(bincode::Encode, bincode::Decode)]
struct UserDeletedV1 {
    user: u32,
    at: u64,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct EventCreatedV1<'a> {
    event: u32,
    tag: u64,
    ticket_key: u128,
    at: u64,
    total_seats: u32,
    price: i64,
    currency: [u8; 3],
    name: &'a str,
    artist: &'a str,
    venue: &'a str,
    date: &'a str,
    stamp: Option<StampV1<'a>>,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct HeldV1<'a> {
    event: u32,
    row: u32,
    tag: u64,
    user: u32,
    at: u64,
    deadline: u64,
    total: i64,
    tickets: SlotsV1<'a>,
    stamp: Option<StampV1<'a>>,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct TransitionV1<'a> {
    event: u32,
    row: u32,
    at: u64,
    stamp: Option<StampV1<'a>>,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct KeyBoundV1<'a> {
    stamp: StampV1<'a>,
    subject: u8,
    number: u32,
    row: u32,
    at: u64,
}

/// A list of slot indexes: a `u64` count, then a `u32` each.
struct SlotsV1<'a>(Cow<'a, [SlotIndex]>);

impl Encode for SlotsV1<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|slot| slot.get().encode(encoder))
    }
}

impl<'de, C> BorrowDecode<'de, C> for SlotsV1<'_> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        let count = usize::try_from(u64::decode(decoder)?).unwrap_or(usize::MAX);
        if count > TICKETS_PER_BOOKING_MAX {
            return Err(DecodeError::Other("more tickets than a booking may have"));
        }
        decoder.claim_container_read::<u32>(count)?;
        let mut slots = Vec::with_capacity(count);
        for _ in 0..count {
            decoder.unclaim_bytes_read(size_of::<u32>());
            slots.push(SlotIndex::new(u32::decode(decoder)?));
        }
        Ok(Self(Cow::Owned(slots)))
    }
}

fn stamp_out<'a>(stamp: Option<RequestStamp<'a>>) -> Option<StampV1<'a>> {
    stamp.map(|RequestStamp { key, fingerprint }| StampV1 { key, fingerprint })
}

fn stamp_in(stamp: Option<StampV1<'_>>) -> Option<RequestStamp<'_>> {
    stamp.map(|StampV1 { key, fingerprint }| RequestStamp { key, fingerprint })
}

/// The payload of a fact, on the stack. Moving it copies all of its room, so it is lent where speed matters.
pub type Payload = ArrayVec<u8, FACT_BYTES_MAX>;

/// A payload as what `bincode` writes to.
struct Sink<'p>(&'p mut Payload);

impl Writer for Sink<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.try_extend_from_slice(bytes).map_err(|_full| EncodeError::UnexpectedEnd)
    }
}

/// A record's type and payload.
#[derive(Debug)]
pub struct Encoded {
    /// What the record says of itself.
    pub record: RecordType,
    bytes: Payload,
}

impl Encoded {
    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes
    }
}

/// Encodes a fact, where its bytes may be moved about.
///
/// # Panics
///
/// As [`encode_into`].
pub fn encode(fact: &Fact<'_>) -> Encoded {
    let mut bytes = Payload::new();
    let record = encode_into(fact, &mut bytes);
    Encoded { record, bytes }
}

/// Encodes a fact into `payload`, which is empty; returns what its record says of itself.
///
/// # Panics
///
/// If a text or a list of the fact is longer than its named limit: a broken invariant, since every
/// edge that takes such a text in has checked it.
pub fn encode_into(fact: &Fact<'_>, payload: &mut Payload) -> RecordType {
    match fact {
        Fact::UserCreated(fact) => pack(USER_CREATED, &user_created_out(fact), payload),
        Fact::UserUpdated(fact) => {
            let UserUpdated { user, email, name, at } = *fact;
            let fact = UserUpdatedV1 { user: user.get(), at: at.millis(), email, name };
            pack(USER_UPDATED, &fact, payload)
        }
        Fact::UserDeleted(UserDeleted { user, at }) => {
            pack(USER_DELETED, &UserDeletedV1 { user: user.get(), at: at.millis() }, payload)
        }
        Fact::EventCreated(fact) => pack(EVENT_CREATED, &event_created_out(fact), payload),
        Fact::Held(fact) => pack(HELD, &held_out(fact), payload),
        Fact::Confirmed(fact) => pack(CONFIRMED, &transition_out(fact), payload),
        Fact::Cancelled(fact) => pack(CANCELLED, &transition_out(fact), payload),
        Fact::Expired(fact) => pack(EXPIRED, &transition_out(fact), payload),
        Fact::KeyBound(fact) => pack(KEY_BOUND, &key_bound_out(fact), payload),
    }
}

fn pack(kind: Kind, fact: &impl Encode, payload: &mut Payload) -> RecordType {
    bincode::encode_into_writer(fact, Sink(payload), LAYOUT)
        .expect("every text and list of a fact was checked against its limit");
    RecordType { kind, version: 1, ignorable: false }
}

fn user_created_out<'a>(fact: &UserCreated<'a>) -> UserCreatedV1<'a> {
    UserCreatedV1 {
        user: fact.user.number.get(),
        tag: fact.user.tag.get(),
        at: fact.at.millis(),
        email: fact.email,
        name: fact.name,
        stamp: stamp_out(fact.stamp),
    }
}

fn event_created_out<'a>(fact: &EventCreated<'a>) -> EventCreatedV1<'a> {
    let mut currency = [0; 3];
    currency.copy_from_slice(fact.currency.code().as_bytes());
    EventCreatedV1 {
        event: fact.event.number.get(),
        tag: fact.event.tag.get(),
        ticket_key: fact.ticket_key.reveal(),
        at: fact.at.millis(),
        total_seats: fact.total_seats,
        price: fact.price.minor(),
        currency,
        name: fact.name,
        artist: fact.artist,
        venue: fact.venue,
        date: fact.date,
        stamp: stamp_out(fact.stamp),
    }
}

fn held_out<'a>(fact: &'a Held<'_>) -> HeldV1<'a> {
    HeldV1 {
        event: fact.event.get(),
        row: fact.row.get(),
        tag: fact.tag.get(),
        user: fact.user.get(),
        at: fact.at.millis(),
        deadline: fact.deadline.millis(),
        total: fact.total.minor(),
        tickets: SlotsV1(Cow::Borrowed(&fact.tickets)),
        stamp: stamp_out(fact.stamp),
    }
}

fn transition_out<'a>(fact: &Transition<'a>) -> TransitionV1<'a> {
    TransitionV1 {
        event: fact.event.get(),
        row: fact.row.get(),
        at: fact.at.millis(),
        stamp: stamp_out(fact.stamp),
    }
}

fn key_bound_out<'a>(fact: &KeyBound<'a>) -> KeyBoundV1<'a> {
    let (subject, number, row) = subject_out(fact.subject);
    let RequestStamp { key, fingerprint } = fact.stamp;
    let stamp = StampV1 { key, fingerprint };
    KeyBoundV1 { stamp, subject, number, row, at: fact.at.millis() }
}

/// Reads the fact that a record carries.
///
/// # Errors
///
/// Any payload that [`encode`] does not write, whatever its bytes.
pub fn decode(kind: Kind, version: u8, payload: &[u8]) -> Result<Fact<'_>, CodecError> {
    if version != 1 {
        return Err(CodecError::Unknown { kind: kind.get(), version });
    }
    match kind {
        USER_CREATED => user_created_in(unpack(payload)?).map(Fact::UserCreated),
        USER_UPDATED => {
            let UserUpdatedV1 { user, at, email, name } = unpack(payload)?;
            let user = UserNumber::new(user);
            Ok(Fact::UserUpdated(UserUpdated { user, email, name, at: time_in(at)? }))
        }
        USER_DELETED => {
            let UserDeletedV1 { user, at } = unpack(payload)?;
            Ok(Fact::UserDeleted(UserDeleted { user: UserNumber::new(user), at: time_in(at)? }))
        }
        EVENT_CREATED => event_created_in(unpack(payload)?).map(Fact::EventCreated),
        HELD => held_in(unpack(payload)?).map(Fact::Held),
        CONFIRMED => transition_in(unpack(payload)?).map(Fact::Confirmed),
        CANCELLED => transition_in(unpack(payload)?).map(Fact::Cancelled),
        EXPIRED => transition_in(unpack(payload)?).map(Fact::Expired),
        KEY_BOUND => key_bound_in(unpack(payload)?).map(Fact::KeyBound),
        _ => Err(CodecError::Unknown { kind: kind.get(), version }),
    }
}

/// Reads the fact of a record; `None` for one that this program does not know and that says of
/// itself that it may be skipped.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_record<'a>(record: &wal::Record<'a>) -> Result<Option<Fact<'a>>, CodecError> {
    match decode(record.kind, record.version, record.payload) {
        Err(CodecError::Unknown { .. }) if record.ignorable => Ok(None),
        decoded => decoded.map(Some),
    }
}

fn unpack<'a, T: BorrowDecode<'a, ()>>(payload: &'a [u8]) -> Result<T, CodecError> {
    let (fact, length) = bincode::borrow_decode_from_slice(payload, LAYOUT)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    match payload.len() - length {
        0 => Ok(fact),
        rest => Err(CodecError::TooLong(rest)),
    }
}

fn time_in(millis: u64) -> Result<Timestamp, CodecError> {
    let in_range = millis <= Timestamp::MAX.millis();
    in_range.then(|| Timestamp::from_millis(millis)).ok_or(CodecError::OutOfRange("a time"))
}

fn tag_in(tag: u64) -> Result<Tag, CodecError> {
    let kept = Tag::new(tag);
    (kept.get() == tag).then_some(kept).ok_or(CodecError::OutOfRange("a tag"))
}

fn amount_in(units: i64) -> Result<Amount, CodecError> {
    Amount::from_minor(units).ok_or(CodecError::OutOfRange("an amount"))
}

fn event_in(number: u32) -> Result<EventNumber, CodecError> {
    let in_range = number < EVENTS_MAX;
    in_range.then(|| EventNumber::new(number)).ok_or(CodecError::OutOfRange("an event number"))
}

fn row_in(number: u32) -> Result<RowNumber, CodecError> {
    let in_range = (1..=ROWS_PER_EVENT_MAX).contains(&number);
    in_range.then(|| RowNumber::new(number)).ok_or(CodecError::OutOfRange("a row number"))
}

fn user_created_in(fact: UserCreatedV1<'_>) -> Result<UserCreated<'_>, CodecError> {
    let UserCreatedV1 { user, tag, at, email, name, stamp } = fact;
    let user = UserId { number: UserNumber::new(user), tag: tag_in(tag)? };
    Ok(UserCreated { user, email, name, at: time_in(at)?, stamp: stamp_in(stamp) })
}

fn event_created_in(fact: EventCreatedV1<'_>) -> Result<EventCreated<'_>, CodecError> {
    let currency = std::str::from_utf8(&fact.currency).ok().and_then(Currency::from_code);
    if !(1..=SEATS_PER_EVENT_MAX).contains(&fact.total_seats) {
        return Err(CodecError::OutOfRange("a number of seats"));
    }
    Ok(EventCreated {
        event: EventId { number: event_in(fact.event)?, tag: tag_in(fact.tag)? },
        ticket_key: TicketKey::new(fact.ticket_key),
        name: fact.name,
        artist: fact.artist,
        venue: fact.venue,
        date: fact.date,
        total_seats: fact.total_seats,
        price: amount_in(fact.price)?,
        currency: currency.ok_or(CodecError::OutOfRange("a currency"))?,
        at: time_in(fact.at)?,
        stamp: stamp_in(fact.stamp),
    })
}

fn held_in(fact: HeldV1<'_>) -> Result<Held<'_>, CodecError> {
    Ok(Held {
        event: event_in(fact.event)?,
        row: row_in(fact.row)?,
        tag: tag_in(fact.tag)?,
        user: UserNumber::new(fact.user),
        tickets: fact.tickets.0,
        total: amount_in(fact.total)?,
        at: time_in(fact.at)?,
        deadline: time_in(fact.deadline)?,
        stamp: stamp_in(fact.stamp),
    })
}

fn transition_in(fact: TransitionV1<'_>) -> Result<Transition<'_>, CodecError> {
    Ok(Transition {
        event: event_in(fact.event)?,
        row: row_in(fact.row)?,
        at: time_in(fact.at)?,
        stamp: stamp_in(fact.stamp),
    })
}

/// The three fields that say what a key stands for.
pub(crate) fn subject_out(subject: Subject) -> (u8, u32, u32) {
    match subject {
        Subject::UserCreated(user) => (0, user.get(), 0),
        Subject::EventCreated(event) => (1, event.get(), 0),
        Subject::Held(event, row) => (2, event.get(), row.get()),
        Subject::HeldAlready(event, row) => (3, event.get(), row.get()),
        Subject::Confirmed(event, row) => (4, event.get(), row.get()),
        Subject::Cancelled(event, row) => (5, event.get(), row.get()),
    }
}

/// What a key stands for, from the three fields.
pub(crate) fn subject_in(subject: u8, number: u32, row: u32) -> Result<Subject, CodecError> {
    let booking = || Ok::<_, CodecError>((event_in(number)?, row_in(row)?));
    let subject = match (subject, row) {
        (0, 0) => Subject::UserCreated(UserNumber::new(number)),
        (1, 0) => Subject::EventCreated(event_in(number)?),
        (2, _) => booking().map(|(event, row)| Subject::Held(event, row))?,
        (3, _) => booking().map(|(event, row)| Subject::HeldAlready(event, row))?,
        (4, _) => booking().map(|(event, row)| Subject::Confirmed(event, row))?,
        (5, _) => booking().map(|(event, row)| Subject::Cancelled(event, row))?,
        _ => return Err(CodecError::OutOfRange("a subject")),
    };
    Ok(subject)
}

fn key_bound_in(fact: KeyBoundV1<'_>) -> Result<KeyBound<'_>, CodecError> {
    let subject = subject_in(fact.subject, fact.number, fact.row)?;
    let StampV1 { key, fingerprint } = fact.stamp;
    Ok(KeyBound { stamp: RequestStamp { key, fingerprint }, subject, at: time_in(fact.at)? })
}

#[cfg(test)]
mod tests;
