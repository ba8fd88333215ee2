//! A log whose order can be read afterwards, and the rules by which it is replayed, written down
//! here once more: each record must be legal given those before it, no ticket may have two live
//! bookings, no user who is deleted a live one.

use std::collections::HashMap;
use std::sync::Mutex;

use wal::{Lsn, Urgency};

use crate::domain::{Fact, RowNumber, Timestamp};
use crate::engine::ledger::{Ledger, NoRoom, Place, Position};
use crate::engine::row::State;
use crate::sync::{AtomicU32, Ordering};

/// What the log does wrong, so that the models can be seen to notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mistake {
    None,
    /// The place of a decision that was lost is filled.
    FillsWhatWasLost,
    /// The place of a decision that was lost is neither filled nor voided.
    LeavesWhatWasLost,
    /// The place of a decision that was won is voided.
    VoidsWhatWasWon,
    /// A record gets its place when it is filled, after the decision, and not before it.
    PlacesLate,
}

/// What became of a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Reserved,
    Void,
    Held { row: u32, user: u32, slots: Vec<u32>, deadline: u64 },
    Ended { row: u32, state: State, at: u64 },
    UserDeleted { user: u32 },
}

/// A log whose order is the order of reservation.
pub(super) struct Places {
    /// The next place; a word of the model checker's, so that reservations interleave with
    /// everything else.
    tail: AtomicU32,
    /// How many places there are.
    room: u32,
    mistake: Mistake,
    entries: Mutex<HashMap<u32, Entry>>,
}

pub(super) struct Slip<'a> {
    places: &'a Places,
    /// None yet if the log makes the mistake of giving it late.
    place: Option<u32>,
    entry: Entry,
}

/// A booking, as replay has it.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    pub(super) user: u32,
    deadline: u64,
    slots: Vec<u32>,
}

impl Places {
    pub(super) fn new(room: u32, mistake: Mistake) -> Self {
        Self { tail: AtomicU32::new(0), room, mistake, entries: Mutex::default() }
    }

    /// What an answer waits for.
    pub(super) fn mark(&self) -> u32 {
        self.tail.load(Ordering::Relaxed)
    }

    fn claim(&self) -> u32 {
        // No stronger than the claim of the real log, so that no edge is lent to the protocol.
        self.tail.fetch_add(1, Ordering::Release)
    }

    fn put(&self, place: u32, entry: Entry) {
        self.entries.lock().unwrap().insert(place, entry);
    }

    /// Replays what was written, by the rules.
    pub(super) fn replay(&self) -> HashMap<u32, Replayed> {
        let entries = self.entries.lock().unwrap();
        let mut holders: HashMap<u32, u32> = HashMap::new();
        let mut rows: HashMap<u32, Replayed> = HashMap::new();
        let mut deleted = Vec::new();
        for place in 0..self.mark().min(self.room) {
            match &entries[&place] {
                Entry::Reserved => panic!("place {place} was neither filled nor voided"),
                Entry::Void => {}
                Entry::Held { row, user, slots, deadline } => {
                    assert!(!deleted.contains(user), "a user who is deleted books: {entries:?}");
                    for slot in slots {
                        let before = holders.insert(*slot, *row);
                        assert_eq!(
                            before, None,
                            "slot {slot} of row {row} sold twice: {entries:?}"
                        );
                    }
                    let (state, user) = (State::Pending, *user);
                    let held = Replayed { state, user, deadline: *deadline, slots: slots.clone() };
                    let twice = rows.insert(*row, held).is_some();
                    assert!(!twice, "row {row} was made twice: {entries:?}");
                }
                Entry::Ended { row, state, at } => {
                    let found = rows.get_mut(row);
                    let found = found
                        .unwrap_or_else(|| panic!("row {row}: effect before cause: {entries:?}"));
                    assert_eq!(found.state, State::Pending, "row {row} ended twice: {entries:?}");
                    assert_eq!(*at >= found.deadline, *state == State::Expired, "ended at {at}");
                    found.state = *state;
                    if *state != State::Confirmed {
                        found.slots.iter().for_each(|slot| assert!(holders.remove(slot).is_some()));
                    }
                }
                Entry::UserDeleted { user } => {
                    let live = [State::Pending, State::Confirmed];
                    let books = rows.values().any(|r| r.user == *user && live.contains(&r.state));
                    assert!(!books, "a user who books is deleted: {entries:?}");
                    deleted.push(*user);
                }
            }
        }
        rows
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
            user: fact.user.get(),
            slots: fact.tickets.iter().map(|slot| slot.get()).collect(),
            deadline: fact.deadline.millis(),
        },
        Fact::Confirmed(fact) => ended(fact.row, fact.at, State::Confirmed),
        Fact::Cancelled(fact) => ended(fact.row, fact.at, State::Cancelled),
        Fact::Expired(fact) => ended(fact.row, fact.at, State::Expired),
        Fact::UserDeleted(fact) => Entry::UserDeleted { user: fact.user.get() },
        Fact::UserCreated(_) | Fact::UserUpdated(_) | Fact::EventCreated(_) | Fact::KeyBound(_) => {
            panic!("the protocols that are modelled log no such fact")
        }
    }
}

impl Ledger for Places {
    type Place<'a> = Slip<'a>;

    fn has_room(&self) -> bool {
        true
    }

    fn reserve(&self, _: Urgency, fact: &Fact<'_>) -> Result<Slip<'_>, NoRoom> {
        let entry = entry_of(fact);
        if self.mistake == Mistake::PlacesLate {
            return Ok(Slip { places: self, place: None, entry });
        }
        let place = self.claim();
        if place >= self.room {
            return Err(NoRoom);
        }
        self.put(place, Entry::Reserved);
        Ok(Slip { places: self, place: Some(place), entry })
    }
}

impl Slip<'_> {
    fn write(self, entry: Entry) -> Position {
        let place = self.place.unwrap_or_else(|| self.places.claim());
        self.places.put(place, entry);
        let lsn = Lsn::new(place.into());
        Position { lsn, wait_for: lsn }
    }
}

impl Place for Slip<'_> {
    fn lsn(&self) -> Lsn {
        self.place.map_or(Lsn::ZERO, |place| Lsn::new(place.into()))
    }

    fn fill(self) -> Position {
        let voids = self.places.mistake == Mistake::VoidsWhatWasWon;
        let entry = if voids { Entry::Void } else { self.entry.clone() };
        self.write(entry)
    }

    fn void(self) {
        let fills = self.places.mistake == Mistake::FillsWhatWasLost;
        let entry = if fills { self.entry.clone() } else { Entry::Void };
        let leaves = self.places.mistake == Mistake::LeavesWhatWasLost;
        if self.place.is_some() && !leaves {
            self.write(entry);
        }
    }
}
