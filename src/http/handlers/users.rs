//! Users.

use super::Ask;
use crate::domain::PublicId;
use crate::engine::{DeadBookings, Engine};
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::reply::{Outcome, Success};
use crate::http::shape;

/// `POST /api/users`
pub(in crate::http) fn create<'e>(
    engine: &'e Engine,
    ask: Ask<'_>,
) -> Result<Outcome<'e>, Problem> {
    let user = body::user(ask.body)?;
    // The engine takes the texts; the answer repeats them.
    let (email, name) = (user.email.clone(), user.name.clone());
    let answer = engine.create_user(user.email, user.name, ask.stamp);
    Ok(Outcome::of(answer, |created| {
        let id = created.id.public();
        let json = shape::new_user(id, email.as_str(), name.as_str());
        Success::created(json, shape::location("/api/users/", id)).replayed(created.replayed)
    }))
}

/// `GET /api/users/{id}`
pub(in crate::http) fn read(engine: &Engine, id: PublicId) -> Outcome<'_> {
    Outcome::of(engine.user(id), |user| Success::ok(shape::user(&user)))
}

/// `PUT /api/users/{id}`
pub(in crate::http) fn update<'e>(
    engine: &'e Engine,
    id: PublicId,
    ask: Ask<'_>,
) -> Result<Outcome<'e>, Problem> {
    let user = body::user(ask.body)?;
    let answer = engine.update_user(id, user.email, user.name);
    Ok(Outcome::of(answer, |user| Success::ok(shape::user(&user))))
}

/// `DELETE /api/users/{id}`
pub(in crate::http) async fn delete(engine: &Engine, id: PublicId) -> Outcome<'_> {
    let mut dead = DeadBookings::default();
    loop {
        let looked = engine.look_for_live_booking(id, &mut dead);
        match looked.result {
            Ok(true) => break,
            // There may be any number of bookings, and others to be answered.
            Ok(false) => tokio::task::yield_now().await,
            Err(_) => return Outcome::of(looked, |_| Success::empty()),
        }
    }
    Outcome::of(engine.delete_user(id, &dead), |()| Success::empty())
}
