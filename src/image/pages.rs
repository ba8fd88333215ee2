//! A list of entries numbered from 0, with gaps, that moves nothing when it grows.
//!
//! Numbers come from a log, so that a single one may be far from all others: pages keep what such
//! an entry costs bounded, and a tree of them what a gap costs.

use std::collections::BTreeMap;

/// Entries of a page.
const PAGE_ENTRIES: u32 = 64;

type Page<T> = Box<[Option<T>]>;

/// Entries by number.
#[derive(Clone, Debug)]
pub(super) struct Pages<T>(BTreeMap<u32, Page<T>>);

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// The number of the page, and the place in it.
fn place(number: u32) -> (u32, usize) {
    (number / PAGE_ENTRIES, (number % PAGE_ENTRIES) as usize)
}

impl<T> Pages<T> {
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (page, entry) = place(number);
        self.0.get(&page)?[entry].as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (page, entry) = place(number);
        self.0.get_mut(&page)?[entry].as_mut()
    }

    /// Sets the entry of a number; false, changing nothing, if it has one.
    #[must_use]
    pub(super) fn set(&mut self, number: u32, value: T) -> bool {
        let (page, entry) = place(number);
        let empty = || std::iter::repeat_with(|| None).take(PAGE_ENTRIES as usize).collect();
        let entry = &mut self.0.entry(page).or_insert_with(empty)[entry];
        let vacant = entry.is_none();
        if vacant {
            *entry = Some(value);
        }
        vacant
    }

    /// The entries in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.0.iter().flat_map(|(page, entries)| {
            let numbered = (page * PAGE_ENTRIES..).zip(entries);
            numbered.filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
        })
    }

    /// The same, giving the entries away; each page is freed when the next is begun.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (u32, T)> {
        self.0.into_iter().flat_map(|(page, entries)| {
            let numbered = (page * PAGE_ENTRIES..).zip(entries);
            numbered.filter_map(|(number, entry)| Some((number, entry?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_under_their_numbers_and_come_in_order() {
        let mut pages = Pages::default();
        for number in [700, 3, 255, 256, 1 << 30] {
            assert!(pages.set(number, number * 2));
            assert!(!pages.set(number, 0), "set once");
        }
        assert_eq!(pages.get(255), Some(&510));
        assert_eq!((pages.get(4), pages.get(257), pages.get(u32::MAX)), (None, None, None));
        let numbers = [3, 255, 256, 700, 1 << 30];
        assert!(pages.iter().map(|(number, _)| number).eq(numbers));
        *pages.get_mut(3).expect("set") = 1;
        assert!(pages.into_iter().eq([
            (3, 1),
            (255, 510),
            (256, 512),
            (700, 1400),
            (1 << 30, 1 << 31)
        ]));
    }
}
