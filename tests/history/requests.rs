//! The bytes of requests.

use std::fmt::Write;
use std::sync::Arc;

use booking_manager::domain::{BookingId, SlotIndex};
use uuid::Uuid;

use super::history::{Asked, Ending, KeyNumber};
use super::world::{Show, User};

/// A request ready to be sent, once or again and again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) key: Option<KeyNumber>,
    pub(crate) bytes: Arc<[u8]>,
    /// What it is about, for what follows.
    pub(crate) show: Arc<Show>,
}

/// Asks for tickets, named in the order of `slots`.
pub(crate) fn hold(
    user: &User,
    show: &Arc<Show>,
    slots: &[SlotIndex],
    key: Option<KeyNumber>,
) -> Request {
    let tickets: Vec<&str> = slots.iter().map(|slot| &*show.tickets[slot.index()]).collect();
    let body = format!(
        r#"{{"user_id":"{}","event_id":"{}","ticket_ids":["{}"]}}"#,
        user.id,
        show.id,
        tickets.join(r#"",""#)
    );
    let mut slots: Box<[SlotIndex]> = slots.into();
    slots.sort_unstable();
    let asked = Asked::Hold { user: user.number, event: show.event, slots };
    post("/api/bookings", &body, asked, key, show)
}

/// Asks for a booking to end.
pub(crate) fn end(
    ending: Ending,
    booking: BookingId,
    user: &User,
    show: &Arc<Show>,
    key: Option<KeyNumber>,
) -> Request {
    let path = format!("/api/bookings/{}/{}", text(booking), ending.verb());
    let body = format!(r#"{{"user_id":"{}"}}"#, user.id);
    let asked = Asked::End { ending, booking, user: user.number };
    post(&path, &body, asked, key, show)
}

pub(crate) fn booking(booking: BookingId, show: &Arc<Show>) -> Request {
    get(&format!("/api/bookings/{}", text(booking)), Asked::Booking(booking), show)
}

pub(crate) fn counters(show: &Arc<Show>) -> Request {
    get(&format!("/api/events/{}", show.id), Asked::Counters(show.event), show)
}

/// Asks for a page of tickets from `first` on.
pub(crate) fn tickets(
    show: &Arc<Show>,
    first: SlotIndex,
    limit: u32,
    only_available: bool,
) -> Request {
    let list = if only_available { "tickets/available" } else { "tickets" };
    let mut path = format!("/api/events/{}/{list}?limit={limit}", show.id);
    if let Some(before) = first.index().checked_sub(1) {
        write!(path, "&after={}", show.tickets[before]).expect("a string takes anything");
    }
    let event = show.event;
    get(&path, Asked::Tickets { event, first, limit, only_available }, show)
}

fn text(booking: BookingId) -> Uuid {
    Uuid::from_u128(booking.public().0)
}

fn get(path: &str, asked: Asked, show: &Arc<Show>) -> Request {
    let head = format!("GET {path} HTTP/1.1\r\nHost: history\r\n\r\n");
    let bytes = head.into_bytes().into();
    Request { asked, key: None, bytes, show: Arc::clone(show) }
}

fn post(path: &str, body: &str, asked: Asked, key: Option<KeyNumber>, show: &Arc<Show>) -> Request {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nHost: history\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    if let Some(key) = key {
        write!(text, "Idempotency-Key: {}\r\n", key.text()).expect("a string takes anything");
    }
    text.push_str("\r\n");
    text.push_str(body);
    Request { asked, key, bytes: text.into_bytes().into(), show: Arc::clone(show) }
}
