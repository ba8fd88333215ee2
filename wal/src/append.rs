//! Appending: from a claim to a committed frame, and the walk that finds how far all are committed.
//!
//! **Invariant 1:** every byte of the log below `published` belongs to a committed frame or to a
//! segment's header; every claim above it is filled by exactly one thread.
//! **Invariant 2:** between a claim and its commit word there is no allocation, no system call, no
//! lock and no panic; a reservation that is dropped undecided becomes a void frame, and one that is
//! dropped after its decision aborts the process.
//!
//! # Protocol
//!
//! 1. `reserve` claims a range ([`Marks::claim`]), fills the rest of the old segment with a padding
//!    frame where the claim says so, stores `reserved + length` in the frame's first word, then header,
//!    payload and CRC. The caller decides (its own compare-and-swap) and then fills the reservation.
//! 2. [`Reservation::commit`] stores `length` into the first word: one store. A loser's
//!    [`Reservation::void`] rewrites the kind and the CRC in front of that store.
//! 3. [`Append::walk`] goes from `published` over committed words to the first that is not, or to the
//!    reserved mark, and swaps `published` from exactly where it began.
//!
//! # The first word of a frame
//!
//! An `AtomicU64` over the first 8 bytes: low half the commit word, high half the CRC. Written only by
//! the owner of the claim: 0 (the prepared zeros), then reserved with the CRC (Relaxed: nothing is
//! read on its strength), then committed with the CRC (**Release**). The walk loads it with
//! **Acquire**, so who sees a frame committed sees its bytes; the swap of `published` (Release) hands
//! that on to readers of the mark. All other words of a frame are stored Relaxed, once, by the owner,
//! before that Release (a void frame: twice).
//!
//! # Answers without a hand-off
//!
//! In `Interval` and `Os` mode an answer may leave at `published`, and the thread that wants to leave
//! walks by itself ([`Append::publish`]). Where it meets a hole it sets `stuck`, and whoever fills a
//! hole looks at `stuck` afterwards; whichever of the two fences comes first, either the walker's
//! second walk sees the filled word or the filler sees `stuck` and walks and notifies itself. A stale
//! `stuck` costs one needless notification.
//!
//! This module knows no files and never waits.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64 as Counter, Ordering as CounterOrdering},
    },
};

use crossbeam::{atomic::AtomicCell, utils::CachePadded};
use thiserror::Error;

use crate::{
    frame::{
        CommitWord, DurableClaim, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, Kind,
        PAYLOAD_BYTES_MAX, RecordType, Seed, span_of,
    },
    lsn::Lsn,
    marks::{Claim, Geometry, Keep, Marks, Refused},
    reservation::Reservation,
    ring::Ring,
    sync::{AtomicBool, Ordering, fence},
};

/// Frames up to this size are put together in a small buffer on the stack.
const SMALL_FRAME_BYTES: usize = 512;

/// Buffer for the others; a model's threads have small stacks and small frames.
const LARGE_FRAME_BYTES: usize =
    if cfg!(booking_loom) { SMALL_FRAME_BYTES } else { FRAME_BYTES_MAX };

/// Offset of the CRC, and of what follows it, within a frame.
const CRC_AT: usize = 4;
const FIELDS_AT: usize = 8;
const KIND_AT: u64 = 16;

/// Room below `limit` that only the log's own frames may use, so that padding, an idle frame and
/// the clean end always find a place.
pub(crate) const INTERNAL_BYTES: u64 = 8192;

const _: () = {
    assert!(SMALL_FRAME_BYTES <= FRAME_BYTES_MAX);
    assert!(FRAME_HEADER_BYTES.is_multiple_of(crate::ring::WORD_BYTES));
};

/// Which part of the prepared room a record may use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// New holds, users, events: refused while only the reserve is left.
    Take,
    /// What gives something back (confirm, cancel, expire): may use the reserve.
    Release,
}

/// Why nothing was reserved. Nothing was changed either.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Error)]
pub enum ReserveError {
    /// No prepared room: the disk is full, or the preparer is behind. Retryable.
    #[error("no room is prepared in the log")]
    NoRoom,
    /// `reserved - durable` is at its bound. Retryable.
    #[error("the log is too far ahead of what is synced")]
    TooFarAhead,
    /// A write failed for good; see `Log::poisoned`.
    #[error("the log is poisoned")]
    Poisoned,
    /// `Log::seal` was called.
    #[error("the log is sealed")]
    Sealed,
    /// The payload is longer than [`PAYLOAD_BYTES_MAX`].
    #[error("the payload is longer than {PAYLOAD_BYTES_MAX} bytes")]
    TooLong,
}

impl ReserveError {
    /// Whether the same call can succeed later in this process.
    #[must_use]
    pub const fn retryable(self) -> bool {
        match self {
            Self::NoRoom | Self::TooFarAhead => true,
            Self::Poisoned | Self::Sealed | Self::TooLong => false,
        }
    }
}

/// What the walks counted: every frame exactly once, by whoever published it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) records: Counter,
    pub(crate) void_frames: Counter,
    pub(crate) internal_frames: Counter,
}

impl Tally {
    /// Committed records of callers, in this epoch.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(CounterOrdering::Relaxed)
    }
}

/// Where a walk ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) published: u64,
    /// Something behind `published` is claimed but not committed.
    pub(crate) hole: bool,
}

type Notify = Box<dyn Fn() + Send + Sync>;

pub(crate) struct Append {
    pub(crate) marks: Marks,
    pub(crate) ring: Ring,
    /// CRC seed of the segment in each slot; set by the preparer before it raises `limit`.
    seeds: Box<[AtomicCell<Seed>]>,
    epoch: u32,
    /// `Interval` and `Os`: committed is enough to answer.
    answers_on_publish: bool,
    /// Somebody who walked met a hole. See the module.
    stuck: CachePadded<AtomicBool>,
    notify: OnceLock<Notify>,
    pub(crate) tally: CachePadded<Tally>,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("marks", &self.marks).finish_non_exhaustive()
    }
}

impl Append {
    pub(crate) fn new(
        marks: Marks,
        ring: Ring,
        slots: usize,
        epoch: u32,
        on_publish: bool,
    ) -> Self {
        let unset = Seed::new(&[0; 16], 0, 0);
        Self {
            marks,
            ring,
            seeds: (0..slots).map(|_| AtomicCell::new(unset)).collect(),
            epoch,
            answers_on_publish: on_publish,
            stuck: CachePadded::new(AtomicBool::new(false)),
            notify: OnceLock::new(),
            tally: CachePadded::default(),
        }
    }

    /// The seed of the frames in the segment at `base`. Before `raise_limit`.
    pub(crate) fn set_seed(&self, base: u64, seed: Seed) {
        self.seeds[self.slot(base)].store(seed);
    }

    /// False when there is a callback already.
    pub(crate) fn set_notify(&self, notify: Notify) -> bool {
        self.notify.set(notify).is_ok()
    }

    pub(crate) fn notify(&self) {
        if let Some(notify) = self.notify.get() {
            notify();
        }
    }

    /// Claims room for a record and writes all of it but the commit word.
    #[inline]
    pub(crate) fn reserve(
        &self,
        record: RecordType,
        payload: &[u8],
        keep: u64,
    ) -> Result<Reservation<'_>, Refused> {
        let span = span_of(FRAME_HEADER_BYTES + payload.len());
        let claim = self.marks.claim(span as u64, Keep::Bytes(keep))?;
        self.pad(claim);
        let lsn = Lsn::new(claim.start);
        let header =
            FrameHeader::record(lsn, record, payload.len(), self.epoch, self.claim_at(lsn))
                .expect("the payload's length was checked before anything was claimed");
        let crc = self.write(&header, payload);
        Ok(Reservation::new(self, header, crc))
    }

    /// Claims and commits one of the log's own frames without payload; returns its end.
    pub(crate) fn append_internal(&self, kind: Kind, keep: Keep) -> Result<u64, Refused> {
        let claim = self.marks.claim(FRAME_HEADER_BYTES as u64, keep)?;
        self.pad(claim);
        self.fill_internal(kind, claim.start, claim.end);
        Ok(claim.end)
    }

    /// Fills the tail's page with a padding frame, so that the next group begins on a page of its own.
    pub(crate) fn pad_page(&self, page: u64) {
        if let Some(claim) = self.marks.claim_rest_of_page(page, INTERNAL_BYTES / 2) {
            self.fill_internal(Kind::PADDING, claim.start, claim.end);
        }
    }

    /// Advances `published` over what is committed, to the first frame that ends at `up_to` or beyond.
    /// Any thread; no thread waits for another.
    pub(crate) fn walk(&self, up_to: u64) -> Walked {
        loop {
            let from = self.marks.published();
            // After `published`, so that it is not below it. Acquire: the segments up to here are
            // mapped, and what a slot held before them is out of sight.
            let reserved = self.marks.reserved().min(up_to);
            let (to, records, voids, internals) = self.scan(from, reserved);
            if to == from {
                return Walked { published: from, hole: from < reserved };
            }
            // On failure another thread went on from here, and what was read may be stale.
            if self.marks.advance_published(from, to) {
                self.tally.records.fetch_add(records, CounterOrdering::Relaxed);
                self.tally.void_frames.fetch_add(voids, CounterOrdering::Relaxed);
                self.tally.internal_frames.fetch_add(internals, CounterOrdering::Relaxed);
            }
        }
    }

    /// The end of the committed frames from `from` on, and how many records, voids and others they are.
    fn scan(&self, from: u64, reserved: u64) -> (u64, u64, u64, u64) {
        let geometry = self.marks.geometry();
        let (mut at, mut records, mut voids, mut internals) = (from, 0, 0, 0);
        while at < reserved {
            let start = geometry.frame_start(at);
            // Acquire: pairs with the Release in `commit_word`.
            let word = self.ring.word(start).load(Ordering::Acquire);
            let CommitWord::Committed(length) = CommitWord::decode(low_half(word)) else {
                break;
            };
            let span = span_of(length as usize);
            // Only a stale read, whose swap will fail, can show an impossible length.
            if !(FRAME_HEADER_BYTES..=FRAME_BYTES_MAX).contains(&span) {
                break;
            }
            let mut kind = [0; 2];
            self.ring.read(start + KIND_AT, &mut kind);
            let kind = Kind::new(u16::from_le_bytes(kind));
            records += u64::from(!kind.is_internal());
            voids += u64::from(kind == Kind::VOID);
            internals += u64::from(kind.is_internal());
            at = start + span as u64;
        }
        (at, records, voids, internals)
    }

    /// Walks in the caller's thread, and leaves word for whoever fills the hole where it stopped.
    pub(crate) fn publish(&self) {
        if self.walk(u64::MAX).hole {
            self.stuck.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            self.walk(u64::MAX);
        }
    }

    /// After a commit word was stored: serves those who wait behind it, if answers leave on that.
    #[inline]
    fn after_fill(&self) {
        if self.answers_on_publish {
            fence(Ordering::SeqCst);
            if self.stuck.load(Ordering::Relaxed) && self.stuck.swap(false, Ordering::Relaxed) {
                self.publish();
                self.notify();
            }
        }
    }

    /// Fills the rest of the segment that a claim did not fit into.
    #[inline]
    fn pad(&self, claim: Claim) {
        if let Some(from) = claim.padding {
            let end = self.marks.geometry().base(claim.start);
            self.fill_internal(Kind::PADDING, from, end);
        }
    }

    #[cold]
    pub(crate) fn fill_internal(&self, kind: Kind, start: u64, end: u64) {
        let lsn = Lsn::new(start);
        // A gap is shorter than the frame that did not fit into it, or than a page.
        let length = u32::try_from(end - start).unwrap_or(u32::MAX);
        let header = FrameHeader::internal(lsn, kind, length, self.epoch, self.claim_at(lsn));
        let body = header.encode_padding(self.seed(start));
        let (crc, fields) = body.split_at(FIELDS_AT - CRC_AT);
        let crc = u32_of(crc);
        self.ring.write(start + FIELDS_AT as u64, fields);
        self.fill(&header, crc);
    }

    /// Writes everything of a frame but its commit word; returns the CRC.
    #[inline]
    fn write(&self, header: &FrameHeader, payload: &[u8]) -> u32 {
        if header.span() <= SMALL_FRAME_BYTES {
            self.write_through::<SMALL_FRAME_BYTES>(header, payload)
        } else {
            self.write_large(header, payload)
        }
    }

    #[inline(never)]
    fn write_large(&self, header: &FrameHeader, payload: &[u8]) -> u32 {
        self.write_through::<LARGE_FRAME_BYTES>(header, payload)
    }

    /// Puts the frame together on the stack, where the CRC runs over one piece, and stores it word by
    /// word.
    #[inline]
    fn write_through<const BYTES: usize>(&self, header: &FrameHeader, payload: &[u8]) -> u32 {
        let mut buffer = [0; BYTES];
        let frame = &mut buffer[..header.span()];
        header.encode(self.seed(header.lsn.get()), payload, &mut frame[CRC_AT..]);
        self.store_reserved(header, frame)
    }

    /// Rewrites a reservation as a void frame of the same length. The payload stays and means nothing.
    #[cold]
    #[inline(never)]
    pub(crate) fn write_void(&self, header: &FrameHeader) -> u32 {
        let mut buffer = [0; LARGE_FRAME_BYTES];
        let frame = &mut buffer[..header.span()];
        let at = header.lsn.get() + FIELDS_AT as u64;
        self.ring.read(at, &mut frame[FIELDS_AT..]);
        header.voided().seal_body(self.seed(header.lsn.get()), &mut frame[CRC_AT..]);
        self.store_reserved(header, &frame[..FRAME_HEADER_BYTES])
    }

    /// Stores the frame's first word as reserved, then the bytes behind it; returns the CRC.
    #[inline]
    fn store_reserved(&self, header: &FrameHeader, frame: &[u8]) -> u32 {
        let start = header.lsn.get();
        let crc = u32_of(&frame[CRC_AT..FIELDS_AT]);
        let word = first_word(CommitWord::Reserved(header.length), crc);
        self.ring.word(start).store(word, Ordering::Relaxed);
        self.ring.write(start + FIELDS_AT as u64, &frame[FIELDS_AT..]);
        crc
    }

    /// Makes a written frame part of the log.
    #[inline]
    pub(crate) fn fill(&self, header: &FrameHeader, crc: u32) {
        self.commit_word(header.lsn.get(), header.length, crc);
        self.after_fill();
    }

    #[inline]
    fn commit_word(&self, start: u64, length: u32, crc: u32) {
        let word = first_word(CommitWord::Committed(length), crc);
        // Release: pairs with the Acquire in `scan`.
        self.ring.word(start).store(word, Ordering::Release);
    }

    /// The durable claim of a frame at `lsn`: true whenever it is read, since the mark never falls.
    #[inline]
    fn claim_at(&self, lsn: Lsn) -> DurableClaim {
        DurableClaim::new(lsn, Lsn::new(self.marks.durable()))
    }

    #[inline]
    fn seed(&self, lsn: u64) -> Seed {
        self.seeds[self.slot(lsn)].load()
    }

    #[inline]
    fn slot(&self, lsn: u64) -> usize {
        let Geometry { segment_bytes, .. } = self.marks.geometry();
        let slots = self.seeds.len() as u64;
        usize::try_from((lsn / segment_bytes) & (slots - 1)).unwrap_or(usize::MAX)
    }
}

fn first_word(word: CommitWord, crc: u32) -> u64 {
    u64::from(word.encode()) | u64::from(crc) << 32
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low_half(word: u64) -> u32 {
    word as u32
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}
