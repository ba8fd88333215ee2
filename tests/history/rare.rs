//! States that a history must have reached, or it has tested less than it says.

use std::collections::BTreeMap;
use std::fmt;

/// Something that happens seldom and matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rare {
    /// A hold was refused while another was pending.
    RefusedByHold,
    /// A hold was refused because a ticket was sold.
    RefusedBySale,
    /// A hold was refused although some of its tickets were free.
    RefusedInPart,
    /// A hold was refused by the same user's own booking.
    RefusedByOwn,
    /// A hold took a ticket whose last hold had lapsed while it was asked for.
    Takeover,
    ConfirmAfterExpiry,
    CancelAfterExpiry,
    ConfirmAfterCancel,
    CancelAfterConfirm,
    ConfirmAgain,
    CancelAgain,
    NotYours,
    /// A user asked for just the tickets of its own pending booking.
    SameSet,
    /// The same with an idempotency key.
    SameSetWithKey,
    Replayed,
    /// A key stood for its success after the server had been killed and started again.
    ReplayedAfterKill,
    /// A key told that a request without an answer had been carried out.
    ReplayedUnknown,
    InFlight,
    KeyReused,
    /// A request without an answer had been carried out.
    UnknownHappened,
    /// A request without an answer had not.
    UnknownDidNot,
    KilledWriteHappened,
    KilledWriteDidNot,
    KilledRead,
    HungUpHappened,
    ImpatientHappened,
    /// A request of which only a part was sent.
    HalfSent,
    /// A hold from before a kill was confirmed after it.
    ConfirmedAfterKill,
    /// A hold was confirmed within the last milliseconds before its deadline.
    ConfirmedJustBefore,
    /// A confirmation that began within milliseconds after the deadline was refused.
    RefusedJustAfter,
    /// A booking was read as pending within the last milliseconds before its deadline.
    PendingJustBefore,
    /// A booking was read as expired within milliseconds after its deadline.
    ExpiredJustAfter,
}

/// What must have happened, at least once each.
const REQUIRED: [Rare; 32] = {
    use Rare::*;
    [
        RefusedByHold,
        RefusedBySale,
        RefusedInPart,
        RefusedByOwn,
        Takeover,
        ConfirmAfterExpiry,
        CancelAfterExpiry,
        ConfirmAfterCancel,
        CancelAfterConfirm,
        ConfirmAgain,
        CancelAgain,
        NotYours,
        SameSet,
        SameSetWithKey,
        Replayed,
        ReplayedAfterKill,
        ReplayedUnknown,
        InFlight,
        KeyReused,
        UnknownHappened,
        UnknownDidNot,
        KilledWriteHappened,
        KilledWriteDidNot,
        KilledRead,
        HungUpHappened,
        ImpatientHappened,
        HalfSent,
        ConfirmedAfterKill,
        ConfirmedJustBefore,
        RefusedJustAfter,
        PendingJustBefore,
        ExpiredJustAfter,
    ]
};

/// How often each was reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached(BTreeMap<Rare, u64>);

impl Reached {
    pub(crate) fn reach(&mut self, rare: Rare) {
        *self.0.entry(rare).or_default() += 1;
    }

    pub(crate) fn count(&self, rare: Rare) -> u64 {
        self.0.get(&rare).copied().unwrap_or(0)
    }

    /// What was required and never reached.
    pub(crate) fn missing(&self) -> Vec<Rare> {
        REQUIRED.into_iter().filter(|rare| self.count(*rare) == 0).collect()
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(rare, count)| write!(f, "{rare:?} {count}, "))
    }
}

#[test]
fn what_was_never_reached_is_missing() {
    let mut reached = Reached::default();
    assert_eq!(reached.missing().len(), REQUIRED.len());
    reached.reach(Rare::Takeover);
    assert_eq!(reached.missing().len(), REQUIRED.len() - 1);
    assert!(!reached.missing().contains(&Rare::Takeover));
}
