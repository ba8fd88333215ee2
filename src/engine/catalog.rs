//! Events and their tickets.
//!
//! An event never changes once it is in the table; what changes is its seats. Its tickets need no
//! memory of their own beyond their slots: an id is made of the event's number, the slot and the
//! tag that the event's secret gives it ([`TicketKey`]), and every other member of a
//! ticket is the event's or follows from the slot.

use std::sync::Arc;

use wal::Urgency;

use super::answer::{Answer, Created, EventView, TicketView};
use super::ledger::{Place, Position};
use super::row::State;
use super::slots::{Seats, Turn};
use super::{Engine, EventCursor, TicketCursor};
use crate::domain::{
    EventCreated, EventDetails, EventId, EventNumber, Fact, PublicId, Refusal, RequestStamp,
    SlotIndex, Subject, TICKETS_MAX, Tag, TicketId, TicketKey, TicketStatus, Timestamp,
};
use crate::sync::Ordering;

/// How many slots one step of a listing looks at.
const SLOTS_PER_STEP_MAX: u32 = 4_096;
/// How many events one step of a listing looks at.
const EVENTS_PER_STEP_MAX: u32 = 1_024;

/// An event.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: EventId,
    pub(super) ticket_key: TicketKey,
    pub(super) details: Arc<EventDetails>,
    pub(super) created_at: Timestamp,
    pub(super) seats: Seats,
}

impl Event {
    pub(super) fn new(
        id: EventId,
        ticket_key: TicketKey,
        details: EventDetails,
        created_at: Timestamp,
    ) -> Self {
        let seats = Seats::new(id.number, details.total_seats);
        Self { id, ticket_key, details: Arc::new(details), created_at, seats }
    }

    pub(super) fn ticket(&self, slot: SlotIndex) -> TicketId {
        self.ticket_key.ticket(self.id.number, slot)
    }

    /// The slot of the ticket that an id names, if it is one of this event.
    pub(super) fn slot_of(&self, id: PublicId) -> Option<SlotIndex> {
        let ticket = TicketId::from_public(id)?;
        let ours = ticket.event == self.id.number && ticket.slot.get() < self.details.total_seats;
        (ours && ticket == self.ticket(ticket.slot)).then_some(ticket.slot)
    }

    fn view(&self) -> EventView {
        let counts = self.seats.tally().read();
        EventView {
            id: self.id,
            details: Arc::clone(&self.details),
            available: self.details.total_seats - counts.reserved - counts.sold,
            reserved: counts.reserved,
            sold: counts.sold,
            created_at: self.created_at,
        }
    }
}

impl Engine {
    /// Creates an event with all its tickets.
    ///
    /// Refused: `RequestInFlight`, `KeyReused`, `Overloaded`, `StorageUnavailable`.
    pub fn create_event(
        &self,
        details: EventDetails,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Created<EventId>> {
        self.keyed(stamp, |key| {
            if let Some((subject, at)) = key.replay() {
                let Subject::EventCreated(number) = subject else {
                    return Err(Refusal::KeyReused);
                };
                let id = self.store.events.get(number.get()).ok_or(Refusal::EventNotFound)?.id;
                return Ok((Created { id, at, replayed: true }, None));
            }
            if !self.log.has_room() {
                return Err(Refusal::StorageUnavailable);
            }
            let seats = details.total_seats;
            self.claim_tickets(seats)?;
            let give_back = |_: &Refusal| {
                self.store.tickets.fetch_sub(seats.into(), Ordering::Relaxed);
            };
            let number =
                self.store.events.claim().ok_or(Refusal::Overloaded).inspect_err(give_back)?;
            let id = EventId { number: EventNumber::new(number), tag: Tag::new(rand::random()) };
            let event = Event::new(id, TicketKey::new(rand::random()), details, self.clock.now());
            let at = event.created_at;
            let fact = Fact::EventCreated(fact_of(&event, stamp));
            let place = self.reserve(Urgency::Take, &fact).inspect_err(give_back)?;
            self.store
                .events
                .set(number, event)
                .expect("a claimed number is set by its claimer alone");
            let position = place.fill();
            key.succeeded(Subject::EventCreated(id.number), at);
            Ok((Created { id, at, replayed: false }, Some(position)))
        })
    }

    /// Makes room for the tickets of one more event under the bound of all.
    fn claim_tickets(&self, seats: u32) -> Result<(), Refusal> {
        let more =
            |tickets: u64| Some(tickets + u64::from(seats)).filter(|&sum| sum <= TICKETS_MAX);
        self.store
            .tickets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_or(Err(Refusal::Overloaded), |_| Ok(()))
    }

    /// The event that an id names.
    pub(super) fn find_event(&self, id: PublicId) -> Option<&Event> {
        let id = EventId::from_public(id)?;
        self.store.events.get(id.number.get()).filter(|event| event.id.tag == id.tag)
    }

    /// Shows an event.
    ///
    /// Refused: `EventNotFound`.
    pub fn event(&self, id: PublicId) -> Answer<'_, EventView> {
        self.answer(|| {
            let event = self.find_event(id).ok_or(Refusal::EventNotFound)?;
            Ok((event.view(), None))
        })
    }

    /// Begins a listing of events, oldest first, behind the event `after`.
    ///
    /// Refused: `UnknownCursor`.
    pub fn events(&self, after: Option<PublicId>) -> Answer<'_, EventCursor> {
        self.answer(|| {
            let next = match after {
                None => 0,
                Some(id) => self.find_event(id).ok_or(Refusal::UnknownCursor)?.id.number.get() + 1,
            };
            Ok((EventCursor { next, end: self.store.events.claimed() }, None))
        })
    }

    /// Appends up to `max` more events to `page`. It looks at a bounded number of them.
    pub fn next_events(
        &self,
        cursor: &mut EventCursor,
        max: usize,
        page: &mut Vec<EventView>,
    ) -> Position {
        let stop = cursor.end.min(cursor.next.saturating_add(EVENTS_PER_STEP_MAX));
        let full = page.len() + max;
        while cursor.next < stop && page.len() < full {
            page.extend(self.store.events.get(cursor.next).map(Event::view));
            cursor.next += 1;
        }
        self.position()
    }

    /// Begins a listing of an event's tickets in seat order, behind the ticket `after`. The event
    /// comes with it, for what its tickets share.
    ///
    /// Refused: `EventNotFound`, `UnknownCursor`.
    pub fn tickets(
        &self,
        event: PublicId,
        after: Option<PublicId>,
        status: Option<TicketStatus>,
    ) -> Answer<'_, (EventView, TicketCursor)> {
        self.answer(|| {
            let event = self.find_event(event).ok_or(Refusal::EventNotFound)?;
            let next = match after {
                None => 0,
                Some(id) => match event.slot_of(id) {
                    Some(slot) => slot.get() + 1,
                    None => return Err(Refusal::UnknownCursor),
                },
            };
            let end = event.details.total_seats;
            let cursor = TicketCursor { event: event.id.number, next, end, status };
            Ok(((event.view(), cursor), None))
        })
    }

    /// Appends up to `max` more tickets to `page`. It looks at a bounded number of slots, so that
    /// it may append none without being done.
    pub fn next_tickets(
        &self,
        cursor: &mut TicketCursor,
        max: usize,
        page: &mut Vec<TicketView>,
    ) -> Position {
        let event =
            self.store.events.get(cursor.event.get()).expect("a cursor comes from an event");
        let turn = self.turn(Urgency::Take);
        let stop = cursor.end.min(cursor.next.saturating_add(SLOTS_PER_STEP_MAX));
        let full = page.len() + max;
        while cursor.next < stop && page.len() < full {
            let slot = SlotIndex::new(cursor.next);
            cursor.next += 1;
            let (status, updated_at) = self.ticket_status(event, turn, slot);
            if cursor.status.is_none_or(|want| want == status) {
                page.push(TicketView { id: event.ticket(slot), slot, status, updated_at });
            }
        }
        self.position()
    }

    /// A ticket's status, and since when it has it. A lapsed hold that cannot be expired, because
    /// the log has no room, still is one.
    fn ticket_status(
        &self,
        event: &Event,
        turn: Turn<'_, wal::Log>,
        slot: SlotIndex,
    ) -> (TicketStatus, Timestamp) {
        let Some((number, row)) = event.seats.last_named(slot) else {
            return (TicketStatus::Available, event.created_at);
        };
        let word = self.settled_or_read(event, turn, number, row);
        match word.state() {
            State::Pending => (TicketStatus::Reserved, row.terms.created_at),
            State::Confirmed => (TicketStatus::Sold, word.time()),
            State::Cancelled | State::Expired => (TicketStatus::Available, word.time()),
            State::Acquiring | State::RefusedConflict | State::RefusedNoRoom => {
                (TicketStatus::Available, event.created_at)
            }
        }
    }
}

/// The fact that an event came to be.
fn fact_of<'a>(event: &'a Event, stamp: Option<RequestStamp<'a>>) -> EventCreated<'a> {
    let details = &event.details;
    EventCreated {
        event: event.id,
        ticket_key: event.ticket_key,
        name: details.name.as_str(),
        artist: details.artist.as_str(),
        venue: details.venue.as_str(),
        date: &details.date,
        total_seats: details.total_seats,
        price: details.price,
        currency: details.currency,
        at: event.created_at,
        stamp,
    }
}
