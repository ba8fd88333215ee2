//! A table that only grows: entries are numbered from 0, set once, never moved and never freed
//! before the table itself, so that a reference to an entry stays good.
//!
//! A number is claimed first and its entry set afterwards; until then, and for ever if the claimer
//! gives up, the number has no entry. Memory comes in chunks: small ones first, each twice as large
//! as the one before, so that a small table costs little; from [`CHUNK_MAX`] entries on all chunks
//! have that size, found through a directory of two levels, so that no step allocates more than a
//! bounded amount. Two threads that need the same chunk both allocate it and the slower one drops
//! its own: nobody waits for anybody.
//!
//! Orderings: `OnceBox` publishes a chunk with release and reads it with acquire; `OnceLock` does
//! the same for an entry. An entry is set by the thread that claimed its number alone, so `set`
//! never waits. The count is a plain ticket counter: `Relaxed`, nothing is read on the strength of
//! it but the entries, which synchronise by themselves.

use std::fmt;
use std::sync::OnceLock;

use once_cell::race::OnceBox;

use crate::sync::{AtomicU32, Ordering};

/// Entries of the first chunk.
const CHUNK_MIN: u32 = 16;
/// Entries of every chunk behind the growing ones.
const CHUNK_MAX: u32 = 1_024;
/// How many growing chunks there are: 16, 32, … 512.
const GROWING_CHUNKS: usize = (CHUNK_MAX.ilog2() - CHUNK_MIN.ilog2()) as usize;
/// Entries in the growing chunks together.
const GROWING_ENTRIES: u32 = CHUNK_MAX - CHUNK_MIN;
/// Fan-out of both levels of the directory.
const FAN_OUT: usize = 2_048;
/// The most entries a table can have.
const TABLE_ENTRIES_MAX: u32 = u32::MAX - GROWING_ENTRIES;
const _: () = assert!(
    (TABLE_ENTRIES_MAX as u64) <= (FAN_OUT * FAN_OUT) as u64 * CHUNK_MAX as u64,
    "the directory reaches every entry"
);

type Chunk<T> = OnceBox<Box<[OnceLock<T>]>>;
type Chunks<T> = OnceBox<Box<[Chunk<T>]>>;

/// A table that only grows.
pub(super) struct Table<T> {
    claimed: AtomicU32,
    entries_max: u32,
    growing: [Chunk<T>; GROWING_CHUNKS],
    directory: OnceBox<Box<[Chunks<T>]>>,
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("claimed", &self.claimed()).finish_non_exhaustive()
    }
}

fn empty<T>(length: usize, make: impl Fn() -> T) -> Box<[T]> {
    std::iter::repeat_with(make).take(length).collect()
}

impl<T> Table<T> {
    /// An empty table of at most `entries_max` entries.
    pub(super) fn new(entries_max: u32) -> Self {
        Self {
            claimed: AtomicU32::new(0),
            entries_max: entries_max.min(TABLE_ENTRIES_MAX),
            growing: [const { OnceBox::new() }; GROWING_CHUNKS],
            directory: OnceBox::new(),
        }
    }

    /// Claims the next number, unless the table is full. Its memory is there afterwards, so that
    /// setting it allocates nothing.
    pub(super) fn claim(&self) -> Option<u32> {
        let next = |claimed| (claimed < self.entries_max).then(|| claimed + 1);
        let number = self.claimed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        self.cell_or_make(number)?;
        Some(number)
    }

    /// How many numbers have been claimed: the end of what can have an entry.
    pub(super) fn claimed(&self) -> u32 {
        self.claimed.load(Ordering::Relaxed)
    }

    /// Sets the entry of a number that the caller has claimed, or that an image has.
    ///
    /// Returns the entry, or `None` if there was one already.
    pub(super) fn set(&self, number: u32, entry: T) -> Option<&T> {
        self.claimed.fetch_max(number + 1, Ordering::Relaxed);
        let cell = self.cell_or_make(number)?;
        cell.set(entry).ok()?;
        cell.get()
    }

    /// The entry of a number, if it has been set.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, offset) = if number < GROWING_ENTRIES {
            let (chunk, offset) = growing_place(number);
            (self.growing[chunk].get()?, offset)
        } else {
            let (outer, inner, offset) = directory_place(number)?;
            (self.directory.get()?.get(outer)?.get()?[inner].get()?, offset)
        };
        chunk[offset].get()
    }

    /// The entries set so far, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.claimed()).filter_map(|number| Some((number, self.get(number)?)))
    }

    fn cell_or_make(&self, number: u32) -> Option<&OnceLock<T>> {
        if number < GROWING_ENTRIES {
            let (chunk, offset) = growing_place(number);
            let length = (CHUNK_MIN as usize) << chunk;
            let make = || Box::new(empty(length, OnceLock::new));
            return Some(&self.growing[chunk].get_or_init(make)[offset]);
        }
        let (outer, inner, offset) = directory_place(number)?;
        let directory = self.directory.get_or_init(|| Box::new(empty(FAN_OUT, OnceBox::new)));
        let chunks = directory[outer].get_or_init(|| Box::new(empty(FAN_OUT, OnceBox::new)));
        let make = || Box::new(empty(CHUNK_MAX as usize, OnceLock::new));
        Some(&chunks[inner].get_or_init(make)[offset])
    }
}

/// Chunk and offset of a number below [`GROWING_ENTRIES`].
fn growing_place(number: u32) -> (usize, usize) {
    let shifted = number + CHUNK_MIN;
    let chunk = shifted.ilog2() - CHUNK_MIN.ilog2();
    (chunk as usize, (shifted - (CHUNK_MIN << chunk)) as usize)
}

/// Outer and inner place in the directory, and the offset in the chunk, of a higher number.
fn directory_place(number: u32) -> Option<(usize, usize, usize)> {
    let number = number.checked_sub(GROWING_ENTRIES)? as usize;
    let chunk = number / CHUNK_MAX as usize;
    let outer = chunk / FAN_OUT;
    (outer < FAN_OUT).then_some((outer, chunk % FAN_OUT, number % CHUNK_MAX as usize))
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_under_their_numbers() {
        let table = Table::new(u32::MAX);
        for expected in 0..5_000 {
            let number = table.claim().unwrap();
            assert_eq!(number, expected);
            assert_eq!(table.get(number), None, "claimed, but not set");
            assert_eq!(table.set(number, number * 3), Some(&(number * 3)));
        }
        assert!((0..5_000).all(|number| table.get(number) == Some(&(number * 3))));
        assert_eq!(table.iter().count(), 5_000);
        assert_eq!(table.get(5_000), None);
        assert_eq!(table.get(u32::MAX), None);
    }

    #[test]
    fn an_entry_is_set_once() {
        let table = Table::new(10);
        assert!(table.set(3, 'a').is_some());
        assert!(table.set(3, 'b').is_none());
        assert_eq!(table.get(3), Some(&'a'));
        assert_eq!(table.claim(), Some(4), "numbers go on behind what was restored");
    }

    #[test]
    fn a_full_table_gives_no_number() {
        let table = Table::<()>::new(2);
        assert_eq!((table.claim(), table.claim(), table.claim()), (Some(0), Some(1), None));
    }

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let last = GROWING_ENTRIES - 1;
        assert_eq!(growing_place(0), (0, 0));
        assert_eq!(growing_place(CHUNK_MIN), (1, 0));
        assert_eq!(growing_place(last), (GROWING_CHUNKS - 1, CHUNK_MAX as usize / 2 - 1));
        assert_eq!(directory_place(GROWING_ENTRIES), Some((0, 0, 0)));
        assert_eq!(directory_place(GROWING_ENTRIES + CHUNK_MAX), Some((0, 1, 0)));
        assert!(directory_place(TABLE_ENTRIES_MAX - 1).is_some());
    }
}
