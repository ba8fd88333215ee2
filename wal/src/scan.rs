//! Reading the frames of one segment file, forwards, by large positioned reads.
//!
//! [`Scan::advance`] is the fast path of replay: it checks the frame at the position inside a
//! buffer of [`CHUNK_BYTES`] and steps on; [`Scan::view`] lends the payload from that buffer. Whatever is wrong with a
//! frame, a torn buffer included, is looked at once more after reading again from exactly that
//! position. So the same path refills the buffer, sees past a transient bad read, and follows a log
//! that a running server is still appending to.
//!
//! Reads go through the page cache. [`ReadFrom::Medium`] first drops the file's clean pages, so
//! that what is read is what the medium holds and not what a failed write-back left in memory.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;

use crate::chain::Segment;
use crate::directory::IoFault;
use crate::frame::{
    self, Expected, FRAME_ALIGN, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameFault, FrameHeader,
    FrameView,
};
use crate::header::SEGMENT_HEADER_BYTES;
use crate::lsn::{Lsn, SegmentSize};

/// Bytes per read. Small enough to stay in the second-level cache while it is being checked.
pub(crate) const CHUNK_BYTES: usize = 512 << 10;
/// How far ahead of the reads the kernel is asked to read, in bytes.
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// Step in which zeros are skipped.
const PAGE_BYTES: usize = 4096;
const ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

const _: () = {
    assert!(CHUNK_BYTES >= 2 * FRAME_BYTES_MAX, "a chunk must hold a whole frame from any place");
    assert!(SegmentSize::MIN >= 2 * FRAME_BYTES_MAX as u64, "so must a small segment's buffer");
    assert!(CHUNK_BYTES.is_multiple_of(PAGE_BYTES) && PAGE_BYTES.is_multiple_of(FRAME_ALIGN));
};

/// Whether reads may be answered from memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReadFrom {
    /// The page cache is as good as the medium: for following a running log.
    Cache,
    /// Drop what the page cache holds first: for deciding what survived.
    Medium,
}

/// Who reads ahead, while what was read is being checked.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReadAhead {
    /// The kernel, in large folios. Not in a segment that may be appended to: one dirty byte would
    /// have each sync write a whole folio of up to 2 MiB.
    Kernel,
    /// The scan, page by page: reading a log takes 1.7 times as long.
    Scan,
}

impl ReadAhead {
    /// For the segment before `next`: once that has begun, nothing more comes before it but what
    /// was claimed already and is just being written.
    pub(crate) fn before(next: Option<&Segment>) -> Self {
        // A hint: where it cannot be read, the reader will say so.
        let begun = next.is_some_and(|next| Scan::has_begun(next).unwrap_or(false));
        if begun { Self::Kernel } else { Self::Scan }
    }
}

/// Why there is no frame to hand out.
#[derive(Debug)]
pub(crate) enum ScanFault {
    Frame(FrameFault),
    CrossesCut { end: Lsn, cut: Lsn },
    Io(IoFault),
}

impl From<IoFault> for ScanFault {
    fn from(fault: IoFault) -> Self {
        Self::Io(fault)
    }
}

/// What lies behind a bad frame, in one segment or in several.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Evidence {
    /// The largest position that a whole frame claims was durable.
    pub(crate) durable: Lsn,
    /// Where the first whole frame begins.
    pub(crate) first_frame: Option<Lsn>,
    /// Behind the last byte that is not zero.
    pub(crate) written_end: Option<Lsn>,
}

/// A position within one segment file, and the bytes around it.
#[derive(Debug)]
pub(crate) struct Scan {
    file: File,
    segment: Segment,
    expected: Expected,
    /// Only the first `filled` bytes mean something.
    buffer: Vec<u8>,
    filled: usize,
    /// File offset of the buffer's first byte.
    buffer_offset: u64,
    /// The position, as an index into the buffer; at most `filled`.
    at: usize,
    read_ahead: ReadAhead,
    /// Up to which file offset the scan has asked the kernel to read ahead.
    ahead_until: u64,
    /// Nothing at or beyond it need be read.
    limit: Option<Lsn>,
}

impl Scan {
    /// Opens `segment`, positioned at its first frame. `buffer` is reused between segments.
    pub(crate) fn open(
        segment: &Segment,
        from: ReadFrom,
        read_ahead: ReadAhead,
        mut buffer: Vec<u8>,
    ) -> Result<Self, IoFault> {
        let path = &segment.path;
        let file = File::open(path).map_err(IoFault::of("open", path))?;
        if from == ReadFrom::Medium {
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)
                .map_err(IoFault::of("drop cached pages of", path))?;
        }
        let advice = match read_ahead {
            ReadAhead::Kernel => Advice::Sequential,
            ReadAhead::Scan => Advice::Random,
        };
        // A hint; the reads are right without it.
        let _ = rustix::fs::fadvise(&file, 0, None, advice);
        let segment_bytes = segment.header.segment_size.get();
        buffer.resize(usize::try_from(segment_bytes).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES), 0);
        Ok(Self {
            file,
            expected: segment.header.expected(),
            segment: segment.clone(),
            buffer,
            filled: 0,
            buffer_offset: SEGMENT_HEADER_BYTES,
            at: 0,
            read_ahead,
            ahead_until: 0,
            limit: None,
        })
    }

    /// Whether anything was appended to `segment`.
    fn has_begun(segment: &Segment) -> io::Result<bool> {
        let mut length = [0; 4];
        File::open(&segment.path)?.read_exact_at(&mut length, SEGMENT_HEADER_BYTES)?;
        Ok(length != [0; 4])
    }

    /// The segment being read.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Learns where the segment's frames must end, once a later segment says so.
    pub(crate) fn set_cut(&mut self, cut: Option<Lsn>) {
        self.segment.cut = cut;
    }

    /// Reads no bytes at or beyond `limit`, so that following a log by small steps costs no more
    /// than what was added.
    pub(crate) fn set_limit(&mut self, limit: Option<Lsn>) {
        self.limit = limit;
    }

    /// Gives back the buffer for the next segment.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Where the next frame should begin; the segment's end when it is full.
    pub(crate) fn position(&self) -> Lsn {
        self.segment.header.base.plus(self.offset())
    }

    fn offset(&self) -> u64 {
        self.buffer_offset + self.at as u64
    }

    /// Goes to `lsn`, which must lie behind the segment's header and not beyond its end.
    pub(crate) fn seek(&mut self, lsn: Lsn) {
        debug_assert!(lsn <= self.segment.header.end(), "seek to {lsn} in another segment");
        self.buffer_offset = lsn.since(self.segment.header.base);
        self.filled = 0;
        self.at = 0;
    }

    /// Checks the frame at the position and steps behind it. On a fault the position stays.
    pub(crate) fn advance(&mut self) -> Result<FrameHeader, ScanFault> {
        let header = match self.check() {
            Ok(header) => header,
            Err(_) => {
                self.refill()?;
                self.check().map_err(ScanFault::Frame)?
            }
        };
        match self.segment.cut {
            Some(cut) if header.end() > cut => {
                Err(ScanFault::CrossesCut { end: header.end(), cut })
            }
            _ => {
                self.at += header.span();
                Ok(header)
            }
        }
    }

    /// Whether a whole frame begins at the position, which stays.
    pub(crate) fn stands_at_a_frame(&mut self) -> Result<bool, IoFault> {
        self.refill()?;
        Ok(self.check().is_ok())
    }

    /// The frame that [`Scan::advance`] returned last, with its payload.
    pub(crate) fn view(&self, header: FrameHeader) -> FrameView<'_> {
        debug_assert_eq!(header.end(), self.position(), "only the last frame is still there");
        let start = self.at - header.span();
        let payload = start + FRAME_HEADER_BYTES..start + header.length as usize;
        FrameView { header, payload: &self.buffer[payload] }
    }

    // The header alone, because a view would keep the buffer borrowed over the second look.
    fn check(&self) -> Result<FrameHeader, FrameFault> {
        let bytes = &self.buffer[self.at..self.filled];
        frame::check(bytes, self.position(), self.expected).map(|view| view.header)
    }

    /// Fills the buffer from the position on, as far as the segment goes.
    fn refill(&mut self) -> Result<(), IoFault> {
        self.buffer_offset = self.offset();
        self.at = 0;
        self.filled = 0;
        let segment_bytes = self.segment.header.segment_size.get();
        let until = self.limit.map_or(segment_bytes, |limit| {
            limit.since(self.segment.header.base).min(segment_bytes)
        });
        let left = until.saturating_sub(self.buffer_offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        if self.read_ahead == ReadAhead::Scan {
            self.ask_ahead();
        }
        while self.filled < wanted {
            let offset = self.buffer_offset + self.filled as u64;
            match self.file.read_at(&mut self.buffer[self.filled..wanted], offset) {
                // Shorter than its header says: the bytes that are not there fail the check.
                Ok(0) => break,
                Ok(bytes) => self.filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(IoFault::of("read", &self.segment.path)(error)),
            }
        }
        Ok(())
    }

    /// Keeps the device busy while this chunk is being checked.
    fn ask_ahead(&mut self) {
        let half_used = self.buffer_offset + READ_AHEAD_BYTES / 2 > self.ahead_until;
        if half_used && let Some(length) = NonZeroU64::new(READ_AHEAD_BYTES) {
            let from = self.ahead_until.max(self.buffer_offset);
            // A hint; the reads are right without it.
            let _ = rustix::fs::fadvise(&self.file, from, Some(length), Advice::WillNeed);
            self.ahead_until = from + READ_AHEAD_BYTES;
        }
    }

    /// Looks at every place from the position to the segment's end at which a frame could begin,
    /// and adds what it finds to `evidence`. Leaves the position at the segment's end.
    pub(crate) fn gather(&mut self, evidence: &mut Evidence) -> Result<(), IoFault> {
        loop {
            self.refill()?;
            let at_end = self.offset() + self.filled as u64
                >= self.segment.header.segment_size.get()
                || self.filled < self.buffer.len();
            // A frame may begin anywhere in the chunk; unless the segment ends here, stop where
            // the longest frame would no longer be whole and go on from there.
            let until = if at_end { self.filled } else { self.filled - FRAME_BYTES_MAX };
            self.gather_chunk(until, evidence);
            if at_end {
                return Ok(());
            }
        }
    }

    fn gather_chunk(&mut self, until: usize, evidence: &mut Evidence) {
        while self.at < until {
            let bytes = &self.buffer[self.at..self.filled];
            if bytes.get(..PAGE_BYTES) == Some(&ZERO_PAGE[..]) {
                self.at += PAGE_BYTES;
                continue;
            }
            let lsn = self.position();
            if let Some(view) = frame::find(bytes, lsn, self.expected) {
                evidence.durable = evidence.durable.max(view.durable_claim().unwrap_or(Lsn::ZERO));
                evidence.first_frame.get_or_insert(lsn);
                evidence.written_end = Some(view.header.end());
                self.at += view.header.span();
                continue;
            }
            let unit = &bytes[..FRAME_ALIGN.min(bytes.len())];
            if unit.iter().any(|&byte| byte != 0) {
                evidence.written_end = Some(lsn.plus(unit.len() as u64));
            }
            self.at += unit.len();
        }
        self.at = self.at.min(self.filled);
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use std::convert::Infallible;

    use super::ReadAhead;
    use crate::chain::Chain;
    use crate::lsn::SegmentSize;
    use crate::{Kind, Log, Lsn, Options, RecordType, Urgency};

    #[test]
    fn the_kernel_reads_ahead_where_nothing_more_is_appended() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.segment_bytes = SegmentSize::MIN;
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
        let record = RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };
        let mut end = Lsn::ZERO;
        while end.get() <= SegmentSize::MIN {
            match log.reserve(record, Urgency::Take, &[7; 4_000]) {
                Ok(reservation) => end = reservation.commit(),
                // The syncer is to catch up.
                Err(_) => std::thread::yield_now(),
            }
        }
        // The preparer may have looked before the tail entered the second segment: the sync wakes it.
        log.kick();
        while log.stats().segments_ahead == 0 {
            std::thread::yield_now();
        }
        log.seal().unwrap();
        drop(log);
        let chain = Chain::load_live(directory.path(), Lsn::ZERO).unwrap();
        let begun = chain.segments.iter().filter(|segment| segment.header.base < end).count();
        assert_eq!(begun, 2);
        assert!(chain.segments.len() > begun, "one was made ahead");
        for next in 1..=chain.segments.len() {
            let expected = if next < begun { ReadAhead::Kernel } else { ReadAhead::Scan };
            assert_eq!(ReadAhead::before(chain.segments.get(next)), expected, "before {next}");
        }
    }
}
