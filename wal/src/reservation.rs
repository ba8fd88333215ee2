//! The reservation: what the owner of a claim holds until it has decided.
//!
//! **Invariant:** every reservation is filled exactly once, by its `commit`, its `void` or its drop;
//! the only way around it is the end of the process.

use std::io::Write;

use crate::{append::Append, bell::Bell, frame::FrameHeader, lsn::Lsn};

/// Room in the log that holds a complete record but for its commit word.
///
/// Everything behind it waits for it to become durable, so it should be filled at once. Dropped
/// before [`decided`](Reservation::decided) it becomes a void frame; after it, the process aborts:
/// something visible would have no record.
#[must_use = "dropping a reservation makes it void"]
#[derive(Debug)]
pub struct Reservation<'a> {
    append: &'a Append,
    header: FrameHeader,
    crc: u32,
    decided: bool,
    /// Rung once it is filled: waking somebody is a system call, which has no place before that.
    then_ring: Option<&'a Bell>,
}

impl<'a> Reservation<'a> {
    /// Of a frame that is written and lacks its commit word only.
    #[inline]
    pub(crate) fn new(append: &'a Append, header: FrameHeader, crc: u32) -> Self {
        Self { append, header, crc, decided: false, then_ring: None }
    }

    /// Has `bell` rung once the record is filled.
    pub(crate) fn then_ring(&mut self, bell: &'a Bell) {
        self.then_ring = Some(bell);
    }
}

impl Reservation<'_> {
    /// Where the record stands.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.header.lsn
    }

    /// Where the record ends: what must become durable (or published) for it.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.header.end()
    }

    /// The change that the record describes is visible: from now on only `commit` is right.
    pub fn decided(&mut self) {
        self.decided = true;
    }

    /// Makes the record part of the log; returns its end.
    #[inline]
    pub fn commit(self) -> Lsn {
        let end = self.end();
        let reservation = std::mem::ManuallyDrop::new(self);
        reservation.fill();
        end
    }

    /// Gives the room up: it becomes a void frame that readers skip.
    pub fn void(self) {
        drop(self);
    }

    #[inline]
    fn fill(&self) {
        self.append.fill(&self.header, self.crc);
        self.then_ring.into_iter().for_each(Bell::ring);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.decided {
            let _ = writeln!(
                std::io::stderr(),
                "fatal: the record at {} describes a change that is visible, and was dropped",
                self.header.lsn
            );
            std::process::abort();
        }
        self.crc = self.append.write_void(&self.header);
        self.fill();
    }
}
