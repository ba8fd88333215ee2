//! What the server has acknowledged, to be held against what it says afterwards.

use std::collections::HashMap;

use uuid::Uuid;

use super::operation::{Asked, Seats};

/// How many wrong answers are told in full.
const WRONGS_MAX: usize = 20;

/// How a booking ended, as far as its client was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Nothing was told, and nothing asked for.
    None,
    /// Told: confirmed, cancelled or expired.
    Confirmed,
    Cancelled,
    Expired,
    /// Asked for, without an answer that settles it.
    PerhapsConfirmed,
    PerhapsCancelled,
}

/// An acknowledged booking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    /// When the hold ends, in milliseconds since 1970 by the server's clock.
    pub(super) deadline: i64,
    pub(super) user: u32,
    pub(super) event: u32,
    first: u32,
    count: u8,
    pub(super) ending: Ending,
}

/// Everything that was acknowledged to one thread, or to all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    /// The entries' seats, each entry's in one piece.
    seats: Vec<u32>,
    /// Holds that were asked for and may or may not have been made.
    pub(super) unknown: Vec<Asked>,
    wrongs: Wrongs,
}

/// Answers that no right server gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wrongs {
    pub(super) told: Vec<String>,
    pub(super) count: u64,
}

impl Wrongs {
    /// Notes one.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < WRONGS_MAX {
            self.told.push(what());
        }
    }

    /// Adds what another has noted.
    pub(super) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.told.extend(other.told);
        self.told.truncate(WRONGS_MAX);
    }
}

impl Ledger {
    /// What several threads were told.
    pub(super) fn of(ledgers: impl Iterator<Item = Self>) -> Self {
        ledgers.fold(Self::default(), |mut all, ledger| {
            all.append(ledger);
            all
        })
    }

    /// Enters a booking; gives its index.
    pub(super) fn enter(&mut self, id: Uuid, deadline: i64, asked: &Asked) -> u32 {
        let index = index(self.entries.len());
        let first = index_of_seat(self.seats.len());
        self.seats.extend_from_slice(&asked.seats);
        self.entries.push(Entry {
            id,
            deadline,
            user: asked.user,
            event: asked.event,
            first,
            count: u8::try_from(asked.seats.len()).unwrap_or(u8::MAX),
            ending: Ending::None,
        });
        index
    }

    /// The entry of this index.
    pub(super) fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    /// Notes what became of a booking.
    pub(super) fn end(&mut self, index: u32, ending: Ending) {
        self.entries[index as usize].ending = ending;
    }

    /// An entry's seats.
    pub(super) fn seats(&self, entry: &Entry) -> &[u32] {
        let first = entry.first as usize;
        &self.seats[first..first + usize::from(entry.count)]
    }

    /// An entry's seats, as a request names them.
    pub(super) fn seats_of(&self, index: u32) -> Seats {
        let mut seats = Seats::default();
        for seat in self.seats(self.entry(index)) {
            seats.add(*seat);
        }
        seats
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The first and the last deadline.
    pub(super) fn deadlines(&self) -> Option<(i64, i64)> {
        let deadlines = || self.entries.iter().map(|entry| entry.deadline);
        Some((deadlines().min()?, deadlines().max()?))
    }

    /// Notes an answer that no right server gives.
    pub(super) fn wrong(&mut self, what: impl FnOnce() -> String) {
        self.wrongs.note(what);
    }

    /// Such answers.
    pub(super) const fn wrongs(&self) -> &Wrongs {
        &self.wrongs
    }

    /// Adds another thread's.
    pub(super) fn append(&mut self, other: Self) {
        let moved = index_of_seat(self.seats.len());
        let entries = other.entries.into_iter();
        self.entries.extend(entries.map(|entry| Entry { first: entry.first + moved, ..entry }));
        self.seats.extend(other.seats);
        self.unknown.extend(other.unknown);
        self.wrongs.add(other.wrongs);
    }

    /// The entries of each user, to be looked up by booking.
    pub(super) fn by_user(&self, users: usize) -> Vec<HashMap<Uuid, &Entry>> {
        let mut by_user = vec![HashMap::new(); users];
        for entry in &self.entries {
            by_user[entry.user as usize].insert(entry.id, entry);
        }
        by_user
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("bookings of a run are counted in 32 bits")
}

fn index_of_seat(length: usize) -> u32 {
    u32::try_from(length).expect("seats held in a run are counted in 32 bits")
}
