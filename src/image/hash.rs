//! The state hash: equal for equal states, however they came about.
//!
//! Each user, event and booking is hashed by itself (SipHash-2-4 of 128 bits, fixed key; Aumasson
//! and Bernstein, 2012) and the hashes are added up modulo 2^128, so that no order matters and a
//! state that lives in another shape, such as the engine's tables, is hashed by handing over its
//! entries. Idempotency keys are left out, since they are forgotten by the clock; so is the order
//! of a user's bookings.
//!
//! It guards against mistakes and rot, not against somebody who makes up a log.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::domain::{
    Amount, BookingStatus, EventDetails, EventId, EventNumber, PublicId, RowNumber, SlotIndex, Tag,
    TicketKey, Timestamp, UserId, UserNumber,
};

/// A sum of hashes of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHash(u128);

impl StateHash {
    /// The hash as a number.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The hash that has this number.
    pub const fn from_number(number: u128) -> Self {
        Self(number)
    }

    /// Adds a user.
    pub fn add_user(&mut self, user: &UserEntry<'_>) {
        let mut entry = EntryHash::new(1);
        entry
            .id(user.id.public())
            .number(user.created_at.millis())
            .number(user.updated_at.millis())
            .number(user.deleted.into())
            .field(user.email.as_bytes())
            .field(user.name.as_bytes());
        self.add(entry);
    }

    /// Adds an event, without its bookings.
    pub fn add_event(
        &mut self,
        id: EventId,
        ticket_key: TicketKey,
        created_at: Timestamp,
        details: &EventDetails,
    ) {
        let mut entry = EntryHash::new(2);
        entry
            .id(id.public())
            .field(&ticket_key.reveal().to_le_bytes())
            .number(created_at.millis())
            .number(details.total_seats.into())
            .field(&details.price.minor().to_le_bytes())
            .field(details.currency.code().as_bytes())
            .field(details.name.as_str().as_bytes())
            .field(details.artist.as_str().as_bytes())
            .field(details.venue.as_str().as_bytes())
            .field(details.date.as_bytes());
        self.add(entry);
    }

    /// Adds a booking.
    pub fn add_booking(&mut self, booking: &BookingEntry<'_>) {
        let status = match booking.status {
            BookingStatus::Pending => 0,
            BookingStatus::Confirmed => 1,
            BookingStatus::Cancelled => 2,
            BookingStatus::Expired => 3,
        };
        let mut entry = EntryHash::new(3);
        entry
            .number(booking.event.get().into())
            .number(booking.row.get().into())
            .number(booking.tag.get())
            .number(booking.user.get().into())
            .number(status)
            .number(booking.changed_at.millis())
            .field(&booking.total.minor().to_le_bytes())
            .number(booking.created_at.millis())
            .number(booking.deadline.millis());
        for slot in booking.slots {
            entry.number(slot.get().into());
        }
        self.add(entry);
    }

    fn add(&mut self, entry: EntryHash) {
        self.0 = self.0.wrapping_add(entry.finish());
    }
}

impl std::fmt::Display for StateHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What is hashed of a user.
#[derive(Clone, Copy, Debug)]
pub struct UserEntry<'a> {
    /// The id.
    pub id: UserId,
    /// The e-mail address as written.
    pub email: &'a str,
    /// The name as written.
    pub name: &'a str,
    /// Since when.
    pub created_at: Timestamp,
    /// When address or name were set last.
    pub updated_at: Timestamp,
    /// Whether the user was deleted.
    pub deleted: bool,
}

/// What is hashed of a booking.
#[derive(Clone, Copy, Debug)]
pub struct BookingEntry<'a> {
    /// Of which event.
    pub event: EventNumber,
    /// Its row there.
    pub row: RowNumber,
    /// The random part of its id.
    pub tag: Tag,
    /// Whose.
    pub user: UserNumber,
    /// Where it stands.
    pub status: BookingStatus,
    /// When it was confirmed, cancelled or expired; when it was made, if it is pending.
    pub changed_at: Timestamp,
    /// The sum of its tickets' prices.
    pub total: Amount,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is or was held.
    pub deadline: Timestamp,
    /// Its tickets.
    pub slots: &'a [SlotIndex],
}

/// What is gathered before it is hashed: all of a booking of a few tickets. Hashing field by field
/// would take three times as long.
const GATHERED_BYTES_MAX: usize = 256;

/// Collects the fields of one entry; each field is preceded by its length, so that no two entries
/// run into the same bytes.
struct EntryHash {
    hasher: SipHasher24,
    gathered: [u8; GATHERED_BYTES_MAX],
    length: usize,
}

impl EntryHash {
    fn new(kind: u8) -> Self {
        let (hasher, gathered) = (SipHasher24::new(), [0; GATHERED_BYTES_MAX]);
        let mut entry = Self { hasher, gathered, length: 0 };
        entry.gather(&[kind]);
        entry
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.gather(&(bytes.len() as u64).to_le_bytes());
        self.gather(bytes);
        self
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.length + bytes.len() > GATHERED_BYTES_MAX {
            self.hasher.write(&self.gathered[..self.length]);
            self.length = 0;
        }
        if bytes.len() > GATHERED_BYTES_MAX {
            self.hasher.write(bytes);
            return;
        }
        self.gathered[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn finish(mut self) -> u128 {
        self.hasher.write(&self.gathered[..self.length]);
        self.hasher.finish128().as_u128()
    }

    /// A field of eight bytes. Most are: both copies are of a known length, and no call.
    #[inline]
    fn number(&mut self, number: u64) -> &mut Self {
        const LENGTH: [u8; 8] = 8_u64.to_le_bytes();
        let Some(room) = self.gathered[self.length..].first_chunk_mut::<16>() else {
            return self.field(&number.to_le_bytes());
        };
        room[..8].copy_from_slice(&LENGTH);
        room[8..].copy_from_slice(&number.to_le_bytes());
        self.length += room.len();
        self
    }

    fn id(&mut self, id: PublicId) -> &mut Self {
        self.field(&id.0.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_does_not_change_a_hash() {
        let lengths = [0, 1, 90, 200, 255, 256, 257, 1_000, 8, 250, 6, 256, 3];
        let mut plain = SipHasher24::new();
        plain.write(&[9]);
        let mut entry = EntryHash::new(9);
        for (length, byte) in lengths.into_iter().zip(0..) {
            let field = vec![byte; length];
            plain.write(&(length as u64).to_le_bytes());
            plain.write(&field);
            entry.field(&field);
        }
        for number in 0..100_u64 {
            plain.write(&8_u64.to_le_bytes());
            plain.write(&number.to_le_bytes());
            entry.number(number);
        }
        assert_eq!(entry.finish(), plain.finish128().as_u128());
    }
}
