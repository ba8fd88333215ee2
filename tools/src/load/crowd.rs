//! The users of one thread: what they ask for, and what they remember of the answers.
//!
//! What a [`Plan`] decides differs between scenarios; all else is the same for all of them. A booking
//! that has to be confirmed or cancelled stands in a queue, and what stands there goes before anything
//! new. Every acknowledged booking is entered in the ledger, and every answer that no right server
//! gives is noted there.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;

use super::ledger::{Ending, Ledger};
use super::operation::{Asked, Operation, Seats};
use super::plan::{Fate, Plan, View, Wish};
use super::wire::{self, Answer, Pen};
use super::worker::{Next, Script};
use super::world::{Show, World};

/// How many tickets a page has when somebody looks for seats.
const PAGE: usize = 20;

/// Users, their plan, and what they were told.
#[derive(Debug)]
pub(super) struct Crowd {
    world: Arc<World>,
    pen: Pen,
    plan: Plan,
    rng: SmallRng,
    /// The thread's users are each so-manieth from its number on, so that no other thread knows
    /// anything about their bookings.
    thread: u32,
    threads: u32,
    /// Bookings to be ended, and how.
    queue: VecDeque<(u32, Operation)>,
    /// Seats that somebody has looked up and will ask for.
    chosen: VecDeque<Asked>,
    ledger: Ledger,
    /// Where the same set may be asked for twice: which entry a booking is.
    known: HashMap<Uuid, u32>,
}

impl Crowd {
    /// The share of thread `thread` of `threads`.
    pub(super) fn new(
        world: &Arc<World>,
        pen: &Pen,
        plan: Plan,
        seed: u64,
        thread: u32,
        threads: u32,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            pen: pen.clone(),
            plan,
            rng: SmallRng::seed_from_u64(seed.wrapping_add(u64::from(thread))),
            thread,
            threads,
            queue: VecDeque::new(),
            chosen: VecDeque::new(),
            ledger: Ledger::default(),
            known: HashMap::new(),
        }
    }

    /// There is one more event, as large as the others.
    pub(super) fn grow(&mut self, show: Show) {
        Arc::make_mut(&mut self.world).shows.push(show);
        self.plan.grow();
    }

    /// What it deals with.
    pub(super) const fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// How many seats there are.
    pub(super) fn seats(&self) -> u64 {
        self.world.shows.iter().map(|show| show.tickets.len() as u64).sum()
    }

    /// How many holds were made, or may have been.
    pub(super) const fn holds(&self) -> u64 {
        (self.ledger.len() + self.ledger.unknown.len()) as u64
    }

    /// What was acknowledged.
    pub(super) fn into_ledger(self) -> Ledger {
        self.ledger
    }

    fn any_user(&mut self) -> u32 {
        let users = u32::try_from(self.world.users.len()).unwrap_or(u32::MAX);
        let own = (users - self.thread).div_ceil(self.threads);
        self.thread + self.threads * self.rng.random_range(0..own)
    }

    fn ask_for(&mut self, out: &mut Vec<u8>, event: u32, seats: Seats) -> Next {
        let user = self.any_user();
        let asked = Asked { operation: Operation::Hold, user, event, booking: 0, seats };
        self.write_hold(out, &asked);
        Next::Request(asked)
    }

    fn write_hold(&self, out: &mut Vec<u8>, asked: &Asked) {
        let show = self.world.show(asked.event);
        let tickets = asked.seats.iter().map(|seat| show.tickets[*seat as usize]);
        self.pen.hold(out, self.world.user(asked.user), show.id, tickets);
    }

    fn end(&mut self, out: &mut Vec<u8>, booking: u32, operation: Operation) -> Next {
        let entry = *self.ledger.entry(booking);
        let verb = if operation == Operation::Confirm { "confirm" } else { "cancel" };
        self.pen.end(out, entry.id, verb, self.world.user(entry.user));
        let seats = self.ledger.seats_of(booking);
        Next::Request(Asked { operation, user: entry.user, event: entry.event, booking, seats })
    }

    fn look(&mut self, out: &mut Vec<u8>, view: View, event: u32) -> Next {
        let show = self.world.show(event);
        // People look at different parts of the hall.
        let place = self.rng.random_range(0..show.tickets.len());
        let list: Option<(&[u8], Uuid)> = match view {
            View::Event => None,
            View::Events => Some((b"", show.id)),
            View::Tickets => Some((b"/tickets", show.tickets[place])),
            View::FreeTickets => Some((b"/tickets/available", show.tickets[place])),
        };
        self.pen.get(out, |out| {
            out.extend_from_slice(b"/api/events");
            if view != View::Events {
                out.push(b'/');
                wire::id(out, show.id);
            }
            if let Some((path, after)) = list {
                out.extend_from_slice(path);
                out.extend_from_slice(b"?limit=");
                wire::number(out, PAGE);
                out.extend_from_slice(b"&after=");
                wire::id(out, after);
            }
        });
        Next::Request(Asked { event, ..Asked::plain(view.operation()) })
    }

    /// A hold was acknowledged, newly or as one that the same user has.
    fn held(&mut self, asked: &Asked, answer: &Answer<'_>) {
        let show = self.world.show(asked.event);
        let due = show.price * asked.seats.len() as u64;
        let (Some(id), Some(deadline)) =
            (answer.id("booking_id"), answer.text("expires_at").and_then(wire::millis))
        else {
            return self.ledger.wrong(|| {
                format!("a hold was answered without an id or a deadline: {}", shown(answer))
            });
        };
        if answer.hundredths("total_amount") != Some(due) {
            self.ledger
                .wrong(|| format!("a hold of {due} cents was answered with {}", shown(answer)));
        }
        if self.plan.may_repeat() {
            if self.known.contains_key(&id) {
                return;
            }
            let next = u32::try_from(self.ledger.len()).unwrap_or(u32::MAX);
            self.known.insert(id, next);
        }
        let booking = self.ledger.enter(id, deadline, asked);
        match self.plan.fate(&mut self.rng) {
            Fate::Confirm => self.queue.push_back((booking, Operation::Confirm)),
            Fate::Cancel => self.queue.push_back((booking, Operation::Cancel)),
            Fate::Leave => {}
        }
    }

    fn hold_answered(&mut self, asked: &Asked, answer: &Answer<'_>) {
        match (answer.status, answer.code()) {
            (200 | 201, _) => self.held(asked, answer),
            (409, b"seats_unavailable") if self.plan.may_be_refused() => {}
            // Nothing was done.
            (503, b"overloaded" | b"not_ready") => self.plan.give_back(asked),
            // The log has failed, or is full, and the answer does not say which.
            (503, _) => self.ledger.unknown.push(*asked),
            _ => self.ledger.wrong(|| {
                format!("seats that nobody had asked for before were refused: {}", shown(answer))
            }),
        }
    }

    fn end_answered(&mut self, asked: &Asked, answer: &Answer<'_>) {
        let confirms = asked.operation == Operation::Confirm;
        let (done, perhaps) = if confirms {
            (Ending::Confirmed, Ending::PerhapsConfirmed)
        } else {
            (Ending::Cancelled, Ending::PerhapsCancelled)
        };
        match (answer.status, answer.code()) {
            (200, _) => {
                self.ledger.end(asked.booking, done);
                if !confirms {
                    self.plan.give_back(asked);
                }
            }
            (409, b"booking_expired") => {
                self.ledger.end(asked.booking, Ending::Expired);
                self.plan.give_back(asked);
            }
            (503, b"overloaded" | b"not_ready") => {
                self.queue.push_back((asked.booking, asked.operation));
            }
            (503, _) => self.ledger.end(asked.booking, perhaps),
            _ => self.ledger.wrong(|| {
                format!("a pending booking was asked to end and answered: {}", shown(answer))
            }),
        }
    }

    /// Somebody chooses among the seats that were shown.
    fn seats_shown(&mut self, asked: &Asked, answer: &Answer<'_>) {
        let wanted = self.plan.party(&mut self.rng);
        let Some(wanted) = wanted.filter(|_| answer.status == 200) else {
            return;
        };
        let tickets = self.world.show(asked.event).tickets.len();
        let shown: Vec<u32> = memchr::memmem::find_iter(answer.body, b"\"seat_number\":")
            .filter_map(|place| wire::raw(&answer.body[place..], "seat_number"))
            .filter_map(|number| str::from_utf8(number).ok()?.parse::<u32>().ok()?.checked_sub(1))
            .filter(|seat| (*seat as usize) < tickets)
            .collect();
        if shown.is_empty() {
            return;
        }
        // Next to each other, as people like it.
        let first = self.rng.random_range(0..shown.len());
        let mut seats = Seats::default();
        for seat in shown[first..].iter().take(wanted) {
            seats.add(*seat);
        }
        let user = self.any_user();
        let event = asked.event;
        self.chosen.push_back(Asked { operation: Operation::Hold, user, event, booking: 0, seats });
    }
}

impl Script for Crowd {
    fn next(&mut self, out: &mut Vec<u8>) -> Next {
        if let Some((booking, operation)) = self.queue.pop_front() {
            return self.end(out, booking, operation);
        }
        if let Some(asked) = self.chosen.pop_front() {
            self.write_hold(out, &asked);
            return Next::Request(asked);
        }
        match self.plan.wish(&mut self.rng, &self.ledger) {
            Wish::Hold { event, seats } => self.ask_for(out, event, seats),
            Wish::Cancel(booking) => self.end(out, booking, Operation::Cancel),
            Wish::Look { view, event } => self.look(out, view, event),
            Wish::Wait => Next::Later,
            Wish::Leave => Next::Nothing,
        }
    }

    fn answered(&mut self, asked: &Asked, answer: &Answer<'_>) {
        match asked.operation {
            Operation::Hold => self.hold_answered(asked, answer),
            Operation::Confirm | Operation::Cancel => self.end_answered(asked, answer),
            Operation::ListAvailable => self.seats_shown(asked, answer),
            Operation::Register
            | Operation::ListEvents
            | Operation::ShowEvent
            | Operation::ListTickets => {}
        }
    }

    fn unanswered(&mut self, asked: &Asked) {
        match asked.operation {
            Operation::Hold => self.ledger.unknown.push(*asked),
            Operation::Confirm => self.ledger.end(asked.booking, Ending::PerhapsConfirmed),
            Operation::Cancel => self.ledger.end(asked.booking, Ending::PerhapsCancelled),
            Operation::Register
            | Operation::ListEvents
            | Operation::ShowEvent
            | Operation::ListTickets
            | Operation::ListAvailable => {}
        }
    }
}

/// An answer for a message.
fn shown(answer: &Answer<'_>) -> String {
    let body = String::from_utf8_lossy(answer.body);
    format!("{} {}", answer.status, body.chars().take(600).collect::<String>())
}
