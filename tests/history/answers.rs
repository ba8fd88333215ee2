//! From the bytes of an answer to what it said.

use booking_manager::domain::{
    BookingId, BookingStatus, EventId, PublicId, SlotIndex, TicketId, TicketStatus, UserId,
};
use serde::Deserialize;
use uuid::Uuid;

use super::history::{Asked, Conflict, Counters, Refused, Said, Seen, TicketSeen};
use super::wire::Letter;

#[derive(Deserialize)]
struct BookingBody<'a> {
    #[serde(alias = "booking_id")]
    id: &'a str,
    user_id: &'a str,
    event_id: &'a str,
    #[serde(borrow)]
    ticket_ids: Vec<&'a str>,
    status: &'a str,
    total_amount: f64,
    created_at: &'a str,
    expires_at: &'a str,
    updated_at: Option<&'a str>,
    expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
struct EventBody<'a> {
    id: &'a str,
    available: u32,
    reserved: u32,
    sold: u32,
}

#[derive(Deserialize)]
struct TicketBody<'a> {
    id: &'a str,
    seat_number: u32,
    status: &'a str,
    updated_at: &'a str,
}

#[derive(Deserialize)]
struct ProblemBody<'a> {
    code: &'a str,
    #[serde(borrow, default)]
    conflicts: Vec<ConflictBody<'a>>,
}

#[derive(Deserialize)]
struct ConflictBody<'a> {
    ticket_id: &'a str,
    seat_number: u32,
    status: &'a str,
    #[serde(default)]
    held_by_you: bool,
    booking_id: Option<&'a str>,
}

/// What an answer to `asked` said; `None` for one that leaves the outcome open.
pub(crate) fn read(asked: &Asked, letter: &Letter) -> Option<Said> {
    let said = match letter.status {
        503 if code_of(&letter.body) == Some("storage_unavailable") => return None,
        200 | 201 => success(asked, letter),
        _ => refusal(asked, letter).map(Said::Refused),
    };
    Some(said.unwrap_or_else(|| {
        let body = String::from_utf8_lossy(&letter.body);
        Said::Strange(format!("{} {body}", letter.status).into())
    }))
}

fn success(asked: &Asked, letter: &Letter) -> Option<Said> {
    let body = letter.body.as_slice();
    let said = match (asked, letter.status) {
        (Asked::Hold { .. }, status) => {
            let (seen, left) = booking(body)?;
            if status == 201 { Said::Made(seen, left?) } else { Said::Existing(seen, left?) }
        }
        (Asked::End { .. }, 200) => Said::Ended(booking(body)?.0),
        (Asked::Booking(_), 200) => Said::Booking(booking(body)?.0),
        (Asked::Counters(event), 200) => {
            let EventBody { id, available, reserved, sold } = serde_json::from_slice(body).ok()?;
            let named = EventId::from_public(public(id)?)?;
            (named.number == *event).then_some(())?;
            Said::Counters(Counters { available, reserved, sold })
        }
        (Asked::Tickets { event, .. }, 200) => {
            let bodies: Vec<TicketBody<'_>> = serde_json::from_slice(body).ok()?;
            let tickets = bodies.iter().map(|body| {
                let id = TicketId::from_public(public(body.id)?)?;
                let fits = id.event == *event && id.slot.seat_number() == body.seat_number;
                Some(TicketSeen {
                    slot: fits.then_some(id.slot)?,
                    status: TicketStatus::from_name(body.status)?,
                    updated_at: millis(body.updated_at)?,
                })
            });
            Said::Tickets(tickets.collect::<Option<_>>()?)
        }
        (Asked::End { .. } | Asked::Booking(_) | Asked::Counters(_) | Asked::Tickets { .. }, _) => {
            return None;
        }
    };
    Some(said)
}

/// A booking, and how long it has left if that is said.
fn booking(body: &[u8]) -> Option<(Box<Seen>, Option<u64>)> {
    let body: BookingBody<'_> = serde_json::from_slice(body).ok()?;
    let id = BookingId::from_public(public(body.id)?)?;
    let event = EventId::from_public(public(body.event_id)?)?;
    (event.number == id.event).then_some(())?;
    let slots = body.ticket_ids.iter().map(|text| {
        let ticket = TicketId::from_public(public(text)?)?;
        (ticket.event == id.event).then_some(ticket.slot)
    });
    let seen = Seen {
        id,
        user: UserId::from_public(public(body.user_id)?)?.number,
        slots: slots.collect::<Option<Box<[SlotIndex]>>>()?,
        status: BookingStatus::from_name(body.status)?,
        total: (body.total_amount * 100.0).round() as i64,
        created_at: millis(body.created_at)?,
        expires_at: millis(body.expires_at)?,
        updated_at: match body.updated_at {
            Some(text) => Some(millis(text)?),
            None => None,
        },
    };
    Some((Box::new(seen), body.expires_in_ms))
}

fn refusal(asked: &Asked, letter: &Letter) -> Option<Refused> {
    let problem: ProblemBody<'_> = serde_json::from_slice(&letter.body).ok()?;
    let is_hold = matches!(asked, Asked::Hold { .. });
    let is_end = matches!(asked, Asked::End { .. });
    match (letter.status, problem.code) {
        (409, "seats_unavailable") if is_hold => {
            let conflicts = problem.conflicts.iter().map(conflict);
            Some(Refused::Taken(conflicts.collect::<Option<_>>()?))
        }
        (409, "booking_expired") if is_end => Some(Refused::BookingExpired),
        (409, "booking_cancelled") if is_end => Some(Refused::BookingCancelled),
        (409, "already_confirmed") if is_end => Some(Refused::AlreadyConfirmed),
        (403, "not_your_booking") if is_end => Some(Refused::NotYours),
        (409, "request_in_flight") if asked.is_write() => Some(Refused::InFlight),
        (422, "idempotency_key_reused") if asked.is_write() => Some(Refused::KeyReused),
        (404, "booking_not_found") if !is_hold => Some(Refused::NotFound),
        _ => None,
    }
}

fn conflict(body: &ConflictBody<'_>) -> Option<Conflict> {
    let ticket = TicketId::from_public(public(body.ticket_id)?)?;
    let own = match (body.held_by_you, body.booking_id) {
        (true, Some(text)) => Some(BookingId::from_public(public(text)?)?),
        (false, None) => None,
        // One without the other.
        (true, None) | (false, Some(_)) => return None,
    };
    let fits = ticket.slot.seat_number() == body.seat_number;
    Some(Conflict {
        slot: fits.then_some(ticket.slot)?,
        status: TicketStatus::from_name(body.status)?,
        own,
    })
}

fn code_of(body: &[u8]) -> Option<&str> {
    serde_json::from_slice::<ProblemBody<'_>>(body).ok().map(|problem| problem.code)
}

fn public(text: &str) -> Option<PublicId> {
    Uuid::parse_str(text).ok().map(|uuid| PublicId(uuid.as_u128()))
}

/// Milliseconds since 1970 of a time in RFC 3339.
pub(crate) fn millis(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}
