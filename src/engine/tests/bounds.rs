//! Bounds that no client can reach in a test: the tables are told that they are nearly full.

use super::super::catalog::Event;
use super::super::row::{Row, State, Terms, Word};
use super::super::user::User;
use super::*;
use crate::domain::{
    EVENTS_MAX, EventId, EventNumber, ROWS_PER_EVENT_MAX, RowNumber, SlotIndex, Slots, TICKETS_MAX,
    Tag, TicketKey, USERS_MAX, UserNumber,
};

impl Fixture {
    fn try_user(&self, name: &str) -> Result<PublicId, Refusal> {
        let email = Email::parse(&format!("{name}@example.com")).unwrap();
        let created = self.engine.create_user(email, PersonName::parse(name).unwrap(), None);
        created.result.map(|created| created.id.public())
    }

    fn try_event(&self, seats: u32) -> Result<PublicId, Refusal> {
        let created = self.engine.create_event(details(seats), None);
        created.result.map(|created| created.id.public())
    }

    fn tickets_of_all(&self) -> u64 {
        self.engine.store.tickets.load(Ordering::Relaxed)
    }

    fn bookings_of_all(&self) -> u64 {
        self.engine.store.bookings.load(Ordering::Relaxed)
    }
}

#[test]
fn users_are_created_up_to_their_bound() {
    let fixture = Fixture::new();
    let (event, tickets) = fixture.event(2);
    let id = UserId { number: UserNumber::new(USERS_MAX - 2), tag: Tag::new(1) };
    let (email, name) = (Email::parse("a@b.c").unwrap(), PersonName::parse("Ada").unwrap());
    let last_but_one = User::new(id, START, email, name);
    fixture.engine.store.users.table.set(id.number.get(), last_but_one).unwrap();
    let last = fixture.user("last");
    for _ in 0..2 {
        // The second time as well: the address has not become anybody's.
        assert_eq!(fixture.try_user("more").unwrap_err(), Refusal::Overloaded);
    }
    assert_eq!(fixture.engine.user(last).result.unwrap().email.as_str(), "last@example.com");
    for (user, ticket) in [(id.public(), &tickets[..1]), (last, &tickets[1..])] {
        let booking = fixture.hold(user, event, ticket).unwrap().booking;
        assert_eq!(booking.user.public(), user);
        fixture.engine.confirm(booking.id.public(), user, None).result.unwrap();
    }
}

#[test]
fn events_are_created_up_to_their_bound() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let id = EventId { number: EventNumber::new(EVENTS_MAX - 2), tag: Tag::new(1) };
    let last_but_one = Event::new(id, TicketKey::new(1), details(1), START);
    fixture.engine.store.events.set(id.number.get(), last_but_one).unwrap();
    let (last, tickets) = fixture.event(3);
    let before = fixture.tickets_of_all();
    assert_eq!(fixture.try_event(5).unwrap_err(), Refusal::Overloaded);
    assert_eq!(fixture.tickets_of_all(), before, "the tickets of no event are given back");
    let made = fixture.hold(ada, last, &tickets[1..]).unwrap();
    assert_eq!(made.booking.event.public(), last);
    assert_eq!(fixture.counts(last), (1, 2, 0));
    let mut cursor = fixture.engine.events(Some(id.public())).result.unwrap();
    let mut page = Vec::new();
    let _ = fixture.engine.next_events(&mut cursor, 9, &mut page);
    assert!(cursor.is_done());
    assert_eq!(page.iter().map(|event| event.id.public()).collect::<Vec<_>>(), [last]);
}

#[test]
fn tickets_of_all_events_are_created_up_to_their_bound() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    fixture.engine.store.tickets.store(TICKETS_MAX - 5, Ordering::Relaxed);
    assert_eq!(fixture.try_event(6).unwrap_err(), Refusal::Overloaded);
    let (event, tickets) = fixture.event(5);
    assert_eq!(fixture.tickets_of_all(), TICKETS_MAX);
    assert_eq!(fixture.try_event(1).unwrap_err(), Refusal::Overloaded);
    assert_eq!(fixture.tickets_of_all(), TICKETS_MAX);
    fixture.hold(ada, event, &tickets).unwrap();
    assert_eq!(fixture.counts(event), (0, 5, 0));
}

#[test]
fn bookings_of_one_event_are_made_up_to_their_bound() {
    let fixture = Fixture::new();
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(2);
    let terms = Terms {
        tag: Tag::new(1),
        user: UserNumber::new(0),
        slots: Slots::new(&[SlotIndex::new(0)]),
        total: Amount::parse("19.99", 2).unwrap(),
        created_at: START,
        ttl_millis: 1,
        stamp: None,
    };
    let cancelled = Row::restored(terms, Word::new(State::Cancelled, START));
    let seats = &fixture.engine.find_event(event).unwrap().seats;
    seats.restore(RowNumber::new(ROWS_PER_EVENT_MAX - 1), cancelled);
    fixture.hold(ada, event, &tickets[..1]).unwrap();
    let before = fixture.bookings_of_all();
    for _ in 0..3 {
        let refused = fixture.hold(ada, event, &tickets[1..]).unwrap_err();
        assert_eq!(refused, Refusal::Overloaded);
    }
    assert_eq!(fixture.bookings_of_all(), before, "what was refused is no booking");
    fixture.hold(ada, event, &tickets[..1]).unwrap();
    let (other, tickets) = fixture.event(1);
    fixture.hold(ada, other, &tickets).unwrap();
}

/// Of two requests at once for what is left of the bound, one booking.
#[test]
fn bookings_never_pass_their_bound_together() {
    const ROUNDS: usize = 1_000;
    const MAX: u64 = 10;
    let mut fixture = Fixture::new();
    fixture.engine.bookings_max = MAX;
    let ada = fixture.user("ada");
    let (event, tickets) = fixture.event(u32::try_from(2 * ROUNDS).unwrap());
    let turn = AtomicUsize::new(0);
    let meet = |number: usize| {
        turn.fetch_add(1, Ordering::AcqRel);
        while turn.load(Ordering::Acquire) < 2 * number {
            std::hint::spin_loop();
        }
    };
    let client = |tickets: &[PublicId]| {
        let _pass = PassOnDrop(&turn);
        let mut made = Vec::with_capacity(ROUNDS);
        for (round, ticket) in tickets.iter().enumerate() {
            fixture.engine.store.bookings.store(MAX - 1, Ordering::Relaxed);
            meet(3 * round + 1);
            let held = fixture.hold(ada, event, std::slice::from_ref(ticket));
            assert!(matches!(held, Ok(_) | Err(Refusal::Overloaded)), "{held:?}");
            made.push(held.is_ok());
            meet(3 * round + 2);
            assert_eq!(fixture.bookings_of_all(), MAX);
            // Only then is the count set back.
            meet(3 * round + 3);
        }
        made
    };
    let (some, others) = tickets.split_at(ROUNDS);
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| client(others));
        (client(some), other.join().unwrap())
    });
    let both_or_none = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert_eq!(both_or_none, 0, "rounds with two bookings, or none");
}
