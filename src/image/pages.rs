//! A list of entries numbered from 0, with gaps, that moves nothing when it grows.
//!
//! Numbers come from a log, so that a single one may be far from all others: pages keep what such
//! an entry costs bounded.

/// Entries of a page.
const PAGE_ENTRIES: usize = 256;

type Page<T> = Box<[Option<T>]>;

/// Entries by number.
#[derive(Clone, Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Option<Page<T>>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

fn place(number: u32) -> (usize, usize) {
    let number = number as usize;
    (number / PAGE_ENTRIES, number % PAGE_ENTRIES)
}

impl<T> Pages<T> {
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (page, entry) = place(number);
        self.pages.get(page)?.as_ref()?[entry].as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (page, entry) = place(number);
        self.pages.get_mut(page)?.as_mut()?[entry].as_mut()
    }

    /// Sets the entry of a number; false, changing nothing, if it has one.
    #[must_use]
    pub(super) fn set(&mut self, number: u32, value: T) -> bool {
        let (page, entry) = place(number);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page]
            .get_or_insert_with(|| std::iter::repeat_with(|| None).take(PAGE_ENTRIES).collect());
        let vacant = page[entry].is_none();
        if vacant {
            page[entry] = Some(value);
        }
        vacant
    }

    /// The entries in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = (0_u32..).step_by(PAGE_ENTRIES).zip(&self.pages);
        let pages = numbered.filter_map(|(first, page)| Some((first, page.as_ref()?)));
        pages.flat_map(|(first, page)| {
            (first..).zip(page).filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
        })
    }

    /// The same, giving the entries away; each page is freed when the next is begun.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (u32, T)> {
        let numbered = (0_u32..).step_by(PAGE_ENTRIES).zip(self.pages);
        let pages = numbered.filter_map(|(first, page)| Some((first, page?)));
        pages.flat_map(|(first, page)| {
            (first..).zip(page).filter_map(|(number, entry)| Some((number, entry?)))
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
