//! Whether what the server lists can be true, given what it had answered.
//!
//! Everything is handed in: bookings first, user by user, then the tickets and the counters of each
//! event. Each comes with the [`Span`] of the server's time in which it was read, since a hold is
//! pending before its deadline and must not be from then on, whether or not anything swept it.

use std::collections::HashMap;

use uuid::Uuid;

use super::ledger::{Ending, Entry, Ledger, Wrongs};
use super::operation::Asked;
use super::rows::{Booking, Counters, Ticket};
use super::wire;
use super::world::{Show, World};

/// Some time between these moments, in milliseconds since 1970 by the server's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    /// Whether this moment was past all the time.
    const fn is_after(self, moment: i64) -> bool {
        self.from > moment
    }

    /// Whether this moment may have been past.
    const fn may_be_after(self, moment: i64) -> bool {
        self.to >= moment
    }
}

/// What a live booking makes of its tickets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Claim {
    /// Reserved until this deadline.
    Reserved(i64),
    Sold,
}

/// One event, as its bookings have it.
#[derive(Debug)]
struct Hall {
    /// By seat: which live booking has it.
    claims: Vec<Option<(Claim, Uuid)>>,
    /// Which seat a ticket is.
    places: HashMap<Uuid, u32>,
    /// What the totals of its confirmed bookings add up to, in cents.
    takings: u64,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Findings {
    pub(super) bookings: u64,
    pub(super) tickets: u64,
    /// Totals of all confirmed bookings, in cents.
    pub(super) sold_cents: u64,
    pub(super) wrongs: Wrongs,
}

impl Findings {
    /// What another sweep has found, too.
    pub(super) fn add(&mut self, other: Self) {
        self.bookings += other.bookings;
        self.tickets += other.tickets;
        self.sold_cents += other.sold_cents;
        self.wrongs.add(other.wrongs);
    }
}

/// All events, and what their users were told.
#[derive(Debug)]
pub(super) struct Claims<'w> {
    world: &'w World,
    ledger: &'w Ledger,
    events: HashMap<Uuid, u32>,
    halls: Vec<Hall>,
    /// By user: the acknowledged bookings that were not listed yet.
    told: Vec<HashMap<Uuid, &'w Entry>>,
    /// By user: the holds whose answer never came.
    unknown: HashMap<u32, Vec<Asked>>,
    pub(super) findings: Findings,
}

impl<'w> Claims<'w> {
    pub(super) fn new(world: &'w World, ledger: &'w Ledger) -> Self {
        let mut unknown: HashMap<u32, Vec<Asked>> = HashMap::new();
        for asked in &ledger.unknown {
            unknown.entry(asked.user).or_default().push(*asked);
        }
        let halls = world.shows.iter().map(|show| Hall {
            claims: vec![None; show.tickets.len()],
            places: (0..).zip(&show.tickets).map(|(place, id)| (*id, place)).collect(),
            takings: 0,
        });
        Self {
            world,
            ledger,
            events: (0..).zip(&world.shows).map(|(place, show)| (show.id, place)).collect(),
            halls: halls.collect(),
            told: ledger.by_user(world.users.len()),
            unknown,
            findings: Findings { wrongs: ledger.wrongs().clone(), ..Findings::default() },
        }
    }

    fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.findings.wrongs.note(what);
    }

    /// A booking in the list of this user's.
    pub(super) fn booking(&mut self, user: u32, booking: &Booking<'_>, span: Span) {
        self.findings.bookings += 1;
        let id = booking.id;
        let entry = self.told[user as usize].remove(&id);
        if booking.user_id != self.world.user(user) {
            self.wrong(|| format!("booking {id} is listed under another user"));
        }
        let Some(&event) = self.events.get(&booking.event_id) else {
            return self.wrong(|| format!("booking {id} is of an event that nobody asked for"));
        };
        let places = &self.halls[event as usize].places;
        let seats: Option<Vec<u32>> =
            booking.ticket_ids.iter().map(|ticket| places.get(ticket).copied()).collect();
        let Some(mut seats) = seats else {
            return self.wrong(|| format!("booking {id} has tickets of another event"));
        };
        seats.sort_unstable();
        let due = self.world.show(event).price * seats.len() as u64;
        let total = wire::hundredths(booking.total_amount.get().as_bytes());
        if total != Some(due) {
            let total = booking.total_amount;
            self.wrong(|| format!("booking {id} of {due} cents has a total of {total}"));
        }
        let Some(deadline) = wire::millis(booking.expires_at.as_bytes()) else {
            return self.wrong(|| format!("booking {id} has no deadline"));
        };
        let told = match entry {
            Some(entry) => self.against_entry(booking, entry, event, deadline, &seats),
            None => self.against_unknown(user, event, &seats),
        };
        for fault in [told, against_time(booking.status, deadline, span)].into_iter().flatten() {
            self.wrong(|| format!("booking {id} {fault}"));
        }
        if booking.status == "confirmed" {
            self.halls[event as usize].takings += total.unwrap_or(0);
        }
        self.claim(event, &seats, booking, deadline);
    }

    /// Enters the tickets of a live booking as taken.
    fn claim(&mut self, event: u32, seats: &[u32], booking: &Booking<'_>, deadline: i64) {
        let claim = match booking.status {
            "confirmed" => Claim::Sold,
            "pending" => Claim::Reserved(deadline),
            _ => return,
        };
        for &seat in seats {
            let claimed = &mut self.halls[event as usize].claims[seat as usize];
            if let Some((_, other)) = claimed.replace((claim, booking.id)) {
                let ticket = self.world.show(event).tickets[seat as usize];
                let id = booking.id;
                self.wrong(|| format!("ticket {ticket} is in two live bookings: {other} and {id}"));
            }
        }
    }

    /// What is wrong with an acknowledged booking, if anything.
    fn against_entry(
        &self,
        booking: &Booking<'_>,
        entry: &Entry,
        event: u32,
        deadline: i64,
        seats: &[u32],
    ) -> Option<String> {
        let mut told = self.ledger.seats(entry).to_vec();
        told.sort_unstable();
        if entry.event != event || told != seats {
            return Some("has other tickets than its client was told".into());
        }
        if entry.deadline != deadline {
            return Some(format!("ends at {}, not when its client was told", booking.expires_at));
        }
        let (ending, status) = (entry.ending, booking.status);
        let right: &[&str] = match ending {
            Ending::None => &["pending", "expired"],
            Ending::Confirmed => &["confirmed"],
            Ending::Cancelled => &["cancelled"],
            Ending::Expired => &["expired"],
            Ending::PerhapsConfirmed => &["pending", "expired", "confirmed"],
            Ending::PerhapsCancelled => &["pending", "expired", "cancelled"],
        };
        (!right.contains(&status))
            .then(|| format!("is {status}, and its client knows of this end: {ending:?}"))
    }

    /// A booking that nobody was told of must be one whose answer never came.
    fn against_unknown(&mut self, user: u32, event: u32, seats: &[u32]) -> Option<String> {
        let candidates = self.unknown.entry(user).or_default();
        let place = candidates.iter().position(|asked| {
            let mut asked_for = asked.seats.to_vec();
            asked_for.sort_unstable();
            asked.event == event && asked_for == seats
        });
        match place {
            Some(place) => {
                candidates.swap_remove(place);
                None
            }
            None => Some("is there, though nobody was told of it or waits to be".into()),
        }
    }

    /// All bookings of this user's were listed.
    pub(super) fn end_of_user(&mut self, user: u32) {
        for id in std::mem::take(&mut self.told[user as usize]).into_keys() {
            self.wrong(|| format!("booking {id} was acknowledged and is lost"));
        }
    }

    /// The next ticket in the list of this event's.
    pub(super) fn ticket(&mut self, event: u32, place: usize, ticket: &Ticket<'_>, span: Span) {
        self.findings.tickets += 1;
        let show = self.world.show(event);
        let (id, status) = (ticket.id, ticket.status);
        if show.tickets.get(place) != Some(&id) || ticket.seat_number as usize != place + 1 {
            return self.wrong(|| format!("ticket {id} is listed in the place of another"));
        }
        if wire::hundredths(ticket.price.get().as_bytes()) != Some(show.price) {
            self.wrong(|| format!("ticket {id} costs {}, not {} cents", ticket.price, show.price));
        }
        let claim = self.halls[event as usize].claims[place];
        let right = match claim {
            None => status == "available",
            Some((Claim::Sold, _)) => status == "sold",
            Some((Claim::Reserved(deadline), _)) => match status {
                "reserved" => !span.is_after(deadline),
                "available" => span.may_be_after(deadline),
                _ => false,
            },
        };
        if !right {
            self.wrong(|| match claim {
                None => format!("ticket {id} is {status}, and no live booking has it"),
                Some((claim, booking)) => {
                    format!("ticket {id} is {status}, and booking {booking} has it: {claim:?}")
                }
            });
        }
    }

    /// The counters of this event, once its tickets were listed.
    pub(super) fn counters(&mut self, event: u32, counters: &Counters, span: Span) {
        let show = self.world.show(event);
        let hall = &self.halls[event as usize];
        let takings = hall.takings;
        if let Some(fault) = Counts::of(hall, span).against(counters, show) {
            self.wrong(|| format!("event {} {fault}", show.id));
        }
        if takings != counters.sold * show.price {
            let sold = counters.sold;
            self.wrong(|| format!("event {} took {takings} cents for {sold} tickets", show.id));
        }
        self.findings.sold_cents += takings;
    }

    /// There is nothing any more at a target that there must be something at.
    pub(super) fn forgotten(&mut self, target: &str) {
        self.wrong(|| format!("{target} is not found, and what it is about was made before"));
    }

    /// This event's list of tickets ended too early or too late.
    pub(super) fn miscounted(&mut self, event: u32, listed: usize) {
        let id = self.world.show(event).id;
        self.wrong(|| format!("event {id} lists {listed} tickets"));
    }
}

/// What is wrong with a status at that time, if anything.
fn against_time(status: &str, deadline: i64, span: Span) -> Option<String> {
    match status {
        "pending" if span.is_after(deadline) => Some("is pending after its deadline".into()),
        "expired" if !span.may_be_after(deadline) => Some("expired before its deadline".into()),
        "pending" | "expired" | "confirmed" | "cancelled" => None,
        other => Some(format!("has the status {other:?}")),
    }
}

/// Tickets of an event by what they must be.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    reserved: u64,
    /// Reserved, unless the deadline has just passed.
    lapsing: u64,
    sold: u64,
}

impl Counts {
    fn of(hall: &Hall, span: Span) -> Self {
        let mut counts = Self::default();
        for (claim, _) in hall.claims.iter().flatten() {
            match claim {
                Claim::Sold => counts.sold += 1,
                Claim::Reserved(deadline) if span.is_after(*deadline) => {}
                Claim::Reserved(deadline) if span.may_be_after(*deadline) => counts.lapsing += 1,
                Claim::Reserved(_) => counts.reserved += 1,
            }
        }
        counts
    }

    fn against(&self, counters: &Counters, show: &Show) -> Option<String> {
        let Counters { total_seats, available, reserved, sold } = *counters;
        let right = total_seats == show.tickets.len() as u64
            && available + reserved + sold == total_seats
            && sold == self.sold
            && (self.reserved..=self.reserved + self.lapsing).contains(&reserved);
        (!right).then(|| {
            format!(
                "counts {available} available, {reserved} reserved and {sold} sold of \
                 {total_seats}, and its bookings come to {self:?}"
            )
        })
    }
}
