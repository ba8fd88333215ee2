//! Clients that watch deadlines: they hold a few seats, wait, and act in the very milliseconds in
//! which the hold ends.

use std::sync::Arc;
use std::time::Duration;

use booking_manager::domain::SlotIndex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::crowd::{Holding, Lesson};
use super::harness::observe_for;
use super::history::{Asked, Ending, Moment};
use super::recorder::Recorder;
use super::requests::{self, Request};
use super::server_clock::ServerClock;
use super::stopwatch::Stopwatch;
use super::world::{Show, World};

/// How many bookings are watched at a time.
const WATCHED_MAX: usize = 8;
/// How long before a deadline the first request may be sent, and how long after it.
const BEFORE: Duration = Duration::from_millis(8);
const AROUND_MICROS: u64 = 14_000;

/// A client that watches deadlines.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) recorder: Recorder,
    pub(crate) clock: ServerClock,
    world: Arc<World>,
    random: StdRng,
}

impl Watcher {
    pub(crate) fn new(
        world: &Arc<World>,
        stopwatch: Stopwatch,
        clock: ServerClock,
        seed: u64,
    ) -> Self {
        Self {
            recorder: Recorder::new(world, stopwatch),
            clock,
            world: Arc::clone(world),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Acts until it is told to stop or the server is gone.
    pub(crate) fn act(&mut self) {
        while !self.world.is_over() && !self.recorder.is_gone() {
            let mut watched = Vec::new();
            for _ in 0..WATCHED_MAX {
                watched.extend(self.hold());
            }
            if watched.is_empty() {
                observe_for(Duration::from_millis(5));
            }
            watched.sort_by_key(|(_, expires_at)| *expires_at);
            for (holding, expires_at) in watched {
                self.watch(&holding, expires_at);
            }
        }
    }

    /// Holds one or two seats of the event that few want.
    fn hold(&mut self) -> Option<(Holding, u64)> {
        let show = self.quiet_show();
        let seats = show.tickets.len() as u32;
        let first = self.random.random_range(0..seats);
        let count = self.random.random_range(1..=2);
        let slots: Vec<_> = (first..seats.min(first + count)).map(SlotIndex::new).collect();
        let user = self.random.random_range(0..self.world.users.len());
        let user = &self.world.users[user];
        let request = requests::hold(user, &show, &slots, None);
        let lesson = self.ask(std::slice::from_ref(&request)).pop()?;
        let Lesson::Holds { booking, expires_at } = lesson else {
            return None;
        };
        let Asked::Hold { user, slots, .. } = request.asked else {
            return None;
        };
        Some((Holding { booking, user, slots, show }, expires_at))
    }

    fn quiet_show(&self) -> Arc<Show> {
        let shows = self.world.shows();
        Arc::clone(shows.last().expect("something is on sale"))
    }

    /// Waits until the deadline is about to pass, and acts.
    fn watch(&mut self, holding: &Holding, expires_at: u64) {
        let spread = Duration::from_micros(self.random.random_range(0..AROUND_MICROS));
        let deadline = self.clock.earliest_moment(expires_at);
        let target = Moment(deadline.after(spread).0.saturating_sub(BEFORE.as_nanos() as u64));
        let ahead = target.0.saturating_sub(self.recorder.now().0);
        observe_for(Duration::from_nanos(ahead));
        let mut volley: Vec<_> =
            (0..self.random.random_range(1..=4)).map(|_| self.shot(holding)).collect();
        if self.random.random_bool(0.3) {
            self.ask(&volley);
        } else {
            for request in volley.drain(..) {
                self.ask(&[request]);
            }
        }
    }

    fn ask(&mut self, requests: &[Request]) -> Vec<Lesson> {
        let lessons: Vec<_> = self.recorder.ask(requests).iter().map(Lesson::of).collect();
        for (request, lesson) in requests.iter().zip(&lessons) {
            if *lesson == Lesson::Bought {
                request.show.note_sold(1);
            }
        }
        lessons
    }

    fn shot(&mut self, holding: &Holding) -> Request {
        let own = self.world.user(holding.user);
        let end = |ending| requests::end(ending, holding.booking, own, &holding.show, None);
        match self.random.random_range(0..100) {
            0..25 => end(Ending::Confirm),
            25..32 => end(Ending::Cancel),
            32..60 => requests::booking(holding.booking, &holding.show),
            60..85 => {
                let user = self.random.random_range(0..self.world.users.len());
                let user = &self.world.users[user];
                requests::hold(user, &holding.show, &holding.slots, None)
            }
            85..90 => requests::hold(own, &holding.show, &holding.slots, None),
            _ => requests::tickets(&holding.show, holding.slots[0], 2, self.random.random()),
        }
    }
}
