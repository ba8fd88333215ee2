//! Negative controls: the history of a ticket is changed, and is not linearizable any more. Each says
//! whether there was something to change.

use booking_manager::domain::{BookingStatus, TicketStatus};

use super::Taken;
use super::ticket::{Return, Step, Token};
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

/// A hold that had expired before the request began is said to have been confirmed or cancelled after
/// all. (A request that went on at the deadline may have come before it, and so may one that was
/// never answered.)
pub(super) fn end_expired(history: &mut [Taken]) -> bool {
    let lapsed = |taken: &Taken| match (&taken.step, &taken.returned) {
        (Step::Lapse(Token::Booking(booking)), Some((at, _))) => Some((*booking, *at)),
        (_, _) => None,
    };
    let lapsed: Vec<_> = history.iter().filter_map(lapsed).collect();
    let silent = |taken: &Taken| match (&taken.step, &taken.returned) {
        (Step::End(_, booking), None) => Some(*booking),
        (_, _) => None,
    };
    let silent: Vec<_> = history.iter().filter_map(silent).collect();
    for taken in history {
        let begun = taken.begun;
        if let (Step::End(ending, booking), Some((_, told))) = (&taken.step, &mut taken.returned) {
            let late = lapsed.iter().any(|(of, at)| of == booking && *at < begun);
            let certain = late && !silent.contains(booking);
            if certain && *told == Return::Status(Some(BookingStatus::Expired)) {
                *told = Return::Status(Some(ending.status()));
                return true;
            }
        }
    }
    false
}

/// Two bookings have the seat at once: the later one's request came before the earlier one ended.
pub(super) fn take_twice(history: &mut [Taken]) -> bool {
    let taken = |taken: &Taken| match (&taken.step, &taken.returned) {
        (Step::Take(token, _), Some((at, Return::Taken))) => Some((taken.begun, *at, *token)),
        (_, _) => None,
    };
    let mut takes: Vec<_> = history.iter().filter_map(taken).collect();
    takes.sort_by_key(|(begun, ..)| *begun);
    let Some([(_, at, first), (.., token)]) = takes.first_chunk() else {
        return false;
    };
    let may_end = |taken: &Taken| {
        let ended = match &taken.step {
            Step::End(_, booking) => Token::Booking(*booking),
            Step::Lapse(token) => *token,
            Step::Take(..) | Step::Look(_) | Step::Read(_) => return false,
        };
        ended == *first && taken.begun <= Moment(at.0 + 2)
    };
    if history.iter().any(may_end) {
        return false;
    }
    for taken in history.iter_mut() {
        let is_second = matches!(&taken.step, Step::Take(other, _) if other == token);
        if let (true, Some((returned, _))) = (is_second, &mut taken.returned) {
            // Right behind the first, which has not ended by then.
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
