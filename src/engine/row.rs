//! A booking's row: what never changes about it, and the one word that decides.
//!
//! ```text
//!  status word   63                     16 15          4 3       0
//!                |  time, milliseconds (48) | count (12) | state (4) |
//! ```
//!
//! `time` is the deadline while the state is pending, the clock value that decided once it is
//! confirmed, cancelled or expired, and 0 before. `count` is kept 0: it leaves room for transitions
//! that repeat on one row. The word is written by compare-and-swap alone, from the exact word that
//! was read; no word ever returns to an old value.

use crate::domain::{
    Amount, BookingStatus, EventNumber, RequestStamp, RowNumber, Slots, Tag, Timestamp, UserNumber,
};
use crate::sync::{AtomicU64, Ordering};

const STATE_MASK: u64 = 0xF;
const TIME_SHIFT: u32 = 16;

/// Where a booking stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Taking its slots; nothing is decided.
    Acquiring,
    /// Dead before it lived: a slot was taken.
    RefusedConflict,
    /// Dead before it lived: the log had no room.
    RefusedNoRoom,
    /// Live until its deadline.
    Pending,
    /// Live for good.
    Confirmed,
    /// Dead.
    Cancelled,
    /// Dead.
    Expired,
}

const STATES: [State; 7] = [
    State::Acquiring,
    State::RefusedConflict,
    State::RefusedNoRoom,
    State::Pending,
    State::Confirmed,
    State::Cancelled,
    State::Expired,
];

/// A status word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word(u64);

impl Word {
    pub(super) const ACQUIRING: Self = Self(State::Acquiring as u64);

    pub(super) const fn new(state: State, time: Timestamp) -> Self {
        Self((time.millis() << TIME_SHIFT) | state as u64)
    }

    pub(super) fn state(self) -> State {
        STATES[usize::try_from(self.0 & STATE_MASK).expect("4 bits")]
    }

    /// The deadline of a pending booking; when a confirmed or dead one became so.
    pub(super) const fn time(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> TIME_SHIFT)
    }

    /// What clients may know of it: nothing as long as it has not been pending.
    pub(super) fn status(self) -> Option<BookingStatus> {
        match self.state() {
            State::Acquiring | State::RefusedConflict | State::RefusedNoRoom => None,
            State::Pending => Some(BookingStatus::Pending),
            State::Confirmed => Some(BookingStatus::Confirmed),
            State::Cancelled => Some(BookingStatus::Cancelled),
            State::Expired => Some(BookingStatus::Expired),
        }
    }
}

/// An idempotency key and fingerprint that a row keeps until its record is written.
#[derive(Clone, Debug)]
pub(super) struct OwnedStamp {
    key: Box<str>,
    fingerprint: u128,
}

impl OwnedStamp {
    pub(super) fn new(stamp: RequestStamp<'_>) -> Box<Self> {
        Box::new(Self { key: stamp.key.into(), fingerprint: stamp.fingerprint })
    }

    pub(super) fn borrow(&self) -> RequestStamp<'_> {
        RequestStamp { key: &self.key, fingerprint: self.fingerprint }
    }
}

/// What never changes about a booking.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) tag: Tag,
    pub(super) user: UserNumber,
    pub(super) slots: Slots,
    pub(super) total: Amount,
    pub(super) created_at: Timestamp,
    /// How long the hold lasts, in milliseconds.
    pub(super) ttl_millis: u32,
    /// Kept so that whoever decides the booking can write its whole record.
    pub(super) stamp: Option<Box<OwnedStamp>>,
}

impl Terms {
    pub(super) fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.created_at.millis() + u64::from(self.ttl_millis))
    }
}

/// A booking.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) terms: Terms,
    status: AtomicU64,
    /// The LSN of the record that made it, plus one; 0 until that is known.
    made_at: AtomicU64,
    /// The same user's booking before this one; see `users`.
    earlier: AtomicU64,
}

impl Row {
    /// A row that begins to take its slots.
    pub(super) fn acquiring(terms: Terms) -> Self {
        Self::restored(terms, Word::ACQUIRING)
    }

    /// A row that was decided before.
    pub(super) fn restored(terms: Terms, word: Word) -> Self {
        Self {
            terms,
            status: AtomicU64::new(word.0),
            made_at: AtomicU64::new(0),
            earlier: AtomicU64::new(0),
        }
    }

    /// Acquire, with the release of [`Row::decide`]: who sees a decision sees what led to it.
    pub(super) fn word(&self) -> Word {
        Word(self.status.load(Ordering::Acquire))
    }

    /// Replaces the exact word that was read, or returns the one that stands there instead.
    pub(super) fn decide(&self, from: Word, to: Word) -> Result<(), Word> {
        self.status
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|found| Err(Word(found)), |_| Ok(()))
    }

    /// Leaves word of the record that made the booking, for an owner who was helped.
    pub(super) fn note_lsn(&self, lsn: wal::Lsn) {
        // Relaxed: a number on its own, nothing is read on the strength of it.
        self.made_at.store(lsn.get() + 1, Ordering::Relaxed);
    }

    /// The LSN of the record that made the booking, once whoever wrote it has said so.
    pub(super) fn lsn(&self) -> Option<wal::Lsn> {
        self.made_at.load(Ordering::Relaxed).checked_sub(1).map(wal::Lsn::new)
    }

    /// The same user's booking before this one.
    pub(super) fn earlier(&self) -> Link {
        // Relaxed: written before the row was linked (release), read after that link (acquire).
        Link::from_bits(self.earlier.load(Ordering::Relaxed))
    }

    /// Sets the booking before this one, before this one is linked.
    pub(super) fn set_earlier(&self, link: Link) {
        self.earlier.store(link.to_bits(), Ordering::Relaxed);
    }
}

/// Names a row of any event, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link(pub(super) Option<(EventNumber, RowNumber)>);

impl Link {
    /// Bits that no link uses, free for whoever stores one.
    pub(super) const SPARE_BITS: u64 = 0b11 << 62;

    pub(super) fn to_bits(self) -> u64 {
        self.0.map_or(0, |(event, row)| (u64::from(event.get()) << 32) | u64::from(row.get()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    pub(super) fn from_bits(bits: u64) -> Self {
        let bits = bits & !Self::SPARE_BITS;
        let link = (EventNumber::new((bits >> 32) as u32), RowNumber::new(bits as u32));
        Self((bits != 0).then_some(link))
    }
}

const _: () = assert!(((crate::domain::EVENTS_MAX as u64) << 32) & Link::SPARE_BITS == 0);

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_state_and_time() {
        for state in STATES {
            for time in [Timestamp::from_millis(0), Timestamp::MAX] {
                let word = Word::new(state, time);
                assert_eq!((word.state(), word.time()), (state, time));
            }
        }
    }

    #[test]
    fn where_a_booking_was_made_is_known_once_it_is_noted() {
        let row = Row::acquiring(Terms {
            tag: Tag::new(1),
            user: UserNumber::new(0),
            slots: Slots::new(&[crate::domain::SlotIndex::new(0)]),
            total: Amount::MAX,
            created_at: Timestamp::from_millis(1),
            ttl_millis: 1,
            stamp: None,
        });
        assert_eq!(row.lsn(), None);
        row.note_lsn(wal::Lsn::ZERO);
        assert_eq!(row.lsn(), Some(wal::Lsn::ZERO));
    }

    #[test]
    fn a_single_ticket_booking_stays_small() {
        assert!(size_of::<std::sync::OnceLock<Row>>() <= 96, "{}", size_of::<Row>());
    }
}
