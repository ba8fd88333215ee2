//! Random histories, run against the engine and against a plain sequential model that knows
//! nothing of slots, rows or logs: every answer must be the same, the state hash must survive every
//! restart, and at the end every ticket and counter must agree.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::domain::{BookingStatus, TicketStatus};

const SEATS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    CreateUser(u8),
    RenameUser(Index, u8),
    DeleteUser(Index),
    Hold {
        user: Index,
        event: Index,
        tickets: BTreeSet<u32>,
        key: Option<u8>,
    },
    Confirm {
        booking: Index,
        user: Index,
    },
    Cancel {
        booking: Index,
        user: Index,
    },
    Show(Index),
    Advance(u32),
    /// To so many milliseconds before a booking's deadline, if that is still to come.
    AdvanceTo {
        booking: Index,
        before: u32,
    },
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let tickets = || prop::collection::btree_set(0..SEATS, 1..4);
    let key = || prop::option::weighted(0.2, 0..6_u8);
    prop_oneof![
        2 => (0..8_u8).prop_map(Step::CreateUser),
        1 => (index(), 0..8_u8).prop_map(|(user, email)| Step::RenameUser(user, email)),
        1 => index().prop_map(Step::DeleteUser),
        9 => (index(), index(), tickets(), key())
            .prop_map(|(user, event, tickets, key)| Step::Hold { user, event, tickets, key }),
        4 => (index(), index()).prop_map(|(booking, user)| Step::Confirm { booking, user }),
        4 => (index(), index()).prop_map(|(booking, user)| Step::Cancel { booking, user }),
        2 => index().prop_map(Step::Show),
        2 => (0..700_000_u32).prop_map(Step::Advance),
        2 => (index(), 0..=1_u32)
            .prop_map(|(booking, before)| Step::AdvanceTo { booking, before }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Debug)]
struct ModelBooking {
    user: usize,
    event: usize,
    tickets: BTreeSet<u32>,
    status: BookingStatus,
    deadline: Timestamp,
}

impl ModelBooking {
    fn is_live(&self) -> bool {
        matches!(self.status, BookingStatus::Pending | BookingStatus::Confirmed)
    }
}

/// What a request for tickets comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Made(usize),
    Again(usize),
    Replayed(usize),
    Taken(BTreeSet<u32>),
    NoUser,
    KeyReused,
}

#[derive(Debug, Default)]
struct Model {
    /// The e-mail address of each user ever created; none once deleted.
    users: Vec<Option<u8>>,
    bookings: Vec<ModelBooking>,
    /// What each idempotency key stands for: user, event, tickets and the booking.
    keys: BTreeMap<u8, (usize, usize, BTreeSet<u32>, usize)>,
}

impl Model {
    fn expire(&mut self, now: Timestamp) {
        for booking in &mut self.bookings {
            if booking.status == BookingStatus::Pending && now >= booking.deadline {
                booking.status = BookingStatus::Expired;
            }
        }
    }

    fn hold(
        &mut self,
        user: usize,
        event: usize,
        tickets: &BTreeSet<u32>,
        key: Option<u8>,
        now: Timestamp,
    ) -> Outcome {
        if self.users[user].is_none() {
            return Outcome::NoUser;
        }
        if let Some((first_user, first_event, first_tickets, booking)) =
            key.and_then(|key| self.keys.get(&key))
        {
            let same = (*first_user, *first_event, first_tickets) == (user, event, tickets);
            return if same { Outcome::Replayed(*booking) } else { Outcome::KeyReused };
        }
        let live = |(_, booking): &(usize, &ModelBooking)| {
            booking.event == event && booking.is_live() && !booking.tickets.is_disjoint(tickets)
        };
        let mut taken = BTreeSet::new();
        let mut again = None;
        for (number, booking) in self.bookings.iter().enumerate().filter(live) {
            taken.extend(booking.tickets.intersection(tickets));
            let same = booking.user == user && booking.tickets == *tickets;
            again = again.or((same && booking.status == BookingStatus::Pending).then_some(number));
        }
        let outcome = match again {
            Some(number) => Outcome::Again(number),
            None if !taken.is_empty() => return Outcome::Taken(taken),
            None => {
                self.bookings.push(ModelBooking {
                    user,
                    event,
                    tickets: tickets.clone(),
                    status: BookingStatus::Pending,
                    deadline: now + TTL,
                });
                Outcome::Made(self.bookings.len() - 1)
            }
        };
        let (Outcome::Made(number) | Outcome::Again(number)) = outcome else {
            return outcome;
        };
        if let Some(key) = key {
            self.keys.insert(key, (user, event, tickets.clone(), number));
        }
        outcome
    }

    fn end(&mut self, booking: usize, user: usize, to: BookingStatus) -> Result<(), Refusal> {
        if self.users[user].is_none() {
            return Err(Refusal::UserNotFound);
        }
        let booking = &mut self.bookings[booking];
        if booking.user != user {
            return Err(Refusal::NotYourBooking);
        }
        match booking.status {
            status if status == to => Ok(()),
            BookingStatus::Pending => {
                booking.status = to;
                Ok(())
            }
            BookingStatus::Confirmed => Err(Refusal::AlreadyConfirmed),
            BookingStatus::Cancelled => Err(Refusal::BookingCancelled),
            BookingStatus::Expired => Err(Refusal::BookingExpired),
        }
    }
}

/// The engine and the model side by side.
struct Pair {
    fixture: Option<Fixture>,
    model: Model,
    schedule: Schedule,
    users: Vec<PublicId>,
    events: Vec<(PublicId, Vec<PublicId>)>,
    bookings: Vec<PublicId>,
}

fn email(number: u8) -> Email {
    // The same address in two spellings.
    let name = if number.is_multiple_of(2) { "Mail" } else { "mAIL" };
    Email::parse(&format!("{name}{}@example.com", number / 2)).unwrap()
}

impl Pair {
    fn new() -> Self {
        let fixture = Fixture::new();
        let events = (0..2).map(|_| fixture.event(SEATS)).collect();
        Self {
            fixture: Some(fixture),
            model: Model::default(),
            schedule: Schedule::default(),
            users: Vec::new(),
            events,
            bookings: Vec::new(),
        }
    }

    fn fixture(&self) -> &Fixture {
        self.fixture.as_ref().expect("taken for a restart only")
    }

    fn run(&mut self, step: &Step) {
        let now = self.fixture().clock.now();
        self.model.expire(now);
        match step {
            Step::CreateUser(address) => self.create_user(*address),
            Step::RenameUser(user, address) => self.rename_user(user, *address),
            Step::DeleteUser(user) => self.delete_user(user),
            Step::Hold { user, event, tickets, key } => self.hold(user, event, tickets, *key, now),
            Step::Confirm { booking, user } => {
                self.end(booking, user, BookingStatus::Confirmed);
            }
            Step::Cancel { booking, user } => self.end(booking, user, BookingStatus::Cancelled),
            Step::Show(booking) => self.show(booking),
            Step::Advance(millis) => {
                self.fixture().clock.advance(Duration::from_millis((*millis).into()));
            }
            Step::AdvanceTo { booking, before } => {
                if let Some(booking) = Self::pick(booking, self.bookings.len()) {
                    let left = self.model.bookings[booking].deadline.millis_since(now);
                    let span = Duration::from_millis(left.saturating_sub((*before).into()));
                    self.fixture().clock.advance(span);
                }
            }
            Step::Sweep => {
                let fixture = self.fixture.as_ref().expect("taken for a restart only");
                assert!(fixture.engine.sweep(&mut self.schedule));
            }
            Step::Restart => self.restart(),
        }
    }

    fn restart(&mut self) {
        let fixture = self.fixture.take().expect("taken for a restart only");
        let hash = fixture.engine.state_hash();
        let fixture = fixture.reopen();
        assert_eq!(fixture.engine.state_hash(), hash, "replayed state = live state");
        self.fixture = Some(fixture);
        self.schedule = Schedule::default();
    }

    fn pick(index: &Index, length: usize) -> Option<usize> {
        (length > 0).then(|| index.index(length))
    }

    fn create_user(&mut self, address: u8) {
        let name = PersonName::parse("Somebody").unwrap();
        let created = self.fixture().engine.create_user(email(address), name, None).result;
        if self.model.users.iter().flatten().any(|taken| taken / 2 == address / 2) {
            assert_eq!(created.unwrap_err(), Refusal::EmailTaken);
        } else {
            self.users.push(created.unwrap().id.public());
            self.model.users.push(Some(address));
        }
    }

    fn rename_user(&mut self, user: &Index, address: u8) {
        let Some(user) = Self::pick(user, self.users.len()) else {
            return;
        };
        let name = PersonName::parse("Somebody Else").unwrap();
        let updated =
            self.fixture().engine.update_user(self.users[user], email(address), name).result;
        let others = self.model.users.iter().enumerate().filter(|(other, _)| *other != user);
        let taken = others.filter_map(|(_, taken)| *taken).any(|taken| taken / 2 == address / 2);
        match (self.model.users[user], taken) {
            (None, _) => assert_eq!(updated.unwrap_err(), Refusal::UserNotFound),
            (Some(_), true) => assert_eq!(updated.unwrap_err(), Refusal::EmailTaken),
            (Some(_), false) => {
                assert_eq!(updated.unwrap().email, email(address));
                self.model.users[user] = Some(address);
            }
        }
    }

    fn delete_user(&mut self, user: &Index) {
        let Some(user) = Self::pick(user, self.users.len()) else {
            return;
        };
        let deleted = self.fixture().delete_user(self.users[user]);
        let busy = self.model.bookings.iter().any(|found| found.user == user && found.is_live());
        match (self.model.users[user], busy) {
            (None, _) => assert_eq!(deleted, Err(Refusal::UserNotFound)),
            (Some(_), true) => assert_eq!(deleted, Err(Refusal::UserHasBookings)),
            (Some(_), false) => {
                assert_eq!(deleted, Ok(()));
                self.model.users[user] = None;
            }
        }
    }

    fn hold(
        &mut self,
        user: &Index,
        event: &Index,
        tickets: &BTreeSet<u32>,
        key: Option<u8>,
        now: Timestamp,
    ) {
        let Some(user) = Self::pick(user, self.users.len()) else {
            return;
        };
        let event = event.index(self.events.len());
        let expected = self.model.hold(user, event, tickets, key, now);
        let (event_id, ids) = &self.events[event];
        let wanted: Vec<_> = tickets.iter().map(|&slot| ids[slot as usize]).collect();
        let key_text = key.map(|key| format!("key-{key}"));
        let slots = tickets.iter().fold(0_u128, |bits, slot| bits | 1 << slot);
        let fingerprint = slots | (event as u128) << 32 | (user as u128) << 64;
        let stamp = key_text.as_deref().map(|key| RequestStamp { key, fingerprint });
        let request =
            HoldRequest { user: self.users[user], event: *event_id, tickets: &wanted, stamp };
        let result = self.fixture().engine.hold(&request).result;
        let found = match result {
            Ok(made) => {
                let id = made.booking.id.public();
                assert_eq!(made.booking.status, BookingStatus::Pending);
                let number = self.bookings.iter().position(|known| *known == id);
                match (number, made.hold, made.replayed) {
                    (None, Hold::New, false) => {
                        self.bookings.push(id);
                        Outcome::Made(self.bookings.len() - 1)
                    }
                    (Some(number), Hold::Existing, false) => Outcome::Again(number),
                    (Some(number), _, true) => Outcome::Replayed(number),
                    other => panic!("an answer that cannot be: {other:?}"),
                }
            }
            Err(Refusal::SeatsUnavailable(conflicts)) => {
                Outcome::Taken(conflicts.iter().map(|conflict| conflict.slot.get()).collect())
            }
            Err(Refusal::UserNotFound) => Outcome::NoUser,
            Err(Refusal::KeyReused) => Outcome::KeyReused,
            Err(other) => panic!("an answer that cannot be: {other:?}"),
        };
        assert_eq!(found, expected);
    }

    fn end(&mut self, booking: &Index, user: &Index, to: BookingStatus) {
        let Some(booking) = Self::pick(booking, self.bookings.len()) else {
            return;
        };
        // Mostly the owner, sometimes anybody.
        let owner = self.model.bookings[booking].user;
        let anybody = user.index(self.users.len() * 4);
        let user = if anybody < self.users.len() { anybody } else { owner };
        let expected = self.model.end(booking, user, to);
        let engine = &self.fixture().engine;
        let (id, user) = (self.bookings[booking], self.users[user]);
        let ended = match to {
            BookingStatus::Confirmed => engine.confirm(id, user, None),
            BookingStatus::Pending | BookingStatus::Cancelled | BookingStatus::Expired => {
                engine.cancel(id, user, None)
            }
        };
        assert_eq!(ended.result.map(|ended| assert_eq!(ended.booking.status, to)), expected);
    }

    fn show(&mut self, booking: &Index) {
        let Some(booking) = Self::pick(booking, self.bookings.len()) else {
            return;
        };
        let shown = self.fixture().engine.booking(self.bookings[booking]).result.unwrap();
        assert_eq!(shown.status, self.model.bookings[booking].status);
        assert_eq!(shown.expires_at, self.model.bookings[booking].deadline);
    }

    /// Every ticket, counter and list.
    fn compare_all(&mut self) {
        self.model.expire(self.fixture().clock.now());
        let engine = &self.fixture().engine;
        for (number, (event, _)) in self.events.iter().enumerate() {
            let (_, mut cursor) = engine.tickets(*event, None, None).result.unwrap();
            let mut page = Vec::new();
            while !cursor.is_done() {
                let _ = engine.next_tickets(&mut cursor, 4, &mut page);
            }
            assert_eq!(page.len(), SEATS as usize);
            let mut counts = (0, 0, 0);
            for ticket in page {
                let holder = self.model.bookings.iter().find(|booking| {
                    let ours = booking.event == number && booking.is_live();
                    ours && booking.tickets.contains(&ticket.slot.get())
                });
                let expected = match holder.map(|booking| booking.status) {
                    None => TicketStatus::Available,
                    Some(BookingStatus::Pending) => TicketStatus::Reserved,
                    Some(_) => TicketStatus::Sold,
                };
                assert_eq!(ticket.status, expected, "ticket {:?} of event {number}", ticket.slot);
                match ticket.status {
                    TicketStatus::Reserved => counts.1 += 1,
                    TicketStatus::Sold => counts.2 += 1,
                    TicketStatus::Available | TicketStatus::Cancelled => counts.0 += 1,
                }
            }
            assert_eq!(self.fixture().counts(*event), counts);
        }
        self.compare_lists();
    }

    fn compare_lists(&self) {
        let engine = &self.fixture().engine;
        for (number, user) in self.users.iter().enumerate() {
            let Ok(mut cursor) = engine.user_bookings(*user, None, None).result else {
                assert_eq!(self.model.users[number], None);
                continue;
            };
            let mut page = Vec::new();
            while !cursor.is_done() {
                let _ = engine.next_user_bookings(&mut cursor, 3, &mut page);
            }
            let found: Vec<_> = page.iter().map(|booking| booking.id.public()).collect();
            let ours = |index: &usize| self.model.bookings[*index].user == number;
            let expected: Vec<_> = (0..self.bookings.len()).rev().filter(ours).collect();
            let expected: Vec<_> = expected.into_iter().map(|index| self.bookings[index]).collect();
            assert_eq!(found, expected, "newest first");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
        pair.compare_all();
        pair.restart();
        pair.compare_all();
    }
}
