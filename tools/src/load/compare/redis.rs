//! Redis as it is started for a turn: with a log (AOF) and nothing beside it, reached by a socket in
//! its directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

use super::child::{Child, Ending, command};
use super::contender::Fsync;

/// Where its socket is.
pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("redis.sock")
}

/// Starts one in this directory.
pub(super) fn start(
    program: &Path,
    fsync: Fsync,
    directory: &Path,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Child> {
    let fsync = match fsync {
        Fsync::Always => "always",
        Fsync::EverySecond => "everysec",
    };
    let socket = socket(directory);
    let mut redis = command(program, None, Ending::Terminate);
    redis
        .args(["--port", "0", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(directory)
        .args(["--appendonly", "yes", "--appendfsync", fsync])
        // Neither snapshots nor a shorter log while it is measured.
        .args(["--save", "", "--auto-aof-rewrite-percentage", "0"])
        .args(["--loglevel", "warning"]);
    let log = directory.join("redis.log");
    let mut child = Child::start(redis, Ending::Terminate, &log)?;
    child.wait_until(stop, &log, || super::front::redis::is_ready(&socket)).context("Redis")?;
    Ok(child)
}
