//! Removing the oldest segments: what goes and what stays, the next start, and readers meanwhile.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wal::header::segment_name;
use wal::recovery::RecoveryError;
use wal::{
    Log, Lsn, OpenError, Options, ReadError, Reader, RecoveryReport, Removed, ReserveError,
    SegmentFacts, Urgency,
};

use crate::live_support::{RECORD, Shadow, payload, small, wait_durable, wait_until};
use crate::support::{SIZE, Writer, directory, recovered};

type Records = Vec<(Lsn, Vec<u8>)>;

fn open(options: Options) -> (Log, RecoveryReport, Records) {
    let mut records = Records::new();
    let (log, report) = Log::open(options, |record| {
        records.push((record.lsn, record.payload.to_vec()));
        Ok::<_, Infallible>(())
    })
    .unwrap();
    (log, report, records)
}

fn from(directory: &Path, start: Lsn) -> Options {
    let mut options = small(directory);
    options.start = start;
    options
}

/// Appends until the log stands in its `segments`-th segment from here, all of it durable.
fn fill(log: &Log, shadow: &mut Shadow, segments: u64) {
    let until = log.reserved().plus(segments * SIZE.get());
    while log.reserved() < until {
        wait_until("there is room", || log.has_room());
        shadow.append(log, &payload(log.reserved().get(), 9_000));
        log.kick();
    }
    wait_durable(log);
}

/// Removes below `floor` once everything that can go is unmapped.
fn remove(log: &Log, floor: Lsn) -> Removed {
    let due = SIZE.base_of(floor.min(log.durable()));
    let mut all = Removed { files: 0, bytes: 0, first: Lsn::ZERO };
    wait_until("segments are unmapped", || {
        let removed = log.remove_below(floor).unwrap();
        all.files += removed.files;
        all.bytes += removed.bytes;
        all.first = removed.first;
        removed.first >= due
    });
    all
}

fn bases_on_disk(directory: &Path) -> Vec<Lsn> {
    let listing = wal::directory::list(directory).unwrap();
    listing.segments.iter().map(|segment| segment.base).collect()
}

fn bases(segments: &[SegmentFacts]) -> Vec<Lsn> {
    segments.iter().map(|segment| segment.base).collect()
}

#[test]
fn whole_segments_below_the_floor_go_and_the_rest_opens_from_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    let (log, ..) = open(small(&directory));
    fill(&log, &mut shadow, 6);
    let snapshot = shadow.records()[shadow.len() / 2].0;
    let removed = remove(&log, snapshot);
    let first = SIZE.base_of(snapshot);
    assert_eq!(removed.first, first);
    assert_eq!((removed.files, removed.bytes), (first.get() / SIZE.get(), first.get()));
    assert_eq!(log.remove_below(snapshot).unwrap(), Removed { files: 0, bytes: 0, first });
    assert_eq!(bases_on_disk(directory.path())[0], first);
    log.seal().unwrap();
    drop(log);

    for start in [Lsn::ZERO, shadow.records()[0].0] {
        match Log::open(from(directory.path(), start), |_| Ok::<_, Infallible>(())) {
            Err(OpenError::Recovery(RecoveryError::Removed { start: asked, first: there })) => {
                assert_eq!((asked, there), (start, first));
            }
            other => panic!("{other:?}"),
        }
    }
    let (log, report, records) = open(from(directory.path(), snapshot));
    let tail: Records = shadow.records().into_iter().filter(|(lsn, _)| *lsn >= snapshot).collect();
    assert_eq!(records, tail);
    assert_eq!((report.first, report.start, report.clean), (first, snapshot, true));
    assert_eq!(log.segments()[0].base, first);
}

#[test]
fn a_segment_that_somebody_else_removed_counts_as_removed() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    let (log, ..) = open(small(&directory));
    fill(&log, &mut shadow, 3);
    fs::remove_file(directory.path().join(segment_name(Lsn::ZERO))).unwrap();
    let third = Lsn::new(2 * SIZE.get());
    assert_eq!(remove(&log, third), Removed { files: 2, bytes: third.get(), first: third });
    assert_eq!(bases_on_disk(directory.path())[0], third);
}

/// Makes segments in several boots and looks at the list. Whether the times in it are in order.
fn lists_what_a_retention_setting_needs() -> bool {
    let mut in_order = true;
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    for boot in 1..=3 {
        let (log, ..) = open(small(&directory));
        fill(&log, &mut shadow, 2);
        // The preparer may just be making one.
        wait_until("the list is that of the directory", || {
            bases(&log.segments()) == bases_on_disk(directory.path())
        });
        let segments = log.segments();
        assert!(segments.iter().all(|segment| segment.bytes == SIZE.get()));
        assert!(segments.windows(2).all(|pair| pair[0].end() == pair[1].base));
        in_order &= segments.windows(2).all(|pair| pair[0].created_ms <= pair[1].created_ms);
        assert!(segments[0].created_ms > 1_600_000_000_000);
        assert_eq!((segments[0].epoch, segments.last().unwrap().epoch), (1, boot));
    }
    in_order
}

#[test]
fn segments_are_listed_with_what_a_retention_setting_needs() {
    // The system's clock may be set back meanwhile, but not each time.
    assert!((0..3).any(|_| lists_what_a_retention_setting_needs()));
}

#[test]
fn the_floor_may_lie_anywhere_and_what_is_in_use_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    let (log, ..) = open(small(&directory));
    assert_eq!(log.remove_below(Lsn::new(u64::MAX)).unwrap().files, 0, "nothing was logged yet");
    fill(&log, &mut shadow, 3);
    let removed = remove(&log, Lsn::new(u64::MAX));
    assert_eq!(removed.first, SIZE.base_of(log.durable()));
    assert_eq!(bases_on_disk(directory.path())[0], removed.first);
    // Before the reservation: one that stays open while a segment is made may poison the log.
    wait_until("there is room for a whole segment", || log.stats().segments_ahead == 1);
    // What is reserved and not durable keeps its segment, and everything behind it.
    let open_reservation = log.reserve(RECORD, Urgency::Take, b"not yet").unwrap();
    let pinned = open_reservation.lsn();
    while log.reserved() < pinned.plus(SIZE.get()) {
        log.reserve(RECORD, Urgency::Take, &[7; 9_000]).unwrap().commit();
    }
    let removed = log.remove_below(Lsn::new(u64::MAX)).unwrap();
    assert!(removed.first <= SIZE.base_of(pinned), "{removed:?}");
    open_reservation.commit();
    wait_durable(&log);
    // All epochs before this one may go, and then the log begins with this one's first segment.
    let start = log.seal().unwrap();
    drop(log);
    let (log, ..) = open(from(directory.path(), start));
    let removed = remove(&log, Lsn::new(u64::MAX));
    assert_eq!((removed.first, log.segments()[0].epoch), (SIZE.base_at_or_after(start), 2));
    let durable = log.durable();
    drop(log);
    // It holds no record, is replaced by the next start, and the directory is never empty.
    for start in [start, durable] {
        let (log, report, records) = open(from(directory.path(), start));
        assert_eq!((report.end, report.clean, records.len()), (cut(&log, &report), true, 0));
        assert_eq!(log.segments()[0].base, removed.first);
    }
}

fn cut(log: &Log, report: &RecoveryReport) -> Lsn {
    assert_eq!(SIZE.base_at_or_after(report.end), log.segments()[0].base);
    report.end
}

#[test]
fn a_file_that_cannot_be_removed_is_named_and_nothing_behind_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    let (log, ..) = open(small(&directory));
    fill(&log, &mut shadow, 3);
    // Nobody can unlink a directory, whoever runs the test.
    let path = directory.path().join(segment_name(Lsn::ZERO));
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    let floor = Lsn::new(SIZE.get() * 2);
    wait_until("the first segment is unmapped", || match log.remove_below(floor) {
        Ok(removed) => {
            assert_eq!(removed.files, 0);
            false
        }
        Err(fault) => {
            assert_eq!((fault.operation, &fault.path), ("remove", &path));
            true
        }
    });
    assert_eq!(log.segments()[0].base, Lsn::ZERO);
    assert!(directory.path().join(segment_name(Lsn::new(SIZE.get()))).exists());
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(remove(&log, floor).files, 2);
}

fn write_numbers(log: &Log, records: u64) {
    for number in 0..records {
        let mut payload = vec![0x5a; 8 + usize::try_from(number % 900).unwrap()];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let reservation = loop {
            match log.reserve(RECORD, Urgency::Take, &payload) {
                Ok(reservation) => break reservation,
                Err(ReserveError::NoRoom | ReserveError::TooFarAhead) => {
                    log.kick();
                    wait_until("there is room", || log.has_room());
                }
                Err(error) => panic!("{error}"),
            }
        };
        reservation.commit();
    }
}

/// Writers, removals and readers at once: a reader sees every record in order, or is told that some
/// are gone; never damage, never a record twice.
#[test]
fn readers_are_told_of_a_removal_and_never_of_damage() {
    const RECORDS: u64 = 12_000;
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = wal::Durability::Os;
    options.reserve_bytes = 0;
    let (log, ..) = open(options);
    let (done, skipped) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write_numbers(&log, RECORDS);
            log.seal().unwrap();
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let removed = log.remove_below(log.durable()).unwrap();
                assert!(removed.first <= log.durable());
                std::thread::yield_now();
            }
        });
        for durable_only in [true, false] {
            let (log, done, skipped, directory) = (&log, &done, &skipped, directory.path());
            scope.spawn(move || {
                let mut reader = Reader::open(directory).unwrap();
                let (mut next, mut last_round) = (0, false);
                while !last_round {
                    last_round = done.load(Ordering::Acquire);
                    if durable_only {
                        reader.set_durable(log.durable());
                    }
                    loop {
                        match reader.next_record() {
                            Ok(Some(record)) => {
                                let found = number_in(record.payload);
                                assert!(found >= next, "{found} after {next}");
                                skipped.fetch_add(found - next, Ordering::Relaxed);
                                next = found + 1;
                            }
                            Ok(None) => break,
                            Err(ReadError::Removed { lsn, first }) => {
                                assert!(lsn < first, "{lsn}, {first}");
                                go_to_what_is_left(&mut reader, first);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                assert_eq!(next, RECORDS);
            });
        }
        let mut last_round = false;
        while !last_round {
            last_round = done.load(Ordering::Acquire);
            match wal::verify(directory.path(), |_| Ok::<(), Infallible>(())) {
                Ok(_) | Err(RecoveryError::Removed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    println!("{} records were gone before a reader came to them", skipped.into_inner());
}

fn number_in(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

fn go_to_what_is_left(reader: &mut Reader, mut first: Lsn) {
    while let Err(error) = reader.seek(first) {
        match error {
            ReadError::Removed { first: later, .. } if later > first => first = later,
            other => panic!("{other}"),
        }
    }
}

fn long_log() -> Writer {
    let mut writer = Writer::new();
    for n in 0..40_u8 {
        writer.append(&vec![n; 15_000]);
    }
    assert!(writer.segments.len() >= 5);
    writer
}

fn remove_file(directory: &Path, number: u64) {
    fs::remove_file(directory.join(segment_name(Lsn::new(number * SIZE.get())))).unwrap();
}

fn read_on(reader: &mut Reader) -> Result<u64, ReadError> {
    let mut records = 0;
    while reader.next_record()?.is_some() {
        records += 1;
    }
    Ok(records)
}

#[test]
fn a_file_that_is_open_stays_readable_and_the_next_one_is_found_or_missed_by_name() {
    let writer = long_log();
    let dir = directory();
    writer.save(dir.path());
    // Only the segment being read is gone: nothing is missing.
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.next_record().unwrap().unwrap();
    remove_file(dir.path(), 0);
    assert_eq!(read_on(&mut reader).unwrap(), 39);

    // The one behind it as well: what was open is read to its end.
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.next_record().unwrap().unwrap();
    remove_file(dir.path(), 1);
    remove_file(dir.path(), 2);
    let (mut records, end, left) = (0, Lsn::new(2 * SIZE.get()), Lsn::new(3 * SIZE.get()));
    loop {
        match reader.next_record() {
            Ok(Some(record)) => assert!(record.end <= end),
            Ok(None) => panic!("the log does not end here"),
            Err(ReadError::Removed { lsn, first }) => break assert_eq!((lsn, first), (end, left)),
            Err(other) => panic!("{other}"),
        }
        records += 1;
    }
    assert!(records > 5);
    // It says so again, until the reader goes to what is left.
    assert!(matches!(reader.next_record(), Err(ReadError::Removed { .. })));
    reader.seek(left).unwrap();
    assert!(read_on(&mut reader).unwrap() > 0);
}

#[test]
fn a_follower_whose_segment_was_removed_goes_on_with_segments_that_it_did_not_know() {
    for (gone, lost) in [(1, false), (2, true)] {
        let mut writer = Writer::new();
        writer.append(b"one");
        let dir = directory();
        writer.save(dir.path());
        let mut follower = Reader::open(dir.path()).unwrap();
        assert_eq!(read_on(&mut follower).unwrap(), 1);
        let mut more = 0;
        while writer.segments.len() < 4 {
            writer.append(&[1; 10_000]);
            more += 1;
        }
        writer.sync();
        writer.update(dir.path());
        for number in 0..gone {
            remove_file(dir.path(), number);
        }
        match (read_on(&mut follower), lost) {
            (Ok(records), false) => assert_eq!(records, more),
            (Err(ReadError::Removed { lsn, first }), true) => {
                assert_eq!((lsn, first), (Lsn::new(SIZE.get()), Lsn::new(2 * SIZE.get())));
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_follower_goes_on_from_a_removed_epoch_to_the_next() {
    let mut writer = Writer::new();
    writer.append(b"one");
    let dir = directory();
    writer.save(dir.path());
    let mut follower = Reader::open(dir.path()).unwrap();
    assert_eq!(read_on(&mut follower).unwrap(), 1);
    let cut = writer.tail;
    writer.boot(&recovered(dir.path()).unwrap().0.next);
    writer.append(b"two");
    writer.update(dir.path());
    remove_file(dir.path(), 0);
    assert_eq!(read_on(&mut follower).unwrap(), 1);
    // The cut is no lost position, but everything before it is.
    follower.seek(cut).unwrap();
    assert_eq!(read_on(&mut follower).unwrap(), 1);
    for lost in [Lsn::ZERO, Lsn::new(4096), cut.plus(32)] {
        match follower.seek(lost) {
            Err(ReadError::Removed { lsn, first }) => {
                assert_eq!((lsn, first), (lost, Lsn::new(SIZE.get())));
            }
            other => panic!("{other:?}"),
        }
    }
}
