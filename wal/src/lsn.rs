//! Positions in the log, and the arithmetic between positions and segment files.
//!
//! An LSN is a byte address in the log's whole life: it only grows, and it is never reused for
//! other bytes once they were durable. The log is cut into segments of one fixed size, so segment
//! number and offset are a division and a remainder; the first [`SEGMENT_HEADER_BYTES`] of each
//! segment are its header and hold no frames.
//!
//! Two positions can therefore mean the same place: the end of a frame that fills its segment
//! (a multiple of the segment size) and the first frame of the next segment (that plus the header).
//! Whoever compares positions that may come from either side uses [`SegmentSize::frame_start`].

use std::fmt;

use crate::frame::{FRAME_ALIGN, FRAME_BYTES_MAX};
use crate::header::SEGMENT_HEADER_BYTES;

/// Log sequence number: a byte address in the log's whole life.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The position at which every log begins.
    pub const ZERO: Self = Self(0);

    /// The position `bytes` after the log's beginning.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes since the log's beginning.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `bytes` further on.
    ///
    /// Saturates: a position read from a damaged file must not panic, and no honest log comes
    /// near the end of 16 EiB.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to here; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether a frame may begin here, as far as alignment goes.
    #[must_use]
    pub const fn is_aligned(self) -> bool {
        self.0.is_multiple_of(FRAME_ALIGN as u64)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The size of every segment file of one log, in bytes: a power of two within
/// [`SegmentSize::MIN`] and [`SegmentSize::MAX`]. It is chosen when a log is made and never changes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SegmentSize(u64);

impl SegmentSize {
    /// 128 KiB: the least power of two that holds a header and the longest frame.
    pub const MIN: u64 = 128 << 10;
    /// 4 GiB.
    pub const MAX: u64 = 4 << 30;

    /// `None` unless `bytes` is a power of two within the limits.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= Self::MIN && bytes <= Self::MAX {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Bytes per segment file, header included.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The base of the segment in which `lsn` lies. A position on a boundary belongs to the
    /// segment that begins there.
    #[must_use]
    pub const fn base_of(self, lsn: Lsn) -> Lsn {
        Lsn(lsn.0 & !(self.0 - 1))
    }

    /// Where `lsn` lies within its segment file, in bytes.
    #[must_use]
    pub const fn offset_of(self, lsn: Lsn) -> u64 {
        lsn.0 & (self.0 - 1)
    }

    /// The base of the segment after the one that begins at `base`.
    #[must_use]
    pub const fn base_after(self, base: Lsn) -> Lsn {
        base.plus(self.0)
    }

    /// The first segment base at or after `lsn`: where the next epoch begins when the log was cut
    /// at `lsn`.
    #[must_use]
    pub const fn base_at_or_after(self, lsn: Lsn) -> Lsn {
        if self.offset_of(lsn) == 0 { lsn } else { self.base_after(self.base_of(lsn)) }
    }

    /// Where the next frame at or after `lsn` can begin: `lsn` itself, unless it lies within a
    /// segment header.
    #[must_use]
    pub const fn frame_start(self, lsn: Lsn) -> Lsn {
        if self.offset_of(lsn) < SEGMENT_HEADER_BYTES {
            self.base_of(lsn).plus(SEGMENT_HEADER_BYTES)
        } else {
            lsn
        }
    }

    /// Whether `base` can be the base of a segment whose end is still a valid position.
    #[must_use]
    pub const fn is_base(self, base: Lsn) -> bool {
        self.offset_of(base) == 0 && base.0 <= u64::MAX - self.0
    }
}

const _: () = {
    assert!(SegmentSize::MIN.is_power_of_two() && SegmentSize::MAX.is_power_of_two());
    assert!(SegmentSize::MIN >= SEGMENT_HEADER_BYTES + FRAME_BYTES_MAX as u64);
    assert!(SEGMENT_HEADER_BYTES.is_multiple_of(FRAME_ALIGN as u64));
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_limits_or_not_powers_of_two_are_refused() {
        assert!(SegmentSize::new(SegmentSize::MIN).is_some());
        assert!(SegmentSize::new(SegmentSize::MAX).is_some());
        for bytes in [0, 1, SegmentSize::MIN / 2, SegmentSize::MIN + 1, SegmentSize::MAX * 2] {
            assert!(SegmentSize::new(bytes).is_none(), "{bytes}");
        }
    }

    #[test]
    fn a_boundary_belongs_to_the_segment_that_begins_there() {
        let size = SegmentSize::new(SegmentSize::MIN).unwrap();
        let s = size.get();
        let bases = |lsn: u64| {
            let lsn = Lsn::new(lsn);
            (size.base_of(lsn).get(), size.offset_of(lsn), size.base_at_or_after(lsn).get())
        };
        assert_eq!(bases(0), (0, 0, 0));
        assert_eq!(bases(s - 32), (0, s - 32, s));
        assert_eq!(bases(s), (s, 0, s));
        assert_eq!(bases(s + 4096), (s, 4096, 2 * s));
    }

    #[test]
    fn a_position_in_a_header_means_the_first_frame_behind_it() {
        let size = SegmentSize::new(SegmentSize::MIN).unwrap();
        let s = size.get();
        let start = |lsn: u64| size.frame_start(Lsn::new(lsn)).get();
        assert_eq!(start(0), 4096);
        assert_eq!(start(s), s + 4096);
        assert_eq!(start(s + 4096), s + 4096);
        assert_eq!(start(s + 4128), s + 4128);
    }

    #[test]
    fn positions_near_the_end_saturate() {
        let end = Lsn::new(u64::MAX);
        assert_eq!(end.plus(1), end);
        assert_eq!(Lsn::ZERO.since(end), 0);
        let size = SegmentSize::new(SegmentSize::MIN).unwrap();
        assert!(!size.is_base(size.base_of(end)));
        assert!(size.is_base(Lsn::new(u64::MAX - size.get() + 1 - size.get())));
    }

    #[test]
    fn a_position_is_written_as_its_number() {
        assert_eq!(Lsn::new(131_104).to_string(), "131104");
    }
}
