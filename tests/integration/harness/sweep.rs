//! The invariants of the whole state, checked through the API once nothing moves any more.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, Show};
use super::reply::minor_units;
use super::time::wait_until;

/// Everything that a test has created: what the sweep looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) users: Vec<String>,
    pub(crate) shows: Vec<Show>,
}

impl World {
    /// So many users and one show.
    pub(crate) fn create(client: &Client, users: usize, seats: usize) -> Self {
        Self { users: client.create_users(users), shows: vec![client.create_show(seats)] }
    }

    /// The show of a world that has one.
    pub(crate) fn show(&self) -> &Show {
        &self.shows[0]
    }

    /// All bookings of all users.
    pub(crate) fn bookings(&self, client: &Client) -> Vec<Value> {
        let users = self.users.iter();
        users.flat_map(|user| client.bookings_of(user)).collect()
    }
}

/// Waits until every hold has been confirmed, cancelled or has lapsed.
#[track_caller]
pub(crate) fn wait_until_nothing_is_pending(client: &Client, world: &World) {
    wait_until(Duration::from_secs(20), "no booking is pending", || {
        let bookings = world.bookings(client);
        bookings.iter().all(|booking| booking["status"] != "pending")
    });
}

/// Checks every invariant. Nothing on this server may be changing meanwhile, by request or by deadline, and the
/// users and shows of `world` must deal with each other alone.
#[track_caller]
pub(crate) fn sweep(client: &Client, world: &World) {
    let mut owners = HashMap::new();
    for user in &world.users {
        for booking in client.bookings_of(user) {
            check_booking(&booking, user, world, &mut owners);
        }
    }
    for show in &world.shows {
        check_show(client, show, &owners);
    }
    client.settled_stats();
}

/// Enters the tickets of a live booking as owned; money must be right for every booking.
#[track_caller]
fn check_booking(
    booking: &Value,
    user: &str,
    world: &World,
    owners: &mut HashMap<String, (String, &'static str)>,
) {
    assert_eq!(booking["user_id"], user, "listed under another user: {booking}");
    let show = world.shows.iter().find(|s| booking["event_id"] == s.id.as_str());
    let show = show.unwrap_or_else(|| panic!("a booking of no known event: {booking}"));
    let tickets = booking["ticket_ids"].as_array().expect("ticket_ids");
    let due = show.price * i64::try_from(tickets.len()).unwrap();
    assert_eq!(
        minor_units(&booking["total_amount"]),
        due,
        "not the sum of the tickets' own prices: {booking}"
    );
    let status = match booking["status"].as_str() {
        Some("pending") => "reserved",
        Some("confirmed") => "sold",
        Some("cancelled" | "expired") => return,
        other => panic!("{other:?} is no status of a booking: {booking}"),
    };
    for ticket in tickets {
        let ticket = ticket.as_str().expect("an id").to_owned();
        assert!(
            show.tickets.contains(&ticket),
            "ticket {ticket} belongs to another event: {booking}"
        );
        let id = booking["id"].as_str().expect("an id").to_owned();
        if let Some((other, _)) = owners.insert(ticket.clone(), (id.clone(), status)) {
            panic!("ticket {ticket} is in two live bookings: {other} and {id}");
        }
    }
}

/// The listing must say of each ticket what its booking says, and the counters what the listing
/// says.
#[track_caller]
fn check_show(client: &Client, show: &Show, owners: &HashMap<String, (String, &'static str)>) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let tickets = client.tickets(&show.id);
    assert_eq!(tickets.len(), show.tickets.len(), "tickets came or went");
    for ticket in &tickets {
        let (id, status) = (&ticket["id"], &ticket["status"]);
        let owner = id.as_str().and_then(|id| owners.get(id));
        let due = owner.map_or("available", |(_, status)| status);
        assert_eq!(status, due, "ticket {id} of {owner:?} is listed as {status}");
        *counts.entry(due.to_owned()).or_default() += 1;
    }
    let event = client.event(&show.id).expect(200).json;
    for status in ["available", "reserved", "sold"] {
        assert_eq!(
            event[status].as_u64(),
            Some(counts.get(status).copied().unwrap_or(0)),
            "the event's count of {status} tickets is not the listing's: {event}"
        );
    }
}
