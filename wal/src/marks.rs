//! The four marks of the log and the claim of its tail.
//!
//! **Invariant 1:** `durable <= published <= reserved <= limit`, and none of them ever falls.
//! **Invariant 2:** every byte below `limit` and not entirely below `durable` is mapped, zeroed and
//! belongs to a segment whose name is on disk.
//! **Invariant 3:** a range of the log is handed out once: claims are disjoint and leave no gap.
//!
//! # The words
//!
//! | word | bits | who writes it |
//! |---|---|---|
//! | `tail` | 63: closed; 62..0: the reserved mark | appenders, by compare-and-swap in [`Marks::claim`]; [`Marks::close`] sets bit 63 once |
//! | `limit` | first byte not to be claimed | the preparer only ([`Marks::raise_limit`]) |
//! | `published` | end of the contiguous committed frames | whoever walked there, by compare-and-swap ([`Marks::advance_published`]) |
//! | `durable` | end of what `fdatasync` has returned for | the syncer only ([`Marks::advance_durable`]) |
//!
//! # Claiming
//!
//! A claim is one compare-and-swap of `tail` from the value on which it was computed, so admission
//! against `limit` and against the bound on `reserved - durable` is exact, and a refusal has no
//! effect to undo. Frames do not cross a segment: where the room left is too short, the same swap
//! takes the rest of the segment (which the claimer fills with a padding frame), the header of the
//! next one, and the frame behind it. A tail that stands exactly on a segment's end takes no padding.
//! No thread ever waits for another here; a swap fails only because another claim succeeded.
//!
//! `tail` only rises, so a swap cannot be fooled by an old value coming back. Bit 63 closes the log:
//! every later claim but the syncer's own (`Keep::Nothing`) sees it, because it is in the same word.
//!
//! # Orderings
//!
//! * `limit` is stored with Release after the mapping exists; a claimer loads it with Acquire. So
//!   whoever owns a range may touch its memory.
//! * `tail` is swapped with Release and, where the ring is read on its strength, loaded with Acquire:
//!   a walker that sees a claim thereby sees the mapping that the claim was allowed by. Every
//!   modification is a read-modify-write, so the chain is not broken by later claims.
//! * For a client's answer no ordering on `tail` is needed beyond coherence: the claim happens before
//!   the engine's swap that makes its effect visible (Release), which happens before the reader's
//!   load (Acquire), which is sequenced before its load of `tail`.
//! * `published` is swapped with Release after the commit words were loaded with Acquire, and loaded
//!   with Acquire: who sees the mark sees the bytes below it.
//! * `durable` is stored with Release after `fdatasync` and loaded with Acquire, so the preparer that
//!   unmaps a segment below it is ordered after every store into that segment (their commit words
//!   were acquired by the walk that the mark rests on).
//!
//! This module knows numbers only: no bytes, no files, no threads.

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// Bit 63 of `tail`: no further claims.
const CLOSED: u64 = 1 << 63;

/// Positions stay below this, so that no sum of a position and a length can reach [`CLOSED`].
pub(crate) const LSN_MAX: u64 = 1 << 62;

/// Where segments begin and end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of one segment file, a power of two.
    pub(crate) segment_bytes: u64,
    /// Bytes at the start of each segment in which no frame stands.
    pub(crate) header_bytes: u64,
}

impl Geometry {
    /// Base of the segment that holds the byte at `lsn`.
    pub(crate) const fn base(self, lsn: u64) -> u64 {
        lsn & !(self.segment_bytes - 1)
    }

    /// Bytes between the segment's base and `lsn`.
    pub(crate) const fn offset(self, lsn: u64) -> u64 {
        lsn & (self.segment_bytes - 1)
    }

    /// Where the next frame stands when everything below `mark` is taken.
    pub(crate) const fn frame_start(self, mark: u64) -> u64 {
        if self.offset(mark) == 0 { mark + self.header_bytes } else { mark }
    }

    /// Whether the frame at `lsn` is the first of its segment.
    pub(crate) const fn begins_segment(self, lsn: u64) -> bool {
        self.offset(lsn) == self.header_bytes
    }

    /// The longest frame that fits a segment.
    pub(crate) const fn frame_room(self) -> u64 {
        self.segment_bytes - self.header_bytes
    }
}

/// What a claim must leave free below `limit`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The caller's bytes, and the closed bit refuses.
    Bytes(u64),
    /// The log's own last frame: nothing is kept and the closed bit is ignored. Syncer only, once
    /// the log is closed.
    Nothing,
}

/// A range that belongs to the caller until it stores the commit word.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Start of the rest of a segment that the caller must fill with a padding frame; it ends on the
    /// segment's end. `None` when the frame fitted.
    pub(crate) padding: Option<u64>,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Why there was no claim. Nothing was changed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `limit` is too near.
    NoRoom,
    /// `reserved - durable` would pass the bound.
    TooFarAhead,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Marks {
    tail: CachePadded<AtomicU64>,
    published: CachePadded<AtomicU64>,
    durable: CachePadded<AtomicU64>,
    /// Read at every claim, written once per segment: kept away from the words above.
    limit: CachePadded<AtomicU64>,
    geometry: Geometry,
    unsynced_bytes_max: u64,
}

impl Marks {
    /// All four marks at `start`: nothing can be claimed before the first [`raise_limit`](Self::raise_limit).
    pub(crate) fn new(start: u64, geometry: Geometry, unsynced_bytes_max: u64) -> Self {
        debug_assert!(start < LSN_MAX);
        Self {
            tail: CachePadded::new(AtomicU64::new(start)),
            published: CachePadded::new(AtomicU64::new(start)),
            durable: CachePadded::new(AtomicU64::new(start)),
            limit: CachePadded::new(AtomicU64::new(start)),
            geometry,
            unsynced_bytes_max,
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The reserved mark. Acquire: pairs with the Release of the claims, see the module.
    pub(crate) fn reserved(&self) -> u64 {
        self.tail.load(Ordering::Acquire) & !CLOSED
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// Takes `bytes` (a multiple of the frame alignment) from the tail.
    pub(crate) fn claim(&self, bytes: u64, keep: Keep) -> Result<Claim, Refused> {
        // Relaxed: the swap below confirms the value, and nothing is read on its strength.
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            let claim = self.admit(tail, bytes, keep)?;
            let closed = tail & CLOSED;
            // Release: hands the mapping (acquired with `limit`) on to whoever acquires the tail.
            match self.tail.compare_exchange_weak(
                tail,
                claim.end | closed,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(claim),
                Err(now) => tail = now,
            }
        }
    }

    /// Whether `bytes` could be claimed now. A hint: another thread may take the room first.
    pub(crate) fn has_room(&self, bytes: u64, keep: Keep) -> bool {
        self.admit(self.tail.load(Ordering::Relaxed), bytes, keep).is_ok()
    }

    /// Takes the bytes from the tail to the next multiple of `page`, a power of two that divides the
    /// segment. `None` when the tail stands on one, or when less than `keep` would be left.
    pub(crate) fn claim_rest_of_page(&self, page: u64, keep: u64) -> Option<Claim> {
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            let start = tail & !CLOSED;
            let end = start.next_multiple_of(page);
            if tail & CLOSED != 0 || start == end || end + keep > self.limit() {
                return None;
            }
            match self.tail.compare_exchange_weak(tail, end, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    return Some(Claim { padding: None, start, end });
                }
                Err(now) => tail = now,
            }
        }
    }

    fn admit(&self, tail: u64, bytes: u64, keep: Keep) -> Result<Claim, Refused> {
        let mark = tail & !CLOSED;
        let keep = match keep {
            Keep::Bytes(_) if tail & CLOSED != 0 => return Err(Refused::Closed),
            Keep::Bytes(keep) => keep,
            Keep::Nothing => 0,
        };
        let claim = self.place(mark, bytes);
        // Acquire: pairs with `raise_limit`.
        if claim.end + keep > self.limit() {
            return Err(Refused::NoRoom);
        }
        // Saturating: `tail` may be old already, and `durable` past it; then the swap fails anyway.
        if claim.end.saturating_sub(self.durable()) > self.unsynced_bytes_max {
            return Err(Refused::TooFarAhead);
        }
        Ok(claim)
    }

    /// Where a frame of `bytes` stands when the tail is at `mark`.
    fn place(&self, mark: u64, bytes: u64) -> Claim {
        let Geometry { segment_bytes, header_bytes } = self.geometry;
        debug_assert!(bytes <= self.geometry.frame_room());
        let offset = self.geometry.offset(mark);
        if offset != 0 && offset + bytes > segment_bytes {
            let start = mark - offset + segment_bytes + header_bytes;
            return Claim { padding: Some(mark), start, end: start + bytes };
        }
        let start = self.geometry.frame_start(mark);
        Claim { padding: None, start, end: start + bytes }
    }

    /// Admits claims up to `limit`. Preparer only, after the mapping below it exists (Release).
    pub(crate) fn raise_limit(&self, limit: u64) {
        debug_assert!(limit < LSN_MAX);
        debug_assert!(self.limit.load(Ordering::Relaxed) <= limit);
        self.limit.store(limit, Ordering::Release);
    }

    /// Moves `published` from exactly `from` to `to`. False when another walker was faster; what was
    /// read from the ring on the strength of `from` must then be forgotten.
    pub(crate) fn advance_published(&self, from: u64, to: u64) -> bool {
        debug_assert!(from <= to);
        self.published.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Syncer only, after every touched segment below `to` was synced.
    pub(crate) fn advance_durable(&self, to: u64) {
        debug_assert!(self.durable.load(Ordering::Relaxed) <= to && to <= self.published());
        self.durable.store(to, Ordering::Release);
    }

    /// Refuses every later claim and returns the reserved mark, which from now on only the syncer moves.
    pub(crate) fn close(&self) -> u64 {
        self.tail.fetch_or(CLOSED, Ordering::AcqRel) & !CLOSED
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry { segment_bytes: 1024, header_bytes: 64 };

    fn marks(limit: u64, unsynced: u64) -> Marks {
        let marks = Marks::new(64, GEOMETRY, unsynced);
        marks.raise_limit(limit);
        marks
    }

    #[test]
    fn claims_follow_one_another() {
        let marks = marks(1024, 4096);
        assert_eq!(
            marks.claim(96, Keep::Bytes(0)),
            Ok(Claim { padding: None, start: 64, end: 160 })
        );
        assert_eq!(
            marks.claim(32, Keep::Bytes(0)),
            Ok(Claim { padding: None, start: 160, end: 192 })
        );
        assert_eq!(marks.reserved(), 192);
    }

    #[test]
    fn a_claim_that_would_cross_takes_the_rest_and_the_header() {
        let marks = marks(2048, 4096);
        marks.claim(896, Keep::Bytes(0)).expect("fits");
        let claim = marks.claim(96, Keep::Bytes(0));
        assert_eq!(claim, Ok(Claim { padding: Some(960), start: 1088, end: 1184 }));
    }

    #[test]
    fn a_segment_filled_exactly_needs_no_padding() {
        let marks = marks(2048, 4096);
        marks.claim(960, Keep::Bytes(0)).expect("fits");
        assert_eq!(marks.reserved(), 1024);
        let claim = marks.claim(32, Keep::Bytes(0));
        assert_eq!(claim, Ok(Claim { padding: None, start: 1088, end: 1120 }));
    }

    #[test]
    fn admission_is_exact() {
        let marks = marks(256, 4096);
        assert_eq!(marks.claim(192, Keep::Bytes(32)), Err(Refused::NoRoom));
        assert!(marks.has_room(160, Keep::Bytes(32)));
        marks.claim(160, Keep::Bytes(32)).expect("exactly the room above what is kept");
        assert_eq!(marks.claim(32, Keep::Bytes(32)), Err(Refused::NoRoom));
        marks.claim(32, Keep::Bytes(0)).expect("the kept bytes");
        assert_eq!(marks.claim(32, Keep::Bytes(0)), Err(Refused::NoRoom));
        assert_eq!(marks.reserved(), 256);
    }

    #[test]
    fn the_distance_to_durable_is_bounded() {
        let marks = marks(1024, 128);
        marks.claim(128, Keep::Bytes(0)).expect("at the bound");
        assert_eq!(marks.claim(32, Keep::Bytes(0)), Err(Refused::TooFarAhead));
        assert!(marks.advance_published(64, 192));
        marks.advance_durable(96);
        marks.claim(32, Keep::Bytes(0)).expect("the bound moved");
    }

    #[test]
    fn closing_refuses_all_but_the_last_frame() {
        let marks = marks(1024, 4096);
        marks.claim(32, Keep::Bytes(0)).expect("open");
        assert_eq!(marks.close(), 96);
        assert_eq!(marks.claim(32, Keep::Bytes(0)), Err(Refused::Closed));
        assert_eq!(marks.claim_rest_of_page(256, 0), None);
        assert_eq!(marks.reserved(), 96);
        marks.claim(32, Keep::Nothing).expect("the clean end");
        assert_eq!(marks.reserved(), 128);
    }

    #[test]
    fn the_rest_of_a_page() {
        let marks = marks(1024, 4096);
        assert_eq!(
            marks.claim_rest_of_page(256, 0),
            Some(Claim { padding: None, start: 64, end: 256 })
        );
        assert_eq!(marks.claim_rest_of_page(256, 0), None);
        marks.claim(32, Keep::Bytes(0)).expect("fits");
        assert_eq!(marks.claim_rest_of_page(256, 1024), None);
        assert_eq!(marks.claim_rest_of_page(256, 513), None);
        assert!(marks.claim_rest_of_page(256, 512).is_some(), "exactly what is to be left");
    }
}
