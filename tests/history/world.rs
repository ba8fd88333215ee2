//! What all clients know: users, the events on sale, and bookings that somebody has made.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use booking_manager::domain::{BookingId, EventId, EventNumber, PublicId, UserId, UserNumber};
use uuid::Uuid;

use super::harness::Client;
use super::history::KeyNumber;

/// How many bookings of an event are remembered for those who did not make them.
const KNOWN_MAX: usize = 64;

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) number: UserNumber,
    /// The id as it is sent.
    pub(crate) id: String,
}

/// An event on sale.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) event: EventNumber,
    pub(crate) id: String,
    /// The tickets' ids as they are sent, in seat order.
    pub(crate) tickets: Vec<String>,
    /// How many tickets clients were told that they have bought.
    sold: AtomicUsize,
    known: Mutex<VecDeque<(BookingId, UserNumber)>>,
}

/// What all clients know.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) users: Vec<User>,
    /// The events that the crowd fights for, and last one that only few do.
    shows: RwLock<Vec<Arc<Show>>>,
    keys: AtomicU64,
    /// How many operations were recorded, by all clients.
    pub(crate) recorded: AtomicU64,
    /// Set when the clients are to stop.
    pub(crate) stop: AtomicBool,
}

impl Show {
    pub(crate) fn create(client: &Client, seats: usize) -> Arc<Self> {
        let show = client.create_show(seats);
        let id = EventId::from_public(public(&show.id)).expect("an event's id");
        Arc::new(Self {
            event: id.number,
            id: show.id,
            tickets: show.tickets,
            sold: AtomicUsize::new(0),
            known: Mutex::default(),
        })
    }

    pub(crate) fn note_sold(&self, tickets: usize) {
        self.sold.fetch_add(tickets, Ordering::Relaxed);
    }

    /// Whether there is little left to fight for.
    pub(crate) fn is_sold_out(&self) -> bool {
        self.sold.load(Ordering::Relaxed) * 2 > self.tickets.len()
    }

    pub(crate) fn note_booking(&self, booking: BookingId, user: UserNumber) {
        let mut known = self.known.lock().expect("no client fails while it holds this");
        known.push_back((booking, user));
        if known.len() > KNOWN_MAX {
            known.pop_front();
        }
    }

    /// A booking that somebody has made not long ago; `draw` says which.
    pub(crate) fn known_booking(&self, draw: usize) -> Option<(BookingId, UserNumber)> {
        let known = self.known.lock().expect("no client fails while it holds this");
        known.get(draw % known.len().max(1)).copied()
    }
}

impl World {
    pub(crate) fn create(client: &Client, users: usize) -> Self {
        let user = |id: String| {
            let number = UserId::from_public(public(&id)).expect("a user's id").number;
            User { number, id }
        };
        Self {
            users: client.create_users(users).into_iter().map(user).collect(),
            shows: RwLock::default(),
            keys: AtomicU64::new(1),
            recorded: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn shows(&self) -> Vec<Arc<Show>> {
        self.shows.read().expect("nobody fails while holding this").clone()
    }

    pub(crate) fn set_shows(&self, shows: Vec<Arc<Show>>) {
        *self.shows.write().expect("nobody fails while holding this") = shows;
    }

    pub(crate) fn new_key(&self) -> KeyNumber {
        KeyNumber(self.keys.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn user(&self, number: UserNumber) -> &User {
        let user = self.users.iter().find(|user| user.number == number);
        user.expect("all users are created before anybody books")
    }
}

fn public(text: &str) -> PublicId {
    PublicId(Uuid::parse_str(text).expect("ids are UUIDs").as_u128())
}
