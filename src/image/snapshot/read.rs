//! Reading a snapshot: nothing is believed before it is checked.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use bincode::Decode;
use rustix::fs::{Advice, fadvise};
use uuid::Uuid;
use wal::Lsn;

use super::layout::{
    BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, BookingV1, EventV1, FooterV1, HEADER_BYTES, KeyV1, Kind,
    LAYOUT, MAGIC, MAJOR, UserV1,
};
use super::write::block_crc;
use super::{Snapshot, SnapshotError, Summary};
use crate::codec::subject_in;
use crate::domain::{
    Amount, BookingStatus, Currency, DATE_BYTES_MAX, EVENTS_MAX, EventDetails, EventId,
    EventNumber, KEY_CHARS_MAX, ROWS_PER_EVENT_MAX, RowNumber, SEATS_PER_EVENT_MAX, SlotIndex,
    Slots, TICKETS_MAX, Tag, TicketKey, Timestamp, USERS_MAX, UserId, UserNumber,
};
use crate::image::{
    Booking, BookingPlace, Event, Image, KeyEntry, ReplayError, StateHash, User, check_slots,
    email_in, name_in, title_in,
};

/// Loads a snapshot file and checks all of it, unless `stop` says to give up. What is read is what
/// the medium has, as far as the system can be made to look there.
///
/// # Errors
///
/// See [`SnapshotError`]; no bytes whatever make this panic.
pub fn load(path: &Path, stop: impl Fn() -> bool) -> Result<(Snapshot, Summary), SnapshotError> {
    let file = File::open(path).map_err(SnapshotError::io("open", path))?;
    // Where pages cannot be dropped, they are read.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    read(BufReader::with_capacity(BLOCK_BYTES_MAX, file), path, stop)
}

/// The same for the bytes themselves; `path` is for the errors.
///
/// # Errors
///
/// As [`load`].
pub fn read(
    bytes: impl Read,
    path: &Path,
    stop: impl Fn() -> bool,
) -> Result<(Snapshot, Summary), SnapshotError> {
    let (image, hash) = (Image::new(), StateHash::default());
    let mut loader = Loader { bytes, stop, offset: 0, image, hash, event: None };
    match loader.snapshot() {
        Ok((header, footer)) => {
            let state_hash = StateHash::from_number(footer.state_hash);
            let Header { log, lsn, records, made_at, .. } = header;
            let summary = Summary { log, lsn, records, made_at, state_hash, bytes: loader.offset };
            Ok((Snapshot { log, lsn, image: loader.image }, summary))
        }
        Err(Fault::Io(error)) => Err(SnapshotError::io("read", path)(error)),
        Err(Fault::Stopped) => Err(SnapshotError::Stopped { path: path.to_owned() }),
        Err(Fault::Newer(major)) => Err(SnapshotError::Newer { path: path.to_owned(), major }),
        Err(Fault::Bad(reason)) => {
            Err(SnapshotError::Damaged { path: path.to_owned(), offset: loader.offset, reason })
        }
    }
}

enum Fault {
    Io(io::Error),
    Stopped,
    Newer(u16),
    Bad(String),
}

impl From<ReplayError> for Fault {
    fn from(error: ReplayError) -> Self {
        Self::Bad(error.to_string())
    }
}

fn bad(reason: &str) -> Fault {
    Fault::Bad(reason.to_owned())
}

struct Header {
    log: Uuid,
    lsn: Lsn,
    records: u64,
    newest: Timestamp,
    made_at: Timestamp,
    seed: u32,
}

struct Block {
    kind: Kind,
    entries: u32,
    payload: Vec<u8>,
}

struct Loader<R, S> {
    bytes: R,
    stop: S,
    /// Of the header or block that is being read.
    offset: u64,
    image: Image,
    /// Of the entries so far.
    hash: StateHash,
    /// The event whose bookings come.
    event: Option<Event>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut number = [0; N];
    number.copy_from_slice(&bytes[at..at + N]);
    number
}

impl<R: Read, S: Fn() -> bool> Loader<R, S> {
    fn snapshot(&mut self) -> Result<(Header, FooterV1), Fault> {
        let header = self.header()?;
        let footer = self.blocks(&header)?;
        (self.image.records, self.image.newest) = (header.records, header.newest);
        if self.image.complete(&self.stop)?.is_break() {
            return Err(Fault::Stopped);
        }
        let counts = [
            self.image.users().count() as u64,
            self.image.events().count() as u64,
            self.image.bookings(),
            self.image.keys().count() as u64,
        ];
        if counts != [footer.users, footer.events, footer.bookings, footer.keys] {
            return Err(bad("the footer counts other entries than there are"));
        }
        if self.hash.get() != footer.state_hash {
            return Err(bad("the state's hash is not the footer's"));
        }
        Ok((header, footer))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Fault> {
        self.bytes.read_exact(buffer).map_err(|error| {
            let ends = error.kind() == io::ErrorKind::UnexpectedEof;
            if ends { bad("the file ends here") } else { Fault::Io(error) }
        })
    }

    fn header(&mut self) -> Result<Header, Fault> {
        let mut bytes = [0; HEADER_BYTES];
        self.fill(&mut bytes)?;
        if bytes[..8] != MAGIC {
            return Err(bad("no snapshot begins like this"));
        }
        let seed = u32::from_le_bytes(number(&bytes, 8));
        if seed != crc32fast::hash(&bytes[12..]) {
            return Err(bad("the header's checksum is wrong"));
        }
        let major = u16::from_le_bytes(number(&bytes, 12));
        if major != MAJOR {
            return Err(Fault::Newer(major));
        }
        self.offset = HEADER_BYTES as u64;
        Ok(Header {
            log: Uuid::from_bytes(number(&bytes, 16)),
            lsn: Lsn::new(u64::from_le_bytes(number(&bytes, 32))),
            records: u64::from_le_bytes(number(&bytes, 40)),
            newest: Timestamp::from_millis(u64::from_le_bytes(number(&bytes, 48))),
            made_at: Timestamp::from_millis(u64::from_le_bytes(number(&bytes, 56))),
            seed,
        })
    }

    fn blocks(&mut self, header: &Header) -> Result<FooterV1, Fault> {
        for index in 0.. {
            if (self.stop)() {
                return Err(Fault::Stopped);
            }
            let block = self.block(header.seed, index)?;
            let footer = self.entries(&block)?;
            self.offset += (BLOCK_HEADER_BYTES + block.payload.len()) as u64;
            if let Some(footer) = footer {
                self.end_event()?;
                let mut beyond = [0];
                return match self.bytes.read(&mut beyond).map_err(Fault::Io)? {
                    0 => Ok(footer),
                    _ => Err(bad("bytes behind the footer")),
                };
            }
        }
        Err(bad("more blocks than can be numbered"))
    }

    fn block(&mut self, seed: u32, index: u32) -> Result<Block, Fault> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        self.fill(&mut header)?;
        let length = u32::from_le_bytes(number(&header, 4)) as usize;
        if length > BLOCK_BYTES_MAX {
            return Err(bad("a block that is longer than any"));
        }
        let mut bytes = vec![0; BLOCK_HEADER_BYTES + length];
        bytes[..BLOCK_HEADER_BYTES].copy_from_slice(&header);
        self.fill(&mut bytes[BLOCK_HEADER_BYTES..])?;
        if u32::from_le_bytes(number(&header, 0)) != block_crc(seed, index, &bytes[4..]) {
            return Err(bad("the block's checksum is wrong"));
        }
        let kind = Kind::from_code(u16::from_le_bytes(number(&header, 8)));
        let kind = kind.ok_or_else(|| bad("a block of no known kind"))?;
        let entries = u32::from_le_bytes(number(&header, 12));
        Ok(Block { kind, entries, payload: bytes.split_off(BLOCK_HEADER_BYTES) })
    }

    fn entries(&mut self, block: &Block) -> Result<Option<FooterV1>, Fault> {
        let mut rest = block.payload.as_slice();
        let mut footer = None;
        for _ in 0..block.entries {
            match block.kind {
                Kind::Users => self.user(next(&mut rest)?)?,
                Kind::Event => self.begin_event(next(&mut rest)?)?,
                Kind::Bookings => self.booking(next(&mut rest)?)?,
                Kind::Keys => self.key(next(&mut rest)?)?,
                Kind::Footer => footer = Some(next(&mut rest)?),
            }
        }
        if rest.is_empty() { Ok(footer) } else { Err(bad("bytes behind a block's last entry")) }
    }

    fn user(&mut self, user: UserV1) -> Result<(), Fault> {
        let number = UserNumber::new(user.number);
        let (email, name) = (email_in(&user.email)?, name_in(&user.name)?);
        let living = user.deleted_at.is_none();
        if user.number >= USERS_MAX {
            return Err(bad("a user number beyond the bound"));
        }
        if living && self.image.emails.insert(email.key(), number).is_some() {
            return Err(bad("a second user with one e-mail address"));
        }
        let user = User {
            id: UserId { number, tag: Tag::new(user.tag) },
            email,
            name,
            created_at: Timestamp::from_millis(user.created_at),
            updated_at: Timestamp::from_millis(user.updated_at),
            deleted_at: user.deleted_at.map(Timestamp::from_millis),
            newest: user.newest.map(place_in),
            live: 0,
        };
        self.hash.add_user(&user.hashed());
        let set = self.image.users.set(number.get(), user);
        if set { Ok(()) } else { Err(bad("a user number used twice")) }
    }

    fn begin_event(&mut self, event: EventV1) -> Result<(), Fault> {
        self.end_event()?;
        let currency = std::str::from_utf8(&event.currency).ok().and_then(Currency::from_code);
        let seats = event.total_seats;
        if event.number >= EVENTS_MAX || !(1..=SEATS_PER_EVENT_MAX).contains(&seats) {
            return Err(bad("an event number or a number of seats beyond the bound"));
        }
        self.image.tickets += u64::from(seats);
        if self.image.tickets > TICKETS_MAX {
            return Err(bad("more tickets than the bound"));
        }
        if event.date.len() > DATE_BYTES_MAX {
            return Err(bad("a date longer than any"));
        }
        let details = EventDetails {
            name: title_in(&event.name)?,
            artist: title_in(&event.artist)?,
            venue: title_in(&event.venue)?,
            date: event.date.into(),
            total_seats: seats,
            price: Amount::from_minor(event.price).ok_or_else(|| bad("an amount out of range"))?,
            currency: currency.ok_or_else(|| bad("a currency that is none"))?,
        };
        let id = EventId { number: EventNumber::new(event.number), tag: Tag::new(event.tag) };
        let key = TicketKey::new(event.ticket_key);
        let created_at = Timestamp::from_millis(event.created_at);
        self.hash.add_event(id, key, created_at, &details);
        self.event = Some(Event::new(id, key, details, created_at));
        Ok(())
    }

    fn end_event(&mut self) -> Result<(), Fault> {
        let Some(event) = self.event.take() else { return Ok(()) };
        let set = self.image.events.set(event.id.number.get(), event);
        if set { Ok(()) } else { Err(bad("an event number used twice")) }
    }

    fn booking(&mut self, booking: BookingV1) -> Result<(), Fault> {
        let event = self.event.as_mut().ok_or_else(|| bad("bookings of no event"))?;
        let slots: Vec<_> = booking.slots.into_iter().map(SlotIndex::new).collect();
        check_slots(event, &slots)?;
        if !(1..=ROWS_PER_EVENT_MAX).contains(&booking.row) {
            return Err(bad("a row number beyond the bound"));
        }
        let status = match booking.status {
            0 => BookingStatus::Pending,
            1 => BookingStatus::Confirmed,
            2 => BookingStatus::Cancelled,
            3 => BookingStatus::Expired,
            _ => return Err(bad("a status that is none")),
        };
        let restored = Booking {
            tag: Tag::new(booking.tag),
            user: UserNumber::new(booking.user),
            slots: Slots::new(&slots),
            total: Amount::from_minor(booking.total)
                .ok_or_else(|| bad("an amount out of range"))?,
            created_at: Timestamp::from_millis(booking.created_at),
            ttl_millis: booking.ttl_millis,
            status,
            changed_at: Timestamp::from_millis(booking.changed_at),
            made_at: Lsn::new(booking.made_at),
            earlier: booking.earlier.map(place_in),
        };
        let row = RowNumber::new(booking.row);
        self.hash.add_booking(&restored.hashed(event.id.number, row));
        event.restore(row, restored)?;
        self.image.bookings += 1;
        Ok(())
    }

    fn key(&mut self, key: KeyV1) -> Result<(), Fault> {
        let subject = subject_in(key.subject, key.number, key.row)
            .map_err(|error| Fault::Bad(error.to_string()))?;
        if key.key.len() > KEY_CHARS_MAX {
            return Err(bad("a key longer than any"));
        }
        let at = Timestamp::from_millis(key.at);
        let entry = KeyEntry { fingerprint: key.fingerprint, subject, at };
        let before = self.image.keys.insert(key.key.into(), entry);
        if before.is_none() { Ok(()) } else { Err(bad("a key that is there twice")) }
    }
}

fn place_in((event, row): (u32, u32)) -> BookingPlace {
    BookingPlace { event: EventNumber::new(event), row: RowNumber::new(row) }
}

fn next<T: Decode<()>>(rest: &mut &[u8]) -> Result<T, Fault> {
    let (entry, length) = bincode::decode_from_slice(rest, LAYOUT)
        .map_err(|error| Fault::Bad(format!("an entry does not decode: {error}")))?;
    *rest = &rest[length..];
    Ok(entry)
}
