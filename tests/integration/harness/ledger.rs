//! What was acknowledged, and whether it is still true.

use std::collections::HashMap;

use serde_json::Value;

use super::client::{Call, Client};
use super::reply::Reply;
use super::sweep::World;

/// What a client tried to do to its booking after it had it, if anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Nothing: still a hold.
    None,
    /// Acknowledged: confirmed or cancelled.
    Acknowledged(&'static str),
    /// Asked for, but the answer never came.
    Unknown(&'static str),
}

/// Whether deadlines may have passed since the acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    /// No: a hold that nobody ended is pending.
    Last,
    /// Yes: it is pending or expired.
    Lapse,
}

/// An acknowledged booking.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) user: String,
    pub(crate) call: Call,
    pub(crate) answer: Reply,
    pub(crate) tickets: Vec<String>,
    pub(crate) ending: Ending,
}

impl Held {
    pub(crate) fn id(&self) -> &str {
        self.answer.str("booking_id")
    }
}

/// Everything that was acknowledged to one client or to several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) held: Vec<Held>,
}

impl Ledger {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.held.append(&mut other.held);
    }

    /// Every acknowledged booking must be listed, just as it was acknowledged.
    #[track_caller]
    pub(crate) fn check(&self, client: &Client, world: &World, holds: Holds) {
        let differences = self.differences(client, world, holds);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    /// What is no longer as it was acknowledged, in a line each.
    pub(crate) fn differences(&self, client: &Client, world: &World, holds: Holds) -> Vec<String> {
        let mut differences = Vec::new();
        let mut listed: HashMap<String, Value> = HashMap::new();
        for user in &world.users {
            let bookings = client.get(&format!("/api/users/{user}/bookings"));
            if bookings.status == 404 {
                differences.push(format!("user {user} was acknowledged and is lost"));
                continue;
            }
            for booking in bookings.expect(200).array() {
                let id = booking["id"].as_str().expect("a booking has an id");
                if listed.insert(id.to_owned(), booking.clone()).is_some() {
                    differences.push(format!("booking {id} is listed twice"));
                }
            }
        }
        for held in &self.held {
            let difference = match listed.get(held.id()) {
                Some(booking) => difference(held, booking, holds),
                None => Some(format!("booking {} was acknowledged and is lost", held.id())),
            };
            differences.extend(difference);
        }
        differences
    }

    /// The same request with the same key must get the first answer again; tries up to `count`.
    #[track_caller]
    pub(crate) fn check_replays(&self, client: &Client, count: usize) {
        for held in self.held.iter().rev().take(count) {
            let again = client.send(&held.call).expect(held.answer.status);
            assert_eq!(
                again.header("idempotent-replayed"),
                Some("true"),
                "the key of booking {} is forgotten",
                held.id()
            );
            assert_eq!(again.json, held.answer.json, "replayed with another body");
        }
    }
}

/// How a booking differs from what its client was told, if it does.
fn difference(held: &Held, booking: &Value, holds: Holds) -> Option<String> {
    let status = booking["status"].as_str().unwrap_or_default();
    let still_open = status == "pending" || (holds == Holds::Lapse && status == "expired");
    let sound = match held.ending {
        Ending::None => still_open,
        Ending::Acknowledged(ending) => status == ending,
        Ending::Unknown(ending) => still_open || status == ending,
    };
    let id = held.id();
    if !sound {
        let told = held.ending;
        return Some(format!("booking {id} ended as {told:?} for its client and is now {status}"));
    }
    for member in ["total_amount", "expires_at"] {
        let (now, told) = (&booking[member], &held.answer.json[member]);
        if now != told {
            return Some(format!("booking {id} was acknowledged with {member} {told}, not {now}"));
        }
    }
    let mut tickets = held.tickets.clone();
    let listed = booking["ticket_ids"].as_array().expect("ticket_ids");
    let mut listed: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
    tickets.sort_unstable();
    listed.sort_unstable();
    (listed != tickets).then(|| format!("booking {id} has other tickets"))
}
