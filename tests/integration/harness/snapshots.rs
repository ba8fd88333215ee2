//! Snapshots as an operator sees them: files, the admin socket, and what the server says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, fresh_email};
use super::server::Server;
use super::time::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

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

/// The value of `field=…` in the last line that has it, once there is one.
pub(crate) fn last_logged(server: &Server, field: &str) -> String {
    server.expect_logged(&format!("{field}="));
    let text = server.stderr();
    let (_, behind) = text.rsplit_once(&format!("{field}=")).expect("it was logged");
    behind.split_whitespace().next().unwrap().to_owned()
}

/// Writes to the log until `done`: names as long as they may be, bookings made and given back.
pub(crate) fn fill_the_log(server: &Server, what: &str, done: impl Fn() -> bool) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = server.client();
                let (user, show) = (client.create_user(), client.create_show(1));
                while !stop.load(Ordering::Relaxed) {
                    rename(&client, &user, 200);
                    let booking = client.hold(&user, &show.id, &show.tickets[..1]);
                    client.cancel(&booking, &user).expect(200);
                }
            });
        }
        wait_until(LIMIT, what, done);
        stop.store(true, Ordering::Relaxed);
    });
}

/// Gives a user a name as long as it may be.
fn rename(client: &Client, user: &str, status: u16) {
    let profile = json!({"email": fresh_email(), "name": "\u{1f3ab}".repeat(200)});
    client.put(&format!("/api/users/{user}"), &profile).expect(status);
}
