//! A log that does not hold together, as the pieces that do.
//!
//! **Invariant:** each piece is a chain in the sense of [`crate::chain`], except that its first file
//! may be shorter or longer than a segment; between two pieces stands what is wrong there.
//!
//! Only for looking at a damaged log: recovery refuses one. A segment whose header cannot be read,
//! that is not what its name says or that is of another log, holds no frame that could be told from
//! chance, and is left out. One that is whole in itself and only does not follow the one before it
//! begins a piece of its own, and so does the first one behind something that was left out.

use std::collections::VecDeque;

use crate::chain::{
    Chain, ChainError, ChainFault, Segment, check_follows, check_length, damage, read_header,
};
use crate::damage::{Damage, Reason};
use crate::directory::{Listing, SegmentFile};
use crate::header::SegmentHeader;
use crate::lsn::Lsn;

/// What is wrong at a place, and the segments from there on that hold together.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) damage: Damage,
    /// Empty if the segment behind this one is damaged as well, or if this one is the last.
    pub(crate) chain: Chain,
}

/// All of a log.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// Up to the first damage.
    pub(crate) first: Chain,
    pub(crate) rest: VecDeque<Piece>,
}

impl Pieces {
    /// Reads all headers of a listing.
    ///
    /// # Errors
    /// A failed system call; damage is not an error here.
    pub(crate) fn load(listing: &Listing) -> Result<Self, ChainError> {
        let mut pieces = Self::default();
        for file in &listing.segments {
            match read_header(file) {
                Ok((header, length)) => pieces.add(file, header, length),
                Err(ChainError::Damage(damage)) => pieces.leave_out(damage),
                Err(error @ ChainError::Directory(_)) => return Err(error),
            }
        }
        Ok(pieces)
    }

    fn add(&mut self, file: &SegmentFile, header: SegmentHeader, length: u64) {
        let known = self.last_segment().map(|segment| segment.header);
        let foreign = known.and_then(|known| match check_follows(&known, &header) {
            Err(fault @ (ChainFault::OtherLog { .. } | ChainFault::OtherSize { .. })) => {
                Some(fault)
            }
            _ => None,
        });
        if let Some(fault) = foreign {
            return self.leave_out(damage(file, Reason::Chain(fault)));
        }
        let last = self.rest.back_mut().map_or(&mut self.first, |piece| &mut piece.chain);
        let follows = match last.segments.last() {
            Some(previous) => check_follows(&previous.header, &header),
            None => Ok(()),
        };
        let segment = Segment { header, path: file.path.clone(), cut: None };
        match check_length(&header, length).and(follows) {
            Ok(()) => {
                if let Some(previous) = last.segments.last_mut() {
                    previous.cut = Some(header.prev_end);
                }
                last.segments.push(segment);
            }
            Err(fault) => {
                let damage = damage(file, Reason::Chain(fault));
                self.rest.push_back(Piece { damage, chain: Chain { segments: vec![segment] } });
            }
        }
    }

    fn leave_out(&mut self, damage: Damage) {
        self.rest.push_back(Piece { damage, chain: Chain::default() });
    }

    fn last_segment(&self) -> Option<&Segment> {
        let chains = self.rest.iter().rev().map(|piece| &piece.chain);
        chains.chain([&self.first]).find_map(|chain| chain.segments.last())
    }
}

/// Where the reading of pieces stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Among the frames of a piece.
    Frames,
    /// Behind a piece, at what is wrong there; everything before this position is accounted for.
    Break(Lsn),
}
