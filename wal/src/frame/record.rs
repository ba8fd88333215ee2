//! What a record is, apart from its bytes: kind, version, and how readers see it.

use super::FLAG_IGNORABLE;
use crate::lsn::Lsn;

/// What a record is. Kinds below [`Kind::FIRST_FREE`] belong to the log itself and are never shown
/// to callers.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind(u16);

impl Kind {
    /// The first kind that callers may use.
    pub const FIRST_FREE: u16 = 16;

    /// Fills a gap up to a page or segment boundary. Its payload is zeros.
    pub const PADDING: Self = Self(1);
    /// A reservation that was given up before it was decided. Its payload means nothing.
    pub const VOID: Self = Self(2);
    /// Written when the log falls idle, so that the last group's durable claim reaches the disk.
    /// No payload.
    pub const IDLE: Self = Self(3);
    /// The clean end: the last frame of an epoch that was closed in order. No payload.
    pub const SEAL: Self = Self(4);

    /// The kind with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number, as it stands in the frame.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the log keeps this kind to itself.
    #[must_use]
    pub const fn is_internal(self) -> bool {
        self.0 < Self::FIRST_FREE
    }

    /// Whether this is an internal kind that this version of the log writes.
    #[must_use]
    pub const fn is_known_internal(self) -> bool {
        matches!(self, Self::PADDING | Self::VOID | Self::IDLE | Self::SEAL)
    }
}

/// Kind, payload version and whether a reader that does not know them may skip the record.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct RecordType {
    /// What the record is; at least [`Kind::FIRST_FREE`] for callers.
    pub kind: Kind,
    /// Version of the payload's layout.
    pub version: u8,
    /// A reader that does not know (kind, version) may skip the record.
    pub ignorable: bool,
}

impl RecordType {
    pub(super) const fn flags(self) -> u8 {
        if self.ignorable { FLAG_IGNORABLE } else { 0 }
    }
}

/// One committed record, as readers see it. The payload is borrowed from the reader's buffer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Where the record's frame begins.
    pub lsn: Lsn,
    /// Where the record's frame ends: what `durable` must reach for the record to be durable.
    pub end: Lsn,
    /// What the record is.
    pub kind: Kind,
    /// Version of the payload's layout.
    pub version: u8,
    /// A reader that does not know (kind, version) may skip the record.
    pub ignorable: bool,
    /// The boot that wrote the record.
    pub epoch: u32,
    /// The caller's bytes.
    pub payload: &'a [u8],
}
