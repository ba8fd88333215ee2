//! What the models of bookings have in common: seats on a log that can be read afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use wal::Urgency;

use super::ledger::{Mistake, Places};
use crate::domain::{Amount, EventNumber, RowNumber, SlotIndex, Slots, Tag, Timestamp, UserNumber};
use crate::engine::ledger::NoRoom;
use crate::engine::row::{Row, State, Terms};
use crate::engine::slots::{Ending, HoldOutcome, Seats, Turn};

/// How long a hold lasts.
pub(super) const TTL_MILLIS: u32 = 10;
pub(super) const EVENT: EventNumber = EventNumber::new(0);

pub(super) struct Bookings {
    pub(super) seats: Seats,
    pub(super) ledger: Places,
}

fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

impl Bookings {
    /// So many seats, and a log with room for so many records.
    pub(super) fn new(seats: u32, room: u32) -> Arc<Self> {
        Self::with(seats, room, Mistake::None)
    }

    pub(super) fn with(seats: u32, room: u32, mistake: Mistake) -> Arc<Self> {
        let (seats, ledger) = (Seats::new(EVENT, seats), Places::new(room, mistake));
        Arc::new(Self { seats, ledger })
    }

    pub(super) fn turn(&self, now: u64) -> Turn<'_, Places> {
        Turn { ledger: &self.ledger, now: time(now), urgency: Urgency::Release }
    }

    pub(super) fn hold(&self, user: u32, slots: &[u32], now: u64) -> Result<HoldOutcome, NoRoom> {
        self.hold_linked(user, slots, now, |_, _| true)
    }

    pub(super) fn hold_linked(
        &self,
        user: u32,
        slots: &[u32],
        now: u64,
        link: impl Fn(RowNumber, &Row) -> bool,
    ) -> Result<HoldOutcome, NoRoom> {
        let slots: Vec<_> = slots.iter().map(|&slot| SlotIndex::new(slot)).collect();
        let terms = Terms {
            tag: Tag::new(0),
            user: UserNumber::new(user),
            slots: Slots::new(&slots),
            total: Amount::from_minor(0).unwrap(),
            created_at: time(now),
            ttl_millis: TTL_MILLIS,
            stamp: None,
        };
        self.seats.hold(self.turn(now), &terms, || true, link)
    }

    /// Holds, where nothing can stand in the way.
    pub(super) fn held(&self, user: u32, slots: &[u32], now: u64) -> RowNumber {
        match self.hold(user, slots, now) {
            Ok(HoldOutcome::Made { row, .. }) => row,
            other => panic!("nothing stands in the way: {other:?}"),
        }
    }

    pub(super) fn end(&self, row: RowNumber, ending: Ending, now: u64) -> Result<State, NoRoom> {
        let found = self.seats.row(row).unwrap();
        self.seats.end(self.turn(now), row, found, ending, None).map(|(word, _)| word.state())
    }

    /// Replays the log and compares it with the words. Returns the rows by their final state.
    pub(super) fn audit(&self) -> HashMap<u32, State> {
        let replayed = self.ledger.replay();
        let (mut reserved, mut sold) = (0, 0);
        for (number, row) in self.seats.rows() {
            let state = row.word().state();
            let logged = replayed.get(&number.get()).map(|booking| booking.state);
            match state {
                State::Acquiring => panic!("row {number:?} was left undecided"),
                State::RefusedConflict | State::RefusedNoRoom => {
                    assert_eq!(logged, None, "row {number:?} never was: log against memory");
                }
                State::Pending | State::Confirmed | State::Cancelled | State::Expired => {
                    assert_eq!(logged, Some(state), "row {number:?}: log against memory");
                }
            }
            let count = row.terms.slots.count();
            match state {
                State::Pending => reserved += count,
                State::Confirmed => sold += count,
                _ => continue,
            }
            for &slot in row.terms.slots.as_slice() {
                let (holder, _) = self.seats.last_named(slot).expect("a live row is in its slots");
                assert_eq!(holder, number, "a live row is in all its slots");
            }
        }
        let counts = self.seats.tally().read();
        assert_eq!((counts.reserved, counts.sold), (reserved, sold), "the counters");
        replayed.into_iter().map(|(row, booking)| (row, booking.state)).collect()
    }
}

pub(super) fn is_made(outcome: &Result<HoldOutcome, NoRoom>) -> bool {
    matches!(outcome, Ok(HoldOutcome::Made { .. }))
}
