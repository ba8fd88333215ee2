//! A damaged log: a torn tail is cut, anything else is refused and left as it is.

use std::time::Duration;

use crate::harness::{
    Holds, Ledger, Load, Server, Settings, World, find_in_segments, flip_byte, observe_for,
    segment_bytes, sweep, wait_until, write_behind_last_record,
};
use serde_json::json;

const BOOKING_LIMIT: Duration = Duration::from_secs(60);

/// How the run before the damage ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Clean,
    Killed,
}

/// A stopped server whose log has acknowledged bookings in it, and before them all a user with
/// this e-mail address.
fn stopped_server(end: End, needle: &str) -> (Server, World, Ledger) {
    let mut server = Settings::new().start();
    server.post("/api/users", &json!({"email": needle, "name": "Needle"})).expect(201);
    let world = World::create(&server, 4, 40);
    let load = Load::start(&server, &world, 4, 3, 11);
    observe_for(Duration::from_millis(300));
    wait_until(BOOKING_LIMIT, "something is booked", || !load.so_far().ledger.held.is_empty());
    let ledger = load.stop().ledger;
    match end {
        End::Clean => assert!(server.terminate().success(), "not a clean end"),
        End::Killed => server.kill9(),
    }
    (server, world, ledger)
}

/// Bytes that a write torn by a crash may have left behind the last record.
fn torn_tails() -> Vec<(&'static str, Vec<u8>)> {
    let noise = |length: u32| -> Vec<u8> {
        let mixed = (1..=length).map(|n| n.wrapping_mul(2_654_435_761));
        mixed.map(|n| (n >> 24) as u8).collect()
    };
    let mut half_a_frame = 96_u32.to_le_bytes().to_vec();
    half_a_frame.extend(noise(40));
    let mut reserved = (96 | 1_u32 << 31).to_le_bytes().to_vec();
    reserved.extend([0; 60]);
    let mut hole = vec![0; 64];
    hole.extend(noise(64));
    vec![
        ("garbage", noise(200)),
        ("half a frame", half_a_frame),
        ("a reserved frame that was never filled", reserved),
        ("zeros and then garbage", hole),
    ]
}

fn a_torn_tail_is_cut(end: End) {
    let (mut server, world, ledger) = stopped_server(end, "tail@needle.example");
    for (what, bytes) in torn_tails() {
        let segment = write_behind_last_record(&server.data_dir(), &bytes);
        eprintln!("{what} behind the last record of {segment:?}");
        server.restart();
        ledger.check(&server, &world, Holds::Last);
        ledger.check_replays(&server, 20);
        sweep(&server, &world);
        server.create_user();
        match end {
            End::Clean => assert!(server.terminate().success(), "not a clean end"),
            End::Killed => server.kill9(),
        }
    }
    server.restart();
    ledger.check(&server, &world, Holds::Last);
}

#[test]
fn a_torn_tail_is_cut_after_a_clean_run() {
    a_torn_tail_is_cut(End::Clean);
}

#[test]
fn a_torn_tail_is_cut_after_a_crash() {
    a_torn_tail_is_cut(End::Killed);
}

/// A flipped bit in an early record: no start, a clear word, and nothing touched; flipped back:
/// all is well.
fn damage_in_the_middle_is_refused(end: End) {
    let needle = "the.one.in.the.middle@needle.example";
    let (mut server, world, ledger) = stopped_server(end, needle);
    let data_dir = server.data_dir();
    let (segment, offset) = find_in_segments(&data_dir, needle);
    flip_byte(&segment, offset);
    let before = segment_bytes(&data_dir);
    for attempt in 0..2 {
        let refused = server.start_refused();
        assert!(!refused.status.success(), "started over a damaged log");
        let name = segment.file_name().and_then(|name| name.to_str()).unwrap();
        let said = refused.stderr.to_lowercase();
        assert!(
            said.contains(name) && said.contains("offset"),
            "file and offset are not named:\n{}",
            refused.stderr
        );
        assert!(before == segment_bytes(&data_dir), "attempt {attempt} changed the segments");
    }
    flip_byte(&segment, offset);
    server.restart();
    ledger.check(&server, &world, Holds::Last);
    sweep(&server, &world);
}

#[test]
fn damage_in_the_middle_is_refused_after_a_clean_run() {
    damage_in_the_middle_is_refused(End::Clean);
}

#[test]
fn damage_in_the_middle_is_refused_after_a_crash() {
    damage_in_the_middle_is_refused(End::Killed);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let server = Settings::new().start();
    let refused = server.second_process_refused();
    assert!(!refused.status.success(), "two processes on one directory");
    let said = refused.stderr.to_lowercase();
    let clear = ["lock", "in use", "another process", "already"];
    assert!(clear.iter().any(|word| said.contains(word)), "not a clear line:\n{}", refused.stderr);
    server.create_user();
}

#[test]
fn the_directory_is_free_again_after_a_kill() {
    let mut server = Settings::new().start();
    let user = server.create_user();
    server.kill9();
    server.restart();
    server.get(&format!("/api/users/{user}")).expect(200);
}
