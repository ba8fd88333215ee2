//! Seats that are handed out once each, so that no request has to fail.

/// In which order the seats of several events are handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// One event after the other.
    EventByEvent,
    /// All events in turns.
    InTurns,
}

/// One thread's share of all seats: every so-manieth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Supply {
    order: Order,
    events: u64,
    /// Of each event.
    seats: u64,
    next: u64,
    step: u64,
}

impl Supply {
    /// The share of thread `thread` of `threads`.
    pub(super) const fn new(
        order: Order,
        events: u32,
        seats: u32,
        thread: u32,
        threads: u32,
    ) -> Self {
        let [events, seats] = [events as u64, seats as u64];
        Self { order, events, seats, next: thread as u64, step: threads as u64 }
    }

    /// There is one more event, with as many seats as each of the others. Only where it is filled
    /// after the others: in turns, seats would be handed out again.
    pub(super) fn grow(&mut self) {
        debug_assert_eq!(self.order, Order::EventByEvent);
        self.events += 1;
    }
}

/// Event and seat.
impl Iterator for Supply {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let place = self.next;
        if place >= self.events * self.seats {
            return None;
        }
        self.next += self.step;
        let (event, seat) = match self.order {
            Order::EventByEvent => (place / self.seats, place % self.seats),
            Order::InTurns => (place % self.events, place / self.events),
        };
        Some((u32::try_from(event).ok()?, u32::try_from(seat).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_seat_is_handed_out_once() {
        for order in [Order::EventByEvent, Order::InTurns] {
            let shares = (0..3).map(|thread| Supply::new(order, 4, 5, thread, 3));
            let all: Vec<_> = shares.flatten().collect();
            let distinct: HashSet<_> = all.iter().copied().collect();
            assert_eq!((all.len(), distinct.len()), (20, 20));
            assert!(all.iter().all(|(event, seat)| *event < 4 && *seat < 5));
        }
        let mut turns = Supply::new(Order::InTurns, 2, 2, 0, 1);
        assert_eq!([turns.next(), turns.next()], [Some((0, 0)), Some((1, 0))]);
        let mut rows = Supply::new(Order::EventByEvent, 2, 2, 0, 1);
        assert_eq!([rows.next(), rows.next()], [Some((0, 0)), Some((0, 1))]);
        rows.grow();
        assert_eq!(rows.collect::<Vec<_>>(), [(1, 0), (1, 1), (2, 0), (2, 1)]);
    }
}
