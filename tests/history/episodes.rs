//! Short histories of few seats: a handful of clients, three seats, and a hold or two that lapses.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use booking_manager::domain::{BookingId, SlotIndex};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};

use super::harness::{Server, Settings, observe_for};
use super::history::{Ending, Operation, Said};
use super::means::quick_directory;
use super::recorder::Recorder;
use super::requests::{self, Request};
use super::server_clock::ServerClock;
use super::stopwatch::Stopwatch;
use super::world::{Show, World};

pub(crate) const SEATS: u32 = 3;
const CLIENTS: u64 = 4;
const OPERATIONS_EACH: u32 = 26;
/// How many go on at a time.
const AT_A_TIME: u64 = 12;
/// How long a client rests at most between two requests.
const REST_MICROS_MAX: u64 = 400_000;
/// A log of which two segments are made.
const DATA_BYTES: u64 = 256 << 20;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) operations: Vec<Operation>,
}

/// So many times as many episodes as go on at a time, of one server, and its clock.
pub(crate) fn record(times: u64) -> (Vec<Episode>, ServerClock) {
    // On a disk that is slow holds lapse before anybody can use them.
    let data = quick_directory(DATA_BYTES);
    let settings = Settings::new().data_dir(&data.path().join("data"));
    let server = settings.hold_ttl_seconds(1).env("HTTP_THREADS", 4).start();
    let stopwatch = Stopwatch::start();
    let world = Arc::new(World::create(&server, 3));
    let clock = ServerClock::measure(server.address(), stopwatch);
    let mut episodes = Vec::new();
    for time in 0..times {
        let shows = (0..AT_A_TIME).map(|number| (time * AT_A_TIME + number, &server));
        let shows = shows.map(|(seed, server)| (seed, Show::create(server, SEATS as usize)));
        let shows: Vec<_> = shows.collect();
        thread::scope(|scope| {
            let acting = shows.iter().map(|(seed, show)| {
                let (world, server) = (&world, &server);
                scope.spawn(move || episode(world, show, server, stopwatch, *seed))
            });
            let acting: Vec<_> = acting.collect();
            episodes.extend(acting.into_iter().map(|acting| acting.join().expect("an episode")));
        });
    }
    (episodes, clock)
}

fn episode(
    world: &Arc<World>,
    show: &Arc<Show>,
    server: &Server,
    stopwatch: Stopwatch,
    seed: u64,
) -> Episode {
    let operations = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|number| {
            let mut recorder = Recorder::new(world, stopwatch);
            recorder.go_to(server.address());
            let visitor = Visitor {
                recorder,
                world: Arc::clone(world),
                show: Arc::clone(show),
                random: StdRng::seed_from_u64(seed * CLIENTS + number),
                own: Vec::new(),
            };
            scope.spawn(move || visitor.act())
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    Episode { operations }
}

/// A client of an episode.
#[derive(Debug)]
struct Visitor {
    recorder: Recorder,
    world: Arc<World>,
    show: Arc<Show>,
    random: StdRng,
    /// Its bookings: the user's place, and the slots.
    own: Vec<(BookingId, usize, Vec<SlotIndex>)>,
}

impl Visitor {
    fn act(mut self) -> Vec<Operation> {
        for _ in 0..OPERATIONS_EACH {
            let rest = self.random.random_range(0..REST_MICROS_MAX);
            // Most requests follow each other closely.
            observe_for(Duration::from_micros(if rest % 3 == 0 { rest } else { rest / 1_000 }));
            self.step();
        }
        self.recorder.take_operations()
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..35 => self.hold(),
            35..60 => {
                if let Some(request) = self.end() {
                    self.send(&request);
                }
            }
            60..75 => {
                let known = self.show.known_booking(self.random.random_range(0..1_000));
                if let Some((booking, _)) = known {
                    self.recorder.ask(&[requests::booking(booking, &self.show)]);
                }
            }
            75..95 => {
                let all = requests::tickets(&self.show, SlotIndex::new(0), SEATS, false);
                self.recorder.ask(&[all]);
            }
            _ => {
                if let Some((_, user, slots)) = self.own.choose(&mut self.random).cloned() {
                    let user = &self.world.users[user];
                    self.recorder.ask(&[requests::hold(user, &self.show, &slots, None)]);
                }
            }
        }
    }

    fn hold(&mut self) {
        let user = self.random.random_range(0..self.world.users.len());
        let count = [1, 1, 2, 3].choose(&mut self.random).copied().unwrap_or(1);
        let slots = (0..SEATS).map(SlotIndex::new).sample(&mut self.random, count);
        let request = requests::hold(&self.world.users[user], &self.show, &slots, None);
        // A booking that was there already may be that of a request without an answer; nobody acts
        // on it, so that its name need not be known.
        let made = self.send(&request).and_then(|operation| match &operation.answer()?.said {
            Said::Made(seen, _) => Some(seen.id),
            Said::Existing(..)
            | Said::Ended(_)
            | Said::Booking(_)
            | Said::Counters(_)
            | Said::Tickets(_)
            | Said::Refused(_)
            | Said::Strange(_) => None,
        });
        if let Some(booking) = made {
            self.show.note_booking(booking, self.world.users[user].number);
            self.own.push((booking, user, slots));
        }
    }

    fn end(&mut self) -> Option<Request> {
        let (booking, user, _) = self.own.choose(&mut self.random)?;
        let ending = if self.random.random_bool(0.1) { Ending::Confirm } else { Ending::Cancel };
        Some(requests::end(ending, *booking, &self.world.users[*user], &self.show, None))
    }

    /// Sends, and now and then hangs up.
    fn send(&mut self, request: &Request) -> Option<&Operation> {
        if self.random.random_bool(0.02) {
            self.recorder.hang_up(request);
            return None;
        }
        self.recorder.ask(std::slice::from_ref(request)).first()
    }
}
