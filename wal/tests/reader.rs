//! Reading without owning: order, damage and going on past it, following, and restarts.
#![allow(clippy::unwrap_used, reason = "a failing test may panic")]
#![allow(clippy::wildcard_enum_match_arm, reason = "what a test did not expect is a failure")]

mod support;

use support::{SIZE, Seen, Writer, directory, recovered};
use tempfile::TempDir;
use wal::frame::FrameFault;
use wal::{Damage, Kind, Lsn, ReadError, Reader, Reason};

/// Everything up to the end or the next error.
fn read_on(reader: &mut Reader) -> Result<Vec<Seen>, ReadError> {
    let mut seen = Vec::new();
    while let Some(record) = reader.next_record()? {
        seen.push((record.lsn, record.payload.to_vec()));
    }
    Ok(seen)
}

fn saved(writer: &Writer) -> TempDir {
    let dir = directory();
    writer.save(dir.path());
    dir
}

fn damage(outcome: Result<Vec<Seen>, ReadError>) -> Damage {
    match outcome {
        Err(ReadError::Damage(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

fn flip(writer: &mut Writer, lsn: Lsn) {
    let segment = writer.segments.get_mut(&SIZE.base_of(lsn).get()).unwrap();
    segment.bytes[usize::try_from(SIZE.offset_of(lsn)).unwrap()] ^= 1;
}

/// Forty records over several segments, two epochs, with void and padding frames between.
fn long_log() -> (Writer, Vec<Seen>) {
    let mut writer = Writer::new();
    let mut seen = Vec::new();
    for n in 0..40_u8 {
        if n == 25 {
            let dir = saved(&writer);
            writer.boot(&recovered(dir.path()).unwrap().0.next);
        }
        let payload = vec![n; usize::from(n) * 500];
        seen.push((writer.append(&payload), payload));
        if n % 7 == 0 {
            let given_up = writer.reserve(b"given up");
            writer.void(given_up);
            writer.pad_page();
        }
    }
    writer.sync();
    writer.internal(Kind::IDLE, 32);
    (writer, seen)
}

#[test]
fn records_come_in_order_over_segments_and_epochs() {
    let (writer, expected) = long_log();
    assert!(writer.segments.len() >= 4, "{}", writer.segments.len());
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(read_on(&mut reader).unwrap(), expected);
    assert_eq!(reader.position(), writer.tail);
    assert_eq!(reader.segments().len(), writer.segments.len());
    // Frames include the log's own.
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    while let Some(view) = reader.next_frame().unwrap() {
        kinds.insert(view.header.kind);
    }
    let all = [Kind::PADDING, Kind::VOID, Kind::IDLE, Kind::new(16)];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn a_reader_begins_at_any_record_and_at_the_end() {
    let (writer, expected) = long_log();
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    for index in (0..expected.len()).rev() {
        reader.seek(expected[index].0).unwrap();
        assert_eq!(read_on(&mut reader).unwrap(), expected[index..]);
    }
    reader.seek(writer.tail).unwrap();
    assert_eq!(read_on(&mut reader).unwrap(), []);
    for wrong in [Lsn::new(4097), Lsn::new(SIZE.get() * 100)] {
        assert!(matches!(reader.seek(wrong), Err(ReadError::NoSuchPosition { .. })), "{wrong}");
    }
    // A place within a frame is damage, not a record.
    reader.seek(expected[3].0.plus(32)).unwrap();
    assert!(matches!(damage(read_on(&mut reader)).reason, Reason::Frame(_)));
}

#[test]
fn damage_is_named_and_reading_goes_on_behind_it() {
    let (mut writer, expected) = long_log();
    let bad: Vec<usize> = vec![3, 4, 20, 24, 30];
    for &index in &bad {
        flip(&mut writer, expected[index].0.plus(40));
    }
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    let (mut seen, mut damaged) = (Vec::new(), Vec::new());
    loop {
        match reader.next_record() {
            Ok(Some(record)) => seen.push((record.lsn, record.payload.to_vec())),
            Ok(None) => break,
            Err(ReadError::Damage(damage)) => {
                assert_eq!(damage.lsn, reader.position());
                assert_eq!(damage.path, writer.path(dir.path(), damage.lsn));
                assert_eq!(damage.offset, SIZE.offset_of(damage.lsn));
                damaged.push(damage.lsn);
                reader.skip_damage().unwrap().unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
    // Two bad frames side by side are one damaged place.
    let places = [3, 20, 24, 30].map(|index: usize| expected[index].0);
    assert_eq!(damaged, places);
    let whole = expected.into_iter().enumerate().filter(|(index, _)| !bad.contains(index));
    assert_eq!(seen, whole.map(|(_, record)| record).collect::<Vec<_>>());
}

#[test]
fn the_end_of_the_last_epoch_is_an_end_and_not_damage_unless_claimed() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let hole = writer.reserve(b"two");
    writer.append(b"three");
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(read_on(&mut reader).unwrap().len(), 1);
    assert_eq!(read_on(&mut reader).unwrap().len(), 0);
    // A mark behind the hole, or a frame that claims it, makes it damage.
    reader.set_durable(hole.plus(64));
    assert_eq!(
        damage(read_on(&mut reader)).reason,
        Reason::Frame(FrameFault::Reserved { length: 35 })
    );
    writer.sync();
    writer.append(b"four");
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(damage(read_on(&mut reader)).lsn, hole);
}

#[test]
fn a_follower_sees_what_comes_and_nothing_beyond_the_durable_mark() {
    let mut writer = Writer::new();
    let dir = saved(&writer);
    let mut follower = Reader::open(dir.path()).unwrap();
    let mut mirror = Reader::open(dir.path()).unwrap();
    mirror.set_durable(Lsn::ZERO);
    let (mut followed, mut mirrored, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..120_u8 {
        let payload = vec![n; 3000];
        expected.push((writer.append(&payload), payload));
        writer.update(dir.path());
        followed.extend(read_on(&mut follower).unwrap());
        assert_eq!(followed, expected);
        mirrored.extend(read_on(&mut mirror).unwrap());
        assert_eq!(mirrored, expected[..usize::from(n / 10 * 10)]);
        if n % 10 == 9 {
            writer.sync();
            mirror.set_durable(writer.durable);
        }
    }
    assert!(writer.segments.len() > 2);
}

#[test]
fn a_follower_goes_on_over_a_restart() {
    let mut writer = Writer::new();
    let dir = saved(&writer);
    let mut follower = Reader::open(dir.path()).unwrap();
    // Twice an epoch without a record, whose segment is replaced under the follower.
    for payload in [b"one".as_slice(), b"two", b"", b"", b"three"] {
        if !payload.is_empty() {
            writer.append(payload);
            writer.update(dir.path());
            assert_eq!(read_on(&mut follower).unwrap().len(), 1);
        }
        assert_eq!(read_on(&mut follower).unwrap().len(), 0);
        writer.boot(&recovered(dir.path()).unwrap().0.next);
        writer.update(dir.path());
    }
    assert_eq!(read_on(&mut follower).unwrap().len(), 0);
    assert_eq!(follower.position(), writer.tail);
}

#[test]
fn a_follower_that_read_what_a_crash_took_back_is_told() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let lost = writer.append(b"two");
    let dir = saved(&writer);
    let mut follower = Reader::open(dir.path()).unwrap();
    assert_eq!(read_on(&mut follower).unwrap().len(), 2);
    flip(&mut writer, lost);
    writer.update(dir.path());
    writer.boot(&recovered(dir.path()).unwrap().0.next);
    writer.append(b"other");
    writer.update(dir.path());
    match read_on(&mut follower) {
        Err(ReadError::CutBehindReader { cut, read }) => {
            assert_eq!((cut, read), (lost, lost.plus(64)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_without_a_log_reads_as_empty_until_there_is_one() {
    let dir = directory();
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(read_on(&mut reader).unwrap(), []);
    let mut writer = Writer::new();
    writer.append(b"one");
    writer.save(dir.path());
    assert_eq!(read_on(&mut reader).unwrap().len(), 1);
}
