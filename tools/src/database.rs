//! A database and the way in, for the subcommands that need PostgreSQL.
//!
//! **Invariant:** neither the URL as it was given nor the password is ever shown: what is shown is the
//! URL without its password, and a URL that is not understood is not quoted.

use std::env;

use anyhow::{Context as _, anyhow};
use booking_manager::mirror::{Audit, Checkpoint, Fault, Secret, Target, connect, migrate};
use uuid::Uuid;

use crate::arguments::Database;

/// As for the programs that come with PostgreSQL.
const PASSWORD: &str = "PGPASSWORD";

/// Where the database is. The password may come from the environment.
///
/// # Errors
/// The URL is none.
pub fn target(database: &Database) -> anyhow::Result<Target> {
    let refused = |allowed| anyhow!("--to or DATABASE_URL (value not shown): {allowed}");
    let mut target = Target::from_url(database.to.reveal()).map_err(refused)?;
    if target.password.is_none()
        && let Some(password) = env::var_os(PASSWORD)
    {
        let password = password.into_string().ok();
        let password = password.with_context(|| format!("{PASSWORD} is not UTF-8"))?;
        target.password = password.parse::<Secret>().ok();
    }
    Ok(target)
}

/// How far the mirror of a log in the database is; `None` if nothing was ever mirrored. Changes
/// nothing, and needs no tables.
///
/// # Errors
/// PostgreSQL's, or the tables are another log's, or not the mirror's.
pub async fn checkpoint(target: &Target, log: Uuid) -> Result<Option<Checkpoint>, Fault> {
    let client = connect(target).await?;
    let standings = migrate::status(&client).await?;
    drop(client);
    if standings.iter().all(|standing| standing.applied_at.is_none()) {
        return Ok(None);
    }
    Ok(Audit::begin(target, log).await?.checkpoint())
}
