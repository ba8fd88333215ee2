//! Clients that fight for the same seats, repeat themselves, lose patience and hang up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use booking_manager::domain::{BookingId, EventNumber, SlotIndex, UserNumber};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::history::{Asked, Ending, Operation, Outcome, Refused, Said};
use super::recorder::Recorder;
use super::requests::{self, Request};
use super::stopwatch::Stopwatch;
use super::world::{Show, World};

/// How many bookings a client remembers of each sort.
const REMEMBERED_MAX: usize = 12;
/// How many requests with a key it remembers.
const KEPT_MAX: usize = 24;
/// How many users a client acts for; neighbours share some of them.
const USERS_EACH: usize = 3;

/// A booking that a client has made.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) booking: BookingId,
    pub(crate) user: UserNumber,
    pub(crate) slots: Box<[SlotIndex]>,
    pub(crate) show: Arc<Show>,
}

/// What a client learns from what became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lesson {
    /// The user has this booking, until then.
    Holds {
        booking: BookingId,
        expires_at: u64,
    },
    Bought,
    /// The booking has ended otherwise.
    Over,
    Unknown,
    Nothing,
}

impl Lesson {
    pub(crate) fn of(operation: &Operation) -> Self {
        let answer = match &operation.outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Unknown(_) => return Self::Unknown,
            Outcome::NotSent => return Self::Nothing,
        };
        match &answer.said {
            Said::Made(seen, _) | Said::Existing(seen, _) => {
                Self::Holds { booking: seen.id, expires_at: seen.expires_at }
            }
            Said::Ended(_) => match operation.asked {
                Asked::End { ending: Ending::Confirm, .. } => Self::Bought,
                Asked::End { ending: Ending::Cancel, .. }
                | Asked::Hold { .. }
                | Asked::Booking(_)
                | Asked::Counters(_)
                | Asked::Tickets { .. } => Self::Over,
            },
            Said::Refused(
                Refused::BookingExpired | Refused::BookingCancelled | Refused::AlreadyConfirmed,
            ) => Self::Over,
            Said::Refused(
                Refused::Taken(_)
                | Refused::NotYours
                | Refused::InFlight
                | Refused::KeyReused
                | Refused::NotFound,
            )
            | Said::Booking(_)
            | Said::Counters(_)
            | Said::Tickets(_)
            | Said::Strange(_) => Self::Nothing,
        }
    }
}

/// A client of the crowd.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) recorder: Recorder,
    world: Arc<World>,
    random: StdRng,
    users: Vec<usize>,
    /// Bookings that it has not ended.
    open: Vec<Holding>,
    /// Bookings that it has ended or given up.
    over: VecDeque<Holding>,
    /// Requests with a key that succeeded.
    kept: VecDeque<Request>,
    /// Requests without an answer.
    doubts: Vec<Request>,
}

impl Member {
    pub(crate) fn new(world: &Arc<World>, stopwatch: Stopwatch, number: usize, seed: u64) -> Self {
        let users = (0..USERS_EACH).map(|user| (2 * number + user) % world.users.len());
        Self {
            recorder: Recorder::new(world, stopwatch),
            world: Arc::clone(world),
            random: StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
            users: users.collect(),
            open: Vec::new(),
            over: VecDeque::new(),
            kept: VecDeque::new(),
            doubts: Vec::new(),
        }
    }

    /// Forgets the events below `event`.
    pub(crate) fn forget_before(&mut self, event: EventNumber) {
        self.open.retain(|holding| holding.show.event >= event);
        self.over.retain(|holding| holding.show.event >= event);
        self.kept.retain(|request| request.show.event >= event);
        self.doubts.retain(|request| request.show.event >= event);
    }

    /// Goes to a server at this address, and buys first what it has held before.
    pub(crate) fn come_back(&mut self, address: &str) {
        self.recorder.go_to(address);
        if let Some(holding) = self.open.last() {
            let user = self.world.user(holding.user);
            let key = Some(self.world.new_key());
            let show = &holding.show;
            self.doubts.push(requests::end(Ending::Confirm, holding.booking, user, show, key));
        }
    }

    /// Acts until it is told to stop or the server is gone.
    pub(crate) fn act(&mut self) {
        while !self.world.is_over() && !self.recorder.is_gone() {
            self.step();
        }
    }

    fn step(&mut self) {
        let request = self.next_request();
        match self.random.random_range(0..100) {
            0 => {
                self.recorder.hang_up(&request);
                self.doubts.push(request);
            }
            1 if self.random.random_bool(0.5) => self.recorder.send_half(&request),
            2..=3 => {
                let patience = Duration::from_micros(self.random.random_range(50..2_000));
                let lessons = self.recorder.ask_impatiently(&request, patience);
                let lessons: Vec<_> = lessons.iter().map(Lesson::of).collect();
                self.learn(&[request], &lessons);
            }
            4..=6 if request.key.is_some() => {
                let lessons = self.recorder.ask_twice(&request);
                let lessons: Vec<_> = lessons.iter().map(Lesson::of).collect();
                let requests = vec![request; lessons.len()];
                self.learn(&requests, &lessons);
            }
            7..=20 => {
                let mut batch = vec![request];
                for _ in 0..self.random.random_range(1..4) {
                    batch.push(self.next_request());
                }
                self.ask(&batch);
            }
            _ => self.ask(&[request]),
        }
    }

    fn ask(&mut self, batch: &[Request]) {
        let lessons: Vec<_> = self.recorder.ask(batch).iter().map(Lesson::of).collect();
        self.learn(batch, &lessons);
    }

    fn learn(&mut self, requests: &[Request], lessons: &[Lesson]) {
        for (request, lesson) in requests.iter().zip(lessons) {
            match lesson {
                Lesson::Holds { booking, .. } => self.learn_hold(request, *booking),
                Lesson::Bought | Lesson::Over => self.learn_end(request, *lesson),
                Lesson::Unknown => self.doubts.push(request.clone()),
                Lesson::Nothing => {}
            }
        }
        while self.open.len() > REMEMBERED_MAX {
            self.open.swap_remove(0);
        }
        self.over.truncate(REMEMBERED_MAX);
        self.kept.truncate(KEPT_MAX);
    }

    fn learn_hold(&mut self, request: &Request, booking: BookingId) {
        let Asked::Hold { user, slots, .. } = &request.asked else {
            return;
        };
        if request.key.is_some() {
            self.kept.push_front(request.clone());
        }
        let known = self.open.iter().chain(&self.over).any(|holding| holding.booking == booking);
        if known {
            return;
        }
        request.show.note_booking(booking, *user);
        let show = Arc::clone(&request.show);
        let holding = Holding { booking, user: *user, slots: slots.clone(), show };
        // Some are left to lapse.
        if self.random.random_bool(0.06) {
            self.over.push_front(holding);
        } else {
            self.open.push(holding);
        }
    }

    fn learn_end(&mut self, request: &Request, lesson: Lesson) {
        let Asked::End { booking, .. } = request.asked else {
            return;
        };
        if request.key.is_some() && lesson == Lesson::Bought {
            self.kept.push_front(request.clone());
        }
        let Some(place) = self.open.iter().position(|holding| holding.booking == booking) else {
            return;
        };
        let holding = self.open.swap_remove(place);
        if lesson == Lesson::Bought {
            holding.show.note_sold(holding.slots.len());
        }
        self.over.push_front(holding);
    }

    /// What to do about a request without an answer.
    fn settle(&mut self, doubt: Request) -> Option<Request> {
        match (doubt.key, &doubt.asked) {
            (Some(_), _) | (None, Asked::Hold { .. }) => Some(doubt),
            (None, Asked::End { booking, .. }) => Some(requests::booking(*booking, &doubt.show)),
            (None, Asked::Booking(_) | Asked::Counters(_) | Asked::Tickets { .. }) => None,
        }
    }

    fn next_request(&mut self) -> Request {
        if self.random.random_bool(0.8)
            && let Some(request) = self.doubts.pop().and_then(|doubt| self.settle(doubt))
        {
            return request;
        }
        let found = match self.random.random_range(0..100) {
            0..30 => None,
            30..34 => self.hold_again(),
            34..37 => self.hold_overlap(),
            37..57 => self.end_open(),
            57..61 => self.end_again(),
            61..62 => self.end_other(),
            62..73 => self.look(),
            73..80 => Some(requests::counters(&self.show())),
            80..90 => Some(self.list()),
            90..96 => self.kept.get(self.random.random_range(0..KEPT_MAX)).cloned(),
            96..97 => self.reuse_key(),
            _ => None,
        };
        found.unwrap_or_else(|| self.hold())
    }

    fn show(&mut self) -> Arc<Show> {
        let shows = self.world.shows();
        // The last one is left to those who watch deadlines.
        let contested = &shows[..shows.len() - 1];
        Arc::clone(contested.choose(&mut self.random).expect("something is on sale"))
    }

    fn key(&mut self) -> Option<super::history::KeyNumber> {
        self.random.random_bool(0.5).then(|| self.world.new_key())
    }

    /// A few seats, more often from the front.
    fn slots(&mut self, show: &Show) -> Vec<SlotIndex> {
        let seats = show.tickets.len();
        let count = [1, 1, 1, 1, 2, 2, 3, 4].choose(&mut self.random).copied().unwrap_or(1);
        let draw = self.random.random::<f64>();
        let first = (draw * draw * seats as f64) as usize;
        let step = if self.random.random_bool(0.7) { 1 } else { 7 };
        let mut slots: Vec<usize> = (0..count).map(|n| (first + n * step) % seats).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.shuffle(&mut self.random);
        slots.into_iter().map(|slot| SlotIndex::new(slot as u32)).collect()
    }

    fn hold(&mut self) -> Request {
        let show = self.show();
        let slots = self.slots(&show);
        let user = *self.users.choose(&mut self.random).expect("has users");
        let key = self.key();
        requests::hold(&self.world.users[user], &show, &slots, key)
    }

    fn hold_again(&mut self) -> Option<Request> {
        let holding = self.open.choose(&mut self.random)?.clone();
        let key = self.key();
        let user = self.world.user(holding.user);
        Some(requests::hold(user, &holding.show, &holding.slots, key))
    }

    /// A set that has a ticket of the client's own booking and another one.
    fn hold_overlap(&mut self) -> Option<Request> {
        let holding = self.open.choose(&mut self.random)?.clone();
        let mut slots = self.slots(&holding.show);
        slots.retain(|slot| *slot != holding.slots[0]);
        slots.push(holding.slots[0]);
        let key = self.key();
        let user = self.world.user(holding.user);
        Some(requests::hold(user, &holding.show, &slots, key))
    }

    fn ending(&mut self) -> Ending {
        if self.random.random_bool(0.15) { Ending::Confirm } else { Ending::Cancel }
    }

    fn end(&mut self, holding: &Holding) -> Request {
        let (ending, key) = (self.ending(), self.key());
        let user = self.world.user(holding.user);
        requests::end(ending, holding.booking, user, &holding.show, key)
    }

    fn end_open(&mut self) -> Option<Request> {
        let holding = self.open.choose(&mut self.random)?.clone();
        Some(self.end(&holding))
    }

    fn end_again(&mut self) -> Option<Request> {
        let place = self.random.random_range(0..REMEMBERED_MAX);
        let holding = self.over.get(place)?.clone();
        let ending = [Ending::Confirm, Ending::Cancel].choose(&mut self.random).copied()?;
        let key = self.key();
        let user = self.world.user(holding.user);
        Some(requests::end(ending, holding.booking, user, &holding.show, key))
    }

    /// Tries to end a booking that is perhaps somebody else's.
    fn end_other(&mut self) -> Option<Request> {
        let show = self.show();
        let (booking, _) = show.known_booking(self.random.random_range(0..1_000))?;
        let user = *self.users.choose(&mut self.random).expect("has users");
        let (ending, key) = (self.ending(), self.key());
        Some(requests::end(ending, booking, &self.world.users[user], &show, key))
    }

    fn look(&mut self) -> Option<Request> {
        if self.random.random_bool(0.4) {
            let holding = self.open.choose(&mut self.random)?;
            return Some(requests::booking(holding.booking, &holding.show));
        }
        let show = self.show();
        let (booking, _) = show.known_booking(self.random.random_range(0..1_000))?;
        Some(requests::booking(booking, &show))
    }

    fn list(&mut self) -> Request {
        let show = self.show();
        let seats = show.tickets.len() as f64;
        let draw = self.random.random::<f64>();
        let first = SlotIndex::new((draw * draw * seats) as u32);
        let only_available = self.random.random_bool(0.3);
        let limit = self.random.random_range(1..=8);
        requests::tickets(&show, first, limit, only_available)
    }

    /// A key that stood for something else.
    fn reuse_key(&mut self) -> Option<Request> {
        let kept = self.kept.get(self.random.random_range(0..KEPT_MAX))?.clone();
        let slots = self.slots(&kept.show);
        let user = *self.users.choose(&mut self.random).expect("has users");
        let request = requests::hold(&self.world.users[user], &kept.show, &slots, kept.key);
        (request.asked != kept.asked).then_some(request)
    }
}
