//! More threads, more seats and longer stories than loom can exhaust, in random schedules: holds of
//! random seats, confirmations, cancellations, readers, deletions and a clock that moves on.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};

use super::bookings::{Bookings, TTL_MILLIS};
use super::ledger::Mistake;
use crate::domain::RowNumber;
use crate::engine::row::State;
use crate::engine::slots::{Ending, HoldOutcome, is_live};
use crate::models::{sample, thread};
use crate::sync::{AtomicU64, Ordering};

const SEATS: u32 = 5;
const THREADS: usize = 4;
const STEPS: usize = 4;
/// How many schedules.
const SCHEDULES: usize = 3_000;

struct Crowd {
    bookings: Arc<Bookings>,
    clock: AtomicU64,
}

impl Crowd {
    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Some seats, in ascending order.
    fn some_seats() -> Vec<u32> {
        let wanted = thread_rng().gen_range(1..1 << SEATS);
        (0..SEATS).filter(|seat| wanted & (1 << seat) != 0).collect()
    }

    fn some_row(&self) -> Option<RowNumber> {
        let rows: Vec<_> = self.bookings.seats.rows().map(|(number, _)| number).collect();
        (!rows.is_empty()).then(|| rows[thread_rng().gen_range(0..rows.len())])
    }

    /// Rows that were dead for good, at an instant.
    fn dead(&self) -> Vec<RowNumber> {
        let dead = |state| matches!(state, State::Cancelled | State::Expired);
        let rows = self.bookings.seats.rows();
        rows.filter(|(_, row)| dead(row.word().state())).map(|(number, _)| number).collect()
    }

    fn hold(&self, user: u32) {
        let seats = Self::some_seats();
        let dead_before = self.dead();
        match self.bookings.hold(user, &seats, self.now()) {
            Ok(HoldOutcome::Taken(taken)) => {
                for taken in taken {
                    assert!(is_live(taken.word) && seats.contains(&taken.slot.get()));
                    assert!(!dead_before.contains(&taken.row), "refused for a booking of the past");
                }
            }
            Ok(HoldOutcome::Made { row, .. }) => {
                let row = self.bookings.seats.row(row).unwrap();
                assert!(row.word().state() != State::Acquiring);
            }
            Ok(HoldOutcome::UserGone | HoldOutcome::OverBound | HoldOutcome::TableFull) => {
                unreachable!("none of these")
            }
            // There was no room in the log: this one or one that it met never came to be.
            Err(_) => {}
        }
    }

    fn end(&self) {
        let Some(row) = self.some_row() else { return };
        let ending = if thread_rng().r#gen() { Ending::Confirm } else { Ending::Cancel };
        if let Ok(state) = self.bookings.end(row, ending, self.now()) {
            assert!(!matches!(state, State::Acquiring | State::Pending), "it has ended: {state:?}");
        }
    }

    fn settle(&self) {
        let Some(number) = self.some_row() else { return };
        let row = self.bookings.seats.row(number).unwrap();
        let now = self.now();
        if let Ok(word) = self.bookings.seats.settle(self.bookings.turn(now), number, row) {
            let lapsed = word.state() == State::Pending && now >= word.time().millis();
            assert!(word.state() != State::Acquiring && !lapsed, "settled: {word:?}");
        }
    }

    fn step(&self, user: u32) {
        match thread_rng().gen_range(0..10) {
            0..=4 => self.hold(user),
            5..=6 => self.end(),
            7 => self.settle(),
            8 => {
                self.clock
                    .fetch_add(thread_rng().gen_range(1..u64::from(TTL_MILLIS)), Ordering::Relaxed);
            }
            _ => {
                let counts = self.bookings.seats.tally().read();
                assert!(counts.reserved + counts.sold <= SEATS, "{counts:?}");
            }
        }
    }
}

fn crowd(mistake: Mistake) {
    sample(SCHEDULES, move || {
        let room = if thread_rng().gen_ratio(1, 4) { thread_rng().gen_range(0..12) } else { 1_000 };
        let bookings = Bookings::with(SEATS, room, mistake);
        let crowd = Arc::new(Crowd { bookings, clock: AtomicU64::new(0) });
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let crowd = Arc::clone(&crowd);
                let user = u32::try_from(number).unwrap();
                thread::spawn(move || (0..STEPS).for_each(|_| crowd.step(user)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        crowd.bookings.audit();
    });
}

#[test]
fn a_crowd_leaves_a_log_that_says_what_memory_says() {
    crowd(Mistake::None);
}

#[test]
#[should_panic(expected = "row ")]
fn a_loser_that_fills_its_place_is_found_in_a_crowd() {
    crowd(Mistake::FillsWhatWasLost);
}

#[test]
#[should_panic(expected = "row ")]
fn a_record_that_gets_its_place_late_is_found_in_a_crowd() {
    crowd(Mistake::PlacesLate);
}
