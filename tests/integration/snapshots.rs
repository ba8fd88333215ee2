//! Snapshots and retention: the state comes back from a snapshot and the log behind it, whatever
//! is killed or damaged, and the log stays short.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{
    Call, Holds, Load, Server, Settings, World, ask, damage, files, fill_the_log, fresh_email,
    observe_for, recovered_state, refused_snapshot, stopped_state, sweep, take_snapshot,
    wait_until,
};

const SEGMENT_BYTES: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// A server whose log is cut into small pieces, none of which is kept longer than needed.
fn small_pieces() -> Settings {
    Settings::new()
        .env("WAL_SEGMENT_BYTES", SEGMENT_BYTES)
        .env("SNAPSHOT_LOG_BYTES", 1 << 20)
        .env("WAL_RETAIN_BYTES", 0)
        .hold_ttl_seconds(86_400)
}

/// Waits until the durable log has grown by some records behind `lsn`; gives its durable mark.
fn wait_for_records_behind(server: &Server, lsn: u64) -> u64 {
    const SOME_RECORDS_BYTES: u64 = 1 << 10;
    let durable = || server.stats()["wal"]["durable_lsn"].as_u64().unwrap();
    wait_until(LIMIT, "the log grows", || durable() > lsn + SOME_RECORDS_BYTES);
    durable()
}

/// A snapshot of what was durable when it was asked for, which is more than there was at `lsn`.
#[track_caller]
fn take_snapshot_behind(server: &Server, lsn: u64) -> Value {
    let durable = wait_for_records_behind(server, lsn);
    let snapshot = take_snapshot(server);
    assert!(snapshot["lsn"].as_u64() >= Some(durable), "{snapshot} and {durable}");
    snapshot
}

#[test]
fn a_snapshot_and_the_log_behind_it_make_the_same_state() {
    let mut server = Settings::new().start();
    // More seats than can be sold before the last look at the log.
    let world = World::create(&server, 4, 4_000);
    let load = Load::start(&server, &world, 4, 3, 5);
    let first = take_snapshot_behind(&server, 0);
    let second = take_snapshot_behind(&server, first["lsn"].as_u64().unwrap());
    assert_eq!(second["path"], files(&server.data_dir(), "snapshot-")[1].display().to_string());
    wait_for_records_behind(&server, second["lsn"].as_u64().unwrap());
    let ledger = load.stop().ledger;
    assert!(server.terminate().success());
    let hash = stopped_state(&server);
    for snapshot in [true, false] {
        if !snapshot {
            files(&server.data_dir(), "snapshot-").iter().for_each(|path| {
                fs::remove_file(path).unwrap();
            });
        }
        server.restart();
        assert_eq!(recovered_state(&server), hash, "from a snapshot: {snapshot}");
        ledger.check(&server, &world, Holds::Last);
        sweep(&server, &world);
        assert!(server.terminate().success());
    }
}

#[test]
fn a_snapshot_of_an_unchanged_state_is_the_one_there_is() {
    let server = Settings::new().start();
    server.create_show(5);
    assert_eq!(take_snapshot(&server)["lsn"], take_snapshot(&server)["lsn"]);
    assert_eq!(files(&server.data_dir(), "snapshot-").len(), 1);
    let refused = ask(&server.data_dir(), "sing").unwrap();
    assert_eq!(refused, json!({"error": "unknown command \"sing\": expected snapshot"}));
}

#[test]
fn the_log_stays_short_under_endless_load_and_nothing_is_forgotten() {
    let mut server = small_pieces().start();
    let keyed = json!({"email": fresh_email(), "name": "Kept"});
    let call = || Call::post("/api/users", &keyed).header("Idempotency-Key", "from-the-beginning");
    let first = server.send(&call()).expect(201);
    let world = World::create(&server, 6, 60);
    let load = Load::start(&server, &world, 6, 4, 9);
    let removed = |server: &Server| {
        server.get("/api/bookings/stats").expect(200).json["snapshot"]["segments_removed"].clone()
    };
    // Those between the older snapshot and the end, what the next snapshot waits for, and what is
    // made ahead.
    let is_short = || files(&server.data_dir(), "wal-0").len() < 40;
    fill_the_log(&server, "segments are removed", || {
        removed(&server).as_u64() >= Some(12) && is_short()
    });
    let ledger = load.stop().ledger;
    assert!(!server.data_dir().join("wal-0000000000000000.seg").exists());
    // A checkpoint may be under way.
    let whole = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "snap");
    let snapshots = || files(&server.data_dir(), "snapshot-").into_iter().filter(whole).count();
    wait_until(LIMIT, "two snapshots and a short log are left", || snapshots() == 2 && is_short());
    server.kill9();
    server.restart();
    ledger.check(&server, &world, Holds::Last);
    sweep(&server, &world);
    let again = server.send(&call()).expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json, first.json);
}

#[test]
fn kills_while_snapshots_are_made_and_segments_removed_lose_nothing() {
    const ROUNDS: u32 = 10;
    const ROUNDS_MAX: u32 = 18;
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = small_pieces().start();
    let (mut all, mut made) = (World::default(), 0);
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && made > 0 {
            break;
        }
        eprintln!("round {round}");
        let world = World::create(&server, 6, 60);
        let load = Load::start(&server, &world, 6, 4, rng.random());
        let directory = server.data_dir();
        let asker = thread::spawn(move || {
            let mut made = 0_u32;
            while let Some(answer) = ask(&directory, "snapshot") {
                made += u32::from(answer.get("error").is_none());
            }
            made
        });
        // On a slow disk no snapshot is made in so short a life: then further lives are longer.
        let longer = 1 << round.saturating_sub(ROUNDS - 1);
        observe_for(Duration::from_millis(rng.random_range(50..450)) * longer);
        server.kill9();
        let report = load.join();
        made += asker.join().unwrap();
        server.restart();
        report.ledger.check(&server, &world, Holds::Last);
        report.ledger.check_replays(&server, 30);
        sweep(&server, &world);
        all.users.extend(world.users);
        all.shows.extend(world.shows);
    }
    assert!(made > 0, "no life was long enough for a snapshot");
    sweep(&server, &all);
}

#[test]
fn a_damaged_snapshot_is_told_loudly_and_the_one_before_it_used() {
    let mut server = Settings::new().start();
    server.create_show(5);
    take_snapshot(&server);
    server.create_show(6);
    take_snapshot(&server);
    server.create_show(7);
    assert!(server.terminate().success());
    let hash = stopped_state(&server);
    let snapshots = files(&server.data_dir(), "snapshot-");
    for (damaged, snapshot) in snapshots.iter().rev().enumerate() {
        damage(snapshot);
        server.restart();
        assert_eq!(recovered_state(&server), hash);
        let told = || server.stderr().matches("a snapshot cannot be used").count();
        wait_until(LIMIT, "each damaged one is told", || told() > damaged);
        assert!(server.terminate().success());
    }
}

#[test]
fn without_a_whole_snapshot_a_shortened_log_is_refused_and_left_as_it_is() {
    let mut server = small_pieces().start();
    let gone = server.data_dir().join("wal-0000000000000000.seg");
    fill_the_log(&server, "the first segment is removed", || !gone.exists());
    assert!(server.terminate().success());
    let hash = stopped_state(&server);
    let snapshots = files(&server.data_dir(), "snapshot-");
    let whole: Vec<_> = snapshots.iter().map(|path| fs::read(path).unwrap()).collect();
    snapshots.iter().for_each(|path| damage(path));
    let listing = files(&server.data_dir(), "");
    let refused = server.start_refused();
    assert_eq!(refused.status.code(), Some(65), "{}", refused.stderr);
    assert!(refused.stderr.contains("records before it were removed"), "{}", refused.stderr);
    assert!(refused.stderr.contains("checksum is wrong"), "{}", refused.stderr);
    assert_eq!(files(&server.data_dir(), ""), listing);
    fs::write(&snapshots[0], &whole[0]).unwrap();
    server.restart();
    assert_eq!(recovered_state(&server), hash);
}

#[test]
fn a_log_that_ends_before_its_snapshot_is_refused() {
    let mut server = Settings::new().start();
    server.create_show(5);
    take_snapshot(&server);
    assert!(server.terminate().success());
    // One that was made ahead may be there as well, or not yet.
    for segment in files(&server.data_dir(), "wal-0") {
        fs::remove_file(segment).unwrap();
    }
    let refused = server.start_refused();
    assert_eq!(refused.status.code(), Some(65), "{}", refused.stderr);
}

#[test]
fn a_snapshot_of_another_log_is_refused() {
    let mut server = Settings::new().start();
    server.create_show(5);
    assert!(server.terminate().success());
    let mut other = Settings::new().start();
    other.create_show(5);
    take_snapshot(&other);
    assert!(other.terminate().success());
    let foreign = files(&other.data_dir(), "snapshot-").pop().unwrap();
    let copy = server.data_dir().join(foreign.file_name().unwrap());
    fs::copy(&foreign, &copy).unwrap();
    let refused = server.start_refused();
    assert_eq!(refused.status.code(), Some(65), "{}", refused.stderr);
    assert!(refused.stderr.contains("is of another log ("), "{}", refused.stderr);
    assert!(refused.stderr.contains("`booking-wal repair`"), "{}", refused.stderr);
    fs::remove_file(copy).unwrap();
    server.restart();
}

#[test]
fn what_a_crash_left_of_a_snapshot_is_removed_and_two_stay() {
    let mut server = Settings::new().start();
    server.create_show(5);
    take_snapshot(&server);
    server.create_show(6);
    take_snapshot(&server);
    let before = files(&server.data_dir(), "snapshot-");
    server.kill9();
    let unfinished = server.data_dir().join("snapshot-00000000deadbeef.snap.tmp");
    fs::write(&unfinished, [0; 4096]).unwrap();
    server.restart();
    take_snapshot(&server);
    assert_eq!(files(&server.data_dir(), "snapshot-").len(), 3, "nothing was new");
    server.create_show(7);
    take_snapshot(&server);
    assert!(!unfinished.exists());
    let after = files(&server.data_dir(), "snapshot-");
    assert_eq!((after.len(), &after[0]), (2, &before[1]));
}

#[test]
fn snapshots_of_what_is_not_durable_yet_do_not_replace_the_older_one() {
    let server = Settings::new().durability("os").start();
    server.create_show(5);
    let first = take_snapshot(&server);
    server.create_show(6);
    let second = take_snapshot(&server);
    server.create_show(7);
    take_snapshot(&server);
    // Nothing is synced meanwhile, so all three are of the same position: that of the start.
    assert_eq!(first["lsn"], second["lsn"]);
    assert_eq!(files(&server.data_dir(), "snapshot-").len(), 1);
    assert_eq!(server.stats()["snapshot"]["older_lsn"], Value::Null);
}

#[test]
fn snapshots_that_are_taken_away_stop_the_checkpoints_and_not_the_server() {
    let mut server = small_pieces().start();
    let gone = server.data_dir().join("wal-0000000000000000.seg");
    fill_the_log(&server, "the first segment is removed", || !gone.exists());
    // Then no checkpoint is under way.
    take_snapshot(&server);
    files(&server.data_dir(), "snapshot-").iter().for_each(|path| fs::remove_file(path).unwrap());
    server.create_show(5);
    let error = refused_snapshot(&server);
    assert!(error.contains("no snapshot can be used"), "{error}");
    server.create_show(6);
    assert!(server.stats()["snapshot"]["failed"].as_u64() > Some(0));
    assert!(server.terminate().success());
}
