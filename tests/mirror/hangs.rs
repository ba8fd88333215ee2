//! PostgreSQL hangs: its processes stop where they are, its sockets stay open, and nothing that is
//! sent is refused. Bookings go on; the mirror notices, says so, and heals.

use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, Database};
use super::compare::{BOOKING_LIMIT, assert_mirrored, mirror, wait_for_state, wait_until_mirrored};
use super::following::{book, server};
use super::harness::{Server, World, now, observe_for, wait_until};

const LIMIT: Duration = Duration::from_secs(90);

/// Waits until the mirror says that PostgreSQL is silent.
#[track_caller]
fn notice(server: &Server) -> Value {
    let seen = wait_for_state(server, "backing_off");
    let error = seen["last_error"].as_str().expect("a sentence");
    assert!(error.starts_with("PostgreSQL did not answer for "), "{error}");
    assert_eq!(seen["breaker"], "open", "{seen}");
    assert!(seen["next_try_ms"].is_u64(), "{seen}");
    seen
}

/// Waits until the mirror stands in the middle of a transaction.
fn wait_in_a_batch(database: &Database) {
    wait_until(LIMIT, "the mirror waits for the lock", || {
        let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                       WHERE NOT l.granted AND a.datname = current_database() \
                       AND a.application_name = 'booking-manager mirror'";
        database.value::<i64>(waiting) > 0
    });
}

#[test]
fn a_postgresql_that_hangs_in_the_middle_of_a_batch() {
    let cluster = Cluster::start();
    let database = cluster.create();
    let server = server(&database);
    let world = World::create(&server, 8, 4_000);
    book(&server, &world, 20);
    wait_until_mirrored(&server);
    let locker = database.another();
    locker.run("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE");
    book(&server, &world, 20);
    wait_in_a_batch(&database);
    cluster.hang();
    let before = mirror(&server);
    let free =
        server.get(&format!("/api/events/{}/tickets/available", world.show().id)).expect(200);
    let free: Vec<&str> = free.array().iter().filter_map(|seat| seat["id"].as_str()).collect();
    let (mut longest, mut booked) = (Duration::ZERO, 0_u64);
    for seats in free.chunks(2) {
        let start = now();
        server.hold(&world.users[0], &world.show().id, seats);
        longest = longest.max(start.elapsed());
        booked += 1;
        if mirror(&server)["state"] == "backing_off" {
            break;
        }
        observe_for(Duration::from_millis(25));
    }
    assert!(longest < BOOKING_LIMIT, "a booking took {longest:?}");
    let seen = notice(&server);
    // The age of what is not there shows, and not only once the mirror has given up.
    assert!(before["lag_records"].as_u64() > Some(0), "{before}");
    assert!(seen["lag_records"].as_u64() >= Some(booked), "{seen}");
    assert!(seen["lag_seconds"].as_f64() > Some(5.0), "{seen}");
    cluster.wake();
    locker.run("ROLLBACK");
    assert_mirrored(&server, &world, &database);
    assert_eq!(mirror(&server)["last_error"], Value::Null);
}

#[test]
fn a_postgresql_that_hangs_while_there_is_nothing_to_write() {
    let cluster = Cluster::start();
    let database = cluster.create();
    let server = server(&database);
    let world = World::create(&server, 4, 100);
    wait_until_mirrored(&server);
    cluster.hang();
    let seen = notice(&server);
    assert_eq!(seen["lag_records"], 0, "{seen}");
    book(&server, &world, 20);
    cluster.wake();
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_batch_that_waits_shows_as_lag() {
    let database = super::cluster::database();
    let server = server(&database);
    let world = World::create(&server, 4, 100);
    wait_until_mirrored(&server);
    let locker = database.another();
    locker.run("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE");
    let show = world.show();
    server.hold(&world.users[0], &show.id, &show.tickets[..1]);
    wait_in_a_batch(&database);
    let mut seen = Value::Null;
    wait_until(Duration::from_secs(9), "the lag shows before anything has failed", || {
        seen = mirror(&server);
        seen["lag_seconds"].as_f64() > Some(0.5)
    });
    assert_eq!((&seen["state"], &seen["failures"]), (&"streaming".into(), &0.into()), "{seen}");
    locker.run("ROLLBACK");
    assert_mirrored(&server, &world, &database);
    assert_eq!(mirror(&server)["lag_seconds"], 0.0);
}
