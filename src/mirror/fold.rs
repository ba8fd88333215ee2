//! Facts folded into what changes in the tables.
//!
//! **Invariant:** a batch is the difference between the tables before its first record and after its
//! last one, each row at most once: several facts of one booking, ticket or user collapse into the
//! row that they leave. So a batch of any length gives the same rows as its records one by one.
//!
//! A record names users, events and bookings by number, the tables by id. [`Known`] translates; it is
//! read from the tables when a session begins and grows with the log. After any error it may be ahead
//! of the tables, and is thrown away with its session.
//!
//! Nothing here knows of PostgreSQL's connection or of time.

use std::collections::{BTreeMap, HashMap};

use wal::Lsn;

use super::rows::{BookingRow, EventRow, TicketState, UserRow};
use crate::domain::{
    BookingId, BookingStatus, Currency, EventCreated, EventId, EventNumber, Fact, Held, RowNumber,
    SlotIndex, TicketKey, TicketStatus, Timestamp, Transition, UserCreated, UserId, UserNumber,
};

/// Where a booking is: its event and its row there.
pub(super) type Place = (EventNumber, RowNumber);

/// What is known of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownEvent {
    pub(super) id: EventId,
    pub(super) ticket_key: TicketKey,
    pub(super) currency: Currency,
}

/// A pending booking: what its end will need.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: BookingId,
    pub(super) slots: Box<[SlotIndex]>,
}

/// What the numbers in records stand for, at some position of the log.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) users: HashMap<UserNumber, UserId>,
    pub(super) events: HashMap<EventNumber, KnownEvent>,
    pub(super) pending: HashMap<Place, Pending>,
}

/// New values of a user that was there before the batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct UserChange {
    /// Address, name, and when they were set.
    pub(super) profile: Option<(Box<str>, Box<str>, Timestamp)>,
    pub(super) deleted_at: Option<Timestamp>,
}

/// The end of a booking that was there before the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) id: BookingId,
    pub(super) status: BookingStatus,
    pub(super) at: Timestamp,
}

/// A fact that does not fit those before it, or the rows that they left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unfit(pub(super) &'static str);

/// What some records change.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: u64,
    /// Of their payloads.
    pub(super) bytes: u64,
    /// Of new events.
    pub(super) seats: u64,
    /// The time of the first record.
    pub(super) oldest: Option<Timestamp>,
    /// The end of the last record.
    pub(super) end: Lsn,
    /// The salt of its segment.
    pub(super) salt: Option<u64>,
    pub(super) new_users: BTreeMap<UserNumber, UserRow>,
    pub(super) users: BTreeMap<UserNumber, UserChange>,
    pub(super) new_events: BTreeMap<EventNumber, EventRow>,
    pub(super) new_bookings: BTreeMap<Place, BookingRow>,
    pub(super) endings: BTreeMap<Place, Ending>,
    /// Tickets of new events among them.
    pub(super) tickets: BTreeMap<(EventNumber, SlotIndex), TicketState>,
    /// The ids of the bookings that `tickets` names.
    pub(super) holders: HashMap<Place, BookingId>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub(super) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Notes a record that ends at `end`; its fact follows, if it has one.
    pub(super) fn note(&mut self, end: Lsn, payload_bytes: usize) {
        self.records += 1;
        self.bytes += payload_bytes as u64;
        self.end = end;
    }

    /// Folds the fact of a record.
    pub(super) fn fold(&mut self, known: &mut Known, fact: &Fact<'_>) -> Result<(), Unfit> {
        self.oldest.get_or_insert(fact.at());
        match fact {
            Fact::UserCreated(fact) => self.user_created(known, fact),
            Fact::UserUpdated(fact) => {
                let profile = (fact.email.into(), fact.name.into(), fact.at);
                self.user_changed(known, fact.user, Some(profile), None)
            }
            Fact::UserDeleted(fact) => self.user_changed(known, fact.user, None, Some(fact.at)),
            Fact::EventCreated(fact) => self.event_created(known, fact),
            Fact::Held(fact) => self.held(known, fact),
            Fact::Confirmed(fact) => self.ended(known, fact, BookingStatus::Confirmed),
            Fact::Cancelled(fact) => self.ended(known, fact, BookingStatus::Cancelled),
            Fact::Expired(fact) => self.ended(known, fact, BookingStatus::Expired),
            // Idempotency keys are the server's own affair.
            Fact::KeyBound(_) => Ok(()),
        }
    }

    fn user_created(&mut self, known: &mut Known, fact: &UserCreated<'_>) -> Result<(), Unfit> {
        let number = fact.user.number;
        if known.users.insert(number, fact.user).is_some() {
            return Err(Unfit("a user that is there already"));
        }
        let row = UserRow {
            id: fact.user,
            email: fact.email.into(),
            name: fact.name.into(),
            created_at: fact.at,
            updated_at: fact.at,
            deleted_at: None,
        };
        self.new_users.insert(number, row);
        Ok(())
    }

    fn user_changed(
        &mut self,
        known: &Known,
        number: UserNumber,
        profile: Option<(Box<str>, Box<str>, Timestamp)>,
        deleted_at: Option<Timestamp>,
    ) -> Result<(), Unfit> {
        if !known.users.contains_key(&number) {
            return Err(Unfit("a user who is not there"));
        }
        if let Some(row) = self.new_users.get_mut(&number) {
            if let Some((email, name, at)) = profile {
                (row.email, row.name, row.updated_at) = (email, name, at);
            }
            row.deleted_at = deleted_at.or(row.deleted_at);
            return Ok(());
        }
        let change = self.users.entry(number).or_default();
        change.profile = profile.or(change.profile.take());
        change.deleted_at = deleted_at.or(change.deleted_at);
        Ok(())
    }

    fn event_created(&mut self, known: &mut Known, fact: &EventCreated<'_>) -> Result<(), Unfit> {
        let (number, ticket_key, currency) = (fact.event.number, fact.ticket_key, fact.currency);
        let event = KnownEvent { id: fact.event, ticket_key, currency };
        if known.events.insert(number, event).is_some() {
            return Err(Unfit("an event that is there already"));
        }
        self.seats += u64::from(fact.total_seats);
        let row = EventRow {
            id: fact.event,
            ticket_key,
            name: fact.name.into(),
            artist: fact.artist.into(),
            venue: fact.venue.into(),
            date: fact.date.into(),
            total_seats: fact.total_seats,
            price: fact.price,
            currency,
            created_at: fact.at,
        };
        self.new_events.insert(number, row);
        Ok(())
    }

    fn held(&mut self, known: &mut Known, fact: &Held<'_>) -> Result<(), Unfit> {
        let event = known.events.get(&fact.event).ok_or(Unfit("an event that is not there"))?;
        let user = known.users.get(&fact.user).ok_or(Unfit("a user who is not there"))?;
        let place = (fact.event, fact.row);
        let id = BookingId { event: fact.event, row: fact.row, tag: fact.tag };
        let slots: Box<[SlotIndex]> = fact.tickets.as_ref().into();
        let row = BookingRow {
            id,
            user: *user,
            event: event.id,
            ticket_key: event.ticket_key,
            slots: slots.clone(),
            status: BookingStatus::Pending,
            total: fact.total,
            currency: event.currency,
            created_at: fact.at,
            updated_at: fact.at,
            expires_at: fact.deadline,
        };
        let state = TicketState {
            status: TicketStatus::Reserved,
            holder: Some(fact.row),
            updated_at: fact.at,
        };
        self.holders.insert(place, id);
        self.set_tickets(fact.event, &slots, state);
        if known.pending.insert(place, Pending { id, slots }).is_some() {
            return Err(Unfit("a booking that is there already"));
        }
        self.new_bookings.insert(place, row);
        Ok(())
    }

    fn ended(
        &mut self,
        known: &mut Known,
        fact: &Transition<'_>,
        status: BookingStatus,
    ) -> Result<(), Unfit> {
        let place = (fact.event, fact.row);
        let pending =
            known.pending.remove(&place).ok_or(Unfit("the end of what is not pending"))?;
        let (ticket, holder) = match status {
            BookingStatus::Pending => (TicketStatus::Reserved, Some(fact.row)),
            BookingStatus::Confirmed => (TicketStatus::Sold, Some(fact.row)),
            BookingStatus::Cancelled | BookingStatus::Expired => (TicketStatus::Available, None),
        };
        let state = TicketState { status: ticket, holder, updated_at: fact.at };
        self.holders.insert(place, pending.id);
        self.set_tickets(fact.event, &pending.slots, state);
        if let Some(row) = self.new_bookings.get_mut(&place) {
            (row.status, row.updated_at) = (status, fact.at);
        } else {
            self.endings.insert(place, Ending { id: pending.id, status, at: fact.at });
        }
        Ok(())
    }

    fn set_tickets(&mut self, event: EventNumber, slots: &[SlotIndex], state: TicketState) {
        for &slot in slots {
            self.tickets.insert((event, slot), state);
        }
    }

    /// The id of the live booking that has a ticket.
    pub(super) fn holder(&self, event: EventNumber, state: TicketState) -> Option<BookingId> {
        self.holders.get(&(event, state.holder?)).copied()
    }
}

#[cfg(test)]
mod tests;
