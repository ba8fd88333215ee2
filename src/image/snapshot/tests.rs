//! Snapshots that are written, read, and damaged.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::borrow::Cow;
use std::ops::ControlFlow;

use proptest::prelude::*;
use tempfile::TempDir;
use wal::LockedDirectory;

use super::*;
use crate::domain::{
    Amount, Currency, EventCreated, EventId, EventNumber, Fact, Held, RequestStamp, RowNumber,
    SlotIndex, Tag, TicketKey, Timestamp, Transition, UserCreated, UserDeleted, UserId, UserNumber,
};

const LOG: Uuid = Uuid::from_u128(7);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn stamp(key: &str) -> Option<RequestStamp<'_>> {
    Some(RequestStamp { key, fingerprint: 5 })
}

fn user(number: u32, email: &str) -> Fact<'_> {
    let user = UserId { number: UserNumber::new(number), tag: Tag::new(number.into()) };
    Fact::UserCreated(UserCreated { user, email, name: "Ada", at: at(1), stamp: stamp(email) })
}

fn hold(row: u32, user: u32, slots: &'static [u32], now: u64) -> Fact<'static> {
    let tickets: Vec<_> = slots.iter().copied().map(SlotIndex::new).collect();
    Fact::Held(Held {
        event: EventNumber::new(0),
        row: RowNumber::new(row),
        tag: Tag::new(row.into()),
        user: UserNumber::new(user),
        total: Amount::from_minor(250 * tickets.len() as i64).unwrap(),
        tickets: Cow::Owned(tickets),
        at: at(now),
        deadline: at(now + 100),
        stamp: None,
    })
}

fn end(row: u32, now: u64) -> Transition<'static> {
    let (event, row) = (EventNumber::new(0), RowNumber::new(row));
    Transition { event, row, at: at(now), stamp: None }
}

/// A state with something of everything: also a seat whose last taker has the lower row number.
fn snapshot() -> Snapshot {
    let event = Fact::EventCreated(EventCreated {
        event: EventId { number: EventNumber::new(0), tag: Tag::new(3) },
        ticket_key: TicketKey::new(99),
        name: "Show",
        artist: "Band",
        venue: "Hall",
        date: "2027-01-01T20:00:00Z",
        total_seats: 5,
        price: Amount::from_minor(250).unwrap(),
        currency: Currency::DEFAULT,
        at: at(2),
        stamp: stamp("event"),
    });
    let facts = [
        user(0, "a@b"),
        user(1, "c@d"),
        user(4, "e@f"),
        event,
        hold(3, 0, &[0, 1], 10),
        Fact::Cancelled(end(3, 20)),
        hold(2, 1, &[1, 2], 30),
        hold(9, 0, &[0, 4], 40),
        Fact::Confirmed(end(9, 50)),
        hold(10, 4, &[3], 60),
        Fact::Expired(end(10, 160)),
        Fact::UserDeleted(UserDeleted { user: UserNumber::new(4), at: at(170) }),
    ];
    let mut image = Image::new();
    for (fact, lsn) in facts.iter().zip((4096..).step_by(64)) {
        image.apply_fact(fact, Lsn::new(lsn)).unwrap();
    }
    Snapshot { log: LOG, lsn: Lsn::new(8192), image }
}

fn write_into(directory: &Path, snapshot: &Snapshot) -> Result<Summary, SnapshotError> {
    let directory = LockedDirectory::acquire(directory).unwrap();
    let go_on = || ControlFlow::Continue(());
    write(&directory, snapshot, at(9), 0, go_on).map(|written| written.unwrap())
}

fn names_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn load(path: &Path) -> Result<(Snapshot, Summary), SnapshotError> {
    super::load(path, || false)
}

fn newest(directory: &Path) -> Result<Found, SnapshotError> {
    super::newest(directory, || false)
}

fn written(snapshot: &Snapshot) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let summary = write_into(directory.path(), snapshot).unwrap();
    let path = directory.path().join(file_name(snapshot.lsn));
    assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(summary.made_at, at(9));
    assert_eq!(load(&path).unwrap().1, summary);
    (directory, path)
}

fn read_bytes(bytes: &[u8]) -> Result<(Snapshot, Summary), SnapshotError> {
    read(bytes, Path::new("bytes"), || false)
}

#[test]
fn what_was_written_is_read() {
    let before = snapshot();
    let (_directory, path) = written(&before);
    let (after, summary) = load(&path).unwrap();
    assert_eq!((after.log, after.lsn), (LOG, before.lsn));
    assert_eq!(summary.state_hash, before.image.hash());
    let image = &after.image;
    assert!(image.users().eq(before.image.users()));
    let (event, was) = (image.events().next().unwrap(), before.image.events().next().unwrap());
    assert!(event.bookings().eq(was.bookings()));
    assert!(event.tickets().eq(was.tickets()));
    assert_eq!(event.last_taker(SlotIndex::new(1)), Some(RowNumber::new(2)));
    assert_eq!((event.available(), event.reserved(), event.sold()), (1, 2, 2));
    let keys = |image: &Image| {
        let mut keys: Vec<_> = image.keys().map(|(key, entry)| (key.to_owned(), *entry)).collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        keys
    };
    assert_eq!(keys(image), keys(&before.image));
    assert_eq!(keys(image).len(), 4);
}

#[test]
fn a_snapshot_goes_on_as_what_it_was_made_of() {
    let mut before = snapshot();
    let (_directory, path) = written(&before);
    let mut after = load(&path).unwrap().0;
    let facts = [Fact::Confirmed(end(2, 99)), hold(11, 1, &[3], 200), user(5, "e@f")];
    for fact in &facts {
        for image in [&mut before.image, &mut after.image] {
            image.apply_fact(fact, Lsn::new(9000)).unwrap();
        }
        assert_eq!(before.image.hash(), after.image.hash());
    }
    for illegal in [hold(12, 1, &[4], 210), Fact::Expired(end(9, 300)), user(6, "C@D")] {
        for image in [&before.image, &after.image] {
            assert!(image.clone().apply_fact(&illegal, Lsn::new(9100)).is_err());
        }
    }
}

#[test]
fn every_flip_and_every_cut_is_noticed() {
    let (_directory, path) = written(&snapshot());
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert!(read_bytes(&bytes).is_err(), "a flip at {at}");
        assert!(read_bytes(&whole[..at]).is_err(), "a cut at {at}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(read_bytes(&longer).is_err());
    assert!(read_bytes(&whole).is_ok());
}

#[test]
fn a_newer_version_is_named_and_not_called_damaged() {
    let (_directory, path) = written(&snapshot());
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] = 2;
    let crc = crc32fast::hash(&bytes[12..96]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(read_bytes(&bytes), Err(SnapshotError::Newer { major: 2, .. })));
}

#[test]
fn the_newest_whole_one_is_found_and_damaged_ones_are_named() {
    let mut image = snapshot();
    let (directory, old) = written(&image);
    image.lsn = Lsn::new(16384);
    write_into(directory.path(), &image).unwrap();
    let found = newest(directory.path()).unwrap();
    assert_eq!(found.newest.unwrap().0.lsn, image.lsn);
    let path = directory.path().join(file_name(image.lsn));
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = newest(directory.path()).unwrap();
    assert_eq!(found.newest.unwrap().0.lsn, Lsn::new(8192));
    assert_eq!((found.refused.len(), found.durable_floor), (1, Lsn::new(16384)));
    assert_eq!(prune(directory.path(), &[image.lsn]).unwrap().len(), 1);
    assert!(!old.exists());
}

#[test]
fn one_under_another_name_is_refused() {
    let (directory, path) = written(&snapshot());
    fs::rename(&path, directory.path().join(file_name(Lsn::new(4096)))).unwrap();
    let found = newest(directory.path()).unwrap();
    assert!(found.newest.is_none());
    assert!(found.refused[0].1.to_string().contains("its name says otherwise"));
}

#[test]
fn one_that_is_broken_off_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let locked = LockedDirectory::acquire(directory.path()).unwrap();
    let stop = || ControlFlow::Break(());
    assert!(write(&locked, &snapshot(), at(9), 0, stop).unwrap().is_none());
    assert_eq!(names_in(directory.path()), [wal::directory::LOCK_FILE]);
}

#[test]
fn one_that_does_not_fit_is_not_begun() {
    let directory = TempDir::new().unwrap();
    let snapshot = snapshot();
    let locked = LockedDirectory::acquire(directory.path()).unwrap();
    let go_on = || ControlFlow::Continue(());
    // More than any disk has.
    let most = 1 << 60;
    let refused = write(&locked, &snapshot, at(9), most, go_on).unwrap_err();
    assert_eq!(names_in(directory.path()), [wal::directory::LOCK_FILE]);
    let told = refused.to_string();
    let SnapshotError::NoRoom { needed, left_free, free, .. } = refused else {
        panic!("{told}");
    };
    assert!(
        [needed, left_free, free].iter().all(|bytes| told.contains(&bytes.to_string())),
        "{told}"
    );
    assert_eq!(left_free, most);
    let bytes = write(&locked, &snapshot, at(9), 0, go_on).unwrap().unwrap().bytes;
    // Entries are counted a little generously, and headers of blocks as well.
    assert!((bytes..bytes + 256).contains(&needed), "{needed} for {bytes}");
}

#[test]
fn reading_stops_when_it_is_told_to() {
    let (directory, path) = written(&snapshot());
    let mut later = snapshot();
    later.lsn = Lsn::new(16384);
    write_into(directory.path(), &later).unwrap();
    let stopped = super::load(&path, || true).unwrap_err();
    assert!(matches!(stopped, SnapshotError::Stopped { path: at } if at == path));
    let stopped = super::newest(directory.path(), || true).unwrap_err();
    // And not the one before it, as if this one were damaged.
    assert!(
        matches!(stopped, SnapshotError::Stopped { path } if path.ends_with(file_name(later.lsn)))
    );
}

#[test]
fn only_files_are_snapshots() {
    let (directory, _path) = written(&snapshot());
    fs::create_dir(directory.path().join(file_name(Lsn::new(16384)))).unwrap();
    let link = directory.path().join(file_name(Lsn::new(32768)));
    std::os::unix::fs::symlink("/dev/zero", link).unwrap();
    let found = newest(directory.path()).unwrap();
    assert_eq!((found.refused.len(), found.durable_floor), (0, Lsn::new(8192)));
    assert_eq!(prune(directory.path(), &[Lsn::new(8192)]).unwrap(), []);
}

#[test]
fn other_names_are_no_snapshots() {
    for name in ["snapshot-1.snap", "snapshot-000000000000000G.snap", "snapshot-.snap", "x.snap"] {
        assert_eq!(position_in(name), None, "{name}");
    }
    assert_eq!(position_in("snapshot-000000000000001f.snap"), Some(Lsn::new(31)));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = read_bytes(&bytes);
    }

    /// Past the checksums: blocks of arbitrary payloads with right CRCs.
    #[test]
    fn no_payload_makes_reading_panic(
        kind in 1_u16..6,
        entries in 0_u32..4,
        payload in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let (_directory, path) = written(&snapshot());
        let mut bytes = fs::read(&path).unwrap()[..96].to_vec();
        let seed = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let mut block = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        block.extend(kind.to_le_bytes());
        block.extend([0; 2]);
        block.extend(entries.to_le_bytes());
        block.extend(payload);
        bytes.extend(write::block_crc(seed, 0, &block).to_le_bytes());
        bytes.extend(block);
        prop_assert!(read_bytes(&bytes).is_err());
    }
}
