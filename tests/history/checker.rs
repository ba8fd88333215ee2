//! The checker: is this history one of a booking engine that keeps its promises?
//!
//! Round by round (a round ends when the server is killed, or stopped), in time linear in the
//! length of the history:
//!
//! 1. Every acknowledged change is paired with its record in the log, and says the same
//!    ([`super::matching`]).
//! 2. Positions are checked against real time: an operation that ended before another began does
//!    not stand behind it. This also gives each operation the lowest position at which it can
//!    stand: when an answer had come, everything below its position was visible.
//! 3. What else is in the log was asked for by a request without an answer.
//! 4. The records, in their order, are legal by the sequential model ([`super::model`]).
//! 5. Every answer is justified by a state that existed between the operation's lowest position and
//!    its own ([`super::judge`]).

use booking_manager::domain::{EventNumber, Subject};

use super::history::{Asked, Operation, Outcome, Silence};
use super::judge::Judge;
use super::keys::Keys;
use super::matching::{Matching, subject_of};
use super::model::Model;
use super::rare::{Rare, Reached};
use super::records::{Deed, Record};
use super::server_clock::ServerClock;
use super::violations::{Kind, Violations};

/// What happened between two starts of the server.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) operations: Vec<Operation>,
    /// What the log had at the end, that it did not have before.
    pub(crate) records: Vec<Record>,
    pub(crate) clock: ServerClock,
}

/// Figures for whoever reads the test's output.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) operations: u64,
    pub(crate) records: u64,
    pub(crate) writes: u64,
    pub(crate) reads_justified: u64,
    pub(crate) refusals_justified: u64,
    pub(crate) unknown: u64,
    pub(crate) expiries: u64,
    /// Holds whose answer had a mark instead of the position of their record.
    pub(crate) helped: u64,
    /// Counters that were those of no position, but of a cut.
    pub(crate) cuts: u64,
    /// Free tickets that were listed with the time of the event instead of their own.
    pub(crate) times_lost: u64,
    /// Counters that were given up.
    pub(crate) undecided: u64,
}

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checker {
    pub(crate) model: Model,
    pub(crate) keys: Keys,
    pub(crate) violations: Violations,
    pub(crate) reached: Reached,
    pub(crate) figures: Figures,
    pub(crate) round: u32,
    /// Everything that ended in earlier rounds stands below this.
    floor: u64,
}

impl Checker {
    /// Checks one more round.
    pub(crate) fn check(&mut self, round: &Round) {
        let mut matching = Matching::answered(round, &mut self.violations);
        let low = self.order(round, &matching);
        matching.unknown(&low, &mut self.violations);
        self.replay(round, &matching);
        self.take_stock(round, &matching);
        Judge::new(self, round, &matching, &low).judge();
        self.round += 1;
    }

    /// Forgets what concerns the events below `event` alone; nobody asks for them any more.
    pub(crate) fn forget_before(&mut self, event: EventNumber) {
        self.model.forget_before(event);
        self.keys.forget_before(event);
    }

    /// The lowest position at which each operation can stand: that of the highest which had ended
    /// when it began. None stands below its own.
    fn order(&mut self, round: &Round, matching: &Matching<'_>) -> Vec<u64> {
        let operations = &round.operations;
        let mut begins: Vec<usize> = (0..operations.len()).collect();
        begins.sort_unstable_by_key(|&place| operations[place].begun);
        let ends = operations.iter().enumerate();
        let ends = ends.filter_map(|(place, operation)| {
            operation.answer().map(|answer| (answer.at, answer.position, place))
        });
        let mut ends: Vec<_> = ends.collect();
        ends.sort_unstable();
        let mut ends = ends.into_iter().peekable();
        let (mut floor, mut highest) = (self.floor, None);
        let mut low = vec![0; operations.len()];
        let bound = |place: usize, position: u64| {
            let own = matching.record(place).map_or(0, |record| record.lsn + 1);
            position.max(own)
        };
        for place in begins {
            let operation = &operations[place];
            while let Some((_, position, ended)) = ends.next_if(|end| end.0 < operation.begun) {
                if bound(ended, position) > floor {
                    (floor, highest) = (bound(ended, position), Some(ended));
                }
            }
            low[place] = floor;
            let Some(answer) = operation.answer() else {
                continue;
            };
            let stands = matching.record(place).map_or(answer.position, |record| record.lsn);
            if stands < floor {
                self.violations.add(Kind::OrderAgainstTime, || {
                    let before = highest.map(|highest| &operations[highest]);
                    format!("{operation:?} stands before {before:?}, which had ended")
                });
            }
        }
        self.floor =
            ends.fold(floor, |floor, (_, position, ended)| floor.max(bound(ended, position)));
        low
    }

    /// The records one after the other.
    fn replay(&mut self, round: &Round, matching: &Matching<'_>) {
        for (place, record) in round.records.iter().enumerate() {
            if let Err((kind, what)) = self.model.apply(record) {
                self.violations.add(kind, || format!("{record:?}: {what}"));
            }
            let operation = matching.operation(place).map(|operation| &round.operations[operation]);
            let (Some(key), Some(operation)) = (record.key, operation) else {
                continue;
            };
            let Some(subject) = subject(record, operation) else {
                continue;
            };
            if !self.keys.bind(key, record, subject, operation, self.round) {
                self.violations
                    .add(Kind::DoneTwice, || format!("{key:?} had been bound before {record:?}"));
            }
        }
    }

    /// Counts, and what became of requests without an answer.
    fn take_stock(&mut self, round: &Round, matching: &Matching<'_>) {
        self.figures.operations += round.operations.len() as u64;
        self.figures.records += round.records.len() as u64;
        let expired =
            |record: &&Record| matches!(&record.deed, Deed::Ended { .. } if record.key.is_none());
        let unasked = round
            .records
            .iter()
            .enumerate()
            .filter(|(place, record)| expired(record) && matching.operation(*place).is_none());
        self.figures.expiries += unasked.count() as u64;
        for (place, operation) in round.operations.iter().enumerate() {
            let silence = match operation.outcome {
                Outcome::Answered(_) => {
                    self.figures.writes += u64::from(matching.record(place).is_some());
                    continue;
                }
                Outcome::NotSent => {
                    self.reached.reach(Rare::HalfSent);
                    continue;
                }
                Outcome::Unknown(silence) => silence,
            };
            self.figures.unknown += 1;
            if let Silence::Lost(_) = silence {
                self.violations.add(Kind::LostConnection, || format!("{operation:?}"));
            }
            let happened = matching.record(place).is_some();
            self.note_unknown(operation, silence, happened);
        }
    }

    fn note_unknown(&mut self, operation: &Operation, silence: Silence, happened: bool) {
        if !operation.asked.is_write() {
            if silence == Silence::Killed {
                self.reached.reach(Rare::KilledRead);
            }
            return;
        }
        self.reached.reach(if happened { Rare::UnknownHappened } else { Rare::UnknownDidNot });
        match (silence, happened) {
            (Silence::Killed, true) => self.reached.reach(Rare::KilledWriteHappened),
            (Silence::Killed, false) => self.reached.reach(Rare::KilledWriteDidNot),
            (Silence::HungUp, true) => self.reached.reach(Rare::HungUpHappened),
            (Silence::Impatient, true) => self.reached.reach(Rare::ImpatientHappened),
            (Silence::HungUp | Silence::Impatient, false)
            | (Silence::Lost(_) | Silence::NotStored, _) => {}
        }
    }
}

/// What a record binds its key to.
fn subject(record: &Record, operation: &Operation) -> Option<Subject> {
    match (&record.deed, &operation.asked) {
        (Deed::Held { booking, .. }, _) => Some(Subject::Held(booking.event, booking.row)),
        (Deed::Ended { event, row, .. }, Asked::End { ending, .. }) => {
            Some(subject_of(*ending, *event, *row))
        }
        (Deed::KeyBound(subject), _) => Some(*subject),
        (Deed::Ended { .. } | Deed::Event { .. } | Deed::User, _) => None,
    }
}
