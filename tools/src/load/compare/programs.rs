//! What can be started here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rustix::process::getuid;

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Programs {
    /// This one, for front ends.
    pub(super) own: PathBuf,
    pub(super) server: PathBuf,
    pub(super) postgres: Option<Postgres>,
    pub(super) redis: Option<PathBuf>,
}

/// PostgreSQL's programs, and as whom they are to run.
#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) directory: PathBuf,
    /// User and group, if one is root, as whom PostgreSQL refuses to run.
    pub(super) owner: Option<Owner>,
}

/// The numbers of a user and a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Programs {
    /// Looks for them; `server` is booking-manager's, otherwise it is beside this program.
    pub(super) fn find(server: Option<&Path>) -> anyhow::Result<Self> {
        let own = env::current_exe().context("this program does not know where it is")?;
        let server = server.map_or_else(|| own.with_file_name("booking-manager"), Path::to_owned);
        ensure!(server.is_file(), "there is no {} (see --server)", server.display());
        // A contender does not run where this program does.
        let server = server.canonicalize()?;
        Ok(Self { own, server, postgres: postgres(), redis: in_path("redis-server") })
    }
}

/// The newest PostgreSQL of Debian's, or the one in PATH.
fn postgres() -> Option<Postgres> {
    let owner = if getuid().is_root() { Some(postgres_user()?) } else { None };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    places.sort();
    let in_path = in_path("postgres").and_then(|path| Some(path.parent()?.to_owned()));
    let mut all = places.into_iter().rev().map(|(_, place)| place).chain(in_path);
    let complete =
        |place: &PathBuf| ["initdb", "postgres"].iter().all(|name| place.join(name).is_file());
    Some(Postgres { directory: all.find(complete)?, owner })
}

/// The user who comes with Debian's package.
fn postgres_user() -> Option<Owner> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"))?;
    let mut fields = user.split(':').skip(1);
    Some(Owner { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|place| place.join(name)).find(|program| program.is_file())
}
