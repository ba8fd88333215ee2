//! The decision table of `wal::recovery`, a test per row and each with its opposite.
#![allow(clippy::cast_possible_truncation, reason = "test segments are far below 4 GiB")]

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use wal::chain::ChainFault;
use wal::frame::FrameFault;
use wal::header::{HeaderFault, HeaderField, Link, segment_name};
use wal::recovery::{NextSegment, Recovered, RecoveryError, recover};
use wal::{
    Damage, DirectoryError, Kind, Known, LockedDirectory, Log, Lsn, Options, Reason, Record,
    RecordType, Urgency,
};

use crate::live_support::{wait_durable, wait_until};
use crate::support::{NOTE, SIZE, Seen, Writer, contents, directory, recovered, recovered_above};

fn accepted(writer: &Writer) -> (Recovered, Vec<Seen>) {
    let dir = directory();
    writer.save(dir.path());
    let before = contents(dir.path());
    let outcome = recovered(dir.path()).unwrap();
    fs::remove_file(dir.path().join("wal.lock")).unwrap();
    assert_eq!(contents(dir.path()), before, "recovery must not change anything");
    outcome
}

fn refused(writer: &Writer) -> RecoveryError {
    let dir = directory();
    writer.save(dir.path());
    refused_in(dir.path())
}

fn refused_in(directory: &Path) -> RecoveryError {
    let before = contents(directory);
    let error = recovered(directory).unwrap_err();
    fs::remove_file(directory.join("wal.lock")).unwrap();
    assert_eq!(contents(directory), before, "a refusal must not change anything");
    error
}

/// Refused as corruption: where, and why.
fn damaged(writer: &Writer) -> (Lsn, Reason) {
    match refused(writer) {
        RecoveryError::Damaged { damage, durable } => {
            assert!(damage.lsn < durable, "{damage} is not below {durable}");
            assert!(damage.path.ends_with(segment_name(SIZE.base_of(damage.lsn))));
            assert_eq!(damage.offset, SIZE.offset_of(damage.lsn));
            (damage.lsn, damage.reason)
        }
        other => panic!("{other}"),
    }
}

fn unreadable(error: RecoveryError) -> Damage {
    match error {
        RecoveryError::Unreadable(damage) => damage,
        other => panic!("{other}"),
    }
}

fn overwrite(writer: &mut Writer, lsn: Lsn, bytes: &[u8]) {
    let segment = writer.segments.get_mut(&SIZE.base_of(lsn).get()).unwrap();
    let at = SIZE.offset_of(lsn) as usize;
    segment.bytes[at..at + bytes.len()].copy_from_slice(bytes);
}

fn payloads(seen: &[Seen]) -> Vec<&[u8]> {
    seen.iter().map(|(_, payload)| payload.as_slice()).collect()
}

// R1

#[test]
fn an_empty_directory_is_a_fresh_log() {
    let dir = directory();
    let (Recovered { report, next, .. }, seen) = recovered(dir.path()).unwrap();
    assert!(seen.is_empty() && report.clean && report.torn.is_none());
    assert_eq!((report.end, report.epoch, report.segments), (Lsn::ZERO, 0, 0));
    assert_eq!((next.base, next.prev_end, next.epoch), (Lsn::ZERO, Lsn::ZERO, 1));
    assert!(!next.clean_end_before && !next.uuid.is_nil());
    assert_eq!(next.segment_size, SIZE);
}

#[test]
fn half_made_segments_are_nobodys_data_and_are_removed_by_the_next_owner() {
    let dir = directory();
    let half_made = dir.path().join("wal-0000000000000000.seg.tmp");
    fs::write(&half_made, b"half a header").unwrap();
    let (Recovered { report, next, .. }, _) = recovered(dir.path()).unwrap();
    assert_eq!((report.segments, next.base), (0, Lsn::ZERO));
    assert!(half_made.exists(), "recovery itself removes nothing");
    next.remove_leftovers(&LockedDirectory::acquire(dir.path()).unwrap()).unwrap();
    assert!(!half_made.exists());
}

#[test]
fn an_empty_directory_is_refused_when_something_was_durable() {
    let dir = directory();
    match recovered_above(dir.path(), Lsn::new(4160)) {
        Err(RecoveryError::Damaged { damage, durable }) => {
            assert_eq!((damage.lsn, durable), (Lsn::ZERO, Lsn::new(4160)));
            let expected = segment_name(Lsn::ZERO);
            assert_eq!(damage.reason, Reason::LogEnds { expected });
        }
        other => panic!("{other:?}"),
    }
}

// R2

#[test]
fn a_foreign_name_is_refused() {
    let dir = directory();
    Writer::new().save(dir.path());
    let foreign = dir.path().join("wal-0000000000020000.seg.bak");
    fs::write(&foreign, b"").unwrap();
    match refused_in(dir.path()) {
        RecoveryError::Directory(DirectoryError::ForeignName { path }) => assert_eq!(path, foreign),
        other => panic!("{other}"),
    }
    fs::remove_file(foreign).unwrap();
    recovered(dir.path()).unwrap();
}

#[test]
fn every_flip_in_a_header_page_is_refused() {
    let dir = directory();
    let mut writer = Writer::new();
    writer.append(b"one");
    writer.prepare();
    writer.save(dir.path());
    let base = SIZE.base_after(Lsn::ZERO);
    let path = writer.path(dir.path(), base);
    recovered(dir.path()).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..4096 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let damage = unreadable(recovered(dir.path()).unwrap_err());
        assert_eq!((damage.lsn, damage.offset, &damage.path), (base, 0, &path), "byte {at}");
        assert!(!damage.reason.is_newer_version(), "byte {at}: {damage}");
    }
    fs::write(&path, &whole).unwrap();
    recovered(dir.path()).unwrap();
}

#[test]
fn a_zero_or_torn_header_under_a_final_name_is_refused() {
    // A crash cannot leave one: a segment gets its name after its header was synced.
    for (keep, fault) in [(0, HeaderFault::Zeros), (4, HeaderFault::Magic)] {
        let mut writer = Writer::new();
        writer.append(b"one");
        writer.prepare();
        let base = SIZE.base_after(Lsn::ZERO);
        overwrite(&mut writer, base.plus(keep), &vec![0; 4096 - keep as usize]);
        let damage = unreadable(refused(&writer));
        assert_eq!((damage.lsn, damage.reason), (base, Reason::Header(fault)));
    }
}

#[test]
fn a_newer_version_is_told_from_damage() {
    for (at, major, minor) in [(16, 2, 0), (17, 257, 0), (18, 1, 1), (19, 1, 256)] {
        let mut writer = Writer::new();
        let header = &mut writer.segments.get_mut(&0).unwrap().bytes[..4096];
        header[at] += 1;
        let damaged = unreadable(refused(&writer));
        assert!(matches!(damaged.reason, Reason::Header(HeaderFault::Checksum { .. })));

        let header = &mut writer.segments.get_mut(&0).unwrap().bytes[..4096];
        let crc = crc32fast::hash(&header[12..]);
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        let newer = unreadable(refused(&writer));
        assert_eq!(newer.reason, Reason::Header(HeaderFault::Newer { major, minor }));
        assert!(newer.to_string().contains("written by a newer version"));
    }
}

#[test]
fn segments_that_do_not_fit_each_other_are_refused() {
    let mut good = Writer::new();
    for _ in 0..3 {
        good.prepare();
    }
    let [first, second, third] = [1, 2, 3].map(|n| n * SIZE.get());
    accepted(&good);

    // The segment whose header is changed, and the fault expected.
    type Change = fn(&mut Writer);
    let cases: [(Change, u64, &str); 5] = [
        (|w| drop(w.segments.remove(&SIZE.get())), second, "is missing before this one"),
        (|w| edit(w, 1, |h| h.uuid = uuid::Uuid::from_u128(9)), first, "another log"),
        (|w| edit(w, 2, |h| h.epoch = 2), second, "epoch 2 does not follow epoch 1"),
        (|w| edit(w, 3, |h| h.base = Lsn::ZERO.plus(SIZE.get())), third, "field `prev_end`"),
        (
            |w| w.segments.get_mut(&(3 * SIZE.get())).unwrap().bytes.truncate(9000),
            third,
            "bytes long",
        ),
    ];
    for (change, base, text) in cases {
        let mut writer = good.clone();
        change(&mut writer);
        let damage = unreadable(refused(&writer));
        assert_eq!(damage.lsn, Lsn::new(base), "{damage}");
        assert!(damage.to_string().contains(text), "{damage}");
    }
}

fn edit(writer: &mut Writer, number: u64, change: fn(&mut wal::header::SegmentHeader)) {
    let segment = writer.segments.get_mut(&(number * SIZE.get())).unwrap();
    change(&mut segment.header);
    segment.bytes[..4096].copy_from_slice(&segment.header.encode());
}

#[test]
fn an_epoch_that_begins_has_a_number_of_its_own() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let (Recovered { next, .. }, _) = accepted(&writer);
    let mut header = next.header(7, 0);
    header.epoch = 1;
    writer.boot_with(&next, header);
    let damage = unreadable(refused(&writer));
    let fault = ChainFault::EpochOrder { previous: 1, found: 1 };
    assert_eq!(damage.reason, Reason::Chain(fault));
}

#[test]
fn a_segment_under_another_segments_name_is_refused() {
    let mut writer = Writer::new();
    writer.prepare();
    let copy = writer.segments[&0].clone();
    writer.segments.get_mut(&SIZE.get()).unwrap().bytes = copy.bytes;
    let damage = unreadable(refused(&writer));
    assert_eq!(damage.reason, Reason::Chain(ChainFault::WrongBase { found: 0 }));
}

#[test]
fn a_header_that_no_writer_writes_is_refused() {
    let mut writer = Writer::new();
    edit(&mut writer, 0, |header| header.durable_floor = Lsn::new(32));
    let damage = unreadable(refused(&writer));
    let field = HeaderField::DurableFloor;
    assert_eq!(damage.reason, Reason::Header(HeaderFault::Impossible { field }));

    // The first segment of all continues nothing.
    let mut writer = Writer::new();
    edit(&mut writer, 0, |header| header.link = Link::Continues);
    let damage = unreadable(refused(&writer));
    let field = HeaderField::PrevEnd;
    assert_eq!(damage.reason, Reason::Header(HeaderFault::Impossible { field }));

    // A cut lies in the segment before, or at its end, where a frame may end.
    for prev_end in [SIZE.get() - 1, SIZE.get() + 32, 0] {
        let mut writer = Writer::new();
        writer.append(b"one");
        let (Recovered { next, .. }, _) = accepted(&writer);
        let mut header = next.header(7, 0);
        (header.prev_end, header.durable_floor) = (Lsn::new(prev_end), Lsn::ZERO);
        writer.boot_with(&next, header);
        let field = HeaderField::PrevEnd;
        let damage = unreadable(refused(&writer));
        assert_eq!(damage.reason, Reason::Header(HeaderFault::Impossible { field }), "{prev_end}");
    }
}

// R3 against R5: the same hole, with and without something that shows it was durable.

#[test]
fn a_bad_frame_is_corruption_when_a_later_frame_claims_it_and_torn_otherwise() {
    for claimed in [false, true] {
        let mut writer = Writer::new();
        writer.append(b"one");
        let bad = writer.append(b"two");
        if claimed {
            writer.sync();
        }
        let behind = writer.append(b"three");
        let end = writer.tail;
        overwrite(&mut writer, bad.plus(32), b"T");
        if claimed {
            let (lsn, reason) = damaged(&writer);
            assert_eq!(lsn, bad);
            assert!(matches!(reason, Reason::Frame(FrameFault::Checksum { .. })), "{reason}");
        } else {
            let (Recovered { report, next, .. }, seen) = accepted(&writer);
            assert_eq!(payloads(&seen), [b"one"]);
            let torn = report.torn.unwrap();
            assert_eq!((torn.lsn, torn.offset, report.end), (bad, bad.get(), bad));
            assert_eq!(torn.bytes_dropped, end.since(bad));
            assert!(!report.clean && behind > next.prev_end);
            assert_eq!((next.prev_end, next.base, next.epoch), (bad, Lsn::new(SIZE.get()), 2));
        }
    }
}

#[test]
fn the_claim_may_stand_in_a_later_segment_and_behind_more_bad_frames() {
    let mut writer = Writer::new();
    writer.prepare(); // before anything is durable, so that its header claims nothing
    let bad = writer.append(&[1; 40_000]);
    writer.sync();
    let worse = writer.append(&[2; 40_000]);
    writer.append(&[3; 60_000]);
    let far = writer.append(&[4; 40_000]);
    assert_eq!(SIZE.base_of(far).get(), SIZE.get(), "in the second segment");
    overwrite(&mut writer, bad.plus(100), &[9]);
    overwrite(&mut writer, worse.plus(100), &[9]);
    assert_eq!(damaged(&writer).0, bad);
    // Without any frame that claims it: a torn tail over both segments.
    overwrite(&mut writer, far.plus(100), &[9]);
    let third = Lsn::new(SIZE.get()).plus(4096);
    overwrite(&mut writer, third.plus(100), &[9]);
    let padding = worse.plus(40_032);
    overwrite(&mut writer, padding.plus(8), &[0xff; 8]);
    let (Recovered { report, next, .. }, seen) = accepted(&writer);
    assert!(seen.is_empty());
    assert_eq!((report.end, next.base), (Lsn::ZERO, Lsn::ZERO));
    assert_eq!(report.torn.unwrap().bytes_dropped, far.plus(40_032).since(bad));
    assert_eq!(next.dead.len(), 1, "the second segment is dead, the first is replaced");
}

#[test]
fn the_claim_may_stand_far_behind_in_a_large_segment() {
    // Several times what recovery looks at in one piece.
    const SEGMENT_BYTES: u64 = 4 << 20;
    let dir = directory();
    let mut options = Options::new(dir.path());
    options.segment_bytes = SEGMENT_BYTES;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    let first = log.reserve(NOTE, Urgency::Take, b"first").unwrap();
    let bad = first.lsn();
    first.commit();
    while log.reserved().get() < SEGMENT_BYTES - (1 << 20) {
        wait_until("there is room", || log.has_room());
        log.reserve(NOTE, Urgency::Take, &[7; 30_000]).unwrap().commit();
    }
    wait_durable(&log);
    let last = log.reserve(NOTE, Urgency::Take, b"with a claim").unwrap();
    let kept = usize::try_from(last.lsn().get()).unwrap();
    last.commit();
    wait_durable(&log);
    drop(log);
    // Nothing is left but the last frame.
    let path = dir.path().join(segment_name(Lsn::ZERO));
    let mut bytes = fs::read(&path).unwrap();
    bytes[4_096..kept].fill(0);
    fs::write(&path, bytes).unwrap();
    match recovered(dir.path()) {
        Err(RecoveryError::Damaged { damage, durable }) => {
            assert_eq!(damage.lsn, bad);
            // Which frames carry a claim alone, and how much it covers, is a matter of time.
            assert!(durable.get() > SEGMENT_BYTES / 2, "{durable}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_page_below_the_claim_is_refused_at_the_frame_that_begins_in_it() {
    let mut writer = Writer::new();
    let frames: Vec<Lsn> = (0..60).map(|n| writer.append(&[n; 300])).collect();
    writer.sync();
    writer.append(b"claims all of them");
    accepted(&writer);
    for page in 1..5 {
        let mut writer = writer.clone();
        let lost = Lsn::new(page * 4096);
        overwrite(&mut writer, lost, &[0; 4096]);
        let hit = frames.iter().copied().find(|lsn| lsn.plus(352) > lost).unwrap();
        assert_eq!(damaged(&writer).0, hit);
    }
}

#[test]
fn a_header_floor_and_a_floor_from_elsewhere_count() {
    let mut writer = Writer::new();
    let bad = writer.append(b"one");
    writer.sync();
    writer.prepare();
    overwrite(&mut writer, bad.plus(33), b"X");
    assert_eq!(damaged(&writer).0, bad, "the second segment's header says it was durable");

    let mut writer = Writer::new();
    writer.append(b"one");
    let end = writer.tail;
    let dir = directory();
    writer.save(dir.path());
    assert!(recovered_above(dir.path(), end).is_ok());
    match recovered_above(dir.path(), end.plus(32)) {
        Err(RecoveryError::Damaged { damage, .. }) => {
            assert_eq!((damage.lsn, damage.reason), (end, Reason::Frame(FrameFault::Free)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_closed_epoch_must_be_whole_up_to_its_cut_and_dead_behind_it() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let last = writer.append(b"two");
    let dead = writer.append(b"dead");
    overwrite(&mut writer, dead, &[0]);
    let (Recovered { next, .. }, _) = accepted(&writer);
    assert_eq!(next.prev_end, dead);
    // The frame that was torn off comes back to life, as a second crash could make it.
    let mut again = writer.clone();
    again.commit(dead);
    again.boot(&next);
    again.append(b"three");
    let (Recovered { report, .. }, seen) = accepted(&again);
    assert_eq!(payloads(&seen), [b"one".as_slice(), b"two", b"three"]);
    assert_eq!((report.epoch, report.segments), (2, 2));

    overwrite(&mut again, last.plus(40), &[1]);
    assert_eq!(damaged(&again).0, last);
}

#[test]
fn a_cut_says_what_was_durable_whatever_the_header_behind_it_does() {
    let mut writer = Writer::new();
    let one = writer.append(b"one");
    let (Recovered { next, .. }, _) = accepted(&writer);
    let mut header = next.header(7, 0);
    header.durable_floor = Lsn::ZERO;
    writer.boot_with(&next, header);
    overwrite(&mut writer, one.plus(33), b"X");
    assert_eq!(damaged(&writer).0, one);
}

#[test]
fn a_frame_across_the_cut_is_refused() {
    let mut writer = Writer::new();
    let cut = writer.append(b"one").plus(32);
    writer.boot(&NextSegment {
        segment_size: SIZE,
        uuid: writer.segments[&0].header.uuid,
        epoch: 2,
        base: Lsn::new(SIZE.get()),
        prev_end: cut,
        clean_end_before: false,
        temporary: Vec::new(),
        dead: Vec::new(),
    });
    let (lsn, reason) = damaged(&writer);
    assert_eq!((lsn, reason), (Lsn::new(4096), Reason::CrossesCut { end: cut.plus(32), cut }));
}

// R4, R6

#[test]
fn zeros_behind_the_end_are_no_torn_tail() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let end = writer.tail;
    let (Recovered { report, next, .. }, _) = accepted(&writer);
    assert!(report.torn.is_none() && !report.clean);
    assert_eq!((report.end, next.prev_end, next.base), (end, end, Lsn::new(SIZE.get())));
    assert!(!next.clean_end_before);

    // One byte anywhere behind it is reported.
    overwrite(&mut writer, end.plus(5000), &[1]);
    let torn = accepted(&writer).0.report.torn.unwrap();
    assert_eq!(torn.reason, Reason::Frame(FrameFault::Free));
    assert_eq!(torn.lsn, end);
}

#[test]
fn a_log_that_fills_its_last_segment_ends_at_the_boundary() {
    let mut writer = Writer::new();
    let room = SIZE.get() - 4096;
    writer.append(&[0; 10_000]);
    writer.append(&[1; 60_000]);
    let rest = room - writer.tail.since(Lsn::new(4096)) - 32;
    writer.append(&vec![2; rest as usize]);
    assert_eq!(writer.tail, Lsn::new(SIZE.get()));
    let (Recovered { report, next, .. }, seen) = accepted(&writer);
    assert_eq!(seen.len(), 3);
    assert_eq!((report.end, next.base, next.prev_end), (writer.tail, writer.tail, writer.tail));
    assert!(next.dead.is_empty());

    // With the next segment made ahead and unused it is the same, and that one is replaced.
    writer.prepare();
    let ahead = accepted(&writer).0;
    assert_eq!((ahead.report.end, ahead.next.base), (report.end, next.base));
    assert!(ahead.next.dead.is_empty());
    // Made ahead twice: the one too many goes first.
    writer.prepare();
    let ahead = accepted(&writer).0;
    assert_eq!(ahead.next.base, next.base);
    assert_eq!(ahead.next.dead.len(), 1);

    writer.boot(&ahead.next);
    writer.append(b"on");
    assert_eq!(accepted(&writer).1.len(), 4);
}

#[test]
fn a_seal_is_a_clean_end_only_as_the_last_thing_in_the_log() {
    let mut writer = Writer::new();
    writer.append(b"one");
    writer.seal();
    let (Recovered { report, next, .. }, _) = accepted(&writer);
    assert!(report.clean && next.clean_end_before);

    let mut torn = writer.clone();
    let tail = torn.tail;
    overwrite(&mut torn, tail.plus(64), &[1]);
    assert!(!accepted(&torn).0.report.clean);

    writer.boot(&next);
    assert!(accepted(&writer).0.report.clean, "nothing happened since");
    writer.append(b"two");
    assert!(!accepted(&writer).0.report.clean);
}

#[test]
fn a_seal_or_idle_frame_makes_the_last_group_part_of_what_must_be_whole() {
    for carrier in [Kind::SEAL, Kind::IDLE] {
        let mut writer = Writer::new();
        let last = writer.append(b"one");
        writer.sync();
        overwrite(&mut writer, last.plus(33), b"X");
        assert_eq!(accepted(&writer).0.report.end, Lsn::ZERO, "no later claim: undetectable");
        writer.internal(carrier, 32);
        assert_eq!(damaged(&writer).0, last);
    }
}

// Boots

#[test]
fn boots_without_a_record_leave_no_segment_behind() {
    let mut writer = Writer::new();
    writer.append(b"one");
    for boot in 2..10 {
        writer.prepare();
        let (Recovered { report, next, .. }, seen) = accepted(&writer);
        assert_eq!((seen.len(), next.epoch, report.epoch), (1, boot, boot - 1));
        assert_eq!((next.base, next.prev_end), (Lsn::new(SIZE.get()), report.end));
        writer.boot(&next);
        assert_eq!(writer.segments.len(), 2);
    }
}

#[test]
fn leftovers_are_removed_last_one_first_and_a_crash_in_between_recovers_the_same() {
    let mut writer = Writer::new();
    writer.append(b"one");
    for _ in 0..3 {
        writer.prepare();
    }
    let dir = directory();
    writer.save(dir.path());
    let (Recovered { next, .. }, _) = recovered(dir.path()).unwrap();
    let names: Vec<_> = next.dead.iter().map(|path| path.file_name().unwrap()).collect();
    let expected = [3, 2].map(|n| OsString::from(segment_name(Lsn::new(n * SIZE.get()))));
    assert_eq!(names, expected, "not the one at the new base, which is replaced");
    for gone in 0..=next.dead.len() {
        writer.save(dir.path());
        for path in &next.dead[..gone] {
            fs::remove_file(path).unwrap();
        }
        let again = recovered(dir.path()).unwrap().0.next;
        assert_eq!((again.base, again.prev_end), (next.base, next.prev_end));
        assert_eq!(again.dead, next.dead[gone..]);
    }
}

// R7, R8

#[test]
fn unknown_internal_frames_are_skipped_only_if_they_say_so() {
    let mut writer = Writer::new();
    writer.append(b"one");
    writer.internal(Kind::new(9), 64);
    writer.append(b"two");
    let (Recovered { report, .. }, seen) = accepted(&writer);
    assert_eq!((seen.len(), report.records), (2, 2));

    let at = writer.append_as(RecordType { kind: Kind::new(9), ..NOTE }, b"what");
    let damage = unreadable(refused(&writer));
    assert_eq!((damage.lsn, damage.offset), (at, at.get()));
    assert_eq!(damage.reason, Reason::NewerFrame { kind: 9, flags: 0 });
    assert!(damage.reason.is_newer_version());
}

#[derive(Debug, thiserror::Error)]
#[error("does not fit")]
struct DoesNotFit;

#[test]
fn a_record_that_the_caller_refuses_is_named() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let bad = writer.append(b"two");
    writer.append(b"three");
    let dir = directory();
    writer.save(dir.path());
    let lock = LockedDirectory::acquire(dir.path()).unwrap();
    let apply = |record: Record<'_>| {
        if record.payload == b"two" { Err(DoesNotFit) } else { Ok(()) }
    };
    let error = recover(&lock, SIZE, Known::default(), apply).unwrap_err();
    match &error {
        RecoveryError::Apply { path, offset, lsn, .. } => {
            assert_eq!((*offset, *lsn), (bad.get(), bad));
            assert!(path.ends_with(segment_name(Lsn::ZERO)));
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().ends_with("record refused: does not fit"), "{error}");
}

#[test]
fn void_frames_and_padding_are_stepped_over() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let given_up = writer.reserve(b"given up");
    writer.append(b"two");
    writer.void(given_up);
    writer.pad_page();
    writer.append(b"three");
    let (Recovered { report, .. }, seen) = accepted(&writer);
    assert_eq!(payloads(&seen), [b"one".as_slice(), b"two", b"three"]);
    assert_eq!(report.bytes, writer.tail.since(Lsn::new(4096)));
}

#[test]
fn verify_decides_the_same_without_the_lock() {
    let mut writer = Writer::new();
    let bad = writer.append(b"one");
    writer.sync();
    writer.append(b"two");
    let dir = directory();
    writer.save(dir.path());
    let _owner = LockedDirectory::acquire(dir.path()).unwrap();
    let verify = || wal::verify(dir.path(), |_| Ok::<(), DoesNotFit>(()));
    assert_eq!(verify().unwrap().records, 2);
    overwrite(&mut writer, bad.plus(33), b"X");
    writer.save(dir.path());
    match verify() {
        Err(RecoveryError::Damaged { damage, .. }) => assert_eq!(damage.lsn, bad),
        other => panic!("{other:?}"),
    }
}
