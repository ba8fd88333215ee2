//! The engine's tables, made from an image of the log.
//!
//! The image has checked every record (or every entry of a snapshot) against the rules, so that
//! nothing here can fail; an entry that cannot be placed is a broken invariant and stops the
//! process. One thread does this, before any other knows the tables.

use std::sync::Arc;

use super::catalog::Event;
use super::row::{Link, Row, State, Terms, Word};
use super::store::Store;
use super::user::{Profile, User};
use crate::domain::BookingStatus;
use crate::image::{self, Image, Parts};
use crate::sync::Ordering;

impl Store {
    /// The tables that say what `image` says, which keep at most `keys_max` idempotency keys.
    pub(super) fn restored(image: Image, keys_max: usize) -> Self {
        let store = Self::new(keys_max);
        store.tickets.store(image.tickets(), Ordering::Relaxed);
        store.bookings.store(image.bookings(), Ordering::Relaxed);
        let Parts { users, events, keys } = image.into_parts();
        users.for_each(|user| store.restore_user(user));
        events.for_each(|event| store.restore_event(event));
        for (key, entry) in keys {
            store.keys.restore(&key, entry.fingerprint, entry.subject, entry.at);
        }
        store
    }

    fn restore_user(&self, user: image::User) {
        let number = user.id.number;
        if user.deleted_at.is_none() {
            self.users.emails().give(&user.email, number);
        }
        let profile = Profile { email: user.email, name: user.name, updated_at: user.updated_at };
        let deleted = user.deleted_at.is_some();
        let restored =
            User::restored(user.id, user.created_at, Arc::new(profile), link(user.newest), deleted);
        self.users.table.set(number.get(), restored).expect("an image has a user number once");
    }

    fn restore_event(&self, event: image::Event) {
        let number = event.id.number;
        let restored =
            Event::new(event.id, event.ticket_key, event.details.clone(), event.created_at);
        let (takers, bookings) = event.into_parts();
        for (row, booking) in bookings {
            restored.seats.restore(row, restored_row(booking));
        }
        restored.seats.restore_takers(&takers);
        self.events.set(number.get(), restored).expect("an image has an event number once");
    }
}

fn restored_row(booking: image::Booking) -> Row {
    let deadline = booking.deadline();
    let terms = Terms {
        tag: booking.tag,
        user: booking.user,
        slots: booking.slots,
        total: booking.total,
        created_at: booking.created_at,
        ttl_millis: booking.ttl_millis,
        stamp: None,
    };
    let word = match booking.status {
        BookingStatus::Pending => Word::new(State::Pending, deadline),
        BookingStatus::Confirmed => Word::new(State::Confirmed, booking.changed_at),
        BookingStatus::Cancelled => Word::new(State::Cancelled, booking.changed_at),
        BookingStatus::Expired => Word::new(State::Expired, booking.changed_at),
    };
    let row = Row::restored(terms, word);
    row.note_lsn(booking.made_at);
    row.set_earlier(link(booking.earlier));
    row
}

fn link(place: Option<image::BookingPlace>) -> Link {
    Link(place.map(|image::BookingPlace { event, row }| (event, row)))
}
