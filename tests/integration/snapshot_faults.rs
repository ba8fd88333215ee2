//! Snapshots when things go wrong around them: a second process, a disk without room, a sync that
//! fails, files that are not what their names say. Nothing of it may cost the log anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Call, Holds, Load, Server, Settings, World, damage, event_body, files, fill_the_log, long_name,
    recovered_state, refused_snapshot, stopped_state, take_snapshot, wait_until,
};
use crate::means::skipped;

const SEGMENT_BYTES: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// A server that makes snapshots when it is asked to, and keeps nothing of the log beyond need.
fn on_demand() -> Settings {
    Settings::new().env("WAL_SEGMENT_BYTES", SEGMENT_BYTES).env("WAL_RETAIN_BYTES", 0)
}

fn in_wal(server: &Server, member: &str) -> u64 {
    server.stats()["wal"][member].as_u64().expect("a number")
}

/// Has the log grow by so many bytes.
fn grow(server: &Server, bytes: u64) {
    let until = in_wal(server, "durable_lsn") + bytes;
    fill_the_log(server, "the log has grown", || in_wal(server, "durable_lsn") >= until);
}

fn lsn(snapshot: &Value) -> u64 {
    snapshot["lsn"].as_u64().expect("a position")
}

#[test]
fn a_second_process_does_not_look_at_the_snapshots() {
    let server = Settings::new().start();
    server.create_show(5);
    let made = take_snapshot(&server);
    let path = PathBuf::from(made["path"].as_str().unwrap());
    // One that is whole and would be refused: it says that it is of another log.
    let mut other = Settings::new().start();
    other.create_show(5);
    take_snapshot(&other);
    assert!(other.terminate().success());
    let foreign = files(&other.data_dir(), "snapshot-").pop().unwrap();
    let newest = path.with_file_name("snapshot-0000ffffffffffff.snap");
    fs::copy(&foreign, &newest).unwrap();
    damage(&path);
    let refused = server.second_process_refused();
    assert_eq!(refused.status.code(), Some(75), "{}", refused.stderr);
    assert!(refused.stderr.contains("in use by another process"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("snapshot-"), "{}", refused.stderr);
}

#[test]
fn an_older_snapshot_counts_only_if_it_is_where_its_name_says_and_whole() {
    let mut server = Settings::new().start();
    let made = [(), ()].map(|()| {
        server.create_show(5);
        take_snapshot(&server)
    });
    assert!(server.terminate().success());
    let [older, newest] = made.each_ref().map(|made| made["path"].as_str().unwrap());
    // The newest again, under a name that makes it the one before the newest.
    let between = format!("snapshot-{:016x}.snap", lsn(&made[1]) - 32);
    fs::copy(newest, Path::new(newest).with_file_name(between)).unwrap();
    server.restart();
    let found = |server: &Server| server.stats()["snapshot"]["older_lsn"].as_u64();
    wait_until(LIMIT, "an older one is found", || found(&server).is_some());
    assert_eq!(found(&server), Some(lsn(&made[0])));
    assert!(server.stats()["snapshot"]["age_seconds"].is_u64(), "the newest says when it was made");
    server.expect_logged("its name says otherwise");
    assert!(server.terminate().success());
    damage(Path::new(older));
    server.restart();
    let told = || server.stderr().matches("an older snapshot cannot be used").count() == 2;
    wait_until(LIMIT, "both are refused", told);
    assert_eq!(found(&server), None);
}

/// A disk of so many bytes in the place of the server's data directory, let go on drop. `None` where
/// this process may not mount.
struct Disk(PathBuf);

impl Disk {
    fn under(server: &mut Server, bytes: u64) -> Option<Self> {
        assert!(server.terminate().success());
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(server.data_dir());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        let disk = mounted.then(|| Self(server.data_dir()))?;
        server.restart();
        Some(disk)
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.0).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Leaves so many bytes free; gives the file that takes the others.
    fn fill_up_to(&self, left: u64) -> PathBuf {
        let filler = self.0.join("filler");
        let bytes = usize::try_from(self.free() - left).unwrap();
        fs::write(&filler, vec![1; bytes]).unwrap();
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server goes after the disk.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_snapshot_without_room_is_refused_and_the_log_gets_its_segments() {
    let mut server = on_demand().start();
    let Some(disk) = Disk::under(&mut server, 16 << 20) else {
        return skipped("mounting is not permitted");
    };
    server.create_show(5);
    wait_until(LIMIT, "a segment is ready", || in_wal(&server, "segments_ahead") >= 1);
    // One more segment and a half: there is room for a snapshot, but not beside two segments.
    let filler = disk.fill_up_to(SEGMENT_BYTES * 3 / 2);
    let refused = refused_snapshot(&server);
    let free = SEGMENT_BYTES * 3 / 2;
    for figure in ["no room".to_owned(), (2 * SEGMENT_BYTES).to_string(), free.to_string()] {
        assert!(refused.contains(&figure), "{figure}: {refused}");
    }
    assert_eq!(files(&disk.0, "snapshot-"), Vec::<PathBuf>::new());
    assert_eq!(server.stats()["snapshot"]["failed"], 1);
    // The log enters the segment that is ready, and makes the next one, without refusing anybody.
    // There is room for no more than one, so nothing is written once it is made.
    let (user, made) = (server.create_user(), in_wal(&server, "segments_made"));
    while in_wal(&server, "segments_made") == made {
        server.send(&long_name(&user)).expect(200);
    }
    assert_eq!(server.stats()["wal"]["disk_full"], false);
    fs::remove_file(filler).unwrap();
    take_snapshot(&server);
    assert_eq!(server.stats()["snapshot"]["last_error"], Value::Null);
}

#[test]
fn a_full_disk_is_freed_by_a_snapshot() {
    let mut server = on_demand().start();
    let Some(disk) = Disk::under(&mut server, 16 << 20) else {
        return skipped("mounting is not permitted");
    };
    take_snapshot_after(&server);
    grow(&server, 2 * SEGMENT_BYTES);
    take_snapshot_after(&server);
    wait_until(LIMIT, "a segment is ready", || in_wal(&server, "segments_ahead") >= 1);
    disk.fill_up_to(SEGMENT_BYTES / 2);
    let user = server.create_user();
    let create = || server.send(&Call::new("POST", "/api/events").json(&event_body(5, 100))).status;
    wait_until(LIMIT, "the log has no more room", || {
        (0..50).for_each(|_| drop(server.send(&long_name(&user))));
        in_wal(&server, "refused_no_room") > 0
            && create() == 503
            && server.stats()["wal"]["disk_full"] == true
    });
    // The newest snapshot becomes the older one, and the log before it goes.
    take_snapshot(&server);
    wait_until(LIMIT, "there is room again", || create() == 201);
}

/// Makes a snapshot of something new.
fn take_snapshot_after(server: &Server) -> Value {
    server.create_show(1);
    take_snapshot(server)
}

/// A fault that the system calls of the checkpoints' thread meet until this is dropped.
struct Injection(Child);

impl Injection {
    /// `None` where there is no `strace`.
    fn into(server: &Server, call: &str, fault: &str) -> Option<Self> {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let name = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
        let thread = tasks.find(|task| name(task).trim() == "checkpoint").expect("the thread runs");
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-e", &format!("trace={call}")]);
        strace.args(["-e", &format!("inject={call}:{fault}"), "-p"]);
        strace.arg(thread.file_name().unwrap());
        let strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        wait_until(LIMIT, "the thread is traced", || {
            let status = fs::read_to_string(thread.join("status")).unwrap();
            let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
            tracer.is_some_and(|tracer| tracer.trim() == strace.id().to_string())
        });
        Some(Self(strace))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It lets go of the thread when it ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_snapshot_whose_sync_failed_is_not_published_and_the_next_one_is_another_file() {
    let mut server = on_demand().start();
    let world = World::create(&server, 4, 40);
    take_snapshot(&server);
    let Some(injection) = Injection::into(&server, "fdatasync", "error=EIO:when=1") else {
        return skipped("strace is not installed");
    };
    let load = Load::start(&server, &world, 4, 3, 5);
    server.create_show(1);
    let refused = refused_snapshot(&server);
    assert!(refused.contains(".snap.tmp: Input/output error"), "{refused}");
    assert_eq!(files(&server.data_dir(), "snapshot-").len(), 1, "nothing of it is left");
    server.expect_logged("no snapshot was made");
    take_snapshot(&server);
    drop(injection);
    let ledger = load.stop().ledger;
    assert!(server.terminate().success());
    let hash = stopped_state(&server);
    server.restart();
    assert_eq!(recovered_state(&server), hash);
    ledger.check(&server, &world, Holds::Last);
}

#[test]
fn a_snapshot_whose_name_may_not_be_on_disk_lets_nothing_go() {
    let mut server = on_demand().start();
    let older = take_snapshot_after(&server);
    grow(&server, SEGMENT_BYTES);
    let newest = take_snapshot_after(&server);
    assert_eq!(server.stats()["snapshot"]["older_lsn"], older["lsn"]);
    let Some(injection) = Injection::into(&server, "fsync", "error=EIO:when=1") else {
        return skipped("strace is not installed");
    };
    grow(&server, SEGMENT_BYTES);
    let refused = refused_snapshot(&server);
    assert!(refused.contains("cannot sync") && refused.contains("os error 5"), "{refused}");
    drop(injection);
    let told = "none is made any more before the server is started again";
    server.expect_logged(told);
    // The name is there, for all that this process can see, and syncs succeed again.
    let files_now = files(&server.data_dir(), "snapshot-");
    assert_eq!(files_now.len(), 3);
    for _ in 0..2 {
        grow(&server, SEGMENT_BYTES);
        let refused = refused_snapshot(&server);
        assert!(refused.contains("only a restart"), "{refused}");
    }
    assert_eq!(in_wal(&server, "first_lsn"), 0, "segments went");
    assert_eq!(server.stats()["snapshot"]["lsn"], newest["lsn"]);
    let last_error = server.stats()["snapshot"]["last_error"].clone();
    assert!(last_error.as_str().is_some_and(|error| error.contains("sync")), "{last_error}");
    assert_eq!(server.get("/health").status, 200);
    assert!(server.terminate().success());
    let hash = stopped_state(&server);
    // What the medium may have after a power cut: the name is not there.
    fs::remove_file(&files_now[2]).unwrap();
    server.restart();
    assert_eq!(recovered_state(&server), hash);
    // This process has seen no sync fail.
    (0..2).for_each(|_| drop(take_snapshot_after(&server)));
    wait_until(LIMIT, "segments go again", || in_wal(&server, "first_lsn") > 0);
}

#[test]
fn a_removal_whose_sync_failed_ends_snapshots_as_well() {
    let server = on_demand().start();
    take_snapshot_after(&server);
    grow(&server, 2 * SEGMENT_BYTES);
    take_snapshot_after(&server);
    // The first sync is that of the snapshot's name, the second that of a segment which is gone.
    let Some(_injection) = Injection::into(&server, "fsync", "error=EIO:when=2") else {
        return skipped("strace is not installed");
    };
    take_snapshot_after(&server);
    let failed = || server.stderr().contains("segments that nothing needs were not removed");
    wait_until(LIMIT, "a removal fails", failed);
    server.create_show(1);
    let refused = refused_snapshot(&server);
    assert!(refused.contains("only a restart"), "{refused}");
}
