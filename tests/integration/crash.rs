//! `kill -9` at a random moment under load: everything acknowledged is still true.

use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::harness::{
    Call, Client, Holds, Load, Reply, Server, Settings, World, event_body, fresh_email,
    observe_for, sweep,
};

const THREADS: usize = 6;

/// Creates users and events until an answer does not come; gives those that were acknowledged.
fn create_until_the_end(client: &Client) -> Vec<(String, Reply)> {
    let mut created = Vec::new();
    for number in 0.. {
        let (call, path, id) = if number % 4 == 0 {
            let call = Call::new("POST", "/api/events").json(&event_body(7, 1_250));
            (call, "/api/events", "event_id")
        } else {
            let body = json!({"email": fresh_email(), "name": "Crash"});
            (Call::post("/api/users", &body), "/api/users", "user_id")
        };
        let Ok(reply) = client.try_send(&call) else {
            break;
        };
        let reply = reply.expect(201);
        created.push((format!("{path}/{}", reply.str(id)), reply));
    }
    created
}

/// Users and events must read as they were acknowledged.
#[track_caller]
fn check_created(client: &Client, created: &[(String, Reply)]) {
    for (path, first) in created {
        let now = client.get(path).expect(200);
        for member in ["email", "name", "price", "total_seats", "date"] {
            assert_eq!(now.json[member], first.json[member], "{path}: {member}");
        }
    }
    for (path, _) in created.iter().filter(|(path, _)| path.contains("events")) {
        let id = path.rsplit('/').next().expect("an id");
        assert_eq!(client.tickets(id).len(), 7, "an event lost tickets");
    }
}

/// One life of the server: load, crash, restart, and every acknowledged answer checked.
fn live_and_crash(server: &mut Server, rng: &mut StdRng) -> World {
    let world = World::create(server, THREADS, 60);
    let load = Load::start(server, &world, THREADS, 4, rng.random());
    let client = server.client();
    let creator = thread::spawn(move || create_until_the_end(&client));
    observe_for(Duration::from_millis(rng.random_range(20..450)));
    server.kill9();
    let report = load.join();
    let created = creator.join().expect("only good answers");
    server.restart();
    report.ledger.check(server, &world, Holds::Last);
    report.ledger.check_replays(server, 30);
    check_created(server, &created);
    sweep(server, &world);
    world
}

fn crash_again_and_again(settings: Settings, rounds: usize) {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = settings.hold_ttl_seconds(86_400).start();
    let mut all = World::default();
    for round in 0..rounds {
        eprintln!("round {round}");
        let world = live_and_crash(&mut server, &mut rng);
        all.users.extend(world.users);
        all.shows.extend(world.shows);
    }
    sweep(&server, &all);
    let status = server.terminate();
    assert!(status.success(), "the last end was clean, not {status}");
    server.restart();
    sweep(&server, &all);
}

#[test]
fn nothing_acknowledged_is_lost_in_25_crashes() {
    crash_again_and_again(Settings::new(), 25);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash_under_interval_durability() {
    crash_again_and_again(Settings::new().durability("interval:50"), 3);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash_under_os_durability() {
    crash_again_and_again(Settings::new().durability("os"), 3);
}

#[test]
fn a_server_that_is_killed_before_it_did_anything_starts_again() {
    let mut server = Settings::new().start();
    for _ in 0..3 {
        server.kill9();
        server.restart();
    }
    server.create_show(3);
}
