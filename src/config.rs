//! What the operator chose: a flag over the environment over the `.env` file over the default.
//!
//! **Invariant:** a [`Config`] is complete and within its bounds. Whatever is not ends as one
//! [`Fault`], a single line that names the variable, its value (unless that is a secret), where it
//! came from and what is allowed, before anything has been started.
//!
//! An empty variable counts as unset, in the environment as in `.env`: that is what compose files
//! and shells leave behind. Only `.env` in the working directory is read, never one further up.
//!
//! This module knows nothing of the engine or of HTTP: `main` hands each part what it needs.

mod fault;
mod flags;
mod parse;
mod postgres;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wal::Durability;

pub use fault::Fault;
pub use postgres::Postgres;

pub use crate::mirror::{Secret, SslMode};

use flags::Flags;

/// The file that is read besides the environment.
const DOTENV: &str = ".env";

const SECONDS_PER_HOUR: u64 = 3_600;

/// Everything that can be chosen, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Where to write the port that is listened on.
    pub port_file: Option<PathBuf>,
    /// How many threads serve HTTP.
    pub http_threads: usize,
    /// How many connections may be open at once.
    pub max_connections: usize,
    /// How many bytes the body of a request may have.
    pub max_body_bytes: usize,
    /// How long a request may take, from its first byte to its answer.
    pub request_timeout: Duration,
    /// How long open requests may take once the process was told to stop.
    pub drain_timeout: Duration,
    /// Which web origins may use the API from a browser.
    pub cors: CorsOrigins,
    /// Where the log lies.
    pub data_dir: PathBuf,
    /// What an answer waits for.
    pub durability: Durability,
    /// Bytes of one file of the log: a power of two.
    pub wal_segment_bytes: u64,
    /// How far the log may run ahead of the disk.
    pub wal_unsynced_bytes_max: u64,
    /// How far the log grows between two snapshots, in bytes.
    pub snapshot_log_bytes: u64,
    /// After what time there is a new snapshot if anything was written.
    pub snapshot_age: Duration,
    /// Bytes of the log that are kept anyway.
    pub wal_retain_bytes: u64,
    /// For how long the log is kept anyway.
    pub wal_retain: Duration,
    /// Bytes of the log that are kept for a mirror that cannot follow.
    pub wal_mirror_bytes_max: u64,
    /// How long a hold lasts.
    pub hold_ttl: Duration,
    /// How many admission lanes there are.
    pub queue_count: u32,
    /// How many requests each lane takes.
    pub queue_capacity: u32,
    /// How many bookings may ever be made.
    pub bookings_max: u64,
    /// How many idempotency keys are kept at a time.
    pub idempotency_keys_max: usize,
    /// Where the PostgreSQL mirror goes, if there is to be one.
    pub postgres: Option<Postgres>,
    /// What kind of installation this is.
    pub environment: Environment,
    /// The least urgent log lines that are written.
    pub log_level: LogLevel,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Which web origins may use the API from a browser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsOrigins {
    /// None: no CORS header is sent.
    Off,
    /// Every one.
    Any,
    /// These, each as a browser writes it: `scheme://host[:port]`.
    Listed(Vec<String>),
}

/// What kind of installation this is; it only labels the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// An automatic test.
    Test,
    /// A rehearsal.
    Staging,
    /// The real thing.
    Production,
}

/// The least urgent log lines that are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// What stops something.
    Error,
    /// What somebody should look at, too.
    Warn,
    /// What happened, too.
    Info,
    /// Why it happened, too.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What the command line asked for.
#[derive(Debug)]
pub enum Request {
    /// To run with this configuration.
    Run(Box<Config>),
    /// To be told something (`--help`, `--version`).
    Show(String),
}

/// Reads the command line, the environment and `.env` of this process.
pub fn load() -> Result<Request, Fault> {
    let dotenv = read_dotenv(Path::new(DOTENV))?;
    let environment = |name: &str| std::env::var_os(name);
    resolve(std::env::args_os().skip(1), environment, &dotenv)
}

/// What the three sources ask for together; `arguments` are without the program's name.
///
/// Public for whoever tries it with sources that nobody would write (`tests/fuzz`).
#[doc(hidden)]
pub fn resolve(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
    dotenv: &HashMap<String, String>,
) -> Result<Request, Fault> {
    match Flags::read(arguments, environment, dotenv)? {
        flags::Reading::Flags(flags) => Ok(Request::Run(Box::new(Config::new(*flags)?))),
        flags::Reading::Show(text) => Ok(Request::Show(text)),
    }
}

/// The variables in the file; none if there is no file.
fn read_dotenv(path: &Path) -> Result<HashMap<String, String>, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => parse_dotenv(path, &bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(Fault::file(path, &format!("cannot be read: {error}"))),
    }
}

/// The variables in what stands in the file at `path`, of which the first of each name counts.
///
/// Public as [`resolve`] is.
#[doc(hidden)]
pub fn parse_dotenv(path: &Path, bytes: &[u8]) -> Result<HashMap<String, String>, Fault> {
    let text = std::str::from_utf8(bytes).ok().ok_or_else(|| Fault::file(path, "is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = HashMap::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = entry.map_err(|error| Fault::dotenv(path, text, &error))?;
        variables.entry(name).or_insert(value);
    }
    Ok(variables)
}

impl Config {
    /// What is left to check once each value is within its own bounds: what they say together.
    fn new(flags: Flags) -> Result<Self, Fault> {
        let postgres = Postgres::from_flags(&flags)?;
        Ok(Self {
            host: flags.server_host,
            port: flags.server_port,
            port_file: flags.port_file,
            http_threads: flags.http_threads.unwrap_or_else(http_threads_default),
            max_connections: flags.max_connections,
            max_body_bytes: flags.max_body_bytes,
            request_timeout: Duration::from_secs(flags.request_timeout_seconds),
            drain_timeout: Duration::from_secs(flags.drain_timeout_seconds),
            cors: flags.cors_allowed_origins.unwrap_or(CorsOrigins::Off),
            data_dir: flags.data_dir,
            durability: flags.durability,
            wal_segment_bytes: flags.wal_segment_bytes,
            wal_unsynced_bytes_max: flags.wal_unsynced_bytes_max,
            snapshot_log_bytes: flags.snapshot_log_bytes,
            snapshot_age: Duration::from_secs(flags.snapshot_age_seconds),
            wal_retain_bytes: flags.wal_retain_bytes,
            wal_retain: Duration::from_secs(flags.wal_retain_hours * SECONDS_PER_HOUR),
            wal_mirror_bytes_max: flags.wal_mirror_bytes_max,
            hold_ttl: Duration::from_secs(flags.hold_ttl_seconds),
            queue_count: flags.queue_count,
            queue_capacity: flags.queue_capacity,
            bookings_max: flags.bookings_max,
            idempotency_keys_max: flags.idempotency_keys_max,
            postgres,
            environment: flags.environment,
            log_level: flags.log_level,
            log_format: flags.log_format,
        })
    }

    /// The configuration in effect, for the log: by variable, secrets masked.
    pub fn effective(&self) -> Effective<'_> {
        Effective(self)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let port_file = self.port_file.as_deref();
        let mut variables = vec![
            ("SERVER_HOST", self.host.to_string()),
            ("SERVER_PORT", self.port.to_string()),
            ("PORT_FILE", port_file.map(shown).unwrap_or_default()),
            ("HTTP_THREADS", self.http_threads.to_string()),
            ("MAX_CONNECTIONS", self.max_connections.to_string()),
            ("MAX_BODY_BYTES", self.max_body_bytes.to_string()),
            ("REQUEST_TIMEOUT_SECONDS", self.request_timeout.as_secs().to_string()),
            ("DRAIN_TIMEOUT_SECONDS", self.drain_timeout.as_secs().to_string()),
            ("CORS_ALLOWED_ORIGINS", self.cors.to_string()),
            ("DATA_DIR", shown(&self.data_dir)),
            ("DURABILITY", self.durability.to_string()),
            ("WAL_SEGMENT_BYTES", self.wal_segment_bytes.to_string()),
            ("WAL_UNSYNCED_BYTES_MAX", self.wal_unsynced_bytes_max.to_string()),
            ("SNAPSHOT_LOG_BYTES", self.snapshot_log_bytes.to_string()),
            ("SNAPSHOT_AGE_SECONDS", self.snapshot_age.as_secs().to_string()),
            ("WAL_RETAIN_BYTES", self.wal_retain_bytes.to_string()),
            ("WAL_RETAIN_HOURS", (self.wal_retain.as_secs() / SECONDS_PER_HOUR).to_string()),
            ("WAL_MIRROR_BYTES_MAX", self.wal_mirror_bytes_max.to_string()),
            ("HOLD_TTL_SECONDS", self.hold_ttl.as_secs().to_string()),
            ("QUEUE_COUNT", self.queue_count.to_string()),
            ("QUEUE_CAPACITY", self.queue_capacity.to_string()),
            ("BOOKINGS_MAX", self.bookings_max.to_string()),
            ("IDEMPOTENCY_KEYS_MAX", self.idempotency_keys_max.to_string()),
            ("ENVIRONMENT", self.environment.name().to_owned()),
            ("LOG_LEVEL", self.log_level.name().to_owned()),
            ("LOG_FORMAT", self.log_format.name().to_owned()),
        ];
        variables.extend(postgres::variables(self.postgres.as_ref()));
        variables
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// One per core but one, and at least one: the log's syncer, snapshots, the mirror, the kernel's network and
/// other programs need the last. On two cores beside its clients one thread books up to a fifth more
/// than two under full load, at a lower p99, in larger groups. (One client gains nothing; browsing
/// gains a little and has a higher p99.)
#[must_use]
pub fn http_threads_default() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = usize::try_from(parse::HTTP_THREADS_MAX).unwrap_or(usize::MAX);
    cores.saturating_sub(1).clamp(1, most)
}

/// The configuration in effect as one line, `NAME=value` each; an unset variable has no value.
#[derive(Debug)]
pub struct Effective<'c>(&'c Config);

impl fmt::Display for Effective<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.variables().into_iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            if value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
                write!(f, "{gap}{name}={value:?}")?;
            } else {
                write!(f, "{gap}{name}={value}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CorsOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => Ok(()),
            Self::Any => f.write_str("*"),
            Self::Listed(origins) => f.write_str(&origins.join(",")),
        }
    }
}

impl Environment {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Test => "test",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

impl LogLevel {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogFormat {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

#[cfg(test)]
mod tests;
