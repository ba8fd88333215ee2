//! A good history that can be changed in one place: what the negative controls are made of.

use booking_manager::domain::{BookingId, SlotIndex};

use super::checker::{Checker, Round};
use super::course::{Course, RoundEnd};
use super::history::{Answer, Asked, Moment, Operation, Outcome, Said, Seen};
use super::model::{Model, Window};
use super::records::{Deed, How, Record};

/// What a ticket costs in the events of these tests, in cents.
const PRICE: i64 = 7_500;

/// A history and what the checker made of it when it was good.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) rounds: Vec<Round>,
    pub(crate) model: Model,
}

/// Where an operation is: its round, and its place there.
pub(crate) type Spot = (usize, usize);

impl Story {
    /// Records a history of two rounds with a kill between them; it must be good.
    pub(crate) fn record() -> Self {
        let mut course = Course::start(1, 32, 4, 7);
        let rounds = [RoundEnd::Kill, RoundEnd::Stop].map(|end| course.round(12_000, end));
        course.finish();
        let checker = verdict(&rounds);
        assert!(checker.violations.is_empty(), "{}", checker.violations);
        Self { rounds: rounds.into(), model: checker.model }
    }

    pub(crate) fn operation(&mut self, (round, place): Spot) -> &mut Operation {
        &mut self.rounds[round].operations[place]
    }

    pub(crate) fn answer(&mut self, spot: Spot) -> &mut Answer {
        match &mut self.operation(spot).outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Unknown(_) | Outcome::NotSent => panic!("it was not answered"),
        }
    }

    /// The spots of all operations that are such.
    pub(crate) fn spots(&self, such: impl Fn(&Self, Spot, &Operation) -> bool) -> Vec<Spot> {
        let rounds = self.rounds.iter().enumerate();
        let all = rounds.flat_map(|(round, r)| (0..r.operations.len()).map(move |p| (round, p)));
        all.filter(|&spot| such(self, spot, &self.rounds[spot.0].operations[spot.1])).collect()
    }

    /// The spots of answered operations that are such.
    pub(crate) fn answered(
        &self,
        such: impl Fn(&Self, Spot, &Operation, &Answer) -> bool,
    ) -> Vec<Spot> {
        self.spots(|story, spot, operation| {
            operation.answer().is_some_and(|answer| such(story, spot, operation, answer))
        })
    }

    /// Requests that made a booking at the position that their answer says.
    pub(crate) fn made(&self) -> Vec<Spot> {
        self.answered(|story, spot, _, answer| {
            let Said::Made(seen, _) = &answer.said else {
                return false;
            };
            // That of a hold which another thread has finished may be somebody else's record.
            let own = story.record_at(spot.0, answer.position).is_some_and(|place| {
                let deed = &story.rounds[spot.0].records[place].deed;
                matches!(deed, Deed::Held { booking, .. } if *booking == seen.id)
            });
            own && !answer.replayed
        })
    }

    /// The place of the record with this LSN.
    pub(crate) fn record_at(&self, round: usize, lsn: u64) -> Option<usize> {
        self.rounds[round].records.binary_search_by_key(&lsn, |record| record.lsn).ok()
    }

    /// The record that an answered operation wrote.
    pub(crate) fn record_of(&mut self, spot: Spot) -> &mut Record {
        let position = self.answer(spot).position;
        let place = self.record_at(spot.0, position).expect("it wrote a record");
        &mut self.rounds[spot.0].records[place]
    }

    /// Removes the record that an answered operation wrote.
    pub(crate) fn remove_record_of(&mut self, spot: Spot) {
        let position = self.answer(spot).position;
        let place = self.record_at(spot.0, position).expect("it wrote a record");
        self.rounds[spot.0].records.remove(place);
    }

    /// The places of the records that say that a booking ended like this.
    pub(crate) fn ends(&self, how: How) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for (round, r) in self.rounds.iter().enumerate() {
            for (place, record) in r.records.iter().enumerate() {
                if matches!(record.deed, Deed::Ended { how: other, .. } if other == how) {
                    places.push((round, place));
                }
            }
        }
        places
    }

    /// The deadline of the booking whose end is recorded there.
    pub(crate) fn deadline_of(&self, (round, place): (usize, usize)) -> u64 {
        let Deed::Ended { event, row, .. } = self.rounds[round].records[place].deed else {
            panic!("not the end of a booking");
        };
        self.model.booking_at(event, row).expect("it was made").deadline
    }

    /// The positions between which an answered operation stands.
    pub(crate) fn window(&self, (round, place): Spot) -> Window {
        let operations = &self.rounds[round].operations;
        let begun = operations[place].begun;
        let ended = operations.iter().filter_map(Operation::answer);
        let low = ended.filter(|a| a.at < begun).map(|a| a.position).max().unwrap_or(0);
        let high = operations[place].answer().map_or(low, |answer| answer.position);
        Window { low, high }
    }

    /// Whether a ticket was the same all through an operation.
    pub(crate) fn is_steady(
        &self,
        spot: Spot,
        event: booking_manager::domain::EventNumber,
        slot: SlotIndex,
    ) -> bool {
        let mut states = 0;
        let window = self.window(spot);
        let show = self.model.show(event).expect("it was created");
        show.seat_was(slot, window, |_| {
            states += 1;
            false
        });
        states == 1
    }

    /// A moment at which everything below `after` had been visible to somebody, and the position
    /// that an operation which begins then has at least; for that at `spot`, which is to be moved
    /// and so bears no witness.
    pub(crate) fn moment_behind(&self, (round, place): Spot, after: u64) -> Option<(Moment, u64)> {
        let (before, behind) = self.rounds[round].operations.split_at(place);
        let others = before.iter().chain(&behind[1..]);
        let answers = others.clone().filter(|o| !o.asked.is_write());
        let answers = answers.filter_map(Operation::answer).filter(|a| a.position > after);
        let first = answers.min_by_key(|answer| answer.at)?;
        let all = others.filter_map(Operation::answer);
        let highest = all.filter(|a| a.at <= first.at).map(|a| a.position).max()?;
        Some((Moment(first.at.0 + 1), highest + 1))
    }

    /// Moves an operation to another time and position.
    pub(crate) fn move_to(&mut self, spot: Spot, (moment, position): (Moment, u64)) {
        self.operation(spot).begun = moment;
        let answer = self.answer(spot);
        (answer.at, answer.position) = (Moment(moment.0 + 1), position);
    }

    /// Changes a booking wherever an answer shows it.
    pub(crate) fn change_seen(&mut self, id: BookingId, change: impl Fn(&mut Seen)) {
        for operation in self.rounds.iter_mut().flat_map(|round| &mut round.operations) {
            let Outcome::Answered(answer) = &mut operation.outcome else {
                continue;
            };
            if let Some(seen) = answer.said.booking_mut().filter(|seen| seen.id == id) {
                change(seen);
            }
        }
    }

    /// Has a booking be of other tickets: request, answer and record.
    pub(crate) fn rewrite_hold(&mut self, spot: Spot, to: &[SlotIndex]) {
        if let Asked::Hold { slots, .. } = &mut self.operation(spot).asked {
            *slots = to.into();
        }
        let sum = PRICE * to.len() as i64;
        let record = self.record_of(spot);
        if let Deed::Held { slots, total, .. } = &mut record.deed {
            (*slots, *total) = (to.into(), sum);
        }
        let Said::Made(seen, _) = &mut self.answer(spot).said else {
            panic!("it made no booking");
        };
        (seen.slots, seen.total) = (to.into(), sum);
    }
}

/// What the checker makes of a history.
pub(crate) fn verdict(rounds: &[Round]) -> Checker {
    let mut checker = Checker::default();
    rounds.iter().for_each(|round| checker.check(round));
    checker
}
