//! Opening a log of 200-byte records: reading, checking and handing out, pages dropped first.
//!
//! The bar is 3 million records per second and core, and 0.45 of reading the same bytes cold.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::{convert::Infallible, hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wal::{Durability, Kind, Log, Options, RecordType, Urgency};

const RECORD: RecordType = RecordType {
    kind: Kind::new(Kind::FIRST_FREE),
    version: 1,
    ignorable: false,
};
const RECORDS: u64 = 500_000;

fn replay(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.durability = Durability::Os;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    for _ in 0..RECORDS {
        while log
            .reserve(RECORD, Urgency::Take, &[7; 200])
            .map(wal::Reservation::commit)
            .is_err()
        {
            std::thread::yield_now();
        }
    }
    log.seal().unwrap();
    drop(log);

    let mut group = c.benchmark_group("replay");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
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
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
