//! Ids that carry addresses.
//!
//! Inside, things are found by dense numbers: a user or an event by its place in a table, a ticket
//! by its event and slot index, a booking by its event and row. Outside, every id is a UUID of
//! version 8 (RFC 9562, section 5.8) that packs this address together with a random tag:
//!
//! ```text
//!  bit 127                    80 79  76 75        64 63 62 61                        0
//!     | address, high 48 bits   | 1000 | addr. low 12 | 10 |          tag, 62 bits    |
//!
//!  address (60 bits) = kind (2) | event number (26) | index (32)
//!  kind 0: user (index = user number)      kind 2: ticket (index = slot index)
//!  kind 1: event (index = 0)               kind 3: booking (index = row number)
//! ```
//!
//! The address makes a lookup map unnecessary; the tag, which the owner of the address compares
//! with what it holds, makes ids impossible to guess or forge.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Width of the random part of an id, in bits.
pub const TAG_BITS: u32 = 62;
/// How many events one server can hold: the width of the event field of an id.
pub const EVENTS_MAX: u32 = 1 << 26;

const TAG_MASK: u128 = (1 << TAG_BITS) - 1;
const VERSION_8: u128 = 0x8 << 76;
const VARIANT_RFC: u128 = 0b10 << TAG_BITS;
const VERSION_AND_VARIANT_MASK: u128 = (0xF << 76) | (0b11 << TAG_BITS);

/// A UUID as a client wrote it: 128 bits that may or may not name something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId(pub u128);

impl fmt::Debug for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicId({:032x})", self.0)
    }
}

/// The random part of an id: 62 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(u64);

impl Tag {
    /// Keeps the low 62 bits of `random`.
    pub const fn new(random: u64) -> Self {
        Self(random & (u64::MAX >> (64 - TAG_BITS)))
    }

    /// The 62 bits as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(u32);

        impl $name {
            /// Wraps the bare number.
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// The bare number.
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The bare number as an index into memory.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

number! {
    /// A user's place in the table of users, from 0.
    UserNumber
}
number! {
    /// An event's place in the table of events, from 0.
    EventNumber
}
number! {
    /// A ticket's place in its event, from 0; its seat number is one more.
    SlotIndex
}
number! {
    /// A booking's place in its event's table of rows, from 1 (0 means "no row" in a slot).
    RowNumber
}

impl SlotIndex {
    /// The seat number that people see, from 1.
    pub const fn seat_number(self) -> u32 {
        self.0 + 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    User = 0,
    Event = 1,
    Ticket = 2,
    Booking = 3,
}

fn pack(kind: Kind, event: u32, index: u32, tag: Tag) -> PublicId {
    let address = ((kind as u128) << 58) | (u128::from(event) << 32) | u128::from(index);
    PublicId(
        ((address >> 12) << 80)
            | VERSION_8
            | ((address & 0xFFF) << 64)
            | VARIANT_RFC
            | u128::from(tag.0),
    )
}

#[expect(clippy::cast_possible_truncation, reason = "each field is masked to its width first")]
fn unpack(id: PublicId, kind: Kind) -> Option<(u32, u32, Tag)> {
    if id.0 & VERSION_AND_VARIANT_MASK != VERSION_8 | VARIANT_RFC {
        return None;
    }
    let address = ((id.0 >> 80) << 12) | ((id.0 >> 64) & 0xFFF);
    if address >> 58 != kind as u128 {
        return None;
    }
    let event = ((address >> 32) & u128::from(EVENTS_MAX - 1)) as u32;
    let index = (address & u128::from(u32::MAX)) as u32;
    Some((event, index, Tag((id.0 & TAG_MASK) as u64)))
}

/// Names a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UserId {
    /// Where the user lives.
    pub number: UserNumber,
    /// What proves that the id was issued.
    pub tag: Tag,
}

impl UserId {
    /// The UUID that clients see.
    pub fn public(self) -> PublicId {
        pack(Kind::User, 0, self.number.0, self.tag)
    }

    /// Reads a client's UUID; `None` if it cannot be a user's.
    pub fn from_public(id: PublicId) -> Option<Self> {
        let (event, index, tag) = unpack(id, Kind::User)?;
        (event == 0).then_some(Self { number: UserNumber(index), tag })
    }
}

/// Names an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventId {
    /// Where the event lives.
    pub number: EventNumber,
    /// What proves that the id was issued.
    pub tag: Tag,
}

impl EventId {
    /// The UUID that clients see.
    pub fn public(self) -> PublicId {
        pack(Kind::Event, self.number.0, 0, self.tag)
    }

    /// Reads a client's UUID; `None` if it cannot be an event's.
    pub fn from_public(id: PublicId) -> Option<Self> {
        let (event, index, tag) = unpack(id, Kind::Event)?;
        (index == 0).then_some(Self { number: EventNumber(event), tag })
    }
}

/// Names a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TicketId {
    /// The event that the ticket admits to.
    pub event: EventNumber,
    /// Its place there.
    pub slot: SlotIndex,
    /// What proves that the id was issued.
    pub tag: Tag,
}

impl TicketId {
    /// The UUID that clients see.
    pub fn public(self) -> PublicId {
        pack(Kind::Ticket, self.event.0, self.slot.0, self.tag)
    }

    /// Reads a client's UUID; `None` if it cannot be a ticket's.
    pub fn from_public(id: PublicId) -> Option<Self> {
        let (event, index, tag) = unpack(id, Kind::Ticket)?;
        Some(Self { event: EventNumber(event), slot: SlotIndex(index), tag })
    }
}

/// The secret of an event from which the tags of its tickets are made, so that no ticket's tag need
/// be kept: a keyed hash of the slot (SipHash-1-3; Aumasson and Bernstein, "SipHash: a fast
/// short-input PRF", 2012).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketKey(u128);

impl TicketKey {
    /// Wraps the secret.
    pub const fn new(secret: u128) -> Self {
        Self(secret)
    }

    /// The secret.
    pub const fn reveal(self) -> u128 {
        self.0
    }

    /// The id of the ticket at `slot` of the event that has this key.
    pub fn ticket(self, event: EventNumber, slot: SlotIndex) -> TicketId {
        let mut hasher = SipHasher13::new_with_key(&self.0.to_le_bytes());
        hasher.write(&slot.get().to_le_bytes());
        TicketId { event, slot, tag: Tag::new(hasher.finish()) }
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(***)")
    }
}

/// Names a booking.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BookingId {
    /// The event whose tickets are booked.
    pub event: EventNumber,
    /// The booking's row there.
    pub row: RowNumber,
    /// What proves that the id was issued.
    pub tag: Tag,
}

impl BookingId {
    /// The UUID that clients see.
    pub fn public(self) -> PublicId {
        pack(Kind::Booking, self.event.0, self.row.0, self.tag)
    }

    /// Reads a client's UUID; `None` if it cannot be a booking's.
    pub fn from_public(id: PublicId) -> Option<Self> {
        let (event, index, tag) = unpack(id, Kind::Booking)?;
        Some(Self { event: EventNumber(event), row: RowNumber(index), tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_are_version_8_uuids() {
        for (event, index) in [(0, 0), (1, 1), (EVENTS_MAX - 1, u32::MAX), (12_345, 999_999)] {
            let id = TicketId {
                event: EventNumber(event),
                slot: SlotIndex(index),
                tag: Tag::new(u64::MAX),
            };
            assert_eq!(TicketId::from_public(id.public()), Some(id));
            assert_eq!((id.public().0 >> 76) & 0xF, 8, "version");
            assert_eq!((id.public().0 >> 62) & 0b11, 0b10, "variant");
            let booking =
                BookingId { event: EventNumber(event), row: RowNumber(index), tag: Tag::new(7) };
            assert_eq!(BookingId::from_public(booking.public()), Some(booking));
        }
    }

    #[test]
    fn an_id_of_one_kind_is_never_read_as_another() {
        let user = UserId { number: UserNumber(3), tag: Tag::new(9) }.public();
        assert_eq!(EventId::from_public(user), None);
        assert_eq!(TicketId::from_public(user), None);
        assert_eq!(BookingId::from_public(user), None);
        assert!(UserId::from_public(user).is_some());
    }

    #[test]
    fn uuids_of_other_versions_name_nothing() {
        let version_4 = PublicId(0x550e8400_e29b_41d4_a716_446655440000);
        assert_eq!(UserId::from_public(version_4), None);
        assert_eq!(UserId::from_public(PublicId(0)), None);
        assert_eq!(UserId::from_public(PublicId(u128::MAX)), None);
    }
}
