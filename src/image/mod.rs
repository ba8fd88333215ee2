//! The state that a log makes: users, events, tickets, bookings and idempotency keys, folded from
//! records one at a time by a single thread.
