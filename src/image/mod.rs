//! The state that a log makes: users, events, tickets, bookings and idempotency keys, folded from
//! records one at a time by a single thread.
//!
//! **Invariants.** An image is a pure function of the records applied to it, in their order; no
//! clock is consulted, times are those of the records. Each record must be legal given those before
//! it: a ticket's holders alternate, a total is the sum of its prices, what ends was pending. One
//! that is not means a damaged log or a broken program, and is refused.
//!
//! This is the only place that knows how records make state. Recovery folds the log into an image
//! and makes the engine's tables from it; a checkpoint folds the log in the background and writes
//! the image to a [`snapshot`]; the command line audits a log by folding it; the mirror is compared
//! with it. What an image is made of is in [`entries`], its hash in [`hash`].
//!
//! This module knows nothing of threads, of requests or of how a log is read.

pub mod entries;
pub mod hash;
mod pages;
pub mod snapshot;

use std::collections::HashMap;
use std::ops::ControlFlow;

pub use entries::{Booking, BookingPlace, Event, KeyEntry, Ticket, User};
pub use hash::StateHash;
use pages::Pages;

use crate::codec::{self, CodecError};
use crate::domain::{
    BookingStatus, Email, EventCreated, EventDetails, EventNumber, Fact, Held, KEY_RETENTION,
    KeyBound, PersonName, RequestStamp, RowNumber, SlotIndex, Slots, Subject, TICKETS_MAX,
    TICKETS_PER_BOOKING_MAX, Timestamp, Title, Transition, USERS_MAX, UserCreated, UserDeleted,
    UserNumber, UserUpdated,
};

/// Why a record could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The payload is not a fact.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The fact contradicts those before it.
    #[error("a record that cannot follow those before it: {0}")]
    Illegal(&'static str),
}

use ReplayError::Illegal;

/// After how many entries of a snapshot it is asked whether to stop.
const ENTRIES_PER_LOOK: u32 = 4_096;
/// After how many records idempotency keys whose time is over are looked for.
const RECORDS_PER_PURGE: u64 = 1 << 20;

/// The state after some records.
#[derive(Clone, Debug, Default)]
pub struct Image {
    users: Pages<User>,
    events: Pages<Event>,
    emails: HashMap<Box<str>, UserNumber>,
    keys: HashMap<Box<str>, KeyEntry>,
    tickets: u64,
    bookings: u64,
    newest: Timestamp,
    records: u64,
}

impl Image {
    /// The state before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one record. After an error the image is of no use.
    ///
    /// # Errors
    ///
    /// The record is none that the program knows, or contradicts those before it.
    pub fn apply(&mut self, record: &wal::Record<'_>) -> Result<(), ReplayError> {
        self.records += 1;
        match codec::decode_record(record)? {
            Some(fact) => self.apply_fact(&fact, record.lsn),
            None => Ok(()),
        }
    }

    /// Applies a fact whose record stands at `lsn`, without counting a record.
    ///
    /// # Errors
    ///
    /// The fact contradicts those before it.
    pub fn apply_fact(&mut self, fact: &Fact<'_>, lsn: wal::Lsn) -> Result<(), ReplayError> {
        self.newest = self.newest.max(fact.at());
        if self.records.is_multiple_of(RECORDS_PER_PURGE) {
            self.purge_keys();
        }
        match fact {
            Fact::UserCreated(fact) => self.user_created(fact),
            Fact::UserUpdated(fact) => self.user_updated(fact),
            Fact::UserDeleted(fact) => self.user_deleted(fact),
            Fact::EventCreated(fact) => self.event_created(fact),
            Fact::Held(fact) => self.held(fact, lsn),
            Fact::Confirmed(fact) => self.ended(fact, BookingStatus::Confirmed),
            Fact::Cancelled(fact) => self.ended(fact, BookingStatus::Cancelled),
            Fact::Expired(fact) => self.ended(fact, BookingStatus::Expired),
            Fact::KeyBound(fact) => self.key_bound(fact),
        }
    }

    /// How many records were applied in the log's whole life.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The newest time in any record.
    pub const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Tickets of all events.
    pub const fn tickets(&self) -> u64 {
        self.tickets
    }

    /// Bookings ever made.
    pub const fn bookings(&self) -> u64 {
        self.bookings
    }

    /// All users, deleted ones included, in the order of their numbers.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().map(|(_, user)| user)
    }

    /// A user, perhaps deleted.
    pub fn user(&self, number: UserNumber) -> Option<&User> {
        self.users.get(number.get())
    }

    /// All events in the order of their numbers.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|(_, event)| event)
    }

    /// An event.
    pub fn event(&self, number: EventNumber) -> Option<&Event> {
        self.events.get(number.get())
    }

    /// The idempotency keys that stand for something, in no order. Some may have had their time.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &KeyEntry)> {
        self.keys.iter().map(|(key, entry)| (&**key, entry))
    }

    /// A hash of all users, events and bookings.
    pub fn hash(&self) -> StateHash {
        let mut hash = StateHash::default();
        for user in self.users() {
            hash.add_user(&user.hashed());
        }
        for event in self.events() {
            hash.add_event(event.id, event.ticket_key, event.created_at, &event.details);
            for (row, booking) in event.bookings() {
                hash.add_booking(&booking.hashed(event.id.number, row));
            }
        }
        hash
    }

    /// Gives everything away, each part freed as it is gone through.
    pub fn into_parts(self) -> Parts<impl Iterator<Item = User>, impl Iterator<Item = Event>> {
        Parts {
            users: self.users.into_iter().map(|(_, user)| user),
            events: self.events.into_iter().map(|(_, event)| event),
            keys: self.keys,
        }
    }

    /// Forgets idempotency keys whose time was over at the newest time in the log.
    pub(crate) fn purge_keys(&mut self) {
        let newest = self.newest;
        self.keys.retain(|_, entry| entry.at + KEY_RETENTION > newest);
    }

    /// Checks how the entries of a snapshot refer to each other, and counts what follows from it;
    /// breaks off when `stop` says so.
    fn complete(&mut self, stop: impl Fn() -> bool) -> Result<ControlFlow<()>, ReplayError> {
        let mut entries = 0_u32;
        let mut stopped = || {
            entries = entries.wrapping_add(1);
            entries.is_multiple_of(ENTRIES_PER_LOOK) && stop()
        };
        for (_, event) in self.events.iter() {
            for (row, booking) in event.bookings() {
                if stopped() {
                    return Ok(ControlFlow::Break(()));
                }
                let user = self.users.get_mut(booking.user.get());
                let user = user.ok_or(Illegal("a booking of a user who is not there"))?;
                user.live += u32::from(booking.is_live());
                if user.live > 0 && user.deleted_at.is_some() {
                    return Err(Illegal("a live booking of a deleted user"));
                }
                event.check_held(row, booking)?;
            }
        }
        let mut listed = 0;
        for user in self.users() {
            if stopped() {
                return Ok(ControlFlow::Break(()));
            }
            listed += self.check_list(user)?;
        }
        if listed != self.bookings {
            return Err(Illegal("a booking that is in no user's list"));
        }
        self.keys().try_for_each(|(_, entry)| self.check_subject(entry.subject))?;
        Ok(ControlFlow::Continue(()))
    }

    /// How many bookings a user's list has. It goes back in the log, so that it comes to an end.
    fn check_list(&self, user: &User) -> Result<u64, ReplayError> {
        let (mut listed, mut next, mut below) = (0, user.newest, u64::MAX);
        while let Some(BookingPlace { event, row }) = next {
            let event = self.event(event).ok_or(NO_EVENT)?;
            let booking = event.booking(row).ok_or(NO_BOOKING)?;
            if booking.user != user.id.number || booking.made_at.get() >= below {
                return Err(Illegal("a list of bookings that is not its user's, newest first"));
            }
            (listed, next, below) = (listed + 1, booking.earlier, booking.made_at.get());
        }
        Ok(listed)
    }

    fn bind(&mut self, stamp: Option<RequestStamp<'_>>, subject: Subject, at: Timestamp) {
        if let Some(RequestStamp { key, fingerprint }) = stamp {
            self.keys.insert(key.into(), KeyEntry { fingerprint, subject, at });
        }
    }

    fn user_created(&mut self, fact: &UserCreated<'_>) -> Result<(), ReplayError> {
        let (email, name) = (email_in(fact.email)?, name_in(fact.name)?);
        let number = fact.user.number;
        if number.get() >= USERS_MAX {
            return Err(Illegal("a user number beyond the bound"));
        }
        if self.emails.insert(email.key(), number).is_some() {
            return Err(Illegal("a second user with one e-mail address"));
        }
        let user = User {
            id: fact.user,
            email,
            name,
            created_at: fact.at,
            updated_at: fact.at,
            deleted_at: None,
            newest: None,
            live: 0,
        };
        if !self.users.set(number.get(), user) {
            return Err(Illegal("a user number used twice"));
        }
        self.bind(fact.stamp, Subject::UserCreated(number), fact.at);
        Ok(())
    }

    fn user_updated(&mut self, fact: &UserUpdated<'_>) -> Result<(), ReplayError> {
        let (email, name) = (email_in(fact.email)?, name_in(fact.name)?);
        let user = living(&mut self.users, fact.user)?;
        self.emails.remove(&user.email.key());
        if self.emails.insert(email.key(), fact.user).is_some() {
            return Err(Illegal("a second user with one e-mail address"));
        }
        (user.email, user.name, user.updated_at) = (email, name, fact.at);
        Ok(())
    }

    fn user_deleted(&mut self, fact: &UserDeleted) -> Result<(), ReplayError> {
        let user = living(&mut self.users, fact.user)?;
        if user.live > 0 {
            return Err(Illegal("the deletion of a user who has a live booking"));
        }
        user.deleted_at = Some(fact.at);
        self.emails.remove(&user.email.key());
        Ok(())
    }

    fn event_created(&mut self, fact: &EventCreated<'_>) -> Result<(), ReplayError> {
        let details = EventDetails {
            name: title_in(fact.name)?,
            artist: title_in(fact.artist)?,
            venue: title_in(fact.venue)?,
            date: fact.date.into(),
            total_seats: fact.total_seats,
            price: fact.price,
            currency: fact.currency,
        };
        self.tickets += u64::from(fact.total_seats);
        if self.tickets > TICKETS_MAX {
            return Err(Illegal("more tickets than the bound"));
        }
        let number = fact.event.number;
        let event = Event::new(fact.event, fact.ticket_key, details, fact.at);
        if !self.events.set(number.get(), event) {
            return Err(Illegal("an event number used twice"));
        }
        self.bind(fact.stamp, Subject::EventCreated(number), fact.at);
        Ok(())
    }

    fn held(&mut self, fact: &Held<'_>, lsn: wal::Lsn) -> Result<(), ReplayError> {
        let event = self.events.get_mut(fact.event.get()).ok_or(NO_EVENT)?;
        let user = living(&mut self.users, fact.user)?;
        let slots: &[SlotIndex] = &fact.tickets;
        check_slots(event, slots)?;
        if event.details.total_of(slots) != Some(fact.total) {
            return Err(Illegal("a booking whose total is not the sum of its prices"));
        }
        let ttl = fact.deadline.millis().checked_sub(fact.at.millis());
        let ttl_millis = ttl
            .and_then(|ttl| u32::try_from(ttl).ok())
            .ok_or(Illegal("a booking whose deadline does not fit its time"))?;
        for &slot in slots {
            let taker = event.last_taker(slot).and_then(|row| event.booking(row));
            if taker.is_some_and(Booking::is_live) {
                return Err(Illegal("a booking of a ticket that is taken"));
            }
        }
        let booking = Booking {
            tag: fact.tag,
            user: fact.user,
            slots: Slots::new(slots),
            total: fact.total,
            created_at: fact.at,
            ttl_millis,
            status: BookingStatus::Pending,
            changed_at: fact.at,
            made_at: lsn,
            earlier: user.newest,
        };
        if !event.bookings.set(fact.row.get() - 1, booking) {
            return Err(Illegal("a row used twice"));
        }
        for &slot in slots {
            event.slots[slot.index()] = fact.row.get();
        }
        event.reserved += seats(slots);
        user.newest = Some(BookingPlace { event: fact.event, row: fact.row });
        user.live += 1;
        self.bookings += 1;
        self.bind(fact.stamp, Subject::Held(fact.event, fact.row), fact.at);
        Ok(())
    }

    fn ended(&mut self, fact: &Transition<'_>, to: BookingStatus) -> Result<(), ReplayError> {
        let event = self.events.get_mut(fact.event.get()).ok_or(NO_EVENT)?;
        let booking = event.booking_mut(fact.row).ok_or(NO_BOOKING)?;
        let lapsed = fact.at >= booking.deadline();
        let expires = to == BookingStatus::Expired;
        if booking.status != BookingStatus::Pending || lapsed != expires {
            return Err(Illegal("the end of a booking that was not pending at that time"));
        }
        (booking.status, booking.changed_at) = (to, fact.at);
        let count = booking.slots.count();
        let (user, live) = (booking.user, booking.is_live());
        event.reserved -= count;
        if live {
            event.sold += count;
        } else if let Some(user) = self.users.get_mut(user.get()) {
            user.live -= 1;
        }
        let subject = match to {
            BookingStatus::Confirmed => Subject::Confirmed(fact.event, fact.row),
            BookingStatus::Cancelled => Subject::Cancelled(fact.event, fact.row),
            BookingStatus::Expired if fact.stamp.is_none() => return Ok(()),
            BookingStatus::Expired | BookingStatus::Pending => {
                return Err(Illegal("an expiry that a client asked for"));
            }
        };
        self.bind(fact.stamp, subject, fact.at);
        Ok(())
    }

    fn key_bound(&mut self, fact: &KeyBound<'_>) -> Result<(), ReplayError> {
        self.check_subject(fact.subject)?;
        self.bind(Some(fact.stamp), fact.subject, fact.at);
        Ok(())
    }

    /// What a key stands for must be there.
    fn check_subject(&self, subject: Subject) -> Result<(), ReplayError> {
        match subject {
            Subject::UserCreated(user) => {
                self.user(user).map(drop).ok_or(Illegal("a user that is not there"))
            }
            Subject::EventCreated(event) => self.event(event).map(drop).ok_or(NO_EVENT),
            Subject::Held(event, row)
            | Subject::HeldAlready(event, row)
            | Subject::Confirmed(event, row)
            | Subject::Cancelled(event, row) => self.check_booking(event, row),
        }
    }

    fn check_booking(&self, event: EventNumber, row: RowNumber) -> Result<(), ReplayError> {
        self.event(event).ok_or(NO_EVENT)?.booking(row).map(drop).ok_or(NO_BOOKING)
    }
}

/// An image taken apart.
#[derive(Debug)]
pub struct Parts<U, E> {
    /// The users in the order of their numbers.
    pub users: U,
    /// The events in the order of theirs.
    pub events: E,
    /// The idempotency keys.
    pub keys: HashMap<Box<str>, KeyEntry>,
}

const NO_EVENT: ReplayError = Illegal("an event that is not there");
const NO_BOOKING: ReplayError = Illegal("a booking that is not there");

fn seats(slots: &[SlotIndex]) -> u32 {
    u32::try_from(slots.len()).expect("bounded by the tickets of one booking")
}

fn check_slots(event: &Event, slots: &[SlotIndex]) -> Result<(), ReplayError> {
    let ascending = slots.windows(2).all(|pair| pair[0] < pair[1]);
    if slots.is_empty() || slots.len() > TICKETS_PER_BOOKING_MAX || !ascending {
        return Err(Illegal("a booking whose tickets are not an ascending list"));
    }
    if slots.last().is_some_and(|last| last.get() >= event.details.total_seats) {
        return Err(Illegal("a booking of a ticket that is not there"));
    }
    Ok(())
}

fn living(users: &mut Pages<User>, number: UserNumber) -> Result<&mut User, ReplayError> {
    let user = users.get_mut(number.get()).filter(|user| user.deleted_at.is_none());
    user.ok_or(Illegal("a user that does not exist"))
}

fn email_in(text: &str) -> Result<Email, ReplayError> {
    Email::parse(text).map_err(|_fault| Illegal("an e-mail address that is not one"))
}

fn name_in(text: &str) -> Result<PersonName, ReplayError> {
    PersonName::parse(text).map_err(|_fault| Illegal("a name that is not one"))
}

fn title_in(text: &str) -> Result<Title, ReplayError> {
    Title::parse(text).map_err(|_fault| Illegal("a title that is not one"))
}
