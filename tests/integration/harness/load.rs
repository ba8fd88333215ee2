//! A crowd of clients that book, confirm and cancel at random and write down what they are told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::client::{Call, Client, Show, fresh_uuid};
use super::ledger::{Ending, Held, Ledger};
use super::reply::Reply;
use super::sweep::World;

/// How a crowd behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    threads: usize,
    seats_max: usize,
    seed: u64,
}

/// A crowd at work.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// One for each thread, which writes down every answer as soon as it has come.
    reports: Vec<Arc<Mutex<LoadReport>>>,
}

/// What a crowd was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadReport {
    /// Every acknowledged booking.
    pub(crate) ledger: Ledger,
    /// How many answers came, by status and code.
    pub(crate) answers: BTreeMap<(u16, String), u64>,
    /// Requests whose answer never came.
    pub(crate) unanswered: u64,
}

impl Load {
    /// So many threads book sets of 1 to `seats_max` tickets of the world's shows, each as users
    /// of its own, until stopped or until an answer does not come.
    pub(crate) fn start(
        client: &Client,
        world: &World,
        threads: usize,
        seats_max: usize,
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let crowd = Crowd { threads, seats_max, seed };
        let reports: Vec<Arc<Mutex<LoadReport>>> = (0..threads).map(|_| Arc::default()).collect();
        let threads = (reports.iter().enumerate())
            .map(|(number, report)| {
                let mut member = Member::new(client, world, crowd, number, Arc::clone(report));
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || while !stop.load(Ordering::Relaxed) && member.act() {})
            })
            .collect();
        Self { stop, threads, reports }
    }

    /// What the crowd has been told by now.
    pub(crate) fn so_far(&self) -> LoadReport {
        let mut all = LoadReport::default();
        for report in &self.reports {
            all.append(report.lock().expect("no client of the crowd failed").clone());
        }
        all
    }

    /// Stops the crowd and collects what it was told.
    #[track_caller]
    pub(crate) fn stop(self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until the crowd has stopped by itself, because the server is gone.
    #[track_caller]
    pub(crate) fn join(mut self) -> LoadReport {
        for thread in self.threads.drain(..) {
            thread.join().expect("a client of the crowd failed");
        }
        self.so_far()
    }
}

impl LoadReport {
    fn append(&mut self, other: Self) {
        self.ledger.append(other.ledger);
        self.unanswered += other.unanswered;
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
    }
}

/// One client.
struct Member {
    client: Client,
    users: Vec<String>,
    shows: Vec<Show>,
    seats_max: usize,
    rng: StdRng,
    report: Arc<Mutex<LoadReport>>,
}

impl Member {
    fn new(
        client: &Client,
        world: &World,
        crowd: Crowd,
        number: usize,
        report: Arc<Mutex<LoadReport>>,
    ) -> Self {
        let own = world.users.iter().skip(number).step_by(crowd.threads);
        let users: Vec<String> = own.cloned().collect();
        assert!(!users.is_empty(), "fewer users than threads");
        Self {
            client: client.clone(),
            users,
            shows: world.shows.clone(),
            seats_max: crowd.seats_max,
            rng: StdRng::seed_from_u64(crowd.seed.wrapping_add(number as u64)),
            report,
        }
    }

    fn report(&self) -> MutexGuard<'_, LoadReport> {
        self.report.lock().expect("only this thread writes")
    }

    /// Does one thing; false once the server does not answer.
    fn act(&mut self) -> bool {
        let open: Vec<usize> = self
            .report()
            .ledger
            .held
            .iter()
            .enumerate()
            .rev()
            .take(50)
            .filter(|(_, held)| held.ending == Ending::None)
            .map(|(index, _)| index)
            .collect();
        match open.choose(&mut self.rng) {
            Some(&index) if self.rng.random_bool(0.6) => self.end(index),
            _ => self.book(),
        }
    }

    fn book(&mut self) -> bool {
        let user = self.users.choose(&mut self.rng).expect("has users").clone();
        let show = self.shows.choose(&mut self.rng).expect("has shows").clone();
        let count = self.rng.random_range(1..=self.seats_max);
        let tickets: Vec<String> = show.tickets.sample(&mut self.rng, count).cloned().collect();
        let call = Call::book(&user, &show.id, &tickets).key(&fresh_uuid());
        let Some(answer) = self.ask(&call) else {
            return false;
        };
        if answer.status == 201 {
            let held = Held { user, call, answer, tickets, ending: Ending::None };
            self.report().ledger.held.push(held);
        }
        true
    }

    /// Confirms or, less often, cancels.
    fn end(&mut self, index: usize) -> bool {
        let (verb, ending) = if self.rng.random_bool(0.4) {
            ("confirm", "confirmed")
        } else {
            ("cancel", "cancelled")
        };
        let call = {
            let held = &mut self.report().ledger.held[index];
            held.ending = Ending::Unknown(ending);
            let body = serde_json::json!({"user_id": held.user});
            Call::post(&format!("/api/bookings/{}/{verb}", held.id()), &body)
        };
        let Some(answer) = self.ask(&call) else {
            return false;
        };
        let held = &mut self.report().ledger.held[index];
        held.ending = match answer.status {
            200 => Ending::Acknowledged(ending),
            409 if answer.code() == "booking_expired" => Ending::Acknowledged("expired"),
            _ => held.ending,
        };
        true
    }

    fn ask(&mut self, call: &Call) -> Option<Reply> {
        let answer = self.client.try_send(call).ok();
        match &answer {
            Some(answer) => {
                let kind = (answer.status, answer.code().to_owned());
                *self.report().answers.entry(kind).or_default() += 1;
            }
            None => self.report().unanswered += 1,
        }
        answer
    }
}
