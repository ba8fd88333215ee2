//! What can be asked of the server, and what was asked by one request.

use std::ops::Deref;

/// The most tickets that one request of the generator names.
pub(super) const SEATS_MAX: u32 = 8;

/// A kind of request; each has figures of its own, reported in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Operation {
    /// `POST /api/users`.
    Register,
    /// `GET /api/events`, a page.
    ListEvents,
    /// `GET /api/events/{id}`.
    ShowEvent,
    /// `GET /api/events/{id}/tickets`, a page.
    ListTickets,
    /// `GET /api/events/{id}/tickets/available`, a page.
    ListAvailable,
    /// `POST /api/bookings`.
    Hold,
    /// `POST /api/bookings/{id}/confirm`.
    Confirm,
    /// `POST /api/bookings/{id}/cancel`.
    Cancel,
}

impl Operation {
    /// What it is called in reports and names of files.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::ListEvents => "list-events",
            Self::ShowEvent => "show-event",
            Self::ListTickets => "list-tickets",
            Self::ListAvailable => "list-available",
            Self::Hold => "hold",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }
}

/// The seats that one request names, as indices into the event's tickets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seats {
    numbers: [u32; SEATS_MAX as usize],
    count: u8,
}

impl Seats {
    /// One seat.
    pub(super) const fn one(seat: u32) -> Self {
        let mut numbers = [0; SEATS_MAX as usize];
        numbers[0] = seat;
        Self { numbers, count: 1 }
    }

    /// One seat more; one that is there already, or too many, change nothing.
    pub(super) fn add(&mut self, seat: u32) {
        let count = usize::from(self.count);
        if count < self.numbers.len() && !self.contains(&seat) {
            self.numbers[count] = seat;
            self.count += 1;
        }
    }
}

impl Deref for Seats {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.numbers[..usize::from(self.count)]
    }
}

/// One request, as its answer will be understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) operation: Operation,
    /// Who asks, as an index into the world's users.
    pub(super) user: u32,
    /// About which event, as an index into the world's events.
    pub(super) event: u32,
    /// About which booking, as an index into the ledger.
    pub(super) booking: u32,
    /// About which seats.
    pub(super) seats: Seats,
}

impl Asked {
    /// A request about nothing in particular.
    pub(super) fn plain(operation: Operation) -> Self {
        Self { operation, user: 0, event: 0, booking: 0, seats: Seats::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_seats_has_each_once_and_not_too_many() {
        let mut seats = Seats::one(3);
        for seat in [3, 5, 3, 0] {
            seats.add(seat);
        }
        assert_eq!(*seats, [3, 5, 0]);
        for seat in 100..200 {
            seats.add(seat);
        }
        assert_eq!(seats.len(), SEATS_MAX as usize);
    }
}
