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

use thiserror::Error;

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
    assert!(
        FRAME_HEADER_BYTES == FRAME_ALIGN,
        "any aligned gap must hold a padding frame"
    );
    assert!(FRAME_BYTES_MAX.is_multiple_of(FRAME_ALIGN));
    assert!((FRAME_BYTES_MAX as u64) < RESERVED_BIT as u64);
};

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
    const fn flags(self) -> u8 {
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
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most FRAME_BYTES_MAX, asserted above"
    )]
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
            #[expect(
                clippy::cast_possible_truncation,
                reason = "compared with u32::MAX above"
            )]
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
        Self {
            lsn,
            kind,
            version: 1,
            flags: FLAG_IGNORABLE,
            length,
            epoch,
            claim,
        }
    }

    /// This frame turned into a void one of the same length: what becomes of a reservation that is
    /// given up. [`FrameHeader::seal_body`] over the same body completes it.
    #[must_use]
    pub const fn voided(self) -> Self {
        Self {
            kind: Kind::VOID,
            version: 1,
            flags: FLAG_IGNORABLE,
            ..self
        }
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
        assert_eq!(
            body.len(),
            self.span() - COMMIT_WORD_BYTES,
            "body must be the frame's span"
        );
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

/// Why the bytes at a position are not a committed frame of this segment. In the order in which
/// they are checked.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
pub enum FrameFault {
    /// Fewer than 32 bytes are left in the segment or the file.
    #[error("{left} bytes left, too few for a frame")]
    NoRoom {
        /// Bytes from the position to the end of the segment.
        left: usize,
    },
    /// The commit word is 0.
    #[error("commit word is free")]
    Free,
    /// The commit word says that the frame was claimed and never decided.
    #[error("commit word is reserved ({length} bytes)")]
    Reserved {
        /// The length in the commit word's low bits.
        length: u32,
    },
    /// The commit word holds no possible length.
    #[error("commit word holds an impossible length, {length} bytes")]
    BadLength {
        /// The length in the commit word.
        length: u32,
    },
    /// The frame would cross the end of the segment or file.
    #[error("frame of {span} bytes does not fit into the {left} bytes left")]
    CrossesEnd {
        /// Bytes that the frame would occupy.
        span: usize,
        /// Bytes from the position to the end of the segment.
        left: usize,
    },
    /// The length in the header is not the one in the commit word.
    #[error("commit word says {committed} bytes, header says {length}")]
    LengthsDiffer {
        /// The length in the commit word.
        committed: u32,
        /// The length under the CRC.
        length: u32,
    },
    /// The frame says that it belongs elsewhere.
    #[error("frame carries LSN {found}")]
    WrongLsn {
        /// The address in the frame.
        found: Lsn,
    },
    /// The frame is of another boot.
    #[error("frame carries epoch {found}")]
    WrongEpoch {
        /// The epoch in the frame.
        found: u32,
    },
    /// The CRC does not match.
    #[error("checksum is {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// What the frame says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
}

/// A frame that passed every check.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct FrameView<'a> {
    /// All fields of the header.
    pub header: FrameHeader,
    /// The payload, without the zeros behind it.
    pub payload: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// The frame as callers see it.
    #[must_use]
    pub const fn record(&self) -> Record<'a> {
        Record {
            lsn: self.header.lsn,
            end: self.header.end(),
            kind: self.header.kind,
            version: self.header.version,
            ignorable: self.header.flags & FLAG_IGNORABLE != 0,
            epoch: self.header.epoch,
            payload: self.payload,
        }
    }

    /// The position that this frame says was durable when it was written.
    #[must_use]
    pub const fn durable_claim(&self) -> Option<Lsn> {
        self.header.claim.position(self.header.lsn)
    }
}

/// What a frame must match: the segment's seed and epoch.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Seed of the segment's CRCs.
    pub seed: Seed,
    /// The segment's epoch.
    pub epoch: u32,
}

/// Checks that a committed frame of the segment begins at `lsn`.
///
/// `bytes` begins at `lsn` and reaches at least to the frame's end or to the end of the segment,
/// whichever comes first; what lies behind the frame is not looked at.
///
/// # Errors
/// The first fault found, in the order of [`FrameFault`].
pub fn check(bytes: &[u8], lsn: Lsn, expected: Expected) -> Result<FrameView<'_>, FrameFault> {
    let Some(head) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
        return Err(FrameFault::NoRoom { left: bytes.len() });
    };
    match CommitWord::decode(u32_at(head, 0)) {
        CommitWord::Free => Err(FrameFault::Free),
        CommitWord::Reserved(length) => Err(FrameFault::Reserved { length }),
        CommitWord::Committed(length) => check_length(bytes, head, length, lsn, expected),
    }
}

/// Checks whether a complete frame of the segment lies at `lsn`, committed or only reserved, and
/// whatever its commit word says: the evidence that recovery looks for behind a bad frame. The LSN
/// is compared first, so walking over bytes that are no frames costs one comparison per step.
#[must_use]
pub fn find(bytes: &[u8], lsn: Lsn, expected: Expected) -> Option<FrameView<'_>> {
    let head = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    if u64_at(head, 8) != lsn.get() {
        return None;
    }
    check_length(bytes, head, u32_at(head, 20), lsn, expected).ok()
}

fn check_length<'a>(
    bytes: &'a [u8],
    head: &[u8; FRAME_HEADER_BYTES],
    length: u32,
    lsn: Lsn,
    expected: Expected,
) -> Result<FrameView<'a>, FrameFault> {
    let frame_bytes = length as usize;
    if !(FRAME_HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frame_bytes) {
        return Err(FrameFault::BadLength { length });
    }
    let span = span_of(frame_bytes);
    let Some(frame) = bytes.get(..span) else {
        return Err(FrameFault::CrossesEnd {
            span,
            left: bytes.len(),
        });
    };
    let header = header_of(head);
    if header.length != length {
        return Err(FrameFault::LengthsDiffer {
            committed: length,
            length: header.length,
        });
    }
    if header.lsn != lsn {
        return Err(FrameFault::WrongLsn { found: header.lsn });
    }
    if header.epoch != expected.epoch {
        return Err(FrameFault::WrongEpoch {
            found: header.epoch,
        });
    }
    let mut crc = expected.seed.hasher();
    crc.update(&frame[CRC_FROM..]);
    let (stored, computed) = (u32_at(head, 4), crc.finalize());
    if stored != computed {
        return Err(FrameFault::Checksum { stored, computed });
    }
    Ok(FrameView {
        header,
        payload: &frame[FRAME_HEADER_BYTES..frame_bytes],
    })
}

fn header_of(head: &[u8; FRAME_HEADER_BYTES]) -> FrameHeader {
    FrameHeader {
        lsn: Lsn::new(u64_at(head, 8)),
        kind: Kind(u16::from_le_bytes([head[16], head[17]])),
        version: head[18],
        flags: head[19],
        length: u32_at(head, 20),
        epoch: u32_at(head, 24),
        claim: DurableClaim(u32_at(head, 28)),
    }
}

fn u32_at(head: &[u8; FRAME_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn u64_at(head: &[u8; FRAME_HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(head, at)) | u64::from(u32_at(head, at + 4)) << 32
}
