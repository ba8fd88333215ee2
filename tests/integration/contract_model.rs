//! A model of the contract, written from the contract alone, asked beside the server: whatever happens
//! in whatever order, across crashes too, both answer the same.

use std::collections::{BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{Call, Reply, Server, Settings, Show, minor_units};

const STEPS: usize = 1_200;
/// So often the server is killed and started again.
const CRASH_EVERY: usize = 400;
const SEATS: usize = 6;
/// So often there is a new show, before all seats of the others are sold.
const SHOW_EVERY: usize = 50;

#[derive(Clone, Debug)]
struct User {
    id: String,
    email: String,
    name: String,
    deleted: bool,
}

#[derive(Clone, Debug)]
struct Booking {
    id: String,
    user: usize,
    show: usize,
    /// Places in the event, from 0.
    seats: BTreeSet<usize>,
    status: &'static str,
    expires_at: String,
}

impl Booking {
    fn is_live(&self) -> bool {
        matches!(self.status, "pending" | "confirmed")
    }
}

/// The first success under a key, and the request that it was.
#[derive(Clone, Debug)]
struct Remembered {
    path: String,
    body: String,
    status: u16,
    answer: Value,
}

/// What must be answered.
enum Due {
    /// A success of this status.
    Done(u16),
    Refused(u16, &'static str),
    Replayed(Remembered),
}

use Due::{Done, Refused, Replayed};

struct Model {
    server: Server,
    random: StdRng,
    users: Vec<User>,
    shows: Vec<Show>,
    /// Oldest first.
    bookings: Vec<Booking>,
    keys: HashMap<String, Remembered>,
    emails_made: usize,
    /// Booking requests since the server was started.
    requests: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let server = Settings::new().hold_ttl_seconds(86_400).start();
        let shows = vec![server.create_show(SEATS), server.create_show_at(SEATS, 1_999)];
        let random = StdRng::seed_from_u64(seed);
        let (users, bookings, keys) = (Vec::new(), Vec::new(), HashMap::new());
        Self { server, random, users, shows, bookings, keys, emails_made: 0, requests: 0 }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn any_user(&mut self) -> usize {
        self.random.random_range(0..self.users.len())
    }

    /// Sends `body`, at times under a key, new or used, and compares with what is due where no key
    /// decides. Gives the answer if the request was done now.
    #[track_caller]
    fn post(&mut self, path: &str, body: &Value, before_key: Due, after_key: Due) -> Option<Reply> {
        let body = body.to_string();
        let mut call = Call::new("POST", path).json(&body);
        let key = self.chance(30).then(|| {
            let used: Vec<&String> = self.keys.keys().collect();
            let used = used.choose(&mut self.random).map(|key| (*key).clone());
            used.filter(|_| self.random.random_range(0..2) == 0)
                .unwrap_or_else(|| format!("key-{}", self.random.random::<u64>()))
        });
        let remembered = key.as_ref().and_then(|key| self.keys.get(key)).cloned();
        let due = match (before_key, remembered) {
            (Refused(status, code), _) => Refused(status, code),
            (_, Some(known)) if known.path == path && known.body == body => Replayed(known),
            (_, Some(_)) => Refused(422, "idempotency_key_reused"),
            (_, None) => after_key,
        };
        if let Some(key) = &key {
            call = call.key(key);
        }
        let reply = self.server.send(&call);
        match due {
            Refused(status, code) => {
                reply.expect_refusal(status, code);
                None
            }
            Replayed(known) => {
                assert_eq!((reply.status, &reply.json), (known.status, &known.answer));
                assert_eq!(reply.header("idempotent-replayed"), Some("true"), "{}", reply.text);
                None
            }
            Done(status) => {
                let reply = reply.expect(status);
                assert_eq!(reply.header("idempotent-replayed"), None);
                if let Some(key) = key {
                    let answer = reply.json.clone();
                    let path = path.to_owned();
                    self.keys.insert(key, Remembered { path, body, status, answer });
                }
                Some(reply)
            }
        }
    }

    /// An address that is new, or somebody's in other letters.
    fn some_email(&mut self) -> String {
        let known: Vec<&str> = self.users.iter().map(|user| user.email.as_str()).collect();
        let known = known.choose(&mut self.random).map(|email| email.to_uppercase());
        if let Some(known) = known.filter(|_| self.random.random_range(0..4) == 0) {
            return known;
        }
        self.emails_made += 1;
        format!("model-{}@example.com", self.emails_made)
    }

    fn owner_of(&self, email: &str) -> Option<usize> {
        let owns = |user: &User| !user.deleted && user.email.eq_ignore_ascii_case(email);
        self.users.iter().position(owns)
    }

    fn create_user(&mut self) {
        let (email, name) = (self.some_email(), format!("User {}", self.users.len()));
        let due = match self.owner_of(&email) {
            Some(_) => Refused(409, "email_taken"),
            None => Done(201),
        };
        let body = json!({"email": email, "name": name});
        if let Some(reply) = self.post("/api/users", &body, Done(201), due) {
            let id = reply.str("user_id").to_owned();
            assert_eq!(reply.json, json!({"user_id": id, "email": email, "name": name}));
            assert_eq!(reply.header("location"), Some(format!("/api/users/{id}").as_str()));
            self.users.push(User { id, email, name, deleted: false });
        }
    }

    fn change_user(&mut self) {
        let (number, email) = (self.any_user(), self.some_email());
        let name = format!("Renamed {}", self.random.random_range(0..100));
        let path = format!("/api/users/{}", self.users[number].id);
        let reply = self.server.put(&path, &json!({"email": email, "name": name}));
        if self.users[number].deleted {
            reply.expect_refusal(404, "user_not_found");
        } else if self.owner_of(&email).is_some_and(|owner| owner != number) {
            reply.expect_refusal(409, "email_taken");
        } else {
            let reply = reply.expect(200);
            let user = &mut self.users[number];
            (user.email, user.name) = (email, name);
            assert_eq!(reply.str("email"), user.email);
            assert_eq!(reply.str("name"), user.name);
        }
    }

    fn delete_user(&mut self) {
        let number = self.any_user();
        let reply = self.server.delete(&format!("/api/users/{}", self.users[number].id));
        let has_live = self.bookings.iter().any(|b| b.user == number && b.is_live());
        if self.users[number].deleted {
            reply.expect_refusal(404, "user_not_found");
        } else if has_live {
            reply.expect_refusal(409, "user_has_bookings");
        } else {
            reply.expect(204);
            self.users[number].deleted = true;
        }
    }

    /// The live booking that has a seat.
    fn holder(&self, show: usize, seat: usize) -> Option<&Booking> {
        let has = |b: &&Booking| b.is_live() && b.show == show && b.seats.contains(&seat);
        self.bookings.iter().find(has)
    }

    fn hold(&mut self) {
        // The two newest shows.
        let pair = self.shows.len() - 2;
        let (user, show) = (self.any_user(), pair + self.random.random_range(0..2));
        let count = self.random.random_range(1..=3);
        let mut seats: Vec<usize> =
            (0..count).map(|_| self.random.random_range(0..SEATS)).collect();
        if self.chance(90) {
            seats.sort_unstable();
            seats.dedup();
        }
        let set: BTreeSet<usize> = seats.iter().copied().collect();
        let elsewhere = self.chance(5);
        let event =
            if elsewhere { &self.shows[2 * pair + 1 - show].id } else { &self.shows[show].id };
        let tickets: Vec<&String> = seats.iter().map(|s| &self.shows[show].tickets[*s]).collect();
        let body =
            json!({"user_id": self.users[user].id, "event_id": event, "ticket_ids": tickets});
        let before_key = if set.len() < seats.len() {
            Refused(422, "duplicate_tickets")
        } else if self.users[user].deleted {
            Refused(404, "user_not_found")
        } else if elsewhere {
            Refused(422, "unknown_tickets")
        } else {
            Done(201)
        };
        let taken: Vec<(usize, Booking)> = set
            .iter()
            .filter_map(|seat| Some((*seat, self.holder(show, *seat)?.clone())))
            .collect();
        let same = taken.first().map(|(_, booking)| booking.clone()).filter(|booking| {
            booking.user == user && booking.status == "pending" && booking.seats == set
        });
        let due = match (&same, taken.is_empty()) {
            (Some(_), _) => Done(200),
            (None, true) => Done(201),
            (None, false) => Refused(409, "seats_unavailable"),
        };
        let conflicts_due = matches!(due, Refused(..)) && matches!(before_key, Done(_));
        let reply = self.post("/api/bookings", &body, before_key, due);
        self.requests += 1;
        if conflicts_due {
            // Under a key that decides, the request was not looked at so far.
            self.check_conflicts(&body, user, &taken);
        }
        let Some(reply) = reply else { return };
        match same {
            Some(booking) => {
                assert_eq!(reply.str("booking_id"), booking.id);
                assert_eq!(reply.str("expires_at"), booking.expires_at);
            }
            None => self.note_booking(&reply, user, show, set),
        }
    }

    /// Asks again without a key: every taken ticket is listed, and one's own booking named.
    fn check_conflicts(&mut self, body: &Value, user: usize, taken: &[(usize, Booking)]) {
        self.requests += 1;
        let refused = self.server.post("/api/bookings", body);
        let refused = refused.expect_refusal(409, "seats_unavailable");
        let listed = refused.json["conflicts"].as_array().expect("conflicts");
        assert_eq!(listed.len(), taken.len(), "{}", refused.text);
        for (seat, booking) in taken {
            let ticket = self.shows[booking.show].tickets[*seat].as_str();
            let entry = listed.iter().find(|entry| entry["ticket_id"] == ticket);
            let entry = entry.unwrap_or_else(|| panic!("{ticket} is missing: {}", refused.text));
            assert_eq!(entry["seat_number"], seat + 1);
            let status = if booking.status == "confirmed" { "sold" } else { "reserved" };
            assert_eq!(entry["status"], status);
            if booking.user != user {
                assert!(entry["held_by_you"].is_null() && entry["booking_id"].is_null());
            } else if booking.status == "pending" {
                assert_eq!(entry["held_by_you"], true);
                assert_eq!(entry["booking_id"], booking.id);
            }
        }
    }

    fn note_booking(&mut self, reply: &Reply, user: usize, show: usize, seats: BTreeSet<usize>) {
        let id = reply.str("booking_id").to_owned();
        assert_eq!(reply.str("status"), "pending");
        assert_eq!(minor_units(&reply.json["total_amount"]), self.total(show, &seats));
        assert_eq!(reply.header("location"), Some(format!("/api/bookings/{id}").as_str()));
        assert!(self.bookings.iter().all(|b| b.id != id), "an id twice");
        let expires_at = reply.str("expires_at").to_owned();
        self.bookings.push(Booking { id, user, show, seats, status: "pending", expires_at });
    }

    fn total(&self, show: usize, seats: &BTreeSet<usize>) -> i64 {
        self.shows[show].price * i64::try_from(seats.len()).unwrap()
    }

    fn end_booking(&mut self, deed: &str) {
        if self.bookings.is_empty() {
            return;
        }
        let number = self.random.random_range(0..self.bookings.len());
        let user = if self.chance(85) { self.bookings[number].user } else { self.any_user() };
        let booking = &self.bookings[number];
        let before_key = if self.users[user].deleted {
            Refused(404, "user_not_found")
        } else if booking.user != user {
            Refused(403, "not_your_booking")
        } else {
            Done(200)
        };
        let due = match (deed, booking.status) {
            ("confirm", "cancelled") => Refused(409, "booking_cancelled"),
            ("cancel", "confirmed") => Refused(409, "already_confirmed"),
            (_, _) => Done(200),
        };
        let path = format!("/api/bookings/{}/{deed}", booking.id);
        let body = json!({"user_id": self.users[user].id});
        if let Some(reply) = self.post(&path, &body, before_key, due) {
            self.bookings[number].status =
                if deed == "confirm" { "confirmed" } else { "cancelled" };
            self.check_booking(&reply.json, number);
        }
    }

    #[track_caller]
    fn check_booking(&self, answer: &Value, number: usize) {
        let booking = &self.bookings[number];
        let tickets: Vec<&String> =
            booking.seats.iter().map(|seat| &self.shows[booking.show].tickets[*seat]).collect();
        for (member, due) in [
            ("id", json!(booking.id)),
            ("user_id", json!(self.users[booking.user].id)),
            ("event_id", json!(self.shows[booking.show].id)),
            ("ticket_ids", json!(tickets)),
            ("status", json!(booking.status)),
            ("expires_at", json!(booking.expires_at)),
        ] {
            assert_eq!(answer[member], due, "{member} of {answer}");
        }
        let total = self.total(booking.show, &booking.seats);
        assert_eq!(minor_units(&answer["total_amount"]), total, "{answer}");
    }

    /// Everything that can be read is as the model has it.
    fn check_all(&self) {
        for (number, user) in self.users.iter().enumerate() {
            let reply = self.server.get(&format!("/api/users/{}", user.id));
            let list = self.server.get(&format!("/api/users/{}/bookings", user.id));
            if user.deleted {
                reply.expect_refusal(404, "user_not_found");
                list.expect_refusal(404, "user_not_found");
                continue;
            }
            let reply = reply.expect(200);
            assert_eq!((reply.str("email"), reply.str("name")), (&*user.email, &*user.name));
            let own = (0..self.bookings.len()).rev().filter(|b| self.bookings[*b].user == number);
            let own: Vec<usize> = own.collect();
            let list = list.expect(200);
            assert_eq!(list.array().len(), own.len(), "{}", list.text);
            list.array().iter().zip(own).for_each(|(entry, b)| self.check_booking(entry, b));
        }
        for number in 0..self.bookings.len() {
            let id = &self.bookings[number].id;
            self.check_booking(&self.server.booking(id).expect(200).json, number);
        }
        for (number, show) in self.shows.iter().enumerate() {
            self.check_show(number, show);
        }
    }

    fn check_show(&self, number: usize, show: &Show) {
        let status = |seat| match self.holder(number, seat).map(|booking| booking.status) {
            None => "available",
            Some("confirmed") => "sold",
            Some(_) => "reserved",
        };
        let due: Vec<&str> = (0..SEATS).map(status).collect();
        let listed = self.server.tickets(&show.id);
        let listed: Vec<&str> = listed.iter().filter_map(|t| t["status"].as_str()).collect();
        assert_eq!(listed, due, "the tickets of show {number}");
        let event = self.server.event(&show.id).expect(200).json;
        for status in ["available", "reserved", "sold"] {
            let count = due.iter().filter(|due| **due == status).count();
            assert_eq!(event[status], count, "{status} of {event}");
        }
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..8 => self.create_user(),
            8..12 => self.change_user(),
            12..16 => self.delete_user(),
            16..60 => self.hold(),
            60..75 => self.end_booking("confirm"),
            _ => self.end_booking("cancel"),
        }
    }
}

#[test]
fn the_server_and_the_model_agree() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut model = Model::new(seed);
    while model.users.len() < 4 {
        model.create_user();
    }
    for step in 1..=STEPS {
        model.step();
        if step % SHOW_EVERY == 0 {
            let show = model.server.create_show_at(SEATS, 1_000 + step as i64);
            model.shows.push(show);
        }
        if step % CRASH_EVERY == 0 {
            model.check_all();
            let stats = model.server.settled_stats();
            assert_eq!(stats["total_requests"], model.requests, "{stats}");
            model.requests = 0;
            model.server.kill9();
            model.server.restart();
            model.check_all();
        }
    }
    assert!(model.bookings.len() > 50, "hardly anything was booked");
    assert!(model.keys.len() > 20, "hardly any key was used");
}
