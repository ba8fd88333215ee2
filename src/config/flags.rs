//! The settings as the command line knows them: one field each, with the name of its variable, its
//! default and its help text.
//!
//! clap reads the flags and writes the help. The environment and `.env` are put before it as flags
//! that the command line did not give, so that one parser checks every value, a value that a flag
//! overrides is never looked at, and tests need not touch the environment of the process.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser};
use wal::Durability;

use super::parse::{self, whole};
use super::{CorsOrigins, Environment, Fault, LogFormat, LogLevel, Secret, SslMode};

/// A ticket-booking engine: in memory, lock-free, durable before it answers.
#[derive(Debug, Parser)]
#[command(name = "booking-manager", version, term_width = 0, next_line_help = true, after_help = AFTERWORD)]
pub(super) struct Flags {
    /// Address to listen on
    #[arg(long, env, value_name = "ADDRESS", default_value = "0.0.0.0", value_parser = parse::address)]
    pub(super) server_host: IpAddr,
    /// Port to listen on; 0 lets the system choose one
    #[arg(long, env, value_name = "PORT", default_value = "8080", value_parser = whole::<0, 65_535, u16>)]
    pub(super) server_port: u16,
    /// File to write the port to once it is listened on
    #[arg(long, env, value_name = "PATH", value_parser = parse::path)]
    pub(super) port_file: Option<PathBuf>,
    /// Threads that serve HTTP, 1 to 256 [default: one per core but one, at least one]
    #[arg(long, env, value_name = "COUNT", value_parser = whole::<1, { parse::HTTP_THREADS_MAX }, usize>)]
    pub(super) http_threads: Option<usize>,
    /// Connections open at once, 1 to 1000000; one more is refused
    #[arg(long, env, value_name = "COUNT", default_value = "10000", value_parser = whole::<1, { parse::CONNECTIONS_MAX }, usize>)]
    pub(super) max_connections: usize,
    /// Bytes of a request's body, 1024 to 16777216; a larger one is refused
    #[arg(long, env, value_name = "BYTES", default_value = "65536", value_parser = whole::<{ parse::BODY_BYTES_MIN }, { parse::BODY_BYTES_MAX }, usize>)]
    pub(super) max_body_bytes: usize,
    /// Seconds that a request may take, 1 to 3600
    #[arg(long, env, value_name = "SECONDS", default_value = "30", value_parser = whole::<1, { parse::REQUEST_TIMEOUT_SECONDS_MAX }, u64>)]
    pub(super) request_timeout_seconds: u64,
    /// Seconds that open requests may take after a signal to stop, 0 to 3600
    #[arg(long, env, value_name = "SECONDS", default_value = "15", value_parser = whole::<0, { parse::DRAIN_TIMEOUT_SECONDS_MAX }, u64>)]
    pub(super) drain_timeout_seconds: u64,
    /// Web origins that may use the API from a browser, with commas between them, or * [default: none]
    #[arg(long, env, value_name = "ORIGINS", value_parser = parse::origins)]
    pub(super) cors_allowed_origins: Option<CorsOrigins>,

    /// Directory of the log; one process at a time
    #[arg(long, env, value_name = "PATH", default_value = "./data", value_parser = parse::path, help_heading = "Storage")]
    pub(super) data_dir: PathBuf,
    /// What an answer waits for: commit (its record is on disk), interval:<milliseconds> or os
    #[arg(long, env, value_name = "MODE", default_value = "commit", value_parser = parse::durability, help_heading = "Storage")]
    pub(super) durability: Durability,
    /// Bytes of one file of the log: a power of two from 1048576 to 1073741824
    #[arg(long, env, value_name = "BYTES", default_value = "67108864", value_parser = parse::segment_bytes, help_heading = "Storage")]
    pub(super) wal_segment_bytes: u64,
    /// Bytes that the log may be ahead of the disk, 135168 to 2147483648; beyond, writes are refused
    #[arg(long, env, value_name = "BYTES", default_value = "134217728", value_parser = whole::<{ wal::UNSYNCED_BYTES_MIN }, { wal::UNSYNCED_BYTES_LIMIT }, u64>, help_heading = "Storage")]
    pub(super) wal_unsynced_bytes_max: u64,
    /// Bytes that the log grows between two snapshots, at least 1048576
    #[arg(long, env, value_name = "BYTES", default_value = "268435456", value_parser = whole::<{ parse::SNAPSHOT_LOG_BYTES_MIN }, { parse::LOG_BYTES_MAX }, u64>, help_heading = "Storage")]
    pub(super) snapshot_log_bytes: u64,
    /// Seconds after which there is a new snapshot if anything was written, 1 to 604800
    #[arg(long, env, value_name = "SECONDS", default_value = "3600", value_parser = whole::<1, { parse::SNAPSHOT_AGE_SECONDS_MAX }, u64>, help_heading = "Storage")]
    pub(super) snapshot_age_seconds: u64,
    /// Bytes of the log that are kept, whether or not they are needed
    #[arg(long, env, value_name = "BYTES", default_value = "1073741824", value_parser = whole::<0, { parse::LOG_BYTES_MAX }, u64>, help_heading = "Storage")]
    pub(super) wal_retain_bytes: u64,
    /// Hours for which the log is kept, whether or not it is needed, 0 to 87840
    #[arg(long, env, value_name = "HOURS", default_value = "0", value_parser = whole::<0, { parse::RETAIN_HOURS_MAX }, u64>, help_heading = "Storage")]
    pub(super) wal_retain_hours: u64,
    /// Bytes of the log that are kept for a mirror that cannot follow; beyond, it reloads a snapshot
    #[arg(long, env, value_name = "BYTES", default_value = "17179869184", value_parser = whole::<0, { parse::LOG_BYTES_MAX }, u64>, help_heading = "Storage")]
    pub(super) wal_mirror_bytes_max: u64,

    /// Seconds that a hold lasts, 1 to 2592000
    #[arg(long, env, value_name = "SECONDS", default_value = "600", value_parser = whole::<1, { parse::HOLD_TTL_SECONDS_MAX }, u64>, help_heading = "Booking")]
    pub(super) hold_ttl_seconds: u64,
    /// Admission lanes, 1 to 1024
    #[arg(long, env, value_name = "COUNT", default_value = "3", value_parser = whole::<1, { parse::QUEUE_COUNT_MAX }, u32>, help_heading = "Booking")]
    pub(super) queue_count: u32,
    /// Booking requests in one lane, 1 to 1048576; one more is refused
    #[arg(long, env, value_name = "COUNT", default_value = "1024", value_parser = whole::<1, { parse::QUEUE_CAPACITY_MAX }, u32>, help_heading = "Booking")]
    pub(super) queue_capacity: u32,
    /// Bookings that may ever be made, 1 to 4294967296; each keeps about 100 bytes of memory, twice as
    /// much if made with an idempotency key
    #[arg(long, env, value_name = "COUNT", default_value = "67108864", value_parser = whole::<1, { parse::BOOKINGS_MAX_MAX }, u64>, help_heading = "Booking")]
    pub(super) bookings_max: u64,
    /// Idempotency keys kept at a time, 1 to 1073741824; about 100 bytes of memory each
    #[arg(long, env, value_name = "COUNT", default_value = "8388608", value_parser = whole::<1, { parse::IDEMPOTENCY_KEYS_MAX_MAX }, usize>, help_heading = "Booking")]
    pub(super) idempotency_keys_max: usize,

    /// Host name or address of PostgreSQL
    #[arg(long, env, value_name = "HOST", help_heading = "PostgreSQL mirror")]
    pub(super) db_host: Option<String>,
    /// Port of PostgreSQL [default: 5432]
    #[arg(long, env, value_name = "PORT", value_parser = whole::<1, 65_535, u16>, help_heading = "PostgreSQL mirror")]
    pub(super) db_port: Option<u16>,
    /// Name of the database
    #[arg(long, env, value_name = "NAME", help_heading = "PostgreSQL mirror")]
    pub(super) db_name: Option<String>,
    /// Name of the role
    #[arg(long, env, value_name = "NAME", help_heading = "PostgreSQL mirror")]
    pub(super) db_user: Option<String>,
    /// Password of the role; better given as a variable, since flags show in the process list
    #[arg(long, env, value_name = "PASSWORD", help_heading = "PostgreSQL mirror")]
    pub(super) db_password: Option<Secret>,
    /// TLS: disable, prefer, require, verify-ca or verify-full [default: prefer]
    #[arg(long, env, value_name = "MODE", value_parser = parse::ssl_mode, help_heading = "PostgreSQL mirror")]
    pub(super) db_ssl_mode: Option<SslMode>,
    /// Certificates of trusted authorities, in PEM [default: those of the system]
    #[arg(long, env, value_name = "PATH", value_parser = parse::path, help_heading = "PostgreSQL mirror")]
    pub(super) db_ssl_root_cert: Option<PathBuf>,
    /// All of these at once: postgres://user:password@host:port/name?sslmode=prefer
    #[arg(long, env, value_name = "URL", help_heading = "PostgreSQL mirror")]
    pub(super) database_url: Option<Secret>,

    /// Kind of installation: development, test, staging or production; it labels the log
    #[arg(long, env, value_name = "KIND", default_value = "development", value_parser = parse::environment, help_heading = "Logging")]
    pub(super) environment: Environment,
    /// Least urgent lines to write: error, warn, info, debug or trace
    #[arg(long, env, value_name = "LEVEL", default_value = "info", value_parser = parse::log_level, help_heading = "Logging")]
    pub(super) log_level: LogLevel,
    /// How lines look: text or json
    #[arg(long, env, value_name = "FORMAT", default_value = "text", value_parser = parse::log_format, help_heading = "Logging")]
    pub(super) log_format: LogFormat,
}

/// Where values come from, and the codes that `main` exits with.
const AFTERWORD: &str = "\
A flag wins over the environment, the environment over the file .env in the working directory, and
that over the default. An empty variable counts as unset.

Exit codes: 0 stopped as told; 2 bad configuration; 65 the log is damaged or was written by a newer
version; 69 cannot listen on the address; 71 the system gives no thread; 73 a file or directory
cannot be used; 74 the disk failed while running; 75 another process uses the data directory;
128 + n stopped by signal n before it was serving, or told twice.";

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    CommandLine,
    Environment,
    DotEnv,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommandLine => "the command line",
            Self::Environment => "the environment",
            Self::DotEnv => ".env",
        })
    }
}

/// A setting and where its value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub(super) variable: String,
    pub(super) flag: String,
    pub(super) source: Source,
}

impl Given {
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.variable.as_str(), "DB_PASSWORD" | "DATABASE_URL")
    }
}

/// What the command line turned out to be.
pub(super) enum Reading {
    Flags(Box<Flags>),
    Show(String),
}

impl Flags {
    /// Reads the three sources; `arguments` are without the program's name.
    pub(super) fn read(
        arguments: impl Iterator<Item = OsString>,
        environment: impl Fn(&str) -> Option<OsString>,
        dotenv: &HashMap<String, String>,
    ) -> Result<Reading, Fault> {
        let arguments: Vec<OsString> = arguments.collect();
        let mut given = Vec::new();
        let mut line = vec![OsString::from("booking-manager")];
        for (variable, flag) in variables() {
            if arguments.iter().any(|argument| names(argument, &flag)) {
                given.push(Given { variable, flag, source: Source::CommandLine });
                continue;
            }
            let from_environment = environment(&variable).filter(|value| !value.is_empty());
            let from_dotenv = dotenv.get(&variable).filter(|value| !value.is_empty());
            let (value, source) = match (from_environment, from_dotenv) {
                (Some(value), _) => (value, Source::Environment),
                (None, Some(value)) => (OsString::from(value), Source::DotEnv),
                (None, None) => continue,
            };
            let setting = Given { variable, flag, source };
            let Some(text) = value.to_str() else {
                return Err(Fault::value(&setting, &value.to_string_lossy(), "must be UTF-8"));
            };
            line.push(format!("{}={text}", setting.flag).into());
            given.push(setting);
        }
        line.extend(arguments);
        // What clap would itself take from the environment has been taken already.
        let parser = Self::command().mut_args(|argument| argument.env(Resettable::Reset));
        let matches = parser.try_get_matches_from(line);
        match matches.and_then(|matches| Self::from_arg_matches(&matches)) {
            Ok(flags) => Ok(Reading::Flags(Box::new(flags))),
            Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Reading::Show(help())),
            Err(error) if error.kind() == ErrorKind::DisplayVersion => {
                Ok(Reading::Show(error.render().to_string()))
            }
            Err(error) => Err(Fault::command_line(&error, |flag| {
                given.iter().find(|setting| setting.flag == flag).cloned()
            })),
        }
    }
}

/// Whether `argument` is `flag`, with or without `=value`.
fn names(argument: &OsString, flag: &str) -> bool {
    let argument = argument.as_encoded_bytes();
    let rest = argument.strip_prefix(flag.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
}

/// The command with its variables, their values hidden.
fn command() -> Command {
    Flags::command().mut_args(|argument| argument.hide_env_values(true))
}

fn help() -> String {
    command().render_help().to_string()
}

/// Each setting's variable and flag, in the order of the help text.
pub(super) fn variables() -> Vec<(String, String)> {
    let of = |argument: &Arg| {
        let variable = argument.get_env()?.to_str()?.to_owned();
        Some((variable, format!("--{}", argument.get_long()?)))
    };
    Flags::command().get_arguments().filter_map(of).collect()
}
