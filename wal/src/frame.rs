//! The frame: the unit of the log that is written whole, checked whole and refused whole.
//!
//! ```text
//!  0        4        8                16   18 19 20       24       28       32        length  span
//!  +--------+--------+----------------+----+--+--+--------+--------+--------+-----------+------+
//!  | commit | CRC-32 | LSN            |kind|v |fl| length | epoch  | claim  | payload   | zeros|
//!  +--------+--------+----------------+----+--+--+--------+--------+--------+-----------+------+
//!           |        |<-------------------- under the CRC, from 8 to span -------------------->|
//! ```
//!
//! All fields are little-endian. `length` counts header and payload; the frame occupies `span`,
//! which is `length` rounded up to [`FRAME_ALIGN`], and the bytes between are zeros *under the
//! CRC*, so there is no byte of a frame in which a flip goes unnoticed. The CRC is seeded with the
//! segment's [`Seed`] (log uuid, epoch, salt), so neither a frame of another log or boot nor a
//! payload made to look like a frame can pass.
//!
//! # The commit word
//!
//! | value | meaning |
//! |---|---|
//! | 0 | free: nobody claimed this place, or nothing of the claim reached the disk |
//! | `0x8000_0000 + length` | reserved: claimed, being filled or about to be decided |
//! | `length` | committed |
//!
//! It is the only field outside the CRC, because it is the only one that changes after the frame
//! is complete. It is still checked in full: its low bits must equal the length under the CRC.
//!
//! This module knows nothing of files, maps or threads; the ordering of stores to a live frame
//! belongs to the append path.

mod check;
mod record;

pub use check::{Expected, FrameFault, FrameView, check, find};
pub use record::{Kind, Record, RecordType};

use crate::lsn::Lsn;

/// Frames begin at multiples of this many bytes. A frame header is as long, so any gap between
/// two frames, or before the end of a segment, has room for a padding frame.
pub const FRAME_ALIGN: usize = 32;
/// Bytes before the payload, commit word included.
pub const FRAME_HEADER_BYTES: usize = 32;
/// The longest frame, header included.
pub const FRAME_BYTES_MAX: usize = 65_536;
/// The longest payload.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;

/// Bytes of the commit word, which lies before the frame's body.
pub const COMMIT_WORD_BYTES: usize = 4;
/// Bytes of the header behind the commit word: all that [`FrameHeader::encode_padding`] returns.
pub const BODY_HEADER_BYTES: usize = FRAME_HEADER_BYTES - COMMIT_WORD_BYTES;

/// Bit of the flags byte: a reader that does not know this (kind, version) may skip the frame.
pub const FLAG_IGNORABLE: u8 = 0x01;
/// Every flag that this version knows; a frame with another one set was written by a newer version.
pub const FLAGS_KNOWN: u8 = FLAG_IGNORABLE;

/// Offset at which the bytes under the CRC begin.
const CRC_FROM: usize = 8;
/// The bit of the commit word that says reserved.
const RESERVED_BIT: u32 = 0x8000_0000;
/// Source of the zeros that a padding frame consists of.
const ZEROS: [u8; 4096] = [0; 4096];

const _: () = {
    assert!(FRAME_ALIGN.is_power_of_two());
    assert!(FRAME_HEADER_BYTES == FRAME_ALIGN, "any aligned gap must hold a padding frame");
    assert!(FRAME_BYTES_MAX.is_multiple_of(FRAME_ALIGN));
    assert!((FRAME_BYTES_MAX as u64) < RESERVED_BIT as u64);
};

/// Bytes that a frame of `length` bytes occupies: `length` rounded up to [`FRAME_ALIGN`].
#[must_use]
pub const fn span_of(length: usize) -> usize {
    length.next_multiple_of(FRAME_ALIGN)
}

/// Length of the frame that carries `payload_bytes`, or `None` when it would be too long.
#[must_use]
pub const fn frame_length(payload_bytes: usize) -> Option<u32> {
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most FRAME_BYTES_MAX, asserted above")]
    Some((FRAME_HEADER_BYTES + payload_bytes) as u32)
}

/// The three states of a frame's first four bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CommitWord {
    /// Nobody claimed this place.
    Free,
    /// Claimed by a frame of this many bytes, not yet decided.
    Reserved(u32),
    /// A complete frame of this many bytes.
    Committed(u32),
}

impl CommitWord {
    /// The word as a number. On the medium it is little-endian: a live frame's word, which is an
    /// atomic in native order, holds `encode().to_le()`.
    #[must_use]
    pub const fn encode(self) -> u32 {
        match self {
            Self::Free => 0,
            Self::Reserved(length) => RESERVED_BIT | length,
            Self::Committed(length) => length,
        }
    }

    /// Splits a word; total, so any four bytes are one of the three. `Reserved(0)` can be returned
    /// and is never a valid reservation.
    #[must_use]
    pub const fn decode(word: u32) -> Self {
        if word == 0 {
            Self::Free
        } else if word & RESERVED_BIT != 0 {
            Self::Reserved(word & !RESERVED_BIT)
        } else {
            Self::Committed(word)
        }
    }
}

/// What ties a frame's CRC to one log, one boot and one segment: a CRC-32 over log uuid, epoch
/// and the segment's random salt, with which the frame's CRC starts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Seed(u32);

impl Seed {
    /// The seed of the segment with this uuid, epoch and salt.
    #[must_use]
    pub fn new(uuid: &[u8; 16], epoch: u32, salt: u64) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(uuid);
        crc.update(&epoch.to_le_bytes());
        crc.update(&salt.to_le_bytes());
        Self(crc.finalize())
    }

    fn hasher(self) -> crc32fast::Hasher {
        crc32fast::Hasher::new_with_initial(self.0)
    }
}

/// How far behind a frame the durable mark stood when the frame was written, in bytes.
///
/// Recovery takes the largest position that any valid frame claims: what was durable once must be
/// whole now. A claim may be too modest, never too bold, so a distance that does not fit is
/// written as no claim at all.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DurableClaim(u32);

impl DurableClaim {
    /// The frame says nothing about durability.
    pub const NONE: Self = Self(u32::MAX);

    /// The claim of a frame at `frame` written when everything before `durable` was durable.
    /// A mark beyond the frame claims everything before the frame.
    #[must_use]
    pub const fn new(frame: Lsn, durable: Lsn) -> Self {
        let distance = frame.since(durable);
        if distance < u32::MAX as u64 {
            #[expect(clippy::cast_possible_truncation, reason = "compared with u32::MAX above")]
            Self(distance as u32)
        } else {
            Self::NONE
        }
    }

    /// The position before which everything was durable, or `None` for no claim (also when the
    /// distance reaches back beyond the log's beginning, which no writer writes).
    #[must_use]
    pub const fn position(self, frame: Lsn) -> Option<Lsn> {
        if self.0 == u32::MAX || self.0 as u64 > frame.get() {
            None
        } else {
            Some(Lsn::new(frame.get() - self.0 as u64))
        }
    }
}

/// Every field of a frame's header except commit word and CRC.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The frame's own address.
    pub lsn: Lsn,
    /// What the frame is.
    pub kind: Kind,
    /// Version of the payload's layout.
    pub version: u8,
    /// [`FLAG_IGNORABLE`] or 0.
    pub flags: u8,
    /// Header and payload, in bytes.
    pub length: u32,
    /// The boot that writes the frame.
    pub epoch: u32,
    /// The durable mark when the frame was written.
    pub claim: DurableClaim,
}

impl FrameHeader {
    /// The header of a caller's record, or `None` when the payload is too long.
    #[must_use]
    pub const fn record(
        lsn: Lsn,
        record: RecordType,
        payload_bytes: usize,
        epoch: u32,
        claim: DurableClaim,
    ) -> Option<Self> {
        let Some(length) = frame_length(payload_bytes) else {
            return None;
        };
        Some(Self {
            lsn,
            kind: record.kind,
            version: record.version,
            flags: record.flags(),
            length,
            epoch,
            claim,
        })
    }

    /// The header of one of the log's own frames of `length` bytes (32 for the carriers of nothing
    /// but a claim, the size of the gap for padding). All of them are ignorable.
    #[must_use]
    pub const fn internal(
        lsn: Lsn,
        kind: Kind,
        length: u32,
        epoch: u32,
        claim: DurableClaim,
    ) -> Self {
        Self { lsn, kind, version: 1, flags: FLAG_IGNORABLE, length, epoch, claim }
    }

    /// This frame turned into a void one of the same length: what becomes of a reservation that is
    /// given up. [`FrameHeader::seal_body`] over the same body completes it.
    #[must_use]
    pub const fn voided(self) -> Self {
        Self { kind: Kind::VOID, version: 1, flags: FLAG_IGNORABLE, ..self }
    }

    /// Bytes that the frame occupies.
    #[must_use]
    pub const fn span(&self) -> usize {
        span_of(self.length as usize)
    }

    /// Where the frame ends.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.lsn.plus(self.span() as u64)
    }

    /// Writes header, payload, zeros up to the span, and the CRC: everything but the commit word.
    ///
    /// `body` is the frame without its first [`COMMIT_WORD_BYTES`], that is `span - 4` bytes.
    ///
    /// # Panics
    /// When `body` or `payload` do not have the lengths that the header says: a caller's bug, and
    /// to be ruled out before space is claimed.
    pub fn encode(&self, seed: Seed, payload: &[u8], body: &mut [u8]) {
        let (_, rest) = body.split_at_mut(BODY_HEADER_BYTES);
        let (text, slack) = rest.split_at_mut(self.length as usize - FRAME_HEADER_BYTES);
        text.copy_from_slice(payload);
        slack.fill(0);
        self.seal_body(seed, body);
    }

    /// Writes header and CRC around a payload that already lies in `body`, zeros up to the span
    /// included. `body` is as in [`FrameHeader::encode`].
    ///
    /// # Panics
    /// When `body` is not `span - 4` bytes long.
    pub fn seal_body(&self, seed: Seed, body: &mut [u8]) {
        assert_eq!(body.len(), self.span() - COMMIT_WORD_BYTES, "body must be the frame's span");
        body[..BODY_HEADER_BYTES].copy_from_slice(&self.fields());
        let mut crc = seed.hasher();
        crc.update(&body[CRC_FROM - COMMIT_WORD_BYTES..]);
        body[..4].copy_from_slice(&crc.finalize().to_le_bytes());
    }

    /// Header and CRC of a frame whose payload is zeros that are already there: the bytes from
    /// offset 4 to 32. Reads and writes nothing of the payload, so padding up to a segment's end
    /// touches one cache line. Only right where the segment was written through with zeros and
    /// never used, which is so for every gap, since space is claimed once.
    #[must_use]
    pub fn encode_padding(&self, seed: Seed) -> [u8; BODY_HEADER_BYTES] {
        let mut bytes = self.fields();
        let mut crc = seed.hasher();
        crc.update(&bytes[CRC_FROM - COMMIT_WORD_BYTES..]);
        let mut left = self.span() - FRAME_HEADER_BYTES;
        while left > 0 {
            let part = left.min(ZEROS.len());
            crc.update(&ZEROS[..part]);
            left -= part;
        }
        bytes[..4].copy_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    /// The fields at offsets 4 to 32, with 0 for the CRC.
    fn fields(&self) -> [u8; BODY_HEADER_BYTES] {
        let mut bytes = [0; BODY_HEADER_BYTES];
        bytes[4..12].copy_from_slice(&self.lsn.get().to_le_bytes());
        bytes[12..14].copy_from_slice(&self.kind.get().to_le_bytes());
        bytes[14] = self.version;
        bytes[15] = self.flags;
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.claim.0.to_le_bytes());
        bytes
    }
}
