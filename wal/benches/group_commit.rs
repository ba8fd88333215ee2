//! Group commit against the bare disk, in one run.
//!
//! Committers append a 200-byte record and wait until it is durable, over and over; the baseline is
//! one thread that overwrites a 4 KiB block of a written file and calls `fdatasync`. Both are measured
//! in turn, slice by slice, and medians are compared, since the disk drifts within minutes. Printed per
//! number of committers: commits per second, as a ratio to `committers * raw syncs/s` and to raw
//! syncs/s; the 99th percentile of a commit as a ratio to the raw median; device bytes per sync, as a
//! ratio to the group's bytes + 4 KiB. The bars: 0.3 x N x raw for 16 to 256 committers, 0.75 for one,
//! p99 at 256 at most 8 x the raw median, device bytes at most 1.3.
//!
//! Segments are large, so that none is made during a slice, whose zeros would count as device bytes;
//! the last line, `256+`, has segments of the default size, made while the committers run.
//! The device's counter counts what other processes write to it as well.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::{
    convert::Infallible,
    fs::{self, File},
    os::unix::{fs::FileExt, fs::MetadataExt},
    path::Path,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use std::sync::Arc;
use wal::{Kind, Log, Options, RecordType, Urgency};

const RECORD: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };
const PAYLOAD: [u8; 200] = [7; 200];
const SLICE: Duration = Duration::from_millis(300);
const SLICES: usize = 5;

struct Slice {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    device_bytes_ratio: f64,
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let block = File::create(directory.path().join("block")).unwrap();
    block.write_all_at(&[1; 1 << 20], 0).unwrap();
    block.sync_all().unwrap();
    println!(
        "committers  commits/s   of N x raw   of raw   p50/raw p50  p99/raw p50  device bytes"
    );
    let prepared = 256 << 20;
    let cases = [(1, prepared), (16, prepared), (64, prepared), (256, prepared), (256, 64 << 20)];
    for (committers, segment_bytes) in cases {
        let mut raw = Vec::new();
        let mut log_slices = Vec::new();
        let log_directory = directory.path().join(format!("log-{committers}-{segment_bytes}"));
        let mut options = Options::new(&log_directory);
        options.segment_bytes = segment_bytes;
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
        while log.stats().segments_ahead == 0 {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let group = Arc::new(Group::default());
        log.on_progress(Box::new({
            let group = Arc::clone(&group);
            move || group.advance()
        }));
        for _ in 0..SLICES {
            raw.push(raw_slice(&block));
            log_slices.push(commit_slice(&log, &group, committers, &log_directory));
        }
        report(committers, segment_bytes < prepared, &mut raw, &mut log_slices);
        drop(log);
        fs::remove_dir_all(log_directory).unwrap();
    }
}

fn report(committers: usize, making: bool, raw: &mut [Slice], log: &mut [Slice]) {
    let raw_rate = median(raw, |slice| slice.per_second);
    let raw_p50 = median(raw, |slice| slice.p50.as_secs_f64());
    let rate = median(log, |slice| slice.per_second);
    let mark = if making { '+' } else { ' ' };
    let raw_p99 = median(raw, |slice| slice.p99.as_secs_f64());
    println!(
        "{committers:>9}{mark}  {rate:>9.0}   {:>10.3}   {:>6.1}   {:>11.2}  {:>11.2}  {:>12.2}   (raw {raw_rate:.0}/s, p50 {:.0} us, p99 {:.0} us)",
        rate / raw_rate / committers as f64,
        rate / raw_rate,
        median(log, |slice| slice.p50.as_secs_f64()) / raw_p50,
        median(log, |slice| slice.p99.as_secs_f64()) / raw_p50,
        median(log, |slice| slice.device_bytes_ratio),
        raw_p50 * 1e6,
        raw_p99 * 1e6,
    );
}

fn median(slices: &mut [Slice], of: impl Fn(&Slice) -> f64) -> f64 {
    slices.sort_by(|a, b| of(a).total_cmp(&of(b)));
    of(&slices[slices.len() / 2])
}

fn percentile(times: &mut [Duration], of_100: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * of_100 / 100]
}

fn raw_slice(block: &File) -> Slice {
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < SLICE {
        let each = Instant::now();
        block.write_all_at(&[times.len() as u8; 4096], 0).unwrap();
        block.sync_data().unwrap();
        times.push(each.elapsed());
    }
    Slice {
        per_second: times.len() as f64 / started.elapsed().as_secs_f64(),
        p50: percentile(&mut times, 50),
        p99: percentile(&mut times, 99),
        device_bytes_ratio: 1.0,
    }
}

/// Where committers wait: one condition for all, notified once per sync.
#[derive(Default)]
struct Group {
    turn: Mutex<u64>,
    advanced: Condvar,
}

impl Group {
    fn advance(&self) {
        *self.turn.lock().unwrap() += 1;
        self.advanced.notify_all();
    }
}

/// A few threads stand for many committers, as a server's runtimes do: each keeps its share of
/// commits in flight and starts the next one when one is answered.
fn commit_slice(log: &Log, group: &Group, committers: usize, directory: &Path) -> Slice {
    let threads = committers.min(2);
    let stop = AtomicBool::new(false);
    let commits = AtomicU64::new(0);
    let (before, device) = (log.stats(), device_bytes_written(directory));
    let started = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| commit_until(log, group, committers / threads, &stop, &commits))
            })
            .collect();
        while started.elapsed() < SLICE {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let per_second = commits.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    let (after, device) = (log.stats(), device_bytes_written(directory) - device);
    let due = after.synced_bytes - before.synced_bytes + 4096 * (after.syncs - before.syncs);
    Slice {
        per_second,
        p50: percentile(&mut times, 50),
        p99: percentile(&mut times, 99),
        device_bytes_ratio: device as f64 / due as f64,
    }
}

fn commit_until(
    log: &Log,
    group: &Group,
    in_flight: usize,
    stop: &AtomicBool,
    commits: &AtomicU64,
) -> Vec<Duration> {
    let mut waiting = std::collections::VecDeque::new();
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while waiting.len() < in_flight {
            let Ok(reservation) = log.reserve(RECORD, Urgency::Take, &PAYLOAD) else {
                break;
            };
            waiting.push_back((reservation.commit(), Instant::now()));
        }
        log.kick();
        let turn = *group.turn.lock().unwrap();
        let durable = log.durable();
        if waiting.front().is_some_and(|(end, _)| *end > durable) {
            let held = group.turn.lock().unwrap();
            drop(group.advanced.wait_timeout_while(held, SLICE, |now| *now == turn).unwrap());
        }
        let durable = log.durable();
        while let Some((end, since)) = waiting.front().copied()
            && end <= durable
        {
            waiting.pop_front();
            times.push(since.elapsed());
            commits.fetch_add(1, Ordering::Relaxed);
        }
    }
    times
}

/// Bytes written to the device that holds `directory`, from the kernel's statistics; 0 if unknown.
fn device_bytes_written(directory: &Path) -> u64 {
    let device = fs::metadata(directory).unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"));
    let sectors = stat.ok().and_then(|stat| stat.split_whitespace().nth(6)?.parse::<u64>().ok());
    sectors.unwrap_or(0) * 512
}
