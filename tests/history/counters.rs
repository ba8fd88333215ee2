//! Whether an event's counters were ever what a client was told.
//!
//! The log's order is the order of cause; changes that do not depend on each other may become
//! visible in the other order, if a thread stalls between its place in the log and its decision.
//! So counters are those of a *cut*: the changes up to some position, without at most as many as
//! there are threads that can be stalled, and no change without those that it depends on.

use std::ops::Range;

use super::history::Counters;
use super::model::{Show, Window};

/// How many changes may be missing before a later one: one for each other thread that changes
/// bookings. The servers under test have four threads for HTTP and the sweeper.
const STALLED_MAX: usize = 4;

/// How many cuts are looked at before the search is given up.
const CUTS_MAX: u32 = 5_000_000;

/// How counters are justified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Justified {
    /// They are those at a position.
    ByPosition,
    /// They are those of a cut that leaves out changes which were not visible yet.
    ByCut,
    /// They never were.
    Never,
    /// The search was given up.
    Undecided,
}

/// Looks for the counters in the window.
pub(crate) fn justify(show: &Show, window: Window, seen: Counters) -> Justified {
    let wanted = (i64::from(seen.reserved), i64::from(seen.sold));
    let begin = show.changes.partition_point(|change| change.lsn < window.low);
    let end = show.changes.partition_point(|change| change.lsn < window.high);
    if seen.available + seen.reserved + seen.sold != show.seats() {
        return Justified::Never;
    }
    if (begin..=end).any(|count| after(show, count) == wanted) {
        return Justified::ByPosition;
    }
    let mut search = Search { show, left: CUTS_MAX, missing: Vec::new() };
    for count in begin + 1..=end {
        let (reserved, sold) = after(show, count);
        let surplus = (reserved - wanted.0, sold - wanted.1);
        // The last change of a cut is in it.
        if search.find(begin..count - 1, count, surplus) {
            return Justified::ByCut;
        }
    }
    if search.left == 0 { Justified::Undecided } else { Justified::Never }
}

/// Reserved and sold after the first `count` changes.
fn after(show: &Show, count: usize) -> (i64, i64) {
    count.checked_sub(1).map_or((0, 0), |last| {
        let change = show.changes[last];
        (change.reserved, change.sold)
    })
}

struct Search<'m> {
    show: &'m Show,
    left: u32,
    /// The changes that are left out, in ascending order.
    missing: Vec<usize>,
}

impl Search<'_> {
    /// Whether leaving out some of `candidates` takes `surplus` away and leaves a cut of the first
    /// `count` changes.
    fn find(&mut self, candidates: Range<usize>, count: usize, surplus: (i64, i64)) -> bool {
        if surplus == (0, 0) && !self.missing.is_empty() && self.is_cut(count) {
            return true;
        }
        if self.missing.len() == STALLED_MAX {
            return false;
        }
        for candidate in candidates.clone() {
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            let (before, behind) = (after(self.show, candidate), after(self.show, candidate + 1));
            let rest = (surplus.0 - (behind.0 - before.0), surplus.1 - (behind.1 - before.1));
            self.missing.push(candidate);
            let found = self.find(candidate + 1..candidates.end, count, rest);
            self.missing.pop();
            if found {
                return true;
            }
        }
        false
    }

    /// Whether nothing that is left in depends on what is left out.
    fn is_cut(&self, count: usize) -> bool {
        self.missing.iter().all(|&missing| {
            let later = (missing + 1..count).filter(|later| !self.missing.contains(later));
            later.into_iter().all(|later| !self.depends(later, missing))
        })
    }

    /// Whether two changes touch the same booking or the same ticket.
    fn depends(&self, later: usize, earlier: usize) -> bool {
        let (later, earlier) = (self.show.changes[later].row, self.show.changes[earlier].row);
        let slots = self.show.slots_of(earlier);
        later == earlier || self.show.slots_of(later).iter().any(|slot| slots.contains(slot))
    }
}

#[cfg(test)]
mod tests {
    use booking_manager::domain::{BookingId, EventNumber, RowNumber, SlotIndex, Tag, UserNumber};

    use super::*;
    use crate::model::Model;
    use crate::records::{Deed, How, Record};

    const EVENT: EventNumber = EventNumber::new(0);

    fn record(lsn: u64, deed: Deed) -> Record {
        Record { lsn, at: 0, key: None, deed }
    }

    fn held(lsn: u64, row: u32, slot: u32) -> Record {
        let booking = BookingId { event: EVENT, row: RowNumber::new(row), tag: Tag::new(0) };
        let (user, slots) = (UserNumber::new(0), [SlotIndex::new(slot)].into());
        record(lsn, Deed::Held { booking, user, slots, total: 5, deadline: 9 })
    }

    fn ended(lsn: u64, row: u32, how: How) -> Record {
        record(lsn, Deed::Ended { event: EVENT, row: RowNumber::new(row), how })
    }

    fn justified(window: Window, reserved: u32, sold: u32) -> Justified {
        let mut model = Model::default();
        let records = [
            record(0, Deed::Event { event: EVENT, seats: 10, price: 5 }),
            held(100, 1, 1),
            held(200, 2, 2),
            ended(300, 1, How::Confirmed),
            ended(400, 2, How::Cancelled),
            held(500, 3, 2),
        ];
        records.iter().for_each(|record| model.apply(record).expect("it is legal"));
        let available = 10 - reserved - sold;
        let show = model.show(EVENT).expect("it was created");
        justify(show, window, Counters { available, reserved, sold })
    }

    #[test]
    fn counters_are_those_of_a_position_in_the_window() {
        let window = Window { low: 201, high: 400 };
        assert_eq!(justified(window, 2, 0), Justified::ByPosition);
        assert_eq!(justified(window, 1, 1), Justified::ByPosition);
        assert_eq!(justified(window, 1, 0), Justified::Never, "before the window");
        assert_eq!(justified(window, 0, 1), Justified::Never, "behind the window");
    }

    #[test]
    fn a_cut_may_leave_out_what_nothing_depends_on() {
        let window = Window { low: 201, high: 500 };
        // The cancellation was visible before the confirmation, which does not depend on it.
        assert_eq!(justified(window, 1, 0), Justified::ByCut);
        let window = Window { low: 301, high: 600 };
        // The seat that was given back cannot be taken before.
        assert_eq!(justified(window, 2, 1), Justified::Never);
        // Nor can a hold be missing that was visible when the request began.
        assert_eq!(justified(Window { low: 101, high: 400 }, 0, 1), Justified::ByCut);
        assert_eq!(justified(Window { low: 201, high: 400 }, 0, 1), Justified::Never);
    }
}
