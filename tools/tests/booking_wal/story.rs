//! Logs that the tests read: a few facts, written through the real log, whose ids and times are
//! fixed. Nobody waits for a sync in between, so that no idle frame moves a position.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

use booking_manager::codec;
use booking_manager::domain::{
    Amount, BookingId, Currency, EventCreated, EventId, EventNumber, Fact, Held, KeyBound,
    PublicId, RequestStamp, RowNumber, SlotIndex, Subject, Tag, TicketKey, Timestamp, Transition,
    UserCreated, UserDeleted, UserId, UserNumber, UserUpdated,
};
use booking_manager::image::Image;
use booking_manager::image::snapshot::{self, Snapshot};
use tempfile::TempDir;
use uuid::Uuid;
use wal::frame::FrameHeader;
use wal::header::SegmentHeader;
use wal::{
    DirectoryError, Kind, LockedDirectory, Log, Lsn, OpenError, RecordType, ReserveError, Urgency,
};

pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;
const START: u64 = 1_700_000_000_000;

const ADA: UserId = UserId { number: UserNumber::new(0), tag: Tag::new(0xada) };
const BOB: UserId = UserId { number: UserNumber::new(1), tag: Tag::new(0xb0b) };
const SHOW: EventId = EventId { number: EventNumber::new(0), tag: Tag::new(0x5403) };
const FIRST: RowNumber = RowNumber::new(1);
const SECOND: RowNumber = RowNumber::new(2);
const FIRST_TAG: Tag = Tag::new(0xf1);

pub(crate) fn ada() -> String {
    uuid(ADA.public())
}

pub(crate) fn show() -> String {
    uuid(SHOW.public())
}

pub(crate) fn first_booking() -> String {
    uuid(BookingId { event: SHOW.number, row: FIRST, tag: FIRST_TAG }.public())
}

fn uuid(id: PublicId) -> String {
    Uuid::from_u128(id.0).to_string()
}

fn after(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

pub(crate) fn open(directory: &Path) -> Log {
    // As with a snapshot of whatever was removed.
    let listing = wal::directory::list(directory).unwrap();
    open_from(directory, listing.segments.first().map_or(Lsn::ZERO, |segment| segment.base))
}

/// As [`open`], reading the log from a position that a snapshot is of.
pub(crate) fn open_from(directory: &Path, start: Lsn) -> Log {
    let mut options = wal::Options::new(directory);
    options.segment_bytes = SEGMENT_BYTES;
    // As with a snapshot of whatever was removed.
    let listing = wal::directory::list(directory).unwrap();
    let first = listing.segments.first().map_or(Lsn::ZERO, |segment| segment.base);
    options.start = start.max(first);
    let log = loop {
        match Log::open(options.clone(), |_| Ok::<(), Infallible>(())) {
            Ok((log, _)) => break log,
            // A program that another test is starting has the lock of the log before this one,
            // which it got by the fork, for as long as it takes to its exec.
            Err(OpenError::Directory(DirectoryError::Locked { .. })) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    while log.stats().segments_ahead == 0 {
        thread::yield_now();
    }
    log
}

/// Appends a fact; gives where it begins.
pub(crate) fn tell(log: &Log, fact: &Fact<'_>) -> Lsn {
    let encoded = codec::encode(fact);
    append(log, encoded.record, encoded.payload())
}

/// Appends the whole story; gives where each fact begins.
pub(crate) fn tell_all(log: &Log) -> Vec<Lsn> {
    chapters().iter().map(|fact| tell(log, fact)).collect()
}

/// Appends a record of a kind that this version does not know.
pub(crate) fn tell_riddle(log: &Log) -> Lsn {
    let record = RecordType { kind: Kind::new(99), version: 1, ignorable: false };
    append(log, record, b"?")
}

/// Appends a record of a known kind whose payload is none of its kind.
pub(crate) fn tell_nonsense(log: &Log) -> Lsn {
    let encoded = codec::encode(&refrain());
    append(log, encoded.record, b"nonsense")
}

/// As [`tell`], and waits for the next segment where that is not ready yet.
pub(crate) fn tell_when_there_is_room(log: &Log, fact: &Fact<'_>) -> Lsn {
    let encoded = codec::encode(fact);
    loop {
        match log.reserve(encoded.record, Urgency::Take, encoded.payload()) {
            Ok(reservation) => {
                let lsn = reservation.lsn();
                reservation.commit();
                break lsn;
            }
            Err(ReserveError::NoRoom | ReserveError::TooFarAhead) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn append(log: &Log, record: RecordType, payload: &[u8]) -> Lsn {
    let reservation = log.reserve(record, Urgency::Take, payload).unwrap();
    let lsn = reservation.lsn();
    reservation.commit();
    lsn
}

/// A fact of each kind but a cancellation: one booking is confirmed, another expires.
fn chapters() -> Vec<Fact<'static>> {
    let stamp = RequestStamp { key: "order-1", fingerprint: 0xfeed };
    let held = |row, tag, user: UserId, seats: &[u32], at, stamp| {
        Fact::Held(Held {
            event: SHOW.number,
            row,
            tag,
            user: user.number,
            tickets: Cow::Owned(seats.iter().map(|&seat| SlotIndex::new(seat - 1)).collect()),
            total: Amount::from_minor(7_550 * i64::try_from(seats.len()).unwrap()).unwrap(),
            at: after(at),
            deadline: after(at + 600_000),
            stamp,
        })
    };
    let ended = |row, at, stamp| Transition { event: SHOW.number, row, at: after(at), stamp };
    let bound = Subject::Confirmed(SHOW.number, FIRST);
    vec![
        user(ADA, "ada@example.com", "Ada \"Countess\" Lovelace", 0),
        user(BOB, "bob@example.com", "Bob", 1),
        Fact::EventCreated(EventCreated {
            event: SHOW,
            ticket_key: TicketKey::new(0x5ec2e7),
            name: "Night",
            artist: "The Queens",
            venue: "Hall 1",
            date: "2025-06-01T20:00:00Z",
            total_seats: 10,
            price: Amount::from_minor(7_550).unwrap(),
            currency: Currency::from_code("EUR").unwrap(),
            at: after(2),
            stamp: None,
        }),
        held(FIRST, FIRST_TAG, ADA, &[1, 5], 3, Some(stamp)),
        held(SECOND, Tag::new(0xf2), BOB, &[10], 4, None),
        Fact::Confirmed(ended(FIRST, 5, None)),
        Fact::KeyBound(KeyBound { stamp, subject: bound, at: after(6) }),
        Fact::Expired(ended(SECOND, 600_004, None)),
        Fact::UserUpdated(UserUpdated {
            user: BOB.number,
            email: "robert@example.com",
            name: "Robert",
            at: after(600_005),
        }),
        Fact::UserDeleted(UserDeleted { user: BOB.number, at: after(600_006) }),
    ]
}

fn user(id: UserId, email: &'static str, name: &'static str, at: u64) -> Fact<'static> {
    Fact::UserCreated(UserCreated { user: id, email, name, at: after(at), stamp: None })
}

/// An event with a seat for each of so many bookings, every other one of which is confirmed.
pub(crate) fn tell_of_a_crowd(log: &Log, bookings: u32) {
    let event = EventId { number: EventNumber::new(1), tag: Tag::new(0xc40d) };
    tell_when_there_is_room(
        log,
        &Fact::EventCreated(EventCreated {
            event,
            ticket_key: TicketKey::new(0xc40d),
            name: "Open air",
            artist: "The Crowd",
            venue: "Field",
            date: "2025-07-01T18:00:00Z",
            total_seats: bookings,
            price: Amount::from_minor(1_000).unwrap(),
            currency: Currency::from_code("EUR").unwrap(),
            at: after(600_007),
            stamp: None,
        }),
    );
    for seat in 0..bookings {
        let (event, row) = (event.number, RowNumber::new(seat + 1));
        let held = Held {
            event,
            row,
            tag: Tag::new(seat.into()),
            user: ADA.number,
            tickets: Cow::Owned(vec![SlotIndex::new(seat)]),
            total: Amount::from_minor(1_000).unwrap(),
            at: after(600_008),
            deadline: after(1_200_008),
            stamp: None,
        };
        tell_when_there_is_room(log, &Fact::Held(held));
        if seat % 2 == 0 {
            let confirmed = Transition { event, row, at: after(600_009), stamp: None };
            tell_when_there_is_room(log, &Fact::Confirmed(confirmed));
        }
        if seat % 1_000 == 0 {
            log.kick();
        }
    }
}

/// The seats of the first booking once more, though it was confirmed.
pub(crate) fn double_sale() -> Fact<'static> {
    let Some(Fact::Held(held)) = chapters().into_iter().nth(3) else {
        panic!("the fourth chapter is a hold");
    };
    Fact::Held(Held { row: RowNumber::new(3), stamp: None, ..held })
}

/// A fact that may be told any number of times.
pub(crate) fn refrain() -> Fact<'static> {
    refrain_named("Ada")
}

fn refrain_named(name: &str) -> Fact<'_> {
    Fact::UserUpdated(UserUpdated {
        user: ADA.number,
        email: "ada@example.com",
        name,
        at: after(7),
    })
}

/// A log that was closed in order.
pub(crate) struct Story {
    pub(crate) directory: TempDir,
    pub(crate) uuid: Uuid,
    /// Where each fact begins.
    pub(crate) lsns: Vec<Lsn>,
    /// Where the log ends.
    pub(crate) end: Lsn,
}

impl Story {
    pub(crate) fn told() -> Self {
        Self::told_with(|_| ())
    }

    /// With something more before the end.
    pub(crate) fn told_with(more: impl FnOnce(&Log)) -> Self {
        let directory = TempDir::new().unwrap();
        let log = open(directory.path());
        let lsns = tell_all(&log);
        more(&log);
        let end = log.seal().unwrap();
        Self { uuid: log.uuid(), lsns, end, directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a snapshot of what the records before `lsn` make; gives its path.
    pub(crate) fn snapshot(&self, lsn: Lsn) -> PathBuf {
        self.wrong_snapshot(lsn, lsn, self.uuid)
    }

    /// Writes a snapshot for `lsn` and the log `uuid` of what the records before `state` make.
    pub(crate) fn wrong_snapshot(&self, lsn: Lsn, state: Lsn, uuid: Uuid) -> PathBuf {
        let mut image = Image::new();
        wal::verify(self.path(), |record| match record.lsn < state {
            true => image.apply(&record),
            false => Ok(()),
        })
        .unwrap();
        let snapshot = Snapshot { log: uuid, lsn, image };
        let go_on = || ControlFlow::Continue(());
        let locked = LockedDirectory::acquire(self.path()).unwrap();
        snapshot::write(&locked, &snapshot, after(0), 0, go_on).unwrap();
        self.path().join(snapshot::file_name(lsn))
    }

    /// Goes on into the third segment.
    pub(crate) fn told_at_length() -> Self {
        Self::told_with(|log| {
            while log.reserved().get() < 2 * SEGMENT_BYTES + 8_192 {
                log.kick();
                tell_when_there_is_room(log, &refrain());
            }
        })
    }

    /// Goes on to the very end of the first segment, with nothing behind it, as a server leaves a log
    /// that ends there for want of space for another segment.
    pub(crate) fn told_to_the_brim() -> Self {
        let mut story = Self::told_with(|log| {
            let left = || SEGMENT_BYTES - log.reserved().get();
            while left() > 1_024 {
                tell(log, &refrain());
            }
            // Two records of which the second is as long as is left.
            while left() > 0 {
                let name = "N".repeat(200);
                let fits = |length: &usize| {
                    let fact = refrain_named(&name[..*length]);
                    let span = 32 + codec::encode(&fact).payload().len();
                    let rest = left().checked_sub(span.next_multiple_of(32) as u64);
                    rest.is_some_and(|rest| rest == 0 || rest >= 256)
                };
                let length = (1..=200).rev().find(fits).expect("a length that fits");
                tell(log, &refrain_named(&name[..length]));
            }
        });
        story.end = Lsn::new(SEGMENT_BYTES);
        for behind in wal::directory::list(story.path()).unwrap().segments.iter().skip(1) {
            fs::remove_file(&behind.path).unwrap();
        }
        story
    }

    /// Removes the first segment, as a server does that no longer needs it.
    pub(crate) fn forget_the_beginning(&self) {
        fs::remove_file(self.segment()).unwrap();
    }

    /// The hash of the state that the records make.
    pub(crate) fn state_hash(&self) -> String {
        let mut image = Image::new();
        wal::verify(self.path(), |record| image.apply(&record)).unwrap();
        format!("{:032x}", image.hash().get())
    }

    /// The segment of all of it.
    pub(crate) fn segment(&self) -> PathBuf {
        self.path().join("wal-0000000000000000.seg")
    }

    /// Inverts one bit in the first segment.
    pub(crate) fn flip(&self, offset: u64) {
        self.flip_in(0, offset);
    }

    /// Inverts one bit in the segment with this base.
    pub(crate) fn flip_in(&self, base: u64, offset: u64) {
        Self::flip_file(&self.path().join(wal::header::segment_name(Lsn::new(base))), offset);
    }

    /// Inverts one bit in a file.
    pub(crate) fn flip_file(path: &Path, offset: u64) {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    }

    /// Turns a record into one of the log's own frames, whole, of a kind that this version neither
    /// knows nor may skip.
    pub(crate) fn make_newer(&self, lsn: Lsn) {
        let mut bytes = fs::read(self.segment()).unwrap();
        let expected = SegmentHeader::decode(&bytes[..4096]).unwrap().expected();
        let at = usize::try_from(lsn.get()).unwrap();
        let record = wal::frame::find(&bytes[at..], lsn, expected).unwrap().header;
        let newer = FrameHeader { kind: Kind::new(9), ..record };
        newer.seal_body(expected.seed, &mut bytes[at + 4..at + record.span()]);
        fs::write(self.segment(), bytes).unwrap();
    }

    /// Takes back what stands in the first segment from one position to another.
    pub(crate) fn blank(&self, from: Lsn, to: Lsn) {
        let file = OpenOptions::new().write(true).open(self.segment()).unwrap();
        let zeros = vec![0; usize::try_from(to.since(from)).unwrap()];
        file.write_all_at(&zeros, from.get()).unwrap();
    }

    /// Writes something behind the end, as a crash may leave it.
    pub(crate) fn tear(&self) {
        let file = OpenOptions::new().write(true).open(self.segment()).unwrap();
        file.write_all_at(&[0x5a; 64], self.end.get()).unwrap();
    }

    /// All files with their content and the time of their last change.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries
            .filter(|path| path.is_file())
            .map(|path| {
                let changed = fs::metadata(&path).unwrap().modified().unwrap();
                (path.clone(), fs::read(&path).unwrap(), changed)
            })
            .collect();
        files.sort();
        files
    }
}
