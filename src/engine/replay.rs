//! Recovery: the state as a pure function of the log.
//!
//! Facts are applied in the order of the log, by one thread, and each must be legal given those
//! before it: one that is not means a damaged log or a broken program, and either way the server
//! must not start. The clock is never consulted; deadlines and times are those of the records.

use std::sync::Arc;

use super::catalog::{Event, TICKETS_MAX};
use super::row::{Link, Row, Slots, State, Terms};
use super::slots::is_live;
use super::store::Store;
use super::users::{Profile, USERS_MAX, User};
use crate::codec::{self, CodecError};
use crate::domain::{
    Email, EventCreated, EventDetails, EventNumber, Fact, Held, KeyBound, PersonName, RequestStamp,
    RowNumber, SlotIndex, Subject, TICKETS_PER_BOOKING_MAX, Timestamp, Title, Transition,
    UserCreated, UserDeleted, UserUpdated,
};
use crate::sync::Ordering;

/// Why a record could not be replayed.
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

/// After how many records replay looks for idempotency keys whose time is over.
const RECORDS_PER_PURGE: u64 = 1 << 20;

/// What replay keeps beside the state itself.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The newest time in the log.
    pub(super) newest: Timestamp,
    records: u64,
}

impl Replay {
    /// Applies one record to the state.
    pub(super) fn apply(
        &mut self,
        store: &Store,
        record: &wal::Record<'_>,
    ) -> Result<(), ReplayError> {
        let Some(fact) = codec::decode_record(record)? else { return Ok(()) };
        self.newest = self.newest.max(fact.at());
        self.records += 1;
        if self.records.is_multiple_of(RECORDS_PER_PURGE) {
            store.keys.purge(self.newest);
        }
        match fact {
            Fact::UserCreated(fact) => store.replay_user_created(&fact),
            Fact::UserUpdated(fact) => store.replay_user_updated(&fact),
            Fact::UserDeleted(fact) => store.replay_user_deleted(fact),
            Fact::EventCreated(fact) => store.replay_event_created(&fact),
            Fact::Held(fact) => store.replay_held(&fact, record.lsn),
            Fact::Confirmed(fact) => store.replay_transition(&fact, State::Confirmed),
            Fact::Cancelled(fact) => store.replay_transition(&fact, State::Cancelled),
            Fact::Expired(fact) => store.replay_transition(&fact, State::Expired),
            Fact::KeyBound(fact) => store.replay_key_bound(fact),
        }
    }
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

impl Store {
    fn replay_user_created(&self, fact: &UserCreated<'_>) -> Result<(), ReplayError> {
        let (email, name) = (email_in(fact.email)?, name_in(fact.name)?);
        let number = fact.user.number;
        if number.get() >= USERS_MAX {
            return Err(Illegal("a user number beyond the bound"));
        }
        if self.users.emails().give(&email, number).is_some() {
            return Err(Illegal("a second user with one e-mail address"));
        }
        let user = User::new(fact.user, fact.at, email, name);
        self.users.table.set(number.get(), user).ok_or(Illegal("a user number used twice"))?;
        self.restore_key(fact.stamp, Subject::UserCreated(number), fact.at);
        Ok(())
    }

    fn replay_user_updated(&self, fact: &UserUpdated<'_>) -> Result<(), ReplayError> {
        let (email, name) = (email_in(fact.email)?, name_in(fact.name)?);
        let user = self.living_user(fact.user.get())?;
        let emails = self.users.emails();
        emails.free(&user.profile().email);
        if emails.give(&email, fact.user).is_some() {
            return Err(Illegal("a second user with one e-mail address"));
        }
        user.set_profile(Arc::new(Profile { email, name, updated_at: fact.at }));
        Ok(())
    }

    fn replay_user_deleted(&self, fact: UserDeleted) -> Result<(), ReplayError> {
        let user = self.living_user(fact.user.get())?;
        let mut link = user.newest();
        while let Link(Some((event, number))) = link {
            let (_, row) = self.replayed_row(event, number)?;
            if is_live(row.word()) {
                return Err(Illegal("the deletion of a user who has a live booking"));
            }
            link = row.earlier();
        }
        self.users.emails().free(&user.profile().email);
        user.replay_delete();
        Ok(())
    }

    fn living_user(&self, number: u32) -> Result<&User, ReplayError> {
        let user = self.users.table.get(number).filter(|user| !user.is_deleted());
        user.ok_or(Illegal("a user that does not exist"))
    }

    fn replay_event_created(&self, fact: &EventCreated<'_>) -> Result<(), ReplayError> {
        let details = EventDetails {
            name: title_in(fact.name)?,
            artist: title_in(fact.artist)?,
            venue: title_in(fact.venue)?,
            date: fact.date.into(),
            total_seats: fact.total_seats,
            price: fact.price,
            currency: fact.currency,
        };
        let seats = u64::from(fact.total_seats);
        if self.tickets.fetch_add(seats, Ordering::Relaxed) + seats > TICKETS_MAX {
            return Err(Illegal("more tickets than the bound"));
        }
        let event = Event::new(fact.event, fact.ticket_key, details, fact.at);
        let number = fact.event.number;
        self.events.set(number.get(), event).ok_or(Illegal("an event number used twice"))?;
        self.restore_key(fact.stamp, Subject::EventCreated(number), fact.at);
        Ok(())
    }

    fn replay_held(&self, fact: &Held<'_>, lsn: wal::Lsn) -> Result<(), ReplayError> {
        let event =
            self.events.get(fact.event.get()).ok_or(Illegal("an event that is not there"))?;
        let user = self.living_user(fact.user.get())?;
        let slots: &[SlotIndex] = &fact.tickets;
        let ascending = slots.windows(2).all(|pair| pair[0] < pair[1]);
        if slots.is_empty() || slots.len() > TICKETS_PER_BOOKING_MAX || !ascending {
            return Err(Illegal("a booking whose tickets are not an ascending list"));
        }
        if slots.last().is_some_and(|last| last.get() >= event.details.total_seats) {
            return Err(Illegal("a booking of a ticket that is not there"));
        }
        if event.total_of(slots) != Some(fact.total) {
            return Err(Illegal("a booking whose total is not the sum of its prices"));
        }
        let ttl = fact.deadline.millis().checked_sub(fact.at.millis());
        let terms = Terms {
            tag: fact.tag,
            user: fact.user,
            slots: Slots::new(slots),
            total: fact.total,
            created_at: fact.at,
            ttl_millis: ttl
                .and_then(|ttl| u32::try_from(ttl).ok())
                .ok_or(Illegal("a booking whose deadline does not fit its time"))?,
            stamp: None,
        };
        let row = event
            .seats
            .replay_hold(fact.row, terms)
            .ok_or(Illegal("a booking of a ticket that is taken, or a row used twice"))?;
        self.bookings.fetch_add(1, Ordering::Relaxed);
        row.note_lsn(lsn);
        user.link(fact.event, fact.row, row);
        self.restore_key(fact.stamp, Subject::Held(fact.event, fact.row), fact.at);
        Ok(())
    }

    fn replayed_row(
        &self,
        event: EventNumber,
        number: RowNumber,
    ) -> Result<(&Event, &Row), ReplayError> {
        let event = self.events.get(event.get()).ok_or(Illegal("an event that is not there"))?;
        let row = event.seats.row(number).ok_or(Illegal("a booking that is not there"))?;
        Ok((event, row))
    }

    fn replay_transition(&self, fact: &Transition<'_>, state: State) -> Result<(), ReplayError> {
        let (event, row) = self.replayed_row(fact.event, fact.row)?;
        if !event.seats.replay_end(row, state, fact.at) {
            return Err(Illegal("the end of a booking that was not pending at that time"));
        }
        let subject = match state {
            State::Confirmed => Subject::Confirmed(fact.event, fact.row),
            State::Cancelled => Subject::Cancelled(fact.event, fact.row),
            State::Expired if fact.stamp.is_none() => return Ok(()),
            State::Expired
            | State::Acquiring
            | State::RefusedConflict
            | State::RefusedNoRoom
            | State::Pending => return Err(Illegal("an expiry that a client asked for")),
        };
        self.restore_key(fact.stamp, subject, fact.at);
        Ok(())
    }

    fn replay_key_bound(&self, fact: KeyBound<'_>) -> Result<(), ReplayError> {
        match fact.subject {
            Subject::UserCreated(user) => {
                self.users.table.get(user.get()).ok_or(Illegal("a user that is not there"))?;
            }
            Subject::EventCreated(event) => {
                self.events.get(event.get()).ok_or(Illegal("an event that is not there"))?;
            }
            Subject::Held(event, row)
            | Subject::HeldAlready(event, row)
            | Subject::Confirmed(event, row)
            | Subject::Cancelled(event, row) => {
                self.replayed_row(event, row)?;
            }
        }
        self.restore_key(Some(fact.stamp), fact.subject, fact.at);
        Ok(())
    }

    fn restore_key(&self, stamp: Option<RequestStamp<'_>>, subject: Subject, at: Timestamp) {
        if let Some(stamp) = stamp {
            self.keys.restore(stamp, subject, at);
        }
    }
}
