//! One checkpoint after the other, without the thread.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::ops::ControlFlow;
use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::domain::{Email, PersonName};
use crate::engine;
use crate::image::Image;
use crate::image::snapshot::Snapshot;

/// What the thread would have, over whatever the directory holds.
fn work(directory: &Path) -> Work {
    let settings = engine::Settings {
        hold_ttl: Duration::from_secs(600),
        lane_count: 1,
        lane_capacity: 16,
        bookings_max: 16,
        idempotency_keys_max: 16,
    };
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let mut options = wal::Options::new(directory);
    options.segment_bytes = 1 << 20;
    let (engine, recovery) = Engine::open(options, &settings, clock).unwrap();
    let settings = Settings {
        directory: directory.to_owned(),
        log_bytes: u64::MAX,
        age: Duration::from_secs(3_600),
        retention: Retention { bytes: 0, age: Duration::ZERO, mirror_bytes_max: 0 },
    };
    Work::new(Arc::new(engine), settings, &recovery, Box::new(|| Needed::Nothing))
}

/// Logs something, durably.
fn something_new(work: &Work) {
    let log = work.engine.log();
    let email = Email::parse(&format!("{}@example.com", log.reserved().get())).unwrap();
    let created = work.engine.create_user(email, PersonName::parse("Ada").unwrap(), None);
    let at = created.position.wait_for;
    created.result.unwrap();
    log.kick();
    while log.durable() < at {
        std::thread::yield_now();
    }
}

#[test]
fn told_to_stop_it_neither_makes_a_snapshot_nor_goes_on_reading_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = work(directory.path());
    let made = [(), ()].map(|()| {
        something_new(&first);
        first.checkpoint().unwrap().summary
    });
    drop(first);
    let mut second = work(directory.path());
    assert_eq!(second.find_older().unwrap(), Some(made[0].lsn));
    something_new(&second);
    second.stop.store(true, Ordering::Release);
    assert!(matches!(second.find_older(), Err(Failure::Stopped)));
    assert!(matches!(second.checkpoint(), Err(Failure::Stopped)));
    let figures = second.status.figures();
    assert_eq!((figures.failed, figures.newest), (0, Some(made[1])), "that is no failure");
    second.stop.store(false, Ordering::Release);
    assert!(second.checkpoint().unwrap().summary.lsn > made[1].lsn);
}

#[test]
fn a_newest_snapshot_that_is_damaged_leaves_nothing_that_may_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut work = work(directory.path());
    let [older, newest] = [(), ()].map(|()| {
        something_new(&work);
        work.checkpoint().unwrap()
    });
    assert_eq!(work.status.figures().older, Some(older.summary.lsn));
    let mut bytes = std::fs::read(&newest.path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&newest.path, bytes).unwrap();
    // The other one cannot be gone on from either, which is found out afterwards.
    let whole = std::fs::read(&older.path).unwrap();
    let foreign = Snapshot { log: Uuid::from_u128(7), lsn: older.summary.lsn, image: Image::new() };
    let (locked, go_on) = (work.engine.log().directory(), || ControlFlow::Continue(()));
    snapshot::write(locked, &foreign, work.clock.now(), 0, go_on).unwrap();
    something_new(&work);
    assert!(matches!(work.checkpoint(), Err(Failure::Fold(FoldError::OtherLog { .. }))));
    assert_eq!(work.status.figures().older, None);
    std::fs::write(&older.path, whole).unwrap();
    let third = work.checkpoint().unwrap();
    assert_eq!(work.status.figures().older, Some(older.summary.lsn));
    let listed = snapshot::list(directory.path()).unwrap();
    let listed: Vec<_> = listed.into_iter().map(|named| named.lsn).collect();
    assert_eq!(listed, [third.summary.lsn, older.summary.lsn], "the damaged one is gone");
}
