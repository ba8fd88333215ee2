//! Makes the users and events of a run through the API.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use uuid::Uuid;

use super::beat::Pulse;
use super::client::Client;
use super::clock::now;
use super::operation::{Asked, Operation};
use super::server::Server;
use super::wire::{self, Answer, Pen};
use super::worker::{Next, Pace, Script, Shift, Window, Worker};
use super::world::{Show, World};

/// The most seats that an event can have.
pub(super) const SEATS_MAX: u32 = 1_000_000;
/// Tickets in a page: as many as the server gives at once.
const PAGE: usize = 10_000;
/// Connections over which users register.
const REGISTRATIONS: usize = 32;
/// How long making the users may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How much there is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    pub(super) users: u32,
    pub(super) events: u32,
    /// Of each event.
    pub(super) seats: u32,
}

/// Makes users and events that no other run has; `run` is part of their names.
pub(super) fn make(server: &Server, size: Size, run: &str) -> anyhow::Result<World> {
    let mut client = server.client();
    // Whoever registers would wait for a server that is not there.
    client.get("/health")?;
    let users = register(server, size.users, run)?;
    let shows = (0..size.events).map(|number| show(&mut client, number, size.seats, run));
    Ok(World { users, shows: shows.collect::<anyhow::Result<_>>()? })
}

/// What a ticket of the event of this number costs, in cents: not the same everywhere, so that money
/// which was added up wrongly shows.
pub(super) const fn price(number: u32) -> u64 {
    7_500 + 149 * (number as u64 % 37)
}

/// Makes the event of this number.
pub(super) fn show(
    client: &mut Client,
    number: u32,
    seats: u32,
    run: &str,
) -> anyhow::Result<Show> {
    let price = price(number);
    let body = format!(
        r#"{{"name":"Night {number} of {run}","artist":"The Load","venue":"Hall {number}","date":"2027-07-01T20:00:00Z","total_seats":{seats},"price":{}.{:02}}}"#,
        price / 100,
        price % 100
    );
    let made = client.ask_post("/api/events", &body)?.expect(201, "POST /api/events")?;
    let id = made.answer().id("event_id").context("an event was made without an id")?;
    let tickets = tickets(client, id, seats as usize)?;
    Ok(Show { id, price, tickets })
}

/// The ids of all tickets of an event, page by page.
fn tickets(client: &mut Client, event: Uuid, seats: usize) -> anyhow::Result<Vec<Uuid>> {
    let mut tickets: Vec<Uuid> = Vec::with_capacity(seats);
    while tickets.len() < seats {
        let mut target = format!("/api/events/{event}/tickets?limit={PAGE}");
        if let Some(last) = tickets.last() {
            let _ = write!(target, "&after={last}");
        }
        let page = client.get(&target)?;
        let before = tickets.len();
        for place in memmem::find_iter(&page.body, br#"{"id":""#) {
            let id =
                wire::text(&page.body[place..], "id").and_then(|id| Uuid::try_parse_ascii(id).ok());
            tickets.push(id.context("a ticket is listed without an id")?);
        }
        ensure!(tickets.len() > before, "event {event} lists {before} tickets, not {seats}");
    }
    ensure!(tickets.len() == seats, "event {event} lists {} tickets, not {seats}", tickets.len());
    Ok(tickets)
}

fn register(server: &Server, users: u32, run: &str) -> anyhow::Result<Vec<Uuid>> {
    let script = Registration {
        pen: server.pen.clone(),
        run: run.to_owned(),
        next: 0,
        count: users,
        ids: Vec::new(),
        refusal: None,
    };
    let begun = now();
    let shift = Shift {
        target: server.address,
        connections: REGISTRATIONS.min(users as usize),
        pace: Pace::Closed,
        window: Window { from: begun, until: begun + PATIENCE },
        patience: PATIENCE,
        stop: std::sync::Arc::default(),
    };
    let done = Worker::new(shift, script, Pulse::new(begun, None))?.work()?.script;
    if let Some(refusal) = done.refusal {
        bail!("a user could not be made: {refusal}");
    }
    ensure!(done.ids.len() == users as usize, "only {} of {users} users were made", done.ids.len());
    Ok(done.ids)
}

/// Makes users, each by one request.
struct Registration {
    pen: Pen,
    run: String,
    next: u32,
    count: u32,
    ids: Vec<Uuid>,
    refusal: Option<String>,
}

impl Script for Registration {
    fn next(&mut self, out: &mut Vec<u8>) -> Next {
        if self.next == self.count || self.refusal.is_some() {
            return Next::Nothing;
        }
        let (run, number) = (&self.run, self.next);
        let body = format!(r#"{{"email":"{run}-{number}@load.example","name":"User {number}"}}"#);
        self.pen.post(out, "/api/users", body.as_bytes());
        self.next += 1;
        Next::Request(Asked::plain(Operation::Register))
    }

    fn answered(&mut self, _asked: &Asked, answer: &Answer<'_>) {
        match answer.id("user_id") {
            Some(id) if answer.status == 201 => self.ids.push(id),
            _ => {
                let body = String::from_utf8_lossy(answer.body);
                self.refusal = Some(format!("{} {body}", answer.status));
            }
        }
    }

    fn unanswered(&mut self, _asked: &Asked) {
        self.refusal = Some("no answer came".into());
    }
}
