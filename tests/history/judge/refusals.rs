//! Refusals: whether what stood in the way of a request really did, at some instant during it.

use booking_manager::domain::{BookingId, BookingStatus, TicketStatus, UserNumber};

use super::{Case, Judge};
use crate::history::{Asked, Conflict, Ending, Refused};
use crate::model::{Booking, SeatState};
use crate::rare::Rare;
use crate::violations::Kind;

impl<'r> Judge<'r> {
    pub(super) fn check_refused(&mut self, case: Case<'r>, refused: &Refused) {
        match refused {
            Refused::Taken(conflicts) => self.check_taken(case, conflicts),
            Refused::BookingExpired
            | Refused::BookingCancelled
            | Refused::AlreadyConfirmed
            | Refused::NotYours => self.check_not_ended(case, refused),
            Refused::NotFound => {
                let known = match &case.operation.asked {
                    Asked::End { booking, .. } | Asked::Booking(booking) => {
                        self.checker.model.booking(*booking)
                    }
                    Asked::Hold { .. } | Asked::Counters(_) | Asked::Tickets { .. } => None,
                };
                if known.is_none_or(|booking| booking.held < case.window.low) {
                    self.add(
                        Kind::UnjustifiedRefusal,
                        case,
                        "a booking that was told is not found",
                    );
                }
            }
            // Judged with the key.
            Refused::InFlight | Refused::KeyReused => {}
        }
    }

    fn check_not_ended(&mut self, case: Case<'r>, refused: &Refused) {
        let Asked::End { ending, booking: id, user } = &case.operation.asked else {
            return;
        };
        let booking = self.checker.model.booking(*id).cloned();
        let Some(booking) = booking else {
            return self.add(Kind::UnjustifiedRefusal, case, "there is no such booking");
        };
        let had = |status| booking.had(status, case.window);
        let (is_so, rare) = match (refused, ending) {
            (Refused::NotYours, _) => (booking.user != *user, Rare::NotYours),
            (Refused::BookingExpired, Ending::Confirm) => {
                (had(BookingStatus::Expired), Rare::ConfirmAfterExpiry)
            }
            (Refused::BookingExpired, Ending::Cancel) => {
                (had(BookingStatus::Expired), Rare::CancelAfterExpiry)
            }
            (Refused::BookingCancelled, Ending::Confirm) => {
                (had(BookingStatus::Cancelled), Rare::ConfirmAfterCancel)
            }
            (Refused::AlreadyConfirmed, Ending::Cancel) => {
                (had(BookingStatus::Confirmed), Rare::CancelAfterConfirm)
            }
            (_, _) => (false, Rare::NotYours),
        };
        if !is_so || (booking.user != *user && *refused != Refused::NotYours) {
            return self.add(Kind::UnjustifiedRefusal, case, format!("it was {booking:?}"));
        }
        self.refusal(rare);
        if rare == Rare::ConfirmAfterExpiry && self.is_just_after(case, booking.deadline) {
            self.checker.reached.reach(Rare::RefusedJustAfter);
        }
    }

    pub(super) fn refusal(&mut self, rare: Rare) {
        self.checker.figures.refusals_justified += 1;
        self.checker.reached.reach(rare);
    }

    /// Each ticket that was named was taken so, and each other one was free, at some instant.
    fn check_taken(&mut self, case: Case<'r>, conflicts: &[Conflict]) {
        let Asked::Hold { user, event, slots } = &case.operation.asked else {
            return;
        };
        let Some(show) = self.checker.model.show(*event) else {
            return self.add(Kind::UnjustifiedRefusal, case, "no such event");
        };
        let mut fault = None;
        let mut named = conflicts.iter().peekable();
        for slot in slots {
            let conflict = named.next_if(|conflict| conflict.slot == *slot);
            let mut lapsed = false;
            let was = show.seat_was(*slot, case.window, |state| match (conflict, state) {
                (None, SeatState::Free(_)) => true,
                (Some(conflict), SeatState::Reserved(booking)) => {
                    let fits = names(conflict, TicketStatus::Reserved, booking, *user);
                    let alive = booking.deadline > case.begun_at;
                    lapsed |= fits && !alive;
                    fits && alive
                }
                (Some(conflict), SeatState::Sold(booking, _)) => {
                    names(conflict, TicketStatus::Sold, booking, *user)
                }
                (None, SeatState::Reserved(_) | SeatState::Sold(..))
                | (Some(_), SeatState::Free(_)) => false,
            });
            if !was {
                let kind = if lapsed { Kind::SeenAfterDeadline } else { Kind::UnjustifiedRefusal };
                fault.get_or_insert_with(|| (kind, show.tell_seat(*slot, case.window)));
            }
        }
        if named.next().is_some() || conflicts.is_empty() {
            fault = Some((Kind::UnjustifiedRefusal, "tickets that were not asked for".to_owned()));
        }
        if let Some((kind, what)) = fault {
            return self.add(kind, case, what);
        }
        self.note_taken(conflicts, slots.len());
    }

    fn note_taken(&mut self, conflicts: &[Conflict], asked: usize) {
        self.checker.figures.refusals_justified += 1;
        let reached = &mut self.checker.reached;
        let any = |status| conflicts.iter().any(|conflict| conflict.status == status);
        if any(TicketStatus::Reserved) {
            reached.reach(Rare::RefusedByHold);
        }
        if any(TicketStatus::Sold) {
            reached.reach(Rare::RefusedBySale);
        }
        if conflicts.len() < asked {
            reached.reach(Rare::RefusedInPart);
        }
        if conflicts.iter().any(|conflict| conflict.own.is_some()) {
            reached.reach(Rare::RefusedByOwn);
        }
    }
}

/// Whether the conflict names this booking to this user.
fn names(conflict: &Conflict, status: TicketStatus, booking: &Booking, user: UserNumber) -> bool {
    let own: Option<BookingId> = (booking.user == user).then_some(booking.id);
    conflict.status == status && conflict.own == own
}
