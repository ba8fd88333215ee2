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
//! take back.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::chain::{Chain, ChainError};
use crate::damage::Damage;
use crate::directory::{self, DirectoryError, IoFault};
use crate::frame::{FRAME_ALIGN, FrameHeader, FrameView, Record};
use crate::lsn::Lsn;
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
}

impl Reader {
    /// A reader at the first record that is there. A directory without a log reads as empty.
    ///
    /// # Errors
    /// A header that cannot be read, or a failed system call.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, ReadError> {
        let mut reader = Self {
            directory: directory.into(),
            walk: None,
            read: Lsn::ZERO,
            durable: None,
            examined: None,
        };
        reader.begin()?;
        Ok(reader)
    }

    /// Begins anew with the segments that are there now.
    fn begin(&mut self) -> Result<(), ReadError> {
        let chain = Chain::load(&directory::list(&self.directory)?)?;
        self.walk = Walk::begin(chain, ReadFrom::Cache)?;
        self.read = self.walk.as_ref().map_or(Lsn::ZERO, Walk::position);
        self.examined = None;
        Ok(())
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

    /// The segments that the reader knows of.
    #[must_use]
    pub fn segments(&self) -> &[crate::chain::Segment] {
        self.walk.as_ref().map_or(&[], |walk| &walk.chain().segments)
    }

    /// Tells the reader that everything before `durable` is durable: it yields nothing from there
    /// on, and takes any bad frame before it for damage.
    pub fn set_durable(&mut self, durable: Lsn) {
        self.durable = Some(durable);
    }

    /// Goes to `lsn`, which must be the beginning or the end of a record.
    ///
    /// # Errors
    /// [`ReadError::NoSuchPosition`] when it lies outside the segments or is not aligned; the
    /// reader then stands at the first record.
    pub fn seek(&mut self, lsn: Lsn) -> Result<(), ReadError> {
        self.begin()?;
        let mut found = false;
        let (mut first, mut end) = (Lsn::ZERO, Lsn::ZERO);
        if let Some(walk) = &mut self.walk {
            found = lsn.is_aligned() && walk.seek(lsn)?;
            let segments = &walk.chain().segments;
            first = segments.first().map_or(first, |segment| segment.header.base);
            end = segments.last().map_or(end, |segment| segment.header.end());
        }
        if !found {
            return Err(ReadError::NoSuchPosition { lsn, first, end });
        }
        self.read = self.position();
        Ok(())
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
        if self.walk.is_none() {
            self.begin()?;
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
                    check_known(&header).map_err(|reason| walk.damage_at(header.lsn, reason))?;
                    self.read = header.end();
                    return Ok(Some(header));
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
                    if !self.refresh()? {
                        return self.end_or_damage(damage);
                    }
                }
            }
        }
    }

    /// A bad frame in the last epoch: the end, unless something shows that it was durable.
    fn end_or_damage(&mut self, damage: Damage) -> Result<Option<FrameHeader>, ReadError> {
        if self.durable.is_some() || self.examined == Some(damage.lsn) {
            return Ok(None);
        }
        let Some(walk) = &mut self.walk else {
            return Ok(None);
        };
        let durable = walk.chain().durable_floor().max(walk.evidence()?.durable);
        if damage.lsn >= durable {
            self.examined = Some(damage.lsn);
            return Ok(None);
        }
        // It may have been filled and become durable since the first look.
        match walk.advance() {
            Ok(header) => {
                check_known(&header).map_err(|reason| walk.damage_at(header.lsn, reason))?;
                self.read = header.end();
                Ok(Some(header))
            }
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
        let mut listing = directory::list(&self.directory)?;
        listing.segments.retain(|segment| segment.base >= current.base);
        let chain = Chain::load(&listing)?;
        let known = &walk.chain().segments;
        let behind = known.iter().position(|segment| segment.header.base == current.base);
        if behind.is_some_and(|index| known[index..] == chain.segments[..]) {
            return Ok(false);
        }
        let Some(first) = chain.segments.first().filter(|s| s.header.base == current.base) else {
            let first = chain.segments.first().map_or(Lsn::ZERO, |s| s.header.base);
            return Err(ReadError::NoSuchPosition { lsn: walk.position(), first, end: first });
        };
        let next_epoch = chain.segments.iter().find(|s| s.header.epoch > current.epoch);
        if let Some(cut) = next_epoch.map(|segment| segment.header.prev_end)
            && cut < self.read
        {
            return Err(ReadError::CutBehindReader { cut, read: self.read });
        }
        let replaced = first.header != current;
        let position = walk.position();
        walk.replace_chain(chain, replaced)?;
        if !replaced {
            walk.seek(position)?;
        }
        Ok(true)
    }

    /// Goes on behind the damage at which the reader stands: to the next whole frame, or to the
    /// next segment if this one has none. Returns the bytes skipped, or `None` when nothing
    /// readable follows; the reader then stays.
    ///
    /// # Errors
    /// A failed system call.
    pub fn skip_damage(&mut self) -> Result<Option<u64>, ReadError> {
        let Some(walk) = &mut self.walk else {
            return Ok(None);
        };
        let from = walk.position();
        let target = walk.next_whole_frame(from.plus(FRAME_ALIGN as u64))?;
        let Some(target) = target else {
            return Ok(None);
        };
        walk.seek(target)?;
        self.examined = None;
        Ok(Some(target.since(from)))
    }
}
