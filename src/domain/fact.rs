//! Facts: what the log says has happened.
//!
//! A fact borrows its texts, so that writing one copies nothing and reading one allocates only for
//! a list of tickets.

use std::borrow::Cow;
use std::time::Duration;

use super::ids::{EventId, EventNumber, RowNumber, SlotIndex, Tag, TicketKey, UserId, UserNumber};
use super::money::{Amount, Currency};
use super::time::Timestamp;

/// The longest idempotency key, in ASCII characters.
pub const KEY_CHARS_MAX: usize = 255;
/// How long an idempotency key stands for its success at least.
pub const KEY_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// What makes a repeated request recognisable: its idempotency key and what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestStamp<'a> {
    /// The client's key: 1 to [`KEY_CHARS_MAX`] visible ASCII characters.
    pub key: &'a str,
    /// A hash of the method, the path and the body.
    pub fingerprint: u128,
}

/// A user came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserCreated<'a> {
    /// The new id.
    pub user: UserId,
    /// The e-mail address as written.
    pub email: &'a str,
    /// The name as written.
    pub name: &'a str,
    /// When.
    pub at: Timestamp,
    /// The idempotency key that the request carried, if any.
    pub stamp: Option<RequestStamp<'a>>,
}

/// A user's e-mail address and name were replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserUpdated<'a> {
    /// Whose.
    pub user: UserNumber,
    /// The new e-mail address.
    pub email: &'a str,
    /// The new name.
    pub name: &'a str,
    /// When.
    pub at: Timestamp,
}

/// A user who had no live booking was deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserDeleted {
    /// Who.
    pub user: UserNumber,
    /// When.
    pub at: Timestamp,
}

/// An event and all its tickets came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventCreated<'a> {
    /// The new id.
    pub event: EventId,
    /// The secret that the tags of its tickets are made with.
    pub ticket_key: TicketKey,
    /// What it is called.
    pub name: &'a str,
    /// Who performs.
    pub artist: &'a str,
    /// Where.
    pub venue: &'a str,
    /// When it takes place, as it was sent.
    pub date: &'a str,
    /// How many tickets.
    pub total_seats: u32,
    /// What each costs.
    pub price: Amount,
    /// In which currency.
    pub currency: Currency,
    /// When it was created.
    pub at: Timestamp,
    /// The idempotency key that the request carried, if any.
    pub stamp: Option<RequestStamp<'a>>,
}

/// A booking took its tickets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held<'a> {
    /// Of which event.
    pub event: EventNumber,
    /// The booking's row there.
    pub row: RowNumber,
    /// The random part of its id.
    pub tag: Tag,
    /// Who holds.
    pub user: UserNumber,
    /// Which tickets, in ascending order.
    pub tickets: Cow<'a, [SlotIndex]>,
    /// The sum of the tickets' prices.
    pub total: Amount,
    /// When.
    pub at: Timestamp,
    /// Until when, unless confirmed before.
    pub deadline: Timestamp,
    /// The idempotency key that the request carried, if any.
    pub stamp: Option<RequestStamp<'a>>,
}

/// A pending booking was confirmed, cancelled or expired; the fact that carries it says which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition<'a> {
    /// Of which event.
    pub event: EventNumber,
    /// The booking's row there.
    pub row: RowNumber,
    /// The clock value that the decision was made by.
    pub at: Timestamp,
    /// The idempotency key that the request carried, if any.
    pub stamp: Option<RequestStamp<'a>>,
}

/// What an idempotency key stands for: the success to give again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// This user was created.
    UserCreated(UserNumber),
    /// This event was created.
    EventCreated(EventNumber),
    /// This booking was made.
    Held(EventNumber, RowNumber),
    /// This pending booking already held just what was asked for.
    HeldAlready(EventNumber, RowNumber),
    /// This booking was confirmed, now or before.
    Confirmed(EventNumber, RowNumber),
    /// This booking was cancelled, now or before.
    Cancelled(EventNumber, RowNumber),
}

/// A request with an idempotency key succeeded without changing anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyBound<'a> {
    /// The key.
    pub stamp: RequestStamp<'a>,
    /// What it stands for from now on.
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
}

/// One entry of the engine's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact<'a> {
    /// A user came to be.
    UserCreated(UserCreated<'a>),
    /// A user changed.
    UserUpdated(UserUpdated<'a>),
    /// A user was deleted.
    UserDeleted(UserDeleted),
    /// An event came to be.
    EventCreated(EventCreated<'a>),
    /// A booking was made.
    Held(Held<'a>),
    /// A booking was bought.
    Confirmed(Transition<'a>),
    /// A booking was given back.
    Cancelled(Transition<'a>),
    /// A booking lapsed.
    Expired(Transition<'a>),
    /// An idempotency key was bound to what was already so.
    KeyBound(KeyBound<'a>),
}

impl Fact<'_> {
    /// The clock value that the fact carries.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::UserCreated(fact) => fact.at,
            Self::UserUpdated(fact) => fact.at,
            Self::UserDeleted(fact) => fact.at,
            Self::EventCreated(fact) => fact.at,
            Self::Held(fact) => fact.at,
            Self::Confirmed(fact) | Self::Cancelled(fact) | Self::Expired(fact) => fact.at,
            Self::KeyBound(fact) => fact.at,
        }
    }
}
