//! A server with PostgreSQL beside it.

use super::cluster::{Database, database};
use super::compare::{assert_mirrored, mirror};
use super::harness::{Load, Server, Settings, World, observe_for};
use std::time::Duration;

/// A server that mirrors into this database.
pub(crate) fn server(database: &Database) -> Server {
    Settings::new().env("DATABASE_URL", database.url()).start()
}

/// Lets a crowd book for a while; everything was answered.
#[track_caller]
pub(crate) fn crowd(server: &Server, world: &World, span: Duration, seed: u64) {
    let load = Load::start(&server.client(), world, 4, 4, seed);
    observe_for(span);
    let report = load.stop();
    assert_eq!(report.unanswered, 0);
    assert!(report.ledger.held.len() > 10, "hardly any load");
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
