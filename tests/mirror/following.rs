//! A server with PostgreSQL beside it.

use super::cluster::{Database, database};
use super::compare::{assert_mirrored, mirror, wait_until_mirrored};
use super::harness::{Call, Load, Server, Settings, World, event_body, observe_for, wait_until};
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A server that mirrors into this database.
pub(crate) fn server(database: &Database) -> Server {
    Settings::new().env("DATABASE_URL", database.url()).start()
}

/// Lets a crowd book for a while, and until there was some load; everything was answered.
#[track_caller]
pub(crate) fn crowd(server: &Server, world: &World, span: Duration, seed: u64) {
    let load = Load::start(&server.client(), world, 4, 4, seed);
    observe_for(span);
    wait_until(LIMIT, "there was some load", || load.so_far().ledger.held.len() > 10);
    assert_eq!(load.stop().unanswered, 0);
}

/// Books so many seats that are free, one by one, and confirms every other booking.
#[track_caller]
pub(crate) fn book(server: &Server, world: &World, seats: usize) {
    let show = world.show();
    let path = format!("/api/events/{}/tickets/available?limit={seats}", show.id);
    let free = server.get(&path).expect(200);
    assert_eq!(free.array().len(), seats, "the show is sold out");
    for (number, seat) in free.array().iter().enumerate() {
        let user = &world.users[number % world.users.len()];
        let seat = seat["id"].as_str().expect("an id");
        let mut booking = String::new();
        wait_until(LIMIT, "there is room in the log", || {
            let reply = server.book(user, &show.id, &[seat]);
            assert!(matches!(reply.status, 201 | 503), "{}", reply.text);
            booking = reply.json["booking_id"].as_str().unwrap_or_default().to_owned();
            reply.status == 201
        });
        if number % 2 == 0 {
            server.confirm(&booking, user).expect(200);
        }
    }
}

#[test]
fn every_row_is_what_the_server_answers() {
    let database = database();
    let server = server(&database);
    let mut world = World::create(&server, 8, 300);
    world.shows.push(server.create_show_at(50, 0));
    crowd(&server, &world, Duration::from_secs(2), 1);
    assert_mirrored(&server, &world, &database);
    let status = mirror(&server);
    assert_eq!(status["lag_bytes"], 0, "{status}");
    assert_eq!(status["lag_seconds"], 0.0, "{status}");
    assert_eq!(status["last_error"], serde_json::Value::Null, "{status}");
}

/// What a crash of the machine could still take back is nobody else's yet.
#[test]
fn what_is_not_durable_is_not_copied() {
    let database = database();
    let settings = Settings::new().durability("interval:8000");
    let server = settings.env("DATABASE_URL", database.url()).start();
    let copied = || database.value::<i64>("SELECT count(*) FROM users");
    let wait_for = |users| {
        wait_until(LIMIT, "they are durable, and copied", || {
            mirror(&server)["state"] == "streaming" && copied() == users
        });
    };
    server.create_user();
    wait_for(1);
    // The next sync is most of an interval away, unless the test was kept waiting meanwhile.
    let shown = (2..=10).any(|users| {
        server.create_user();
        observe_for(Duration::from_secs(2));
        let early = copied();
        let wal = server.stats()["wal"].clone();
        let lsn = |mark: &str| wal[mark].as_u64().expect("a position");
        let still_volatile = lsn("durable_lsn") < lsn("published_lsn");
        assert!(!still_volatile || early == users - 1, "what was not durable was copied: {wal}");
        wait_for(users);
        still_volatile
    });
    assert!(shown, "it was durable at once, again and again");
}

#[test]
fn an_event_of_very_many_seats_is_one_batch() {
    const SEATS: usize = 1_000_000;
    let database = database();
    let server = server(&database);
    let created = Call::new("POST", "/api/events").json(&event_body(SEATS, 100));
    server.send(&created).expect(201);
    wait_until_mirrored(&server);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kilobytes: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 64 << 10, "the tickets are sent in pieces, but memory is {anonymous}");
    let counted: i64 = database.value("SELECT count(DISTINCT seat_number) FROM tickets");
    assert_eq!(counted, SEATS as i64);
    assert_eq!(mirror(&server)["batches"], 1);
}
