//! The ladder of checks that bytes must climb to be a frame.
//!
//! Each rung is a variant of [`FrameFault`], in the order of the checks: cheap ones first, and the
//! ones that say most about what happened (a misplaced frame, one of another boot) before the CRC,
//! which fails for all of them.

use thiserror::Error;

use super::{
    CRC_FROM, CommitWord, DurableClaim, FLAG_IGNORABLE, FRAME_BYTES_MAX, FRAME_HEADER_BYTES,
    FrameHeader, Kind, Record, Seed, span_of,
};
use crate::lsn::Lsn;

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
/// whichever comes first; what lies behind the frame is not looked at. Any bytes at all may be
/// given, at any position: the outcome is a frame or a fault, never a panic.
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
/// is compared first, so walking over bytes that are no frames costs one comparison per step. Any
/// bytes may be given, as to [`check`].
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
        return Err(FrameFault::CrossesEnd { span, left: bytes.len() });
    };
    let header = header_of(head);
    if header.length != length {
        return Err(FrameFault::LengthsDiffer { committed: length, length: header.length });
    }
    if header.lsn != lsn {
        return Err(FrameFault::WrongLsn { found: header.lsn });
    }
    if header.epoch != expected.epoch {
        return Err(FrameFault::WrongEpoch { found: header.epoch });
    }
    let mut crc = expected.seed.hasher();
    crc.update(&frame[CRC_FROM..]);
    let (stored, computed) = (u32_at(head, 4), crc.finalize());
    if stored != computed {
        return Err(FrameFault::Checksum { stored, computed });
    }
    Ok(FrameView { header, payload: &frame[FRAME_HEADER_BYTES..frame_bytes] })
}

fn header_of(head: &[u8; FRAME_HEADER_BYTES]) -> FrameHeader {
    FrameHeader {
        lsn: Lsn::new(u64_at(head, 8)),
        kind: Kind::new(u16::from_le_bytes([head[16], head[17]])),
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

#[cfg(test)]
mod tests {
    use super::*;

    const LSN: Lsn = Lsn::new(8192);

    fn expected() -> Expected {
        Expected { seed: Seed::new(&[1; 16], 5, 2), epoch: 5 }
    }

    fn frame() -> [u8; 64] {
        let header = FrameHeader {
            lsn: LSN,
            kind: Kind::new(20),
            version: 1,
            flags: 0,
            length: 40,
            epoch: 5,
            claim: DurableClaim::new(LSN, Lsn::new(8000)),
        };
        let mut bytes = [0; 64];
        header.encode(expected().seed, b"payload!", &mut bytes[4..]);
        bytes[..4].copy_from_slice(&40_u32.to_le_bytes());
        bytes
    }

    fn fault_after(at: usize, field: &[u8]) -> FrameFault {
        let mut bytes = frame();
        bytes[at..at + field.len()].copy_from_slice(field);
        check(&bytes, LSN, expected()).expect_err("the frame was damaged")
    }

    #[test]
    fn a_good_frame_passes_and_says_what_was_written() {
        let bytes = frame();
        let view = check(&bytes, LSN, expected()).expect("nothing is wrong with it");
        assert_eq!(view.payload, b"payload!");
        assert_eq!(view.durable_claim(), Some(Lsn::new(8000)));
        assert_eq!((view.header.end(), view.record().end), (Lsn::new(8256), Lsn::new(8256)));
    }

    #[test]
    fn each_rung_of_the_ladder_has_its_fault() {
        assert_eq!(fault_after(0, &[0; 4]), FrameFault::Free);
        assert_eq!(fault_after(3, &[0x80]), FrameFault::Reserved { length: 40 });
        assert_eq!(fault_after(0, &[31]), FrameFault::BadLength { length: 31 });
        assert_eq!(fault_after(2, &[2]), FrameFault::BadLength { length: 131_112 });
        let left = 64;
        assert_eq!(fault_after(0, &[65]), FrameFault::CrossesEnd { span: 96, left });
        let lengths = FrameFault::LengthsDiffer { committed: 40, length: 41 };
        assert_eq!(fault_after(20, &[41]), lengths);
        assert_eq!(fault_after(9, &[0x21]), FrameFault::WrongLsn { found: Lsn::new(8448) });
        assert_eq!(fault_after(24, &[4]), FrameFault::WrongEpoch { found: 4 });
        for at in [4, 16, 18, 19, 28, 32, 39, 40, 63] {
            let fault = fault_after(at, &[frame()[at] ^ 1]);
            assert!(matches!(fault, FrameFault::Checksum { .. }), "byte {at}: {fault}");
        }
        let bytes = frame();
        let fault = check(&bytes[..31], LSN, expected());
        assert_eq!(fault, Err(FrameFault::NoRoom { left: 31 }));
    }

    #[test]
    fn evidence_needs_all_but_the_commit_word() {
        let mut bytes = frame();
        bytes[..4].copy_from_slice(&[0xff; 4]);
        assert!(check(&bytes, LSN, expected()).is_err());
        assert!(find(&bytes, LSN, expected()).is_some());
        for at in 4..64 {
            let mut bytes = bytes;
            bytes[at] ^= 1;
            assert!(find(&bytes, LSN, expected()).is_none(), "byte {at}");
        }
    }
}
