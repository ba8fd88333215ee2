//! The segment header: what the first 4,096 bytes of every segment file say, and the file's name.
//!
//! ```text
//!   0        8      12       16    18    20      24      28      32         40        56
//!   +--------+------+--------+-----+-----+-------+-------+-------+----------+---------+
//!   | magic  | CRC  | header | ma- | mi- | byte  | page  | flags | segment  | log     |
//!   |        |      | length | jor | nor | order | bytes |       | bytes    | uuid    |
//!   +--------+------+--------+-----+-----+-------+-------+-------+----------+---------+
//!   56       64            72              80      84         88      96        104      4096
//!   +--------+-------------+---------------+-------+----------+-------+---------+---------+
//!   | base   | prev_end    | durable floor | epoch | reserved | salt  | created | zeros   |
//!   +--------+-------------+---------------+-------+----------+-------+---------+---------+
//! ```
//!
//! The CRC covers everything from offset 12 to the header length. Magic, CRC, header length and
//! versions keep their places in every later version, so that a header from the future can be told
//! from a damaged one: its CRC is right and its version is not ours.
//!
//! A header is written once, before the file has its final name, and never changed. A crash
//! therefore cannot leave a half-written header under a final name, and a header that does not
//! check out is damage, not a torn write.

use std::fmt;

use thiserror::Error;
use uuid::Uuid;

use crate::frame::{Expected, Seed};
use crate::lsn::{Lsn, SegmentSize};

/// Bytes at the start of each segment file that hold its header.
pub const SEGMENT_HEADER_BYTES: u64 = 4096;
/// The size of a segment file unless configured otherwise: 64 MiB.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// The unit in which the log pads and assumes the page cache to write back.
pub const PAGE_BYTES: u32 = 4096;
/// Changes when an older reader could misread the log.
pub const FORMAT_MAJOR: u16 = 1;
/// Changes with additions; an older reader refuses these as well, since it could not append safely.
pub const FORMAT_MINOR: u16 = 0;

/// Like PNG's: a non-ASCII byte, then both line endings, so that a transfer in text mode shows.
const MAGIC: [u8; 8] = *b"\x89WAL\r\n\x1a\n";
const BYTE_ORDER_MARK: u32 = 0x0102_0304;
pub(crate) const HEADER_BYTES: usize = 4096;
const FLAG_FIRST_OF_EPOCH: u32 = 0x1;
const FLAG_CLEAN_END_BEFORE: u32 = 0x2;
const FLAGS_KNOWN: u32 = FLAG_FIRST_OF_EPOCH | FLAG_CLEAN_END_BEFORE;
const CRC_FROM: usize = 12;

const _: () = {
    assert!(HEADER_BYTES as u64 == SEGMENT_HEADER_BYTES);
    assert!(SegmentSize::new(SEGMENT_BYTES_DEFAULT).is_some());
    assert!(SEGMENT_HEADER_BYTES.is_multiple_of(PAGE_BYTES as u64));
};

/// How a segment follows the one before it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// The same boot went on: the segment before is full up to its end.
    Continues,
    /// The first segment of a boot: the log before it was cut at `prev_end`, and whatever lies
    /// between there and here is dead for ever.
    FirstOfEpoch {
        /// Whether the epoch before ended with a seal frame.
        clean_end_before: bool,
    },
}

/// The decoded header of a segment.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Size of every segment file of the log.
    pub segment_size: SegmentSize,
    /// Identity of the log, drawn when it was made.
    pub uuid: Uuid,
    /// Position of the file's first byte.
    pub base: Lsn,
    /// Where the segment before ends; [`SegmentHeader::base`] itself when the same boot went on,
    /// and in the first segment of a log.
    pub prev_end: Lsn,
    /// What was durable when this header was written; never more than `base`.
    pub durable_floor: Lsn,
    /// The boot that made the segment, from 1.
    pub epoch: u32,
    /// How the segment follows the one before.
    pub link: Link,
    /// Random, drawn for each segment, so that no client can make payloads that look like frames.
    pub salt: u64,
    /// Milliseconds since the Unix epoch when the segment was made. For people only: nothing is
    /// ever decided by it.
    pub created_ms: u64,
}

/// Why the first 4,096 bytes of a file are not the header of a segment that this version can read.
/// In the order in which they are checked.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
pub enum HeaderFault {
    /// The file ends before the header does.
    #[error("file is shorter than a segment header ({bytes} bytes)")]
    TooShort {
        /// Bytes there are.
        bytes: usize,
    },
    /// The file begins with zeros only.
    #[error("header is all zeros")]
    Zeros,
    /// The file is not a segment.
    #[error("no segment header (magic number missing)")]
    Magic,
    /// The header is damaged.
    #[error("header checksum is {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The header is whole, and of a version that this program does not know.
    #[error(
        "written by a newer version (format {major}.{minor}, this program reads up to \
             {FORMAT_MAJOR}.{FORMAT_MINOR})"
    )]
    Newer {
        /// Major version in the header.
        major: u16,
        /// Minor version in the header.
        minor: u16,
    },
    /// The header is whole and says something that no writer of this version writes.
    #[error("header field `{field}` holds an impossible value")]
    Impossible {
        /// The field.
        field: HeaderField,
    },
}

/// The fields that [`HeaderFault::Impossible`] can name.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the diagram above")]
pub enum HeaderField {
    Version,
    HeaderLength,
    ByteOrder,
    PageBytes,
    SegmentBytes,
    Flags,
    Base,
    PrevEnd,
    DurableFloor,
    Epoch,
    Reserved,
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::HeaderLength => "header length",
            Self::ByteOrder => "byte order",
            Self::PageBytes => "page bytes",
            Self::SegmentBytes => "segment bytes",
            Self::Flags => "flags",
            Self::Base => "base",
            Self::PrevEnd => "prev_end",
            Self::DurableFloor => "durable floor",
            Self::Epoch => "epoch",
            Self::Reserved => "reserved",
        })
    }
}

impl SegmentHeader {
    /// What the frames of this segment are checked against.
    #[must_use]
    pub fn expected(&self) -> Expected {
        Expected { seed: Seed::new(self.uuid.as_bytes(), self.epoch, self.salt), epoch: self.epoch }
    }

    /// The header of the segment after this one, in the same boot. `salt` must be fresh randomness;
    /// `durable` is the mark as it stands now (capped at the new base, beyond which this header
    /// has nothing to say).
    #[must_use]
    pub fn following(&self, salt: u64, durable: Lsn, created_ms: u64) -> Self {
        let base = self.segment_size.base_after(self.base);
        Self {
            base,
            prev_end: base,
            durable_floor: durable.min(base),
            link: Link::Continues,
            salt,
            created_ms,
            ..*self
        }
    }

    /// Position behind the segment's last byte.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.segment_size.base_after(self.base)
    }

    /// The segment's file name.
    #[must_use]
    pub fn file_name(&self) -> String {
        segment_name(self.base)
    }

    /// The 4,096 bytes with which the segment's file begins.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let flags = match self.link {
            Link::Continues => 0,
            Link::FirstOfEpoch { clean_end_before: false } => FLAG_FIRST_OF_EPOCH,
            Link::FirstOfEpoch { clean_end_before: true } => FLAGS_KNOWN,
        };
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(12, &PAGE_BYTES.to_le_bytes()); // header length: one page
        put(16, &FORMAT_MAJOR.to_le_bytes());
        put(18, &FORMAT_MINOR.to_le_bytes());
        put(20, &BYTE_ORDER_MARK.to_le_bytes());
        put(24, &PAGE_BYTES.to_le_bytes());
        put(28, &flags.to_le_bytes());
        put(32, &self.segment_size.get().to_le_bytes());
        put(40, self.uuid.as_bytes());
        put(56, &self.base.get().to_le_bytes());
        put(64, &self.prev_end.get().to_le_bytes());
        put(72, &self.durable_floor.get().to_le_bytes());
        put(80, &self.epoch.to_le_bytes());
        put(88, &self.salt.to_le_bytes());
        put(96, &self.created_ms.to_le_bytes());
        let crc = crc32fast::hash(&bytes[CRC_FROM..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header and checks all that can be checked without looking at other segments. Any
    /// bytes at all may be given: the outcome is a header or a fault, never a panic, and encoding
    /// the header gives the same bytes again.
    ///
    /// # Errors
    /// The first fault found, in the order of [`HeaderFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderFault::TooShort { bytes: bytes.len() });
        };
        check_envelope(header)?;
        let impossible = |field| HeaderFault::Impossible { field };
        let decoded = Self::decode_fields(header).map_err(impossible)?;
        // Every byte must be one that this version writes: what it does not know, it cannot honour.
        if decoded.encode() == *header {
            Ok(decoded)
        } else {
            Err(impossible(HeaderField::Reserved))
        }
    }

    fn decode_fields(header: &[u8; HEADER_BYTES]) -> Result<Self, HeaderField> {
        let wrong = |field: HeaderField, bad: bool| if bad { Err(field) } else { Ok(()) };
        wrong(HeaderField::ByteOrder, u32_at(header, 20) != BYTE_ORDER_MARK)?;
        wrong(HeaderField::PageBytes, u32_at(header, 24) != PAGE_BYTES)?;
        let segment_size = SegmentSize::new(u64_at(header, 32)).ok_or(HeaderField::SegmentBytes)?;
        let link = match u32_at(header, 28) {
            0 => Link::Continues,
            FLAG_FIRST_OF_EPOCH => Link::FirstOfEpoch { clean_end_before: false },
            FLAGS_KNOWN => Link::FirstOfEpoch { clean_end_before: true },
            _ => return Err(HeaderField::Flags),
        };
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&header[40..56]);
        let base = Lsn::new(u64_at(header, 56));
        wrong(HeaderField::Base, !segment_size.is_base(base))?;
        let prev_end = Lsn::new(u64_at(header, 64));
        let follows = match link {
            Link::Continues => prev_end == base && base > Lsn::ZERO,
            // Rounded up, the cut is the base: that is where the rule puts a new epoch.
            Link::FirstOfEpoch { .. } => {
                prev_end.is_aligned()
                    && prev_end <= base
                    && segment_size.base_at_or_after(prev_end) == base
            }
        };
        wrong(HeaderField::PrevEnd, !follows)?;
        let durable_floor = Lsn::new(u64_at(header, 72));
        wrong(HeaderField::DurableFloor, durable_floor > base)?;
        let epoch = u32_at(header, 80);
        wrong(HeaderField::Epoch, epoch == 0)?;
        Ok(Self {
            segment_size,
            uuid: Uuid::from_bytes(uuid),
            base,
            prev_end,
            durable_floor,
            epoch,
            link,
            salt: u64_at(header, 88),
            created_ms: u64_at(header, 96),
        })
    }
}

/// Magic, CRC and version: what every version of the format keeps in place.
fn check_envelope(header: &[u8; HEADER_BYTES]) -> Result<(), HeaderFault> {
    if header.iter().all(|&byte| byte == 0) {
        return Err(HeaderFault::Zeros);
    }
    if header[..8] != MAGIC {
        return Err(HeaderFault::Magic);
    }
    // A damaged length that points outside the page is reported as the damage it is: the CRC over
    // the whole page then cannot match either.
    let length = u32_at(header, 12) as usize;
    let covered = header.get(CRC_FROM..length).unwrap_or(&header[CRC_FROM..]);
    let (stored, computed) = (u32_at(header, 8), crc32fast::hash(covered));
    if stored != computed {
        return Err(HeaderFault::Checksum { stored, computed });
    }
    let [major, minor] = [u16_at(header, 16), u16_at(header, 18)];
    if major > FORMAT_MAJOR || (major == FORMAT_MAJOR && minor > FORMAT_MINOR) {
        return Err(HeaderFault::Newer { major, minor });
    }
    let impossible = |field| Err(HeaderFault::Impossible { field });
    if major != FORMAT_MAJOR {
        return impossible(HeaderField::Version);
    }
    if length != HEADER_BYTES {
        return impossible(HeaderField::HeaderLength);
    }
    Ok(())
}

/// The file name of the segment that begins at `base`: `wal-<16 lower-case hex digits>.seg`.
#[must_use]
pub fn segment_name(base: Lsn) -> String {
    format!("wal-{:016x}.seg", base.get())
}

/// The name under which a segment is made before it is complete. A file with such a name is
/// nobody's data.
#[must_use]
pub fn temporary_name(base: Lsn) -> String {
    format!("wal-{:016x}.seg.tmp", base.get())
}

fn u16_at(header: &[u8; HEADER_BYTES], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(header, at)) | u64::from(u32_at(header, at + 4)) << 32
}
