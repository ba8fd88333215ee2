//! A small ext4 that is full: what takes seats is refused, the rest goes on, and nothing is hurt.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::audit::{ask_for_snapshot, on, restart_soundly};
use crate::disks::{Ext4, Ground};
use crate::harness::{Call, Holds, Load, Server, Settings, World, fresh_email, sweep, wait_until};
use crate::means::{LIMIT, by_extent, report, skipped};
use crate::script::large_event;

const DISK_BYTES: u64 = 24 << 20;
/// The exit code of a server that cannot make its log.
const CANNOT_CREATE: i32 = 73;

/// A small disk; `None`, and said, where there can be none.
fn small_disk() -> Option<(Ground, Ext4)> {
    let ground = Ground::new(4 * DISK_BYTES);
    match ground.ext4(ground.path(), "small", DISK_BYTES) {
        Ok(disk) => Some((ground, disk)),
        Err(why) => {
            skipped(&why);
            None
        }
    }
}

fn settings() -> Settings {
    Settings::new()
        .env("WAL_SEGMENT_BYTES", 1 << 20)
        .env("SNAPSHOT_LOG_BYTES", 1 << 20)
        .env("WAL_RETAIN_BYTES", 0)
}

/// Writes until something is refused for want of space, and says how many were taken.
fn write_until_refused(server: &Server) -> u32 {
    for taken in 0..20_000 {
        let answer = server.send(&large_event());
        if answer.status == 503 {
            answer.assert_problem();
            assert_eq!(answer.code(), "storage_unavailable", "{}", answer.text);
            assert!(answer.header("retry-after").is_some(), "no Retry-After");
            return taken;
        }
        answer.expect(201);
    }
    panic!("a full disk refuses nothing");
}

/// Everything that only reads.
fn reads_go_on(server: &Server, world: &World) {
    server.get("/health").expect(200);
    server.get("/api/bookings/stats").expect(200);
    let show = world.show();
    assert_eq!(server.tickets(&show.id).len(), show.tickets.len());
    world.bookings(server);
    for path in ["/api/events", "/metrics", "/readyz"] {
        server.get(path).expect(200);
    }
}

fn files(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect()
}

#[test]
fn a_full_ext4_refuses_takers_and_nobody_else() {
    let Some((_ground, disk)) = small_disk() else { return };
    let data = disk.path().join("data");
    let mut server = on(settings(), &data).start();
    let world = World::create(&server, 4, 300);
    let (user, show) = (&world.users[0], world.show());
    let held: Vec<String> =
        show.tickets[..120].iter().map(|ticket| server.hold(user, &show.id, &[ticket])).collect();
    let filler = disk.fill();
    let taken = write_until_refused(&server);
    report(&format!("{taken} large events before the refusal"));
    server.book(user, &show.id, &show.tickets[200..201]).expect_refusal(503, "storage_unavailable");
    let body = json!({"email": fresh_email(), "name": "Late"});
    server.post("/api/users", &body).expect_refusal(503, "storage_unavailable");
    reads_go_on(&server, &world);
    for (number, booking) in held[..100].iter().enumerate() {
        let answer = match number % 2 {
            0 => server.confirm(booking, user),
            _ => server.cancel(booking, user),
        };
        answer.expect(200);
    }
    // A snapshot does not fit either, which hurts nothing.
    let answer = ask_for_snapshot(&data).unwrap();
    assert!(answer["error"].is_string(), "a snapshot on a full disk: {answer}");
    assert!(server.stats()["snapshot"]["failed"].as_u64() > Some(0));
    assert!(!files(&data).keys().any(|path| path.to_string_lossy().ends_with(".snap.tmp")));
    reads_go_on(&server, &world);
    sweep(&server, &world);

    fs::remove_file(filler).unwrap();
    wait_until(LIMIT, "seats can be taken again", || {
        server.book(user, &show.id, &show.tickets[200..201]).status == 201
    });
    let answer = ask_for_snapshot(&data).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    for (number, booking) in held.iter().enumerate() {
        let due = match number {
            100.. => "pending",
            _ if number % 2 == 0 => "confirmed",
            _ => "cancelled",
        };
        assert_eq!(server.booking(booking).expect(200).str("status"), due);
    }
    server.kill9();
    let again = restart_soundly(settings(), &data);
    sweep(&again, &world);
    assert_eq!(again.booking(&held[0]).expect(200).str("status"), "confirmed");
}

#[test]
fn a_server_killed_on_a_full_disk_starts_when_there_is_space() {
    let Some((_ground, disk)) = small_disk() else { return };
    let data = disk.path().join("data");
    let mut server = on(settings(), &data).start();
    let world = World::create(&server, 2, 20);
    let load = Load::start(&server, &world, 2, 2, 7);
    let filler = disk.fill();
    write_until_refused(&server);
    let ledger = load.stop().ledger;
    ledger.check(&server, &world, Holds::Last);
    server.kill9();
    // What a start may remove gives space back; without that it is refused.
    let before = files(&data);
    let mut second = Server::stopped(on(settings(), &data));
    match second.try_restart() {
        Ok(()) => ledger.check(&second, &world, Holds::Last),
        Err(status) => {
            assert_eq!(status.code(), Some(CANNOT_CREATE), "{}", second.stderr());
            assert!(second.stderr().contains("no space"), "{}", second.stderr());
            let after = files(&data);
            let lost: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
            let in_use = |path: &&&PathBuf| path.to_string_lossy().ends_with(".seg");
            let segments = lost.iter().filter(in_use).count();
            assert!(segments <= 1, "more than the segment made ahead was removed: {lost:?}");
        }
    }
    drop(second);
    fs::remove_file(filler).unwrap();
    let third = restart_soundly(settings(), &data);
    ledger.check(&third, &world, Holds::Last);
    sweep(&third, &world);
    third.create_show(2);
}

/// The disk fills up and is emptied again and again under load.
#[test]
fn a_disk_that_fills_up_under_load_loses_nothing() {
    let Some((_ground, disk)) = small_disk() else { return };
    let data = disk.path().join("data");
    let mut server = on(settings(), &data).start();
    let world = World::create(&server, 8, 2_000);
    let mut refused = 0;
    for round in 0..by_extent(2, 5) {
        let load = Load::start(&server, &world, 4, 3, round);
        let filler = disk.fill();
        write_until_refused(&server);
        fs::remove_file(filler).unwrap();
        wait_until(LIMIT, "events can be made again", || server.send(&large_event()).status == 201);
        let report = load.stop();
        let storage = (503, "storage_unavailable".to_owned());
        refused += report.answers.get(&storage).copied().unwrap_or(0);
        report.ledger.check(&server, &world, Holds::Last);
        let stats = server.send(&Call::get("/api/bookings/stats")).expect(200);
        assert!(stats.json["wal"].is_object(), "{}", stats.text);
        server.kill9();
        server = restart_soundly(settings(), &data);
        report.ledger.check(&server, &world, Holds::Last);
    }
    report(&format!("{refused} requests of the load were refused"));
    sweep(&server, &world);
}
