//! Negative controls: the history of a ticket is changed, and is not linearizable any more. Each says
//! whether there was something to change.

use booking_manager::domain::{BookingStatus, TicketStatus};

use super::Taken;
use super::ticket::{Return, Step};
use crate::history::Moment;

/// One of them.
pub(super) type Change = fn(&mut [Taken]) -> bool;

/// A seat is free after it was seen sold.
pub(super) fn free_again(history: &mut [Taken]) -> bool {
    let sold = |taken: &Taken| match &taken.returned {
        Some((at, Return::Looked(TicketStatus::Sold, _))) => Some(*at),
        Some(_) | None => None,
    };
    let Some(sold) = history.iter().filter_map(sold).min() else {
        return false;
    };
    let later = history.iter_mut().filter(|taken| taken.begun > sold);
    for taken in later {
        if let Some((_, told @ Return::Looked(..))) = &mut taken.returned {
            *told = Return::Looked(TicketStatus::Available, None);
            return true;
        }
    }
    false
}

/// A hold that had expired is said to have been confirmed or cancelled after all.
pub(super) fn end_expired(history: &mut [Taken]) -> bool {
    let refused = history.iter_mut().find_map(|taken| match (&taken.step, &mut taken.returned) {
        (Step::End(ending, _), Some((_, told))) => {
            let expired = *told == Return::Status(Some(BookingStatus::Expired));
            expired.then_some((*ending, told))
        }
        (_, _) => None,
    });
    match refused {
        Some((ending, told)) => {
            *told = Return::Status(Some(ending.status()));
            true
        }
        None => false,
    }
}

/// Two bookings have the seat at once: the later one's request came before the earlier one ended.
pub(super) fn take_twice(history: &mut [Taken]) -> bool {
    let taken = |taken: &Taken| match (&taken.step, &taken.returned) {
        (Step::Take(token, _), Some((at, Return::Taken))) => Some((taken.begun, *at, *token)),
        (_, _) => None,
    };
    let mut takes: Vec<_> = history.iter().filter_map(taken).collect();
    takes.sort_by_key(|(begun, ..)| *begun);
    let Some([(_, at, _), (.., token)]) = takes.first_chunk() else {
        return false;
    };
    for taken in history.iter_mut() {
        let is_second = matches!(&taken.step, Step::Take(other, _) if other == token);
        if let (true, Some((returned, _))) = (is_second, &mut taken.returned) {
            // Right behind the first, which cannot have ended by then.
            (taken.begun, *returned) = (Moment(at.0 + 1), Moment(at.0 + 2));
            return true;
        }
    }
    false
}

/// A booking is read as pending after it was read as ended.
pub(super) fn resurrect(history: &mut [Taken]) -> bool {
    let ended = |taken: &Taken| match (&taken.step, &taken.returned) {
        (Step::Read(booking), Some((at, Return::Status(Some(status)))))
            if *status != BookingStatus::Pending =>
        {
            Some((*booking, *at))
        }
        (_, _) => None,
    };
    let ended: Vec<_> = history.iter().filter_map(ended).collect();
    for (booking, at) in ended {
        let later = history.iter_mut().filter(|taken| taken.begun > at);
        let same =
            later.filter(|taken| matches!(taken.step, Step::Read(other) if other == booking));
        for taken in same {
            if let Some((_, told)) = &mut taken.returned {
                *told = Return::Status(Some(BookingStatus::Pending));
                return true;
            }
        }
    }
    false
}
