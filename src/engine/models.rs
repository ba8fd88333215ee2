//! Models of the slot protocol, explored by loom: every interleaving of a few threads on a few
//! slots, under the C11 memory model as far as loom has it.
//!
//! `RUSTFLAGS="--cfg booking_loom" cargo test --release --lib models`
//!
//! The models run the real code of `slots`, `row`, `tally` and `table`. The log is replaced by one
//! that gives out places by a counter, so that its order is the order of reservation, and whose
//! records a test can read afterwards. At the end of every execution they are replayed, in that
//! order, by rules written down here once more: each record must be legal given those before it,
//! no ticket may have two live bookings, and what replay says must be what the words say.
//!
//! Mistakes made on purpose, each found by the models named: a loser that fills its place, a winner
//! that voids it, a slot taken from a living row, a status word decided by a store (nearly all);
//! a hold that counts as live while it is acquiring (`nobody_is_refused_for_a_hold_that_never_was`);
//! a lapsed hold that is overwritten without being expired (`confirm_cancel_and_expiry_…`); counters
//! changed after the fact alone, or a status word read without acquire (`counters_show_…`). Not
//! found: a late helper that does not look at its own word, which at worst puts one dead row in
//! another's place.

use std::collections::HashMap;
use std::sync::Mutex;

use loom::sync::Arc;
use loom::thread;
use wal::{Lsn, Urgency};

use super::ledger::{Ledger, NoRoom, Place, Position};
use super::row::{Row, State, Terms};
use super::slots::{Ending, HoldOutcome, Seats, Turn};
use crate::domain::{
    Amount, EventNumber, Fact, RowNumber, SlotIndex, Slots, Tag, Timestamp, UserNumber,
};
use crate::sync::{AtomicU32, Ordering};

const TTL_MILLIS: u32 = 10;

/// What became of a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Reserved,
    Void,
    Held { row: u32, slots: Vec<u32>, deadline: u64 },
    Ended { row: u32, state: State, at: u64 },
}

/// A log whose order can be read afterwards.
struct Ledgers {
    /// The next place; a loom word, so that reservations interleave with everything else.
    tail: AtomicU32,
    /// How many places there are.
    room: u32,
    entries: Mutex<HashMap<u32, Entry>>,
}

struct Slip<'a> {
    ledger: &'a Ledgers,
    place: u32,
    entry: Entry,
}

impl Ledgers {
    fn new(room: u32) -> Self {
        Self { tail: AtomicU32::new(0), room, entries: Mutex::default() }
    }

    fn put(&self, place: u32, entry: Entry) {
        self.entries.lock().unwrap().insert(place, entry);
    }
}

fn entry_of(fact: &Fact<'_>) -> Entry {
    let ended = |row: RowNumber, at: Timestamp, state| Entry::Ended {
        row: row.get(),
        state,
        at: at.millis(),
    };
    match fact {
        Fact::Held(fact) => Entry::Held {
            row: fact.row.get(),
            slots: fact.tickets.iter().map(|slot| slot.get()).collect(),
            deadline: fact.deadline.millis(),
        },
        Fact::Confirmed(fact) => ended(fact.row, fact.at, State::Confirmed),
        Fact::Cancelled(fact) => ended(fact.row, fact.at, State::Cancelled),
        Fact::Expired(fact) => ended(fact.row, fact.at, State::Expired),
        Fact::UserCreated(_)
        | Fact::UserUpdated(_)
        | Fact::UserDeleted(_)
        | Fact::EventCreated(_)
        | Fact::KeyBound(_) => panic!("the slot protocol logs no such fact"),
    }
}

impl Ledger for Ledgers {
    type Place<'a> = Slip<'a>;

    fn has_room(&self) -> bool {
        true
    }

    fn reserve(&self, _: Urgency, fact: &Fact<'_>) -> Result<Slip<'_>, NoRoom> {
        // No stronger than the claim of the real log, so that no edge is lent to the protocol.
        let place = self.tail.fetch_add(1, Ordering::Release);
        if place >= self.room {
            return Err(NoRoom);
        }
        self.put(place, Entry::Reserved);
        Ok(Slip { ledger: self, place, entry: entry_of(fact) })
    }
}

impl Place for Slip<'_> {
    fn lsn(&self) -> Lsn {
        Lsn::new(self.place.into())
    }

    fn fill(self) -> Position {
        self.ledger.put(self.place, self.entry);
        let lsn = Lsn::new(self.place.into());
        Position { lsn, wait_for: lsn }
    }

    fn void(self) {
        self.ledger.put(self.place, Entry::Void);
    }
}

struct Model {
    seats: Seats,
    ledger: Ledgers,
}

fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

impl Model {
    fn new(seats: u32, room: u32) -> Arc<Self> {
        let seats = Seats::new(EventNumber::new(0), seats);
        Arc::new(Self { seats, ledger: Ledgers::new(room) })
    }

    fn turn(&self, now: u64) -> Turn<'_, Ledgers> {
        Turn { ledger: &self.ledger, now: time(now), urgency: Urgency::Release }
    }

    fn hold(&self, user: u32, slots: &[u32], now: u64) -> Result<HoldOutcome, NoRoom> {
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
        self.seats.hold(self.turn(now), &terms, |_, _: &Row| true)
    }

    /// Holds, where nothing can stand in the way.
    fn held(&self, user: u32, slots: &[u32], now: u64) -> RowNumber {
        match self.hold(user, slots, now) {
            Ok(HoldOutcome::Made { row, .. }) => row,
            other => panic!("nothing stands in the way: {other:?}"),
        }
    }

    fn end(&self, row: RowNumber, ending: Ending, now: u64) -> Result<State, NoRoom> {
        let found = self.seats.row(row).unwrap();
        self.seats.end(self.turn(now), row, found, ending, None).map(|(word, _)| word.state())
    }

    /// Replays the log and compares it with the words. Returns the rows by their final state.
    fn audit(&self) -> HashMap<u32, State> {
        let entries = self.ledger.entries.lock().unwrap();
        let mut holders: HashMap<u32, u32> = HashMap::new();
        let mut rows: HashMap<u32, (State, u64, Vec<u32>)> = HashMap::new();
        for place in 0..self.ledger.tail.load(Ordering::Relaxed).min(self.ledger.room) {
            match &entries[&place] {
                Entry::Reserved => panic!("place {place} was neither filled nor voided"),
                Entry::Void => {}
                Entry::Held { row, slots, deadline } => {
                    for slot in slots {
                        let before = holders.insert(*slot, *row);
                        assert_eq!(before, None, "slot {slot} sold twice: {entries:?}");
                    }
                    let fresh = rows.insert(*row, (State::Pending, *deadline, slots.clone()));
                    assert_eq!(fresh, None, "row {row} was made twice");
                }
                Entry::Ended { row, state, at } => {
                    let (found, deadline, slots) = rows.get_mut(row).expect("cause before effect");
                    assert_eq!(*found, State::Pending, "row {row} ended twice: {entries:?}");
                    assert_eq!(at >= deadline, *state == State::Expired, "ended at {at}");
                    *found = *state;
                    if *state != State::Confirmed {
                        slots.iter().for_each(|slot| assert!(holders.remove(slot).is_some()));
                    }
                }
            }
        }
        drop(entries);
        self.compare(&rows);
        rows.into_iter().map(|(row, (state, ..))| (row, state)).collect()
    }

    fn compare(&self, replayed: &HashMap<u32, (State, u64, Vec<u32>)>) {
        let (mut reserved, mut sold) = (0, 0);
        for (number, row) in self.seats.rows() {
            let state = row.word().state();
            let logged = replayed.get(&number.get()).map(|(state, ..)| *state);
            match state {
                State::Acquiring => panic!("row {number:?} was left undecided"),
                State::RefusedConflict | State::RefusedNoRoom => assert_eq!(logged, None),
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
    }
}

fn is_made(outcome: &Result<HoldOutcome, NoRoom>) -> bool {
    matches!(outcome, Ok(HoldOutcome::Made { .. }))
}

/// Explores `model` with at most `preemptions` switches away from a thread that could go on.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

#[test]
fn two_overlapping_holds_have_one_winner() {
    explore(3, || {
        let model = Model::new(3, 16);
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || is_made(&other.hold(1, &[0, 1], 0)));
        let own = is_made(&model.hold(2, &[1, 2], 0));
        let others = thread.join().unwrap();
        assert!(own ^ others, "one of two overlapping holds is made: {own} {others}");
        assert_eq!(model.audit().len(), 1);
    });
}

#[test]
fn three_holds_in_a_chain_are_all_or_nothing() {
    explore(2, || {
        let model = Model::new(3, 16);
        let spawn = |user, slots: &'static [u32]| {
            let model = Arc::clone(&model);
            thread::spawn(move || is_made(&model.hold(user, slots, 0)))
        };
        let (first, second) = (spawn(1, &[0, 1]), spawn(2, &[1, 2]));
        let third = is_made(&model.hold(3, &[0, 2], 0));
        let made = [first.join().unwrap(), second.join().unwrap(), third];
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "each overlaps both others");
        assert_eq!(model.audit().len(), 1);
    });
}

#[test]
fn a_refusal_is_justified() {
    explore(3, || {
        let model = Model::new(2, 16);
        let first = model.held(1, &[0], 0);
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || other.end(first, Ending::Cancel, 1));
        match model.hold(2, &[0, 1], 1) {
            Ok(HoldOutcome::Made { .. }) => {}
            Ok(HoldOutcome::Taken(taken)) => {
                assert_eq!(taken.len(), 1);
                assert_eq!(taken[0].row, first, "the one that really had it");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(thread.join().unwrap(), Ok(State::Cancelled));
        assert_eq!(model.audit()[&first.get()], State::Cancelled);
    });
}

#[test]
fn confirm_cancel_and_expiry_have_one_winner() {
    explore(3, || {
        let model = Model::new(1, 16);
        let row = model.held(1, &[0], 0);
        let spawn = |ending, now| {
            let model = Arc::clone(&model);
            thread::spawn(move || model.end(row, ending, now).unwrap())
        };
        let (confirm, cancel) = (spawn(Ending::Confirm, 5), spawn(Ending::Cancel, 6));
        // Past the deadline: whoever meets the booking expires it.
        let taker = is_made(&model.hold(2, &[0], 20));
        let (confirmed, cancelled) = (confirm.join().unwrap(), cancel.join().unwrap());
        assert_eq!(confirmed, cancelled, "both see the same end");
        let end = model.audit()[&row.get()];
        assert_eq!(end, confirmed);
        assert_eq!(taker, end != State::Confirmed, "what was sold is not free");
    });
}

#[test]
fn a_cancelled_seat_goes_to_one_of_two_takers() {
    explore(2, || {
        let model = Model::new(2, 16);
        let first = model.held(1, &[0, 1], 0);
        let spawn = |user, slots: &'static [u32]| {
            let model = Arc::clone(&model);
            thread::spawn(move || is_made(&model.hold(user, slots, 1)))
        };
        let (second, third) = (spawn(2, &[0]), spawn(3, &[0, 1]));
        model.end(first, Ending::Cancel, 1).unwrap();
        let made = [second.join().unwrap(), third.join().unwrap()];
        assert!(made != [true, true], "slot 0 is there once");
        model.audit();
    });
}

#[test]
fn a_log_without_room_changes_nothing() {
    explore(3, || {
        // Room for one record: one of the two holds cannot be logged.
        let model = Model::new(2, 1);
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || is_made(&other.hold(1, &[0], 0)));
        let own = model.hold(2, &[1], 0);
        let others = thread.join().unwrap();
        assert!(is_made(&own) ^ others, "{own:?}");
        assert_eq!(model.audit().len(), 1);
    });
}

#[test]
fn nobody_is_refused_for_a_hold_that_never_was() {
    explore(3, || {
        // No room at all: neither hold comes to be, so neither can stand in the other's way.
        let model = Model::new(2, 0);
        let other = Arc::clone(&model);
        let thread = thread::spawn(move || other.hold(1, &[0, 1], 0).map(|_| ()));
        let other = Arc::clone(&model);
        let second = thread::spawn(move || other.hold(2, &[1], 0).map(|_| ()));
        let outcomes = (thread.join().unwrap(), second.join().unwrap());
        assert_eq!(outcomes, (Err(NoRoom), Err(NoRoom)));
        assert_eq!(model.audit().len(), 0);
    });
}

#[test]
fn counters_show_what_a_reader_has_seen() {
    explore(3, || {
        let model = Model::new(1, 16);
        let other = Arc::clone(&model);
        let holder = thread::spawn(move || other.held(1, &[0], 0));
        // In a thread of its own: loom leaves out interleavings of the main one.
        let other = Arc::clone(&model);
        let reader = thread::spawn(move || other.look());
        holder.join().unwrap();
        reader.join().unwrap();
        model.audit();
    });
}

impl Model {
    /// What a client may see of slot 0, its counters and its answer's position.
    fn look(&self) {
        let seen = self.seats.last_named(SlotIndex::new(0)).map(|(_, row)| row.word().state());
        let counts = self.seats.tally().read();
        if seen == Some(State::Pending) {
            assert_eq!(counts.reserved, 1, "a booking that was seen is counted");
            let mark = self.ledger.tail.load(Ordering::Relaxed);
            assert!(mark >= 1, "what an answer waits for covers what it saw");
        }
    }
}
