//! Which record of the log belongs to which request.
//!
//! An answered change names its record, by the booking's id or by its position. What is left over
//! in the log must have been asked for by a request that was sent and never answered, and that
//! began before the record: its position is not below anything that had ended by then, and its time
//! is no earlier.

use std::collections::HashMap;

use booking_manager::domain::{
    BookingId, BookingStatus, EventNumber, RowNumber, SlotIndex, Subject, UserNumber,
};

use super::checker::Round;
use super::history::{Answer, Asked, Ending, KeyNumber, Operation, Outcome, Said, Seen};
use super::records::{Deed, How, Record};
use super::violations::{Kind, Violations};

/// The pairs.
#[derive(Debug)]
pub(crate) struct Matching<'r> {
    round: &'r Round,
    /// For each operation, the place of its own record.
    record_of: Vec<Option<usize>>,
    /// For each record, the place of its operation.
    operation_of: Vec<Option<usize>>,
}

impl<'r> Matching<'r> {
    /// Pairs the answered operations.
    pub(crate) fn answered(round: &'r Round, violations: &mut Violations) -> Self {
        let mut matching = Self {
            round,
            record_of: vec![None; round.operations.len()],
            operation_of: vec![None; round.records.len()],
        };
        let made = matching.made();
        for (place, operation) in round.operations.iter().enumerate() {
            let Some(answer) = operation.answer().filter(|answer| !answer.replayed) else {
                continue;
            };
            let found = match &answer.said {
                Said::Made(seen, _) => made.get(&seen.id).copied(),
                Said::Existing(..) if operation.key.is_none() => continue,
                Said::Existing(..) => matching.at(answer.position),
                // A mark may happen to be where somebody else's record is.
                Said::Ended(_) => matching.at(answer.position).filter(|&record| {
                    let record = &round.records[record];
                    record.key == operation.key && fits(&operation.asked, record)
                }),
                Said::Booking(_)
                | Said::Counters(_)
                | Said::Tickets(_)
                | Said::Refused(_)
                | Said::Strange(_) => continue,
            };
            // Without a key, a confirmation may repeat one that has a record already.
            let repeats = matches!(answer.said, Said::Ended(_)) && operation.key.is_none();
            match found {
                Some(record) => matching.pair(place, record, violations),
                None if repeats => {}
                None => violations.add(Kind::LostWrite, || {
                    format!("acknowledged, and not in the log: {operation:?}")
                }),
            }
        }
        matching
    }

    /// The records that made bookings.
    fn made(&self) -> HashMap<BookingId, usize> {
        let records = self.round.records.iter().enumerate();
        let held = records.filter_map(|(place, record)| match record.deed {
            Deed::Held { booking, .. } => Some((booking, place)),
            Deed::Event { .. } | Deed::Ended { .. } | Deed::KeyBound(_) | Deed::User => None,
        });
        held.collect()
    }

    fn at(&self, position: u64) -> Option<usize> {
        self.round.records.binary_search_by_key(&position, |record| record.lsn).ok()
    }

    fn pair(&mut self, place: usize, record: usize, violations: &mut Violations) {
        let (operation, told) = (&self.round.operations[place], &self.round.records[record]);
        if let Some(other) = self.operation_of[record] {
            let other = &self.round.operations[other];
            violations.add(Kind::DoneTwice, || {
                format!("both claim {told:?}: {other:?} and {operation:?}")
            });
            return;
        }
        self.record_of[place] = Some(record);
        self.operation_of[record] = Some(place);
        if let Some(difference) = difference(operation, told) {
            violations.add(Kind::RecordDiffers, || {
                format!("{difference} differs between {told:?} and {operation:?}")
            });
        }
        let Some(Answer { position, .. }) = operation.answer() else {
            return;
        };
        // A hold that another thread finished may not know where; its mark lies behind its record.
        let helped = matches!(told.deed, Deed::Held { .. }) && *position > told.lsn;
        if *position != told.lsn && !helped {
            violations
                .add(Kind::WrongPosition, || format!("{told:?} is not where {operation:?} says"));
        }
    }

    /// Pairs what is left in the log with operations that were not answered; `low` is the lowest
    /// position at which each operation can stand.
    pub(crate) fn unknown(&mut self, low: &[u64], violations: &mut Violations) {
        let candidates = Candidates::of(&self.round.operations);
        for (place, record) in self.round.records.iter().enumerate() {
            let nobody_asks = match &record.deed {
                Deed::Event { .. } | Deed::User => true,
                Deed::Ended { how, .. } => *how == How::Expired && record.key.is_none(),
                Deed::Held { .. } | Deed::KeyBound(_) => false,
            };
            if nobody_asks || self.operation_of[place].is_some() {
                continue;
            }
            let found = candidates.for_record(record).iter().copied().find(|&candidate| {
                let operation = &self.round.operations[candidate];
                let is_free = self.record_of[candidate].is_none();
                // Of two that ask for the same, the later may not have been there yet.
                let has_begun = self.round.clock.earliest_reading(operation.begun) <= record.at;
                let may_stand_there = has_begun && low[candidate] <= record.lsn;
                is_free && may_stand_there && fits(&operation.asked, record)
            });
            match found {
                Some(operation) => {
                    self.record_of[operation] = Some(place);
                    self.operation_of[place] = Some(operation);
                }
                None => violations
                    .add(Kind::Unasked, || format!("no request that was sent asks for {record:?}")),
            }
        }
    }

    /// The record of an operation.
    pub(crate) fn record(&self, operation: usize) -> Option<&'r Record> {
        self.record_of[operation].map(|record| &self.round.records[record])
    }

    /// The operation that a record belongs to.
    pub(crate) fn operation(&self, record: usize) -> Option<usize> {
        self.operation_of[record]
    }
}

/// Whether the record can be what was asked for.
pub(crate) fn fits(asked: &Asked, record: &Record) -> bool {
    match (asked, &record.deed) {
        (
            Asked::Hold { user, event, slots },
            Deed::Held { booking, user: holder, slots: held, .. },
        ) => user == holder && *event == booking.event && slots == held,
        (Asked::End { ending, booking, .. }, Deed::Ended { event, row, how }) => {
            (booking.event, booking.row) == (*event, *row) && how_of(*ending) == *how
        }
        (Asked::Hold { event, .. }, Deed::KeyBound(Subject::HeldAlready(of, _))) => event == of,
        (Asked::End { ending, booking, .. }, Deed::KeyBound(subject)) => {
            *subject == subject_of(*ending, booking.event, booking.row)
        }
        (
            Asked::Hold { .. },
            Deed::Event { .. } | Deed::Ended { .. } | Deed::KeyBound(_) | Deed::User,
        )
        | (Asked::End { .. }, Deed::Event { .. } | Deed::Held { .. } | Deed::User)
        | (Asked::Booking(_) | Asked::Counters(_) | Asked::Tickets { .. }, _) => false,
    }
}

/// What differs between an answered operation and its record.
fn difference(operation: &Operation, record: &Record) -> Option<&'static str> {
    if operation.key != record.key {
        return Some("the key");
    }
    let said = match &operation.outcome {
        Outcome::Answered(answer) => &answer.said,
        Outcome::Unknown(_) | Outcome::NotSent => return None,
    };
    match (said, &record.deed) {
        (Said::Made(seen, left), Deed::Held { .. }) => held_difference(seen, *left, record),
        (Said::Ended(seen), Deed::Ended { how, .. }) => match () {
            () if seen.status != status_of(*how) => Some("the status"),
            () if seen.updated_at != Some(record.at) => Some("the time"),
            () => None,
        },
        (Said::Existing(seen, left), Deed::KeyBound(subject)) => match () {
            () if *subject != Subject::HeldAlready(seen.id.event, seen.id.row) => {
                Some("the subject")
            }
            () if *left != seen.expires_at.saturating_sub(record.at) => Some("what is left"),
            () => None,
        },
        (Said::Ended(_), Deed::KeyBound(_)) => None,
        (_, _) => Some("everything"),
    }
    .or_else(|| (!fits(&operation.asked, record)).then_some("what was asked for"))
}

fn held_difference(seen: &Seen, left: u64, record: &Record) -> Option<&'static str> {
    let Deed::Held { booking, user, slots, total, deadline } = &record.deed else {
        return Some("everything");
    };
    let checks = [
        (seen.id == *booking, "the id"),
        (seen.user == *user, "the user"),
        (seen.slots == *slots, "the tickets"),
        (seen.status == BookingStatus::Pending, "the status"),
        (seen.total == *total, "the total"),
        (seen.created_at == record.at, "the time"),
        (seen.expires_at == *deadline, "the deadline"),
        (left == deadline.saturating_sub(record.at), "what is left"),
    ];
    checks.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
}

const fn how_of(ending: Ending) -> How {
    match ending {
        Ending::Confirm => How::Confirmed,
        Ending::Cancel => How::Cancelled,
    }
}

const fn status_of(how: How) -> BookingStatus {
    match how {
        How::Confirmed => BookingStatus::Confirmed,
        How::Cancelled => BookingStatus::Cancelled,
        How::Expired => BookingStatus::Expired,
    }
}

/// What a key stands for that a request to end a booking bound.
pub(crate) const fn subject_of(ending: Ending, event: EventNumber, row: RowNumber) -> Subject {
    match ending {
        Ending::Confirm => Subject::Confirmed(event, row),
        Ending::Cancel => Subject::Cancelled(event, row),
    }
}

/// Operations without an answer, by what a record of theirs would say.
#[derive(Debug, Default)]
struct Candidates<'r> {
    keyed: HashMap<KeyNumber, Vec<usize>>,
    holds: HashMap<(UserNumber, EventNumber, &'r [SlotIndex]), Vec<usize>>,
    ends: HashMap<(EventNumber, RowNumber), Vec<usize>>,
}

impl<'r> Candidates<'r> {
    fn of(operations: &'r [Operation]) -> Self {
        let mut candidates = Self::default();
        for (place, operation) in operations.iter().enumerate() {
            if !operation.is_unknown() {
                continue;
            }
            let list = match (operation.key, &operation.asked) {
                (Some(key), _) => candidates.keyed.entry(key).or_default(),
                (None, Asked::Hold { user, event, slots }) => {
                    candidates.holds.entry((*user, *event, slots)).or_default()
                }
                (None, Asked::End { booking, .. }) => {
                    candidates.ends.entry((booking.event, booking.row)).or_default()
                }
                (None, Asked::Booking(_) | Asked::Counters(_) | Asked::Tickets { .. }) => continue,
            };
            list.push(place);
        }
        candidates
    }

    fn for_record(&self, record: &'r Record) -> &[usize] {
        let list = match (record.key, &record.deed) {
            (Some(key), _) => self.keyed.get(&key),
            (None, Deed::Held { booking, user, slots, .. }) => {
                self.holds.get(&(*user, booking.event, &**slots))
            }
            (None, Deed::Ended { event, row, .. }) => self.ends.get(&(*event, *row)),
            (None, Deed::Event { .. } | Deed::KeyBound(_) | Deed::User) => None,
        };
        list.map_or(&[], Vec::as_slice)
    }
}
