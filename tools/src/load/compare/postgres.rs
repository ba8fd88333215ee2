//! PostgreSQL as it is started for a turn: a cluster of its own, which nobody reaches but by a socket in
//! its directory.
//!
//! It keeps its promises (`fsync`, `synchronous_commit` and `full_page_writes` are on), and is spared
//! what a turn of seconds does not need: replication, checkpoints and vacuuming meanwhile. Plans are
//! made once: left to itself it takes one for an array of any length to be dearer than planning anew
//! for each booking, which takes most of its time.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, ensure};

use super::child::{Child, Ending, command};
use super::front::postgres::{PORT, connections_max};
use super::programs::Postgres;

const SETTINGS: &str = "
listen_addresses = ''
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = '256MB'
wal_level = minimal
max_wal_senders = 0
max_wal_size = '8GB'
checkpoint_timeout = '1h'
autovacuum = off
jit = off
plan_cache_mode = force_generic_plan
log_min_messages = fatal
log_min_error_statement = fatal
";

/// Starts one in this directory, which becomes its user's.
pub(super) fn start(
    postgres: &Postgres,
    directory: &Path,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Child> {
    if let Some(owner) = postgres.owner {
        chown(directory, Some(owner.user), Some(owner.group))?;
    }
    let data = directory.join("data");
    let program = |name| command(&postgres.directory.join(name), postgres.owner, Ending::Quit);
    let made = program("initdb")
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"])
        .args(["--no-sync", "--pgdata"])
        .arg(&data)
        .output()
        .context("setpriv (of util-linux) cannot be run")?;
    ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr).trim_end());
    let path = data.join("postgresql.conf");
    let mut settings = fs::read_to_string(&path)?;
    settings.push_str(SETTINGS);
    // A string takes whatever is written to it.
    let _ = writeln!(settings, "max_connections = {}", connections_max());
    let _ = writeln!(settings, "unix_socket_directories = '{}'", directory.display());
    fs::write(&path, settings)?;
    let log = directory.join("postgres.log");
    let mut postmaster = program("postgres");
    postmaster.arg("-D").arg(&data).arg("-p").arg(PORT.to_string());
    let mut child = Child::start(postmaster, Ending::Quit, &log)?;
    let ready = || super::front::postgres::is_ready(directory);
    child.wait_until(stop, &log, ready).context("PostgreSQL")?;
    Ok(child)
}
