//! Where reading begins: at the beginning of a log, or at the position of a snapshot.
//!
//! **Invariant:** what is returned stands where a frame begins or the log's frames end, and nothing
//! before it was looked at beyond the headers, unless there is no other way to tell an empty tail
//! from a wrong position: then the frames before it in its own segment are walked over.
//!
//! | the position is | reading begins |
//! |---|---|
//! | a segment's base, or the end of its header | at the segment's first frame; the log so far ends where the header says that it was cut |
//! | where a closed epoch was cut | at the next epoch's first frame |
//! | where a whole frame begins | there |
//! | where a frame ends, and no whole one begins | there: the tail is empty, or torn |
//! | before the first segment, and not the cut that its header names | refused: removed |
//! | within a header or a frame | refused |
//! | behind a cut, or behind the end of what is whole in its segment | refused: damaged, since the position was durable |
//!
//! A whole frame at the position settles it, because its own address is under its checksum. What
//! was logged before the position is the snapshot's business, and damage there is not looked for.

use crate::chain::{Chain, Segment};
use crate::damage::{Damage, Reason};
use crate::directory::IoFault;
use crate::frame::Kind;
use crate::header::{Link, SEGMENT_HEADER_BYTES};
use crate::lsn::Lsn;
use crate::scan::ReadFrom;
use crate::walk::{Stop, Walk};

/// A walk at the place to begin, and what is known of the log before it.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) walk: Walk,
    /// Where the log ends if no frame follows.
    pub(crate) end: Lsn,
    /// Whether the log was closed in order if no frame follows.
    pub(crate) clean: bool,
}

/// Why reading cannot begin at a position.
#[derive(Debug)]
pub(crate) enum StartFault {
    /// It lies before the log's first segment, which begins here.
    Removed { first: Lsn },
    /// It lies within the header or the frame that begins here.
    Within { begins: Lsn },
    /// What was durable before it is not there.
    Damaged(Damage),
    /// A system call failed.
    Io(IoFault),
}

impl From<IoFault> for StartFault {
    fn from(fault: IoFault) -> Self {
        Self::Io(fault)
    }
}

/// Goes to `start`; `None` if the chain has no segments.
pub(crate) fn begin(chain: Chain, start: Lsn, from: ReadFrom) -> Result<Option<Start>, StartFault> {
    let Some(first) = chain.segments.first().map(|segment| segment.header) else {
        return Ok(None);
    };
    if start < first.base && start != first.prev_end {
        return Err(StartFault::Removed { first: first.base });
    }
    let start = start.max(first.base);
    // Behind the last segment there is nothing; how far that one goes says what is missing.
    let index = chain.index_of(start).unwrap_or(chain.segments.len() - 1);
    let header = chain.segments[index].header;
    let first_frame = header.base.plus(SEGMENT_HEADER_BYTES);
    let known = known_end(&chain, index, start);
    let mut walk = Walk::begin_in(chain, index, from)?;
    if let Some((end, clean)) = known {
        if start > first_frame {
            walk.seek(start)?;
        }
        return Ok(Some(Start { walk, end, clean }));
    }
    if start < first_frame {
        return Err(StartFault::Within { begins: header.base });
    }
    if let Some(cut) = walk.segment().cut.filter(|&cut| cut < start) {
        return Err(StartFault::Damaged(walk.damage_at(cut, Reason::Cut)));
    }
    if start < header.end() && start.is_aligned() {
        walk.seek(start)?;
        if walk.stands_at_a_frame()? {
            return Ok(Some(Start { walk, end: start, clean: false }));
        }
        walk.seek(first_frame)?;
    }
    let clean = walk_up_to(&mut walk, start)?;
    Ok(Some(Start { walk, end: start, clean }))
}

/// End of the log before `start`, and whether it was closed there, where headers alone tell it.
fn known_end(chain: &Chain, index: usize, start: Lsn) -> Option<(Lsn, bool)> {
    let Segment { header, cut, .. } = &chain.segments[index];
    if start == header.base || start == header.base.plus(SEGMENT_HEADER_BYTES) {
        // Nothing lies before the first segment of a log, so nothing can be missing there.
        let clean = header.base == Lsn::ZERO || closed_before(header.link);
        return Some((header.prev_end, clean));
    }
    let next = chain.segments.get(index + 1)?;
    (*cut == Some(start)).then(|| (start, closed_before(next.header.link)))
}

fn closed_before(link: Link) -> bool {
    match link {
        Link::FirstOfEpoch { clean_end_before } => clean_end_before,
        Link::Continues => false,
    }
}

/// Walks from the segment's first frame to `start`, which must be where one ends. Returns whether
/// that one is a seal.
fn walk_up_to(walk: &mut Walk, start: Lsn) -> Result<bool, StartFault> {
    let mut sealed = false;
    while walk.position() < start {
        match walk.advance() {
            Ok(header) if walk.position() > start => {
                return Err(StartFault::Within { begins: header.lsn });
            }
            Ok(header) => sealed = header.kind == Kind::SEAL,
            Err(Stop::Io(fault)) => return Err(fault.into()),
            Err(Stop::Full) => return Err(StartFault::Damaged(walk.log_ends())),
            Err(Stop::Bad(reason)) => return Err(StartFault::Damaged(walk.damage(reason))),
        }
    }
    Ok(sealed)
}
