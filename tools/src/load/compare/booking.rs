//! booking-manager as a contender.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

use crate::load::server::Server;

use super::child::{Child, Ending, command};
use super::contender::Durability;
use super::programs::Programs;

/// Starts one with a log of its own in this directory, otherwise as it is by default.
pub(super) fn start(
    programs: &Programs,
    durability: Durability,
    directory: &Path,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<(Child, Server)> {
    let (port_file, log) = (directory.join("port"), directory.join("server.log"));
    let durability = match durability {
        Durability::Commit => "commit",
        Durability::Os => "os",
    };
    let mut server = command(&programs.server, None, Ending::Terminate);
    server
        .env("SERVER_HOST", "127.0.0.1")
        .env("SERVER_PORT", "0")
        .env("PORT_FILE", &port_file)
        .env("DATA_DIR", directory.join("data"))
        .env("DURABILITY", durability)
        .current_dir(directory);
    let mut child = Child::start(server, Ending::Terminate, &log)?;
    let mut port = None;
    child
        .wait_until(stop, &log, || {
            port = fs::read_to_string(&port_file).ok().and_then(|port| port.trim().parse().ok());
            port.is_some()
        })
        .context("booking-manager")?;
    let port: u16 = port.context("booking-manager has no port")?;
    let server: Server = format!("http://127.0.0.1:{port}").parse()?;
    child
        .wait_until(stop, &log, || {
            server.client().ask_get("/readyz").is_ok_and(|reply| reply.status == 200)
        })
        .context("booking-manager")?;
    Ok((child, server))
}
