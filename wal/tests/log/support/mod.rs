//! A writer of logs in memory, for tests: the format's encoder without threads, maps or a disk.
//!
//! It does what the live side does to the bytes and nothing else, and it notes every range that it
//! writes, so that a simulated disk can decide which of them survive.
#![allow(dead_code, unreachable_pub, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "a failing test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "test segments are far below 4 GiB")]

pub mod disk;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use uuid::Uuid;
use wal::frame::{CommitWord, DurableClaim, Expected, FrameHeader, Kind, RecordType, span_of};
use wal::header::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use wal::recovery::{NextSegment, Recovered, RecoveryError, recover};
use wal::{Known, LockedDirectory, Lsn, Record, SegmentSize};

/// The smallest segment size, so that tests roll over often.
pub const SIZE: SegmentSize = match SegmentSize::new(SegmentSize::MIN) {
    Some(size) => size,
    None => panic!("the minimum is a size"),
};
pub const NOTE: RecordType = RecordType { kind: Kind::new(16), version: 1, ignorable: false };

/// What a test compares: position and payload.
pub type Seen = (Lsn, Vec<u8>);

/// A directory in memory where there is one, for speed; nothing here depends on it.
pub fn directory() -> TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { TempDir::new_in(shm).unwrap() } else { TempDir::new().unwrap() }
}

#[derive(Clone)]
pub struct SegmentImage {
    pub header: SegmentHeader,
    pub bytes: Vec<u8>,
}

/// One log in memory.
#[derive(Clone)]
pub struct Writer {
    pub segments: BTreeMap<u64, SegmentImage>,
    pub tail: Lsn,
    pub durable: Lsn,
    pub salt: u64,
    /// Every range written to a segment since somebody last looked, by base and offset.
    pub writes: Vec<(u64, Range<usize>)>,
}

impl Writer {
    /// A new log with one segment at 0.
    pub fn new() -> Self {
        let mut writer = Self {
            segments: BTreeMap::new(),
            tail: Lsn::ZERO,
            durable: Lsn::ZERO,
            salt: 0x5eed,
            writes: Vec::new(),
        };
        writer.boot(&NextSegment {
            segment_size: SIZE,
            uuid: Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            epoch: 1,
            base: Lsn::ZERO,
            prev_end: Lsn::ZERO,
            clean_end_before: false,
            temporary: Vec::new(),
            dead: Vec::new(),
        });
        writer
    }

    /// Begins the epoch that recovery asked for.
    pub fn boot(&mut self, next: &NextSegment) {
        let salt = self.next_salt();
        self.boot_with(next, next.header(salt, 0));
    }

    /// As [`Writer::boot`], with a header that was made before.
    pub fn boot_with(&mut self, next: &NextSegment, header: SegmentHeader) {
        self.segments.retain(|&base, _| base < next.base.get());
        self.insert(header);
        self.tail = SIZE.frame_start(next.base);
        self.durable = next.prev_end;
    }

    pub fn next_salt(&mut self) -> u64 {
        self.salt = self.salt.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.salt
    }

    pub fn insert(&mut self, header: SegmentHeader) {
        let mut bytes = vec![0; SIZE.get() as usize];
        bytes[..SEGMENT_HEADER_BYTES as usize].copy_from_slice(&header.encode());
        self.segments.insert(header.base.get(), SegmentImage { header, bytes });
    }

    /// Makes the segment behind the last one.
    pub fn prepare(&mut self) {
        let salt = self.next_salt();
        let last = self.segments.values().next_back().unwrap().header;
        self.insert(last.following(salt, self.durable, 0));
    }

    pub fn segment(&self, lsn: Lsn) -> &SegmentImage {
        &self.segments[&SIZE.base_of(lsn).get()]
    }

    pub fn expected(&self, lsn: Lsn) -> Expected {
        self.segment(lsn).header.expected()
    }

    fn bytes_mut(&mut self, lsn: Lsn, length: usize) -> &mut [u8] {
        let base = SIZE.base_of(lsn).get();
        let at = SIZE.offset_of(lsn) as usize;
        self.writes.push((base, at..at + length));
        &mut self.segments.get_mut(&base).unwrap().bytes[at..at + length]
    }

    /// Writes a whole frame with the given commit word and steps the tail behind it.
    fn put(&mut self, header: FrameHeader, payload: &[u8], word: CommitWord) {
        let expected = self.expected(header.lsn);
        let frame = self.bytes_mut(header.lsn, header.span());
        header.encode(expected.seed, payload, &mut frame[4..]);
        frame[..4].copy_from_slice(&word.encode().to_le_bytes());
        self.tail = header.end();
    }

    /// Makes room for a frame of `length` bytes: pads and rolls over if it would cross.
    fn make_room(&mut self, length: usize) {
        // A frame that filled its segment leaves the tail on the boundary.
        if SIZE.offset_of(self.tail) == 0 {
            self.enter(self.tail);
        }
        let end = SIZE.base_after(SIZE.base_of(self.tail));
        if self.tail.plus(span_of(length) as u64) > end {
            let gap = end.since(self.tail) as u32;
            if gap > 0 {
                self.internal(Kind::PADDING, gap);
            }
            self.enter(end);
        }
    }

    fn enter(&mut self, base: Lsn) {
        if !self.segments.contains_key(&base.get()) {
            self.prepare();
        }
        self.tail = SIZE.frame_start(base);
    }

    fn claim(&self) -> DurableClaim {
        DurableClaim::new(self.tail, self.durable)
    }

    fn epoch(&self) -> u32 {
        self.segment(self.tail).header.epoch
    }

    /// One of the log's own frames, at the tail, committed.
    pub fn internal(&mut self, kind: Kind, length: u32) -> Lsn {
        let header = FrameHeader::internal(self.tail, kind, length, self.epoch(), self.claim());
        let payload = vec![0; length as usize - 32];
        self.put(header, &payload, CommitWord::Committed(length));
        header.lsn
    }

    /// A complete frame whose commit word says reserved.
    pub fn reserve(&mut self, payload: &[u8]) -> Lsn {
        self.make_room(32 + payload.len());
        let header =
            FrameHeader::record(self.tail, NOTE, payload.len(), self.epoch(), self.claim())
                .unwrap();
        self.put(header, payload, CommitWord::Reserved(header.length));
        header.lsn
    }

    pub fn commit(&mut self, lsn: Lsn) {
        let word = self.bytes_mut(lsn, 4);
        let length = u32::from_le_bytes(word.try_into().unwrap()) & 0x7fff_ffff;
        word.copy_from_slice(&length.to_le_bytes());
    }

    /// Turns a reserved frame into a committed void one.
    pub fn void(&mut self, lsn: Lsn) {
        let expected = self.expected(lsn);
        let at = SIZE.offset_of(lsn) as usize;
        let image = &self.segment(lsn).bytes[at..];
        let header = wal::frame::find(image, lsn, expected).unwrap().header.voided();
        let frame = self.bytes_mut(lsn, header.span());
        header.seal_body(expected.seed, &mut frame[4..]);
        self.commit(lsn);
    }

    pub fn append(&mut self, payload: &[u8]) -> Lsn {
        let lsn = self.reserve(payload);
        self.commit(lsn);
        lsn
    }

    /// A record with any type, committed.
    pub fn append_as(&mut self, kind: RecordType, payload: &[u8]) -> Lsn {
        let lsn = self.reserve(payload);
        let header =
            FrameHeader::record(lsn, kind, payload.len(), self.epoch(), self.claim_at(lsn))
                .unwrap();
        self.put(header, payload, CommitWord::Committed(header.length));
        lsn
    }

    fn claim_at(&self, lsn: Lsn) -> DurableClaim {
        DurableClaim::new(lsn, self.durable)
    }

    /// Pads to the next page boundary, as the syncer does.
    pub fn pad_page(&mut self) {
        let gap = (self.tail.get().next_multiple_of(4096) - self.tail.get()) as u32;
        if gap > 0 && SIZE.offset_of(self.tail) != 0 {
            self.internal(Kind::PADDING, gap);
        }
    }

    pub fn seal(&mut self) -> Lsn {
        self.make_room(32);
        self.durable = self.tail;
        self.internal(Kind::SEAL, 32)
    }

    /// Everything so far is durable from now on, so later frames claim it.
    pub fn sync(&mut self) {
        self.durable = self.tail;
    }

    /// Writes all segments as files, replacing what the directory holds.
    pub fn save(&self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "seg") {
                fs::remove_file(path).unwrap();
            }
        }
        for (base, segment) in &self.segments {
            save_file(&directory.join(segment_name(Lsn::new(*base))), &segment.bytes);
        }
    }

    /// Brings a directory up to date as a running log would: writes in place what was written, and
    /// new segments, or ones replaced by another boot, by a rename.
    pub fn update(&mut self, directory: &Path) {
        for name in contents(directory).into_keys() {
            let kept = |base: &u64| name.ends_with(segment_name(Lsn::new(*base)));
            if !self.segments.keys().any(kept) {
                fs::remove_file(name).unwrap();
            }
        }
        for (base, segment) in &self.segments {
            let path = directory.join(segment_name(Lsn::new(*base)));
            let header = fs::read(&path).map(|bytes| bytes[..4096] == segment.bytes[..4096]);
            if !header.unwrap_or(false) {
                let temporary = directory.join(wal::header::temporary_name(Lsn::new(*base)));
                save_file(&temporary, &segment.bytes);
                fs::rename(temporary, path).unwrap();
            }
        }
        for (base, range) in std::mem::take(&mut self.writes) {
            let Some(segment) = self.segments.get(&base) else {
                continue;
            };
            let path = directory.join(segment_name(Lsn::new(base)));
            let file = fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&segment.bytes[range.clone()], range.start as u64).unwrap();
        }
    }

    pub fn path(&self, directory: &Path, lsn: Lsn) -> PathBuf {
        directory.join(segment_name(SIZE.base_of(lsn)))
    }
}

/// Writes a file without its zero pages, which is much faster on a file system in memory.
pub fn save_file(path: &Path, bytes: &[u8]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (index, page) in bytes.chunks(4096).enumerate() {
        if page.iter().any(|&byte| byte != 0) {
            file.write_all_at(page, index as u64 * 4096).unwrap();
        }
    }
}

/// Recovers and returns what was applied.
pub fn recovered(directory: &Path) -> Result<(Recovered, Vec<Seen>), RecoveryError> {
    recovered_knowing(directory, Known::default())
}

pub fn recovered_above(
    directory: &Path,
    durable_floor: Lsn,
) -> Result<(Recovered, Vec<Seen>), RecoveryError> {
    recovered_knowing(directory, Known { durable_floor, ..Known::default() })
}

pub fn recovered_from(
    directory: &Path,
    start: Lsn,
) -> Result<(Recovered, Vec<Seen>), RecoveryError> {
    recovered_knowing(directory, Known { start, ..Known::default() })
}

fn recovered_knowing(
    directory: &Path,
    known: Known,
) -> Result<(Recovered, Vec<Seen>), RecoveryError> {
    let lock = LockedDirectory::acquire(directory).unwrap();
    let mut seen = Vec::new();
    let apply = |record: Record<'_>| {
        seen.push((record.lsn, record.payload.to_vec()));
        Ok::<(), Infallible>(())
    };
    let recovered = recover(&lock, SIZE, known, apply)?;
    Ok((recovered, seen))
}

/// Every file of a directory with its bytes, to show that a refusal changed nothing.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}
