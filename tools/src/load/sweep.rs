//! Reads back everything that a run has made, for [`Claims`] to judge.
//!
//! - No ticket is in two live bookings.
//! - Every acknowledged booking is there with the tickets, the total and the deadline that its client
//!   was told, and in the state that its client was told or one that nobody has ended.
//! - Every booking of the run's users was asked for.
//! - The listing says of each ticket what its booking says, and an event's counters say the same;
//!   money is the sum of the tickets' prices.
//! - A hold is pending before its deadline and not after it.
//!
//! Only users and events of this run are looked at, so others may use the server meanwhile.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Deserialize;
use uuid::Uuid;

use super::claims::{Claims, Findings, Span};
use super::client::Client;
use super::ledger::Ledger;
use super::rows::{Booking, Counters, Ticket};
use super::server::Server;
use super::skew::Skew;
use super::world::World;

/// How many entries a page has: as many as the server gives at once.
const PAGE: usize = 10_000;

/// Looks at everything that the run has made.
pub(super) fn sweep(server: &Server, world: &World, ledger: &Ledger) -> anyhow::Result<Findings> {
    let mut client = server.client();
    let skew = Skew::measure(&mut client)?;
    let mut reader = Reader { client, skew };
    let mut claims = Claims::new(world, ledger);
    for (number, user) in (0..).zip(&world.users) {
        bookings(&mut reader, &mut claims, number, *user).context("bookings cannot be read")?;
    }
    for (number, show) in (0..).zip(&world.shows) {
        tickets(&mut reader, &mut claims, number, show.id).context("tickets cannot be read")?;
    }
    Ok(claims.findings)
}

/// Asks, and knows when.
struct Reader {
    client: Client,
    skew: Skew,
}

impl Reader {
    /// The body of an answer; `None` if there is no such thing.
    fn get(&mut self, target: &str) -> anyhow::Result<Option<(Vec<u8>, Span)>> {
        let from = self.skew.earliest();
        let reply = self.client.ask_get(target)?;
        let to = self.skew.latest();
        if reply.status == 404 {
            return Ok(None);
        }
        Ok(Some((reply.expect(200, target)?.body, Span { from, to })))
    }

    fn page(&mut self, list: &str, after: Option<Uuid>) -> anyhow::Result<Option<(Vec<u8>, Span)>> {
        let mut target = format!("{list}?limit={PAGE}");
        if let Some(after) = after {
            let _ = write!(target, "&after={after}");
        }
        self.get(&target)
    }
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("an answer is not what was expected")
}

fn bookings(
    reader: &mut Reader,
    claims: &mut Claims<'_>,
    number: u32,
    user: Uuid,
) -> anyhow::Result<()> {
    let list = format!("/api/users/{user}/bookings");
    let mut last = None;
    loop {
        let Some((body, span)) = reader.page(&list, last)? else {
            claims.forgotten(&list);
            break;
        };
        let bookings: Vec<Booking<'_>> = parse(&body)?;
        for booking in &bookings {
            claims.booking(number, booking, span);
        }
        match bookings.last() {
            Some(booking) if bookings.len() == PAGE => last = Some(booking.id),
            _ => break,
        }
    }
    claims.end_of_user(number);
    Ok(())
}

fn tickets(
    reader: &mut Reader,
    claims: &mut Claims<'_>,
    number: u32,
    event: Uuid,
) -> anyhow::Result<()> {
    let list = format!("/api/events/{event}/tickets");
    let (mut last, mut listed) = (None, 0);
    loop {
        let Some((body, span)) = reader.page(&list, last)? else {
            claims.forgotten(&list);
            break;
        };
        let tickets: Vec<Ticket<'_>> = parse(&body)?;
        for ticket in &tickets {
            claims.ticket(number, listed, ticket, span);
            listed += 1;
        }
        match tickets.last() {
            Some(ticket) if tickets.len() == PAGE => last = Some(ticket.id),
            _ => break,
        }
    }
    let one = format!("/api/events/{event}");
    let Some((body, span)) = reader.get(&one)? else {
        claims.forgotten(&one);
        return Ok(());
    };
    let counters: Counters = parse(&body)?;
    if listed as u64 != counters.total_seats {
        claims.miscounted(number, listed);
    }
    claims.counters(number, &counters, span);
    Ok(())
}
