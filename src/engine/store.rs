//! What the engine keeps in memory, and the hash of it.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use super::catalog::Event;
use super::idempotency::Keys;
use super::row::{Row, Word};
use super::table::Table;
use super::users::{User, Users};
use crate::domain::{EVENTS_MAX, EventNumber, RowNumber};
use crate::sync::AtomicU64;

/// Users, events with their bookings, and idempotency keys.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) users: Users,
    pub(super) events: Table<Event>,
    pub(super) keys: Keys,
    /// Tickets of all events, kept under their common bound.
    pub(super) tickets: AtomicU64,
    /// Bookings of all events, kept under their common bound: dead ones stay, and so do those that
    /// lost a race for their tickets.
    pub(super) bookings: AtomicU64,
}

impl Store {
    pub(super) fn new(keys_max: usize) -> Self {
        Self {
            users: Users::new(),
            events: Table::new(EVENTS_MAX),
            keys: Keys::new(keys_max),
            tickets: AtomicU64::new(0),
            bookings: AtomicU64::new(0),
        }
    }

    /// A hash of all users, events and bookings. Each entry is hashed by itself (SipHash-2-4 of 128
    /// bits, fixed key) and the hashes are added up, so that no order matters. Idempotency keys
    /// are left out, since they are forgotten by the clock.
    pub(super) fn hash(&self) -> u128 {
        let users = self.users.table.iter().map(|(_, user)| hash_user(user));
        let events = self.events.iter().map(|(_, event)| hash_event(event));
        let rows = self.events.iter().flat_map(|(_, event)| {
            let number = event.id.number;
            event.seats.rows().filter_map(move |(row_number, row)| {
                let word = row.word();
                word.status().map(|_| hash_row(number, row_number, row, word))
            })
        });
        users.chain(events).chain(rows).fold(0, u128::wrapping_add)
    }

    /// Tickets under a hold.
    pub(super) fn reserved(&self) -> u64 {
        self.events.iter().map(|(_, event)| u64::from(event.seats.tally().read().reserved)).sum()
    }
}

/// Collects the fields of one entry; each field is preceded by its length, so that no two entries
/// run into the same bytes.
struct EntryHash(SipHasher24);

impl EntryHash {
    fn new(kind: u8) -> Self {
        let mut hasher = SipHasher24::new();
        hasher.write(&[kind]);
        Self(hasher)
    }

    fn field(mut self, bytes: &[u8]) -> Self {
        self.0.write(&(bytes.len() as u64).to_le_bytes());
        self.0.write(bytes);
        self
    }

    fn number(self, number: u64) -> Self {
        self.field(&number.to_le_bytes())
    }

    fn finish(self) -> u128 {
        self.0.finish128().as_u128()
    }
}

fn hash_user(user: &User) -> u128 {
    let profile = user.profile();
    EntryHash::new(1)
        .number(user.id.number.get().into())
        .number(user.id.tag.get())
        .number(user.created_at.millis())
        .number(profile.updated_at.millis())
        .number(user.is_deleted().into())
        .field(profile.email.as_str().as_bytes())
        .field(profile.name.as_str().as_bytes())
        .finish()
}

fn hash_event(event: &Event) -> u128 {
    let details = &event.details;
    EntryHash::new(2)
        .number(event.id.number.get().into())
        .number(event.id.tag.get())
        .field(&event.ticket_key.reveal().to_le_bytes())
        .number(event.created_at.millis())
        .number(details.total_seats.into())
        .field(&details.price.minor().to_le_bytes())
        .field(details.currency.code().as_bytes())
        .field(details.name.as_str().as_bytes())
        .field(details.artist.as_str().as_bytes())
        .field(details.venue.as_str().as_bytes())
        .field(details.date.as_bytes())
        .finish()
}

fn hash_row(event: EventNumber, number: RowNumber, row: &Row, word: Word) -> u128 {
    let terms = &row.terms;
    let entry = EntryHash::new(3)
        .number(event.get().into())
        .number(number.get().into())
        .number(word.to_bits())
        .number(terms.tag.get())
        .number(terms.user.get().into())
        .field(&terms.total.minor().to_le_bytes())
        .number(terms.created_at.millis())
        .number(terms.deadline().millis());
    let slots = terms.slots.as_slice().iter();
    slots.fold(entry, |entry, slot| entry.number(slot.get().into())).finish()
}
