//! PostgreSQL's disk is full, really: on a small file system of its own. Needs the right to mount one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cluster::{Cluster, Database};
use super::compare::{BOOKING_LIMIT, assert_mirrored, mirror, wait_for_state, wait_until_mirrored};
use super::following::server;
use super::harness::{Server, World, now, wait_until};
use super::means::skipped;

const LIMIT: Duration = Duration::from_secs(90);
/// The SQLSTATE.
const DISK_FULL: &str = "53100";
const NO_MOUNTS: &str = "mounting is not permitted";

/// A tmpfs of its own, unmounted on drop.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this process may not mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        mount.arg(directory.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(directory))
    }

    /// A directory on it.
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut filler = File::options().append(true).create(true).open(self.filler()).unwrap();
        let block = [1; 4_096];
        loop {
            match filler.write(&block) {
                Ok(0) => panic!("a write of nothing"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives it back.
    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Books, two seats each, until the mirror gets no further; no booking may notice.
#[track_caller]
fn book_until_it_fails(server: &Server, world: &World, disk: &Disk) {
    let mut longest = Duration::ZERO;
    for seats in world.show().tickets.chunks(2) {
        let start = now();
        let booking = server.hold(&world.users[0], &world.show().id, seats);
        server.confirm(&booking, &world.users[0]).expect(200);
        longest = longest.max(start.elapsed());
        if mirror(server)["failures"].as_u64() > Some(0) {
            assert!(longest < BOOKING_LIMIT, "a booking took {longest:?}");
            return;
        }
        // PostgreSQL frees space now and then.
        disk.fill();
    }
    panic!("a full disk was not noticed: {}", mirror(server));
}

#[test]
fn a_tablespace_on_a_full_disk_passes() {
    let Some(disk) = Disk::mount(48) else { return skipped(NO_MOUNTS) };
    let cluster = Cluster::start();
    let place = disk.directory("space");
    cluster.own(&place);
    let postgres = cluster.connect("postgres");
    postgres.run(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    postgres.run("CREATE DATABASE cramped TABLESPACE small");
    let database = cluster.connect("cramped");
    let server = server(&database);
    let world = World::create(&server, 4, 6_000);
    wait_until_mirrored(&server);
    disk.fill();
    book_until_it_fails(&server, &world, &disk);
    let seen = wait_for_state(&server, "backing_off");
    let error = seen["last_error"].as_str().unwrap_or_default();
    // Of a write that was short PostgreSQL does not say why.
    assert!(error.contains(DISK_FULL), "{error}");
    assert_eq!(seen["breaker"], "open", "{seen}");
    assert!(seen["lag_records"].as_u64() > Some(0), "{seen}");
    disk.free();
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_postgresql_that_a_full_disk_ends_is_taken_up_again() {
    let Some(disk) = Disk::mount(160) else { return skipped(NO_MOUNTS) };
    let place = disk.directory("cluster");
    let settings = ["min_wal_size = 2MB", "max_wal_size = 4MB", "checkpoint_timeout = 30s"];
    let mut cluster = Cluster::start_in(place, &["--wal-segsize=1"], &settings);
    let database = cluster.create();
    let server = server(&database);
    let world = World::create(&server, 4, 6_000);
    wait_until_mirrored(&server);
    disk.fill();
    book_until_it_fails(&server, &world, &disk);
    let told = told_of_it(&server, cluster.directory());
    assert!(told, "{}", mirror(&server));
    disk.free();
    let name = database.name().to_owned();
    assert_mirrored(&server, &world, &healed(&mut cluster, &name));
}

/// What PostgreSQL says depends on what it wanted to write: a table (it refuses), or its own log (it
/// ends). Either is told.
fn told_of_it(server: &Server, cluster: &Path) -> bool {
    let error = mirror(server)["last_error"].as_str().unwrap_or_default().to_owned();
    let log = fs::read_to_string(cluster.join("log")).unwrap_or_default();
    let full = "No space left on device";
    error.contains(DISK_FULL)
        || error.starts_with("no connection") && log.contains(full)
        || error.contains("the database system is") && log.contains(full)
}

/// Once there is space again PostgreSQL comes back, by itself or by its operator.
fn healed(cluster: &mut Cluster, name: &str) -> Database {
    let mut database = None;
    wait_until(LIMIT, "PostgreSQL is back", || {
        if cluster.has_ended() {
            cluster.restart();
        }
        database = cluster.try_connect(name);
        database.is_some()
    });
    database.expect("waited for")
}
