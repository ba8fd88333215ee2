//! The admin socket: `admin.sock` in the data directory, for whoever may write there.
//!
//! A client sends one line, the name of a command, and gets one line of JSON. There is one command,
//! `snapshot`, which makes a checkpoint now and answers
//! `{"lsn":…,"path":…,"bytes":…,"records":…,"state_hash":…,"elapsed_ms":…}`, or `{"error":…}`.
//!
//! Being a file, the socket is guarded by the permissions of its directory and its own (0600), and
//! is reached by no network. One client is served at a time, each for a bounded time.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flume::Sender;
use rustix::fs::{Mode, fchmod};
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Made, Request};

/// The socket's name in the data directory.
const NAME: &str = "admin.sock";
/// How many clients the kernel keeps that have not been accepted yet.
const BACKLOG: i32 = 16;
/// How long a client may take to send its line or to take the answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries to accept a client.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// The longest line.
const LINE_BYTES_MAX: u64 = 64;

/// The socket; dropping this removes it.
#[derive(Debug)]
pub(super) struct Admin {
    path: PathBuf,
}

impl Admin {
    /// Listens in the directory. Without the socket everything else works, so that a directory
    /// where there can be none (its path may be too long for one) is only told of.
    pub(super) fn listen(directory: &Path, requests: Sender<Request>) -> Option<Self> {
        let path = directory.join(NAME);
        match start(&path, requests) {
            Ok(()) => Some(Self { path }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "there is no admin socket");
                None
            }
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // What is left is removed by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens at `path`, which is the owner's alone from the moment it is there: Linux gives the file
/// the socket's own mode.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}

fn start(path: &Path, requests: Sender<Request>) -> io::Result<()> {
    // This process holds the directory's lock, so a socket that is there is a dead one's.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = listen(path)?;
    let serve = move || {
        for client in listener.incoming() {
            match client {
                // A client that fails is its own loss.
                Ok(client) => drop(answer(client, &requests)),
                // Too many files are open, say: later there may be fewer.
                Err(_) => std::thread::park_timeout(ACCEPT_AGAIN),
            }
        }
    };
    // It waits in `accept` until the process ends.
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
}

fn answer(client: UnixStream, requests: &Sender<Request>) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    client.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(&client).take(LINE_BYTES_MAX).read_line(&mut line)?;
    let answer = match line.trim_end() {
        "snapshot" => ask(requests),
        command => json!({"error": format!("unknown command {command:?}: expected snapshot")}),
    };
    (&client).write_all(format!("{answer}\n").as_bytes())
}

fn ask(requests: &Sender<Request>) -> Value {
    let (answer, answered) = flume::bounded(1);
    let made = requests.send(answer).ok().and_then(|()| answered.recv().ok());
    match made {
        Some(Ok(Made { summary, path, elapsed })) => json!({
            "lsn": summary.lsn.get(),
            "path": path.display().to_string(),
            "bytes": summary.bytes,
            "records": summary.records,
            "state_hash": summary.state_hash.to_string(),
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }),
        Some(Err(error)) => json!({ "error": error }),
        None => json!({"error": "the server is stopping"}),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_socket_is_the_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let listener = listen(&path).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let client = UnixStream::connect(&path).unwrap();
        drop((listener.accept().unwrap(), client));
    }
}
