//! Real PostgreSQL clusters in directories of their own, started from the binaries of the system.
//!
//! As root they run as the user `postgres`, who comes with Debian's package; as anybody else they run
//! as oneself. A cluster ends with the process of the tests, however that ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getuid, kill_process};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, NoTls, Row};

use super::harness::wait_until;

/// After a kill PostgreSQL syncs its whole directory before it takes connections.
const START_LIMIT: Duration = Duration::from_secs(300);
const STOP_LIMIT: Duration = Duration::from_secs(300);
const PREFIX: &str = "booking-mirror-test-";
const MISSING: &str = "these tests need PostgreSQL 13 or newer: `apt-get install -y postgresql` as root \
                       (initdb and postgres are looked for in /usr/lib/postgresql and in PATH)";

/// A cluster. Dropping it stops and removes it.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: PathBuf,
    port: u16,
    process: Option<Child>,
}

/// A database of a cluster, and a connection as its superuser.
pub(crate) struct Database {
    name: String,
    port: u16,
    runtime: Runtime,
    client: Client,
}

/// Where initdb and postgres are; as root they are installed if they are nowhere.
fn binaries() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let find_or_install = || {
        installed().or_else(|| {
            install();
            installed()
        })
    };
    FOUND.get_or_init(|| find_or_install().expect(MISSING)).clone()
}

/// Those of `BOOKING_TEST_POSTGRES_BIN`, or else the newest there are.
fn installed() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("BOOKING_TEST_POSTGRES_BIN") {
        return Some(named.into());
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    places.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path);
    let mut all = places.into_iter().rev().map(|(_, place)| place).chain(in_path);
    all.find(|place| ["initdb", "postgres"].iter().all(|name| place.join(name).is_file()))
}

/// Installs PostgreSQL from Debian's packages, if that is possible here.
fn install() {
    if getuid().is_root() {
        eprintln!("installing PostgreSQL from Debian's packages");
        let packages = "apt-get update && apt-get install -y --no-install-recommends postgresql";
        let mut shell = Command::new("sh");
        shell.args(["-c", packages]).env("DEBIAN_FRONTEND", "noninteractive");
        // What it prints tells why it failed, if it did; then the binaries are missing still.
        let _ = shell.status();
    }
}

/// The numbers of the user and the group `postgres`, if one is root and so must not be oneself.
fn other_user() -> Option<(u32, u32)> {
    getuid().is_root().then(|| {
        let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let user = users.lines().find_map(|line| line.strip_prefix("postgres:"));
        let fields: Vec<&str> = user.expect(MISSING).split(':').collect();
        (fields[1].parse().expect("a number"), fields[2].parse().expect("a number"))
    })
}

/// A command that runs as the right user, and is killed when the thread that started it ends.
fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((user, group)) = other_user() {
        command.args([format!("--reuid={user}"), format!("--regid={group}")]).arg("--clear-groups");
    }
    command.args(["--pdeathsig", "QUIT"]).arg(binaries().join(program));
    // The locale of messages: tests read them.
    command.env("LC_ALL", "C").stdin(Stdio::null()).current_dir("/");
    command
}

/// Starts processes from a thread that lives as long as this process.
fn spawn(command: Command) -> Child {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static ORDERS: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, orders): (Sender<Order>, Receiver<Order>) = channel();
        thread::spawn(move || {
            for (mut command, reply) in orders {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = channel();
    orders.lock().unwrap().send((command, reply)).unwrap();
    answer.recv().unwrap().expect("setpriv (util-linux) starts PostgreSQL")
}

/// The processes that this one has begun and not buried yet.
fn children_of(parent: i32) -> impl Iterator<Item = i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(move |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything, come the state and the parent.
        let behind = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        behind.split(' ').nth(1) == Some(parent.to_string().as_str())
    })
}

fn checked(output: &Output, what: &str) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Removes what test processes left behind that were killed.
fn remove_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let gone = owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if gone {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Cluster {
    /// A new one, for tests that stop it.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A new one with these lines in its configuration.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static LEFTOVERS: OnceLock<()> = OnceLock::new();
        LEFTOVERS.get_or_init(remove_leftovers);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("a temporary directory");
        Self::start_in(directory, &[], settings)
    }

    /// A new one in this directory, which it then owns, made with these options of initdb.
    pub(crate) fn start_in(directory: PathBuf, options: &[&str], settings: &[&str]) -> Self {
        if let Some((user, group)) = other_user() {
            chown(&directory, Some(user), Some(group)).expect("root may");
        }
        let data = directory.join("data");
        let made = command("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"])
            .args(options)
            .args(["--no-sync", "--pgdata"])
            .arg(&data)
            .output();
        checked(&made.expect(MISSING), "initdb");
        let lines = settings.join("\n");
        let all = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = on\n\
             max_connections = 60\nlog_min_messages = warning\n{lines}\n",
            directory.display()
        );
        let path = data.join("postgresql.conf");
        let defaults = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{defaults}\n{all}")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut cluster = Self { directory, port, process: None };
        cluster.restart();
        cluster
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Gives a file to whom the cluster runs as.
    pub(crate) fn own(&self, path: &Path) {
        if let Some((user, group)) = other_user() {
            chown(path, Some(user), Some(group)).expect("root may");
        }
    }

    /// Starts it again and waits until it takes connections.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "PostgreSQL still runs");
        wait_until(START_LIMIT, "PostgreSQL takes connections", || {
            // After a kill -9 it does not start before its children are gone.
            let ended = match &mut self.process {
                None => true,
                Some(child) => child.try_wait().expect("one's own child").is_some(),
            };
            if ended {
                self.process = Some(self.spawn());
            }
            Database::connect(self.port, "postgres").is_some()
        });
    }

    fn spawn(&self) -> Child {
        let path = self.directory.join("log");
        let log = fs::File::options().append(true).create(true).open(path).unwrap();
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        postgres.stdout(Stdio::null()).stderr(log);
        spawn(postgres)
    }

    /// Sends a signal to the postmaster: INT stops it fast, QUIT at once, KILL kills it alone.
    pub(crate) fn end(&mut self, signal: Signal) {
        let mut child = self.process.take().expect("PostgreSQL runs");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("one's own child");
        wait_until(STOP_LIMIT, "PostgreSQL has stopped", || {
            child.try_wait().expect("one's own child").is_some()
        });
    }

    /// Whether the postmaster has ended by itself; then it may be started again.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self
            .process
            .as_mut()
            .is_none_or(|child| child.try_wait().expect("one's own child").is_some());
        if ended {
            self.process = None;
        }
        ended
    }

    /// Stops every process of it where it is, as a machine would that hangs: its sockets stay, and the
    /// kernel goes on to take what is sent to them.
    pub(crate) fn hang(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets all of it go on.
    pub(crate) fn wake(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        let Some(child) = &self.process else { return };
        let postmaster = i32::try_from(child.id()).expect("a process id");
        let send = |pid: i32| {
            // One of the children may have ended just now.
            let _ = kill_process(Pid::from_raw(pid).expect("a process id"), signal);
        };
        // The postmaster first, so that no child is missed that it begins.
        send(postmaster);
        children_of(postmaster).for_each(send);
    }

    /// Connects to a database that exists.
    pub(crate) fn connect(&self, database: &str) -> Database {
        Database::connect(self.port, database).expect("PostgreSQL runs")
    }

    /// Connects to a database if PostgreSQL lets anybody in.
    pub(crate) fn try_connect(&self, database: &str) -> Option<Database> {
        Database::connect(self.port, database)
    }

    /// A new database.
    pub(crate) fn create(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.connect("postgres").run(&format!("CREATE DATABASE {name}"));
        self.connect(&name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.has_ended() {
            // One that hangs does not end.
            self.wake();
            self.end(Signal::QUIT);
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            eprintln!("--- PostgreSQL's last lines ---\n{last}");
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A new database in the cluster that all tests share which do not stop it.
pub(crate) fn database() -> Database {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).create()
}

impl Database {
    fn connect(port: u16, name: &str) -> Option<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let parameters = format!("host=127.0.0.1 port={port} user=postgres dbname={name}");
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.ok()?;
            drop(tokio::spawn(connection));
            Some(client)
        })?;
        Some(Self { name: name.to_owned(), port, runtime, client })
    }

    /// What a server is told.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}?sslmode=disable", self.port, self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Another connection to the same database.
    pub(crate) fn another(&self) -> Self {
        Self::connect(self.port, &self.name).expect("PostgreSQL runs")
    }

    #[track_caller]
    pub(crate) fn run(&self, sql: &str) {
        self.try_run(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) fn try_run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(self.client.batch_execute(sql))
    }

    #[track_caller]
    pub(crate) fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let rows = self.runtime.block_on(self.client.query(sql, parameters));
        rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The one value of a query.
    #[track_caller]
    pub(crate) fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        let rows = self.rows(sql, &[]);
        rows.first().unwrap_or_else(|| panic!("{sql}: no row")).get(0)
    }

    /// The ids of the processes that serve mirrors of this database.
    pub(crate) fn end_mirrors(&self) -> i64 {
        self.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'booking-manager mirror'",
        )
    }
}
