//! Random histories, folded in batches of random lengths, give the rows that the image of the same
//! records has.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::borrow::Cow;
use std::time::Duration;

use proptest::prelude::*;

use super::super::load::bookings;
use super::*;
use crate::domain::{Amount, KeyBound, RequestStamp, Subject, Tag, UserDeleted, UserUpdated};
use crate::image::Image;

/// Tables in memory, changed as PostgreSQL's are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Tables {
    users: BTreeMap<UserNumber, UserRow>,
    events: BTreeMap<EventNumber, EventRow>,
    bookings: BTreeMap<Place, BookingRow>,
    tickets: BTreeMap<(EventNumber, SlotIndex), (TicketState, Option<BookingId>)>,
}

impl Tables {
    fn apply(&mut self, batch: &Batch) {
        for (&number, row) in &batch.new_users {
            assert!(self.users.insert(number, row.clone()).is_none());
        }
        for (number, change) in &batch.users {
            let row = self.users.get_mut(number).unwrap();
            assert!(row.deleted_at.is_none());
            if let Some((email, name, at)) = &change.profile {
                (row.email, row.name, row.updated_at) = (email.clone(), name.clone(), *at);
            }
            row.deleted_at = change.deleted_at;
        }
        for (&number, row) in &batch.new_events {
            assert!(self.events.insert(number, row.clone()).is_none());
            for index in 0..row.total_seats {
                let state = TicketState {
                    status: TicketStatus::Available,
                    holder: None,
                    updated_at: row.created_at,
                };
                self.tickets.insert((number, SlotIndex::new(index)), (state, None));
            }
        }
        for (&place, row) in &batch.new_bookings {
            assert!(self.bookings.insert(place, row.clone()).is_none());
        }
        for (place, ending) in &batch.endings {
            let row = self.bookings.get_mut(place).unwrap();
            assert_eq!((row.status, row.id), (BookingStatus::Pending, ending.id));
            (row.status, row.updated_at) = (ending.status, ending.at);
        }
        for (&(event, slot), &state) in &batch.tickets {
            let holder = batch.holder(event, state);
            assert_eq!(holder.is_some(), state.holder.is_some(), "a holder without its id");
            *self.tickets.get_mut(&(event, slot)).unwrap() = (state, holder);
        }
    }

    fn of(image: &Image) -> Self {
        let mut tables = Self::default();
        for user in image.users() {
            tables.users.insert(user.id.number, UserRow::of(user));
        }
        for event in image.events() {
            let number = event.id.number;
            tables.events.insert(number, EventRow::of(event));
            for row in bookings(image, event) {
                tables.bookings.insert((number, row.id.row), row);
            }
            for ticket in event.tickets() {
                let holder =
                    ticket.holder.map(|row| event.booking_id(row, event.booking(row).unwrap()));
                let (status, updated_at) = (ticket.status, ticket.updated_at);
                let state = TicketState { status, holder: ticket.holder, updated_at };
                tables.tickets.insert((number, ticket.id.slot), (state, holder));
            }
        }
        tables
    }
}

const SEATS: u32 = 6;
const PRICE: i64 = 250;
const HOLD: Duration = Duration::from_millis(50);

/// A wish; one that is not legal by then is passed over.
#[derive(Clone, Debug)]
enum Wish {
    User(u32),
    Update(u32, u32),
    Delete(u32),
    Event(u32),
    Hold(u32, u32, Vec<u32>),
    End(u32, u32, BookingStatus),
    Bind(u32),
}

fn wish() -> impl Strategy<Value = Wish> {
    let ends = prop::sample::select(vec![
        BookingStatus::Confirmed,
        BookingStatus::Cancelled,
        BookingStatus::Expired,
    ]);
    let slots = prop::collection::btree_set(0..SEATS, 1..4);
    prop_oneof![
        1 => (0..4u32).prop_map(Wish::User),
        1 => (0..4u32, 0..9u32).prop_map(|(user, name)| Wish::Update(user, name)),
        1 => (0..4u32).prop_map(Wish::Delete),
        1 => (0..2u32).prop_map(Wish::Event),
        8 => (0..2u32, 0..4u32, slots)
            .prop_map(|(event, user, slots)| Wish::Hold(event, user, slots.into_iter().collect())),
        6 => (0..2u32, 1..12u32, ends).prop_map(|(event, row, end)| Wish::End(event, row, end)),
        1 => (0..4u32).prop_map(Wish::Bind),
    ]
}

/// The fact that a wish comes to at `now`, whether or not it is legal.
fn fact<'a>(wish: &Wish, rows: &[u32; 2], now: u64, texts: &'a mut [String; 2]) -> Fact<'a> {
    let at = Timestamp::from_millis(now);
    let transition = |event, row, at| Transition {
        event: EventNumber::new(event),
        row: RowNumber::new(row),
        at,
        stamp: None,
    };
    match wish {
        &Wish::User(user) => {
            *texts = [format!("{user}-{now}@b"), format!("User {now}")];
            let user = UserId { number: UserNumber::new(user), tag: Tag::new(now) };
            Fact::UserCreated(UserCreated {
                user,
                email: &texts[0],
                name: &texts[1],
                at,
                stamp: None,
            })
        }
        &Wish::Update(user, name) => {
            *texts = [format!("{user}-{now}@b"), format!("Name {name}")];
            let user = UserNumber::new(user);
            Fact::UserUpdated(UserUpdated { user, email: &texts[0], name: &texts[1], at })
        }
        &Wish::Delete(user) => Fact::UserDeleted(UserDeleted { user: UserNumber::new(user), at }),
        &Wish::Event(event) => Fact::EventCreated(EventCreated {
            event: EventId { number: EventNumber::new(event), tag: Tag::new(now) },
            ticket_key: TicketKey::new(u128::from(now)),
            name: "Show",
            artist: "Band",
            venue: "Hall",
            date: "2027-01-01T20:00:00Z",
            total_seats: SEATS,
            price: Amount::from_minor(PRICE).unwrap(),
            currency: Currency::DEFAULT,
            at,
            stamp: None,
        }),
        Wish::Hold(event, user, slots) => Fact::Held(Held {
            event: EventNumber::new(*event),
            row: RowNumber::new(rows[*event as usize]),
            tag: Tag::new(now),
            user: UserNumber::new(*user),
            tickets: Cow::Owned(slots.iter().copied().map(SlotIndex::new).collect()),
            total: Amount::from_minor(PRICE * i64::try_from(slots.len()).unwrap()).unwrap(),
            at,
            deadline: at + HOLD,
            stamp: None,
        }),
        &Wish::End(event, row, BookingStatus::Cancelled) => {
            Fact::Cancelled(transition(event, row, at))
        }
        &Wish::End(event, row, BookingStatus::Expired) => {
            Fact::Expired(transition(event, row, at + HOLD))
        }
        &Wish::End(event, row, BookingStatus::Confirmed | BookingStatus::Pending) => {
            Fact::Confirmed(transition(event, row, at))
        }
        &Wish::Bind(user) => Fact::KeyBound(KeyBound {
            stamp: RequestStamp { key: "key", fingerprint: 1 },
            subject: Subject::UserCreated(UserNumber::new(user)),
            at,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_of_any_lengths_leave_the_rows_of_the_image(
        wishes in prop::collection::vec((wish(), prop::bool::weighted(0.2)), 1..120),
    ) {
        let mut image = Image::new();
        let (mut known, mut batch, mut tables) = (Known::default(), Batch::default(), Tables::default());
        let (mut rows, mut held) = ([1, 1], 0);
        for (now, (wish, cut)) in wishes.iter().enumerate() {
            let mut texts = Default::default();
            let fact = fact(wish, &rows, 1_000 + now as u64, &mut texts);
            let mut next = image.clone();
            if next.apply_fact(&fact, Lsn::new(now as u64)).is_err() {
                continue;
            }
            image = next;
            if let Wish::Hold(event, ..) = wish {
                rows[*event as usize] += 1;
                held += 1;
            }
            batch.note(Lsn::new(now as u64), 1);
            batch.fold(&mut known, &fact).unwrap();
            if *cut {
                tables.apply(&std::mem::take(&mut batch));
                prop_assert_eq!(&tables, &Tables::of(&image));
            }
        }
        tables.apply(&batch);
        prop_assert_eq!(tables, Tables::of(&image));
        prop_assert_eq!(held, image.bookings());
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let mut known = Known::default();
    let at = Timestamp::from_millis(5);
    let gone = Fact::UserDeleted(UserDeleted { user: UserNumber::new(3), at });
    assert!(Batch::default().fold(&mut known, &gone).is_err());
    let (event, row) = (EventNumber::new(0), RowNumber::new(1));
    let ended = Fact::Confirmed(Transition { event, row, at, stamp: None });
    assert!(Batch::default().fold(&mut known, &ended).is_err());
}
