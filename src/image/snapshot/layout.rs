//! The bytes of a snapshot's entries.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};

pub(super) const MAGIC: [u8; 8] = *b"\x89SNP\r\n\x1a\n";
pub(super) const MAJOR: u16 = 1;
pub(super) const MINOR: u16 = 0;
pub(super) const HEADER_BYTES: usize = 96;
pub(super) const BLOCK_HEADER_BYTES: usize = 16;
/// The longest payload of a block.
pub(super) const BLOCK_BYTES_MAX: usize = 1 << 20;
/// A block is ended at this size.
pub(super) const BLOCK_BYTES_FULL: usize = 64 << 10;
/// No entry is longer: each holds the texts and lists of one fact.
pub(super) const ENTRY_BYTES_MAX: usize = crate::codec::FACT_BYTES_MAX;
const _: () = assert!(BLOCK_BYTES_FULL + ENTRY_BYTES_MAX < BLOCK_BYTES_MAX);

pub(super) type Layout = Configuration<LittleEndian, Fixint, Limit<BLOCK_BYTES_MAX>>;
pub(super) const LAYOUT: Layout =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<BLOCK_BYTES_MAX>();

/// What the entries of a block are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Users = 1,
    Event = 2,
    Bookings = 3,
    Keys = 4,
    Footer = 5,
}

impl Kind {
    pub(super) fn from_code(code: u16) -> Option<Self> {
        let all = [Self::Users, Self::Event, Self::Bookings, Self::Keys, Self::Footer];
        all.into_iter().find(|kind| *kind as u16 == code)
    }
}

#[derive(Encode, Decode)]
pub(super) struct UserV1 {
    pub(super) number: u32,
    pub(super) tag: u64,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) deleted_at: Option<u64>,
    /// Event and row.
    pub(super) newest: Option<(u32, u32)>,
}

#[derive(Encode, Decode)]
pub(super) struct EventV1 {
    pub(super) number: u32,
    pub(super) tag: u64,
    pub(super) ticket_key: u128,
    pub(super) created_at: u64,
    pub(super) total_seats: u32,
    pub(super) price: i64,
    pub(super) currency: [u8; 3],
    pub(super) name: String,
    pub(super) artist: String,
    pub(super) venue: String,
    pub(super) date: String,
}

#[derive(Encode, Decode)]
pub(super) struct BookingV1 {
    pub(super) row: u32,
    pub(super) tag: u64,
    pub(super) user: u32,
    pub(super) total: i64,
    pub(super) created_at: u64,
    pub(super) ttl_millis: u32,
    /// 0 pending, 1 confirmed, 2 cancelled, 3 expired.
    pub(super) status: u8,
    pub(super) changed_at: u64,
    pub(super) made_at: u64,
    /// Event and row.
    pub(super) earlier: Option<(u32, u32)>,
    pub(super) slots: Vec<u32>,
}

/// How many bytes a booking takes, beside its slots.
pub(super) const BOOKING_BYTES_MAX: usize = 4 + 8 + 4 + 8 + 8 + 4 + 1 + 8 + 8 + (1 + 4 + 4) + 8;
/// How many each of its slots takes.
pub(super) const SLOT_BYTES: usize = 4;

#[derive(Encode, Decode)]
pub(super) struct KeyV1 {
    pub(super) key: String,
    pub(super) fingerprint: u128,
    /// As in the log's record of a bound key.
    pub(super) subject: u8,
    pub(super) number: u32,
    pub(super) row: u32,
    pub(super) at: u64,
}

#[derive(Default, Encode, Decode)]
pub(super) struct FooterV1 {
    pub(super) users: u64,
    pub(super) events: u64,
    pub(super) bookings: u64,
    pub(super) keys: u64,
    pub(super) state_hash: u128,
}
