//! The sequential specification of a ticket.

use std::cell::Cell;

use booking_manager::domain::{BookingId, BookingStatus, TicketStatus, UserNumber};
use stateright::semantics::SequentialSpec;

use crate::history::Ending;

/// What a ticket's holder is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Booking(BookingId),
    /// The booking of the request with this number, which was never answered.
    Silent(usize),
}

/// The sequential specification of a ticket.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket {
    holder: Option<(Token, UserNumber)>,
    is_sold: bool,
    ended: Vec<(Token, BookingStatus)>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Take(Token, UserNumber),
    End(Ending, BookingId),
    /// The hold's deadline passes.
    Lapse(Token),
    /// Somebody looks at the ticket; a user sees which of its own bookings has it.
    Look(Option<UserNumber>),
    Read(BookingId),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Return {
    Taken,
    NotTaken,
    /// The status of a booking, afterwards.
    Status(Option<BookingStatus>),
    Lapsed,
    /// What the ticket is, and the asking user's own booking.
    Looked(TicketStatus, Option<Token>),
}

thread_local! {
    /// How many steps the search on this thread may still take.
    pub(super) static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
}

impl Ticket {
    fn status(&self, token: Token) -> Option<BookingStatus> {
        if self.holder.is_some_and(|(holder, _)| holder == token) {
            let sold = self.is_sold;
            return Some(if sold { BookingStatus::Confirmed } else { BookingStatus::Pending });
        }
        self.ended.iter().find(|(ended, _)| *ended == token).map(|(_, status)| *status)
    }

    fn end(&mut self, token: Token, status: BookingStatus) {
        if self.status(token) != Some(BookingStatus::Pending) {
            return;
        }
        if status == BookingStatus::Confirmed {
            self.is_sold = true;
        } else {
            self.holder = None;
            self.ended.push((token, status));
        }
    }
}

impl SequentialSpec for Ticket {
    type Op = Step;
    type Ret = Return;

    fn invoke(&mut self, step: &Step) -> Return {
        match *step {
            Step::Take(token, user) => {
                if self.holder.is_some() {
                    return Return::NotTaken;
                }
                self.holder = Some((token, user));
                Return::Taken
            }
            Step::End(ending, booking) => {
                self.end(Token::Booking(booking), ending.status());
                Return::Status(self.status(Token::Booking(booking)))
            }
            Step::Lapse(token) => {
                self.end(token, BookingStatus::Expired);
                Return::Lapsed
            }
            Step::Look(user) => match self.holder {
                None => Return::Looked(TicketStatus::Available, None),
                Some((token, holder)) => {
                    let sold = self.is_sold;
                    let status = if sold { TicketStatus::Sold } else { TicketStatus::Reserved };
                    Return::Looked(status, (user == Some(holder)).then_some(token))
                }
            },
            Step::Read(booking) => Return::Status(self.status(Token::Booking(booking))),
        }
    }

    fn is_valid_step(&mut self, step: &Step, told: &Return) -> bool {
        let left = STEPS_LEFT.get();
        STEPS_LEFT.set(left.saturating_sub(1));
        if left == 0 {
            return false;
        }
        // A deadline is known only of what was taken.
        if let Step::Lapse(token) = step
            && self.status(*token).is_none()
        {
            return false;
        }
        match (self.invoke(step), told) {
            // The booking of a request without an answer, by the name that somebody learnt.
            (
                Return::Looked(status, Some(Token::Silent(_))),
                Return::Looked(seen, Some(Token::Booking(_))),
            ) => status == *seen,
            (is, told) => is == *told,
        }
    }
}
