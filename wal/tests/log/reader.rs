//! Reading without owning: order, damage and going on past it, following, and restarts.

use tempfile::TempDir;
use wal::chain::ChainFault;
use wal::frame::FrameFault;
use wal::header::HeaderFault;
use wal::{Damage, DirectoryError, Kind, Lsn, ReadError, Reader, Reason, RecordType};

use crate::support::{NOTE, SIZE, Seen, Writer, directory, recovered};

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

/// A log whose last frame ends exactly where its only segment does, as an appender leaves it for
/// which the disk has no room for another segment.
fn full_log() -> (Writer, Lsn) {
    let mut writer = Writer::new();
    while SIZE.get() - writer.tail.get() > 2 * 32_768 {
        writer.append(&[7; 32_736]);
    }
    let rest = usize::try_from(SIZE.get() - writer.tail.get()).unwrap();
    let last = writer.append(&vec![9; rest - 32]);
    writer.sync();
    assert_eq!((writer.tail, writer.segments.len()), (Lsn::new(SIZE.get()), 1));
    (writer, last)
}

#[test]
fn a_reader_tells_the_segment_in_which_it_stands() {
    let (writer, expected) = long_log();
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    for (lsn, _) in expected {
        reader.seek(lsn).unwrap();
        reader.next_record().unwrap();
        assert_eq!(reader.segment().unwrap().header, writer.segment(lsn).header);
    }
}

#[test]
fn a_log_that_begins_with_a_later_epoch_is_read_from_there() {
    let (writer, expected) = long_log();
    let dir = saved(&writer);
    let first = writer.segments.values().find(|s| s.header.epoch == 2).unwrap().header;
    for base in writer.segments.keys().filter(|&&base| base < first.base.get()) {
        std::fs::remove_file(writer.path(dir.path(), Lsn::new(*base))).unwrap();
    }
    let there: Vec<Seen> = expected.into_iter().filter(|(lsn, _)| *lsn >= first.base).collect();
    let mut reader = Reader::open(dir.path()).unwrap();
    for place in [first.prev_end, first.base] {
        reader.seek(place).unwrap();
        assert_eq!(read_on(&mut reader).unwrap(), there, "from {place}");
    }
    let removed = reader.seek(Lsn::new(first.base.get() - 32));
    assert!(matches!(removed, Err(ReadError::Removed { .. })), "{removed:?}");
    assert_eq!(reader.segment_before(Lsn::ZERO), None);
    assert_eq!(reader.segment_before(first.base), None);
}

#[test]
fn a_file_that_is_gone_was_removed_only_if_it_was_the_oldest() {
    let (mut writer, expected) = long_log();
    let second = Lsn::new(SIZE.get());
    let third = SIZE.base_after(second);
    let in_first = expected.iter().map(|(lsn, _)| *lsn).filter(|lsn| *lsn < second);
    let in_first: Vec<Lsn> = in_first.collect();
    // So that a lenient reader has something behind the first two, which it goes on to by itself.
    flip(&mut writer, third.plus(50));
    for oldest in [true, false] {
        let dir = saved(&writer);
        let mut reader = Reader::open_lenient(dir.path()).unwrap();
        for lsn in &in_first {
            assert_eq!(reader.next_record().unwrap().unwrap().lsn, *lsn);
        }
        if oldest {
            std::fs::remove_file(writer.path(dir.path(), Lsn::ZERO)).unwrap();
        }
        std::fs::remove_file(writer.path(dir.path(), second)).unwrap();
        match reader.next_record() {
            Err(ReadError::Removed { lsn, first }) if oldest => {
                assert_eq!((lsn, first), (second, third));
            }
            Err(ReadError::Directory(DirectoryError::Io(fault))) if !oldest => {
                assert_eq!(fault.path, writer.path(dir.path(), second));
            }
            other => panic!("{other:?}, removed the oldest: {oldest}"),
        }
    }
}

#[test]
fn a_segment_made_ahead_that_a_restart_removed_is_not_missed() {
    let (mut writer, last) = full_log();
    writer.prepare();
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.seek(last).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().lsn, last);
    std::fs::remove_file(writer.path(dir.path(), Lsn::new(SIZE.get()))).unwrap();
    assert_eq!(read_on(&mut reader).unwrap(), []);
}

#[test]
fn a_header_damaged_behind_a_reader_at_the_end_concerns_only_a_strict_one() {
    let (mut writer, expected) = long_log();
    let dir = saved(&writer);
    let mut strict = Reader::open(dir.path()).unwrap();
    let mut lenient = Reader::open_lenient(dir.path()).unwrap();
    for reader in [&mut strict, &mut lenient] {
        assert_eq!(read_on(reader).unwrap(), expected);
    }
    let last = SIZE.base_of(writer.tail);
    flip(&mut writer, last.plus(50));
    writer.save(dir.path());
    assert_eq!(read_on(&mut lenient).unwrap(), []);
    assert!(matches!(damage(read_on(&mut strict)).reason, Reason::Header(_)));
}

#[test]
fn the_end_of_a_full_last_segment_is_a_position() {
    let (mut writer, last) = full_log();
    let end = writer.tail;
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.seek(end).unwrap();
    assert_eq!((reader.position(), read_on(&mut reader).unwrap()), (end, vec![]));
    assert_eq!(reader.frame_behind(end), end, "no segment follows yet");
    assert_eq!(reader.segment_before(end), reader.segments().first());
    // Also when less is known to be durable, or just that.
    for durable in [last, end] {
        reader.set_durable(durable);
        reader.seek(end).unwrap();
        assert_eq!(read_on(&mut reader).unwrap(), []);
    }
    // What comes is read, whether the segment is made by the same boot or by the next.
    for restarts in [false, true] {
        let mut writer = writer.clone();
        let dir = saved(&writer);
        let mut reader = Reader::open(dir.path()).unwrap();
        reader.seek(end).unwrap();
        if restarts {
            writer.boot(&recovered(dir.path()).unwrap().0.next);
        }
        let lsn = writer.append(b"more");
        writer.update(dir.path());
        assert_eq!(read_on(&mut reader).unwrap(), [(lsn, b"more".to_vec())]);
        reader.seek(end).unwrap();
        assert_eq!(read_on(&mut reader).unwrap(), [(lsn, b"more".to_vec())]);
        assert_eq!(reader.frame_behind(end), lsn);
    }
    // But only if the frames lead up to it.
    flip(&mut writer, last.plus(40));
    let dir = saved(&writer);
    let sought = Reader::open(dir.path()).unwrap().seek(end);
    assert!(matches!(sought, Err(ReadError::NoSuchPosition { .. })), "{sought:?}");
}

#[test]
fn the_cut_and_the_first_frame_behind_it_are_one_place_and_nothing_is_between() {
    let mut writer = Writer::new();
    writer.append(b"one");
    writer.sync();
    let cut = writer.tail;
    let dir = saved(&writer);
    writer.boot(&recovered(dir.path()).unwrap().0.next);
    writer.update(dir.path());
    let (base, first_frame) = (Lsn::new(SIZE.get()), writer.tail);
    let mut reader = Reader::open(dir.path()).unwrap();
    // Nothing was logged since, then something.
    for payload in [None, Some(b"two")] {
        let expected: Vec<Seen> =
            payload.iter().map(|payload| (writer.append(*payload), payload.to_vec())).collect();
        writer.update(dir.path());
        for place in [cut, base, first_frame] {
            reader.seek(place).unwrap();
            assert_eq!(read_on(&mut reader).unwrap(), expected, "from {place}");
            assert!(place <= reader.frame_behind(cut));
        }
        assert_eq!(reader.frame_behind(cut), first_frame);
        for place in [cut, base, first_frame] {
            assert_eq!(reader.segment_before(place).unwrap().header.base, Lsn::ZERO);
        }
        assert_eq!(reader.segment_before(first_frame.plus(32)).unwrap().header.base, base);
        assert_eq!(reader.frame_behind(first_frame), first_frame);
        let dead = cut.plus(32);
        match reader.seek(dead) {
            Err(ReadError::CutBehindReader { cut: named, read }) => {
                assert_eq!((named, read), (cut, dead));
            }
            other => panic!("{other:?}"),
        }
    }
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

#[test]
fn a_frame_of_a_newer_version_is_skipped_alone_wherever_it_stands() {
    let newer = RecordType { kind: Kind::new(9), ..NOTE };
    let mut writer = Writer::new();
    writer.append(b"one");
    let first = writer.append_as(newer, b"what");
    let second = writer.append_as(newer, &[7; 100]);
    writer.append(b"two");
    let last = writer.append_as(newer, b"at the end");
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    let (mut payloads, mut skipped) = (Vec::new(), Vec::new());
    loop {
        match reader.next_record() {
            Ok(Some(record)) => payloads.push(record.payload.to_vec()),
            Ok(None) => break,
            Err(ReadError::Damage(damage)) => {
                assert_eq!(damage.reason, Reason::NewerFrame { kind: 9, flags: 0 });
                assert_eq!(reader.position(), damage.lsn, "the reader stays in front of it");
                assert_eq!(read_on(&mut reader).map_err(drop), Err(()), "until it is skipped");
                skipped.push((damage.lsn, reader.skip_damage().unwrap()));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(payloads, [b"one", b"two"]);
    assert_eq!(skipped, [(first, Some(64)), (second, Some(160)), (last, Some(64))]);
    // What comes behind it is read as well.
    let three = writer.append(b"three");
    writer.update(dir.path());
    assert_eq!(read_on(&mut reader).unwrap(), [(three, b"three".to_vec())]);
}

#[test]
fn skipping_where_nothing_is_wrong_skips_nothing() {
    let mut writer = Writer::new();
    let lsn = writer.append(b"one");
    let dir = saved(&writer);
    let mut reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.skip_damage().unwrap(), Some(0));
    assert_eq!(read_on(&mut reader).unwrap(), [(lsn, b"one".to_vec())]);
    assert_eq!(reader.skip_damage().unwrap(), None, "nothing follows the end");
}

/// Everything that a lenient reader finds, and all damage with what was skipped.
fn leniently(dir: &TempDir) -> (Vec<Lsn>, Vec<(Damage, Option<u64>)>) {
    let mut reader = Reader::open_lenient(dir.path()).unwrap();
    let (mut seen, mut damaged) = (Vec::new(), Vec::new());
    loop {
        match reader.next_record() {
            Ok(Some(record)) => seen.push(record.lsn),
            Ok(None) => return (seen, damaged),
            Err(ReadError::Damage(damage)) => {
                let skipped = reader.skip_damage().unwrap();
                damaged.push((damage, skipped));
                if skipped.is_none() {
                    return (seen, damaged);
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// What a lenient reader must find when the segments with these numbers are not readable.
fn without(expected: &[Seen], numbers: &[u64]) -> Vec<Lsn> {
    let readable = |lsn: &Lsn| !numbers.contains(&(SIZE.base_of(*lsn).get() / SIZE.get()));
    expected.iter().map(|(lsn, _)| *lsn).filter(readable).collect()
}

#[test]
fn a_lenient_reader_goes_on_behind_a_damaged_header() {
    let (writer, expected) = long_log();
    let last = writer.segments.len() as u64 - 1;
    let base = |number: u64| Lsn::new(number * SIZE.get());
    let all: Vec<Vec<u64>> = (0..=last).map(|number| vec![number]).collect();
    let more = [vec![], vec![0, 1], vec![1, 2], vec![0, 2], vec![last - 1, last]];
    for numbers in all.into_iter().chain(more) {
        let mut writer = writer.clone();
        for &number in &numbers {
            flip(&mut writer, base(number).plus(50));
        }
        let dir = saved(&writer);
        let (seen, damaged) = leniently(&dir);
        assert_eq!(seen, without(&expected, &numbers), "{numbers:?}");
        let places: Vec<Lsn> = damaged.iter().map(|(damage, _)| damage.lsn).collect();
        assert_eq!(places, numbers.iter().map(|&number| base(number)).collect::<Vec<_>>());
        for (damage, skipped) in &damaged {
            assert!(matches!(damage.reason, Reason::Header(HeaderFault::Checksum { .. })));
            assert_eq!(damage.path, writer.path(dir.path(), damage.lsn));
            let left = damage.lsn < base(last);
            assert_eq!(*skipped, left.then_some(SIZE.get()), "{damage}");
        }
        // Otherwise it is the end of reading.
        let strict = Reader::open(dir.path()).and_then(|mut reader| read_on(&mut reader));
        assert_eq!(strict.is_err(), !numbers.is_empty());
    }
}

#[test]
fn a_lenient_reader_names_what_does_not_fit_and_reads_what_is_there() {
    let (writer, expected) = long_log();
    let second = Lsn::new(SIZE.get());
    // A missing file.
    let dir = saved(&writer);
    std::fs::remove_file(writer.path(dir.path(), second)).unwrap();
    let (seen, damaged) = leniently(&dir);
    assert_eq!(seen, without(&expected, &[1]));
    assert!(matches!(damaged[0].0.reason, Reason::Chain(ChainFault::Gap { .. })));
    assert_eq!((damaged.len(), damaged[0].1), (1, Some(SIZE.get())));
    // A file that was cut short: what is left of it is read.
    let dir = saved(&writer);
    let short = std::fs::File::options().write(true).open(writer.path(dir.path(), second)).unwrap();
    short.set_len(30_000).unwrap();
    let (seen, damaged) = leniently(&dir);
    let end = second.plus(30_000);
    let lost = |lsn: Lsn| lsn.plus(20_000) > end && SIZE.base_of(lsn) == second;
    assert!(
        without(&expected, &[])
            .into_iter()
            .filter(|&lsn| !lost(lsn))
            .all(|lsn| seen.contains(&lsn))
    );
    assert!(seen.len() < expected.len());
    assert_eq!(damaged.len(), 2, "the file's length, and the frame at which it breaks off");
    assert!(matches!(damaged[0].0.reason, Reason::Chain(ChainFault::WrongFileLength { .. })));
    // A file of another log, and one under another's name.
    let dir = saved(&writer);
    let other = saved(&{
        let mut other = writer.clone();
        let segment = other.segments.get_mut(&second.get()).unwrap();
        segment.header.uuid = uuid::Uuid::from_u128(9);
        segment.bytes[..4096].copy_from_slice(&segment.header.encode());
        other
    });
    std::fs::copy(writer.path(other.path(), second), writer.path(dir.path(), second)).unwrap();
    std::fs::copy(
        writer.path(dir.path(), Lsn::ZERO),
        writer.path(dir.path(), Lsn::new(2 * SIZE.get())),
    )
    .unwrap();
    let (seen, damaged) = leniently(&dir);
    assert_eq!(seen, without(&expected, &[1, 2]));
    assert!(matches!(damaged[0].0.reason, Reason::Chain(ChainFault::OtherLog { .. })));
    assert!(matches!(damaged[1].0.reason, Reason::Chain(ChainFault::WrongBase { .. })));
}

#[test]
fn a_lenient_reader_yields_nothing_of_another_log() {
    let (writer, expected) = long_log();
    let dir = saved(&writer);
    let second = Lsn::new(SIZE.get());
    let mut other = Writer::new();
    let saved_other = saved(&other);
    let mut next = recovered(saved_other.path()).unwrap().0.next;
    next.uuid = uuid::Uuid::from_u128(9);
    (next.base, next.prev_end) = (second, second);
    other.boot(&next);
    other.append(b"of another log");
    other.save(saved_other.path());
    std::fs::copy(writer.path(saved_other.path(), second), writer.path(dir.path(), second))
        .unwrap();
    let (seen, damaged) = leniently(&dir);
    assert_eq!(seen, without(&expected, &[1]));
    assert!(matches!(damaged[0].0.reason, Reason::Chain(ChainFault::OtherLog { .. })));
}

#[test]
fn a_lenient_reader_tells_the_end_of_an_epoch_from_damage_before_a_lost_header() {
    let (mut writer, expected) = long_log();
    let second_epoch = writer.segments.values().find(|s| s.header.epoch == 2).unwrap().header;
    flip(&mut writer, second_epoch.base.plus(50));
    let bases = [second_epoch.base];
    let damaged = |writer: &Writer| -> Vec<Lsn> {
        leniently(&saved(writer)).1.into_iter().map(|(damage, _)| damage.lsn).collect()
    };
    assert_eq!(damaged(&writer), bases, "the cut is no damage");
    let in_last = |lsn: &Lsn| SIZE.base_of(*lsn).plus(SIZE.get()) == second_epoch.base;
    let lsns: Vec<Lsn> = expected.iter().map(|(lsn, _)| *lsn).filter(in_last).collect();
    flip(&mut writer, lsns[0].plus(40));
    assert_eq!(damaged(&writer), [lsns[0], second_epoch.base]);
}

#[test]
fn a_lenient_reader_of_a_sound_log_finds_the_same_and_can_seek() {
    let (mut writer, expected) = long_log();
    let dir = saved(&writer);
    let mut reader = Reader::open_lenient(dir.path()).unwrap();
    assert_eq!(read_on(&mut reader).unwrap(), expected);
    assert_eq!(reader.segment_size(), Some(SIZE));
    flip(&mut writer, Lsn::new(SIZE.get() + 50));
    let dir = saved(&writer);
    let mut reader = Reader::open_lenient(dir.path()).unwrap();
    let there = without(&expected, &[1]);
    for &lsn in there.iter().rev() {
        reader.seek(lsn).unwrap();
        assert_eq!(reader.next_record().unwrap().map(|record| record.lsn), Some(lsn));
    }
    for nowhere in [SIZE.get() + 8192, 100 * SIZE.get(), 4097] {
        let sought = reader.seek(Lsn::new(nowhere));
        assert!(matches!(sought, Err(ReadError::NoSuchPosition { .. })), "{sought:?}");
    }
    // Nothing at all that could be read.
    for base in writer.segments.keys().copied().collect::<Vec<_>>() {
        writer.segments.get_mut(&base).unwrap().bytes[..4096].fill(0);
    }
    let dir = saved(&writer);
    let (seen, damaged) = leniently(&dir);
    assert_eq!((seen.len(), damaged.len()), (0, writer.segments.len()));
    assert_eq!(Reader::open_lenient(dir.path()).unwrap().segment_size(), None);
    assert_eq!(leniently(&directory()), (vec![], vec![]));
}

#[test]
fn a_lenient_reader_follows_behind_the_last_damage() {
    let dir = directory();
    let mut reader = Reader::open_lenient(dir.path()).unwrap();
    assert_eq!(read_on(&mut reader).unwrap(), [], "there is no log yet");
    let (mut writer, expected) = long_log();
    flip(&mut writer, Lsn::new(SIZE.get() + 50));
    writer.save(dir.path());
    let place = damage(read_on(&mut reader)).lsn;
    assert_eq!((place, reader.skip_damage().unwrap()), (Lsn::new(SIZE.get()), Some(SIZE.get())));
    let behind = without(&expected, &[0, 1]).len();
    assert_eq!(read_on(&mut reader).unwrap().len(), behind);
    for n in 0..60_u8 {
        let lsn = writer.append(&vec![n; 8_000]);
        writer.update(dir.path());
        assert_eq!(read_on(&mut reader).unwrap(), [(lsn, vec![n; 8_000])]);
    }
}

/// Read and seek calls of this thread so far.
fn read_calls() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn at_the_durable_mark_asking_again_touches_no_file_and_no_directory() {
    let mut writer = Writer::new();
    let dir = saved(&writer);
    let mut mirror = Reader::open(dir.path()).unwrap();
    let aside = dir.path().with_extension("aside");
    let mut expected = 0;
    for n in 0..60_u8 {
        writer.append(&vec![n; 8_000]);
        expected += 1;
        writer.sync();
        writer.update(dir.path());
        mirror.set_durable(writer.durable);
        if n % 6 == 0 {
            continue;
        }
        assert_eq!(read_on(&mut mirror).unwrap().len(), std::mem::take(&mut expected));
        assert_eq!(mirror.position(), writer.durable);
        // Nothing can be listed or opened while the directory is not there.
        std::fs::rename(dir.path(), &aside).unwrap();
        let cost = |times: u32, mirror: &mut Reader| {
            let before = read_calls();
            for _ in 0..times {
                assert!(mirror.next_record().unwrap().is_none());
            }
            read_calls() - before
        };
        assert_eq!(cost(1000, &mut mirror), cost(0, &mut mirror), "reads at the mark");
        std::fs::rename(&aside, dir.path()).unwrap();
    }
    assert!(writer.segments.len() > 3, "rolled over");
}
