//! The invariants, checked through the API once the load has ended.
//!
//! - No ticket is in two live bookings.
//! - Every acknowledged booking is there with the tickets, the total and the deadline that its client
//!   was told, and in the state that its client was told or a later one that its deadline explains.
//! - Every booking of the run's users was asked for.
//! - The listing says of each ticket what its booking says; an event's counters are those of its
//!   listing; money is the sum of the tickets' prices.
//!
//! Only users and events of this run are looked at, so others may use the server meanwhile. A hold
//! that lapses while it is looked at may be seen as either.

use std::collections::HashMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::client::Client;
use super::clock::unix_millis;
use super::ledger::{Ending, Entry, Ledger, Wrongs};
use super::operation::Asked;
use super::server::Server;
use super::wire;
use super::world::{Show, World};

const PAGE: usize = 10_000;
/// How far a deadline may be ahead for a hold to be counted as lapsing: reading everything takes a while,
/// and the clocks of two machines differ.
const LAPSING_MILLIS: i64 = 2_000;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) bookings: u64,
    pub(super) tickets: u64,
    pub(super) wrongs: Wrongs,
}

#[derive(Deserialize)]
struct Booking<'b> {
    id: Uuid,
    user_id: Uuid,
    event_id: Uuid,
    ticket_ids: Vec<Uuid>,
    status: &'b str,
    #[serde(borrow)]
    total_amount: &'b RawValue,
    expires_at: &'b str,
}

#[derive(Deserialize)]
struct Ticket<'b> {
    id: Uuid,
    seat_number: u32,
    status: &'b str,
    #[serde(borrow)]
    price: &'b RawValue,
}

#[derive(Deserialize)]
struct Counters {
    total_seats: u64,
    available: u64,
    reserved: u64,
    sold: u64,
}

/// What a booking makes of its tickets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    None,
    Reserved,
    Sold,
    /// Reserved, or available again by the time it is listed.
    Lapsing,
}

/// One event, as its bookings have it.
struct Claims {
    /// By seat: what it must be, and by which booking.
    seats: Vec<(Claim, Uuid)>,
    /// Which seat a ticket is.
    places: HashMap<Uuid, u32>,
}

struct Sweep<'w> {
    world: &'w World,
    client: Client,
    events: HashMap<Uuid, u32>,
    claims: Vec<Claims>,
    /// Holds whose answer never came, by user.
    unknown: HashMap<u32, Vec<Asked>>,
    findings: Findings,
}

/// Looks at everything that the run has made.
pub(super) fn sweep(server: &Server, world: &World, ledger: &Ledger) -> anyhow::Result<Findings> {
    let mut sweep = Sweep::new(server, world, ledger);
    let told = ledger.by_user(world.users.len());
    for (user, told) in (0..).zip(&told) {
        sweep.user(user, told, ledger).context("the sweep could not read the bookings")?;
    }
    for event in 0..sweep.claims.len() {
        sweep.event(event).context("the sweep could not read the tickets")?;
    }
    Ok(sweep.findings)
}

impl<'w> Sweep<'w> {
    fn new(server: &Server, world: &'w World, ledger: &Ledger) -> Self {
        let mut unknown: HashMap<u32, Vec<Asked>> = HashMap::new();
        for asked in &ledger.unknown {
            unknown.entry(asked.user).or_default().push(*asked);
        }
        let claims = world.shows.iter().map(|show| Claims {
            seats: vec![(Claim::None, Uuid::nil()); show.tickets.len()],
            places: (0..).zip(&show.tickets).map(|(place, id)| (*id, place)).collect(),
        });
        Self {
            world,
            client: server.client(),
            events: (0..).zip(&world.shows).map(|(place, show)| (show.id, place)).collect(),
            claims: claims.collect(),
            unknown,
            findings: Findings { wrongs: ledger.wrongs().clone(), ..Findings::default() },
        }
    }

    fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.findings.wrongs.note(what);
    }

    fn user(
        &mut self,
        user: u32,
        told: &HashMap<Uuid, &Entry>,
        ledger: &Ledger,
    ) -> anyhow::Result<()> {
        let id = self.world.user(user);
        let mut last: Option<Uuid> = None;
        let mut seen = 0;
        loop {
            let mut target = format!("/api/users/{id}/bookings?limit={PAGE}");
            if let Some(last) = last {
                let _ = write!(target, "&after={last}");
            }
            let page = self.client.get(&target)?;
            let bookings: Vec<Booking<'_>> = serde_json::from_slice(&page.body)?;
            for booking in &bookings {
                let entry = told.get(&booking.id).copied();
                seen += usize::from(entry.is_some());
                self.booking(user, booking, entry, ledger);
            }
            self.findings.bookings += bookings.len() as u64;
            match bookings.last() {
                Some(booking) if bookings.len() == PAGE => last = Some(booking.id),
                _ => break,
            }
        }
        if seen != told.len() {
            let (told, user) = (told.len(), id);
            self.wrong(|| {
                format!("user {user} was told of {told} bookings, and {seen} of them are there")
            });
        }
        Ok(())
    }

    fn booking(
        &mut self,
        user: u32,
        booking: &Booking<'_>,
        entry: Option<&Entry>,
        ledger: &Ledger,
    ) {
        let id = booking.id;
        if booking.user_id != self.world.user(user) {
            self.wrong(|| format!("booking {id} is listed under another user"));
        }
        let Some(&event) = self.events.get(&booking.event_id) else {
            return self.wrong(|| format!("booking {id} is of an event that nobody asked for"));
        };
        let places = &self.claims[event as usize].places;
        let seats: Option<Vec<u32>> =
            booking.ticket_ids.iter().map(|ticket| places.get(ticket).copied()).collect();
        let Some(mut seats) = seats else {
            return self.wrong(|| format!("booking {id} has tickets of another event"));
        };
        seats.sort_unstable();
        let due = self.world.show(event).price * seats.len() as u64;
        let total = booking.total_amount.get();
        if wire::hundredths(total.as_bytes()) != Some(due) {
            self.wrong(|| format!("booking {id} of {due} cents has a total of {total}"));
        }
        let deadline = wire::millis(booking.expires_at.as_bytes()).unwrap_or(0);
        let fault = match entry {
            Some(entry) => against_entry(booking, entry, event, deadline, &seats, ledger),
            None => self.against_unknown(user, event, &seats),
        };
        if let Some(fault) = fault {
            self.wrong(|| format!("booking {id} {fault}"));
        }
        let claim = match booking.status {
            "confirmed" => Claim::Sold,
            "pending" if deadline < unix_millis() + LAPSING_MILLIS => Claim::Lapsing,
            "pending" => Claim::Reserved,
            "cancelled" | "expired" => return,
            other => return self.wrong(|| format!("booking {id} has the status {other}")),
        };
        for seat in seats {
            let claimed = &mut self.claims[event as usize].seats[seat as usize];
            let (before, other) = std::mem::replace(claimed, (claim, id));
            if before != Claim::None {
                let ticket = self.world.show(event).tickets[seat as usize];
                self.wrong(|| format!("ticket {ticket} is in two live bookings: {other} and {id}"));
            }
        }
    }

    /// A booking that nobody was told of must be one whose answer never came.
    fn against_unknown(&mut self, user: u32, event: u32, seats: &[u32]) -> Option<String> {
        let candidates = self.unknown.entry(user).or_default();
        let place = candidates.iter().position(|asked| {
            let mut asked_seats = asked.seats.to_vec();
            asked_seats.sort_unstable();
            asked.event == event && asked_seats == seats
        });
        match place {
            Some(place) => {
                candidates.swap_remove(place);
                None
            }
            None => Some("is there, though nobody was told of it or waits to be".into()),
        }
    }

    fn event(&mut self, event: usize) -> anyhow::Result<()> {
        let show = &self.world.shows[event];
        let mut counts = Counts::default();
        let mut next = 0;
        while next < show.tickets.len() {
            let mut target = format!("/api/events/{}/tickets?limit={PAGE}", show.id);
            if let Some(last) = next.checked_sub(1) {
                let _ = write!(target, "&after={}", show.tickets[last]);
            }
            let page = self.client.get(&target)?;
            let tickets: Vec<Ticket<'_>> = serde_json::from_slice(&page.body)?;
            for ticket in &tickets {
                self.ticket(event, next, ticket, &mut counts);
                next += 1;
            }
            if tickets.is_empty() {
                self.wrong(|| format!("event {} lists {next} tickets only", show.id));
                break;
            }
        }
        self.findings.tickets += next as u64;
        let counters = self.client.get(&format!("/api/events/{}", show.id))?;
        let counters: Counters = serde_json::from_slice(&counters.body)?;
        if let Some(fault) = counts.against(&counters, show) {
            self.wrong(|| format!("event {} {fault}", show.id));
        }
        Ok(())
    }

    fn ticket(&mut self, event: usize, place: usize, ticket: &Ticket<'_>, counts: &mut Counts) {
        let show = &self.world.shows[event];
        let id = ticket.id;
        if show.tickets.get(place) != Some(&id) || ticket.seat_number as usize != place + 1 {
            return self
                .wrong(|| format!("ticket {id} is listed in place {} of another", place + 1));
        }
        if wire::hundredths(ticket.price.get().as_bytes()) != Some(show.price) {
            self.wrong(|| format!("ticket {id} costs {}, not {} cents", ticket.price, show.price));
        }
        let (claim, booking) = self.claims[event].seats[place];
        let right = match claim {
            Claim::None => ticket.status == "available",
            Claim::Reserved => ticket.status == "reserved",
            Claim::Sold => ticket.status == "sold",
            Claim::Lapsing => ["available", "reserved"].contains(&ticket.status),
        };
        if !right {
            let status = ticket.status;
            self.wrong(|| match claim {
                Claim::None => format!("ticket {id} is {status}, and no live booking has it"),
                _ => format!("ticket {id} is {status}, and booking {booking} has it: {claim:?}"),
            });
        }
        counts.add(claim);
    }
}

/// What is wrong with an acknowledged booking, if anything.
fn against_entry(
    booking: &Booking<'_>,
    entry: &Entry,
    event: u32,
    deadline: i64,
    seats: &[u32],
    ledger: &Ledger,
) -> Option<String> {
    let mut told = ledger.seats(entry).to_vec();
    told.sort_unstable();
    if entry.event != event || told != seats {
        return Some("has other tickets than its client was told".into());
    }
    if entry.deadline != deadline {
        return Some(format!("ends at {}, and its client was told otherwise", booking.expires_at));
    }
    // The server's clock may be ahead of ours, but hardly by more than that.
    let lapsed = deadline < unix_millis() + LAPSING_MILLIS;
    let right = match (entry.ending, booking.status) {
        (Ending::Confirmed | Ending::PerhapsConfirmed, "confirmed")
        | (Ending::Cancelled | Ending::PerhapsCancelled, "cancelled")
        | (Ending::Expired, "expired")
        | (Ending::None | Ending::PerhapsConfirmed | Ending::PerhapsCancelled, "pending") => true,
        (Ending::None | Ending::PerhapsConfirmed | Ending::PerhapsCancelled, "expired") => lapsed,
        _ => false,
    };
    let (ending, status) = (entry.ending, booking.status);
    (!right).then(|| format!("is {status}, and its client was told or asked last: {ending:?}"))
}

/// Tickets of an event by what they must be.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    available: u64,
    reserved: u64,
    sold: u64,
    lapsing: u64,
}

impl Counts {
    fn add(&mut self, claim: Claim) {
        match claim {
            Claim::None => self.available += 1,
            Claim::Reserved => self.reserved += 1,
            Claim::Sold => self.sold += 1,
            Claim::Lapsing => self.lapsing += 1,
        }
    }

    fn against(&self, counters: &Counters, show: &Show) -> Option<String> {
        let all = counters.available + counters.reserved + counters.sold;
        let right = counters.total_seats == show.tickets.len() as u64
            && all == counters.total_seats
            && counters.sold == self.sold
            && (self.reserved..=self.reserved + self.lapsing).contains(&counters.reserved);
        (!right).then(|| {
            format!(
                "counts {} available, {} reserved and {} sold of {}, and by its bookings it is {self:?}",
                counters.available, counters.reserved, counters.sold, counters.total_seats
            )
        })
    }
}
