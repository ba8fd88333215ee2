//! A user who is deleted while it books.

use std::sync::Arc;

use super::bookings::{Bookings, EVENT, is_made};
use super::ledger::Mistake;
use crate::domain::{
    Email, EventNumber, PersonName, Refusal, RowNumber, Tag, Timestamp, UserId, UserNumber,
};
use crate::engine::ledger::NoRoom;
use crate::engine::row::{Link, Row, State};
use crate::engine::slots::{Ending, HoldOutcome, Seats};
use crate::engine::user::User;
use crate::models::{Reach, explore, thread};

const USER: u32 = 5;

/// A user, and the seats that it books.
struct Model {
    user: User,
    bookings: Arc<Bookings>,
}

/// Whether a hold tells the user's list of its row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Linking {
    Links,
    Forgets,
}

impl Model {
    fn new(seats: u32, mistake: Mistake) -> Arc<Self> {
        let id = UserId { number: UserNumber::new(USER), tag: Tag::new(0) };
        let (email, name) = (Email::parse("a@b.c").unwrap(), PersonName::parse("Ada").unwrap());
        let user = User::new(id, Timestamp::from_millis(0), email, name);
        Arc::new(Self { user, bookings: Bookings::with(seats, 16, mistake) })
    }

    fn hold(&self, slots: &[u32], now: u64, linking: Linking) -> Result<HoldOutcome, NoRoom> {
        let link = |number, row: &Row| match linking {
            Linking::Links => self.user.link(EVENT, number, row),
            Linking::Forgets => !self.user.is_deleted(),
        };
        self.bookings.hold_linked(USER, slots, now, link)
    }

    fn held(&self, slots: &[u32], now: u64) -> RowNumber {
        match self.hold(slots, now, Linking::Links) {
            Ok(HoldOutcome::Made { row, .. }) => row,
            other => panic!("nothing stands in the way: {other:?}"),
        }
    }

    fn spawn_hold(
        self: &Arc<Self>,
        slots: &'static [u32],
        now: u64,
        linking: Linking,
    ) -> thread::JoinHandle<Result<HoldOutcome, NoRoom>> {
        let model = Arc::clone(self);
        thread::spawn(move || model.hold(slots, now, linking))
    }

    fn find(&self, _: EventNumber, number: RowNumber) -> (&Seats, &Row) {
        let seats = &self.bookings.seats;
        (seats, seats.row(number).expect("a row is complete before it is linked"))
    }

    /// Deletes the user; whether that was possible.
    fn delete(&self, now: u64) -> bool {
        let find = |event, number| self.find(event, number);
        match self.user.delete(|| self.bookings.turn(now), Link(None), find) {
            Ok(_) => true,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::UserHasBookings);
                false
            }
        }
    }

    fn spawn_delete(self: &Arc<Self>, now: u64) -> thread::JoinHandle<bool> {
        let model = Arc::clone(self);
        thread::spawn(move || model.delete(now))
    }

    /// The user's bookings, newest first.
    fn list(&self) -> Vec<RowNumber> {
        let mut link = self.user.newest();
        let mut rows = Vec::new();
        while let Link(Some((event, number))) = link {
            rows.push(number);
            link = self.find(event, number).1.earlier();
        }
        rows
    }
}

fn is_gone(outcome: &Result<HoldOutcome, NoRoom>) -> bool {
    matches!(outcome, Ok(HoldOutcome::UserGone))
}

fn hold_against_deletion(linking: Linking, mistake: Mistake) {
    explore(Reach::Preemptions(4), move || {
        let model = Model::new(1, mistake);
        let hold = model.spawn_hold(&[0], 0, linking);
        let deletion = model.spawn_delete(0);
        let (hold, deleted) = (hold.join().unwrap(), deletion.join().unwrap());
        assert_eq!(model.user.is_deleted(), deleted);
        model.bookings.audit();
        assert_eq!(is_gone(&hold), deleted, "{hold:?}: one of the two");
        assert_eq!(is_made(&hold), !deleted);
    });
}

#[test]
fn a_user_books_or_is_deleted() {
    hold_against_deletion(Linking::Links, Mistake::None);
}

#[test]
#[should_panic(expected = "is deleted")]
fn a_hold_that_no_list_has_is_found() {
    hold_against_deletion(Linking::Forgets, Mistake::None);
}

#[test]
#[should_panic(expected = "neither filled nor voided")]
fn a_deletion_that_lost_and_leaves_its_place_is_found() {
    hold_against_deletion(Linking::Links, Mistake::LeavesWhatWasLost);
}

/// The deletion meets a booking that is being cancelled, while another is being made.
#[test]
fn the_last_booking_ends_while_its_user_goes() {
    explore(Reach::Preemptions(3), || {
        let model = Model::new(2, Mistake::None);
        let first = model.held(&[0], 0);
        let deletion = model.spawn_delete(1);
        let hold = model.spawn_hold(&[1], 1, Linking::Links);
        let cancelled = model.bookings.end(first, Ending::Cancel, 1);
        assert_eq!(cancelled, Ok(State::Cancelled));
        let (deleted, hold) = (deletion.join().unwrap(), hold.join().unwrap());
        assert_eq!(is_gone(&hold) && deleted, is_gone(&hold), "{hold:?}");
        assert!(!(deleted && is_made(&hold)), "a deleted user has a live booking");
        model.bookings.audit();
    });
}

/// A lapsed booking is in nobody's way: the deletion expires it, and so does who takes it over.
#[test]
fn a_lapsed_booking_keeps_no_user() {
    explore(Reach::Preemptions(3), || {
        let model = Model::new(1, Mistake::None);
        let lapsed = model.held(&[0], 0);
        let deletion = model.spawn_delete(10);
        let bookings = Arc::clone(&model.bookings);
        let taker = thread::spawn(move || bookings.hold(USER + 1, &[0], 11));
        assert!(deletion.join().unwrap());
        assert!(is_made(&taker.join().unwrap()));
        assert_eq!(model.bookings.audit()[&lapsed.get()], State::Expired);
    });
}

/// Bookings of one user that are made at once are all in its list, each once.
#[test]
fn a_list_loses_nobody() {
    explore(Reach::Preemptions(4), || {
        let model = Model::new(2, Mistake::None);
        let other = model.spawn_hold(&[0], 0, Linking::Links);
        let own = model.hold(&[1], 0, Linking::Links);
        assert!(is_made(&own) && is_made(&other.join().unwrap()));
        let mut list = model.list();
        list.sort_unstable();
        assert_eq!(list, [RowNumber::new(1), RowNumber::new(2)]);
        assert!(!model.delete(1), "both are live");
        model.bookings.audit();
    });
}
