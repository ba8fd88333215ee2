//! What the engine keeps in memory, and the hash of it.

use super::catalog::Event;
use super::idempotency::Keys;
use super::row::Row;
use super::table::Table;
use super::users::Users;
use crate::domain::{BookingStatus, EVENTS_MAX, EventNumber, RowNumber};
use crate::image::StateHash;
use crate::image::hash::{BookingEntry, UserEntry};
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

    /// A hash of all users, events and bookings.
    pub(super) fn hash(&self) -> StateHash {
        let mut hash = StateHash::default();
        for (_, user) in self.users.table.iter() {
            let profile = user.profile();
            hash.add_user(&UserEntry {
                id: user.id,
                email: profile.email.as_str(),
                name: profile.name.as_str(),
                created_at: user.created_at,
                updated_at: profile.updated_at,
                deleted: user.is_deleted(),
            });
        }
        for (_, event) in self.events.iter() {
            hash.add_event(event.id, event.ticket_key, event.created_at, &event.details);
            for (number, row) in event.seats.rows() {
                if let Some(entry) = booking_entry(event.id.number, number, row) {
                    hash.add_booking(&entry);
                }
            }
        }
        hash
    }

    /// Tickets under a hold.
    pub(super) fn reserved(&self) -> u64 {
        self.events.iter().map(|(_, event)| u64::from(event.seats.tally().read().reserved)).sum()
    }
}

/// What is hashed of a row, if it is a booking.
fn booking_entry(event: EventNumber, number: RowNumber, row: &Row) -> Option<BookingEntry<'_>> {
    let (word, terms) = (row.word(), &row.terms);
    let status = word.status()?;
    let pending = status == BookingStatus::Pending;
    Some(BookingEntry {
        event,
        row: number,
        tag: terms.tag,
        user: terms.user,
        status,
        changed_at: if pending { terms.created_at } else { word.time() },
        total: terms.total,
        created_at: terms.created_at,
        deadline: terms.deadline(),
        slots: terms.slots.as_slice(),
    })
}
