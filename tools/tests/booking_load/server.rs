//! The real server in a process of its own, with a directory of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::harness::wait_until;

const START_LIMIT: Duration = Duration::from_secs(600);

/// A server, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    root: TempDir,
    process: Option<Child>,
    hold_ttl_seconds: u32,
    pub(crate) port: u16,
    /// Keeps others from getting the port while the server is down.
    _port_keeper: Socket,
    starts: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts one whose holds last as long as by default.
    pub(crate) fn start() -> Self {
        Self::with_holds_of(600)
    }

    /// Starts one whose holds last so many seconds.
    pub(crate) fn with_holds_of(hold_ttl_seconds: u32) -> Self {
        let root = TempDir::with_prefix("booking-load-test-").unwrap();
        let (port, _port_keeper) = keep_port();
        let mut server =
            Self { root, process: None, hold_ttl_seconds, port, _port_keeper, starts: 0 };
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Kills it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it (again), on its port, and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        let stderr = self.root.path().join(format!("stderr-{}", self.starts));
        let process = Command::new(binary())
            .current_dir(self.root.path())
            .env_clear()
            .env("SERVER_HOST", "127.0.0.1")
            .env("SERVER_PORT", self.port.to_string())
            .env("DATA_DIR", self.root.path().join("data"))
            .env("HOLD_TTL_SECONDS", self.hold_ttl_seconds.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let process = self.process.insert(process);
        let said = || fs::read_to_string(&stderr).unwrap_or_default();
        wait_until(START_LIMIT, "the server is ready", || {
            assert!(process.try_wait().unwrap().is_none(), "the server ended:\n{}", said());
            ready(self.port)
        });
    }

    /// Forgets everything, so that the next start begins with nothing.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.root.path().join("data")).unwrap();
    }
}

/// A port that nobody gets unasked as long as the socket is there. It listens to nothing, so whoever
/// asks for just this port may have it.
fn keep_port() -> (u16, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (address.port(), socket)
}

fn ready(port: u16) -> bool {
    crate::liar::ask(port, "GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The server's program. It belongs to another package, for whose binaries cargo sets no variable
/// here; so cargo is asked to build it as it does for the tests of that package, which is quickly
/// done where all tests are run, as it is there already.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let profile = Path::new(env!("CARGO_BIN_EXE_booking-load")).parent().unwrap();
        let release = profile.ends_with("release").then_some("--release");
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells a test about its own package would make cargo build anew what depends on
        // such variables.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                cargo.env_remove(name);
            }
        }
        let built = cargo
            .args(["test", "--quiet", "--no-run", "--workspace", "--test", "config"])
            .args(release)
            .arg("--target-dir")
            .arg(profile.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile.join("booking-manager")
    })
}
