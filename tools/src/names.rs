//! What the records so far have said of the ids that later records name by number alone.
//!
//! A public id is a number and a random tag (see `domain::UserId`), and the tag stands only in the
//! record that made the user, event or booking. Where that record is damaged, or not there any
//! more, the number is all there is.

use std::collections::HashMap;

use booking_manager::domain::{
    BookingId, Currency, EventId, EventNumber, Fact, RowNumber, Subject, Tag, UserId, UserNumber,
};

/// A booking's address: its event, and its row there.
pub type BookingNumber = (EventNumber, RowNumber);

/// The users, events and bookings that were made so far.
#[derive(Debug, Default)]
pub struct Names {
    users: HashMap<UserNumber, Tag>,
    events: HashMap<EventNumber, (Tag, Currency)>,
    bookings: HashMap<BookingNumber, (Tag, UserNumber)>,
}

/// Whom and what a record concerns, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parties {
    /// The user, also the one who made the booking.
    pub user: Option<UserNumber>,
    /// The event, also the one that was booked.
    pub event: Option<EventNumber>,
    /// The booking.
    pub booking: Option<BookingNumber>,
}

impl Names {
    /// Remembers what a fact makes known.
    pub fn learn(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::UserCreated(fact) => {
                self.users.insert(fact.user.number, fact.user.tag);
            }
            Fact::EventCreated(fact) => {
                self.events.insert(fact.event.number, (fact.event.tag, fact.currency));
            }
            Fact::Held(fact) => {
                self.bookings.insert((fact.event, fact.row), (fact.tag, fact.user));
            }
            Fact::UserUpdated(_)
            | Fact::UserDeleted(_)
            | Fact::Confirmed(_)
            | Fact::Cancelled(_)
            | Fact::Expired(_)
            | Fact::KeyBound(_) => {}
        }
    }

    /// The public id of a user.
    pub fn user(&self, number: UserNumber) -> Option<UserId> {
        self.users.get(&number).map(|&tag| UserId { number, tag })
    }

    /// The public id of an event.
    pub fn event(&self, number: EventNumber) -> Option<EventId> {
        self.events.get(&number).map(|&(tag, _)| EventId { number, tag })
    }

    /// What an event is paid in.
    pub fn currency(&self, number: EventNumber) -> Option<Currency> {
        self.events.get(&number).map(|&(_, currency)| currency)
    }

    /// The public id of a booking.
    pub fn booking(&self, number: BookingNumber) -> Option<BookingId> {
        let (event, row) = number;
        self.bookings.get(&number).map(|&(tag, _)| BookingId { event, row, tag })
    }

    /// Who made a booking.
    pub fn booker(&self, number: BookingNumber) -> Option<UserNumber> {
        self.bookings.get(&number).map(|&(_, user)| user)
    }

    /// Whom and what a fact concerns.
    pub fn parties(&self, fact: &Fact<'_>) -> Parties {
        match fact {
            Fact::UserCreated(fact) => Parties::of_user(fact.user.number),
            Fact::UserUpdated(fact) => Parties::of_user(fact.user),
            Fact::UserDeleted(fact) => Parties::of_user(fact.user),
            Fact::EventCreated(fact) => Parties::of_event(fact.event.number),
            Fact::Held(fact) => self.of_booking((fact.event, fact.row)),
            Fact::Confirmed(fact) | Fact::Cancelled(fact) | Fact::Expired(fact) => {
                self.of_booking((fact.event, fact.row))
            }
            Fact::KeyBound(fact) => match fact.subject {
                Subject::UserCreated(user) => Parties::of_user(user),
                Subject::EventCreated(event) => Parties::of_event(event),
                Subject::Held(event, row)
                | Subject::HeldAlready(event, row)
                | Subject::Confirmed(event, row)
                | Subject::Cancelled(event, row) => self.of_booking((event, row)),
            },
        }
    }

    fn of_booking(&self, number: BookingNumber) -> Parties {
        Parties { user: self.booker(number), event: Some(number.0), booking: Some(number) }
    }
}

impl Parties {
    fn of_user(user: UserNumber) -> Self {
        Self { user: Some(user), ..Self::default() }
    }

    fn of_event(event: EventNumber) -> Self {
        Self { event: Some(event), ..Self::default() }
    }
}
