//! Opening a log of 200-byte records: reading, checking and handing out, pages dropped first.
//!
//! The bar is 3 million records per second and core, or 0.6 of the speed of only reading and
//! checksumming the same bytes.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::{
    convert::Infallible,
    fs::{self, File},
    hint::black_box,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wal::{Durability, Kind, Log, Options, RecordType, Urgency};

const RECORD: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };
const RECORDS: u64 = 1_000_000;

fn replay(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.durability = Durability::Os;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    for _ in 0..RECORDS {
        while log.reserve(RECORD, Urgency::Take, &[7; 200]).map(wal::Reservation::commit).is_err() {
            std::thread::yield_now();
        }
    }
    log.seal().unwrap();
    drop(log);

    let mut group = c.benchmark_group("replay");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("cold", |b| {
        b.iter(|| {
            let mut bytes = 0;
            let report = wal::verify(directory.path(), |record| {
                bytes += black_box(record.payload).len();
                Ok::<_, Infallible>(())
            });
            assert_eq!(report.unwrap().records, RECORDS);
            bytes
        });
    });
    let mut buffer = vec![0; 1 << 20];
    group.bench_function("reading and checksumming the same bytes", |b| {
        b.iter(|| {
            segments(directory.path())
                .iter()
                .map(|segment| checksum_cold(segment, &mut buffer))
                .fold(0, |all, checksum| all ^ checksum)
        });
    });
    group.finish();
}

/// The files of the log that replay reads.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|p| p.extension().is_some_and(|e| e == "seg")).collect();
    // The last one was made ahead and holds no records.
    segments.sort_unstable();
    segments.pop();
    segments
}

/// The checksum of the whole file.
fn checksum_cold(path: &Path, buffer: &mut [u8]) -> u32 {
    let mut file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential).unwrap();
    let mut checksum = crc32fast::Hasher::new();
    loop {
        match file.read(buffer).unwrap() {
            0 => return checksum.finalize(),
            read => checksum.update(&buffer[..read]),
        }
    }
}

criterion_group!(benches, replay);
criterion_main!(benches);
