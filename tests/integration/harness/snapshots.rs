//! Snapshots as an operator sees them: files, the admin socket, and what the server says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Call, Client, fresh_email};
use super::reply::Reply;
use super::server::Server;
use super::sweep::World;
use super::time::{now, wait_until};

/// How many write to the log at once: on a slow disk it grows by what comes between two syncs.
const WRITERS: usize = 16;
/// How long a log that is written to may stand still.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(60);
/// After so long, and so much more of the log, whatever it is filled for does not come.
const FILLING_LIMIT: Duration = Duration::from_secs(120);
const FILLING_BYTES: u64 = 64 << 20;

/// One command to the admin socket; `None` if there is no server.
pub(crate) fn ask(directory: &Path, command: &str) -> Option<Value> {
    let mut socket = UnixStream::connect(directory.join("admin.sock")).ok()?;
    socket.write_all(format!("{command}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    serde_json::from_str(&answer).ok()
}

/// Has a snapshot made; gives what the server says of it.
#[track_caller]
pub(crate) fn take_snapshot(server: &Server) -> Value {
    let answer = ask(&server.data_dir(), "snapshot").expect("the server answers");
    assert!(answer.get("error").is_none(), "{answer}");
    answer
}

/// Asks for a snapshot that cannot be made; gives the reason.
#[track_caller]
pub(crate) fn refused_snapshot(server: &Server) -> String {
    let answer = ask(&server.data_dir(), "snapshot").expect("the server answers");
    answer["error"].as_str().unwrap_or_else(|| panic!("made: {answer}")).to_owned()
}

/// The files of a directory whose names begin like this, sorted.
pub(crate) fn files(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
    };
    let mut files: Vec<_> = entries.filter(named).collect();
    files.sort();
    files
}

/// Inverts a bit in the middle of a file.
pub(crate) fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// The hash of the state that this run of the server has recovered.
#[track_caller]
pub(crate) fn recovered_state(server: &Server) -> String {
    state_hash(server, "recovered")
}

/// The hash of the state that this run of the server has left at its clean end.
#[track_caller]
pub(crate) fn stopped_state(server: &Server) -> String {
    state_hash(server, "stopped")
}

/// The state hash in the server's own line with this message, which must be there.
#[track_caller]
fn state_hash(server: &Server, message: &str) -> String {
    let text = server.stderr();
    let line = text.lines().find(|line| line.contains(&format!("booking_manager: {message}")));
    let line = line.unwrap_or_else(|| panic!("{message:?} is not logged:\n{text}"));
    let (_, rest) = line.split_once("state_hash=").expect("it tells the state hash");
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(digits.len(), 32, "not a state hash: {digits:?}");
    digits
}

/// Writes to the log until `done`: names as long as they may be, bookings made and given back.
#[track_caller]
pub(crate) fn fill_the_log(server: &Server, what: &str, done: impl Fn() -> bool) {
    let world = World::create(server, WRITERS, WRITERS);
    let show = world.show();
    let stop = AtomicBool::new(false);
    let is_done = thread::scope(|scope| {
        for (user, seat) in world.users.iter().zip(&show.tickets) {
            scope.spawn(|| {
                let client = server.client();
                while !stop.load(Ordering::Relaxed) {
                    write_some(&client, user, &show.id, seat);
                }
            });
        }
        let is_done = is_done_while_the_log_grows(server, done);
        stop.store(true, Ordering::Relaxed);
        is_done
    });
    assert!(is_done, "the log stands still or has grown long in vain until {what}");
}

/// Waits for `done`; gives up on a log that stands still, or that has grown for long and by much.
fn is_done_while_the_log_grows(server: &Server, done: impl Fn() -> bool) -> bool {
    let durable = || server.stats()["wal"]["durable_lsn"].as_u64().expect("a position");
    let (start, first) = (now(), durable());
    let (mut grown_at, mut last) = (start, first);
    let mut is_done = false;
    wait_until(Duration::MAX, "it is done or in vain", || {
        let durable = durable();
        if durable > last {
            (grown_at, last) = (now(), durable);
        }
        is_done = done();
        let is_long = start.elapsed() > FILLING_LIMIT && last - first > FILLING_BYTES;
        is_done || is_long || grown_at.elapsed() > STANDSTILL_LIMIT
    });
    is_done
}

fn write_some(client: &Client, user: &str, event: &str, seat: &str) {
    send_when_there_is_room(client, &long_name(user)).expect(200);
    let held = send_when_there_is_room(client, &Call::book(user, event, &[seat])).expect(201);
    let cancel = format!("/api/bookings/{}/cancel", held.str("booking_id"));
    send_when_there_is_room(client, &Call::post(&cancel, &json!({"user_id": user}))).expect(200);
}

/// Sends, and again while the log has no room: whoever writes fast enters a segment before the next
/// one is ready, and is rightly refused.
fn send_when_there_is_room(client: &Client, call: &Call) -> Reply {
    let mut reply = client.send(call);
    wait_until(STANDSTILL_LIMIT, "the log has room", || {
        let is_refused = reply.status == 503 && reply.code() == "storage_unavailable";
        if is_refused {
            reply = client.send(call);
        }
        !is_refused
    });
    reply
}

/// The request to give a user a name as long as it may be.
pub(crate) fn long_name(user: &str) -> Call {
    let profile = json!({"email": fresh_email(), "name": "\u{1f3ab}".repeat(200)});
    Call::new("PUT", &format!("/api/users/{user}")).json(&profile.to_string())
}
