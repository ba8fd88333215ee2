//! What the slot protocol needs of a log: a place that is reserved before a decision and filled, or
//! voided, after it. The log of crate `wal` is one; the models have another that they can look into.

use wal::{Lsn, ReserveError, Urgency};

use super::answer::Position;
use crate::codec;
use crate::domain::Fact;

/// The log could not take a record: it is full, too far ahead of its disk, poisoned or sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoRoom;

/// A log with places.
pub(super) trait Ledger {
    /// A reserved place.
    type Place<'a>: Place
    where
        Self: 'a;

    /// Whether a new hold could be recorded now.
    fn has_room(&self) -> bool;

    /// Reserves a place for `fact` and writes it there, not yet valid.
    fn reserve(&self, urgency: Urgency, fact: &Fact<'_>) -> Result<Self::Place<'_>, NoRoom>;
}

/// A reserved place.
pub(super) trait Place {
    /// Where it is.
    fn lsn(&self) -> Lsn;
    /// Makes the record valid: the decision was won.
    fn fill(self) -> Position;
    /// Makes the place empty: the decision was lost.
    fn void(self);
}

impl Ledger for wal::Log {
    type Place<'a> = wal::Reservation<'a>;

    fn has_room(&self) -> bool {
        wal::Log::has_room(self)
    }

    fn reserve(&self, urgency: Urgency, fact: &Fact<'_>) -> Result<Self::Place<'_>, NoRoom> {
        let encoded = codec::encode(fact);
        wal::Log::reserve(self, encoded.record, urgency, encoded.payload()).map_err(|error| {
            match error {
                ReserveError::NoRoom
                | ReserveError::TooFarAhead
                | ReserveError::Poisoned
                | ReserveError::Sealed => NoRoom,
                ReserveError::TooLong => {
                    unreachable!("a fact is shorter than a frame, as asserted in `codec`")
                }
            }
        })
    }
}

impl Place for wal::Reservation<'_> {
    fn lsn(&self) -> Lsn {
        wal::Reservation::lsn(self)
    }

    fn fill(mut self) -> Position {
        let lsn = wal::Reservation::lsn(&self);
        self.decided();
        Position {
            lsn,
            wait_for: self.commit(),
        }
    }

    fn void(self) {
        wal::Reservation::void(self);
    }
}
