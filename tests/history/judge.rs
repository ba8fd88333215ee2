//! Whether what each answer said was true at some instant during its request.
//!
//! A change stands exactly at its record; a read or a refusal anywhere between the lowest position
//! that the operation can have ([`super::checker`]) and the mark that it waited for. Several things
//! told at once were read one after the other, so each is looked for by itself; an event's counters
//! are read at one instant. Refusals are judged in [`refusals`].

mod refusals;

use booking_manager::domain::{BookingStatus, SlotIndex, Subject, TicketStatus};

use super::checker::{Checker, Round};
use super::counters::{self, Justified};
use super::history::{Answer, Asked, Counters, Ending, Operation, Refused, Said, Seen, TicketSeen};
use super::keys::{Bound, Carriers};
use super::matching::Matching;
use super::model::{Booking, SeatState, Window};
use super::rare::Rare;
use super::records::Deed;
use super::violations::Kind;

/// How near a deadline is near, in milliseconds.
const NEAR_MILLIS: u64 = 10;

/// Judges the answers of one round.
#[derive(Debug)]
pub(crate) struct Judge<'r> {
    checker: &'r mut Checker,
    round: &'r Round,
    matching: &'r Matching<'r>,
    low: &'r [u64],
    carriers: Carriers,
    /// For each record, the newest time in it and those before it.
    newest: Vec<u64>,
}

/// One answered operation.
#[derive(Clone, Copy, Debug)]
struct Case<'r> {
    place: usize,
    operation: &'r Operation,
    answer: &'r Answer,
    window: Window,
    /// The server's clock read at least this when the request was begun.
    begun_at: u64,
}

impl<'r> Judge<'r> {
    pub(crate) fn new(
        checker: &'r mut Checker,
        round: &'r Round,
        matching: &'r Matching<'r>,
        low: &'r [u64],
    ) -> Self {
        let mut newest = 0;
        let newest = round.records.iter().map(|record| {
            newest = newest.max(record.at);
            newest
        });
        let newest = newest.collect();
        let carriers = Carriers::of(&round.operations);
        Self { checker, round, matching, low, carriers, newest }
    }

    pub(crate) fn judge(&mut self) {
        for (place, operation) in self.round.operations.iter().enumerate() {
            let own = self.matching.record(place);
            if let Some(record) = own {
                self.check_time(operation, record.at);
            }
            let Some(answer) = operation.answer() else {
                continue;
            };
            let window = Window {
                low: self.low[place],
                high: own.map_or(answer.position, |record| record.lsn),
            };
            let begun_at = self.round.clock.earliest_reading(operation.begun);
            let case = Case { place, operation, answer, window, begun_at };
            self.check_newest(case);
            if self.check_key(case) {
                self.check_answer(case);
            }
        }
    }

    fn add(&mut self, kind: Kind, case: Case<'_>, what: impl Into<String>) {
        let Case { operation, window, .. } = case;
        let what = what.into();
        self.checker.violations.add(kind, || format!("{operation:?} in {window:?}: {what}"));
    }

    /// The time in an operation's record was read while it was open.
    fn check_time(&mut self, operation: &Operation, at: u64) {
        let clock = self.round.clock;
        let begun = clock.earliest_reading(operation.begun);
        let ended = operation.answer().map(|answer| clock.latest_reading(answer.at));
        if at < begun || ended.is_some_and(|ended| at > ended) {
            self.checker.violations.add(Kind::TimeUntrue, || {
                format!("{at} is not between {begun} and {ended:?}: {operation:?}")
            });
        }
    }

    /// No record that an answer could have seen comes from the future.
    fn check_newest(&mut self, case: Case<'_>) {
        let below = self.round.records.partition_point(|r| r.lsn < case.answer.position);
        let newest = below.checked_sub(1).map_or(0, |last| self.newest[last]);
        let latest = self.round.clock.latest_reading(case.answer.at);
        if newest > latest {
            self.add(Kind::TimeUntrue, case, format!("at {latest}, the log had {newest}"));
        }
    }

    /// What the idempotency key has to say; true if the answer is to be judged as any other.
    fn check_key(&mut self, case: Case<'_>) -> bool {
        let (operation, answer) = (case.operation, case.answer);
        let bound = operation.key.and_then(|key| self.checker.keys.get(key)).cloned();
        if answer.replayed {
            self.check_replay(case, bound);
            return false;
        }
        let overlaps = |same| self.carriers.overlap(&self.round.operations, case.place, same);
        if matches!(answer.said, Said::Refused(Refused::InFlight)) {
            if overlaps(true) {
                self.refusal(Rare::InFlight);
            } else {
                self.add(Kind::KeyUnjustified, case, "no other request was in flight");
            }
            return false;
        }
        if matches!(answer.said, Said::Refused(Refused::KeyReused)) {
            let reused = bound.is_some_and(|bound| {
                bound.asked != operation.asked && bound.lsn < case.window.high
            });
            if reused || overlaps(false) {
                self.refusal(Rare::KeyReused);
            } else {
                self.add(Kind::KeyUnjustified, case, "the key stood for nothing else");
            }
            return false;
        }
        // A key that was bound before the request began decides the answer.
        if let Some(bound) = bound.filter(|bound| bound.lsn < case.window.low) {
            self.add(Kind::WrongReplay, case, format!("the key stood for {bound:?}"));
        }
        true
    }

    fn check_replay(&mut self, case: Case<'_>, bound: Option<Bound>) {
        let bound = bound
            .filter(|bound| bound.lsn < case.window.high && bound.asked == case.operation.asked);
        let Some(bound) = bound else {
            self.add(Kind::WrongReplay, case, "the key stood for nothing of the kind");
            return;
        };
        let model = &self.checker.model;
        let fits = match (bound.subject, &case.answer.said) {
            (Subject::Held(event, row), Said::Made(seen, left)) => {
                let booking = model.booking_at(event, row);
                let due = seen.expires_at.saturating_sub(seen.created_at);
                shows(seen, booking, BookingStatus::Pending) && *left == due
            }
            (Subject::HeldAlready(event, row), Said::Existing(seen, left)) => {
                let booking = model.booking_at(event, row);
                let due = seen.expires_at.saturating_sub(bound.at);
                shows(seen, booking, BookingStatus::Pending) && *left == due
            }
            (Subject::Confirmed(event, row), Said::Ended(seen)) => {
                shows(seen, model.booking_at(event, row), BookingStatus::Confirmed)
            }
            (Subject::Cancelled(event, row), Said::Ended(seen)) => {
                shows(seen, model.booking_at(event, row), BookingStatus::Cancelled)
            }
            (_, _) => false,
        };
        if !fits {
            self.add(Kind::WrongReplay, case, format!("it stands for {bound:?}"));
            return;
        }
        self.checker.figures.reads_justified += 1;
        self.checker.reached.reach(Rare::Replayed);
        if bound.round < self.checker.round {
            self.checker.reached.reach(Rare::ReplayedAfterKill);
        }
        if bound.was_unknown {
            self.checker.reached.reach(Rare::ReplayedUnknown);
        }
    }

    fn check_answer(&mut self, case: Case<'r>) {
        match &case.answer.said {
            Said::Made(..) => self.check_made(case),
            Said::Existing(seen, left) => self.check_existing(case, seen, *left),
            Said::Ended(seen) => self.check_ended(case, seen),
            Said::Booking(seen) => self.check_booking(case, seen),
            Said::Counters(counters) => self.check_counters(case, *counters),
            Said::Tickets(_) => self.check_tickets(case),
            Said::Refused(refused) => self.check_refused(case, refused),
            Said::Strange(text) => self.add(Kind::StrangeAnswer, case, &**text),
        }
    }

    /// Its record says the rest.
    fn check_made(&mut self, case: Case<'_>) {
        let Some(record) = self.matching.record(case.place) else {
            return;
        };
        if case.answer.position != record.lsn {
            self.checker.figures.helped += 1;
        }
        let Deed::Held { booking, slots, .. } = &record.deed else {
            return;
        };
        let Some(show) = self.checker.model.show(booking.event) else {
            return;
        };
        // A hold before this one was ended by its deadline while this one was being asked for.
        if slots.iter().any(|slot| show.expired_within(*slot, case.window.low, record.lsn)) {
            self.checker.reached.reach(Rare::Takeover);
        }
    }

    fn check_existing(&mut self, case: Case<'r>, seen: &Seen, left: u64) {
        let Asked::Hold { user, event, slots } = &case.operation.asked else {
            return;
        };
        let booking = self.checker.model.booking(seen.id).cloned();
        let same = seen.user == *user && seen.id.event == *event && seen.slots == *slots;
        let pending = BookingStatus::Pending;
        let was = booking.as_ref().is_some_and(|booking| booking.had(pending, case.window));
        if !same || !was || !shows(seen, booking.as_ref(), pending) {
            self.add(
                Kind::UnjustifiedRead,
                case,
                format!("no such booking was there: {booking:?}"),
            );
            return;
        }
        let lifetime = seen.expires_at.saturating_sub(seen.created_at);
        if seen.expires_at <= case.begun_at || left > lifetime {
            self.add(Kind::SeenAfterDeadline, case, "the booking had lapsed");
            return;
        }
        self.checker.figures.reads_justified += 1;
        let keyed = case.operation.key.is_some();
        self.checker.reached.reach(if keyed { Rare::SameSetWithKey } else { Rare::SameSet });
    }

    fn check_ended(&mut self, case: Case<'r>, seen: &Seen) {
        let Asked::End { ending, booking: id, user } = &case.operation.asked else {
            return;
        };
        let booking = self.checker.model.booking(*id).cloned();
        let status = ending.status();
        if seen.id != *id || seen.user != *user || !shows(seen, booking.as_ref(), status) {
            let never = booking
                .as_ref()
                .is_some_and(|booking| booking.end.is_none_or(|end| end.status() != status));
            let kind = if never { Kind::LostWrite } else { Kind::UnjustifiedRead };
            self.add(kind, case, format!("the booking is {booking:?}"));
            return;
        }
        let record = self.matching.record(case.place);
        if record.is_some_and(|record| matches!(record.deed, Deed::Ended { .. })) {
            self.note_end(case, *ending, seen);
        } else if booking.is_some_and(|booking| booking.had(status, case.window)) {
            self.checker.figures.reads_justified += 1;
            self.checker.reached.reach(match ending {
                Ending::Confirm => Rare::ConfirmAgain,
                Ending::Cancel => Rare::CancelAgain,
            });
        } else {
            self.add(Kind::UnjustifiedRead, case, "the booking had not ended yet");
        }
    }

    fn note_end(&mut self, case: Case<'_>, ending: Ending, seen: &Seen) {
        if ending != Ending::Confirm {
            return;
        }
        if seen.updated_at.is_some_and(|at| at + NEAR_MILLIS >= seen.expires_at) {
            self.checker.reached.reach(Rare::ConfirmedJustBefore);
        }
        let first = self.round.records.first().map_or(u64::MAX, |record| record.lsn);
        let held = self.checker.model.booking(seen.id).map_or(u64::MAX, |booking| booking.held);
        if held < first && case.window.low >= held {
            self.checker.reached.reach(Rare::ConfirmedAfterKill);
        }
    }

    fn check_booking(&mut self, case: Case<'r>, seen: &Seen) {
        let booking = self.checker.model.booking(seen.id).cloned();
        let asked = case.operation.asked == Asked::Booking(seen.id);
        let was = booking.as_ref().is_some_and(|booking| booking.had(seen.status, case.window));
        if !asked || !was || !shows(seen, booking.as_ref(), seen.status) {
            self.add(Kind::UnjustifiedRead, case, format!("it was {booking:?}"));
            return;
        }
        let pending = seen.status == BookingStatus::Pending;
        if pending && seen.expires_at <= case.begun_at {
            self.add(Kind::SeenAfterDeadline, case, "the booking had lapsed");
            return;
        }
        self.checker.figures.reads_justified += 1;
        let ended_at = self.round.clock.latest_reading(case.answer.at);
        if pending && ended_at < seen.expires_at && ended_at + NEAR_MILLIS >= seen.expires_at {
            self.checker.reached.reach(Rare::PendingJustBefore);
        }
        let expired = seen.status == BookingStatus::Expired;
        if expired && self.is_just_after(case, seen.expires_at) {
            self.checker.reached.reach(Rare::ExpiredJustAfter);
        }
    }

    /// Whether a request began within milliseconds after this time.
    fn is_just_after(&self, case: Case<'_>, time: u64) -> bool {
        let begun = self.round.clock.latest_reading(case.operation.begun);
        case.begun_at >= time && begun < time + NEAR_MILLIS
    }

    fn check_counters(&mut self, case: Case<'r>, seen: Counters) {
        let Asked::Counters(event) = case.operation.asked else {
            return;
        };
        let Some(show) = self.checker.model.show(event) else {
            return self.add(Kind::UnjustifiedRead, case, "no such event");
        };
        match counters::justify(show, case.window, seen) {
            Justified::ByPosition => {}
            Justified::ByCut => self.checker.figures.cuts += 1,
            Justified::Undecided => self.checker.figures.undecided += 1,
            Justified::Never => {
                let changes: Vec<_> = show
                    .changes
                    .iter()
                    .filter(|change| change.lsn >= case.window.low && change.lsn < case.window.high)
                    .copied()
                    .collect();
                return self.add(Kind::UnjustifiedRead, case, format!("never so: {changes:?}"));
            }
        }
        self.checker.figures.reads_justified += 1;
    }

    fn check_tickets(&mut self, case: Case<'r>) {
        let Asked::Tickets { event, first, limit, only_available } = case.operation.asked else {
            return;
        };
        let (Said::Tickets(tickets), Some(show)) =
            (&case.answer.said, self.checker.model.show(event))
        else {
            return self.add(Kind::UnjustifiedRead, case, "no such event");
        };
        // Where the listing stopped looking.
        let end = match tickets.last() {
            Some(last) if tickets.len() >= limit as usize => last.slot.get() + 1,
            Some(_) | None => show.seats(),
        };
        let mut listed = tickets.iter().peekable();
        let mut fault = None;
        let mut times_lost = 0;
        for number in first.get()..end {
            let ticket = listed.next_if(|ticket| ticket.slot.get() == number);
            let slot = SlotIndex::new(number);
            let (mut lapsed, mut time_lost) = (false, false);
            let was = show.seat_was(slot, case.window, |state| {
                let alive = match state {
                    SeatState::Reserved(booking) => booking.deadline > case.begun_at,
                    SeatState::Free(_) | SeatState::Sold(..) => true,
                };
                let fits = lists(ticket, state);
                lapsed |= fits && !alive;
                // A booking that lost a race for its tickets leaves no time behind.
                let free = matches!(state, SeatState::Free(_));
                time_lost |= free
                    && ticket.is_some_and(|ticket| {
                        ticket.status == TicketStatus::Available
                            && ticket.updated_at == show.created_at
                    });
                fits && alive
            });
            let may_be = ticket.is_some() || only_available;
            if may_be && !was && time_lost {
                times_lost += 1;
            } else if !may_be || !was {
                let kind = if lapsed { Kind::SeenAfterDeadline } else { Kind::UnjustifiedRead };
                fault.get_or_insert_with(|| (kind, show.tell_seat(slot, case.window)));
            }
        }
        if listed.next().is_some() {
            let what = "a ticket out of order".to_owned();
            fault.get_or_insert((Kind::UnjustifiedRead, what));
        }
        self.checker.figures.times_lost += times_lost;
        match fault {
            Some((kind, what)) => self.add(kind, case, what),
            None => self.checker.figures.reads_justified += 1,
        }
    }
}

/// Whether an answer shows this booking with this status.
fn shows(seen: &Seen, booking: Option<&Booking>, status: BookingStatus) -> bool {
    let Some(booking) = booking else {
        return false;
    };
    let since = match status {
        BookingStatus::Pending => Some(booking.created_at),
        BookingStatus::Confirmed | BookingStatus::Cancelled | BookingStatus::Expired => {
            booking.end.filter(|end| end.status() == status).map(|end| end.at)
        }
    };
    seen.id == booking.id
        && seen.user == booking.user
        && seen.slots == booking.slots
        && seen.status == status
        && seen.total == booking.total
        && seen.created_at == booking.created_at
        && seen.expires_at == booking.deadline
        && since.is_some_and(|since| seen.updated_at.is_none_or(|told| told == since))
}

/// Whether a list may show a ticket like this, or leave it out, when it is in such a state.
fn lists(ticket: Option<&TicketSeen>, state: SeatState<'_>) -> bool {
    let Some(ticket) = ticket else {
        return state.status() != TicketStatus::Available;
    };
    let since = match state {
        SeatState::Free(since) | SeatState::Sold(_, since) => since,
        SeatState::Reserved(booking) => booking.created_at,
    };
    ticket.status == state.status() && ticket.updated_at == since
}
