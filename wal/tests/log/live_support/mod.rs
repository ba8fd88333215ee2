//! What the tests of a log in use share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses a part of it"
)]

use std::{
    convert::Infallible,
    path::Path,
    time::{Duration, Instant},
};

use wal::{Kind, Log, Lsn, Options, RecordType, RecoveryReport, Urgency};

pub const RECORD: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };

/// The smallest segments, so that a test meets many rollovers.
pub fn small(directory: impl AsRef<Path>) -> Options {
    let mut options = Options::new(directory.as_ref());
    options.segment_bytes = 128 << 10;
    options
}

/// `bytes` bytes that depend on `seed`.
pub fn payload(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// What should be in the log, kept beside it.
#[derive(Default)]
pub struct Shadow(Vec<(Lsn, Vec<u8>)>);

impl Shadow {
    pub fn append(&mut self, log: &Log, payload: &[u8]) {
        let reservation = log.reserve(RECORD, Urgency::Take, payload).unwrap();
        self.0.push((reservation.lsn(), payload.to_vec()));
        reservation.commit();
    }

    pub fn extend(&mut self, records: Vec<(Lsn, Vec<u8>)>) {
        self.0.extend(records);
        self.0.sort_unstable_by_key(|(lsn, _)| *lsn);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn records(&self) -> Vec<(Lsn, Vec<u8>)> {
        self.0.clone()
    }
}

/// Everything a reader finds, and recovery's verdict.
pub fn replay(directory: impl AsRef<Path>) -> (Vec<(Lsn, Vec<u8>)>, RecoveryReport) {
    let mut records = Vec::new();
    let report = wal::verify(directory.as_ref(), |record| {
        records.push((record.lsn, record.payload.to_vec()));
        Ok::<_, Infallible>(())
    })
    .unwrap();
    (records, report)
}

/// For how long a test waits for a condition: on a slow disk making a segment takes many seconds.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Waits for a condition, at most [`WAIT_MAX`], and looks a last time behind that.
#[allow(clippy::disallowed_methods, reason = "the deadline of a test")]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    loop {
        let over = started.elapsed() >= WAIT_MAX;
        if holds() {
            return;
        }
        assert!(!over, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Asks for a sync of all that was appended, and waits for it.
pub fn wait_durable(log: &Log) {
    let reserved = log.reserved();
    log.kick();
    wait_until("everything is durable", || log.durable() >= reserved);
}

/// Looks at a condition for a tenth of a second, in which it must hold.
#[allow(clippy::disallowed_methods, reason = "how long a test looks")]
pub fn stays(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(100) {
        assert!(holds(), "{what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
