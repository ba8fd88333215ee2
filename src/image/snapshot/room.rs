//! Whether a snapshot fits on the disk beside the log.
//!
//! The log takes its space a segment at a time, ahead of need, and refuses bookings once it cannot
//! have one. So a snapshot is begun, and gone on with, only while what is free covers the rest of it
//! and leaves as much as the caller says: whatever the log takes meanwhile, it is the snapshot that
//! gives way. What a quota still allows does not show here; a quota belongs on neither of them.

use std::path::Path;

use bincode::Encode;
use bincode::enc::write::SizeWriter;
use rustix::fs::statvfs;

use super::SnapshotError;
use super::layout::{
    BLOCK_BYTES_FULL, BLOCK_HEADER_BYTES, BOOKING_BYTES_MAX, FooterV1, HEADER_BYTES, LAYOUT,
    SLOT_BYTES,
};
use super::write::{event_out, key_out, user_out};
use crate::image::{Booking, Image};

/// How many of its segments the log must still find room for beside a snapshot: the one that it may
/// be making now, and the next one, which it begins when it enters that.
pub const SEGMENTS_LEFT_FREE: u64 = 2;
/// What is written between two looks at what is free.
const BYTES_PER_LOOK: u64 = 1 << 20;

/// The room for one snapshot.
pub(super) struct Room<'d> {
    directory: &'d Path,
    /// Bytes of the whole file; a little more for its last block.
    needed: u64,
    left_free: u64,
    look_again_at: u64,
}

impl<'d> Room<'d> {
    /// Makes sure that there is room for a snapshot of `image`.
    pub(super) fn find(
        directory: &'d Path,
        image: &Image,
        left_free: u64,
    ) -> Result<Self, SnapshotError> {
        let mut room = Self { directory, needed: bytes_of(image), left_free, look_again_at: 0 };
        room.written(0)?;
        Ok(room)
    }

    /// Makes sure that there still is room for the rest, so many bytes having been written.
    pub(super) fn written(&mut self, bytes: u64) -> Result<(), SnapshotError> {
        if bytes < self.look_again_at {
            return Ok(());
        }
        self.look_again_at = bytes + BYTES_PER_LOOK;
        let needed = self.needed.saturating_sub(bytes);
        let found = statvfs(self.directory).map_err(|errno| {
            SnapshotError::io("look for space in", self.directory)(errno.into())
        })?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        // A file system of no size at all does not tell.
        if found.f_blocks == 0 || free >= needed.saturating_add(self.left_free) {
            return Ok(());
        }
        let directory = self.directory.to_owned();
        Err(SnapshotError::NoRoom { directory, needed, left_free: self.left_free, free })
    }
}

/// The length of the file that holds `image`, or a little more.
fn bytes_of(image: &Image) -> u64 {
    let mut entries = Entries::default();
    image.users().for_each(|user| entries.add(user_out(user)));
    for event in image.events() {
        entries.add(event_out(event));
        event.bookings().for_each(|(_, booking)| entries.add_booking(booking));
    }
    image.keys().for_each(|(key, entry)| entries.add(key_out(key, entry)));
    entries.add(FooterV1::default());
    // Full blocks; beside them the last one of each kind, and two for each event.
    let blocks = entries.bytes() / BLOCK_BYTES_FULL as u64 + 2 * image.events().count() as u64 + 4;
    HEADER_BYTES as u64 + entries.bytes() + blocks * BLOCK_HEADER_BYTES as u64
}

#[derive(Default)]
struct Entries(SizeWriter);

impl Entries {
    fn add(&mut self, entry: impl Encode) {
        bincode::encode_into_writer(entry, &mut self.0, LAYOUT)
            .expect("counting bytes cannot fail");
    }

    /// There are so many of them that encoding them all would take as long as writing them.
    fn add_booking(&mut self, booking: &Booking) {
        self.0.bytes_written += BOOKING_BYTES_MAX + SLOT_BYTES * booking.slots.as_slice().len();
    }

    const fn bytes(&self) -> u64 {
        self.0.bytes_written as u64
    }
}
