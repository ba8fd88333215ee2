//! Which segment files a log has, and the removal of its oldest.
//!
//! **Invariant:** at any moment, and after a crash at any moment, the files are a contiguous run of
//! segments that ends with the newest; none that holds a byte at or beyond `durable`, or is mapped,
//! was ever removed. So the rest is a log: its headers check out against each other, the first
//! one's link to what is gone is only a position, and the next boot finds the same end.
//!
//! Files go oldest first, and each name is gone from the medium before the next one goes. After a
//! failed sync of the directory, whoever asked for it, no further file is removed, since nobody
//! knows which names the medium still has.
//!
//! The next boot's removal of segments made ahead (last one first, above the new base) cannot meet
//! this one: the new base is at or behind the cut, the cut is at or behind `durable`, and this one
//! stays below `durable`. The segment at the new base, which may be the last one left, is replaced
//! by a rename and so always there.
//!
//! The list is kept in memory from the headers that recovery read, so asking for it costs no system
//! call. Readers need no protection: a file that one has open stays readable, and it notices the
//! absence of the next one (see [`crate::reader`]).

#[cfg(not(booking_loom))]
use std::{collections::VecDeque, fs, io, sync::PoisonError};

#[cfg(not(booking_loom))]
use crate::{
    directory::{IoFault, LockedDirectory},
    header::segment_name,
    sync::{Mutex, MutexGuard},
};
use crate::{header::SegmentHeader, lsn::Lsn};

/// A segment file of a log in use.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SegmentFacts {
    /// Position of its first byte.
    pub base: Lsn,
    /// Length of the file.
    pub bytes: u64,
    /// The boot that made it.
    pub epoch: u32,
    /// When it was made, in milliseconds since the Unix epoch. Frames in it are younger.
    pub created_ms: u64,
}

impl SegmentFacts {
    /// Position behind its last byte.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.base.plus(self.bytes)
    }
}

impl From<&SegmentHeader> for SegmentFacts {
    fn from(header: &SegmentHeader) -> Self {
        Self {
            base: header.base,
            bytes: header.segment_size.get(),
            epoch: header.epoch,
            created_ms: header.created_ms,
        }
    }
}

/// What a removal did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Removed {
    /// Files removed.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
    /// Base of the first segment there is now.
    pub first: Lsn,
}

/// How many of the segments that end at `ends`, in rising order, may go when nothing below `floor`
/// is needed: those that end at or below it, but never the last one.
pub fn removable(ends: impl ExactSizeIterator<Item = Lsn>, floor: Lsn) -> usize {
    let all_but_last = ends.len().saturating_sub(1);
    ends.take(all_but_last).take_while(|&end| end <= floor).count()
}

/// The files of a log in use.
#[cfg(not(booking_loom))]
#[derive(Debug)]
pub(crate) struct Files {
    /// By rising base. Held for a moment only.
    list: Mutex<VecDeque<SegmentFacts>>,
    /// Held during a removal, so that two do not mix.
    removal: Mutex<()>,
}

#[cfg(not(booking_loom))]
impl Files {
    pub(crate) fn new(staying: &[SegmentHeader]) -> Self {
        let list = staying.iter().map(SegmentFacts::from).collect();
        Self { list: Mutex::new(list), removal: Mutex::new(()) }
    }

    pub(crate) fn push(&self, header: &SegmentHeader) {
        self.lock_list().push_back(header.into());
    }

    pub(crate) fn list(&self) -> Vec<SegmentFacts> {
        self.lock_list().iter().copied().collect()
    }

    /// Removes what lies below `floor`, which must be at most `durable` and the base of the first
    /// mapped segment.
    pub(crate) fn remove_below(
        &self,
        floor: Lsn,
        directory: &LockedDirectory,
    ) -> Result<Removed, IoFault> {
        let _alone = self.removal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = Removed { files: 0, bytes: 0, first: Lsn::ZERO };
        loop {
            let oldest = {
                let list = self.lock_list();
                removed.first = list.front().map_or(Lsn::ZERO, |segment| segment.base);
                let count = removable(list.iter().map(SegmentFacts::end), floor);
                list.front().copied().filter(|_| count > 0)
            };
            let Some(oldest) = oldest else {
                return Ok(removed);
            };
            directory.check_names()?;
            let path = directory.path().join(segment_name(oldest.base));
            match fs::remove_file(&path) {
                Ok(()) => {}
                // Somebody else's doing; the name must be gone from the medium all the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(IoFault::of("remove", &path)(error)),
            }
            self.lock_list().pop_front();
            directory.sync()?;
            removed.files += 1;
            removed.bytes += oldest.bytes;
        }
    }

    fn lock_list(&self) -> MutexGuard<'_, VecDeque<SegmentFacts>> {
        // No panic can leave the queue half-changed.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_at_or_below_the_floor_may_go_and_never_the_last() {
        let check = |ends: &[u64], floor: u64, expected: usize| {
            let ends = ends.iter().copied().map(Lsn::new);
            assert_eq!(removable(ends, Lsn::new(floor)), expected, "floor {floor}");
        };
        check(&[], 100, 0);
        check(&[10], 100, 0);
        check(&[10, 20, 30], 9, 0);
        check(&[10, 20, 30], 10, 1);
        check(&[10, 20, 30], 19, 1);
        check(&[10, 20, 30], 20, 2);
        check(&[10, 20, 30], 1000, 2);
    }
}
