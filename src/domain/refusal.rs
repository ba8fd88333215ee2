//! Why a request was not done: a closed list, named after the rule that was broken.

use super::ids::{BookingId, PublicId, SlotIndex, TicketId};
use super::ticket::TicketStatus;

/// A ticket that was not free when it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The ticket.
    pub ticket: TicketId,
    /// Its place in the event.
    pub slot: SlotIndex,
    /// Reserved or sold.
    pub status: TicketStatus,
    /// The asking user's own booking that has it, if it is theirs.
    pub held_by_you: Option<BookingId>,
}

/// Why the engine did not do what it was asked. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such user, or deleted.
    UserNotFound,
    /// No such event.
    EventNotFound,
    /// No such booking.
    BookingNotFound,
    /// These ids were named more than once.
    DuplicateTickets(Vec<PublicId>),
    /// More tickets than one booking may take.
    TooManyTickets,
    /// These ids name no ticket of the event.
    UnknownTickets(Vec<PublicId>),
    /// What a listing was to go on behind is not in it.
    UnknownCursor,
    /// The booking belongs to somebody else.
    NotYourBooking,
    /// These tickets were not free.
    SeatsUnavailable(Vec<Conflict>),
    /// Another user has this e-mail address.
    EmailTaken,
    /// The hold's deadline had passed.
    BookingExpired,
    /// The booking had been cancelled.
    BookingCancelled,
    /// The booking had been confirmed.
    AlreadyConfirmed,
    /// A request with the same idempotency key has not been answered yet.
    RequestInFlight,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The user has a live booking.
    UserHasBookings,
    /// The total is beyond what an amount can hold.
    TotalTooLarge,
    /// The lane of the event, or a table, is full.
    Overloaded,
    /// The log cannot take the change.
    StorageUnavailable,
}

impl Refusal {
    /// The stable code that clients see.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UserNotFound => "user_not_found",
            Self::EventNotFound => "event_not_found",
            Self::BookingNotFound => "booking_not_found",
            Self::DuplicateTickets(_) => "duplicate_tickets",
            Self::TooManyTickets => "too_many_tickets",
            Self::UnknownTickets(_) => "unknown_tickets",
            Self::UnknownCursor => "bad_parameter",
            Self::NotYourBooking => "not_your_booking",
            Self::SeatsUnavailable(_) => "seats_unavailable",
            Self::EmailTaken => "email_taken",
            Self::BookingExpired => "booking_expired",
            Self::BookingCancelled => "booking_cancelled",
            Self::AlreadyConfirmed => "already_confirmed",
            Self::RequestInFlight => "request_in_flight",
            Self::KeyReused => "idempotency_key_reused",
            Self::UserHasBookings => "user_has_bookings",
            Self::TotalTooLarge => "validation_failed",
            Self::Overloaded => "overloaded",
            Self::StorageUnavailable => "storage_unavailable",
        }
    }

    /// Whether the same request may succeed later without anything in it being changed.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::SeatsUnavailable(_)
            | Self::RequestInFlight
            | Self::Overloaded
            | Self::StorageUnavailable => true,
            Self::UserNotFound
            | Self::EventNotFound
            | Self::BookingNotFound
            | Self::DuplicateTickets(_)
            | Self::TooManyTickets
            | Self::UnknownTickets(_)
            | Self::UnknownCursor
            | Self::NotYourBooking
            | Self::EmailTaken
            | Self::BookingExpired
            | Self::BookingCancelled
            | Self::AlreadyConfirmed
            | Self::KeyReused
            | Self::UserHasBookings
            | Self::TotalTooLarge => false,
        }
    }
}
