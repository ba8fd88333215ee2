//! What can be wrong with a history, by kind.

use std::collections::BTreeMap;
use std::fmt;

/// The rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Kind {
    /// An acknowledged change is not in the log (G3).
    LostWrite,
    /// The log has a change that nobody had asked for, or whose request was never sent whole.
    Unasked,
    /// A record and the answer to the request that it belongs to say different things (G2).
    RecordDiffers,
    /// An acknowledged change does not stand where its answer said.
    WrongPosition,
    /// A ticket was taken that a live booking had (G1).
    TicketTaken,
    /// A booking ended that was not pending (G2).
    NotPending,
    /// A hold was confirmed or cancelled at or after its deadline (G5).
    EndedLate,
    /// A hold expired before its deadline (G5).
    ExpiredEarly,
    /// A record that cannot follow those before it for another reason.
    IllegalRecord,
    /// An operation that ended before another began stands behind it (G4).
    OrderAgainstTime,
    /// A refusal that no state during the request justifies (G4).
    UnjustifiedRefusal,
    /// A read, or an answer that repeats a success, that no state during the request justifies (G4).
    UnjustifiedRead,
    /// A hold was seen alive after its deadline (G5).
    SeenAfterDeadline,
    /// A time in a record lies outside of the request that it belongs to, or in the future.
    TimeUntrue,
    /// One idempotency key did two things.
    DoneTwice,
    /// A key that stood for a success was not answered with it, or with another one.
    WrongReplay,
    /// A request was refused because of its key, and no other request with that key was there.
    KeyUnjustified,
    /// An answer that does not belong to its request.
    StrangeAnswer,
    /// The server closed a connection without having been killed.
    LostConnection,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 19] = [
        Self::LostWrite,
        Self::Unasked,
        Self::RecordDiffers,
        Self::WrongPosition,
        Self::TicketTaken,
        Self::NotPending,
        Self::EndedLate,
        Self::ExpiredEarly,
        Self::IllegalRecord,
        Self::OrderAgainstTime,
        Self::UnjustifiedRefusal,
        Self::UnjustifiedRead,
        Self::SeenAfterDeadline,
        Self::TimeUntrue,
        Self::DoneTwice,
        Self::WrongReplay,
        Self::KeyUnjustified,
        Self::StrangeAnswer,
        Self::LostConnection,
    ];
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    told: String,
}

/// What a checker found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Violations {
    /// The first ones, with what is known of them.
    first: Vec<Violation>,
    counts: BTreeMap<Kind, u64>,
}

impl Violations {
    /// How many are told in full.
    const TOLD_MAX: usize = 20;

    pub(crate) fn add(&mut self, kind: Kind, told: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += 1;
        if self.first.len() < Self::TOLD_MAX {
            self.first.push(Violation { kind, told: told() });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.counts.contains_key(&kind)
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "violations by kind: {:?}", self.counts)?;
        self.first.iter().try_for_each(|Violation { kind, told }| writeln!(f, "- {kind:?}: {told}"))
    }
}
