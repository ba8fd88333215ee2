//! Segments that are made before they are needed: how many, and what they are then.

use std::convert::Infallible;
use std::fs::File;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use wal::header::segment_name;
use wal::{Durability, Log, Lsn, Options};

use crate::live_support::{Shadow, payload, small, stays, wait_durable, wait_until};

fn open(options: Options) -> Log {
    Log::open(options, |_| Ok::<_, Infallible>(())).unwrap().0
}

fn segment_files(directory: &Path) -> u64 {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".seg")).count() as u64
}

#[test]
fn as_many_segments_are_made_ahead_as_asked_for_and_no_more() {
    for ahead in [1, 2, 3] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = small(&directory);
        options.segments_ahead = ahead;
        let segment_bytes = options.segment_bytes;
        let log = open(options);
        let mut shadow = Shadow::default();
        for entered in 1..5 {
            let files = entered + u64::from(ahead);
            // A name is there before it is durable, and the segment of use only after that.
            wait_until("the segments are made", || {
                segment_files(directory.path()) >= files
                    && log.stats().segments_ahead == ahead.into()
            });
            stays("as many segments as asked for", || {
                log.stats().segments_ahead <= ahead.into()
                    && segment_files(directory.path()) == files
            });
            assert_eq!(log.stats().segments_ahead, ahead.into());
            while log.reserved().get() < entered * segment_bytes {
                shadow.append(&log, &payload(entered, 3_000));
            }
            wait_durable(&log);
            // What is durable is not mapped any more.
            wait_until("what is mapped is in use or ahead", || {
                log.stats().segments_mapped == 1 + u64::from(ahead)
            });
        }
    }
}

/// With this durability nothing is synced before half of what may be unsynced is there.
#[test]
fn segments_are_made_ahead_of_what_nobody_syncs() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = small(&directory);
    options.durability = Durability::Os;
    options.unsynced_bytes_max = 64 * options.segment_bytes;
    let segment_bytes = options.segment_bytes;
    let log = open(options);
    let mut shadow = Shadow::default();
    for entered in 1..5 {
        wait_until("a segment is ready ahead", || log.stats().segments_ahead == 1);
        while log.reserved().get() <= entered * segment_bytes {
            shadow.append(&log, &payload(entered, 3_000));
            log.kick();
        }
    }
    assert_eq!(log.stats().syncs, 0);
}

/// Before anything is written to the next segment, the one before it has no block that was only
/// promised: a sync of such a one has the journal to write as well.
#[test]
fn a_first_segment_is_written_through_to_its_end_before_another_is_made() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut options = Options::new(directory.path());
        let segment_bytes = 8 << 20;
        options.segment_bytes = segment_bytes;
        let log = open(options);
        let base = log.reserved().get() / segment_bytes * segment_bytes;
        let first = directory.path().join(segment_name(Lsn::new(base)));
        wait_until("a segment is ready ahead", || log.stats().segments_ahead == 1);
        let hole = seek(File::open(&first).unwrap(), SeekFrom::Hole(0)).unwrap();
        assert_eq!(hole, segment_bytes, "epoch {}", log.epoch());
        Shadow::default().append(&log, b"so that the next start has another segment");
        log.seal().unwrap();
    }
}
