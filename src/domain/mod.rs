//! What the business is about: ids, money, time, users, events, tickets, bookings, and the facts
//! that are logged about them.
//!
//! Everything here is plain data with its own rules. Architecture invariant: this module knows
//! nothing of the log, of HTTP, of threads or of clocks; it depends on the standard library, the ISO
//! 4217 table and a hash function alone.

mod booking;
mod event;
mod fact;
mod ids;
mod money;
mod refusal;
mod ticket;
mod time;
mod user;

pub use booking::{BookingStatus, ROWS_PER_EVENT_MAX, Slots, TICKETS_PER_BOOKING_MAX};
pub use event::{
    DATE_BYTES_MAX, EventDetails, SEATS_PER_EVENT_MAX, TICKETS_MAX, TITLE_CHARS_MAX, Title,
};
pub use fact::{
    EventCreated, Fact, Held, KEY_CHARS_MAX, KEY_RETENTION, KeyBound, RequestStamp, Subject,
    Transition, UserCreated, UserDeleted, UserUpdated,
};
pub use ids::{
    BookingId, EVENTS_MAX, EventId, EventNumber, PublicId, RowNumber, SlotIndex, TAG_BITS, Tag,
    TicketId, TicketKey, UserId, UserNumber,
};
pub use money::{Amount, AmountFault, Currency};
pub use refusal::{Conflict, Refusal};
pub use ticket::TicketStatus;
pub use time::Timestamp;
pub use user::{EMAIL_CHARS_MAX, Email, NAME_CHARS_MAX, PersonName, TextFault, USERS_MAX};
