//! What `booking-wal verify` says of a data directory, and whether a server that starts on it says
//! the same.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;
use tools::arguments::Place;
use tools::output::Output;

use crate::harness::{Server, Settings, wait_until};
use crate::means::LIMIT;

/// What the audit of a whole, sound directory came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sound {
    /// Of the state at the log's end.
    pub(crate) state_hash: String,
    /// Where the log ends.
    pub(crate) end: u64,
}

/// The audit's answer in JSON.
pub(crate) fn verify(directory: &Path) -> Value {
    let place = Place { directory: directory.to_owned(), json: true };
    let mut text = Vec::new();
    tools::audit::verify(&place, &mut Output::new(&mut text)).expect("the directory can be read");
    serde_json::from_slice(&text).expect("JSON")
}

/// Fails the test unless log and snapshots are sound (or there is no log yet).
#[track_caller]
pub(crate) fn expect_sound(directory: &Path) -> Sound {
    let fresh = Sound { state_hash: "0".repeat(32), end: 0 };
    if !directory.exists() {
        return fresh;
    }
    let answer = verify(directory);
    let verdict = answer["verdict"].as_str().unwrap_or_default();
    if verdict == "fresh" {
        return fresh;
    }
    assert_eq!(verdict, "sound", "{answer}");
    let state_hash = answer["state_hash"].as_str().expect("a state has a hash").to_owned();
    Sound { state_hash, end: answer["end"].as_u64().expect("a log has an end") }
}

/// The value of `field=…` in the last line with this message, which is written by a thread that may
/// come later than an answer.
pub(crate) fn logged(server: &Server, message: &str, field: &str) -> String {
    let (message, field) = (format!(": {message} "), format!(" {field}="));
    let mut value = None;
    wait_until(LIMIT, "the line is logged", || {
        let text = server.stderr();
        let line = text.lines().rfind(|line| line.contains(&message) && line.contains(&field));
        let behind = line.and_then(|line| line.split(&field).nth(1));
        value = behind.and_then(|behind| behind.split(' ').next()).map(str::to_owned);
        value.is_some()
    });
    value.expect("waited for")
}

/// A server on a directory of the test, which ends with the test's thread even if that is killed: a
/// file system in use could not be unmounted.
pub(crate) fn on(settings: Settings, directory: &Path) -> Settings {
    settings.data_dir(directory).launched_by(["setpriv", "--pdeathsig", "KILL"])
}

/// Starts a server on what a crash or a failure has left, which must be sound, and of which the
/// server must make the same state. No snapshot may be broken: a whole name is given to whole files.
#[track_caller]
pub(crate) fn restart_soundly(settings: Settings, directory: &Path) -> Server {
    let sound = expect_sound(directory);
    let server = on(settings, directory).start();
    let recovered = logged(&server, "recovered", "state_hash");
    assert_eq!(recovered, sound.state_hash, "{}", server.stderr());
    assert!(!server.stderr().contains("a snapshot cannot be used"), "{}", server.stderr());
    server
}

/// Asks for a snapshot through the admin socket.
///
/// # Errors
/// There is nobody to ask, or it ended before it answered.
pub(crate) fn ask_for_snapshot(directory: &Path) -> io::Result<Value> {
    let mut socket = UnixStream::connect(directory.join("admin.sock"))?;
    socket.write_all(b"snapshot\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
