//! A log in use: appended to, waited for, closed in every way, and opened again.

use std::{convert::Infallible, sync::Arc, time::Duration};

use wal::{Durability, Kind, Log, Lsn, Options, Reader, ReserveError, SealError, Urgency};

use crate::live_support::{
    RECORD, Shadow, payload, replay, small, stays, wait_durable, wait_until,
};

#[test]
fn a_record_becomes_durable_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    {
        let (log, report) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
        assert_eq!((report.records, report.epoch, report.clean), (0, 0, true));
        assert_eq!(log.epoch(), 1);
        for i in 0..10 {
            shadow.append(&log, &payload(i, 100));
        }
        wait_durable(&log);
        // The lowest mark first: they may rise in between.
        let (durable, published) = (log.durable(), log.published());
        assert!(durable <= published && published <= log.reserved());
    }
    let (records, report) = replay(&directory);
    assert_eq!(records, shadow.records());
    assert!(!report.clean, "dropping is like a crash");
}

#[test]
fn a_sealed_log_is_clean_and_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
    log.reserve(RECORD, Urgency::Take, b"last words").unwrap().commit();
    let end = log.seal().unwrap();
    assert_eq!(log.seal().unwrap(), end, "sealing twice is sealing once");
    assert_eq!(end, log.durable());
    let refused = log.reserve(RECORD, Urgency::Take, b"").unwrap_err();
    assert_eq!((refused, refused.retryable()), (ReserveError::Sealed, false));
    assert!(!log.has_room());
    drop(log);
    let (records, report) = replay(&directory);
    assert_eq!(records.len(), 1);
    assert!(report.clean);
    assert_eq!(report.end, end);
}

#[test]
fn epochs_follow_one_another() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    let mut uuid = None;
    for boot in 1..=6 {
        let (log, report) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
        assert_eq!(log.epoch(), boot);
        assert_eq!(*uuid.get_or_insert(log.uuid()), log.uuid());
        assert_eq!(report.records, shadow.len() as u64);
        for i in 0..20 {
            shadow.append(&log, &payload(i, 300));
        }
        wait_durable(&log);
        if boot % 2 == 0 {
            log.seal().unwrap();
        }
    }
    assert_eq!(replay(&directory).0, shadow.records());
}

#[test]
fn a_boot_that_logs_nothing_leaves_no_segment_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
    log.reserve(RECORD, Urgency::Take, b"x").unwrap().commit();
    log.seal().unwrap();
    drop(log);
    for _ in 0..5 {
        drop(Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap());
    }
    let segments = std::fs::read_dir(&directory).unwrap().count();
    assert!(segments <= 5, "one used, one new, what is ahead, the lock: {segments}");
    assert_eq!(replay(&directory).0.len(), 1);
}

#[test]
fn eight_threads_across_many_rollovers_with_voids() {
    const PER_THREAD: u64 = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    {
        let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
        let written: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u64)
                .map(|thread| {
                    let log = &log;
                    scope.spawn(move || {
                        let mut written = Vec::new();
                        for i in 0..PER_THREAD {
                            let payload =
                                payload(thread << 32 | i, usize::try_from(i * 37 % 900).unwrap());
                            let reservation = reserve_patiently(log, &payload);
                            if i % 7 == 3 {
                                reservation.void();
                            } else if i % 11 == 5 {
                                drop(reservation);
                            } else {
                                let (lsn, end) = (reservation.lsn(), reservation.end());
                                assert_eq!(reservation.commit(), end);
                                written.push((lsn, payload));
                            }
                        }
                        written
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        shadow.extend(written);
        wait_durable(&log);
        let stats = log.stats();
        assert_eq!(stats.records, shadow.len() as u64);
        assert!(stats.void_frames > 4_000, "{stats:?}");
        assert!(stats.segments_made > 40, "{stats:?}");
        assert!(stats.segments_mapped <= 64, "{stats:?}");
    }
    let (records, report) = replay(&directory);
    assert_eq!(records, shadow.records());
    assert_eq!(report.torn, None);
}

#[test]
fn frames_of_every_length_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut shadow = Shadow::default();
    {
        let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
        for bytes in (0..130).chain([478, 479, 480, 481, 4_000, 65_503, wal::PAYLOAD_BYTES_MAX]) {
            let payload = payload(bytes as u64, bytes);
            let reservation = reserve_patiently(&log, &payload);
            let lsn = reservation.lsn();
            reservation.commit();
            shadow.extend(vec![(lsn, payload.clone())]);
            reserve_patiently(&log, &payload).void();
        }
        let too_long = vec![0; wal::PAYLOAD_BYTES_MAX + 1];
        let refused = log.reserve(RECORD, Urgency::Release, &too_long);
        assert!(matches!(refused, Err(ReserveError::TooLong)));
        log.seal().unwrap();
    }
    assert_eq!(replay(&directory).0, shadow.records());
}

#[test]
fn the_distance_to_durable_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = Durability::Os;
    options.unsynced_bytes_max = 256 << 10;
    // Three segments are room for more than that, so that the bound alone refuses: being refused for
    // want of room would have the syncer watch the reservation that is open.
    options.segments_ahead = 2;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    wait_until("the room is there", || log.stats().segments_ahead == 2);
    // In this mode nothing is synced before half of the bound, so an open reservation at the start
    // keeps the bound in force.
    let first = log.reserve(RECORD, Urgency::Take, b"first").unwrap();
    let refused = loop {
        match log.reserve(RECORD, Urgency::Take, &payload(0, 900)) {
            Ok(reservation) => drop(reservation.commit()),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, ReserveError::TooFarAhead);
    assert!(refused.retryable());
    assert!(log.stats().refused_too_far_ahead >= 1);
    first.commit();
    log.kick();
    wait_until("there is room again", || log.reserve(RECORD, Urgency::Take, b"again").is_ok());
}

#[test]
fn modes_that_answer_before_the_sync_publish_in_the_callers_thread() {
    for durability in [Durability::Os, Durability::Interval(Duration::from_secs(50))] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = small(&directory);
        options.durability = durability;
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
        let durable = log.durable();
        log.reserve(RECORD, Urgency::Take, b"zero").unwrap().commit();
        let end = log.reserve(RECORD, Urgency::Take, b"one").unwrap().commit();
        log.kick();
        assert!(log.answerable() >= end);
        assert_eq!(log.durable(), durable);
        log.seal().unwrap();
        drop(log);
        let (records, report) = replay(&directory);
        assert_eq!((records.len(), report.clean), (2, true));
    }
}

#[test]
fn an_interval_log_syncs_without_further_calls() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = Durability::Interval(Duration::from_millis(20));
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    for i in 0..5 {
        let end = log.reserve(RECORD, Urgency::Take, &payload(i, 50)).unwrap().commit();
        log.kick();
        wait_until("the interval passes", || log.durable() >= end);
    }
}

#[test]
fn whoever_fills_a_hole_wakes_those_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = Durability::Os;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    let log = Arc::new(log);
    let (sender, woken) = std::sync::mpsc::channel();
    log.on_progress(Box::new(move || _ = sender.send(())));
    let hole = log.reserve(RECORD, Urgency::Take, b"slow").unwrap();
    let end = log.reserve(RECORD, Urgency::Take, b"fast").unwrap().commit();
    log.kick();
    assert!(log.answerable() < end);
    assert!(woken.try_recv().is_err());
    hole.void();
    woken.try_recv().expect("filling the hole notified");
    assert!(log.answerable() >= end);
}

#[test]
fn progress_is_notified_in_commit_mode() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
    let (sender, woken) = std::sync::mpsc::channel();
    log.on_progress(Box::new(move || _ = sender.send(())));
    for i in 0..200 {
        let end = log.reserve(RECORD, Urgency::Take, &payload(i, 10)).unwrap().commit();
        log.kick();
        while log.answerable() < end {
            woken.recv_timeout(Duration::from_secs(10)).expect("a wake-up was lost");
        }
    }
}

#[test]
fn an_idle_log_carries_its_claim_to_disk_and_then_sleeps() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
    let end = log.reserve(RECORD, Urgency::Take, b"one").unwrap().commit();
    log.kick();
    wait_until("the idle frame is durable", || log.durable() > end && log.stats().syncs == 2);
    let internal_frames = log.stats().internal_frames;
    std::thread::park_timeout(Duration::from_millis(50));
    assert_eq!((log.stats().syncs, log.stats().internal_frames), (2, internal_frames));
    drop(log);
    let (_, report) = replay(&directory);
    assert!(report.durable_floor >= end, "the last group is known to have been durable");
}

#[test]
fn a_log_that_promises_nothing_carries_no_claim() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = Durability::Os;
    options.unsynced_bytes_max = wal::UNSYNCED_BYTES_MIN;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    // So much that some of it is synced.
    for seed in 0..3 {
        wait_until("there is room", || log.has_room());
        Shadow::default().append(&log, &payload(seed, 30_000));
        log.kick();
    }
    wait_until("something is durable", || log.stats().syncs > 0);
    stays("the log is in order", || log.poisoned().is_none());
    drop(log);
    let mut reader = Reader::open(directory.path()).unwrap();
    let mut frames = 0;
    while let Some(view) = reader.next_frame().unwrap() {
        assert_ne!(view.header.kind, Kind::IDLE);
        frames += 1;
    }
    assert!(frames >= 3, "{frames}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
    assert!(Log::open(small(&directory), |_| Ok::<_, Infallible>(())).is_err());
    drop(log);
    Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
}

#[test]
fn a_start_does_not_wait_for_the_whole_segment() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    // More than the 5 MiB that are written through before.
    options.segment_bytes = 8 << 20;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    assert!(log.has_room(), "usable before the whole segment is written through");
    wait_until("a segment is ready ahead", || log.stats().segments_ahead == 1);
    let result: Result<Lsn, SealError> = log.seal();
    result.unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn an_unfilled_reservation_is_void_when_its_thread_panics() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(small(&directory), |_| Ok::<_, Infallible>(())).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _reservation = log.reserve(RECORD, Urgency::Take, b"never").unwrap();
        panic!("between claim and decision");
    }));
    assert!(panicked.is_err());
    log.seal().unwrap();
    assert_eq!(log.stats().void_frames, 1);
}

#[test]
fn a_log_tells_what_it_holds_and_how_it_answers() {
    for (durability, on_publish) in [
        (Durability::Commit, false),
        (Durability::Interval(Duration::from_secs(1)), true),
        (Durability::Os, true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = small(&directory);
        options.durability = durability;
        let mut uuid = None;
        // The second start begins at a base other than zero.
        for _ in 0..2 {
            let (log, _) = Log::open(options.clone(), |_| Ok::<_, Infallible>(())).unwrap();
            assert_eq!(log.answers_on_publish(), on_publish, "{durability}");
            assert_eq!(log.segment_bytes(), options.segment_bytes);
            assert_eq!(*uuid.get_or_insert(log.uuid()), log.uuid());
            assert!(!log.uuid().is_nil());
            // Not the last one: a segment may have been made ahead already.
            let in_use = log.segments().into_iter().find(|segment| segment.epoch == log.epoch());
            let base = in_use.unwrap().base;
            wait_until("a segment is ready ahead", || log.stats().segments_ahead == 1);
            if durability == Durability::Os {
                continue;
            }
            for seed in 0..40 {
                wait_until("there is room", || log.has_room());
                Shadow::default().append(&log, &payload(seed, 9_000));
                log.kick();
            }
            wait_durable(&log);
            // A frame that carries a claim may come at any time: what is read must be of one moment.
            let (mut stats, mut told, mut durable) = (log.stats(), String::new(), Lsn::ZERO);
            wait_until("all but the segment in use is let go, and nothing moves", || {
                durable = log.durable();
                (stats, told) = (log.stats(), format!("{log:?}"));
                (stats.segments_mapped, stats.segments_ahead) == (2, 1) && log.reserved() == durable
            });
            if durability == Durability::Commit {
                let synced = durable.since(base) - wal::SEGMENT_HEADER_BYTES;
                assert_eq!(stats.synced_bytes, synced);
                assert!(stats.last_group_bytes > 0 && stats.last_group_bytes <= synced);
                assert!(stats.last_group_bytes <= stats.group_bytes_max);
                assert!(stats.last_sync_time <= stats.sync_time_max);
                assert!(stats.sync_time_max <= stats.sync_time && !stats.last_sync_time.is_zero());
            }
            assert_eq!(stats.bytes, durable.since(base), "{durability}");
            assert_eq!(stats.mapped_bytes, 2 * options.segment_bytes);
            for mark in ["reserved", "published", "durable"] {
                assert!(told.contains(&format!("{mark}: {durable:?}")), "{mark} in {told}");
            }
            log.seal().unwrap();
        }
    }
}

#[test]
fn the_smallest_bound_on_what_is_unsynced_lets_every_record_in() {
    for durability in [Durability::Commit, Durability::Interval(wal::INTERVAL_MAX), Durability::Os]
    {
        let directory = tempfile::tempdir().unwrap();
        let mut options = small(&directory);
        options.durability = durability;
        options.unsynced_bytes_max = wal::UNSYNCED_BYTES_MIN;
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
        // By small steps over more than two segments, so that the longest record would often be the
        // first that does not fit the rest of one.
        for seed in 0..300 {
            wait_until("there is room", || log.has_room());
            Shadow::default().append(&log, &payload(seed, 900));
        }
    }
}

#[test]
fn an_interval_is_cut_short_whenever_room_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = Durability::Interval(wal::INTERVAL_MAX);
    options.unsynced_bytes_max = wal::UNSYNCED_BYTES_MIN;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    // Without a kick: being refused, or asking for room, is what gets the syncer to work.
    for round in 0..6 {
        for seed in 0..4 {
            wait_until("there is room", || {
                if round % 2 == 0 && !log.has_room() {
                    return false;
                }
                let reserved = log.reserve(RECORD, Urgency::Take, &payload(seed, 30_000));
                reserved.map(wal::Reservation::commit).is_ok()
            });
        }
        assert!(log.stats().syncs > 0 || round == 0, "nothing was synced");
    }
    // The first of these may still be synced with what was asked for.
    let waits_for_its_interval = |_| {
        let end = log.reserve(RECORD, Urgency::Release, b"in no hurry").unwrap().commit();
        log.kick();
        std::thread::park_timeout(Duration::from_millis(100));
        log.durable() < end
    };
    assert!((0..5).any(waits_for_its_interval));
}

#[test]
fn every_frame_is_counted_once_by_its_sort() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    // No sync but the last one, and so no frames that only carry a claim.
    options.durability = Durability::Os;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    let mut shadow = Shadow::default();
    for seed in 0..5 {
        shadow.append(&log, &payload(seed, 60));
    }
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _reservation = log.reserve(RECORD, Urgency::Take, b"never").unwrap();
        panic!("between claim and decision");
    }));
    assert!(panicked.is_err());
    log.seal().unwrap();
    let stats = log.stats();
    // The void frame is one of the log's own, and so is the seal.
    assert_eq!((stats.records, stats.void_frames, stats.internal_frames), (5, 1, 2));
}

#[test]
fn a_group_of_some_size_fills_its_last_page_and_a_small_one_does_not() {
    const PAGE: u64 = 4_096;
    for (bytes, fills) in [(100, false), (1_900, false), (2_000, true), (5_000, true)] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = small(&directory);
        options.pad_group_bytes_min = 2_000;
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
        Shadow::default().append(&log, &payload(7, bytes));
        let page_end = log.reserved().get().next_multiple_of(PAGE);
        wait_durable(&log);
        // A frame that carries a claim to disk may stand in between.
        let next = log.reserve(RECORD, Urgency::Take, b"next").unwrap().lsn().get();
        assert_eq!(next >= page_end, fills, "after {bytes} bytes");
        assert!(next < page_end + PAGE, "{next}: no more than the rest of a page is filled");
    }
}

fn reserve_patiently<'a>(log: &'a Log, payload: &[u8]) -> wal::Reservation<'a> {
    loop {
        match log.reserve(RECORD, Urgency::Release, payload) {
            Ok(reservation) => return reservation,
            Err(refused) => {
                assert!(refused.retryable(), "{refused}");
                log.kick();
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn a_log_that_was_closed_can_be_opened_while_children_are_started() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                assert!(std::process::Command::new("true").status().unwrap().success());
            }
        });
        for _ in 0..40 {
            drop(Log::open(small(directory.path()), |_| Ok::<_, Infallible>(())).unwrap());
        }
        drop(stop);
    });
}
