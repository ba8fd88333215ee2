//! An event's counters, consistent with each other and with the bookings that clients have seen.
//!
//! ```text
//!  63             43 42              22 21                 0
//!  | reserved (21) |    sold (21)     |   changing (22)    |
//! ```
//!
//! A transition adds one to `changing` before the compare-and-swap that decides it, and takes that
//! one back together with its change of the counters, in one addition, afterwards. While `changing`
//! is 0 the counters are therefore those of all decided transitions, no more and no less; a reader
//! waits for such an instant. (Counting after the fact alone would let a client see a booking that
//! the counters do not show yet.)
//!
//! `reserved` stands at the top: a confirmation may be counted before the hold that it depends on,
//! and the borrow then leaves the word instead of disturbing the other fields.
//!
//! Orderings: `begin` is sequenced before the deciding compare-and-swap, which releases; whoever
//! has seen the decision (acquire) therefore sees `changing` above 0 or the counted change. `end`
//! releases, with the acquiring load in `read`, so that a reader of the counters has also seen all
//! that came before the changes it counts, the log's reserved mark above all.

use crate::sync::{AtomicU64, Ordering, yield_now};

const SOLD_SHIFT: u32 = 22;
const RESERVED_SHIFT: u32 = 43;
const CHANGING_MASK: u64 = (1 << SOLD_SHIFT) - 1;
const COUNT_MASK: u64 = (1 << 21) - 1;
const _: () = assert!((crate::domain::SEATS_PER_EVENT_MAX as u64) <= COUNT_MASK);

/// How often a reader looks again before it lets other threads run.
const SPINS: u32 = 64;

/// The counters of an event.
#[derive(Debug)]
pub(super) struct Tally(AtomicU64);

/// What the counters say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) reserved: u32,
    pub(super) sold: u32,
}

/// What a transition does to the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Nothing: it was decided by somebody else.
    None,
    /// So many tickets were held.
    Held(u32),
    /// So many were bought.
    Sold(u32),
    /// So many were given back.
    Released(u32),
}

impl Tally {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Announces a transition.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an announced transition.
    pub(super) fn end(&self, change: Change) {
        self.0.fetch_add(change.delta().wrapping_sub(1), Ordering::Release);
    }

    /// The counters at an instant at which no transition was half done.
    pub(super) fn read(&self) -> Counts {
        let mut spins = 0;
        loop {
            let word = self.0.load(Ordering::Acquire);
            if word & CHANGING_MASK == 0 {
                return Counts {
                    reserved: field(word, RESERVED_SHIFT),
                    sold: field(word, SOLD_SHIFT),
                };
            }
            spins += 1;
            if spins % SPINS == 0 || cfg!(any(booking_loom, booking_shuttle)) {
                yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

fn field(word: u64, shift: u32) -> u32 {
    ((word >> shift) & COUNT_MASK) as u32
}

impl Change {
    fn delta(self) -> u64 {
        let reserved = |count: u32| u64::from(count) << RESERVED_SHIFT;
        match self {
            Self::None => 0,
            Self::Held(count) => reserved(count),
            Self::Sold(count) => (u64::from(count) << SOLD_SHIFT).wrapping_sub(reserved(count)),
            Self::Released(count) => reserved(count).wrapping_neg(),
        }
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use super::*;

    #[test]
    fn changes_add_up_in_any_order() {
        let tally = Tally::new();
        for _ in 0..3 {
            tally.begin();
        }
        tally.end(Change::Released(4));
        tally.end(Change::Sold(1_000_000 - 4));
        tally.end(Change::Held(1_000_000));
        assert_eq!(tally.read(), Counts { reserved: 0, sold: 999_996 });
    }

    #[test]
    fn a_reader_waits_for_a_transition_that_is_half_done() {
        let tally = Tally::new();
        tally.begin();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| tally.read());
            tally.end(Change::Held(2));
            assert_eq!(reader.join().unwrap(), Counts { reserved: 2, sold: 0 });
        });
    }
}
