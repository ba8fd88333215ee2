//! The real server in a process of its own, with a directory of its own.

use std::ffi::OsString;
use std::fs;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::Client;
use super::raw::Raw;
use super::time::{now, wait_until};

/// A start syncs some two dozen times.
const START_LIMIT: Duration = Duration::from_secs(300);
const LINE_LIMIT: Duration = Duration::from_secs(60);
const EXIT_LIMIT: Duration = Duration::from_secs(40);
const TAIL_LINES: usize = 30;

/// How a server is configured; what is not said here is left at its default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    variables: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
    launcher: Vec<OsString>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// On this directory, which the caller keeps, instead of one that goes with the server.
    pub(crate) fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    /// Started by this command, which must end up as the server's process itself.
    pub(crate) fn launched_by<T: Into<OsString>>(
        mut self,
        command: impl IntoIterator<Item = T>,
    ) -> Self {
        self.launcher = command.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn hold_ttl_seconds(self, seconds: u32) -> Self {
        self.env("HOLD_TTL_SECONDS", seconds)
    }

    pub(crate) fn durability(self, durability: &str) -> Self {
        self.env("DURABILITY", durability)
    }

    pub(crate) fn one_lane_of(self, capacity: u32) -> Self {
        self.env("QUEUE_COUNT", 1).env("QUEUE_CAPACITY", capacity)
    }

    pub(crate) fn start(self) -> Server {
        Server::start(self)
    }
}

/// A server; as a [`Client`] it can be talked to. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Server {
    root: TempDir,
    settings: Settings,
    process: Option<Child>,
    client: Client,
    runs: u32,
}

/// How a process that was not to start ended.
#[derive(Debug)]
pub(crate) struct RefusedStart {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's last lines ---\n{}", tail(&self.stderr()));
        }
        if self.process.is_some() {
            self.kill9();
        }
    }
}

impl Server {
    /// Starts a server in a new directory and waits until it is ready.
    pub(crate) fn start(settings: Settings) -> Self {
        let mut server = Self::stopped(settings);
        server.restart();
        server
    }

    /// A server that has not been started yet.
    pub(crate) fn stopped(settings: Settings) -> Self {
        Self {
            root: TempDir::with_prefix("booking-manager-test-").expect("a temporary directory"),
            settings,
            process: None,
            client: Client::new(0),
            runs: 0,
        }
    }

    /// A handle on the server for other threads.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The directory of the log.
    pub(crate) fn data_dir(&self) -> PathBuf {
        let own = || self.root.path().join("data");
        self.settings.data_dir.clone().unwrap_or_else(own)
    }

    /// The running server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("the server runs").id()
    }

    /// Bytes of heap and stacks that the running server has in memory.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("RssAnon in KiB") * 1_024
    }

    /// What this run of the server has written to its standard error.
    pub(crate) fn stderr(&self) -> String {
        read_lossy(&self.stderr_path(self.runs))
    }

    /// Waits until this run of the server has written this to its standard error, which a thread of
    /// its own does, maybe later than an answer comes.
    pub(crate) fn expect_logged(&self, text: &str) {
        wait_until(LINE_LIMIT, &format!("{text:?} is logged"), || self.stderr().contains(text));
    }

    /// Starts again on the same directory and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        if let Err(status) = self.try_restart() {
            panic!("the server ended at its start ({status:?}):\n{}", tail(&self.stderr()));
        }
    }

    /// The same, unless the process ends before it is ready.
    pub(crate) fn try_restart(&mut self) -> Result<(), ExitStatus> {
        assert!(self.process.is_none(), "the server still runs");
        self.runs += 1;
        let port_file = self.root.path().join(format!("port-{}", self.runs));
        self.process = Some(self.spawn(&port_file, &self.stderr_path(self.runs)));
        let (mut ended, mut port) = (None, None);
        wait_until(START_LIMIT, "the server is ready", || {
            ended = self.ended();
            if port.is_none() {
                let written = fs::read_to_string(&port_file).ok();
                port = written.and_then(|text| text.trim().parse().ok());
                self.client = Client::new(port.unwrap_or(0));
            }
            // Lines are written by a thread of their own, and tests read what the start has told.
            let is_ready = || self.is_ready() && self.stderr().contains("booking_manager: ready");
            ended.is_some() || port.is_some() && is_ready()
        });
        ended.map_or(Ok(()), Err)
    }

    /// How the process has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.process.as_mut().expect("the server runs");
        let status = child.try_wait().expect("one's own child can be waited for")?;
        self.process = None;
        Some(status)
    }

    /// Whether the server takes requests.
    pub(crate) fn is_ready(&self) -> bool {
        let request = "GET /readyz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let reply = Raw::try_connect(self.client.address())
            .and_then(|mut connection| connection.send(request).read());
        reply.is_some_and(|reply| reply.status == 200)
    }

    /// Kills the process at once, as a crash would.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.process.take().expect("the server runs");
        child.kill().expect("one's own child can be killed");
        child.wait().expect("one's own child can be waited for");
    }

    /// Sends SIGTERM and gives the exit status.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.send_sigterm();
        self.wait_for_exit()
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) fn send_sigterm(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), Signal::TERM).expect("one's own child");
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let child = self.process.take().expect("the server runs");
        wait_for_exit(child, || tail(&self.stderr()))
    }

    /// Starts on the same directory, which the server must refuse.
    pub(crate) fn start_refused(&mut self) -> RefusedStart {
        assert!(self.process.is_none(), "the server still runs");
        self.runs += 1;
        self.refused(self.runs)
    }

    /// Starts a second process on the directory in use, which it must refuse.
    pub(crate) fn second_process_refused(&self) -> RefusedStart {
        self.refused(self.runs + 1_000)
    }

    fn refused(&self, run: u32) -> RefusedStart {
        let path = self.stderr_path(run);
        let child = self.spawn(&self.root.path().join(format!("port-{run}")), &path);
        let status = wait_for_exit(child, || tail(&read_lossy(&path)));
        RefusedStart { status, stderr: read_lossy(&path) }
    }

    fn stderr_path(&self, run: u32) -> PathBuf {
        self.root.path().join(format!("stderr-{run}.log"))
    }

    fn spawn(&self, port_file: &Path, stderr: &Path) -> Child {
        let mut words = self.settings.launcher.clone();
        words.push(server_binary());
        Command::new(&words[0])
            .args(&words[1..])
            .current_dir(self.root.path())
            .env_clear()
            .env("SERVER_HOST", "127.0.0.1")
            .env("SERVER_PORT", "0")
            .env("DATA_DIR", self.data_dir())
            .env("PORT_FILE", port_file)
            .env("LOG_FORMAT", "text")
            .env("NO_COLOR", "1")
            // More than one also on a machine of two cores: they must get along.
            .env("HTTP_THREADS", "2")
            .envs(self.settings.variables.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(stderr).expect("one's own directory can be written"))
            .spawn()
            .expect("the server's binary starts")
    }
}

/// The server under test: the one of `BOOKING_TEST_SERVER`, built in another way, or else cargo's.
fn server_binary() -> OsString {
    let built = || env!("CARGO_BIN_EXE_booking-manager").into();
    std::env::var_os("BOOKING_TEST_SERVER").unwrap_or_else(built)
}

/// One server for several tests that mind no neighbours.
#[derive(Debug)]
pub(crate) struct Shared(OnceLock<(Server, Child)>);

impl Shared {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The server, started with these settings if it is asked for the first time.
    pub(crate) fn get(&self, settings: impl FnOnce() -> Settings) -> &Server {
        let (server, _undertaker) = self.0.get_or_init(|| {
            let server = settings().start();
            let undertaker = bury_when_we_end(&server);
            (server, undertaker)
        });
        server
    }
}

/// The shared server in its default configuration.
pub(crate) fn shared() -> &'static Server {
    static SHARED: Shared = Shared::new();
    SHARED.get(Settings::new)
}

/// A static is never dropped; so a shell waits for the end of this process, however it comes, and
/// then ends the shared server and removes its directory.
fn bury_when_we_end(server: &Server) -> Child {
    Command::new("sh")
        .args(["-c", r#"cat; kill -9 "$1"; rm -rf -- "$2""#, "undertaker"])
        .arg(server.pid().to_string())
        .arg(server.root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// Waits for the end of a child; one that does not end is killed and fails the test.
fn wait_for_exit(mut child: Child, last_words: impl Fn() -> String) -> ExitStatus {
    let start = now();
    let mut status = None;
    wait_until(EXIT_LIMIT + EXIT_LIMIT, "the process has ended", || {
        status = child.try_wait().expect("one's own child can be waited for");
        if status.is_none() && start.elapsed() > EXIT_LIMIT {
            child.kill().expect("one's own child can be killed");
        }
        status.is_some()
    });
    let status = status.expect("waited for");
    assert!(
        status.signal().is_none(),
        "the process did not end by itself in {EXIT_LIMIT:?} or was killed ({status}):\n{}",
        last_words()
    );
    status
}

fn read_lossy(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
