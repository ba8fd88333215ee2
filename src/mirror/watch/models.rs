//! The mirror's thread reports, the log moves on, and somebody reads; how models are run is in
//! [`crate::models`].

use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Plain;

use super::*;
use crate::mirror::Progress as Step;
use crate::models::{Reach, explore, thread};

/// How far the log goes on: to there, in one record each.
const STEPS: u64 = 2;

/// Where the log is, for the model.
struct Log {
    durable: AtomicU64,
    /// What the last reading was told.
    told: Plain,
}

/// What the mirror says it has written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    WhatItRead,
    MoreThanThereIs,
}

fn read_while_mirrored(says: Says) {
    explore(Reach::Everything, move || {
        let log = Arc::new(Log { durable: AtomicU64::new(0), told: Plain::new(0) });
        let marks = Arc::clone(&log);
        let marks = Box::new(move || {
            let durable = marks.durable.load(Ordering::Acquire);
            marks.told.store(durable, std::sync::atomic::Ordering::Relaxed);
            Marks { durable: Lsn::new(durable), records: durable }
        });
        let clock = Clock::manual(Timestamp::from_millis(1));
        let watch = Arc::new(Watch::new("target".into(), marks, clock));
        let syncer = Arc::clone(&log);
        let syncer = thread::spawn(move || {
            (1..=STEPS).for_each(|to| syncer.durable.store(to, Ordering::Release));
        });
        let (mirror, seen) = (Arc::clone(&watch), Arc::clone(&log));
        let mirror = thread::spawn(move || {
            mirror.resumed(Checkpoint { lsn: Lsn::ZERO, records: 0, salt: None });
            let durable = seen.durable.load(Ordering::Acquire);
            let to = if says == Says::WhatItRead { durable } else { STEPS + 1 };
            let step = Step { mirrored: Lsn::new(to), caught_up: true, records: to };
            mirror.advanced(&step, Lsn::new(to), to);
        });
        let (reader, told) = (Arc::clone(&watch), Arc::clone(&log));
        let reader = thread::spawn(move || {
            let reading = reader.read();
            let durable = told.told.load(std::sync::atomic::Ordering::Relaxed);
            let mirrored = reading.mirrored.map_or(0, Lsn::get);
            assert!(mirrored <= durable, "PostgreSQL has {mirrored}, the log {durable}");
            assert!(
                reading.records.unwrap_or(0) <= durable,
                "PostgreSQL has more records than there are"
            );
            if let Some(confirmed) = reader.confirmed() {
                assert!(confirmed.get() >= mirrored, "what is needed does not fall back");
            }
        });
        for thread in [syncer, mirror, reader] {
            thread.join().unwrap();
        }
        assert_eq!(
            watch.read().lag_bytes,
            Some(STEPS.saturating_sub(watch.confirmed().unwrap().get()))
        );
    });
}

#[test]
fn a_reading_is_of_one_story() {
    read_while_mirrored(Says::WhatItRead);
}

#[test]
#[should_panic(expected = "PostgreSQL has")]
fn a_mirror_that_is_ahead_of_its_log_is_found() {
    read_while_mirrored(Says::MoreThanThereIs);
}
