//! All of the engine on the real log, its syncer and preparer included, in random schedules: what a
//! restart recovers is what memory said, and keys stand for what their requests were told.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

use crate::clock::Clock;
use crate::domain::{BookingStatus, Email, PersonName, PublicId, Refusal, RequestStamp, Timestamp};
use crate::engine::expiry::Schedule;
use crate::engine::tests::details;
use crate::engine::{Answer, DeadBookings, Engine, HoldRequest, Made};
use crate::models::{directory, engine, sample, thread};
use crate::sync::map::{self, Mistake};

const SEATS: u32 = 4;
const KEYS: [&str; 2] = ["first", "second"];
const SCHEDULES: usize = 400;

/// An engine, what there is in it from the beginning, and what clients were told.
struct Town {
    engine: Engine,
    clock: Clock,
    users: Vec<PublicId>,
    event: PublicId,
    tickets: Vec<PublicId>,
    /// Bookings that somebody was told of.
    bookings: Mutex<Vec<(PublicId, PublicId)>>,
    /// The booking that each key's request was told of.
    told: Mutex<HashMap<&'static str, PublicId>>,
    /// The keys whose request has done its work, and was not told what an earlier one did.
    done: Mutex<HashSet<&'static str>>,
}

fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}

fn name(name: &str) -> PersonName {
    PersonName::parse(name).unwrap()
}

impl Town {
    fn new(engine: Engine, clock: Clock) -> Self {
        let user =
            |who| engine.create_user(email(who), name(who), None).result.unwrap().id.public();
        let users = vec![user("ada"), user("bob")];
        let event = engine.create_event(details(SEATS), None).result.unwrap().id.public();
        let (_, mut cursor) = engine.tickets(event, None, None).result.unwrap();
        let mut page = Vec::new();
        while !cursor.is_done() {
            let _ = engine.next_tickets(&mut cursor, 100, &mut page);
        }
        let tickets = page.iter().map(|ticket| ticket.id.public()).collect();
        let (bookings, told, done) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { engine, clock, users, event, tickets, bookings, told, done }
    }

    /// What an answer says, once it has been looked at whether its position can be right.
    fn checked<T>(&self, answer: Answer<'_, T>) -> Result<T, Refusal> {
        let reserved = self.engine.log().reserved();
        assert!(answer.position.lsn <= answer.position.wait_for);
        assert!(answer.position.wait_for <= reserved, "waits for what nobody has claimed");
        // What the answer keeps open, it keeps until somebody else has had a turn.
        thread::yield_now();
        answer.result
    }

    /// The same town after a restart.
    fn reopened(self, directory: &Path, durability: wal::Durability) -> Self {
        let Self { engine: before, clock, .. } = self;
        drop(before);
        let engine = engine(directory, durability, &clock);
        Self { engine, clock, ..self }
    }

    fn user(&self) -> PublicId {
        self.users[thread_rng().gen_range(0..self.users.len())]
    }

    fn hold(&self) {
        let wanted: u32 = thread_rng().gen_range(1..1 << SEATS);
        let seats = (0..SEATS).filter(|seat| wanted & (1 << seat) != 0);
        let tickets: Vec<_> = seats.map(|seat| self.tickets[seat as usize]).collect();
        let request =
            HoldRequest { user: self.user(), event: self.event, tickets: &tickets, stamp: None };
        if let Ok(made) = self.checked(self.engine.hold(&request)) {
            assert_eq!(made.booking.status, BookingStatus::Pending);
            self.bookings.lock().unwrap().push((made.booking.id.public(), request.user));
        }
    }

    /// The request of one of the keys, which is always the same.
    fn keyed(&self, key: usize) -> Result<Made, Refusal> {
        let stamp = Some(RequestStamp { key: KEYS[key], fingerprint: key as u128 });
        let tickets = &self.tickets[key..=key + 1];
        let request = HoldRequest { user: self.users[key], event: self.event, tickets, stamp };
        self.checked(self.engine.hold(&request))
    }

    fn hold_with_key(&self) {
        let key = thread_rng().gen_range(0..KEYS.len());
        if let Ok(made) = self.keyed(key) {
            let booking = made.booking.id.public();
            let first = made.replayed || self.done.lock().unwrap().insert(KEYS[key]);
            assert!(first, "a key's work is done once");
            let before = self.told.lock().unwrap().insert(KEYS[key], booking);
            assert!(before.is_none_or(|before| before == booking), "a key stands for one booking");
            self.bookings.lock().unwrap().push((booking, self.users[key]));
        }
    }

    fn end(&self) {
        let bookings = self.bookings.lock().unwrap().clone();
        if bookings.is_empty() {
            return;
        }
        let (booking, user) = bookings[thread_rng().gen_range(0..bookings.len())];
        if thread_rng().r#gen() {
            if let Ok(ended) = self.checked(self.engine.confirm(booking, user, None)) {
                assert_eq!(ended.booking.status, BookingStatus::Confirmed);
            }
        } else if let Ok(ended) = self.checked(self.engine.cancel(booking, user, None)) {
            assert_eq!(ended.booking.status, BookingStatus::Cancelled);
        }
    }

    fn change_users(&self) {
        let (who, user) = (["ada", "cleo"][thread_rng().gen_range(0..2)], self.user());
        match thread_rng().gen_range(0..3) {
            0 => drop(self.checked(self.engine.create_user(email(who), name(who), None))),
            1 => drop(self.checked(self.engine.update_user(user, email(who), name(who)))),
            _ => {
                let mut dead = DeadBookings::default();
                drop(self.checked(self.engine.look_for_live_booking(user, &mut dead)));
                drop(self.checked(self.engine.delete_user(user, &dead)));
            }
        }
    }

    fn look(&self) {
        let view = self.checked(self.engine.event(self.event)).unwrap();
        assert_eq!(view.available + view.reserved + view.sold, SEATS);
    }

    fn step(&self) {
        match thread_rng().gen_range(0..10) {
            0..=2 => self.hold(),
            3..=4 => self.hold_with_key(),
            5..=7 => self.end(),
            8 => self.change_users(),
            _ => self.look(),
        }
    }

    fn sweep(&self, schedule: &mut Schedule) {
        self.clock.advance(Duration::from_millis(thread_rng().gen_range(0..8)));
        while !self.engine.sweep(schedule) {
            thread::yield_now();
        }
        self.engine.store.keys.purge(self.clock.now());
        self.engine.log().kick();
    }
}

fn restart(mistake: Mistake) {
    map::make(mistake);
    sample(SCHEDULES, || {
        let directory = directory();
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let durability = [wal::Durability::Commit, wal::Durability::Os];
        let durability = durability[thread_rng().gen_range(0..2)];
        let town = Town::new(engine(directory.path(), durability, &clock), clock.clone());
        let town = Arc::new(town);
        let clients = [(); 3].map(|()| {
            let town = Arc::clone(&town);
            thread::spawn(move || (0..4).for_each(|_| town.step()))
        });
        let sweeper = Arc::clone(&town);
        let sweeper = thread::spawn(move || {
            let mut schedule = Schedule::default();
            (0..3).for_each(|_| sweeper.sweep(&mut schedule));
        });
        for client in clients {
            client.join().unwrap();
        }
        sweeper.join().unwrap();
        let town = Arc::into_inner(town).unwrap();
        let hash = town.engine.state_hash();
        town.engine.log().seal().unwrap();
        let town = town.reopened(directory.path(), durability);
        assert_eq!(town.engine.state_hash(), hash, "recovered is what was");
        town.look();
        for (key, booking) in town.told.lock().unwrap().drain() {
            let key = KEYS.iter().position(|found| *found == key).unwrap();
            match town.keyed(key) {
                Ok(again) => {
                    let same = again.replayed && again.booking.id.public() == booking;
                    assert!(same, "a key stands for the same after a restart");
                }
                Err(refusal) => assert_eq!(refusal, Refusal::UserNotFound),
            }
        }
    });
}

#[test]
fn a_restart_recovers_what_memory_said() {
    restart(Mistake::None);
}

#[test]
#[should_panic(expected = "a key")]
fn a_key_that_is_taken_in_two_steps_is_found() {
    restart(Mistake::InsertsLate);
}
