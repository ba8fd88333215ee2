//! Negative controls: a good history, changed in one place, must be found wrong, and in the right
//! way. A checker that accepts everything would fail here.

use booking_manager::domain::{BookingStatus, TicketStatus};

use super::history::{
    Asked, Conflict, Ending, Moment, Operation, Outcome, Refused, Said, Seen, Silence,
};
use super::matching::fits;
use super::model::{Booking, SeatState, Window};
use super::records::{Deed, How};
use super::story::{Spot, Story, verdict};
use super::violations::Kind;

/// Longer than any request takes.
const HOUR_MILLIS: u64 = 3_600_000;

/// What is changed, and what the checker must say.
type Control = (&'static str, Kind, fn(&mut Story));

const CONTROLS: &[Control] = &[
    ("two answers are swapped", Kind::RecordDiffers, swap_answers),
    ("two positions are swapped", Kind::WrongPosition, swap_positions),
    ("a total is another", Kind::RecordDiffers, another_total),
    ("a booking took one ticket less", Kind::RecordDiffers, one_ticket_less),
    ("a seat is sold twice", Kind::TicketTaken, sell_twice),
    ("a hold was held by somebody else", Kind::TicketTaken, hold_twice),
    ("a booking ends twice", Kind::NotPending, end_twice),
    ("nobody asked for a confirmation", Kind::Unasked, drop_confirm),
    ("a request that was half sent is carried out", Kind::Unasked, half_sent),
    ("a confirmation is lost", Kind::LostWrite, lose_confirm),
    ("the last holds before a kill are lost", Kind::LostWrite, lose_tail),
    ("a key does two things", Kind::DoneTwice, key_twice),
    ("a replay is of another booking", Kind::WrongReplay, another_replay),
    ("a key is forgotten", Kind::WrongReplay, forgotten_key),
    ("nothing was in flight", Kind::KeyUnjustified, not_in_flight),
    ("a key was not used before", Kind::KeyUnjustified, not_reused),
    ("a confirmation comes after the deadline", Kind::EndedLate, late_confirm),
    ("an expired hold is confirmed", Kind::EndedLate, confirm_expired),
    ("a hold expires early", Kind::ExpiredEarly, early_expiry),
    ("an event is made twice", Kind::IllegalRecord, event_twice),
    ("a lapsed hold is seen", Kind::SeenAfterDeadline, seen_lapsed),
    ("time and order differ", Kind::OrderAgainstTime, against_time),
    ("a time is untrue", Kind::TimeUntrue, untrue_time),
    ("a refusal comes too late", Kind::UnjustifiedRefusal, late_refusal),
    ("a refusal leaves a sold ticket out", Kind::UnjustifiedRefusal, short_refusal),
    ("a refusal hides the user's own booking", Kind::UnjustifiedRefusal, hidden_own),
    ("a refusal says sold of a held ticket", Kind::UnjustifiedRefusal, wrong_status),
    ("a booking was not cancelled", Kind::UnjustifiedRefusal, not_cancelled),
    ("a booking is read too late", Kind::UnjustifiedRead, late_read),
    ("a same set is found too late", Kind::UnjustifiedRead, late_same_set),
    ("a list shows a free seat as sold", Kind::UnjustifiedRead, wrong_list),
    ("a list leaves a free seat out", Kind::UnjustifiedRead, short_list),
    ("everything is said to be sold", Kind::UnjustifiedRead, wrong_counters),
    ("a connection is lost", Kind::LostConnection, lost_connection),
    ("an answer is of no known sort", Kind::StrangeAnswer, strange_answer),
];

#[test]
fn every_change_of_a_good_history_is_found() {
    let good = Story::record();
    let mut missed = Vec::new();
    for (what, kind, change) in CONTROLS {
        let mut story = good.clone();
        change(&mut story);
        let violations = verdict(&story.rounds).violations;
        if !violations.has(*kind) {
            missed.push(format!("{what}: {kind:?} was not found, but {violations}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let kinds = Kind::ALL.iter().filter(|kind| CONTROLS.iter().all(|control| control.1 != **kind));
    let without: Vec<_> = kinds.collect();
    assert!(without.is_empty(), "kinds without a control: {without:?}");
}

fn first(spots: &[Spot]) -> Spot {
    *spots.first().expect("the history has such an operation")
}

fn seen(story: &mut Story, spot: Spot) -> Seen {
    let seen = story.answer(spot).said.booking_mut().expect("it shows a booking");
    seen.clone()
}

/// Two holds, the later one begun after the earlier one had ended.
fn two_holds(story: &Story) -> (Spot, Spot) {
    let made = story.made();
    let operations = |spot: Spot| &story.rounds[spot.0].operations[spot.1];
    let earlier = first(&made);
    let ended = operations(earlier).answer().expect("it was answered");
    let later = made.iter().find(|spot| {
        let operation = operations(**spot);
        spot.0 == earlier.0
            && operation.begun > ended.at
            && operation.asked != operations(earlier).asked
    });
    (earlier, *later.expect("the history is long enough"))
}

fn swap_answers(story: &mut Story) {
    let (one, other) = two_holds(story);
    let (here, there) =
        (story.operation(one).outcome.clone(), story.operation(other).outcome.clone());
    story.operation(one).outcome = there;
    story.operation(other).outcome = here;
}

fn swap_positions(story: &mut Story) {
    let (one, other) = two_holds(story);
    let (here, there) = (story.answer(one).position, story.answer(other).position);
    story.answer(one).position = there;
    story.answer(other).position = here;
}

fn another_total(story: &mut Story) {
    let spot = first(&story.made());
    if let Said::Made(seen, _) = &mut story.answer(spot).said {
        seen.total += 1;
    }
}

fn one_ticket_less(story: &mut Story) {
    let several = story.made().into_iter().find(|spot| {
        let operation = &story.rounds[spot.0].operations[spot.1];
        matches!(&operation.asked, Asked::Hold { slots, .. } if slots.len() > 1)
    });
    let spot = several.expect("a booking of several tickets");
    if let Deed::Held { slots, .. } = &mut story.record_of(spot).deed {
        *slots = slots[1..].into();
    }
}

/// Another hold gets the seats of a booking, at a position that is such.
fn take_seats(story: &mut Story, such: impl Fn(&Booking, u64) -> bool) {
    let made = story.made();
    for spot in made.iter().copied() {
        let id = seen(story, spot).id;
        let victim = story.model.booking(id).cloned().expect("it was made");
        let thief = made.iter().copied().find(|thief| {
            let position = story.answer(*thief).position;
            let event = seen(story, *thief).id.event;
            thief.0 == spot.0 && event == id.event && such(&victim, position)
        });
        if let Some(thief) = thief {
            return story.rewrite_hold(thief, &victim.slots);
        }
    }
    panic!("no two bookings like that");
}

fn sell_twice(story: &mut Story) {
    take_seats(story, |victim, position| {
        victim.end.is_some_and(|end| end.how == How::Confirmed && position > end.lsn)
    });
}

fn hold_twice(story: &mut Story) {
    take_seats(story, |victim, position| {
        position > victim.held && victim.end.is_none_or(|end| position < end.lsn)
    });
}

fn end_twice(story: &mut Story) {
    let (round, place) = story.ends(How::Expired)[0];
    let mut again = story.rounds[round].records[place].clone();
    again.lsn += 1;
    story.rounds[round].records.insert(place + 1, again);
}

/// Confirmations that were answered where their record stands.
fn confirms(story: &Story) -> Vec<Spot> {
    story.answered(|story, spot, operation, answer| {
        let asked = matches!(operation.asked, Asked::End { ending: Ending::Confirm, .. });
        // The mark of one that repeats another may be where somebody else's record is.
        let own = story.record_at(spot.0, answer.position).is_some_and(|place| {
            let record = &story.rounds[spot.0].records[place];
            let ended = matches!(record.deed, Deed::Ended { .. });
            ended && record.key == operation.key && fits(&operation.asked, record)
        });
        asked && own && !answer.replayed && matches!(answer.said, Said::Ended(_))
    })
}

fn drop_confirm(story: &mut Story) {
    let alone = confirms(story).into_iter().find(|(round, place)| {
        let operations = &story.rounds[*round].operations;
        // One without an answer would be taken for the one that asked.
        let others = operations.iter().filter(|other| other.is_unknown());
        others.filter(|other| other.asked == operations[*place].asked).count() == 0
    });
    let (round, place) = alone.expect("a confirmation that was answered at once");
    story.rounds[round].operations.remove(place);
}

fn half_sent(story: &mut Story) {
    let happened = story.spots(|story, spot, operation| {
        let records = &story.rounds[spot.0].records;
        let others = &story.rounds[spot.0].operations;
        operation.is_unknown()
            && operation.key.is_some()
            && records.iter().any(|record| record.key == operation.key)
            && others
                .iter()
                .filter(|other| other.key == operation.key && other.is_unknown())
                .count()
                == 1
            && others.iter().all(|other| {
                other.key != operation.key || other.answer().is_none_or(|a| a.replayed)
            })
    });
    story.operation(first(&happened)).outcome = Outcome::NotSent;
}

fn lose_confirm(story: &mut Story) {
    let spot = first(&confirms(story));
    story.remove_record_of(spot);
}

fn lose_tail(story: &mut Story) {
    let last = story.made().into_iter().filter(|spot| spot.0 == 0);
    let last =
        last.max_by_key(|spot| story.rounds[0].operations[spot.1].answer().map(|a| a.position));
    let last = last.expect("a hold before the kill");
    let position = story.answer(last).position;
    story.rounds[0].records.retain(|record| record.lsn < position);
}

fn key_twice(story: &mut Story) {
    let made = story.made();
    let keyed: Vec<_> = made
        .into_iter()
        .filter(|spot| story.rounds[spot.0].operations[spot.1].key.is_some())
        .collect();
    let key = story.operation(keyed[0]).key;
    story.operation(keyed[1]).key = key;
    story.record_of(keyed[1]).key = key;
}

fn replays(story: &Story) -> Vec<Spot> {
    story.answered(|_, _, _, answer| answer.replayed && matches!(answer.said, Said::Made(..)))
}

fn another_replay(story: &mut Story) {
    let replay = first(&replays(story));
    let shown = seen(story, replay);
    let other = story.made().into_iter().find(|spot| seen(story, *spot).id != shown.id);
    let other = story.answer(other.expect("two bookings")).said.clone();
    story.answer(replay).said = other;
}

fn forgotten_key(story: &mut Story) {
    let spot = replays(story).into_iter().find(|spot| {
        let id = seen(story, *spot).id;
        let held = story.model.booking(id).map(|booking| booking.held);
        held.is_some_and(|held| held < story.window(*spot).low)
    });
    let answer = story.answer(spot.expect("a replay of what had been answered"));
    (answer.replayed, answer.said) = (false, Said::Refused(Refused::Taken([].into())));
}

/// Holds that were refused and whose key nobody else carried.
fn refused_alone(story: &Story) -> Spot {
    let refused = story.answered(|_, _, operation, answer| {
        operation.key.is_some() && matches!(answer.said, Said::Refused(Refused::Taken(_)))
    });
    let alone = refused.into_iter().find(|spot| {
        let key = story.rounds[spot.0].operations[spot.1].key;
        let all = story.rounds.iter().flat_map(|round| &round.operations);
        all.filter(|operation| operation.key == key).count() == 1
    });
    alone.expect("a refused hold with a key of its own")
}

fn not_in_flight(story: &mut Story) {
    let spot = refused_alone(story);
    story.answer(spot).said = Said::Refused(Refused::InFlight);
}

fn not_reused(story: &mut Story) {
    let spot = refused_alone(story);
    story.answer(spot).said = Said::Refused(Refused::KeyReused);
}

fn late_confirm(story: &mut Story) {
    let spot = first(&confirms(story));
    let Said::Ended(seen) = &mut story.answer(spot).said else {
        panic!("it confirmed");
    };
    let late = seen.expires_at;
    seen.updated_at = Some(late);
    story.record_of(spot).at = late;
}

fn confirm_expired(story: &mut Story) {
    let (round, place) = story.ends(How::Expired)[0];
    if let Deed::Ended { how, .. } = &mut story.rounds[round].records[place].deed {
        *how = How::Confirmed;
    }
}

fn early_expiry(story: &mut Story) {
    let (round, place) = story.ends(How::Expired)[0];
    let deadline = story.deadline_of((round, place));
    story.rounds[round].records[place].at = deadline - 1;
}

fn event_twice(story: &mut Story) {
    let records = &mut story.rounds[0].records;
    let made = records.iter().position(|record| matches!(record.deed, Deed::Event { .. }));
    let place = made.expect("something is on sale");
    let mut again = records[place].clone();
    again.lsn += 1;
    records.insert(place + 1, again);
}

/// Reads of a booking as pending that ended like this later.
fn pending_reads(story: &Story, how: How) -> Vec<Spot> {
    story.answered(|story, spot, _, answer| {
        let Said::Booking(seen) = &answer.said else {
            return false;
        };
        let booking = story.model.booking(seen.id).expect("it was made");
        let in_round = story.record_at(spot.0, booking.held).is_some();
        seen.status == BookingStatus::Pending
            && booking.end.is_some_and(|end| end.how == how)
            && in_round
    })
}

/// The deadline was earlier, and the booking was read as pending after it.
fn seen_lapsed(story: &mut Story) {
    for spot in pending_reads(story, How::Expired) {
        let shown = seen(story, spot);
        let begun = story.operation(spot).begun;
        let deadline = shown.created_at + 1;
        let maker = story.made().into_iter().find(|maker| seen(story, *maker).id == shown.id);
        let Some(maker) = maker else {
            continue;
        };
        if story.rounds[spot.0].clock.earliest_reading(begun) <= deadline {
            continue;
        }
        story.change_seen(shown.id, |seen| seen.expires_at = deadline);
        if let Said::Made(_, left) = &mut story.answer(maker).said {
            *left = 1;
        }
        if let Deed::Held { deadline: told, .. } = &mut story.record_of(maker).deed {
            *told = deadline;
        }
        return;
    }
    panic!("no pending booking was read");
}

fn against_time(story: &mut Story) {
    let (one, other) = two_holds(story);
    let times = |story: &mut Story, spot| (story.operation(spot).begun, story.answer(spot).at);
    let (early, late) = (times(story, one), times(story, other));
    for (spot, (begun, at)) in [(one, late), (other, early)] {
        story.operation(spot).begun = begun;
        story.answer(spot).at = at;
    }
}

fn untrue_time(story: &mut Story) {
    let spot = first(&story.made());
    let id = seen(story, spot).id;
    story.change_seen(id, |seen| {
        seen.created_at -= HOUR_MILLIS;
        seen.expires_at -= HOUR_MILLIS;
    });
    let record = story.record_of(spot);
    record.at -= HOUR_MILLIS;
    if let Deed::Held { deadline, .. } = &mut record.deed {
        *deadline -= HOUR_MILLIS;
    }
}

/// Refused holds with a conflict that is such, where the ticket did not change meanwhile.
fn refusals(
    story: &Story,
    such: impl Fn(&Conflict) -> bool,
) -> Vec<(Spot, booking_manager::domain::EventNumber, Conflict)> {
    let mut found = Vec::new();
    for (round, r) in story.rounds.iter().enumerate() {
        for (place, operation) in r.operations.iter().enumerate() {
            let refused = operation.answer().map(|answer| &answer.said);
            let (Asked::Hold { event, .. }, Some(Said::Refused(Refused::Taken(conflicts)))) =
                (&operation.asked, refused)
            else {
                continue;
            };
            let steady = conflicts.iter().find(|c| {
                such(c) && found.len() < 100 && story.is_steady((round, place), *event, c.slot)
            });
            found.extend(steady.map(|conflict| ((round, place), *event, *conflict)));
        }
    }
    found
}

fn conflicts(story: &mut Story, spot: Spot) -> &mut Box<[Conflict]> {
    let Said::Refused(Refused::Taken(conflicts)) = &mut story.answer(spot).said else {
        panic!("it was not refused");
    };
    conflicts
}

fn late_refusal(story: &mut Story) {
    let reserved = refusals(story, |conflict| conflict.status == TicketStatus::Reserved);
    for (spot, event, conflict) in reserved {
        // Another one may have lapsed at the new moment, which is another fault.
        if conflicts(story, spot).len() > 1 {
            continue;
        }
        let window = story.window(spot);
        let show = story.model.show(event).expect("it was created");
        // Some moment at which the ticket was free.
        let free = story.rounds[spot.0].records.iter().map(|record| record.lsn).find_map(|lsn| {
            let moment = (lsn > window.high).then(|| story.moment_behind(spot, lsn)).flatten()?;
            let then = Window { low: moment.1 - 64, high: moment.1 };
            // All through it: a ticket that was taken again at its end would justify the refusal.
            let taken = |state: SeatState<'_>| !matches!(state, SeatState::Free(_));
            let free = !show.seat_was(conflict.slot, then, taken);
            free.then_some(moment)
        });
        if let Some(moment) = free {
            return story.move_to(spot, moment);
        }
    }
    panic!("no ticket was given back");
}

fn short_refusal(story: &mut Story) {
    let several = refusals(story, |conflict| conflict.status == TicketStatus::Sold);
    let found = several.into_iter().find(|(spot, ..)| conflicts(story, *spot).len() > 1);
    let (spot, _, conflict) = found.expect("several tickets were taken");
    let list = conflicts(story, spot);
    *list = list.iter().filter(|other| other.slot != conflict.slot).copied().collect();
}

fn hidden_own(story: &mut Story) {
    let (spot, _, conflict) = refusals(story, |conflict| conflict.own.is_some())[0];
    for other in conflicts(story, spot) {
        if other.slot == conflict.slot {
            other.own = None;
        }
    }
}

fn wrong_status(story: &mut Story) {
    let held = refusals(story, |conflict| conflict.status == TicketStatus::Reserved);
    let (spot, _, conflict) = held[0];
    for other in conflicts(story, spot) {
        if other.slot == conflict.slot {
            other.status = TicketStatus::Sold;
        }
    }
}

fn not_cancelled(story: &mut Story) {
    let refused = story.answered(|_, _, _, answer| {
        matches!(answer.said, Said::Refused(Refused::BookingExpired | Refused::BookingCancelled))
    });
    let spot = first(&refused);
    let said = &mut story.answer(spot).said;
    let expired = matches!(said, Said::Refused(Refused::BookingExpired));
    let other = if expired { Refused::BookingCancelled } else { Refused::BookingExpired };
    *said = Said::Refused(other);
}

/// Moves an operation that saw a booking pending behind the booking's end.
fn move_behind_end(story: &mut Story, spots: &[Spot]) {
    for spot in spots.iter().copied() {
        let id = seen(story, spot).id;
        let end = story.model.booking(id).and_then(|booking| booking.end);
        let moment = end.and_then(|end| story.moment_behind(spot, end.lsn));
        if let Some(moment) = moment {
            return story.move_to(spot, moment);
        }
    }
    panic!("no booking ended early enough");
}

fn late_read(story: &mut Story) {
    let reads = pending_reads(story, How::Cancelled);
    move_behind_end(story, &reads);
}

fn late_same_set(story: &mut Story) {
    let found = story.answered(|_, _, operation, answer| {
        operation.key.is_none() && matches!(answer.said, Said::Existing(..))
    });
    move_behind_end(story, &found);
}

fn wrong_list(story: &mut Story) {
    let lists = story.answered(|_, _, _, answer| {
        matches!(&answer.said, Said::Tickets(tickets)
            if tickets.iter().any(|ticket| ticket.status == TicketStatus::Available))
    });
    if let Said::Tickets(tickets) = &mut story.answer(first(&lists)).said {
        let free = tickets.iter_mut().find(|ticket| ticket.status == TicketStatus::Available);
        free.expect("a free seat").status = TicketStatus::Sold;
    }
}

fn short_list(story: &mut Story) {
    let lists = story.answered(|story, spot, operation, answer| {
        let Asked::Tickets { event, only_available: true, .. } = operation.asked else {
            return false;
        };
        matches!(&answer.said, Said::Tickets(tickets)
            if tickets.len() > 1 && story.is_steady(spot, event, tickets[0].slot))
    });
    if let Said::Tickets(tickets) = &mut story.answer(first(&lists)).said {
        *tickets = tickets[1..].into();
    }
}

fn wrong_counters(story: &mut Story) {
    let reads = story.answered(
        |_, _, _, answer| matches!(answer.said, Said::Counters(counters) if counters.available > 8),
    );
    // The search for a justification is given up where very much happened meanwhile.
    let narrowest = reads.into_iter().take(1_000).min_by_key(|spot| {
        let window = story.window(*spot);
        window.high.saturating_sub(window.low)
    });
    let read = narrowest.expect("somebody looked at counters");
    if let Said::Counters(counters) = &mut story.answer(read).said {
        counters.sold += counters.available;
        counters.available = 0;
    }
}

fn lost_connection(story: &mut Story) {
    let reads: Vec<Spot> = story.spots(|_, _, operation: &Operation| !operation.asked.is_write());
    story.operation(first(&reads)).outcome = Outcome::Unknown(Silence::Lost(Moment(1)));
}

fn strange_answer(story: &mut Story) {
    let reads = story.answered(|_, _, operation, _| !operation.asked.is_write());
    story.answer(first(&reads)).said = Said::Strange("418 I'm a teapot".into());
}
