//! Reading a log in order without owning it: for tools, and for whoever follows a running server.
//!
//! A reader changes nothing and takes no lock. It yields whole frames in LSN order and stops in
//! one of two ways: `Ok(None)` at the end of what is written so far, after which reading again goes
//! on with what has come since; or an error that names the damage, after which
//! [`Reader::skip_damage`] goes on behind it.
//!
//! What counts as damage is decided as in recovery: a bad frame is damage if anything shows that
//! it was durable once, and the end of the log otherwise. A follower that knows the durable mark
//! sets it with [`Reader::set_durable`]; it is then never shown a record that a crash could still
//! take back, and asking again at the mark costs no system call: the directory is listed only when
//! a segment is read to its end and the next one was not known.
//!
//! The owner may remove old segments meanwhile. The one that is being read stays readable; if the
//! one behind it is gone as well, [`ReadError::Removed`] says where the log begins now.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::chain::{Chain, ChainError};
use crate::damage::Damage;
use crate::directory::{self, DirectoryError, IoFault};
use crate::frame::{FRAME_ALIGN, FrameHeader, FrameView, Record};
use crate::header::SEGMENT_HEADER_BYTES;
use crate::lsn::{Lsn, SegmentSize};
use crate::pieces::{Piece, Pieces, Standing};
use crate::scan::ReadFrom;
use crate::walk::{Stop, Walk, check_known};

/// Why there is no next record.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The directory cannot be used, or a system call failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Something is damaged; the reader stays in front of it.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// The position is not in the log: not the beginning of a frame, not there any more, or not
    /// there yet.
    #[error("no record can begin at LSN {lsn}; the log reaches from {first} to {end}")]
    NoSuchPosition {
        /// The position asked for.
        lsn: Lsn,
        /// Base of the first segment there is.
        first: Lsn,
        /// End of the last segment there is.
        end: Lsn,
    },
    /// The records from the position on were removed. The reader stays; [`Reader::seek`] to `first`
    /// goes on behind what is lost to it.
    #[error("the records at LSN {lsn} were removed; the log begins at LSN {first}")]
    Removed {
        /// The position asked for, or reached.
        lsn: Lsn,
        /// Base of the first segment there is.
        first: Lsn,
    },
    /// A crash took back records that this reader had already yielded. Read them again from `cut`;
    /// cannot happen below the durable mark.
    #[error("the log was cut at LSN {cut} by a restart, and records up to {read} had been read")]
    CutBehindReader {
        /// Where the log was cut.
        cut: Lsn,
        /// End of the last record that was yielded.
        read: Lsn,
    },
}

impl From<IoFault> for ReadError {
    fn from(fault: IoFault) -> Self {
        Self::Directory(fault.into())
    }
}

impl From<ChainError> for ReadError {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Directory(error) => Self::Directory(error),
            ChainError::Damage(damage) => Self::Damage(damage),
        }
    }
}

/// What a header is to a reader that is damaged or does not fit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Mode {
    /// The end of reading, as it is of recovery.
    Strict,
    /// Damage like any other, behind which reading goes on.
    Lenient,
}

/// A position in the log of a directory.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    /// `None` as long as the log has no segments.
    walk: Option<Walk>,
    /// End of the last frame that was yielded.
    read: Lsn,
    durable: Option<Lsn>,
    /// The end at which evidence was looked for already, so that polling an idle log is cheap.
    examined: Option<Lsn>,
    mode: Mode,
    /// What follows the piece being read; empty unless lenient.
    rest: VecDeque<Piece>,
    standing: Standing,
}

impl Reader {
    /// A reader at the first record that is there. A directory without a log reads as empty.
    ///
    /// # Errors
    /// A header that cannot be read, or a failed system call.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, ReadError> {
        Self::open_as(directory.into(), Mode::Strict)
    }

    /// A reader for looking at a log that recovery would refuse: a segment whose header is damaged,
    /// or that does not fit the ones before it, is one more [`Damage`], behind which
    /// [`Reader::skip_damage`] goes on at the next segment that can be read. Behind the last damage it
    /// follows the log like any reader, but segments that come and do not fit it does not see.
    ///
    /// # Errors
    /// A failed system call.
    pub fn open_lenient(directory: impl Into<PathBuf>) -> Result<Self, ReadError> {
        Self::open_as(directory.into(), Mode::Lenient)
    }

    fn open_as(directory: PathBuf, mode: Mode) -> Result<Self, ReadError> {
        let mut reader = Self {
            directory,
            walk: None,
            read: Lsn::ZERO,
            durable: None,
            examined: None,
            mode,
            rest: VecDeque::new(),
            standing: Standing::Frames,
        };
        reader.begin()?;
        Ok(reader)
    }

    /// Begins anew with the segments that are there now.
    fn begin(&mut self) -> Result<(), ReadError> {
        self.walk = match self.mode {
            Mode::Strict => self.first_walk()?,
            Mode::Lenient => {
                let Pieces { first, rest } = Pieces::load(&directory::list(&self.directory)?)?;
                self.rest = rest;
                self.standing = Standing::Frames;
                Walk::begin(first, ReadFrom::Cache)?
            }
        };
        self.limit_walk();
        self.read = self.walk.as_ref().map_or(Lsn::ZERO, Walk::position);
        self.examined = None;
        Ok(())
    }

    fn first_walk(&self) -> Result<Option<Walk>, ReadError> {
        let mut lost = None;
        loop {
            let chain = Chain::load_live(&self.directory, Lsn::ZERO)?;
            let first = chain.segments.first().map(|segment| segment.header.base);
            match Walk::begin(chain, ReadFrom::Cache) {
                // Removed just now. Others follow, so the same one cannot be lost twice.
                Err(fault) if fault.is_missing() && lost != first => lost = first,
                outcome => return Ok(outcome?),
            }
        }
    }

    /// The directory being read.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the next frame should begin.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.walk.as_ref().map_or(Lsn::ZERO, Walk::position)
    }

    /// Size of the log's segments, if it has any with a header that can be read.
    #[must_use]
    pub fn segment_size(&self) -> Option<SegmentSize> {
        let read = self.walk.iter().map(Walk::chain);
        let rest = self.rest.iter().map(|piece| &piece.chain);
        read.chain(rest).find_map(Chain::segment_size)
    }

    /// The segments that the reader knows of; those of the piece that it is reading, if lenient.
    #[must_use]
    pub fn segments(&self) -> &[crate::chain::Segment] {
        self.walk.as_ref().map_or(&[], |walk| &walk.chain().segments)
    }

    /// The segment in which the reader stands.
    #[must_use]
    pub fn segment(&self) -> Option<&crate::chain::Segment> {
        self.walk.as_ref().map(Walk::segment)
    }

    /// The segment in which the frames end that lead up to `lsn`, if it is among those known.
    #[must_use]
    pub fn segment_before(&self, lsn: Lsn) -> Option<&crate::chain::Segment> {
        // Within a header and at its end nothing of the segment has been read yet.
        let place = self.segment_size().map_or(lsn, |size| {
            if size.offset_of(lsn) <= SEGMENT_HEADER_BYTES { size.base_of(lsn) } else { lsn }
        });
        let mut segments = self.segments().iter();
        segments.find(|segment| segment.header.base < place && place <= segment.header.end())
    }

    /// Tells the reader that everything before `durable` is durable: it yields nothing from there
    /// on, and takes any bad frame before it for damage.
    pub fn set_durable(&mut self, durable: Lsn) {
        self.durable = Some(durable);
        self.limit_walk();
    }

    fn limit_walk(&mut self) {
        if let Some(walk) = &mut self.walk {
            walk.set_limit(self.durable);
        }
    }

    /// Goes to `lsn`, which must be the beginning or the end of a record.
    ///
    /// # Errors
    /// [`ReadError::Removed`] when it lies before the first segment, [`ReadError::NoSuchPosition`]
    /// when it lies behind the last one or is not aligned, [`ReadError::CutBehindReader`] when a
    /// restart cut the log before it; the reader then stands at the first record.
    pub fn seek(&mut self, lsn: Lsn) -> Result<(), ReadError> {
        self.begin()?;
        if self.mode == Mode::Lenient {
            return self.seek_in_pieces(lsn);
        }
        let Some(walk) = &mut self.walk else {
            return Err(ReadError::NoSuchPosition { lsn, first: Lsn::ZERO, end: Lsn::ZERO });
        };
        let segments = &walk.chain().segments;
        let end = segments.last().map_or(Lsn::ZERO, |segment| segment.header.end());
        let header = segments[0].header;
        let first = header.base;
        // Nothing was logged between the cut that the first header names and its segment.
        if lsn < first && lsn != header.prev_end {
            return Err(ReadError::Removed { lsn, first });
        }
        let lsn_there = lsn.max(first);
        if let Some(cut) = walk.chain().cut_behind_which_lies(lsn_there) {
            return Err(ReadError::CutBehindReader { cut, read: lsn });
        }
        let sought = if lsn == end { walk.seek_end() } else { walk.seek(lsn_there) };
        match sought {
            Ok(true) if lsn.is_aligned() => {
                self.read = self.position();
                Ok(())
            }
            Ok(_) => {
                self.begin()?;
                Err(ReadError::NoSuchPosition { lsn, first, end })
            }
            Err(fault) => Err(self.removed(lsn, fault)),
        }
    }

    /// Where the frame behind `lsn` stands or will stand, as far as the headers tell: the first of the
    /// next segment if `lsn` is where the log was cut before that, else `lsn` itself. Positions
    /// up to that one that are none of a frame mean the same place as `lsn`.
    #[must_use]
    pub fn frame_behind(&self, lsn: Lsn) -> Lsn {
        let next = self.segments().iter().find(|segment| segment.header.prev_end == lsn);
        let first_frame = next.map(|segment| segment.header.base.plus(SEGMENT_HEADER_BYTES));
        first_frame.map_or(lsn, |first_frame| first_frame.max(lsn))
    }

    fn seek_in_pieces(&mut self, lsn: Lsn) -> Result<(), ReadError> {
        let first = self.position();
        let mut end = first;
        loop {
            if let Some(walk) = &mut self.walk {
                if lsn.is_aligned() && walk.seek(lsn)? {
                    self.read = walk.position();
                    return Ok(());
                }
                end = walk.chain().segments.last().map_or(end, |segment| segment.header.end());
            }
            let Some(piece) = self.rest.pop_front() else {
                self.begin()?;
                return Err(ReadError::NoSuchPosition { lsn, first, end });
            };
            self.walk = Walk::begin(piece.chain, ReadFrom::Cache)?.or(self.walk.take());
        }
    }

    /// What a file that cannot be opened means to a reader at `lsn`.
    fn removed(&self, lsn: Lsn, fault: IoFault) -> ReadError {
        let listing = match directory::list(&self.directory) {
            Ok(listing) => listing,
            Err(error) => return error.into(),
        };
        match listing.segments.first() {
            Some(first) if fault.is_missing() && lsn < first.base => {
                ReadError::Removed { lsn, first: first.base }
            }
            _ => fault.into(),
        }
    }

    /// The next record of the caller's kinds.
    ///
    /// # Errors
    /// Damage at the position, which then stays; or a failed system call.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        let header = loop {
            match self.advance()? {
                Some(header) if header.kind.is_internal() => {}
                other => break other,
            }
        };
        Ok(self.view(header).map(|view| view.record()))
    }

    /// The next frame, the log's own included.
    ///
    /// # Errors
    /// As [`Reader::next_record`].
    pub fn next_frame(&mut self) -> Result<Option<FrameView<'_>>, ReadError> {
        let header = self.advance()?;
        Ok(self.view(header))
    }

    fn view(&self, header: Option<FrameHeader>) -> Option<FrameView<'_>> {
        self.walk.as_ref().zip(header).map(|(walk, header)| walk.view(header))
    }

    fn advance(&mut self) -> Result<Option<FrameHeader>, ReadError> {
        if self.standing == Standing::Frames && self.walk.is_none() {
            self.begin()?;
        }
        if self.standing != Standing::Frames || self.walk.is_none() {
            return self.end_of_piece();
        }
        loop {
            let Some(walk) = &mut self.walk else {
                return Ok(None);
            };
            if self.durable.is_some_and(|durable| walk.position() >= durable) {
                return Ok(None);
            }
            match walk.advance() {
                Ok(header) => {
                    return self.take(header).map(Some);
                }
                Err(Stop::Full) if !self.rest.is_empty() => return self.end_of_piece(),
                Err(Stop::Io(fault)) if fault.is_missing() => {
                    if !self.rest.is_empty() {
                        let lsn = walk.position();
                        return Err(self.removed(lsn, fault));
                    }
                    if !self.refresh()? {
                        return Err(fault.into());
                    }
                }
                Err(Stop::Io(fault)) => return Err(fault.into()),
                Err(Stop::Full) => {
                    if !self.refresh()? {
                        return Ok(None);
                    }
                }
                Err(Stop::Bad(reason)) => {
                    let damage = walk.damage(reason);
                    if walk.in_closed_epoch() || self.durable.is_some_and(|d| damage.lsn < d) {
                        return Err(damage.into());
                    }
                    if !self.rest.is_empty() {
                        return self.end_of_piece_or_damage(damage);
                    }
                    if !self.refresh()? {
                        return self.end_or_damage(damage);
                    }
                }
            }
        }
    }

    /// Behind a piece of a log that does not hold together.
    fn end_of_piece(&mut self) -> Result<Option<FrameHeader>, ReadError> {
        let Some(next) = self.rest.front() else {
            return Ok(None);
        };
        if self.standing == Standing::Frames {
            self.standing = Standing::Break(self.piece_end().unwrap_or(next.damage.lsn));
        }
        Err(next.damage.clone().into())
    }

    fn piece_end(&self) -> Option<Lsn> {
        let last = self.walk.as_ref()?.chain().segments.last()?;
        Some(last.header.end())
    }

    /// A bad frame in the last epoch of a piece. Where that epoch was cut is not known if the header
    /// behind the piece cannot be read: it is the end of the piece, unless something written follows.
    fn end_of_piece_or_damage(&mut self, damage: Damage) -> Result<Option<FrameHeader>, ReadError> {
        let Some(walk) = &self.walk else {
            return Ok(None);
        };
        let evidence = walk.evidence()?;
        let durable = walk.chain().durable_floor().max(evidence.durable);
        if damage.lsn < durable || evidence.first_frame.is_some() {
            return Err(damage.into());
        }
        self.end_of_piece()
    }

    /// Yields a whole frame, behind which the walk stands, if this version may read on behind it.
    fn take(&mut self, header: FrameHeader) -> Result<FrameHeader, ReadError> {
        if let Err(reason) = check_known(&header)
            && let Some(walk) = &mut self.walk
        {
            walk.seek(header.lsn)?;
            return Err(walk.damage(reason).into());
        }
        self.read = header.end();
        Ok(header)
    }

    /// A bad frame in the last epoch: the end, unless something shows that it was durable.
    fn end_or_damage(&mut self, damage: Damage) -> Result<Option<FrameHeader>, ReadError> {
        if self.durable.is_some() || self.examined == Some(damage.lsn) {
            return Ok(None);
        }
        let Some(walk) = &mut self.walk else {
            return Ok(None);
        };
        let durable = match walk.evidence() {
            Ok(evidence) => walk.chain().durable_floor().max(evidence.durable),
            // Only what is durable is removed while it is being read.
            Err(fault) if fault.is_missing() && fault.path == walk.segment().path => {
                walk.segment().header.end()
            }
            // One behind it was dead and went with a restart: the next call learns of it.
            Err(fault) if fault.is_missing() => return Ok(None),
            Err(fault) => return Err(fault.into()),
        };
        if damage.lsn >= durable {
            self.examined = Some(damage.lsn);
            return Ok(None);
        }
        // It may have been filled and become durable since the first look.
        match walk.advance() {
            Ok(header) => self.take(header).map(Some),
            Err(Stop::Io(fault)) => Err(fault.into()),
            Err(Stop::Full | Stop::Bad(_)) => Err(damage.into()),
        }
    }

    /// Looks for segments that have come since; `true` if reading may go on.
    fn refresh(&mut self) -> Result<bool, ReadError> {
        let Some(walk) = &mut self.walk else {
            return Ok(false);
        };
        let current = walk.segment().header;
        let lsn = walk.position();
        let mut chain = match Chain::load_live(&self.directory, current.base) {
            Ok(chain) => chain,
            // Named already, or of no use to whoever looks at a damaged log.
            Err(ChainError::Damage(_)) if self.mode == Mode::Lenient => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let Some(first) = chain.segments.first().map(|segment| segment.header) else {
            return Err(ReadError::NoSuchPosition { lsn, first: Lsn::ZERO, end: Lsn::ZERO });
        };
        if first.base > current.base {
            // The file was removed, and is still open here.
            let removed = ReadError::Removed { lsn, first: first.base };
            chain = chain.behind(walk.segment()).ok_or(removed)?;
        }
        let known = &walk.chain().segments;
        let behind = known.iter().position(|segment| segment.header.base == current.base);
        if behind.is_some_and(|index| known[index..] == chain.segments[..]) {
            return Ok(false);
        }
        let first = chain.segments[0].header;
        let next_epoch = chain.segments.iter().find(|s| s.header.epoch > current.epoch);
        if let Some(cut) = next_epoch.map(|segment| segment.header.prev_end)
            && cut < self.read
        {
            return Err(ReadError::CutBehindReader { cut, read: self.read });
        }
        let replaced = first != current;
        walk.replace_chain(chain, replaced)?;
        if !replaced && let Err(fault) = walk.seek(lsn) {
            return Err(self.removed(lsn, fault));
        }
        Ok(true)
    }

    /// Goes on behind the damage at which the reader stands: behind the frame if it is whole (and of
    /// a newer version), or else to the next whole frame, or to the next segment if this one has
    /// none; behind a damaged header, to the next segment that can be read. Returns the bytes skipped, or `None` when nothing
    /// readable follows; the reader then stays.
    ///
    /// # Errors
    /// A failed system call.
    pub fn skip_damage(&mut self) -> Result<Option<u64>, ReadError> {
        if let Standing::Break(behind) = self.standing {
            return self.skip_break(behind);
        }
        let piece_end = self.piece_end().filter(|_| !self.rest.is_empty());
        let Some(walk) = &mut self.walk else {
            return Ok(None);
        };
        let from = walk.position();
        self.examined = None;
        if let Ok(header) = walk.advance() {
            if check_known(&header).is_ok() {
                // It was filled since: nothing to skip.
                walk.seek(from)?;
                return Ok(Some(0));
            }
            return Ok(Some(header.span() as u64));
        }
        let target = match walk.next_whole_frame(from.plus(FRAME_ALIGN as u64)) {
            Ok(Some(target)) => target,
            Ok(None) => {
                let Some(end) = piece_end else {
                    return Ok(None);
                };
                self.standing = Standing::Break(end);
                return Ok(Some(end.since(from)));
            }
            Err(fault) => return Err(self.removed(from, fault)),
        };
        walk.seek(target)?;
        Ok(Some(target.since(from)))
    }

    /// Goes on behind what is wrong between two pieces; everything before `behind` is accounted for.
    fn skip_break(&mut self, behind: Lsn) -> Result<Option<u64>, ReadError> {
        let Some(piece) = self.rest.front() else {
            return Ok(None);
        };
        let readable = piece.chain.segments.first().map(|segment| segment.header.base);
        let next = readable.or(self.rest.get(1).map(|piece| piece.damage.lsn));
        let Some(to) = next else {
            return Ok(None);
        };
        let chain = self.rest.pop_front().map(|piece| piece.chain).unwrap_or_default();
        match Walk::begin(chain, ReadFrom::Cache)? {
            Some(walk) => {
                self.read = walk.position();
                self.walk = Some(walk);
                self.limit_walk();
                self.standing = Standing::Frames;
            }
            None => self.standing = Standing::Break(to),
        }
        Ok(Some(to.since(behind)))
    }
}
