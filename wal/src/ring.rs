//! The mapped memory of the log: a ring of address space in which segments come and go.
//!
//! **Invariant 1:** from `new` to `drop` every address of the ring is mapped to something, so any
//! position may be read at any time. What is read is *true* only between `durable` and `reserved`.
//! **Invariant 2:** all access to the memory is by 8-byte atomics, so no access is ever a data race,
//! whatever a thread that was stalled for a whole turn of the ring does. (While ThreadSanitizer watches,
//! `--cfg booking_watched`, the words of a frame's body are plain memory instead, so that a body which no
//! commit word orders is reported; see `.ci/sanitizers`. Such a build is for tests only: it has data
//! races where a thread was stalled for that long.)
//!
//! # Layout
//!
//! The ring is one reservation of `slots * segment_bytes` of address space, both powers of two. The
//! byte at LSN `n` is at `n mod ring_bytes`, so finding it is one mask: no table, no lock, no count
//! of readers. A slot holds, in turn: an anonymous read-only page range (all zero: "nothing is
//! committed here"), a segment's file, the anonymous range again, the next segment that falls on it.
//! Each change is one `mmap(MAP_FIXED)`, which the kernel makes in place: a concurrent access sees
//! the old mapping or the new one, never a gap.
//!
//! # Why a segment may be unmapped while others read
//!
//! A slot is replaced only when its segment ends at or below `durable`. Appenders touch only ranges
//! that they claimed and did not commit; those lie above `published >= durable`. The syncer reads
//! only above `durable`. In the modes where callers walk, a walker may be stalled and read a slot
//! that was replaced meanwhile; it then read garbage (but valid memory), and its compare-and-swap of
//! `published` from the old position fails, since the mark has passed the segment and never returns.
//!
//! This module knows neither frames nor marks.

#[cfg(not(booking_loom))]
pub(crate) use mapped::Ring;
#[cfg(booking_loom)]
pub(crate) use modelled::Ring;

/// The word size of all access; frames are aligned to a multiple of it.
pub(crate) const WORD_BYTES: usize = 8;

#[cfg(not(booking_loom))]
mod mapped {
    use std::{fs::File, io, ptr::NonNull, sync::atomic::AtomicU64};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

    use super::WORD_BYTES;
    use crate::{
        marks::Geometry,
        sigbus::{self, Watched},
        sync::{Ordering, step},
    };

    // Words hold the file's little-endian bytes; storing a value must store those bytes.
    const _: () = assert!(
        cfg!(target_endian = "little"),
        "the log is written on little-endian machines only"
    );

    #[derive(Debug)]
    pub(crate) struct Ring {
        base: NonNull<u8>,
        bytes: u64,
        geometry: Geometry,
        /// Tells the SIGBUS handler which segment an address belongs to.
        watched: Option<Watched>,
    }

    // SAFETY: `base` is the start of a mapping that belongs to this value until it is dropped; the
    // memory is reached only through shared atomics, which any thread may use.
    unsafe impl Send for Ring {}
    // SAFETY: as above: `&Ring` gives out `&AtomicU64` and copies made through them, nothing else.
    unsafe impl Sync for Ring {}

    impl Ring {
        /// Reserves address space for `slots` segments; nothing is mapped to a file yet.
        pub(crate) fn new(geometry: Geometry, slots: u64) -> io::Result<Self> {
            assert!(slots.is_power_of_two() && geometry.segment_bytes.is_power_of_two());
            let bytes = geometry.segment_bytes * slots;
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            // SAFETY: a new anonymous mapping at an address of the kernel's choice; it aliases nothing.
            let at = unsafe {
                mmap_anonymous(std::ptr::null_mut(), to_usize(bytes), ProtFlags::READ, flags)
            }?;
            let base = NonNull::new(at.cast::<u8>())
                .ok_or_else(|| io::Error::other("mmap returned the null page"))?;
            let watched = sigbus::watch(base.as_ptr() as usize, bytes, geometry.segment_bytes);
            Ok(Self { base, bytes, geometry, watched })
        }

        /// Puts the segment at `base` into its slot. The segment that was there must be durable, or
        /// its unsynced bytes are out of reach (they are still in the page cache).
        pub(crate) fn map(&self, base: u64, file: &File) -> io::Result<()> {
            let at = self.slot(base);
            let length = to_usize(self.geometry.segment_bytes);
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            // SAFETY: `slot` gives a segment-sized range inside the ring's own reservation, so
            // MAP_FIXED replaces nothing of anybody else's. References into the range are to atomics
            // and stay valid: the range is mapped before and after.
            unsafe { mmap(at.as_ptr().cast(), length, access, flags, file, 0) }?;
            if let Some(watched) = &self.watched {
                watched.set_base(self.slot_index(base), base);
            }
            Ok(())
        }

        /// Gives the slot of the segment at `base` back: it reads as zeros, and the file is let go.
        pub(crate) fn unmap(&self, base: u64) -> io::Result<()> {
            let at = self.slot(base);
            let length = to_usize(self.geometry.segment_bytes);
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
            // SAFETY: as in `map`: the range is inside the ring's own reservation and stays mapped.
            unsafe { mmap_anonymous(at.as_ptr().cast(), length, ProtFlags::READ, flags) }?;
            Ok(())
        }

        /// Builds the page tables of `[from, to)`, whole pages of one segment, for reading, so that an
        /// appender's first store to a page pays for one fault and not for walking to it as well. Best
        /// effort. The pages must have been written: one that is not in memory would be read ahead
        /// with those behind it in a large folio, and be written as a whole by each sync.
        pub(crate) fn populate(&self, from: u64, to: u64) {
            let base = self.geometry.base(from);
            debug_assert!(from <= to && to <= base + self.geometry.segment_bytes);
            // SAFETY: the segment's slot is a segment long, and `from` is within the segment.
            let at = unsafe { self.slot(base).add(to_usize(from - base)) };
            // An older kernel does not know the advice; the pages then come one fault at a time.
            // SAFETY: the range is inside the ring's reservation; the advice changes no contents.
            let _ = unsafe {
                madvise(at.as_ptr().cast(), to_usize(to - from), Advice::LinuxPopulateRead)
            };
        }

        /// The word at `lsn`, which must be a multiple of [`WORD_BYTES`].
        pub(crate) fn word(&self, lsn: u64) -> &AtomicU64 {
            step();
            self.place(lsn)
        }

        fn place(&self, lsn: u64) -> &AtomicU64 {
            let offset = to_usize(lsn & (self.bytes - 1)) & !(WORD_BYTES - 1);
            debug_assert_eq!(lsn % WORD_BYTES as u64, 0);
            // SAFETY: the mask keeps `offset` below `bytes`, the size of the one mapping at `base`.
            let at = unsafe { self.base.add(offset) };
            // SAFETY: `at` is aligned to 8 (the mapping to a page, the offset by its mask), mapped for
            // as long as `self` lives (invariant 1) and reached through atomics only (invariant 2).
            unsafe { at.cast::<AtomicU64>().as_ref() }
        }

        /// Stores `bytes` from `lsn` on; the last word is filled up with zeros. Relaxed: the commit
        /// word that follows is the release. The range must not cross a segment.
        #[inline]
        pub(crate) fn write(&self, lsn: u64, bytes: &[u8]) {
            let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
            let mut at = lsn;
            for word in words {
                self.put(at, u64::from_le_bytes(*word));
                at += WORD_BYTES as u64;
            }
            if !rest.is_empty() {
                let mut last = [0; WORD_BYTES];
                last[..rest.len()].copy_from_slice(rest);
                self.put(at, u64::from_le_bytes(last));
            }
        }

        /// Copies from `lsn` on into `bytes`. Relaxed: own stores, or ordered by a commit word.
        pub(crate) fn read(&self, lsn: u64, bytes: &mut [u8]) {
            let mut at = lsn;
            for chunk in bytes.chunks_mut(WORD_BYTES) {
                let word = self.get(at).to_le_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
                at += WORD_BYTES as u64;
            }
        }

        #[inline]
        fn put(&self, at: u64, word: u64) {
            let place = self.place(at);
            if cfg!(booking_watched) {
                // SAFETY: valid and aligned as the atomic is. Nobody else accesses it at the same time:
                // the commit word orders all but a stalled thread, and where that is not so
                // ThreadSanitizer, for which alone this is built, says so.
                unsafe { place.as_ptr().write(word) };
            } else {
                place.store(word, Ordering::Relaxed);
            }
        }

        #[inline]
        fn get(&self, at: u64) -> u64 {
            let place = self.place(at);
            if cfg!(booking_watched) {
                // SAFETY: as in `put`.
                unsafe { place.as_ptr().read() }
            } else {
                place.load(Ordering::Relaxed)
            }
        }

        pub(super) fn slot_index(&self, base: u64) -> usize {
            to_usize((base & (self.bytes - 1)) / self.geometry.segment_bytes)
        }

        fn slot(&self, base: u64) -> NonNull<u8> {
            assert_eq!(self.geometry.offset(base), 0, "a slot begins on a segment's base");
            let offset = to_usize(base & (self.bytes - 1));
            // SAFETY: the mask keeps `offset` below `bytes`, the size of the one mapping at `base`.
            unsafe { self.base.add(offset) }
        }
    }

    impl Drop for Ring {
        fn drop(&mut self) {
            self.watched = None;
            // SAFETY: the range is the whole reservation made in `new`; `&mut self` proves that no
            // reference given out by `word` is left.
            let unmapped = unsafe { munmap(self.base.as_ptr().cast(), to_usize(self.bytes)) };
            debug_assert!(unmapped.is_ok(), "the range was mapped by `new`");
        }
    }

    /// Sizes of mapped things fit the address space.
    fn to_usize(bytes: u64) -> usize {
        const { assert!(size_of::<usize>() == size_of::<u64>(), "64-bit address space") };
        #[expect(clippy::cast_possible_truncation, reason = "usize is 64 bits, asserted above")]
        let bytes = bytes as usize;
        bytes
    }
}

/// The same interface over loom's memory: commit words are loom atomics, bodies are loom cells, so
/// that a body read without the order of its commit word is reported as a race.
#[cfg(booking_loom)]
mod modelled {
    use loom::cell::UnsafeCell;

    use super::WORD_BYTES;
    use crate::{
        marks::Geometry,
        sync::{AtomicU64, Ordering},
    };

    /// One per frame alignment: the word that may be a commit word, and the bytes.
    const UNIT_BYTES: usize = 32;

    #[derive(Debug)]
    pub(crate) struct Ring {
        words: Vec<AtomicU64>,
        cells: Vec<UnsafeCell<[u8; UNIT_BYTES]>>,
        bytes: u64,
    }

    // SAFETY: loom itself checks each access to the cells for races and fails the model.
    unsafe impl Sync for Ring {}

    impl Ring {
        pub(crate) fn new(geometry: Geometry, slots: u64) -> Self {
            let bytes = geometry.segment_bytes * slots;
            let units = usize::try_from(bytes).expect("small") / UNIT_BYTES;
            Self {
                words: (0..units).map(|_| AtomicU64::new(0)).collect(),
                cells: (0..units).map(|_| UnsafeCell::new([0; UNIT_BYTES])).collect(),
                bytes,
            }
        }

        /// Stands for the zeros that the preparer writes and for its `mmap`: touches every byte, so
        /// that a claim that was not ordered after it is a race.
        pub(crate) fn map(&self, base: u64, bytes: u64) {
            for at in (base..base + bytes).step_by(UNIT_BYTES) {
                self.word(at).store(0, Ordering::Relaxed);
                self.write(at + WORD_BYTES as u64, &[0; UNIT_BYTES - WORD_BYTES]);
            }
        }

        pub(crate) fn word(&self, lsn: u64) -> &AtomicU64 {
            assert_eq!(lsn % UNIT_BYTES as u64, 0, "only first words of frames are shared");
            &self.words[self.unit(lsn)]
        }

        pub(crate) fn write(&self, lsn: u64, bytes: &[u8]) {
            for (i, byte) in bytes.iter().enumerate() {
                let at = lsn + i as u64;
                // SAFETY: loom checks that nobody else accesses the cell at the same time.
                self.cells[self.unit(at)].with_mut(|cell| unsafe {
                    (*cell)[at as usize % UNIT_BYTES] = *byte;
                });
            }
        }

        pub(crate) fn read(&self, lsn: u64, bytes: &mut [u8]) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                let at = lsn + i as u64;
                // SAFETY: loom checks that nobody writes the cell at the same time.
                *byte = self.cells[self.unit(at)]
                    .with(|cell| unsafe { (*cell)[at as usize % UNIT_BYTES] });
            }
        }

        fn unit(&self, lsn: u64) -> usize {
            (lsn & (self.bytes - 1)) as usize / UNIT_BYTES
        }
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::Ring;
    use crate::marks::Geometry;

    #[test]
    fn a_ring_gives_its_address_space_back() {
        const SEGMENT_BYTES: u64 = 1 << 40;
        // All of them together are more than a process has.
        for _ in 0..20 {
            let geometry = Geometry { segment_bytes: SEGMENT_BYTES, header_bytes: 4_096 };
            let ring = Ring::new(geometry, 16).unwrap();
            assert_eq!(ring.word(15 * SEGMENT_BYTES).load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn segments_take_turns_in_the_slots() {
        const SEGMENT_BYTES: u64 = 1 << 16;
        let ring =
            Ring::new(Geometry { segment_bytes: SEGMENT_BYTES, header_bytes: 4_096 }, 4).unwrap();
        let place = 8_000;
        for turn in 0..10_u64 {
            let base = turn * SEGMENT_BYTES;
            let file = tempfile::tempfile().unwrap();
            file.set_len(SEGMENT_BYTES).unwrap();
            ring.map(base, &file).unwrap();
            assert_eq!(ring.slot_index(base), usize::try_from(turn % 4).unwrap());
            ring.word(base + place).store(turn + 1, Ordering::Relaxed);
            // What the slot held before stays in its file.
            assert_eq!(ring.word(base).load(Ordering::Relaxed), 0);
            if turn % 2 == 1 {
                ring.unmap(base).unwrap();
                assert_eq!(ring.word(base + place).load(Ordering::Relaxed), 0, "turn {turn}");
            }
        }
        assert_eq!(ring.word(8 * SEGMENT_BYTES + place).load(Ordering::Relaxed), 9);
        assert_eq!(ring.word(6 * SEGMENT_BYTES + place).load(Ordering::Relaxed), 7);
    }
}
