//! The engine on a real log in a temporary directory, with a clock that is moved by hand.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::expiry::Schedule;
use super::*;
use crate::clock::Clock;
use crate::domain::{
    Amount, BookingStatus, Currency, Email, EventDetails, PersonName, PublicId, Refusal,
    RequestStamp, TicketStatus, Timestamp, Title, UserId,
};

mod against_model;
mod bounds;

const TTL: Duration = Duration::from_secs(600);
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(super) fn details(seats: u32) -> EventDetails {
    let title = |text| Title::parse(text).unwrap();
    EventDetails {
        name: title("Night"),
        artist: title("Band"),
        venue: title("Hall"),
        date: "2026-12-24T20:00:00Z".into(),
        total_seats: seats,
        price: Amount::parse("19.99", 2).unwrap(),
        currency: Currency::DEFAULT,
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    clock: Clock,
    engine: Engine,
}

fn open(directory: &std::path::Path, clock: &Clock) -> Engine {
    let mut options = wal::Options::new(directory);
    options.segment_bytes = 1 << 20;
    options.durability = wal::Durability::Os;
    let settings = Settings {
        hold_ttl: TTL,
        lane_count: 3,
        lane_capacity: 1_024,
        bookings_max: 1 << 26,
        idempotency_keys_max: 1 << 20,
    };
    Engine::open(options, &settings, clock.clone()).unwrap().0
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START);
        let engine = open(directory.path(), &clock);
        Self { directory, clock, engine }
    }

    /// Ends the engine without sealing its log, as a crash would, and recovers.
    fn reopen(self) -> Self {
        let Self { directory, clock, engine } = self;
        drop(engine);
        let engine = open(directory.path(), &clock);
        Self { directory, clock, engine }
    }

    fn user(&self, name: &str) -> PublicId {
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        let created = self.engine.create_user(email, PersonName::parse(name).unwrap(), None);
        created.result.unwrap().id.public()
    }

    fn delete_user(&self, id: PublicId) -> Result<(), Refusal> {
        self.engine.delete_user(id, &DeadBookings::default()).result
    }

    fn event(&self, seats: u32) -> (PublicId, Vec<PublicId>) {
        let event = self.engine.create_event(details(seats), None).result.unwrap().id.public();
        let (_, mut cursor) = self.engine.tickets(event, None, None).result.unwrap();
        let mut page = Vec::new();
        while !cursor.is_done() {
            let _ = self.engine.next_tickets(&mut cursor, 1_000, &mut page);
        }
        (event, page.iter().map(|ticket| ticket.id.public()).collect())
    }

    fn hold(&self, user: PublicId, event: PublicId, tickets: &[PublicId]) -> Result<Made, Refusal> {
        self.engine.hold(&HoldRequest { user, event, tickets, stamp: None }).result
    }

    fn counts(&self, event: PublicId) -> (u32, u32, u32) {
        let view = self.engine.event(event).result.unwrap();
        (view.available, view.reserved, view.sold)
    }
}

#[test]
fn a_booking_is_held_confirmed_and_survives_a_restart() {
    let fixture = Fixture::new();
    let user = fixture.user("ada");
    let (event, tickets) = fixture.event(10);
    let made = fixture.hold(user, event, &tickets[..3]).unwrap();
    assert_eq!(made.booking.total.display(2).to_string(), "59.97");
    assert_eq!(made.booking.expires_at, START + TTL);
    assert_eq!(fixture.counts(event), (7, 3, 0));
    let booking = made.booking.id.public();
    let ended = fixture.engine.confirm(booking, user, None).result.unwrap();
    assert_eq!(ended.booking.status, BookingStatus::Confirmed);
    assert_eq!(fixture.counts(event), (7, 0, 3));

    let hash = fixture.engine.state_hash();
    let fixture = fixture.reopen();
    assert_eq!(fixture.engine.state_hash(), hash);
    assert_eq!(fixture.counts(event), (7, 0, 3));
    assert_eq!(fixture.engine.booking(booking).result.unwrap(), ended.booking);
}

#[test]
fn a_hold_ends_exactly_at_its_deadline() {
    let fixture = Fixture::new();
    let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
    let (event, tickets) = fixture.event(2);
    let held = |user, ticket: usize| {
        let made = fixture.hold(user, event, &tickets[ticket..=ticket]).unwrap();
        made.booking.id.public()
    };
    let (first, second) = (held(ada, 0), held(ada, 1));
    fixture.clock.advance(TTL - Duration::from_millis(1));
    assert!(fixture.engine.confirm(first, ada, None).result.is_ok());
    assert!(matches!(fixture.hold(bob, event, &tickets[1..]), Err(Refusal::SeatsUnavailable(_))));
    fixture.clock.advance(Duration::from_millis(1));
    let late = fixture.engine.confirm(second, ada, None).result;
    assert_eq!(late.unwrap_err(), Refusal::BookingExpired);
    held(bob, 1);
    assert_eq!(fixture.counts(event), (0, 1, 1));
}

#[test]
fn a_users_repeat_gets_the_booking_back_and_an_overlap_names_it() {
    let fixture = Fixture::new();
    let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
    let (event, tickets) = fixture.event(4);
    let made = fixture.hold(ada, event, &tickets[..2]).unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let again = fixture.hold(ada, event, &[tickets[1], tickets[0]]).unwrap();
    assert_eq!((again.hold, &again.booking), (Hold::Existing, &made.booking));
    let Err(Refusal::SeatsUnavailable(conflicts)) = fixture.hold(ada, event, &tickets[1..3]) else {
        panic!("an overlap must be refused")
    };
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].held_by_you, Some(made.booking.id));
    let Err(Refusal::SeatsUnavailable(conflicts)) = fixture.hold(bob, event, &tickets) else {
        panic!("taken tickets must be refused")
    };
    let slots: Vec<_> = conflicts.iter().map(|conflict| conflict.slot.get()).collect();
    assert_eq!(slots, [0, 1], "every ticket that was not free, and no other");
    assert!(conflicts.iter().all(|conflict| conflict.held_by_you.is_none()));
    assert!(conflicts.iter().all(|conflict| conflict.status == TicketStatus::Reserved));
    fixture.engine.confirm(made.booking.id.public(), ada, None).result.unwrap();
    let Err(Refusal::SeatsUnavailable(conflicts)) = fixture.hold(ada, event, &tickets[..1]) else {
        panic!("sold tickets must be refused")
    };
    assert_eq!(conflicts[0].status, TicketStatus::Sold);
}

/// Lets whoever waits for a turn go on, when one ends that would have taken it.
struct PassOnDrop<'t>(&'t AtomicUsize);

impl Drop for PassOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(usize::MAX / 4, Ordering::Relaxed);
    }
}

/// Of two requests at once, the one that comes second may have read the clock first.
#[test]
fn a_users_repeat_is_never_answered_before_the_booking_was_made() {
    /// As many as fit into what is written through when a log is opened, 1 MiB without its reserve:
    /// beyond, a slow disk would have holds refused.
    const ROUNDS: usize = 2_500;
    const LOGS: usize = 4;
    for _ in 0..LOGS {
        let fixture = Fixture::new();
        let user = fixture.user("ada");
        let (event, tickets) = fixture.event(u32::try_from(ROUNDS).unwrap());
        let turn = AtomicUsize::new(0);
        let client = || {
            let _pass = PassOnDrop(&turn);
            let mut early = Vec::new();
            for (round, ticket) in tickets.iter().enumerate() {
                // Relaxed: it only brings the two close together.
                turn.fetch_add(1, Ordering::Relaxed);
                while turn.load(Ordering::Relaxed) < 2 * (round + 1) {
                    std::hint::spin_loop();
                }
                fixture.clock.advance(Duration::from_millis(1));
                let made = fixture.hold(user, event, std::slice::from_ref(ticket)).unwrap();
                early.extend((made.answered_at < made.booking.created_at).then_some(made));
            }
            early
        };
        let early = std::thread::scope(|scope| {
            let other = scope.spawn(client);
            [client(), other.join().unwrap()].concat()
        });
        assert_eq!(early, []);
    }
}

#[test]
fn any_number_of_bookings_is_looked_at_in_steps_before_a_deletion() {
    let fixture = Fixture::new();
    let (ada, engine) = (fixture.user("ada"), &fixture.engine);
    let (event, tickets) = fixture.event(2);
    let hold = |seat: usize| {
        let made = fixture.hold(ada, event, &tickets[seat..=seat]).unwrap();
        made.booking.id.public()
    };
    let cancel = |booking| drop(engine.cancel(booking, ada, None).result.unwrap());
    let first = hold(0);
    (0..users::ROWS_PER_STEP_MAX).for_each(|_| cancel(hold(1)));
    let mut dead = DeadBookings::default();
    let mut look = || engine.look_for_live_booking(ada, &mut dead).result;
    assert_eq!([look(), look()], [Ok(false), Err(Refusal::UserHasBookings)]);
    cancel(first);
    assert_eq!(look(), Ok(true));
    // One that was made since the look is seen all the same.
    let last = hold(0);
    let delete = || engine.delete_user(ada, &dead).result;
    assert_eq!(delete(), Err(Refusal::UserHasBookings));
    cancel(last);
    assert_eq!(delete(), Ok(()));
}

#[test]
fn a_user_with_a_live_booking_is_not_deleted() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(2);
    let booking = fixture.hold(ada, event, &tickets).unwrap().booking.id.public();
    assert_eq!(fixture.delete_user(ada), Err(Refusal::UserHasBookings));
    fixture.clock.advance(TTL);
    assert_eq!(fixture.delete_user(ada), Ok(()));
    assert_eq!(fixture.engine.user(ada).result, Err(Refusal::UserNotFound));
    assert_eq!(fixture.hold(ada, event, &tickets).unwrap_err(), Refusal::UserNotFound);
    let expired = fixture.engine.booking(booking).result.unwrap();
    assert_eq!(expired.status, BookingStatus::Expired);
    assert_ne!(fixture.user("ada"), ada, "the address is free again, the id is not");
    let hash = fixture.engine.state_hash();
    assert_eq!(fixture.reopen().engine.state_hash(), hash);
}

#[test]
fn the_sweeper_expires_what_nobody_meets() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(2_000);
    for pair in tickets.chunks(2) {
        fixture.hold(ada, event, pair).unwrap();
    }
    let mut schedule = Schedule::default();
    assert!(fixture.engine.sweep(&mut schedule));
    assert_eq!(fixture.counts(event), (0, 2_000, 0), "nothing is due");
    fixture.clock.advance(TTL);
    assert!(fixture.engine.sweep(&mut schedule));
    let stats = fixture.engine.stats();
    assert_eq!(stats.active_locks, 0);
    assert_eq!(stats.expired_locks, 2_000 - 2 * 512, "a batch is bounded");
    assert!(fixture.engine.sweep(&mut schedule));
    assert_eq!(fixture.counts(event), (2_000, 0, 0));
    assert_eq!(fixture.engine.stats().expired_locks, 0);
}

#[test]
fn threads_that_fight_for_seats_leave_a_sound_state() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 400;
    let fixture = Fixture::new();
    let users: Vec<_> = (0..THREADS).map(|n| fixture.user(&format!("user{n}"))).collect();
    let (event, tickets) = fixture.event(12);
    std::thread::scope(|scope| {
        for (thread, &user) in users.iter().enumerate() {
            let (fixture, tickets) = (&fixture, &tickets);
            scope.spawn(move || {
                // At the latest when the others have ended, nobody is in its way.
                let mut won = 0;
                for round in 0.. {
                    if won == ROUNDS {
                        break;
                    }
                    let first = (round * 7 + thread * 5) % 12;
                    let set: Vec<_> =
                        (0..=round % 4).map(|n| tickets[(first + n * 3) % 12]).collect();
                    let Ok(made) = fixture.hold(user, event, &set) else {
                        continue;
                    };
                    won += 1;
                    let booking = made.booking.id.public();
                    let ended = fixture.engine.cancel(booking, user, None);
                    assert!(ended.result.is_ok());
                }
            });
        }
    });
    assert_eq!(fixture.counts(event), (12, 0, 0));
    let hash = fixture.engine.state_hash();
    assert_eq!(fixture.reopen().engine.state_hash(), hash, "the log holds the same history");
}

#[test]
fn idempotency_keys_outlive_the_process() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(2);
    let stamp = Some(RequestStamp { key: "key-1", fingerprint: 42 });
    let request = HoldRequest { user: ada, event, tickets: &tickets[..1], stamp };
    let made = fixture.engine.hold(&request).result.unwrap();
    let booking = made.booking.id.public();
    fixture.engine.cancel(booking, ada, None).result.unwrap();
    let fixture = fixture.reopen();
    let again = fixture.engine.hold(&request).result.unwrap();
    assert!(again.replayed);
    assert_eq!(again.booking, made.booking, "the first success, although cancelled since");
    let other =
        HoldRequest { stamp: Some(RequestStamp { key: "key-1", fingerprint: 43 }), ..request };
    assert_eq!(fixture.engine.hold(&other).result.unwrap_err(), Refusal::KeyReused);
}

#[test]
fn ids_of_others_are_not_accepted() {
    let fixture = Fixture::new();
    let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
    let (event, tickets) = fixture.event(2);
    let (other, _) = fixture.event(2);
    let unknown = fixture.hold(ada, other, &tickets[..1]).unwrap_err();
    assert_eq!(unknown, Refusal::UnknownTickets(vec![tickets[0]]));
    let (_, more) = fixture.event(9);
    let forged = PublicId(tickets[1].0 ^ 1);
    for strange in [more[8], forged] {
        let unknown = fixture.hold(ada, event, &[tickets[0], strange]).unwrap_err();
        assert_eq!(unknown, Refusal::UnknownTickets(vec![strange]));
    }
    let twice = fixture.hold(ada, event, &[tickets[0], tickets[1], tickets[0]]).unwrap_err();
    assert_eq!(twice, Refusal::DuplicateTickets(vec![tickets[0]]));
    let twice = fixture.hold(ada, event, &[tickets[0], tickets[0]]).unwrap_err();
    assert_eq!(twice, Refusal::DuplicateTickets(vec![tickets[0]]));
    let booking = fixture.hold(ada, event, &tickets).unwrap().booking.id.public();
    assert_eq!(
        fixture.engine.confirm(booking, bob, None).result.unwrap_err(),
        Refusal::NotYourBooking
    );
    let guessed = PublicId(booking.0 ^ 1);
    assert_eq!(fixture.engine.booking(guessed).result.unwrap_err(), Refusal::BookingNotFound);
    let user = UserId::from_public(ada).unwrap();
    assert_eq!(user.public(), ada);
}

#[test]
fn every_change_changes_the_state_hash() {
    let fixture = Fixture::new();
    let mut seen = Vec::new();
    let mut changed = |what: &str| {
        let hash = fixture.engine.state_hash();
        assert!(!seen.contains(&hash), "{what}");
        seen.push(hash);
    };
    changed("nothing yet");
    let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
    changed("users");
    let (event, tickets) = fixture.event(2);
    changed("an event");
    let held = |tickets| fixture.hold(ada, event, tickets).unwrap().booking.id.public();
    let first = held(&tickets[..1]);
    changed("a hold");
    let second = held(&tickets[1..]);
    changed("another");
    fixture.engine.confirm(first, ada, None).result.unwrap();
    changed("a confirmation");
    fixture.engine.cancel(second, ada, None).result.unwrap();
    changed("a cancellation");
    fixture.delete_user(bob).unwrap();
    changed("a deletion");
}

#[test]
fn a_booking_takes_some_tickets_and_not_too_many() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(101);
    let most = crate::domain::TICKETS_PER_BOOKING_MAX;
    let refused = fixture.hold(ada, event, &tickets[..=most]).unwrap_err();
    assert_eq!(refused, Refusal::TooManyTickets);
    assert_eq!(fixture.hold(ada, event, &[]).unwrap_err(), Refusal::UnknownTickets(vec![]));
    let made = fixture.hold(ada, event, &tickets[..most]).unwrap();
    assert_eq!(made.booking.tickets.len(), most);
}

/// What a listing yields, two at a time.
fn paged<C, T>(
    cursor: &mut C,
    is_done: impl Fn(&C) -> bool,
    mut next: impl FnMut(&mut C, &mut Vec<T>) -> Position,
) -> Vec<T> {
    let mut all = Vec::new();
    while !is_done(cursor) {
        let mut page = Vec::new();
        let _ = next(cursor, &mut page);
        assert!(page.len() <= 2, "as many as were asked for");
        all.append(&mut page);
    }
    all
}

#[test]
fn listings_go_on_behind_what_was_listed() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let (ada, bob) = (fixture.user("ada"), fixture.user("bob"));
    let (events, mut tickets): (Vec<_>, Vec<_>) = (0..5).map(|_| fixture.event(7)).unzip();
    assert_eq!(engine.stats().tickets, 5 * 7);
    let tickets = tickets.swap_remove(3);
    let held = |user, ticket: usize| {
        let made = fixture.hold(user, events[3], &tickets[ticket..=ticket]).unwrap();
        made.booking.id.public()
    };
    let ours = [0, 2, 4, 5].map(|ticket| held(ada, ticket));
    let theirs = held(bob, 6);
    engine.confirm(ours[1], ada, None).result.unwrap();
    engine.cancel(ours[2], ada, None).result.unwrap();

    let list_events = |after| {
        let mut cursor = engine.events(after).result.unwrap();
        let next = |cursor: &mut _, page: &mut _| engine.next_events(cursor, 2, page);
        let listed = paged(&mut cursor, EventCursor::is_done, next);
        listed.iter().map(|event| event.id.public()).collect::<Vec<_>>()
    };
    assert_eq!(list_events(None), events);
    assert_eq!(list_events(Some(events[1])), events[2..]);
    assert_eq!(list_events(Some(events[4])), []);
    assert_eq!(engine.events(Some(ada)).result.unwrap_err(), Refusal::UnknownCursor);

    let list_tickets = |after, status| {
        let (_, mut cursor) = engine.tickets(events[3], after, status).result.unwrap();
        let next = |cursor: &mut _, page: &mut _| engine.next_tickets(cursor, 2, page);
        let listed = paged(&mut cursor, TicketCursor::is_done, next);
        listed.iter().map(|ticket| ticket.id.public()).collect::<Vec<_>>()
    };
    let only = |places: &[usize]| places.iter().map(|&place| tickets[place]).collect::<Vec<_>>();
    assert_eq!(list_tickets(None, None), tickets);
    assert_eq!(list_tickets(Some(tickets[2]), None), tickets[3..]);
    assert_eq!(list_tickets(Some(tickets[6]), None), []);
    assert_eq!(list_tickets(None, Some(TicketStatus::Available)), only(&[1, 3, 4]));
    assert_eq!(list_tickets(Some(tickets[0]), Some(TicketStatus::Reserved)), only(&[5, 6]));
    assert_eq!(list_tickets(None, Some(TicketStatus::Sold)), only(&[2]));
    let (other_event, _) = fixture.event(7);
    let foreign = engine.tickets(other_event, Some(tickets[0]), None).result;
    assert_eq!(foreign.unwrap_err(), Refusal::UnknownCursor);

    let list_bookings = |after, status| {
        let mut cursor = engine.user_bookings(ada, after, status).result.unwrap();
        let next = |cursor: &mut _, page: &mut _| engine.next_user_bookings(cursor, 2, page);
        let listed = paged(&mut cursor, UserBookingCursor::is_done, next);
        listed.iter().map(|booking| booking.id.public()).collect::<Vec<_>>()
    };
    let newest_first = [ours[3], ours[2], ours[1], ours[0]];
    assert_eq!(list_bookings(None, None), newest_first);
    assert_eq!(list_bookings(Some(ours[2]), None), newest_first[2..]);
    assert_eq!(list_bookings(None, Some(BookingStatus::Pending)), [ours[3], ours[0]]);
    let foreign = engine.user_bookings(ada, Some(theirs), None).result;
    assert_eq!(foreign.unwrap_err(), Refusal::UnknownCursor);
}

#[test]
fn deadlines_are_kept_over_a_restart_and_by_a_thread_of_their_own() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(3);
    let confirmed = fixture.hold(ada, event, &tickets[..1]).unwrap().booking.id.public();
    fixture.engine.confirm(confirmed, ada, None).result.unwrap();
    fixture.hold(ada, event, &tickets[1..]).unwrap();
    let stats = fixture.engine.stats();
    assert_eq!((stats.active_locks, stats.expired_locks), (2, 0));
    let Fixture { directory: _directory, clock, engine } = fixture.reopen();
    let engine = Arc::new(engine);
    clock.advance(TTL);
    let sweeper = Sweeper::start(Arc::clone(&engine)).unwrap();
    let mut looks = 0;
    while engine.stats().active_locks + engine.stats().expired_locks > 0 {
        assert!(looks < 30_000, "{:?}", engine.stats());
        std::thread::park_timeout(Duration::from_millis(1));
        looks += 1;
    }
    drop(sweeper);
    assert_eq!(Arc::strong_count(&engine), 1, "the thread has ended");
    let view = engine.event(event).result.unwrap();
    assert_eq!((view.available, view.reserved, view.sold), (2, 0, 1));
}
