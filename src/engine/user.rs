//! A user, and how it is deleted while it books.
//!
//! **Invariant:** a user that is deleted has no live booking, at the instant of its deletion and ever
//! after.
//!
//! What a booking needs of a user is one word, `bookings`: the newest booking of the user (each row
//! leads on to the one before), or that the user is deleted. A hold links its row there before it
//! takes its first slot and so fails once the user is deleted; a deletion settles every row of the
//! list, refuses if one is live, reserves its record, and swaps the very word that the list began
//! with. Dead rows stay dead and a new row changes the word, so at that swap no booking of the user
//! is live. Neither waits for the other.
//!
//! Orderings: `bookings` is swapped with `AcqRel` and read with `Acquire`, so that who sees a row
//! in the list sees it complete, and who sees a deletion sees what led to it. The profile is
//! published by `ArcSwap` (release) and read through it (acquire).

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::ledger::{Ledger, NoRoom, Place, Position};
use super::row::{Link, Row};
use super::slots::{Seats, Turn, is_live};
use crate::domain::{
    Email, EventNumber, Fact, PersonName, Refusal, RowNumber, Timestamp, UserDeleted, UserId,
};
use crate::sync::{AtomicU64, Ordering};

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

    /// Settles the bookings from `from` down to `seen`, below which all are dead, but no more than
    /// `max`; refuses if one is live. Returns where it stopped. `find` tells where the row is that a
    /// link names.
    pub(super) fn dead_bookings<'e, L: Ledger>(
        turn: Turn<'_, L>,
        from: Link,
        seen: Link,
        max: usize,
        find: impl Fn(EventNumber, RowNumber) -> (&'e Seats, &'e Row),
    ) -> Result<Link, Refusal> {
        let mut link = from;
        for _ in 0..max {
            let Link(Some((event, number))) = link else {
                break;
            };
            if link == seen {
                break;
            }
            let (seats, row) = find(event, number);
            let word = seats.settle(turn, number, row);
            if is_live(word.map_err(|NoRoom| Refusal::StorageUnavailable)?) {
                return Err(Refusal::UserHasBookings);
            }
            link = row.earlier();
        }
        Ok(link)
    }

    /// Deletes the user unless it has a live booking; those below `seen` are known to be dead. One
    /// at a time, and not twice. `turn` begins a step.
    pub(super) fn delete<'l, 'e, L: Ledger + 'l>(
        &self,
        turn: impl Fn() -> Turn<'l, L>,
        mut seen: Link,
        find: impl Fn(EventNumber, RowNumber) -> (&'e Seats, &'e Row),
    ) -> Result<Position, Refusal> {
        loop {
            let head = self.newest();
            Self::dead_bookings(turn(), head, seen, usize::MAX, &find)?;
            let Turn { ledger, now, urgency } = turn();
            let fact = Fact::UserDeleted(UserDeleted { user: self.id.number, at: now });
            let reserved = ledger.reserve(urgency, &fact);
            let place = reserved.map_err(|NoRoom| Refusal::StorageUnavailable)?;
            let (from, to) = (head.to_bits(), head.to_bits() | DELETED);
            if self.bookings.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
            {
                return Ok(place.fill());
            }
            // A new booking was linked meanwhile.
            place.void();
            seen = head;
        }
    }
}
