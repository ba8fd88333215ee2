//! Writing a snapshot.

use std::fs::File;
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::Path;

use bincode::Encode;
use rustix::fs::Advice;
use wal::LockedDirectory;

use super::layout::{
    BLOCK_BYTES_FULL, BLOCK_HEADER_BYTES, BookingV1, ENTRY_BYTES_MAX, EventV1, FooterV1,
    HEADER_BYTES, KeyV1, Kind, LAYOUT, MAGIC, MAJOR, MINOR, UserV1,
};
use super::room::Room;
use super::{Snapshot, SnapshotError, Summary, file_name};
use crate::codec::subject_out;
use crate::domain::{BookingStatus, RowNumber, Timestamp};
use crate::image::{Booking, BookingPlace, Event, KeyEntry, StateHash, User};

/// After how many bytes the kernel is asked to begin writing them back, without waiting for it. The
/// log's syncs share the device: one sync of everything would keep them waiting, and so would a
/// sync of each part, since a growing file costs a commit of the file system's journal each time.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// Writes a snapshot into `directory` and publishes it under its name when all of it is on disk.
/// `left_free` bytes of the disk are left to others. `pace` is called after each block and can take
/// its time, or break off: then nothing is left and the answer is `None`.
///
/// # Errors
///
/// There is no room for it, or a system call failed. What was written is removed. If only the sync
/// of the directory failed, the snapshot is there under its name, but nobody knows whether the medium
/// has it: the directory says so from then on ([`LockedDirectory::check_names`]).
pub fn write(
    directory: &LockedDirectory,
    snapshot: &Snapshot,
    made_at: Timestamp,
    left_free: u64,
    mut pace: impl FnMut() -> ControlFlow<()>,
) -> Result<Option<Summary>, SnapshotError> {
    let room = Room::find(directory.path(), &snapshot.image, left_free)?;
    let path = directory.path().join(file_name(snapshot.lsn));
    let unfinished = path.with_extension("snap.tmp");
    let written = write_file(&unfinished, snapshot, made_at, room, &mut pace);
    let published = written.and_then(|written| {
        if written.is_some() {
            std::fs::rename(&unfinished, &path).map_err(SnapshotError::io("publish", &path))?;
            directory.sync()?;
        }
        Ok(written)
    });
    if !matches!(published, Ok(Some(_))) {
        // Whatever went wrong matters more than a file that the next checkpoint removes as well.
        let _ = std::fs::remove_file(&unfinished);
    }
    published
}

fn write_file(
    path: &Path,
    snapshot: &Snapshot,
    made_at: Timestamp,
    room: Room<'_>,
    pace: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<Summary>, SnapshotError> {
    let failed = || SnapshotError::io("write", path);
    let mut writer = Writer::begin(path, snapshot, made_at, room, pace).map_err(failed())?;
    match writer.image(snapshot) {
        Ok(state_hash) => {
            writer.file.sync_data().map_err(failed())?;
            let Snapshot { log, lsn, ref image } = *snapshot;
            let records = image.records();
            Ok(Some(Summary { log, lsn, records, made_at, state_hash, bytes: writer.bytes }))
        }
        Err(Stopped::ByPace) => Ok(None),
        Err(Stopped::ByError(error)) => Err(failed()(error)),
        Err(Stopped::WithoutRoom(error)) => Err(error),
    }
}

/// Why writing ended early.
enum Stopped {
    ByPace,
    ByError(io::Error),
    WithoutRoom(SnapshotError),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::ByError(error)
    }
}

struct Writer<'p> {
    file: File,
    room: Room<'p>,
    pace: &'p mut dyn FnMut() -> ControlFlow<()>,
    /// CRC of the header, which every block's begins with.
    seed: u32,
    index: u32,
    bytes: u64,
    /// Up to where writing back was begun.
    handed_over: u64,
    kind: Kind,
    /// Block header and payload of the block that is being filled, and what it is filled up to.
    block: Box<[u8]>,
    filled: usize,
    entries: u32,
}

impl<'p> Writer<'p> {
    fn begin(
        path: &Path,
        snapshot: &Snapshot,
        made_at: Timestamp,
        room: Room<'p>,
        pace: &'p mut dyn FnMut() -> ControlFlow<()>,
    ) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[12..14].copy_from_slice(&MAJOR.to_le_bytes());
        header[14..16].copy_from_slice(&MINOR.to_le_bytes());
        header[16..32].copy_from_slice(snapshot.log.as_bytes());
        header[32..40].copy_from_slice(&snapshot.lsn.get().to_le_bytes());
        header[40..48].copy_from_slice(&snapshot.image.records().to_le_bytes());
        header[48..56].copy_from_slice(&snapshot.image.newest().millis().to_le_bytes());
        header[56..64].copy_from_slice(&made_at.millis().to_le_bytes());
        let seed = crc32fast::hash(&header[12..]);
        header[8..12].copy_from_slice(&seed.to_le_bytes());
        // Never one that is there: a sync of it may have failed, and the next would not tell.
        let mut file = File::create_new(path)?;
        file.write_all(&header)?;
        Ok(Self {
            file,
            room,
            pace,
            seed,
            index: 0,
            bytes: HEADER_BYTES as u64,
            handed_over: 0,
            kind: Kind::Users,
            block: vec![0; BLOCK_HEADER_BYTES + BLOCK_BYTES_FULL + ENTRY_BYTES_MAX].into(),
            filled: BLOCK_HEADER_BYTES,
            entries: 0,
        })
    }

    fn image(&mut self, snapshot: &Snapshot) -> Result<StateHash, Stopped> {
        let (image, mut state_hash) = (&snapshot.image, StateHash::default());
        for user in image.users() {
            self.entry(Kind::Users, user_out(user))?;
            state_hash.add_user(&user.hashed());
        }
        for event in image.events() {
            self.entry(Kind::Event, event_out(event))?;
            state_hash.add_event(event.id, event.ticket_key, event.created_at, &event.details);
            for (row, booking) in event.bookings() {
                self.entry(Kind::Bookings, booking_out(row, booking))?;
                state_hash.add_booking(&booking.hashed(event.id.number, row));
            }
        }
        for (key, entry) in image.keys() {
            self.entry(Kind::Keys, key_out(key, entry))?;
        }
        let footer = FooterV1 {
            users: image.users().count() as u64,
            events: image.events().count() as u64,
            bookings: image.bookings(),
            keys: image.keys().count() as u64,
            state_hash: state_hash.get(),
        };
        self.entry(Kind::Footer, footer)?;
        self.end_block()?;
        Ok(state_hash)
    }

    fn entry(&mut self, kind: Kind, entry: impl Encode) -> Result<(), Stopped> {
        // An event begins a block, so that the bookings in a block are of one event.
        if kind != self.kind || kind == Kind::Event || self.filled >= BLOCK_BYTES_FULL {
            self.end_block()?;
            self.kind = kind;
        }
        // Into a slice: each field is a copy of a known length there, and a call in a `Vec`.
        self.filled += bincode::encode_into_slice(entry, &mut self.block[self.filled..], LAYOUT)
            .expect("an entry fits into a block, as asserted in `layout`");
        self.entries += 1;
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), Stopped> {
        if self.entries == 0 {
            return Ok(());
        }
        let block = &mut self.block[..self.filled];
        let length = u32::try_from(block.len() - BLOCK_HEADER_BYTES)
            .expect("bounded by the size of a block");
        block[4..8].copy_from_slice(&length.to_le_bytes());
        block[8..10].copy_from_slice(&(self.kind as u16).to_le_bytes());
        block[10..12].copy_from_slice(&[0; 2]);
        block[12..16].copy_from_slice(&self.entries.to_le_bytes());
        let crc = block_crc(self.seed, self.index, &block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all(block)?;
        self.bytes += block.len() as u64;
        self.filled = BLOCK_HEADER_BYTES;
        self.entries = 0;
        self.index += 1;
        self.room.written(self.bytes).map_err(Stopped::WithoutRoom)?;
        if self.bytes - self.handed_over >= WRITE_BACK_BYTES {
            self.begin_write_back();
        }
        match (self.pace)() {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stopped::ByPace),
        }
    }

    /// Asks the kernel to begin writing back what is behind `handed_over`. For pages that are dirty
    /// that is what the advice not to need them is expected to do on Linux; elsewhere, or if it
    /// is refused, the one sync at the end has more to do.
    fn begin_write_back(&mut self) {
        let length = NonZeroU64::new(self.bytes - self.handed_over);
        let _ = rustix::fs::fadvise(&self.file, self.handed_over, length, Advice::DontNeed);
        self.handed_over = self.bytes;
    }
}

/// The CRC of the block with this index, from its second field on.
pub(super) fn block_crc(seed: u32, index: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&index.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn place_out(place: Option<BookingPlace>) -> Option<(u32, u32)> {
    place.map(|BookingPlace { event, row }| (event.get(), row.get()))
}

pub(super) fn user_out(user: &User) -> UserV1 {
    UserV1 {
        number: user.id.number.get(),
        tag: user.id.tag.get(),
        email: user.email.as_str().to_owned(),
        name: user.name.as_str().to_owned(),
        created_at: user.created_at.millis(),
        updated_at: user.updated_at.millis(),
        deleted_at: user.deleted_at.map(Timestamp::millis),
        newest: place_out(user.newest),
    }
}

pub(super) fn event_out(event: &Event) -> EventV1 {
    let details = &event.details;
    let mut currency = [0; 3];
    currency.copy_from_slice(details.currency.code().as_bytes());
    EventV1 {
        number: event.id.number.get(),
        tag: event.id.tag.get(),
        ticket_key: event.ticket_key.reveal(),
        created_at: event.created_at.millis(),
        total_seats: details.total_seats,
        price: details.price.minor(),
        currency,
        name: details.name.as_str().to_owned(),
        artist: details.artist.as_str().to_owned(),
        venue: details.venue.as_str().to_owned(),
        date: details.date.to_string(),
    }
}

fn booking_out(row: RowNumber, booking: &Booking) -> BookingV1 {
    BookingV1 {
        row: row.get(),
        tag: booking.tag.get(),
        user: booking.user.get(),
        total: booking.total.minor(),
        created_at: booking.created_at.millis(),
        ttl_millis: booking.ttl_millis,
        status: match booking.status {
            BookingStatus::Pending => 0,
            BookingStatus::Confirmed => 1,
            BookingStatus::Cancelled => 2,
            BookingStatus::Expired => 3,
        },
        changed_at: booking.changed_at.millis(),
        made_at: booking.made_at.get(),
        earlier: place_out(booking.earlier),
        slots: booking.slots.as_slice().iter().map(|slot| slot.get()).collect(),
    }
}

pub(super) fn key_out(key: &str, entry: &KeyEntry) -> KeyV1 {
    let (subject, number, row) = subject_out(entry.subject);
    let KeyEntry { fingerprint, at, .. } = *entry;
    KeyV1 { key: key.to_owned(), fingerprint, subject, number, row, at: at.millis() }
}
