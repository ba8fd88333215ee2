//! What the slot protocol needs of a log: a place that is reserved before a decision and filled, or
//! voided, after it. The log of crate `wal` is one; the models have another that they can look into.

use wal::{Lsn, Urgency};

use crate::domain::Fact;

/// Where an answer stands in the log.
///
/// The answer may be given once the log is answerable up to `wait_for`: then everything that it
/// could have seen outlives a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The LSN of the answer's own record or, for a read or a refusal, the mark it waits for.
    pub lsn: Lsn,
    /// The end of what must be durable first.
    pub wait_for: Lsn,
}

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
