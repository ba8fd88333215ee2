//! Events.

use super::Ask;
use crate::domain::{PublicId, TicketStatus};
use crate::engine::{Answer, Engine};
use crate::http::body;
use crate::http::json::Json;
use crate::http::list::Source;
use crate::http::problem::Problem;
use crate::http::reply::{Outcome, Success};
use crate::http::shape;

/// `POST /api/events`
pub(in crate::http) fn create<'e>(
    engine: &'e Engine,
    ask: Ask<'_>,
) -> Result<Outcome<'e>, Problem> {
    let said = body::event(ask.body)?;
    // A repeat under the same idempotency key has the same body, so what was said is the same too.
    let answer = engine.create_event(said.clone(), ask.stamp);
    Ok(Outcome::of(answer, |created| {
        let json = shape::new_event(created.id, created.at, &said);
        let location = shape::location("/api/events/", created.id.public());
        Success::created(json, location).replayed(created.replayed)
    }))
}

/// `GET /api/events/{id}`
pub(in crate::http) fn read(engine: &Engine, id: PublicId) -> Outcome<'_> {
    Outcome::of(engine.event(id), |event| {
        let mut json = Json::default();
        shape::event(&mut json, &event);
        Success::ok(json)
    })
}

/// `GET /api/events`
pub(in crate::http) fn list(engine: &Engine, after: Option<PublicId>) -> Answer<'_, Source> {
    let Answer { result, position, open } = engine.events(after);
    let result = result.map(|cursor| Source::Events { cursor, page: Vec::new() });
    Answer { result, position, open }
}

/// `GET /api/events/{id}/tickets` and `GET /api/events/{id}/tickets/available`
pub(in crate::http) fn tickets(
    engine: &Engine,
    event: PublicId,
    after: Option<PublicId>,
    status: Option<TicketStatus>,
) -> Answer<'_, Source> {
    let Answer { result, position, open } = engine.tickets(event, after, status);
    let result =
        result.map(|(of, cursor)| Source::Tickets { of: Box::new(of), cursor, page: Vec::new() });
    Answer { result, position, open }
}
