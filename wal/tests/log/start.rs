//! Recovery from the position of a snapshot: the rows R9 to R11 of the decision table, and every
//! place at which a position may stand.
#![allow(clippy::cast_possible_truncation, reason = "test segments are far below 4 GiB")]

use std::convert::Infallible;
use std::fs;

use wal::frame::FrameFault;
use wal::header::segment_name;
use wal::recovery::{Recovered, RecoveryError};
use wal::{Damage, Kind, Lsn, Reason};

use crate::support::{SIZE, Seen, Writer, contents, directory, recovered, recovered_from};

/// Recovers from `start`; nothing may be changed, whatever is decided.
fn outcome(writer: &Writer, start: Lsn) -> Result<(Recovered, Vec<Seen>), RecoveryError> {
    let dir = directory();
    writer.save(dir.path());
    let before = contents(dir.path());
    let outcome = recovered_from(dir.path(), start);
    fs::remove_file(dir.path().join("wal.lock")).unwrap();
    assert_eq!(contents(dir.path()), before, "recovery must not change anything");
    if let Ok((recovered, seen)) = &outcome {
        // A tool decides the same.
        let mut records = 0;
        let report = wal::verify_from(dir.path(), start, |_| {
            records += 1;
            Ok::<(), Infallible>(())
        });
        let mut report = report.unwrap();
        report.elapsed = recovered.report.elapsed;
        assert_eq!((&report, records), (&recovered.report, seen.len()));
    }
    outcome
}

/// What recovery from `start` finds must be what recovery from the first record finds there, and
/// the log must go on in the same way.
fn same_tail(writer: &Writer, start: Lsn) -> Recovered {
    let (whole, all) = outcome(writer, Lsn::ZERO).unwrap();
    let (tail, seen) = outcome(writer, start).unwrap();
    let expected: Vec<Seen> = all.into_iter().filter(|(lsn, _)| *lsn >= start).collect();
    assert_eq!(seen, expected, "from {start}");
    assert_eq!(tail.next, relocated_next(&whole, &tail), "from {start}");
    assert_eq!(tail.staying, whole.staying);
    assert_eq!((tail.report.end, tail.report.clean), (whole.report.end, whole.report.clean));
    assert_eq!(tail.report.torn, relocated_tail(&whole, &tail));
    assert_eq!(tail.report.durable_floor, whole.report.durable_floor.max(start));
    assert_eq!((tail.report.start, tail.report.first), (start, Lsn::ZERO));
    tail
}

fn relocated_next(whole: &Recovered, tail: &Recovered) -> wal::recovery::NextSegment {
    // Paths differ, since each is recovered in a directory of its own.
    let mut next = whole.next.clone();
    assert_eq!(next.dead.len(), tail.next.dead.len());
    next.dead.clone_from(&tail.next.dead);
    next
}

fn relocated_tail(whole: &Recovered, tail: &Recovered) -> Option<wal::TornTail> {
    let mut torn = whole.report.torn.clone();
    if let (Some(torn), Some(other)) = (&mut torn, &tail.report.torn) {
        torn.file.clone_from(&other.file);
    }
    torn
}

fn damaged(writer: &Writer, start: Lsn) -> Damage {
    match outcome(writer, start) {
        Err(RecoveryError::Damaged { damage, durable }) => {
            assert!(durable >= start && damage.lsn < durable, "{damage}, {durable}");
            damage
        }
        other => panic!("{other:?}"),
    }
}

fn flip(writer: &mut Writer, lsn: Lsn) {
    let segment = writer.segments.get_mut(&SIZE.base_of(lsn).get()).unwrap();
    segment.bytes[SIZE.offset_of(lsn) as usize] ^= 1;
}

/// Two epochs over five segments or more, with frames of the log's own; the positions of its records.
fn two_epochs() -> (Writer, Vec<Lsn>) {
    let mut writer = Writer::new();
    let mut lsns = Vec::new();
    for n in 0..30_u8 {
        if n == 14 {
            writer.sync();
            writer.seal();
            let dir = directory();
            writer.save(dir.path());
            writer.boot(&recovered(dir.path()).unwrap().0.next);
        }
        lsns.push(writer.append(&vec![n; 17_000]));
        if n % 5 == 0 {
            writer.pad_page();
            writer.sync();
        }
    }
    assert!(writer.segments.len() >= 5);
    (writer, lsns)
}

fn append_to_the_end_of_the_segment(writer: &mut Writer) -> Lsn {
    let end = SIZE.base_after(SIZE.base_of(writer.tail));
    while end.since(writer.tail) > 60_000 {
        writer.append(&[1; 30_000]);
    }
    let rest = end.since(writer.tail) as usize - 32;
    writer.append(&vec![2; rest]);
    assert_eq!(writer.tail, end);
    end
}

#[test]
fn any_record_may_be_the_first_to_be_read_in_any_epoch() {
    let (writer, lsns) = two_epochs();
    for &lsn in &lsns {
        same_tail(&writer, lsn);
    }
}

#[test]
fn a_segments_base_and_the_end_of_its_header_are_the_same_place() {
    let (writer, _) = two_epochs();
    for &base in writer.segments.keys() {
        for offset in [0, 4096] {
            same_tail(&writer, Lsn::new(base + offset));
        }
    }
}

#[test]
fn a_snapshot_may_stand_at_the_cut_of_a_closed_epoch() {
    let (mut writer, _) = two_epochs();
    let second = writer.segments.values().find(|segment| segment.header.epoch == 2).unwrap();
    let (cut, base) = (second.header.prev_end, second.header.base);
    assert!(SIZE.offset_of(cut) != 0);
    same_tail(&writer, cut);
    // Also when the epoch behind it has no record yet, and whether or not the first was closed.
    writer.segments.retain(|&at, _| at <= base.get());
    let header = writer.segments[&base.get()].header;
    writer.insert(header);
    assert!(same_tail(&writer, cut).report.clean);
    same_tail(&writer, base.plus(4096));
    // And when the segment in which the cut lies was removed.
    writer.segments.retain(|&at, _| at >= base.get());
    for start in [cut, base, base.plus(4096)] {
        let (Recovered { report, next, .. }, seen) = outcome(&writer, start).unwrap();
        assert_eq!((report.end, next.base, next.prev_end), (cut, base, cut));
        assert!(seen.is_empty() && report.clean);
    }
    // Nothing that was durable lies between the cut and the next segment.
    let removed = outcome(&writer, cut.plus(32));
    assert!(matches!(removed, Err(RecoveryError::Removed { first, .. }) if first == base));
}

#[test]
fn a_snapshot_may_stand_at_the_end_of_the_log() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let end = writer.tail;
    let tail = same_tail(&writer, end);
    assert_eq!((tail.report.end, tail.next.prev_end, tail.report.bytes), (end, end, 0));
    // With something torn behind it.
    let mut torn = writer.clone();
    torn.reserve(b"two");
    assert!(same_tail(&torn, end).report.torn.is_some());
    // Closed in order.
    writer.sync();
    writer.seal();
    assert!(same_tail(&writer, writer.tail).report.clean);
    assert!(same_tail(&writer, end).report.clean);
}

#[test]
fn a_snapshot_may_stand_at_the_end_of_a_full_segment() {
    let mut writer = Writer::new();
    let end = append_to_the_end_of_the_segment(&mut writer);
    let tail = same_tail(&writer, end);
    assert_eq!((tail.next.base, tail.next.prev_end), (end, end));
    // The next one made ahead, once and twice.
    for dead in [0, 1] {
        writer.prepare();
        for start in [end, end.plus(4096)] {
            let tail = same_tail(&writer, start);
            assert_eq!((tail.next.base, tail.next.dead.len()), (end, dead));
        }
    }
    // Nothing but the segments made ahead is left: the first is replaced, not removed.
    writer.segments.remove(&0);
    let (Recovered { next, staying, .. }, _) = outcome(&writer, end).unwrap();
    assert_eq!((next.base, next.prev_end, next.dead.len()), (end, end, 1));
    assert!(staying.is_empty());
}

// R9

#[test]
fn a_log_whose_beginning_was_removed_needs_a_snapshot_past_it() {
    let (mut writer, lsns) = two_epochs();
    let all = outcome(&writer, Lsn::ZERO).unwrap().1;
    writer.segments.remove(&0);
    let first = Lsn::new(SIZE.get());
    for start in [Lsn::ZERO, lsns[2], Lsn::new(SIZE.get() - 32)] {
        let error = outcome(&writer, start).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("the log begins at LSN {first}, ")), "{text}");
        match error {
            RecoveryError::Removed { start: asked, first: there } => {
                assert_eq!((asked, there), (start, first));
            }
            other => panic!("{other}"),
        }
    }
    let later = *lsns.iter().find(|&&lsn| lsn > first).unwrap();
    for start in [first, first.plus(4096), later] {
        let (Recovered { report, staying, .. }, seen) = outcome(&writer, start).unwrap();
        let there: Vec<Seen> = all.iter().filter(|(lsn, _)| *lsn >= start).cloned().collect();
        assert_eq!(seen, there);
        assert_eq!((report.first, report.start, report.end), (first, start, writer.tail));
        assert_eq!(staying[0].base, first);
    }
    // A tool reads what is there.
    let dir = directory();
    writer.save(dir.path());
    let report = wal::verify(dir.path(), |_| Ok::<(), Infallible>(())).unwrap();
    assert_eq!((report.first, report.start), (first, first));
}

// R10

#[test]
fn a_start_within_a_frame_or_a_header_is_refused() {
    let (writer, lsns) = two_epochs();
    let base = SIZE.base_of(lsns[20]);
    for (start, begins) in [
        (lsns[3].plus(32), lsns[3]),
        (lsns[3].plus(1), lsns[3]),
        (lsns[20].plus(64), lsns[20]),
        (base.plus(32), base),
        (base.plus(4095), base),
    ] {
        match outcome(&writer, start) {
            Err(RecoveryError::NoSuchStart { start: asked, begins: around }) => {
                assert_eq!((asked, around), (start, begins));
            }
            other => panic!("{start}: {other:?}"),
        }
    }
}

// R11

#[test]
fn a_start_behind_the_end_of_the_log_is_corruption() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let end = writer.tail;
    let free = Reason::Frame(FrameFault::Free);
    for start in [end.plus(32), end.plus(5), Lsn::new(SIZE.get() - 32), Lsn::new(SIZE.get())] {
        let damage = damaged(&writer, start);
        assert_eq!((damage.lsn, damage.reason), (end, free.clone()), "from {start}");
    }
    // In a segment that was made ahead.
    writer.prepare();
    let ahead = Lsn::new(SIZE.get() + 4096);
    assert_eq!(damaged(&writer, ahead.plus(64)).lsn, ahead);
    // Behind a full last segment, and without any segment.
    let mut writer = Writer::new();
    let end = append_to_the_end_of_the_segment(&mut writer);
    let damage = damaged(&writer, end.plus(4096));
    let expected = segment_name(end);
    assert_eq!((damage.lsn, damage.reason), (end, Reason::LogEnds { expected }));
    writer.segments.clear();
    assert_eq!(damaged(&writer, end).lsn, Lsn::ZERO);
}

#[test]
fn a_start_behind_a_cut_is_corruption() {
    let (writer, _) = two_epochs();
    let second = writer.segments.values().find(|segment| segment.header.epoch == 2).unwrap();
    let cut = second.header.prev_end;
    let damage = damaged(&writer, cut.plus(64));
    assert_eq!((damage.lsn, damage.reason), (cut, Reason::Cut));
}

// What lies before the start, and what lies behind it.

#[test]
fn damage_before_the_start_is_not_looked_for_and_behind_it_is_refused() {
    let (mut writer, lsns) = two_epochs();
    flip(&mut writer, lsns[2].plus(50));
    flip(&mut writer, lsns[8].plus(50));
    let (.., seen) = outcome(&writer, lsns[9]).unwrap();
    assert_eq!(seen.len(), 21);
    assert_eq!(damaged(&writer, lsns[3]).lsn, lsns[8]);
    flip(&mut writer, lsns[22].plus(50));
    assert_eq!(damaged(&writer, lsns[9]).lsn, lsns[22], "claimed by the frames behind it");
    // At the end, a position with neither a frame nor an unbroken line up to it is refused.
    let mut writer = Writer::new();
    let bad = writer.append(b"one");
    flip(&mut writer, bad.plus(33));
    assert_eq!(damaged(&writer, writer.tail).lsn, bad);
}

#[test]
fn what_was_durable_is_still_found_behind_the_start() {
    for carried in [false, true] {
        let mut writer = Writer::new();
        let start = writer.append(b"one");
        let bad = writer.append(b"two");
        if carried {
            writer.sync();
            writer.internal(Kind::IDLE, 32);
        }
        flip(&mut writer, bad.plus(33));
        if carried {
            assert_eq!(damaged(&writer, start).lsn, bad);
            assert_eq!(damaged(&writer, bad).lsn, bad);
        } else {
            assert_eq!(same_tail(&writer, bad).report.end, bad);
        }
    }
}

#[test]
fn every_header_is_checked_wherever_reading_begins() {
    let (mut writer, lsns) = two_epochs();
    flip(&mut writer, Lsn::new(60));
    match outcome(&writer, *lsns.last().unwrap()) {
        Err(RecoveryError::Unreadable(damage)) => assert_eq!(damage.lsn, Lsn::ZERO),
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_before_the_start_are_not_read_beyond_their_headers() {
    let (mut writer, lsns) = two_epochs();
    let start = *lsns.last().unwrap();
    // Without their frames: only their headers can have been read.
    for segment in writer.segments.values_mut() {
        if segment.header.end() <= start {
            segment.bytes[4096..].fill(0);
        }
    }
    let (Recovered { report, .. }, seen) = outcome(&writer, start).unwrap();
    assert_eq!((seen.len(), report.end, report.segments), (1, writer.tail, writer.segments.len()));
    assert_eq!(report.bytes, writer.tail.since(start));
}

#[test]
fn of_all_positions_only_those_between_frames_are_places_to_begin() {
    let mut writer = Writer::new();
    let mut places = vec![Lsn::ZERO, Lsn::new(4096)];
    for n in 0..12_u8 {
        let lsn = writer.append(&vec![n; usize::from(n) * 60]);
        places.push(lsn);
    }
    places.push(writer.tail);
    let dir = directory();
    writer.save(dir.path());
    let mut begun = Vec::new();
    for start in (0..writer.tail.get() + 256).step_by(8).map(Lsn::new) {
        match wal::verify_from(dir.path(), start, |_| Ok::<(), Infallible>(())) {
            Ok(report) => {
                assert_eq!((report.start, report.end), (start, writer.tail));
                begun.push(start);
            }
            Err(RecoveryError::NoSuchStart { begins, .. }) => {
                assert!(start < writer.tail && begins < start, "{begins} around {start}");
            }
            Err(RecoveryError::Damaged { damage, .. }) => {
                assert_eq!(damage.lsn, writer.tail);
                assert!(start > writer.tail);
            }
            Err(other) => panic!("{start}: {other}"),
        }
    }
    places.dedup();
    assert_eq!(begun, places);
}
