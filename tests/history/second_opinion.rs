//! A second opinion: the histories of single tickets, given to a general linearizability checker.
//!
//! It knows no positions and no log: only when requests began, when their answers had come and
//! what they said. A hold that lapses does so by an operation of its own, which takes place at the
//! deadline that the client was told, and nowhere else. The search takes time exponential in what
//! goes on at once, hence the short histories ([`super::episodes`]).

mod changes;
mod ticket;

use std::collections::HashMap;
use std::time::Duration;

use booking_manager::domain::{BookingId, BookingStatus, SlotIndex, TicketStatus};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use changes::Change;
use ticket::{Return, STEPS_LEFT, Step, Ticket, Token};

use super::episodes::{Episode, SEATS, record};
use super::history::{
    Asked, Conflict, Moment, Operation, Outcome, Refused, Said, Seen, TicketSeen,
};
use super::server_clock::ServerClock;

/// How long a hold lasts.
const HOLD_MILLIS: u64 = 1_000;
/// How many steps of a search are taken before it is given up.
const STEPS_MAX: u64 = 50_000;
/// How often as many episodes as go on at a time are recorded.
const TIMES: u64 = 4;
/// Operations without a return have numbers of their own, behind those of all others, so that the
/// search tries them last.
const FIRST_SILENT: usize = 1_000;

/// A step that some client took, and when.
#[derive(Clone, Debug)]
struct Taken {
    begun: Moment,
    /// When it had returned what; nothing if nobody knows.
    returned: Option<(Moment, Return)>,
    step: Step,
}

/// The history of one ticket.
#[derive(Clone, Debug, Default)]
struct TicketHistory(Vec<Taken>);

/// What a general checker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opinion {
    Linearizable,
    NotLinearizable,
    /// The search took too long.
    None,
}

impl TicketHistory {
    fn opinion(&self) -> Opinion {
        STEPS_LEFT.set(STEPS_MAX);
        match (self.tester().is_consistent(), STEPS_LEFT.get()) {
            (true, _) => Opinion::Linearizable,
            (false, 0) => Opinion::None,
            (false, _) => Opinion::NotLinearizable,
        }
    }

    fn tester(&self) -> LinearizabilityTester<usize, Ticket> {
        let mut tester = LinearizabilityTester::new(Ticket::default());
        // Of what happens at one moment, beginnings come first: they may have been at once.
        let begins = self.0.iter().enumerate().map(|(place, taken)| (taken.begun, 0, place));
        let ends = self.0.iter().enumerate();
        let ends = ends.filter_map(|(place, taken)| {
            taken.returned.as_ref().map(|(moment, _)| (*moment, 1, place))
        });
        let mut happenings: Vec<_> = begins.chain(ends).collect();
        happenings.sort_unstable();
        let mut threads: Vec<Option<usize>> = Vec::new();
        for (_, _, place) in happenings {
            let Taken { returned, step, .. } = &self.0[place];
            let thread = threads.iter().position(|busy| *busy == Some(place));
            match (returned, thread) {
                (Some((_, told)), Some(thread)) => {
                    threads[thread] = None;
                    tester.on_return(thread, told.clone()).expect("it was invoked");
                }
                (Some(_), None) => {
                    let free = threads.iter().position(Option::is_none);
                    let thread = free.unwrap_or_else(|| {
                        threads.push(None);
                        threads.len() - 1
                    });
                    threads[thread] = Some(place);
                    tester.on_invoke(thread, step.clone()).expect("the thread is free");
                }
                (None, _) => {
                    let thread = FIRST_SILENT + place;
                    tester.on_invoke(thread, step.clone()).expect("a thread of its own");
                }
            }
        }
        tester
    }
}

/// Takes an episode apart into the histories of its tickets.
#[derive(Debug)]
struct Projection {
    clock: ServerClock,
    made: HashMap<BookingId, Box<[SlotIndex]>>,
    tickets: Vec<TicketHistory>,
}

impl Projection {
    fn of(episode: &Episode, clock: ServerClock) -> Vec<TicketHistory> {
        let tickets = vec![TicketHistory::default(); SEATS as usize];
        let mut projection = Self { clock, made: HashMap::new(), tickets };
        let answers = episode.operations.iter().filter_map(Operation::answer);
        for answer in answers {
            if let Said::Made(seen, _) = &answer.said {
                projection.made.insert(seen.id, seen.slots.clone());
            }
        }
        for (number, operation) in episode.operations.iter().enumerate() {
            projection.take(number, operation);
        }
        projection.tickets
    }

    fn add(&mut self, slots: &[SlotIndex], taken: &Taken) {
        for slot in slots {
            self.tickets[slot.index()].0.push(taken.clone());
        }
    }

    fn take(&mut self, number: usize, operation: &Operation) {
        let begun = operation.begun;
        let answer = match &operation.outcome {
            Outcome::Answered(answer) => answer,
            Outcome::Unknown(_) => return self.take_silent(number, operation),
            Outcome::NotSent => return,
        };
        let at = answer.at;
        let step = |step, told| Taken { begun, returned: Some((at, told)), step };
        match (&operation.asked, &answer.said) {
            (Asked::Hold { user, .. }, Said::Made(seen, _)) => {
                let taken = step(Step::Take(Token::Booking(seen.id), *user), Return::Taken);
                self.add(&seen.slots, &taken);
                self.lapse(seen);
            }
            (Asked::Hold { user, .. }, Said::Existing(seen, _)) => {
                let own = Some(Token::Booking(seen.id));
                let told = Return::Looked(TicketStatus::Reserved, own);
                self.add(&seen.slots, &step(Step::Look(Some(*user)), told));
            }
            (Asked::Hold { user, slots, .. }, Said::Refused(Refused::Taken(conflicts))) => {
                for slot in slots {
                    let told = looked(conflicts, *slot);
                    self.add(&[*slot], &step(Step::Look(Some(*user)), told));
                }
            }
            (Asked::End { ending, booking, .. }, said) => {
                let status = Return::Status(status_after(said));
                let slots = self.made.get(booking).cloned().unwrap_or_default();
                self.add(&slots, &step(Step::End(*ending, *booking), status));
            }
            (Asked::Booking(booking), Said::Booking(seen)) => {
                let slots = self.made.get(booking).cloned().unwrap_or_default();
                let told = Return::Status(Some(seen.status));
                self.add(&slots, &step(Step::Read(*booking), told));
            }
            (Asked::Tickets { .. }, Said::Tickets(tickets)) => {
                for TicketSeen { slot, status, .. } in tickets {
                    let told = Return::Looked(*status, None);
                    self.add(&[*slot], &step(Step::Look(None), told));
                }
            }
            (asked, said) => panic!("{asked:?} was answered {said:?}"),
        }
    }

    /// The deadline passes at a moment that is known within less than a millisecond.
    fn lapse(&mut self, seen: &Seen) {
        let begun = self.clock.earliest_moment(seen.expires_at);
        let at = self.clock.latest_moment(seen.expires_at);
        let step = Step::Lapse(Token::Booking(seen.id));
        let taken = Taken { begun, returned: Some((at, Return::Lapsed)), step };
        self.add(&seen.slots, &taken);
    }

    /// A request without an answer takes place at any time, or never.
    fn take_silent(&mut self, number: usize, operation: &Operation) {
        let begun = operation.begun;
        let silent = |begun, step| Taken { begun, returned: None, step };
        match &operation.asked {
            Asked::Hold { user, slots, .. } => {
                let token = Token::Silent(number);
                self.add(slots, &silent(begun, Step::Take(token, *user)));
                let lapses = begun.after(Duration::from_millis(HOLD_MILLIS - 1));
                self.add(slots, &silent(lapses, Step::Lapse(token)));
            }
            Asked::End { ending, booking, .. } => {
                let slots = self.made.get(booking).cloned().unwrap_or_default();
                self.add(&slots, &silent(begun, Step::End(*ending, *booking)));
            }
            Asked::Booking(_) | Asked::Counters(_) | Asked::Tickets { .. } => {}
        }
    }
}

/// What a refusal says of a ticket.
fn looked(conflicts: &[Conflict], slot: SlotIndex) -> Return {
    match conflicts.iter().find(|conflict| conflict.slot == slot) {
        Some(conflict) => Return::Looked(conflict.status, conflict.own.map(Token::Booking)),
        None => Return::Looked(TicketStatus::Available, None),
    }
}

/// What an answer to a request to end a booking says that it is now.
fn status_after(said: &Said) -> Option<BookingStatus> {
    let refused = match said {
        Said::Ended(seen) => return Some(seen.status),
        Said::Refused(refused) => refused,
        Said::Made(..)
        | Said::Existing(..)
        | Said::Booking(_)
        | Said::Counters(_)
        | Said::Tickets(_)
        | Said::Strange(_) => panic!("a request to end a booking was answered {said:?}"),
    };
    match refused {
        Refused::BookingExpired => Some(BookingStatus::Expired),
        Refused::BookingCancelled => Some(BookingStatus::Cancelled),
        Refused::AlreadyConfirmed => Some(BookingStatus::Confirmed),
        Refused::Taken(_)
        | Refused::NotYours
        | Refused::InFlight
        | Refused::KeyReused
        | Refused::NotFound => panic!("a request to end a booking was refused: {said:?}"),
    }
}

#[test]
fn a_general_checker_finds_every_ticket_linearizable() {
    let (episodes, clock) = record(TIMES);
    let histories: Vec<_> =
        episodes.iter().flat_map(|episode| Projection::of(episode, clock)).collect();
    let steps: usize = histories.iter().map(|history| history.0.len()).sum();
    let opinions: Vec<_> = histories.iter().map(TicketHistory::opinion).collect();
    let wrong = opinions.iter().position(|opinion| *opinion == Opinion::NotLinearizable);
    if let Some(place) = wrong {
        let mut history = histories[place].0.clone();
        history.sort_by_key(|taken| taken.begun);
        let told: Vec<_> = history.iter().map(|taken| format!("{taken:?}")).collect();
        panic!("the history of a ticket is not linearizable:\n{}", told.join("\n"));
    }
    let undecided = opinions.iter().filter(|opinion| **opinion == Opinion::None).count();
    eprintln!("{} tickets, {steps} steps, {undecided} undecided", histories.len());
    assert!(undecided * 20 <= histories.len(), "{undecided} searches took too long");
    let changes: [(&str, Change); 4] = [
        ("free again", changes::free_again),
        ("ended after all", changes::end_expired),
        ("taken twice", changes::take_twice),
        ("pending again", changes::resurrect),
    ];
    for (what, change) in changes {
        let changed = histories.iter().filter_map(|history| {
            let mut history = history.clone();
            change(&mut history.0).then_some(history)
        });
        let opinions: Vec<_> = changed.take(20).map(|history| history.opinion()).collect();
        let found = opinions.contains(&Opinion::NotLinearizable);
        let passes = opinions.contains(&Opinion::Linearizable);
        assert!(found && !passes, "a ticket that is {what} is not always found: {opinions:?}");
    }
}
