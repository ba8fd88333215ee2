//! Reserve and commit of a 200-byte record, on mapped and written-through pages, nobody waiting.
//!
//! The bar is 8 million records per second and core. `Os` mode: no group is padded, and a sync comes
//! only when half of what may be unsynced is; the syncs run beside the appends as they would in use.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::{convert::Infallible, hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wal::{Durability, Kind, Log, Options, RecordType, Reservation, Urgency};

const RECORD: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };
const PAYLOAD_BYTES: usize = 200;
/// Appended by each thread per measurement, so that a batch fits what is prepared.
const BATCH: u64 = 40_000;

fn append_batch(log: &Log, payload: &[u8]) {
    for _ in 0..BATCH {
        while log
            .reserve(RECORD, Urgency::Take, black_box(payload))
            .map(Reservation::commit)
            .is_err()
        {
            std::thread::yield_now();
        }
    }
}

fn fresh_log(directory: &std::path::Path) -> Log {
    let mut options = Options::new(directory);
    options.durability = Durability::Os;
    options.unsynced_bytes_max = 1 << 30;
    options.segments_ahead = 2;
    let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
    while log.stats().segments_ahead < 2 {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    log
}

fn append(c: &mut Criterion) {
    let payload = [7; PAYLOAD_BYTES];
    let mut group = c.benchmark_group("append");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(1));
    for threads in [1_u64, 2] {
        group.throughput(Throughput::Elements(BATCH * threads));
        group.bench_function(BenchmarkId::from_parameter(threads), |b| {
            b.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let directory = tempfile::tempdir().unwrap();
                    let log = fresh_log(directory.path());
                    #[allow(clippy::disallowed_methods, reason = "what a benchmark is for")]
                    let started = std::time::Instant::now();
                    std::thread::scope(|scope| {
                        for _ in 1..threads {
                            scope.spawn(|| append_batch(&log, &payload));
                        }
                        append_batch(&log, &payload);
                    });
                    total += started.elapsed();
                }
                total
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
