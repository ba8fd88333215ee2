//! A log to which bad things happen: kills, full disks, failing syncs, files cut by others.
//!
//! Where the process must die, or its system calls must fail, the test starts itself again: a test
//! that finds itself started by [`child`] does the child's part and returns.

#![allow(clippy::unwrap_used, reason = "a test binary: its helpers are tests too")]

#[path = "log/live_support/mod.rs"]
mod live_support;

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use live_support::{RECORD, Shadow, payload, replay, small, wait_until};
use wal::{Durability, Log, Options, ReserveError, SealError, Urgency};

const DIRECTORY: &str = "WAL_TEST_DIRECTORY";
const MODE: &str = "WAL_TEST_MODE";
const ROUND: &str = "WAL_TEST_ROUND";

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// This test binary, about to do the child's part of the test `name` in `directory`.
fn child(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    with_child_arguments(&mut command, name, directory);
    command
}

fn with_child_arguments(command: &mut Command, name: &str, directory: &Path) {
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdin(Stdio::null());
}

/// The directory to work in, in a process that [`child`] started.
fn child_directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn open(options: Options) -> Log {
    Log::open(options, |_| Ok::<_, Infallible>(())).unwrap().0
}

fn append_and_wait(log: &Log, bytes: &[u8]) {
    let end = log.reserve(RECORD, Urgency::Take, bytes).unwrap().commit();
    log.kick();
    wait_until("the record is durable", || log.durable() >= end);
}

// ---- kill -9 ----

/// Appends from two threads and says which seeds may be answered, until it is killed.
fn appends_until_it_is_killed(directory: &Path) {
    let mut options = small(directory);
    options.durability = std::env::var(MODE).unwrap().parse().unwrap();
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let log = open(options);
    let next = AtomicU64::new(round << 32);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let bytes = payload(seed, usize::try_from(seed * 31 % 700).unwrap() + 8);
                    let Ok(reservation) = log.reserve(RECORD, Urgency::Take, &bytes) else {
                        std::thread::yield_now();
                        continue;
                    };
                    if seed % 5 == 4 {
                        reservation.void();
                        continue;
                    }
                    let end = reservation.commit();
                    log.kick();
                    while log.answerable() < end {
                        std::thread::yield_now();
                    }
                    let mut out = std::io::stdout();
                    writeln!(out, "ack {seed}").unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(directory) = child_directory() {
        return appends_until_it_is_killed(&directory);
    }
    for mode in ["commit", "interval:5", "os"] {
        let directory = tempfile::tempdir().unwrap();
        let mut acknowledged: Vec<u64> = Vec::new();
        for round in 0..4 {
            acknowledged.extend(acknowledged_before_a_kill(directory.path(), mode, round));
        }
        let records: HashMap<Vec<u8>, u64> =
            replay(&directory).0.into_iter().map(|(lsn, bytes)| (bytes, lsn.get())).collect();
        assert!(acknowledged.len() > 100, "{mode}: only {} acknowledged", acknowledged.len());
        for seed in acknowledged {
            let bytes = payload(seed, usize::try_from(seed * 31 % 700).unwrap() + 8);
            assert!(records.contains_key(&bytes), "{mode}: record {seed} was lost");
        }
    }
}

/// Runs the child until it has acknowledged some and kills it in the middle of its work.
fn acknowledged_before_a_kill(directory: &Path, mode: &str, round: u64) -> Vec<u64> {
    let mut child: Child = child("what_was_acknowledged_survives_kill_9", directory)
        .env(MODE, mode)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let wanted = 100 + 57 * usize::try_from(round).unwrap();
    // What still comes out of the pipe after the kill was acknowledged before it.
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(seed) = line.trim_end().strip_prefix("ack ").filter(|_| line.ends_with('\n')) {
            acknowledged.push(seed.parse().unwrap());
        }
        if acknowledged.len() == wanted {
            child.kill().unwrap();
        }
        line.clear();
    }
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
    acknowledged
}

// ---- a failing sync ----

fn meets_a_failing_sync(directory: &Path) {
    let log = open(small(directory));
    let notified = Arc::new(AtomicU64::new(0));
    log.on_progress(Box::new({
        let notified = Arc::clone(&notified);
        move || _ = notified.fetch_add(1, Ordering::Relaxed)
    }));
    // Making it takes syncs of the preparer's, which are none after the failure.
    wait_until("a segment is ready ahead", || log.stats().segments_ahead == 1);
    let mut last = log.durable();
    while log.poisoned().is_none() {
        last = log.durable();
        let end = match log.reserve(RECORD, Urgency::Take, b"x") {
            Ok(reservation) => reservation.commit(),
            Err(refused) => {
                assert_eq!(refused, ReserveError::Poisoned);
                break;
            }
        };
        log.kick();
        let before = notified.load(Ordering::Relaxed);
        wait_until("an answer or the end", || {
            log.durable() >= end
                || log.poisoned().is_some()
                || notified.load(Ordering::Relaxed) > before
        });
    }
    let poison = log.poisoned().unwrap();
    assert_eq!(poison.operation, "fdatasync");
    assert!(poison.reason.contains("os error 5"), "{poison}");
    wait_until("the poisoning is notified", || notified.load(Ordering::Relaxed) > 10);
    assert!(matches!(log.reserve(RECORD, Urgency::Release, b""), Err(ReserveError::Poisoned)));
    assert!(!log.has_room());
    // Behind the last record there may be a frame of the log's own, whose sync was the one to fail.
    let durable = log.durable();
    assert!(durable >= last && durable < log.reserved(), "nothing is durable that was not synced");
    assert_eq!(log.seal(), Err(SealError::Poisoned(poison)));
}

#[test]
fn a_failed_sync_is_final() {
    if let Some(directory) = child_directory() {
        return meets_a_failing_sync(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace.txt");
    let mut strace = Command::new("strace");
    // Counted per thread: the 40th of the syncer.
    strace.args(["-f", "-qq", "-e", "trace=fdatasync"]);
    strace.args(["-e", "inject=fdatasync:error=EIO:when=40", "-o"]).arg(&trace);
    strace.arg(std::env::current_exe().unwrap());
    let log_directory = directory.path().join("log");
    with_child_arguments(&mut strace, "a_failed_sync_is_final", &log_directory);
    let Ok(output) = strace.output() else {
        return skipped("strace is not installed");
    };
    assert!(output.status.success(), "{}", text(&output));
    let trace = fs::read_to_string(trace).unwrap();
    let (_, after) = trace.split_once("(INJECTED)").unwrap();
    assert!(!after.contains("fdatasync"), "a sync was called after one had failed:\n{after}");
    // The bytes reached the page cache all the same, and this boot reads them.
    replay(&log_directory);
}

// ---- a full disk ----

/// A tmpfs of its own, unmounted on drop.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` where this process may not mount.
    fn mount(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Says why a test shows nothing here, which fails it where all must show something.
#[track_caller]
fn skipped(why: &str) {
    let required = std::env::var("FAULTS_REQUIRED").is_ok_and(|value| value == "1");
    assert!(!required, "FAULTS_REQUIRED=1, and this test cannot run here: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let Some(disk) = Tmpfs::mount(8 << 20) else {
        return skipped("mounting is not permitted");
    };
    let filler = disk.0.path().join("filler");
    fs::write(&filler, vec![1; 4 << 20]).unwrap();
    let directory = disk.0.path().join("log");
    let mut options = Options::new(&directory);
    options.segment_bytes = 512 << 10;
    options.reserve_bytes = 64 << 10;
    let mut shadow = Shadow::default();
    let log = open(options);

    fill(&log, Urgency::Take, &mut shadow);
    assert!(!log.has_room());
    let before = shadow.len();
    fill(&log, Urgency::Release, &mut shadow);
    assert!(shadow.len() - before >= 60, "the reserve was there for releases");
    wait_until("the full disk is noticed", || log.stats().disk_full);
    wait_until("the half-made file is gone", || {
        !fs::read_dir(&directory)
            .unwrap()
            .any(|f| f.unwrap().path().extension().is_some_and(|e| e == "tmp"))
    });
    assert!(log.poisoned().is_none());
    assert!(log.stats().refused_no_room > 0);

    fs::remove_file(filler).unwrap();
    wait_until("there is room again", || log.has_room());
    shadow.append(&log, b"after");
    assert!(!log.stats().disk_full);
    log.seal().unwrap();
    drop(log);
    let (records, report) = replay(&directory);
    assert_eq!(records, shadow.records());
    assert!(report.clean);
}

/// Appends until there is no room and none will come.
fn fill(log: &Log, urgency: Urgency, shadow: &mut Shadow) {
    loop {
        match log.reserve(RECORD, urgency, &payload(1, 900)) {
            Ok(reservation) => {
                let lsn = reservation.lsn();
                let end = reservation.commit();
                shadow.extend(vec![(lsn, payload(1, 900))]);
                log.kick();
                wait_until("the record is durable", || log.durable() >= end);
            }
            Err(ReserveError::NoRoom) if log.stats().disk_full => return,
            Err(refused) => assert!(refused.retryable(), "{refused}"),
        }
    }
}

#[test]
fn a_disk_that_is_full_at_the_start_changes_nothing() {
    let Some(disk) = Tmpfs::mount(2 << 20) else {
        return skipped("mounting is not permitted");
    };
    let directory = disk.0.path().join("log");
    let mut options = Options::new(&directory);
    options.segment_bytes = 4 << 20;
    let refused = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap_err();
    assert!(matches!(refused, wal::OpenError::NoSpace { .. }), "{refused}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "only the lock file");
}

// ---- holes ----

/// Age at which a hole ends the log.
const HOLE_FATAL: Duration = Duration::from_secs(5);
/// Age at which a hole is counted as old.
const HOLE_OLD: Duration = Duration::from_millis(100);

#[test]
#[allow(clippy::disallowed_methods, reason = "how old the hole is at most")]
fn a_hole_is_counted_and_then_poisons() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(small(&directory));
    append_and_wait(&log, b"before");
    let since = Instant::now();
    let hole = log.reserve(RECORD, Urgency::Take, b"hole").unwrap();
    log.reserve(RECORD, Urgency::Take, b"behind").unwrap().commit();
    log.kick();
    wait_until("the hole is counted", || log.stats().old_holes == 1);
    assert!(log.durable() <= hole.lsn());
    wait_until("the hole poisons", || log.poisoned().is_some());
    assert!(since.elapsed() >= HOLE_FATAL, "poisoned too soon");
    assert!(log.durable() <= hole.lsn(), "a hole is never skipped");
    hole.void();
    assert!(log.seal().is_err());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how old the hole is at most")]
fn a_short_hole_is_not_counted_and_each_old_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(small(&directory));
    // The syncer may be kept from the processor until a hole seems old: a try of several has to do.
    let tries = 20;
    let counted_in_vain = (0..tries).filter(|_| {
        let before = log.stats().old_holes;
        log.reserve(RECORD, Urgency::Take, b"before").unwrap().commit();
        let since = Instant::now();
        let hole = log.reserve(RECORD, Urgency::Take, b"short").unwrap();
        log.kick();
        // Up to the hole: so the syncer has met it.
        wait_until("what is before it is durable", || log.durable() >= hole.lsn());
        let end = hole.commit();
        // On a slow disk it is old by now, and may be counted.
        let short = since.elapsed() < HOLE_OLD;
        log.kick();
        wait_until("the hole is past", || log.durable() >= end);
        short && log.stats().old_holes > before
    });
    assert!(counted_in_vain.count() < tries);
    let before = log.stats().old_holes;
    let first = log.reserve(RECORD, Urgency::Take, b"first").unwrap();
    let second = log.reserve(RECORD, Urgency::Take, b"second").unwrap();
    log.kick();
    wait_until("the first hole is counted", || log.stats().old_holes == before + 1);
    first.commit();
    wait_until("so is the second", || log.stats().old_holes == before + 2);
    second.commit();
    log.seal().unwrap();
}

#[test]
fn sealing_waits_for_open_reservations() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(small(&directory));
    let reservation = log.reserve(RECORD, Urgency::Take, b"late").unwrap();
    std::thread::scope(|scope| {
        let sealing = scope.spawn(|| log.seal());
        wait_until("the log is closed", || {
            matches!(log.reserve(RECORD, Urgency::Take, b""), Err(ReserveError::Sealed))
        });
        let end = reservation.commit();
        assert!(sealing.join().unwrap().unwrap() > end);
    });
    drop(log);
    let (records, report) = replay(&directory);
    assert_eq!((records.len(), report.clean), (1, true));
}

// ---- what must end the process ----

fn drops_a_decided_reservation(directory: &Path) {
    let log = open(small(directory));
    let mut reservation = log.reserve(RECORD, Urgency::Take, b"visible").unwrap();
    reservation.decided();
    drop(reservation);
}

#[test]
fn dropping_a_decided_reservation_aborts() {
    if let Some(directory) = child_directory() {
        return drops_a_decided_reservation(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let output = child("dropping_a_decided_reservation_aborts", directory.path()).output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGABRT), "{}", text(&output));
    assert!(text(&output).contains("describes a change that is visible"), "{}", text(&output));
    assert_eq!(replay(&directory).0, vec![]);
}

fn appends_to_a_file_that_was_cut(directory: &Path) {
    let log = open(small(directory));
    append_and_wait(&log, b"whole");
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
        }
    }
    log.reserve(RECORD, Urgency::Take, &payload(0, 8000)).unwrap().commit();
}

#[test]
fn a_bus_error_names_the_segment() {
    if let Some(directory) = child_directory() {
        return appends_to_a_file_that_was_cut(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let output = child("a_bus_error_names_the_segment", directory.path()).output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGABRT), "{}", text(&output));
    let said = "fatal: bus error in wal-0000000000000000.seg at offset ";
    assert!(text(&output).contains(said), "{}", text(&output));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

// ---- rest ----

/// How often the log's threads of this process went to sleep, by thread.
fn context_switches() -> HashMap<PathBuf, String> {
    let mut switches = HashMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        if name.starts_with("wal-") {
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            switches.insert(task, counts.collect());
        }
    }
    switches
}

fn looks_at_idle_threads(directory: &Path) {
    for durability in
        [Durability::Commit, Durability::Interval(Duration::from_millis(5)), Durability::Os]
    {
        let mut options = small(directory.join(durability.to_string()));
        options.durability = durability;
        let log = open(options);
        log.reserve(RECORD, Urgency::Take, b"x").unwrap().commit();
        log.kick();
        let still = Mutex::new(context_switches());
        wait_until("the threads sleep for 300 ms", || {
            std::thread::park_timeout(Duration::from_millis(300));
            let now = context_switches();
            let slept = std::mem::replace(&mut *still.lock().unwrap(), now.clone()) == now;
            // A new thread has no name at first, and one that ended stays in the list for a moment.
            slept && now.len() == 2
        });
    }
}

#[test]
fn an_idle_log_never_wakes_up() {
    if let Some(directory) = child_directory() {
        return looks_at_idle_threads(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let output = child("an_idle_log_never_wakes_up", directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
