//! The engine: users, events, tickets and bookings in memory, and the log behind them.
//!
//! Reading order: [`slots`] is the heart, the protocol by which bookings take and give back tickets,
//! with its words in [`row`]; [`bookings`] is the ladder of checks around it; [`user`], [`users`] and
//! [`catalog`] are what bookings refer to; [`idempotency`], [`lanes`] and [`expiry`] say what they
//! are for; [`restore`] builds all of it again from an image of the log; [`face`] ties them together.
//!
//! Every method answers at once and never waits for a disk: an [`Answer`] says how far the log must
//! be durable before it may be given ([`Position`]), and waiting for that is the caller's part.
//!
//! Architecture invariant: the engine knows nothing of HTTP, of JSON or of async.

// The protocols, which are also built under loom, where there is no log on a disk.
mod idempotency;
mod lanes;
mod ledger;
mod row;
mod slots;
mod table;
mod tally;
mod user;

#[cfg(all(test, any(booking_loom, booking_shuttle)))]
mod models;

#[cfg(not(booking_loom))]
mod answer;
#[cfg(not(booking_loom))]
mod bookings;
#[cfg(not(booking_loom))]
mod catalog;
#[cfg(not(booking_loom))]
mod expiry;
#[cfg(not(booking_loom))]
mod face;
#[cfg(not(booking_loom))]
mod journal;
#[cfg(not(booking_loom))]
mod restore;
#[cfg(not(booking_loom))]
mod store;
#[cfg(all(test, not(booking_loom)))]
mod tests;
#[cfg(not(booking_loom))]
mod users;

#[cfg(not(booking_loom))]
pub use {
    answer::{
        Answer, BookingView, Created, Ended, EventView, Hold, Made, Open, TicketView, UserView,
    },
    expiry::Sweeper,
    face::{
        Engine, EngineStats, EventCursor, HOLD_TTL_MAX, HoldRequest, OpenError, Recovery, Settings,
        TicketCursor, UserBookingCursor,
    },
    users::DeadBookings,
};

pub use ledger::Position;
