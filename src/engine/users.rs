//! Users: what clients do with them, and whose an e-mail address is.
//!
//! A user itself, and what happens when it is deleted while it books, is in [`super::user`].
//! Creating, changing and deleting users among themselves is ordered by a mutex, which stands for
//! the right to change the index of e-mail addresses: it is held for the reservation and the
//! visible change, never for a disk, and no booking and no read takes it. (Moving a unique address
//! needs two words changed at one instant; a lock says so plainly, and this is no contended path.)
//! Whatever allocates is done before a place in the log is reserved, since all others wait behind
//! one that is not filled; the index grows in small steps for the same reason.

use std::sync::Arc;

use wal::Urgency;

use super::answer::{Answer, BookingView, Created, UserView};
use super::catalog::Event;
use super::ledger::{Place, Position};
use super::row::{Link, Row};
use super::slots::Seats;
use super::table::Table;
use super::user::{Profile, User};
use super::{Engine, UserBookingCursor};
use crate::domain::{
    BookingId, BookingStatus, Email, EventNumber, Fact, PersonName, PublicId, Refusal,
    RequestStamp, RowNumber, Subject, Tag, USERS_MAX, UserCreated, UserId, UserNumber, UserUpdated,
};
use crate::sync::{HashMap, Mutex, MutexGuard};

/// How many rows one step of a listing, or of a look before a deletion, looks at.
pub(super) const ROWS_PER_STEP_MAX: usize = 512;

/// What is known of a user's bookings before a deletion: dead ones stay dead.
#[derive(Debug, Default)]
pub struct DeadBookings {
    /// The newest when the look began, and the first one that was not looked at.
    looked_at: Option<[Link; 2]>,
}

impl User {
    fn view(&self) -> UserView {
        let profile = self.profile();
        UserView {
            id: self.id,
            email: profile.email.clone(),
            name: profile.name.clone(),
            created_at: self.created_at,
            updated_at: profile.updated_at,
        }
    }
}

/// Which user has an e-mail address, by [`Email::key`].
#[derive(Debug, Default)]
pub(super) struct EmailIndex(HashMap<Box<str>, UserNumber>);

impl EmailIndex {
    pub(super) fn owner(&self, email: &Email) -> Option<UserNumber> {
        self.0.pin().get(&email.key()).copied()
    }

    /// Gives an address to a user; returns whose it was.
    pub(super) fn give(&self, email: &Email, user: UserNumber) -> Option<UserNumber> {
        self.0.pin().insert(email.key(), user).copied()
    }

    pub(super) fn free(&self, email: &Email) {
        self.0.pin().remove(&email.key());
    }
}

/// All users.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) table: Table<User>,
    emails: Mutex<EmailIndex>,
}

impl Users {
    pub(super) fn new() -> Self {
        Self { table: Table::new(USERS_MAX), emails: Mutex::default() }
    }

    pub(super) fn emails(&self) -> MutexGuard<'_, EmailIndex> {
        self.emails.lock().expect("a panic while it was held has ended the process")
    }

    /// The user that an id names, unless deleted.
    pub(super) fn find(&self, id: PublicId) -> Option<&User> {
        let id = UserId::from_public(id)?;
        let user = self.table.get(id.number.get())?;
        (user.id.tag == id.tag && !user.is_deleted()).then_some(user)
    }
}

impl Engine {
    /// Creates a user.
    ///
    /// Refused: `RequestInFlight`, `KeyReused`, `EmailTaken`, `Overloaded`, `StorageUnavailable`.
    pub fn create_user(
        &self,
        email: Email,
        name: PersonName,
        stamp: Option<RequestStamp<'_>>,
    ) -> Answer<'_, Created<UserId>> {
        self.keyed(stamp, |key| {
            if let Some((subject, at)) = key.replay() {
                let Subject::UserCreated(number) = subject else {
                    return Err(Refusal::KeyReused);
                };
                let id = self.store.users.table.get(number.get()).ok_or(Refusal::UserNotFound)?.id;
                return Ok((Created { id, at, replayed: true }, None));
            }
            let emails = self.store.users.emails();
            if emails.owner(&email).is_some() {
                return Err(Refusal::EmailTaken);
            }
            if !self.log.has_room() {
                return Err(Refusal::StorageUnavailable);
            }
            let number = self.store.users.table.claim().ok_or(Refusal::Overloaded)?;
            let id = UserId { number: UserNumber::new(number), tag: Tag::new(rand::random()) };
            let at = self.clock.now();
            emails.give(&email, id.number);
            let user = User::new(id, at, email, name);
            let profile = user.profile();
            let (email, name) = (profile.email.as_str(), profile.name.as_str());
            let fact = UserCreated { user: id, email, name, at, stamp };
            let place = self
                .reserve(Urgency::Take, &Fact::UserCreated(fact))
                .inspect_err(|_refusal| emails.free(&profile.email))?;
            let set = self.store.users.table.set(number, user);
            set.expect("a claimed number is set by its claimer alone");
            let position = place.fill();
            key.succeeded(Subject::UserCreated(id.number), at);
            Ok((Created { id, at, replayed: false }, Some(position)))
        })
    }

    /// Replaces a user's e-mail address and name.
    ///
    /// Refused: `UserNotFound`, `EmailTaken`, `StorageUnavailable`.
    pub fn update_user(
        &self,
        id: PublicId,
        email: Email,
        name: PersonName,
    ) -> Answer<'_, UserView> {
        self.answer(|| {
            let emails = self.store.users.emails();
            let user = self.store.users.find(id).ok_or(Refusal::UserNotFound)?;
            let number = user.id.number;
            let owner = emails.owner(&email);
            if owner.is_some_and(|owner| owner != number) {
                return Err(Refusal::EmailTaken);
            }
            let at = self.clock.now();
            emails.give(&email, number);
            let profile = Arc::new(Profile { email, name, updated_at: at });
            let (email, name) = (profile.email.as_str(), profile.name.as_str());
            let fact = Fact::UserUpdated(UserUpdated { user: number, email, name, at });
            let place = self.reserve(Urgency::Take, &fact).inspect_err(|_refusal| {
                if owner.is_none() {
                    emails.free(&profile.email);
                }
            })?;
            let before = user.set_profile(Arc::clone(&profile));
            let position = place.fill();
            if before.email.key() != profile.email.key() {
                emails.free(&before.email);
            }
            Ok((user.view(), Some(position)))
        })
    }

    /// Looks at a bounded number of a user's bookings, newest first, and settles them, before the
    /// user is deleted. Whether none is left to look at.
    ///
    /// Refused: `UserNotFound`, `UserHasBookings`, `StorageUnavailable`.
    pub fn look_for_live_booking(&self, id: PublicId, dead: &mut DeadBookings) -> Answer<'_, bool> {
        self.answer(|| {
            let user = self.store.users.find(id).ok_or(Refusal::UserNotFound)?;
            let [newest, next] = dead.looked_at.unwrap_or_else(|| [user.newest(); 2]);
            let find = |event, number| self.seats_and_row(event, number);
            let turn = self.turn(Urgency::Release);
            let next = User::dead_bookings(turn, next, Link(None), ROWS_PER_STEP_MAX, find)?;
            dead.looked_at = Some([newest, next]);
            Ok((next == Link(None), None))
        })
    }

    /// Deletes a user who has no live booking. All bookings are looked at while nobody else can be
    /// created, changed or deleted, but for those that were looked at before.
    ///
    /// Refused: `UserNotFound`, `UserHasBookings`, `StorageUnavailable`.
    pub fn delete_user(&self, id: PublicId, dead: &DeadBookings) -> Answer<'_, ()> {
        self.answer(|| {
            let turn = || self.turn(Urgency::Release);
            let find = |event, number| self.seats_and_row(event, number);
            let seen = match dead.looked_at {
                Some([newest, Link(None)]) => newest,
                _ => Link(None),
            };
            let emails = self.store.users.emails();
            let user = self.store.users.find(id).ok_or(Refusal::UserNotFound)?;
            let position = user.delete(turn, seen, find)?;
            emails.free(&user.profile().email);
            Ok(((), Some(position)))
        })
    }

    /// Shows a user.
    ///
    /// Refused: `UserNotFound`.
    pub fn user(&self, id: PublicId) -> Answer<'_, UserView> {
        self.answer(|| {
            let user = self.store.users.find(id).ok_or(Refusal::UserNotFound)?;
            Ok((user.view(), None))
        })
    }

    /// Begins a listing of a user's bookings, newest first, behind the booking `after` of theirs.
    ///
    /// Refused: `UserNotFound`, `UnknownCursor`.
    pub fn user_bookings(
        &self,
        user: PublicId,
        after: Option<PublicId>,
        status: Option<BookingStatus>,
    ) -> Answer<'_, UserBookingCursor> {
        self.answer(|| {
            let user = self.store.users.find(user).ok_or(Refusal::UserNotFound)?;
            let next = match after {
                None => user.newest(),
                Some(id) => {
                    let (_, _, row) = self.find_booking(id).ok_or(Refusal::UnknownCursor)?;
                    if row.terms.user != user.id.number {
                        return Err(Refusal::UnknownCursor);
                    }
                    row.earlier()
                }
            };
            Ok((UserBookingCursor { next: next.0, status }, None))
        })
    }

    /// Appends up to `max` more bookings to `page`. It looks at a bounded number of rows, so that
    /// it may append none without being done.
    pub fn next_user_bookings(
        &self,
        cursor: &mut UserBookingCursor,
        max: usize,
        page: &mut Vec<BookingView>,
    ) -> Position {
        let turn = self.turn(Urgency::Take);
        let mut left = max;
        for _ in 0..ROWS_PER_STEP_MAX {
            let Some((number, row_number)) = cursor.next.filter(|_| left > 0) else {
                break;
            };
            let (event, row) = self.linked(number, row_number);
            cursor.next = row.earlier().0;
            let word = self.settled_or_read(event, turn, row_number, row);
            if word.status().is_some_and(|found| cursor.status.is_none_or(|want| want == found)) {
                page.extend(self.booking_view(event, row_number, row, word));
                left -= 1;
            }
        }
        self.position()
    }

    fn seats_and_row(&self, event: EventNumber, number: RowNumber) -> (&Seats, &Row) {
        let (event, row) = self.linked(event, number);
        (&event.seats, row)
    }

    /// The row that a link names.
    pub(super) fn linked(&self, event: EventNumber, number: RowNumber) -> (&Event, &Row) {
        let event = self.store.events.get(event.get()).expect("a link names an event that exists");
        let row = event.seats.row(number).expect("a row is complete before it is linked");
        (event, row)
    }

    /// The booking that an id names.
    pub(super) fn find_booking(&self, id: PublicId) -> Option<(&Event, RowNumber, &Row)> {
        let id = BookingId::from_public(id)?;
        let event = self.store.events.get(id.event.get())?;
        let row = event.seats.row(id.row)?;
        (row.terms.tag == id.tag).then_some((event, id.row, row))
    }
}
