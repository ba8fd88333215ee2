//! Walking over the frames of a whole log, segment after segment, in LSN order.
//!
//! A walk stops at the first place where no frame is, and says why. It does not decide what that
//! means: that is [`crate::recovery`]'s and [`crate::reader`]'s business.

use crate::chain::{Chain, Segment};
use crate::damage::{Damage, Reason};
use crate::directory::IoFault;
use crate::frame::{FLAG_IGNORABLE, FLAGS_KNOWN, FrameHeader, FrameView};
use crate::header::{SEGMENT_HEADER_BYTES, segment_name};
use crate::lsn::Lsn;
use crate::scan::{Evidence, ReadAhead, ReadFrom, Scan, ScanFault};

/// Why a walk cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The frame at the position is bad; the reason names it.
    Bad(Reason),
    /// The last segment is full to its end, and no segment follows.
    Full,
    /// A system call failed.
    Io(IoFault),
}

/// A position in a chain of segments. The chain has at least one segment.
#[derive(Debug)]
pub(crate) struct Walk {
    chain: Chain,
    index: usize,
    scan: Scan,
    from: ReadFrom,
    /// Nothing at or beyond it need be read.
    limit: Option<Lsn>,
}

impl Walk {
    /// A walk from the first frame of the chain, or `None` if it has no segments.
    pub(crate) fn begin(chain: Chain, from: ReadFrom) -> Result<Option<Self>, IoFault> {
        if chain.segments.is_empty() {
            return Ok(None);
        }
        Self::begin_in(chain, 0, from).map(Some)
    }

    /// A walk from the first frame of the segment with this index, which must be there.
    pub(crate) fn begin_in(chain: Chain, index: usize, from: ReadFrom) -> Result<Self, IoFault> {
        let scan = Self::scan(&chain, index, from)?;
        Ok(Self { chain, index, scan, from, limit: None })
    }

    fn scan(chain: &Chain, index: usize, from: ReadFrom) -> Result<Scan, IoFault> {
        let ahead = ReadAhead::before(chain.segments.get(index + 1));
        // A new buffer rather than the old one: taking the old one out would leave the walk without
        // one if opening fails. Once per segment.
        Scan::open(&chain.segments[index], from, ahead, Vec::new())
    }

    /// Where the next frame should begin.
    pub(crate) fn position(&self) -> Lsn {
        self.scan.position()
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The segment of the position.
    pub(crate) fn segment(&self) -> &Segment {
        self.scan.segment()
    }

    /// Whether a later boot has closed the epoch of the position, so that every frame up to its
    /// cut must be whole.
    pub(crate) fn in_closed_epoch(&self) -> bool {
        let last = self.chain.segments.last();
        last.is_some_and(|last| last.header.epoch != self.segment().header.epoch)
    }

    /// Checks the next frame, also one of the log's own, and steps behind it. On a stop the
    /// position stays.
    pub(crate) fn advance(&mut self) -> Result<FrameHeader, Stop> {
        while self.segment().cut == Some(self.position())
            || self.position() == self.segment().header.end()
        {
            if self.index + 1 == self.chain.segments.len() {
                return Err(Stop::Full);
            }
            self.open(self.index + 1).map_err(Stop::Io)?;
        }
        self.scan.advance().map_err(|fault| match fault {
            ScanFault::Frame(fault) => Stop::Bad(Reason::Frame(fault)),
            ScanFault::CrossesCut { end, cut } => Stop::Bad(Reason::CrossesCut { end, cut }),
            ScanFault::Io(fault) => Stop::Io(fault),
        })
    }

    /// Whether a whole frame begins at the position, which stays.
    pub(crate) fn stands_at_a_frame(&mut self) -> Result<bool, IoFault> {
        self.scan.stands_at_a_frame()
    }

    /// The frame that [`Walk::advance`] returned last, with its payload.
    pub(crate) fn view(&self, header: FrameHeader) -> FrameView<'_> {
        self.scan.view(header)
    }

    /// Opens the segment with this index, at its first frame.
    fn open(&mut self, index: usize) -> Result<(), IoFault> {
        self.scan = Self::scan(&self.chain, index, self.from)?;
        self.scan.set_limit(self.limit);
        self.index = index;
        Ok(())
    }

    /// Frames end at or before `limit`, or are not asked for: no bytes beyond it are read.
    pub(crate) fn set_limit(&mut self, limit: Option<Lsn>) {
        self.limit = limit;
        self.scan.set_limit(limit);
    }

    /// Goes to `lsn`, which must be a position at which a frame can begin in one of the segments.
    /// Returns `false`, and stays, when it lies in none of them.
    pub(crate) fn seek(&mut self, lsn: Lsn) -> Result<bool, IoFault> {
        let Some(index) = self.chain.index_of(lsn) else {
            return Ok(false);
        };
        if index != self.index {
            self.open(index)?;
        }
        let first = self.segment().header.base.plus(SEGMENT_HEADER_BYTES);
        self.scan.seek(lsn.max(first));
        Ok(true)
    }

    /// Goes to the end of the last segment. Returns `false` if its frames do not lead up to it: no
    /// frame stands there by which reading on would notice.
    pub(crate) fn seek_end(&mut self) -> Result<bool, IoFault> {
        self.open(self.chain.segments.len() - 1)?;
        self.scan.set_limit(None);
        let end = self.segment().header.end();
        let mut leads_up = true;
        while leads_up && self.position() < end {
            match self.scan.advance() {
                Ok(_) => {}
                Err(ScanFault::Frame(_) | ScanFault::CrossesCut { .. }) => leads_up = false,
                Err(ScanFault::Io(fault)) => return Err(fault),
            }
        }
        self.scan.set_limit(self.limit);
        Ok(leads_up)
    }

    /// What lies behind the position, in the segments of its epoch. The position stays.
    pub(crate) fn evidence(&self) -> Result<Evidence, IoFault> {
        let mut evidence = Evidence::default();
        let epoch = self.segment().header.epoch;
        let mut buffer = Vec::new();
        // The segment of the position has been read already; the others have not.
        let mut from = ReadFrom::Cache;
        for segment in &self.chain.segments[self.index..] {
            if segment.header.epoch != epoch {
                break;
            }
            let mut scan = Scan::open(segment, from, ReadAhead::Scan, buffer)?;
            if segment.header.base == self.segment().header.base {
                scan.seek(self.position());
            }
            scan.gather(&mut evidence)?;
            buffer = scan.into_buffer();
            from = self.from;
        }
        Ok(evidence)
    }

    /// The place where the walk stands, with a reason.
    pub(crate) fn damage(&self, reason: Reason) -> Damage {
        self.damage_at(self.position(), reason)
    }

    /// A place in the segment in which the walk stands, with a reason.
    pub(crate) fn damage_at(&self, lsn: Lsn, reason: Reason) -> Damage {
        let segment = self.segment();
        let offset = lsn.since(segment.header.base);
        Damage { path: segment.path.clone(), offset, lsn, reason }
    }

    /// The damage of a log that should go on behind its last segment.
    pub(crate) fn log_ends(&self) -> Damage {
        self.damage(Reason::LogEnds { expected: segment_name(self.segment().header.end()) })
    }

    /// Takes over a chain that was read later, whose first segment is the one of the position.
    /// `reopen` goes to the first frame of that segment's file as it is now.
    pub(crate) fn replace_chain(&mut self, chain: Chain, reopen: bool) -> Result<(), IoFault> {
        self.chain = chain;
        self.index = 0;
        if reopen {
            self.open(0)?;
        }
        self.scan.set_cut(self.chain.segments[0].cut);
        Ok(())
    }

    /// The first place at or after `from` at which reading can go on: the next whole frame of the
    /// segment, or else the cut at which the walk leaves it. `None` when neither is known.
    pub(crate) fn next_whole_frame(&self, from: Lsn) -> Result<Option<Lsn>, IoFault> {
        let segment = self.segment();
        let limit = segment.cut.unwrap_or(segment.header.end());
        let mut evidence = Evidence::default();
        if from < limit {
            let mut scan = Scan::open(segment, ReadFrom::Cache, ReadAhead::Scan, Vec::new())?;
            scan.seek(from);
            scan.gather(&mut evidence)?;
        }
        Ok(evidence.first_frame.filter(|&frame| frame < limit).or(segment.cut))
    }
}

/// Refuses frames that this version may not skip and does not know.
pub(crate) fn check_known(header: &FrameHeader) -> Result<(), Reason> {
    let kind = header.kind;
    let skippable = header.flags & FLAG_IGNORABLE != 0;
    if header.flags & !FLAGS_KNOWN == 0
        && (skippable || !kind.is_internal() || kind.is_known_internal())
    {
        Ok(())
    } else {
        Err(Reason::NewerFrame { kind: kind.get(), flags: header.flags })
    }
}
