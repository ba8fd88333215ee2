//! What goes wrong beside PostgreSQL being gone: bookings go on, and the mirror heals or says what
//! to do.

use std::time::Duration;

use booking_manager::mirror::{Limits, Obstacle, Session, Target, connect, migrate, runtime};
use serde_json::Value;
use wal::Reader;

use super::cluster::{Database, database};
use super::compare::{BOOKING_LIMIT, assert_mirrored, mirror, wait_for_state};
use super::following::{crowd, server};
use super::harness::{Server, Settings, World, now, observe_for, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// What the mirror says while it is blocked.
#[track_caller]
fn blocked(server: &Server) -> String {
    let mirror = wait_for_state(server, "blocked");
    assert_eq!(mirror["breaker"], "open", "{mirror}");
    mirror["last_error"].as_str().expect("a sentence").to_owned()
}

pub(crate) fn migrate_down(database: &Database) {
    let target = Target::from_url(&database.url()).unwrap();
    runtime().unwrap().block_on(async {
        let mut client = connect(&target).await.unwrap();
        assert_eq!(migrate::down(&mut client, 0).await.unwrap(), [2, 1]);
        assert!(migrate::down(&mut client, 0).await.unwrap().is_empty());
    });
}

#[test]
fn dropped_tables_block_until_they_are_made_anew() {
    let database = database();
    let server = server(&database);
    let world = World::create(&server, 8, 1_000);
    crowd(&server, &world, Duration::from_millis(300), 1);
    // It may meet a batch half-way, and lose.
    wait_until(LIMIT, "the table is dropped", || database.try_run("DROP TABLE tickets").is_ok());
    crowd(&server, &world, Duration::from_millis(300), 2);
    let error = blocked(&server);
    assert!(error.contains("\"tickets\" does not exist"), "{error}");
    assert!(error.contains("`booking-wal migrate down --yes`"), "{error}");
    migrate_down(&database);
    assert_mirrored(&server, &world, &database);
}

#[test]
fn rows_that_others_changed_are_noticed() {
    let database = database();
    let server = server(&database);
    let world = World::create(&server, 4, 20);
    let show = world.show();
    let booking = server.hold(&world.users[0], &show.id, &show.tickets[..2]);
    super::compare::wait_until_mirrored(&server);
    database.run("UPDATE bookings SET status = 'confirmed'");
    server.confirm(&booking, &world.users[0]).expect(200);
    let error = blocked(&server);
    assert!(error.contains("changed by somebody else"), "{error}");
    assert!(error.contains("bookings"), "{error}");
    migrate_down(&database);
    assert_mirrored(&server, &world, &database);
}

#[test]
fn tables_of_somebody_else_are_not_touched() {
    let database = database();
    database.run("CREATE TABLE users (login text); INSERT INTO users VALUES ('root')");
    let server = server(&database);
    let world = World::create(&server, 4, 20);
    let error = blocked(&server);
    assert!(error.contains("schema public") && error.contains("(users)"), "{error}");
    assert_eq!(database.value::<String>("SELECT login FROM users"), "root");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.value::<i64>(tables), 1);
    // A schema of its own for the role, and it goes on.
    database.run(
        "CREATE SCHEMA mirror; \
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = mirror, public', current_database()); END $$",
    );
    assert_mirrored(&server, &world, &database.another());
}

#[test]
fn tables_of_a_newer_version_are_refused() {
    let database = database();
    let mut server = server(&database);
    let world = World::create(&server, 2, 5);
    assert_mirrored(&server, &world, &database);
    server.kill9();
    database.run(
        "INSERT INTO booking_mirror_migrations (version, name, checksum) VALUES (99, 'later', '')",
    );
    server.restart();
    let error = blocked(&server);
    assert!(error.contains("version 99"), "{error}");
    database.run("DELETE FROM booking_mirror_migrations WHERE version = 99");
    assert_mirrored(&server, &world, &database);
}

#[test]
fn the_mirror_of_another_log_is_refused() {
    let database = database();
    let mut first = server(&database);
    let world = World::create(&first, 4, 50);
    assert_mirrored(&first, &world, &database);
    // While the first one runs, it is in the way, also of its own log.
    let log = Reader::open(first.data_dir()).unwrap().segments()[0].header.uuid;
    let same = runtime().unwrap().block_on(async {
        Session::begin(&Target::from_url(&database.url()).unwrap(), log, Limits::default()).await
    });
    assert_eq!(same.unwrap_err().obstacle(), Some(&Obstacle::Busy));
    let second = server(&database);
    let error = blocked(&second);
    assert!(error.contains("another process is mirroring"), "{error}");
    second.create_users(1);
    crowd(&first, &world, Duration::from_millis(300), 1);
    assert_mirrored(&first, &world, &database);
    // When it has gone, its log still is.
    assert!(first.terminate().success());
    wait_until(LIMIT, "the second says that the log is another", || {
        let error = mirror(&second)["last_error"].as_str().unwrap_or_default().to_owned();
        error.contains("the mirror of another log")
    });
    drop(second);
    first.restart();
    assert_mirrored(&first, &world, &database);
}

#[test]
fn a_checkpoint_that_somebody_else_advanced_stops_the_mirror() {
    let database = database();
    let server = server(&database);
    let world = World::create(&server, 4, 50);
    super::compare::wait_until_mirrored(&server);
    let lsn: i64 = database.value("SELECT lsn FROM booking_mirror_checkpoint");
    database.run("UPDATE booking_mirror_checkpoint SET lsn = 9000000000000");
    let before: i64 = database.value("SELECT count(*) FROM bookings");
    let show = world.show();
    server.hold(&world.users[0], &show.id, &show.tickets[..2]);
    wait_until(LIMIT, "the mirror says so", || {
        let error = mirror(&server)["last_error"].as_str().unwrap_or_default().to_owned();
        error.contains("has advanced the mirror") || error.contains("an older copy")
    });
    assert_eq!(database.value::<i64>("SELECT count(*) FROM bookings"), before);
    database.run(&format!("UPDATE booking_mirror_checkpoint SET lsn = {lsn}"));
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_slow_postgresql_keeps_no_booking_waiting() {
    let database = database();
    let server = server(&database);
    let world = World::create(&server, 8, 500);
    super::compare::wait_until_mirrored(&server);
    let another = database.another();
    another.run("BEGIN; LOCK TABLE bookings IN ACCESS EXCLUSIVE MODE");
    let show = world.show();
    let start = now();
    let mut longest = Duration::ZERO;
    let mut places = show.tickets.chunks(2);
    while start.elapsed() < Duration::from_secs(3) {
        let (before, Some(seats)) = (now(), places.next()) else { break };
        server.hold(&world.users[0], &show.id, seats);
        longest = longest.max(before.elapsed());
        observe_for(Duration::from_millis(10));
    }
    assert!(longest < BOOKING_LIMIT, "a booking took {longest:?}");
    wait_until(LIMIT, "the lag shows", || {
        let mirror = mirror(&server);
        mirror["lag_records"].as_u64() > Some(0) && mirror["lag_bytes"].as_u64() > Some(0)
    });
    // The lock is not waited for without end.
    wait_until(LIMIT, "the breaker opens", || {
        let mirror = mirror(&server);
        let error = mirror["last_error"].as_str().unwrap_or_default().to_owned();
        error.contains("lock timeout") && mirror["lag_seconds"].as_f64() > Some(1.0)
    });
    let metrics = server.get("/metrics").expect(200).text;
    for name in ["lag_seconds", "lag_bytes", "lag_records", "lsn_bytes", "breaker_open"] {
        assert!(metrics.contains(&format!("\nbooking_mirror_{name} ")), "{name}:\n{metrics}");
    }
    another.run("ROLLBACK");
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_server_stops_in_the_middle_of_a_batch() {
    let database = database();
    let mut server = server(&database);
    let world = World::create(&server, 4, 50);
    super::compare::wait_until_mirrored(&server);
    let another = database.another();
    another.run("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE");
    let show = world.show();
    server.hold(&world.users[0], &show.id, &show.tickets[..2]);
    wait_until(LIMIT, "the mirror waits for the lock", || {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                       WHERE NOT l.granted AND a.datname = current_database()";
        database.value::<i64>(waiting) > 0
    });
    let start = now();
    assert!(server.terminate().success());
    assert!(start.elapsed() < BOOKING_LIMIT, "{:?}", start.elapsed());
    another.run("ROLLBACK");
    server.restart();
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_full_disk_passes() {
    let database = database();
    let server = server(&database);
    let world = World::create(&server, 4, 50);
    super::compare::wait_until_mirrored(&server);
    database.run(
        "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; \
         CREATE TRIGGER disk_full BEFORE INSERT ON bookings EXECUTE FUNCTION disk_full()",
    );
    let show = world.show();
    server.hold(&world.users[0], &show.id, &show.tickets[..2]);
    let mirror = wait_for_state(&server, "backing_off");
    let error = mirror["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("could not extend file") && error.contains("53100"), "{error}");
    database.run("DROP TRIGGER disk_full ON bookings");
    assert_mirrored(&server, &world, &database);
}

#[test]
fn roles_that_do_not_exist_or_may_too_little_are_named() {
    let database = database();
    let role = format!("role_of_{}", database.name());
    let url = database.url().replace("postgres://postgres@", &format!("postgres://{role}@"));
    let server = Settings::new().env("DATABASE_URL", url).start();
    let world = World::create(&server, 4, 20);
    let error = blocked(&server);
    assert!(error.contains("does not let the mirror in") && error.contains(&role), "{error}");
    database.run(&format!("CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
    wait_until(LIMIT, "the missing right is named", || {
        let error = mirror(&server)["last_error"].as_str().unwrap_or_default().to_owned();
        error.contains("lacks a right (permission denied for schema public)")
    });
    database.run(&format!("GRANT CREATE ON SCHEMA public TO {role}"));
    assert_mirrored(&server, &world, &database);
}

#[test]
fn nobody_listens_and_the_server_serves_and_stops() {
    let mut server =
        Settings::new().env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none").start();
    let world = World::create(&server, 4, 100);
    crowd(&server, &world, Duration::from_millis(300), 1);
    let mirror = wait_for_state(&server, "backing_off");
    assert_eq!(mirror["lag_bytes"], Value::Null, "{mirror}");
    let start = now();
    assert!(server.terminate().success());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
