//! The shapes of what clients see: which members, in which order.

use super::json::Json;
use crate::domain::{EventDetails, EventId, PublicId, Timestamp};
use crate::engine::{BookingView, EventView, Made, TicketView, UserView};

/// Room for anything without a list.
const USUAL_BYTES: usize = 512;
/// A UUID in quotes and a comma.
const ID_BYTES: usize = 39;

/// A user, as it is read.
pub(super) fn user(view: &UserView) -> Json {
    let mut json = Json::with_capacity(USUAL_BYTES);
    json.raw("{\"id\":").id(view.id.public());
    json.raw(",\"email\":").string(view.email.as_str());
    json.raw(",\"name\":").string(view.name.as_str());
    json.raw(",\"created_at\":").time(view.created_at);
    json.raw(",\"updated_at\":").time(view.updated_at);
    json.raw("}");
    json
}

/// A user, as it is created.
pub(super) fn new_user(id: PublicId, email: &str, name: &str) -> Json {
    let mut json = Json::with_capacity(USUAL_BYTES);
    json.raw("{\"user_id\":").id(id);
    json.raw(",\"email\":").string(email);
    json.raw(",\"name\":").string(name);
    json.raw("}");
    json
}

/// What the organiser said of an event, without braces.
fn details(json: &mut Json, details: &EventDetails) {
    json.raw("\"name\":").string(details.name.as_str());
    json.raw(",\"artist\":").string(details.artist.as_str());
    json.raw(",\"venue\":").string(details.venue.as_str());
    json.raw(",\"date\":").string(&details.date);
    json.raw(",\"total_seats\":").number(u64::from(details.total_seats));
    json.raw(",\"price\":").amount(details.price, details.currency.decimals());
    json.raw(",\"currency\":\"").raw(details.currency.code());
    json.raw("\"");
}

/// An event, as it is created.
pub(super) fn new_event(id: EventId, at: Timestamp, said: &EventDetails) -> Json {
    let mut json = Json::with_capacity(USUAL_BYTES);
    json.raw("{\"event_id\":").id(id.public()).raw(",");
    details(&mut json, said);
    json.raw(",\"created_at\":").time(at).raw("}");
    json
}

/// An event, as it is read. The seats change, but nothing that was said of it does.
pub(super) fn event(json: &mut Json, view: &EventView) {
    json.raw("{\"id\":").id(view.id.public()).raw(",");
    details(json, &view.details);
    json.raw(",\"available\":").number(u64::from(view.available));
    json.raw(",\"reserved\":").number(u64::from(view.reserved));
    json.raw(",\"sold\":").number(u64::from(view.sold));
    json.raw(",\"created_at\":").time(view.created_at);
    json.raw(",\"updated_at\":").time(view.created_at);
    json.raw("}");
}

/// A ticket of `of`.
pub(super) fn ticket(json: &mut Json, view: &TicketView, of: &EventView) {
    json.raw("{\"id\":").id(view.id.public());
    json.raw(",\"event_id\":").id(of.id.public());
    json.raw(",\"seat_number\":").number(u64::from(view.slot.seat_number()));
    json.raw(",\"status\":\"").raw(view.status.name());
    json.raw("\",\"price\":").amount(of.details.price, of.details.currency.decimals());
    json.raw(",\"created_at\":").time(of.created_at);
    json.raw(",\"updated_at\":").time(view.updated_at);
    json.raw("}");
}

/// What the answers about a booking have in common, after its id.
fn booked(json: &mut Json, view: &BookingView) {
    json.raw(",\"user_id\":").id(view.user.public());
    json.raw(",\"event_id\":").id(view.event.public());
    json.raw(",\"ticket_ids\":").list(&view.tickets, |json, ticket| {
        json.id(ticket.public());
    });
    json.raw(",\"status\":\"").raw(view.status.name());
    json.raw("\",\"total_amount\":").amount(view.total, view.currency.decimals());
    json.raw(",\"currency\":\"").raw(view.currency.code());
    json.raw("\",\"created_at\":").time(view.created_at);
    json.raw(",\"expires_at\":").time(view.expires_at);
}

/// A booking, as it is read.
pub(super) fn booking(json: &mut Json, view: &BookingView) {
    json.raw("{\"id\":").id(view.id.public());
    booked(json, view);
    json.raw(",\"updated_at\":").time(view.updated_at).raw("}");
}

/// A booking by itself.
pub(super) fn one_booking(view: &BookingView) -> Json {
    let mut json = Json::with_capacity(USUAL_BYTES + view.tickets.len() * ID_BYTES);
    booking(&mut json, view);
    json
}

/// A booking, as it is made. What is left of the hold counts from when it was answered first.
pub(super) fn made(made: &Made) -> Json {
    let view = &made.booking;
    let mut json = Json::with_capacity(USUAL_BYTES + view.tickets.len() * ID_BYTES);
    json.raw("{\"booking_id\":").id(view.id.public());
    booked(&mut json, view);
    json.raw(",\"expires_in_ms\":").number(view.expires_at.millis_since(made.answered_at));
    json.raw("}");
    json
}

/// The path of something that was made.
pub(super) fn location(collection: &'static str, id: PublicId) -> Json {
    let mut path = Json::with_capacity(collection.len() + ID_BYTES);
    path.raw(collection).bare_id(id);
    path
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        Amount, BookingId, BookingStatus, Currency, EventNumber, RowNumber, SlotIndex, Tag,
        TicketId, TicketStatus, Title, UserId, UserNumber,
    };
    use crate::engine::Hold;

    const TAG: Tag = Tag::new(9);
    const EVENT: EventNumber = EventNumber::new(1);

    fn text(id: PublicId) -> String {
        uuid::Uuid::from_u128(id.0).to_string()
    }

    fn parsed(json: Json) -> Value {
        serde_json::from_slice(&json.into_bytes()).unwrap()
    }

    fn an_event() -> EventView {
        EventView {
            id: EventId { number: EVENT, tag: TAG },
            details: Arc::new(EventDetails {
                name: Title::parse("The \"Tour\"").unwrap(),
                artist: Title::parse("Ada").unwrap(),
                venue: Title::parse("Hall").unwrap(),
                date: "2025-06-01T20:00:00+02:00".into(),
                total_seats: 3,
                price: Amount::parse("19.99", 2).unwrap(),
                currency: Currency::DEFAULT,
            }),
            available: 1,
            reserved: 1,
            sold: 1,
            created_at: Timestamp::from_millis(0),
        }
    }

    fn a_ticket() -> TicketId {
        TicketId { event: EVENT, slot: SlotIndex::new(0), tag: TAG }
    }

    fn a_booking() -> BookingView {
        BookingView {
            id: BookingId { event: EVENT, row: RowNumber::new(1), tag: TAG },
            user: UserId { number: UserNumber::new(4), tag: TAG },
            event: an_event().id,
            tickets: vec![a_ticket()],
            status: BookingStatus::Pending,
            total: Amount::parse("19.99", 2).unwrap(),
            currency: Currency::DEFAULT,
            created_at: Timestamp::from_millis(1_000),
            updated_at: Timestamp::from_millis(2_000),
            expires_at: Timestamp::from_millis(601_000),
        }
    }

    #[test]
    fn an_event_and_its_tickets() {
        let view = an_event();
        let mut json = Json::default();
        event(&mut json, &view);
        assert_eq!(
            parsed(json),
            json!({
                "id": text(view.id.public()), "name": "The \"Tour\"", "artist": "Ada",
                "venue": "Hall", "date": "2025-06-01T20:00:00+02:00", "total_seats": 3,
                "price": 19.99, "currency": "USD", "available": 1, "reserved": 1, "sold": 1,
                "created_at": "1970-01-01T00:00:00.000Z",
                "updated_at": "1970-01-01T00:00:00.000Z",
            })
        );
        let seat = TicketView {
            id: a_ticket(),
            slot: SlotIndex::new(0),
            status: TicketStatus::Sold,
            updated_at: Timestamp::from_millis(5),
        };
        let mut json = Json::default();
        ticket(&mut json, &seat, &view);
        assert_eq!(
            parsed(json),
            json!({
                "id": text(seat.id.public()), "event_id": text(view.id.public()),
                "seat_number": 1, "status": "sold", "price": 19.99,
                "created_at": "1970-01-01T00:00:00.000Z",
                "updated_at": "1970-01-01T00:00:00.005Z",
            })
        );
    }

    #[test]
    fn a_booking_read_and_made() {
        let view = a_booking();
        let read = parsed(one_booking(&view));
        assert_eq!(
            read,
            json!({
                "id": text(view.id.public()), "user_id": text(view.user.public()),
                "event_id": text(view.event.public()),
                "ticket_ids": [text(a_ticket().public())], "status": "pending",
                "total_amount": 19.99, "currency": "USD",
                "created_at": "1970-01-01T00:00:01.000Z",
                "updated_at": "1970-01-01T00:00:02.000Z",
                "expires_at": "1970-01-01T00:10:01.000Z",
            })
        );
        let answer = parsed(made(&Made {
            booking: view,
            hold: Hold::New,
            answered_at: Timestamp::from_millis(1_000),
            replayed: false,
        }));
        assert_eq!(answer["booking_id"], read["id"]);
        assert_eq!(answer["expires_in_ms"], 600_000);
        assert_eq!(answer["status"], "pending");
        assert!(answer.get("id").is_none());
    }
}
