//! Users.
//!
//! A user lives in a table under its number. What a booking needs of it is one word, `bookings`:
//! the newest booking of the user (each row leads on to the one before), or that the user is
//! deleted. A hold links its row there before it takes its first slot and so fails once the user is
//! deleted; a deletion settles every row of the list, refuses if one is live, reserves its record,
//! and swaps the very word that the list began with. Dead rows stay dead and a new row changes the
//! word, so at that swap no booking of the user is live. Neither waits for the other.
//!
//! Creating, changing and deleting users among themselves is ordered by a mutex, which stands for
//! the right to change the index of e-mail addresses: it is held for the reservation and the
//! visible change, never for a disk, and no booking and no read takes it. (Moving a unique address
//! needs two words changed at one instant; a lock says so plainly, and this is no contended path.)
//! Whatever allocates is done before a place in the log is reserved, since all others wait behind
//! one that is not filled; the index grows in small steps for the same reason.
//!
//! Orderings: `bookings` is swapped with `AcqRel` and read with `Acquire`, so that who sees a row
//! in the list sees it complete, and who sees a deletion sees what led to it. The profile is
//! published by `ArcSwap` (release) and read through it (acquire).

use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use wal::Urgency;

use super::answer::{Answer, BookingView, Created, UserView};
use super::ledger::{NoRoom, Place, Position};
use super::row::{Link, Row};
use super::slots::is_live;
use super::table::Table;
use super::{Engine, UserBookingCursor};
use crate::domain::{
    BookingId, BookingStatus, Email, EventNumber, Fact, PersonName, PublicId, Refusal,
    RequestStamp, RowNumber, Subject, Tag, Timestamp, USERS_MAX, UserCreated, UserDeleted, UserId,
    UserNumber, UserUpdated,
};
use crate::sync::{AtomicU64, Ordering};

/// How many rows one step of a listing looks at.
const ROWS_PER_STEP_MAX: usize = 4_096;

/// What a user can change.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) email: Email,
    pub(super) name: PersonName,
    pub(super) updated_at: Timestamp,
}

/// A user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    pub(super) created_at: Timestamp,
    profile: ArcSwap<Profile>,
    bookings: AtomicU64,
}

/// Set in `bookings` once the user is deleted.
const DELETED: u64 = 1 << 63;
const _: () = assert!(DELETED & Link::SPARE_BITS == DELETED);

impl User {
    pub(super) fn new(id: UserId, at: Timestamp, email: Email, name: PersonName) -> Self {
        let profile = ArcSwap::from_pointee(Profile { email, name, updated_at: at });
        Self { id, created_at: at, profile, bookings: AtomicU64::new(0) }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.bookings.load(Ordering::Acquire) & DELETED != 0
    }

    pub(super) fn profile(&self) -> Arc<Profile> {
        self.profile.load_full()
    }

    /// Replaces the profile; returns the one before.
    pub(super) fn set_profile(&self, profile: Arc<Profile>) -> Arc<Profile> {
        self.profile.swap(profile)
    }

    /// Puts a complete row at the head of the list; false if the user is deleted.
    pub(super) fn link(&self, event: EventNumber, number: RowNumber, row: &Row) -> bool {
        let own = Link(Some((event, number))).to_bits();
        let mut head = self.bookings.load(Ordering::Acquire);
        loop {
            if head & DELETED != 0 {
                return false;
            }
            row.set_earlier(Link::from_bits(head));
            match self.bookings.compare_exchange(head, own, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(found) => head = found,
            }
        }
    }

    /// The newest booking.
    pub(super) fn newest(&self) -> Link {
        Link::from_bits(self.bookings.load(Ordering::Acquire))
    }

    /// A user as an image has it.
    pub(super) fn restored(
        id: UserId,
        created_at: Timestamp,
        profile: Arc<Profile>,
        newest: Link,
        deleted: bool,
    ) -> Self {
        let mark = if deleted { DELETED } else { 0 };
        let bookings = AtomicU64::new(newest.to_bits() | mark);
        Self { id, created_at, profile: ArcSwap::new(profile), bookings }
    }

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
pub(super) struct EmailIndex(papaya::HashMap<Box<str>, UserNumber>);

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

    /// Deletes a user who has no live booking.
    ///
    /// Refused: `UserNotFound`, `UserHasBookings`, `StorageUnavailable`.
    pub fn delete_user(&self, id: PublicId) -> Answer<'_, ()> {
        self.answer(|| {
            let user = self.store.users.find(id).ok_or(Refusal::UserNotFound)?;
            // Dead bookings stay dead: most of the walk can be done before anybody has to wait.
            let mut seen = self.all_dead(user.newest(), Link(None))?;
            let emails = self.store.users.emails();
            let user = self.store.users.find(id).ok_or(Refusal::UserNotFound)?;
            loop {
                let head = self.all_dead(user.newest(), seen)?;
                if let Some(position) = self.try_delete(user, head)? {
                    emails.free(&user.profile().email);
                    return Ok(((), Some(position)));
                }
                seen = head;
            }
        })
    }

    /// Settles the bookings from `head` down to `seen`, below which all are dead; refuses if one is
    /// live. Returns `head`.
    fn all_dead(&self, head: Link, seen: Link) -> Result<Link, Refusal> {
        let turn = self.turn(Urgency::Release);
        let mut link = head;
        while let Link(Some((event, number))) = link
            && link != seen
        {
            let (event, row) = self.linked(event, number);
            let word = event.seats.settle(turn, number, row);
            if is_live(word.map_err(|NoRoom| Refusal::StorageUnavailable)?) {
                return Err(Refusal::UserHasBookings);
            }
            link = row.earlier();
        }
        Ok(head)
    }

    /// Deletes a user whose list still begins with `head`, below which all is dead; `None` if it
    /// does not.
    fn try_delete(&self, user: &User, head: Link) -> Result<Option<Position>, Refusal> {
        let at = self.clock.now();
        let fact = Fact::UserDeleted(UserDeleted { user: user.id.number, at });
        let place = self.reserve(Urgency::Release, &fact)?;
        let (from, to) = (head.to_bits(), head.to_bits() | DELETED);
        let swap = user.bookings.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        if swap.is_ok() {
            Ok(Some(place.fill()))
        } else {
            place.void();
            Ok(None)
        }
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

    /// The row that a link names.
    pub(super) fn linked(
        &self,
        event: EventNumber,
        number: RowNumber,
    ) -> (&super::catalog::Event, &Row) {
        let event = self.store.events.get(event.get()).expect("a link names an event that exists");
        let row = event.seats.row(number).expect("a row is complete before it is linked");
        (event, row)
    }

    /// The booking that an id names.
    pub(super) fn find_booking(
        &self,
        id: PublicId,
    ) -> Option<(&super::catalog::Event, RowNumber, &Row)> {
        let id = BookingId::from_public(id)?;
        let event = self.store.events.get(id.event.get())?;
        let row = event.seats.row(id.row)?;
        (row.terms.tag == id.tag).then_some((event, id.row, row))
    }
}
