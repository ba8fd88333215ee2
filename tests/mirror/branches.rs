//! A log that is an older copy of the one that PostgreSQL has, and has gone on by itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::cluster::database;
use super::compare::{assert_mirrored, mirror, wait_for_state};
use super::following::book;
use super::harness::{Server, Settings, World, wait_until};
use super::obstacles::migrate_down;
use super::retention::{SEGMENT_BYTES, durable_lsn, grow_past};

const LIMIT: Duration = Duration::from_secs(90);

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Waits until the mirror is blocked and says so in these words.
#[track_caller]
fn blocked(server: &Server, words: &str) {
    wait_until(LIMIT, words, || {
        let seen = mirror(server);
        let error = seen["last_error"].as_str().unwrap_or_default();
        seen["state"] == "blocked" && error.contains(words)
    });
}

#[test]
fn an_older_copy_of_the_log_does_not_go_on_where_the_log_was() {
    let database = database();
    let mut server = Settings::new()
        .env("DATABASE_URL", database.url())
        .env("WAL_SEGMENT_BYTES", SEGMENT_BYTES)
        .start();
    let world = World::create(&server, 4, 500);
    book(&server, &world, 20);
    assert_mirrored(&server, &world, &database);
    assert!(server.terminate().success());
    let aside = tempfile::tempdir().unwrap();
    copy(&server.data_dir(), &aside.path().join("data"));
    server.restart();
    grow_past(&server, &world, durable_lsn(&server) + SEGMENT_BYTES);
    book(&server, &world, 20);
    assert_mirrored(&server, &world, &database);
    assert!(server.terminate().success());
    let mirrored: i64 = database.value("SELECT lsn FROM booking_mirror_checkpoint");
    let bookings = "SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM bookings b";
    let before: String = database.value(bookings);

    copy(&aside.path().join("data"), &server.data_dir());
    server.restart();
    blocked(&server, "the log was replaced by an older copy");
    grow_past(&server, &world, mirrored.unsigned_abs() + 1);
    blocked(&server, "is an older copy of, which has gone on by itself since");
    // Also after a restart, which makes another segment.
    assert!(server.terminate().success());
    server.restart();
    wait_for_state(&server, "blocked");
    blocked(&server, "is an older copy of, which has gone on by itself since");
    assert_eq!(database.value::<i64>("SELECT lsn FROM booking_mirror_checkpoint"), mirrored);
    assert_eq!(database.value::<String>(bookings), before);
    migrate_down(&database);
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_checkpoint_behind_a_cut_is_ahead_of_the_log() {
    let database = database();
    let mut server = Settings::new().env("DATABASE_URL", database.url()).start();
    let world = World::create(&server, 4, 200);
    book(&server, &world, 20);
    assert_mirrored(&server, &world, &database);
    assert!(server.terminate().success());
    // Where nothing stands in the segment that the restart closed.
    let lsn: i64 = database.value("SELECT lsn FROM booking_mirror_checkpoint");
    database.run("UPDATE booking_mirror_checkpoint SET lsn = lsn + 8192");
    server.restart();
    blocked(&server, "the log was replaced by an older copy");
    database.run(&format!("UPDATE booking_mirror_checkpoint SET lsn = {lsn}"));
    assert_mirrored(&server, &world, &database);
}
