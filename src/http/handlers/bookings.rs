//! Bookings.

use super::Ask;
use crate::domain::{BookingStatus, PublicId};
use crate::engine::{Answer, Ended, Engine, Hold, HoldRequest};
use crate::http::body;
use crate::http::list::Source;
use crate::http::problem::Problem;
use crate::http::reply::{Admission, Outcome, Success};
use crate::http::shape;
use crate::stats::Stats;

/// `POST /api/bookings`
pub(in crate::http) fn hold<'e>(
    engine: &'e Engine,
    stats: &'e Stats,
    ask: Ask<'_>,
) -> Result<Outcome<'e>, Problem> {
    let body = body::hold(ask.body)?;
    // From here on the request counts, whatever becomes of it.
    let mut admission = Admission::new(stats);
    let answer = engine.hold(&HoldRequest {
        user: body.user,
        event: body.event,
        tickets: &body.tickets,
        stamp: ask.stamp,
    });
    admission.booked = answer.result.is_ok();
    let outcome = Outcome::of(answer, |made| {
        let json = shape::made(&made);
        let success = match made.hold {
            Hold::New => {
                let location = shape::location("/api/bookings/", made.booking.id.public());
                Success::created(json, location)
            }
            Hold::Existing => Success::ok(json),
        };
        success.replayed(made.replayed)
    });
    Ok(Outcome { admission: Some(admission), ..outcome })
}

/// `GET /api/bookings/{id}`
pub(in crate::http) fn read(engine: &Engine, id: PublicId) -> Outcome<'_> {
    Outcome::of(engine.booking(id), |booking| Success::ok(shape::one_booking(&booking)))
}

/// `POST /api/bookings/{id}/confirm`
pub(in crate::http) fn confirm<'e>(
    engine: &'e Engine,
    id: PublicId,
    ask: Ask<'_>,
) -> Result<Outcome<'e>, Problem> {
    let user = body::owner(ask.body)?;
    Ok(ended(engine.confirm(id, user, ask.stamp)))
}

/// `POST /api/bookings/{id}/cancel`
pub(in crate::http) fn cancel<'e>(
    engine: &'e Engine,
    id: PublicId,
    ask: Ask<'_>,
) -> Result<Outcome<'e>, Problem> {
    let user = body::owner(ask.body)?;
    Ok(ended(engine.cancel(id, user, ask.stamp)))
}

fn ended(answer: Answer<'_, Ended>) -> Outcome<'_> {
    Outcome::of(answer, |ended| {
        Success::ok(shape::one_booking(&ended.booking)).replayed(ended.replayed)
    })
}

/// `GET /api/users/{id}/bookings`
pub(in crate::http) fn list(
    engine: &Engine,
    user: PublicId,
    after: Option<PublicId>,
    status: Option<BookingStatus>,
) -> Answer<'_, Source> {
    let Answer { result, position, open } = engine.user_bookings(user, after, status);
    let result = result.map(|cursor| Source::Bookings { cursor, page: Vec::new() });
    Answer { result, position, open }
}
