//! What idempotency keys stand for, and which requests carried them.

use std::collections::HashMap;

use booking_manager::domain::{EventNumber, Subject};

use super::history::{Asked, KeyNumber, Operation, Outcome};
use super::records::Record;

/// What a key was bound to.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// The record that bound it.
    pub(crate) lsn: u64,
    /// The time in that record.
    pub(crate) at: u64,
    pub(crate) subject: Subject,
    /// The request that did it.
    pub(crate) asked: Asked,
    /// In which round.
    pub(crate) round: u32,
    /// Whether that request was never answered.
    pub(crate) was_unknown: bool,
}

/// All keys, until they are forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    bound: HashMap<KeyNumber, Bound>,
}

impl Keys {
    pub(crate) fn get(&self, key: KeyNumber) -> Option<&Bound> {
        self.bound.get(&key)
    }

    /// The record binds its key; false if the key was bound already.
    pub(crate) fn bind(
        &mut self,
        key: KeyNumber,
        record: &Record,
        subject: Subject,
        operation: &Operation,
        round: u32,
    ) -> bool {
        let bound = Bound {
            lsn: record.lsn,
            at: record.at,
            subject,
            asked: operation.asked.clone(),
            round,
            was_unknown: operation.is_unknown(),
        };
        self.bound.insert(key, bound).is_none()
    }

    /// Forgets the keys that stand for something of the events below `event`.
    pub(crate) fn forget_before(&mut self, event: EventNumber) {
        self.bound.retain(|_, bound| match bound.subject {
            Subject::Held(of, _)
            | Subject::HeldAlready(of, _)
            | Subject::Confirmed(of, _)
            | Subject::Cancelled(of, _) => of >= event,
            Subject::UserCreated(_) | Subject::EventCreated(_) => false,
        });
    }
}

/// The requests of a round by the keys that they carried.
#[derive(Debug)]
pub(crate) struct Carriers(HashMap<KeyNumber, Vec<usize>>);

impl Carriers {
    pub(crate) fn of(operations: &[Operation]) -> Self {
        let mut carriers: HashMap<KeyNumber, Vec<usize>> = HashMap::new();
        for (place, operation) in operations.iter().enumerate() {
            if let Some(key) = operation.key {
                carriers.entry(key).or_default().push(place);
            }
        }
        Self(carriers)
    }

    /// Whether another request with the key of this one may have been in flight meanwhile: one for
    /// the same, or one for something else.
    pub(crate) fn overlap(&self, operations: &[Operation], place: usize, same: bool) -> bool {
        let own = &operations[place];
        let (Some(key), Some(answer)) = (own.key, own.answer()) else {
            return false;
        };
        self.0.get(&key).into_iter().flatten().any(|&other| {
            let operation = &operations[other];
            let ends_behind = match &operation.outcome {
                Outcome::Answered(other) => other.at > own.begun,
                Outcome::Unknown(_) => true,
                Outcome::NotSent => false,
            };
            let fits = (operation.asked == own.asked) == same;
            other != place && fits && operation.begun < answer.at && ends_behind
        })
    }
}
