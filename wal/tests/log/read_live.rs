//! Reading the log of a running process: a follower, and `verify` again and again.
#![allow(clippy::disallowed_methods, reason = "a test waits for threads")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wal::{Durability, Kind, Log, Lsn, Options, Reader, RecordType, ReserveError, Urgency};

const NOTE: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };
const RECORDS: u64 = 20_000;

/// Appends numbered records of varying length, some reservations given up between them.
fn write(log: &Log) {
    for number in 0..RECORDS {
        let mut payload = vec![0x5a; 8 + usize::try_from(number % 300).unwrap()];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        loop {
            match log.reserve(NOTE, Urgency::Take, &payload) {
                Ok(reservation) if number % 7 == 0 && payload.len().is_multiple_of(2) => {
                    // Given up once, then written after all.
                    reservation.void();
                    payload.push(0);
                }
                Ok(reservation) => {
                    reservation.commit();
                    break;
                }
                Err(ReserveError::NoRoom | ReserveError::TooFarAhead) => {
                    log.kick();
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => panic!("{error}"),
            }
        }
        if number % 64 == 0 {
            log.kick();
        }
    }
}

fn number_of(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().unwrap())
}

/// Reads what is there; the numbers must go on from `next` without a gap.
fn read_on(reader: &mut Reader, next: &mut u64) {
    while let Some(record) = reader.next_record().unwrap() {
        assert_eq!(number_of(record.payload), *next);
        *next += 1;
    }
}

fn check(durability: Durability) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.segment_bytes = 128 << 10;
    options.durability = durability;
    options.reserve_bytes = 0;
    let (log, _) = Log::open(options, |_| Ok::<(), Infallible>(())).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            write(&log);
            log.seal().unwrap();
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            // Sees only what is durable, and never a hole below it.
            let mut reader = Reader::open(directory.path()).unwrap();
            let mut next = 0;
            let mut last_round = false;
            while !last_round {
                last_round = done.load(Ordering::Acquire);
                reader.set_durable(log.durable());
                read_on(&mut reader, &mut next);
                assert!(reader.position() <= log.durable() || next == 0);
            }
            assert_eq!(next, RECORDS);
        });
        let mut follower = Reader::open(directory.path()).unwrap();
        let (mut next, mut verified) = (0, Lsn::ZERO);
        let mut last_round = false;
        while !last_round {
            last_round = done.load(Ordering::Acquire);
            read_on(&mut follower, &mut next);
            let report = wal::verify(directory.path(), |_| Ok::<(), Infallible>(())).unwrap();
            assert!(report.end >= verified, "the end goes back");
            verified = report.end;
        }
        assert_eq!(next, RECORDS);
    });
    let report = wal::verify(directory.path(), |_| Ok::<(), Infallible>(())).unwrap();
    assert!(report.clean && report.torn.is_none() && report.records == RECORDS);
}

#[test]
fn a_running_log_reads_without_gaps_and_verifies_at_any_moment() {
    check(Durability::Os);
}

#[test]
fn the_same_while_every_group_is_synced() {
    check(Durability::Commit);
}
