//! Old segments of the log go, and what the mirror needs of them stays.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::database;
use super::compare::{assert_mirrored, mirror, wait_until_mirrored};
use super::following::book;
use super::harness::{Server, Settings, World, fresh_email, together, wait_until};

/// The least there is.
pub(crate) const SEGMENT_BYTES: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(90);
/// So many write at once that they share syncs: where these are slow, what happens while the tables
/// are being filled must all the same take less than a statement may.
const WRITERS: usize = 64;

/// A server that keeps of its log what is needed and no more, and makes snapshots when it is asked to.
fn thrifty(url: String) -> Server {
    Settings::new()
        .env("DATABASE_URL", url)
        .env("WAL_SEGMENT_BYTES", SEGMENT_BYTES)
        .env("SNAPSHOT_LOG_BYTES", 1_u64 << 40)
        .env("WAL_RETAIN_BYTES", 0)
        .start()
}

/// Makes a snapshot and removes what is not needed any more; gives where it is.
#[track_caller]
fn take_snapshot(server: &Server) -> u64 {
    let mut socket = UnixStream::connect(server.data_dir().join("admin.sock")).unwrap();
    socket.write_all(b"snapshot\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["lsn"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

fn first_lsn(server: &Server) -> u64 {
    server.stats()["wal"]["first_lsn"].as_u64().expect("a position")
}

pub(crate) fn durable_lsn(server: &Server) -> u64 {
    server.stats()["wal"]["durable_lsn"].as_u64().expect("a position")
}

/// Lets the log grow past a position, by few and long records.
pub(crate) fn grow_past(server: &Server, world: &World, lsn: u64) {
    let body =
        |number: usize| json!({"email": fresh_email(), "name": "\u{1d120}".repeat(150 + number)});
    while durable_lsn(server) < lsn {
        together(WRITERS, |writer| {
            let path = format!("/api/users/{}", world.users[writer % world.users.len()]);
            for number in 0..25 {
                // Where segments are small, the next one may not be ready in time.
                let reply = server.put(&path, &body(number));
                assert!(matches!(reply.status, 200 | 503), "{}", reply.text);
            }
        });
    }
}

/// Writes more than a segment, and a snapshot of it.
fn go_on(server: &Server, world: &World) -> u64 {
    book(server, world, 10);
    grow_past(server, world, durable_lsn(server) + SEGMENT_BYTES);
    take_snapshot(server)
}

#[test]
fn the_log_behind_a_snapshot_stays_while_the_tables_are_filled_from_it() {
    let database = database();
    let server = thrifty(database.url());
    let world = World::create(&server, 4, 500);
    let mut snapshot = 0;
    for _ in 0..3 {
        snapshot = go_on(&server, &world);
    }
    // PostgreSQL comes to be further than the newest snapshot is: that position must not count.
    grow_past(&server, &world, durable_lsn(&server) + SEGMENT_BYTES);
    wait_until_mirrored(&server);
    wait_until(LIMIT, "the beginning of the log is gone", || first_lsn(&server) > 0);
    // Somebody empties the tables, and the mirror fills them anew; it is made to take long.
    database.run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           WHILE NOT pg_try_advisory_xact_lock(7) LOOP PERFORM pg_sleep(0.02); END LOOP; \
           RETURN NULL; END $$; \
         CREATE TRIGGER wait BEFORE INSERT ON users EXECUTE FUNCTION wait(); \
         SELECT pg_advisory_lock(7)",
    );
    database.run(
        "TRUNCATE users, events, bookings, tickets, booking_mirror_events, \
                  booking_mirror_checkpoint",
    );
    book(&server, &world, 1);
    wait_until(LIMIT, "the tables are being filled", || {
        database.value::<i64>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'booking-manager mirror' AND state = 'active' \
             AND query LIKE 'COPY users%'",
        ) == 1
    });
    let failures = mirror(&server)["failures"].clone();
    // Snapshots come and go, and with them what only they needed of the log.
    let later: Vec<u64> = (0..4).map(|_| go_on(&server, &world)).collect();
    assert!(later[0] > snapshot + SEGMENT_BYTES, "{later:?} behind {snapshot}");
    let expected = snapshot - snapshot % SEGMENT_BYTES;
    assert_eq!(first_lsn(&server), expected, "the segment of the snapshot at {snapshot}");
    database.run("SELECT pg_advisory_unlock(7)");
    assert_mirrored(&server, &world, &database);
    assert_eq!(mirror(&server)["failures"], failures, "{}", mirror(&server));
    // Now nothing holds it any more.
    wait_until(LIMIT, "the log goes on without it", || first_lsn(&server) > expected);
}
