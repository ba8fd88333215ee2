//! Everything is killed in turn, and PostgreSQL holds exactly the log.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;

use super::cluster::{Cluster, database};
use super::compare::{assert_mirrored, wait_for_state};
use super::following::{crowd, server};
use super::harness::{Load, World, observe_for};

#[test]
fn server_and_postgresql_are_killed_in_turn_under_load() {
    let mut cluster = Cluster::start();
    let mut database = cluster.create();
    let mut server = server(&database);
    let world = World::create(&server, 8, 2_000);
    let mut random = StdRng::seed_from_u64(7);
    for (round, signal) in [Signal::KILL, Signal::QUIT, Signal::INT].into_iter().enumerate() {
        let load = Load::start(&server.client(), &world, 4, 4, round as u64);
        observe_for(Duration::from_millis(random.random_range(100..600)));
        cluster.end(signal);
        observe_for(Duration::from_millis(300));
        cluster.restart();
        observe_for(Duration::from_millis(random.random_range(100..600)));
        server.kill9();
        let report = load.join();
        let answered: Vec<_> = report.answers.keys().filter(|(status, _)| *status >= 500).collect();
        assert!(answered.is_empty(), "bookings noticed PostgreSQL: {answered:?}");
        server.restart();
        database = cluster.connect(database.name());
        assert_mirrored(&server, &world, &database);
    }
    assert!(server.terminate().success());
    server.restart();
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_server_killed_again_and_again_leaves_no_gap_and_no_duplicate() {
    let database = database();
    let mut server = server(&database);
    let world = World::create(&server, 8, 2_000);
    let mut random = StdRng::seed_from_u64(11);
    for round in 0..5 {
        let load = Load::start(&server.client(), &world, 4, 4, 100 + round);
        observe_for(Duration::from_millis(random.random_range(10..400)));
        server.kill9();
        load.join();
        server.restart();
    }
    assert_mirrored(&server, &world, &database);
}

/// The connection is cut in the middle of transactions, from within: whatever was not committed is
/// not there, whatever was is not written again.
#[test]
fn connections_cut_in_the_middle_of_a_transaction() {
    let database = database();
    let server = server(&database);
    let world = World::create(&server, 8, 1_000);
    let load = Load::start(&server.client(), &world, 4, 4, 3);
    let mut cut = 0;
    for round in 0..40 {
        observe_for(Duration::from_millis(20 + round % 7 * 5));
        cut += database.value::<i64>(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND state <> 'idle' \
             AND application_name = 'booking-manager mirror'",
        );
    }
    // The breaker may be open for a while; then nothing is left to cut.
    cut += database.end_mirrors();
    assert_eq!(load.stop().unanswered, 0);
    assert!(cut > 0, "no connection was cut");
    assert_mirrored(&server, &world, &database);
}

#[test]
fn a_database_that_is_dropped_and_made_again_is_filled_again() {
    let cluster = Cluster::start();
    let database = cluster.create();
    let server = server(&database);
    let world = World::create(&server, 8, 1_000);
    crowd(&server, &world, Duration::from_millis(500), 5);
    assert_mirrored(&server, &world, &database);
    let name = database.name().to_owned();
    drop(database);
    let postgres = cluster.connect("postgres");
    postgres.run(&format!("DROP DATABASE {name} WITH (FORCE)"));
    let mirror = wait_for_state(&server, "blocked");
    let error = mirror["last_error"].as_str().unwrap();
    assert!(error.contains("does not exist") && error.contains("createdb"), "{error}");
    crowd(&server, &world, Duration::from_millis(500), 6);
    postgres.run(&format!("CREATE DATABASE {name}"));
    assert_mirrored(&server, &world, &cluster.connect(&name));
}
