//! Values that the document shows as examples.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::{
    Amount, BookingId, BookingStatus, Currency, Email, EventDetails, EventId, EventNumber,
    PersonName, RowNumber, SlotIndex, Tag, TicketId, TicketStatus, Timestamp, Title, UserId,
    UserNumber,
};
use crate::engine::{BookingView, EventView, Hold, Made, TicketView, UserView};
use crate::http::json::Json;
use crate::http::reply::{Content, Success};

/// 2027-01-15T08:00:00.000Z
const MADE_AT: u64 = 1_800_000_000_000;
const HOLD_MILLIS: u64 = 600_000;
const EVENT: EventNumber = EventNumber::new(3);

/// A time so many milliseconds after the samples begin.
pub(super) fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(MADE_AT + millis)
}

/// What was written, read again.
pub(super) fn parsed(json: Json) -> Value {
    serde_json::from_slice(&json.into_bytes()).unwrap()
}

/// The JSON of a whole answer.
pub(super) fn content(success: Success) -> Value {
    let Content::Json(bytes) = success.content else {
        panic!("no JSON");
    };
    serde_json::from_slice(&bytes).unwrap()
}

pub(super) fn user() -> UserView {
    UserView {
        id: UserId { number: UserNumber::new(7), tag: Tag::new(0x2f6b_31c8_90d4_5e17) },
        email: Email::parse("ada@example.com").unwrap(),
        name: PersonName::parse("Ada Lovelace").unwrap(),
        created_at: time(0),
        updated_at: time(0),
    }
}

pub(super) fn event() -> EventView {
    EventView {
        id: EventId { number: EVENT, tag: Tag::new(0x11d2_7aa0_43bc_9e58) },
        details: Arc::new(EventDetails {
            name: Title::parse("Summer Night").unwrap(),
            artist: Title::parse("The Analytical Engines").unwrap(),
            venue: Title::parse("Royal Albert Hall").unwrap(),
            date: "2027-07-01T20:00:00+01:00".into(),
            total_seats: 100,
            price: Amount::parse("19.99", Currency::DEFAULT.decimals()).unwrap(),
            currency: Currency::DEFAULT,
        }),
        available: 96,
        reserved: 3,
        sold: 1,
        created_at: time(0),
    }
}

pub(super) fn ticket(slot: u32) -> TicketId {
    let tag = Tag::new(0x0b92_a607_4e04_9600 + u64::from(slot));
    TicketId { event: EVENT, slot: SlotIndex::new(slot), tag }
}

pub(super) fn ticket_view() -> TicketView {
    let id = ticket(11);
    TicketView { id, slot: id.slot, status: TicketStatus::Available, updated_at: time(0) }
}

pub(super) fn booking_id() -> BookingId {
    let tag = Tag::new(0x1e97_1032_4c31_b1e8);
    BookingId { event: EVENT, row: RowNumber::new(42), tag }
}

pub(super) fn booking(status: BookingStatus) -> BookingView {
    let price = event().details.price;
    BookingView {
        id: booking_id(),
        user: user().id,
        event: event().id,
        tickets: vec![ticket(11), ticket(12)],
        status,
        total: price.times(2).unwrap(),
        currency: Currency::DEFAULT,
        created_at: time(1_000),
        updated_at: time(31_000),
        expires_at: time(1_000 + HOLD_MILLIS),
    }
}

pub(super) fn made() -> Made {
    Made {
        booking: booking(BookingStatus::Pending),
        hold: Hold::New,
        answered_at: time(1_000),
        replayed: false,
    }
}
