//! The versions of the tables, and how to get from one to the next.
//!
//! **Invariant:** a version is recorded in `booking_mirror_migrations` exactly if its `up` was carried
//! out and its `down` was not: each goes with its record in one transaction, under a lock that
//! keeps others out. Tables that are not recorded there are not ours and are never touched.
//!
//! All of it happens in the first schema of the role's search_path, which [`super::connect`] has
//! made the only one.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;
use tokio_postgres::Client;

use super::fault::{Fault, Obstacle};

/// One step between versions.
#[derive(Debug)]
pub struct Migration {
    /// Its number, from 1.
    pub version: i32,
    /// What it is about.
    pub name: &'static str,
    up: &'static str,
    down: &'static str,
}

/// All of them, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "tables",
        up: include_str!("migrations/0001_tables.up.sql"),
        down: include_str!("migrations/0001_tables.down.sql"),
    },
    Migration {
        version: 2,
        name: "salt",
        up: include_str!("migrations/0002_salt.up.sql"),
        down: include_str!("migrations/0002_salt.down.sql"),
    },
];

/// Everything that any version makes, and what other programs might have under the same names.
const TABLES: &[&str] = &[
    "users",
    "events",
    "tickets",
    "bookings",
    "booking_mirror_events",
    "booking_mirror_checkpoint",
];

/// The first of the two numbers of the lock; the second stands for the schema.
const LOCK: i32 = 0x626b_6d67;

const BOOKS: &str = "CREATE TABLE IF NOT EXISTS booking_mirror_migrations (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)";

impl Migration {
    /// Tells this migration from another under the same number.
    fn checksum(&self) -> String {
        let mut hasher = SipHasher13::new();
        for text in [self.up, self.down] {
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        format!("{:016x}", hasher.finish())
    }
}

/// A migration, and when it was carried out.
#[derive(Debug)]
pub struct Standing {
    /// Which.
    pub migration: &'static Migration,
    /// When, in PostgreSQL's words; `None` if it was not.
    pub applied_at: Option<String>,
}

/// Which migrations were carried out.
///
/// # Errors
/// PostgreSQL's, or an obstacle: foreign tables, a newer version.
pub async fn status(client: &Client) -> Result<Vec<Standing>, Fault> {
    let mut standings: Vec<Standing> =
        MIGRATIONS.iter().map(|migration| Standing { migration, applied_at: None }).collect();
    if !has_books(client).await? {
        refuse_foreign(client).await?;
        return Ok(standings);
    }
    let rows = client
        .query(
            "SELECT version, checksum, applied_at::text FROM booking_mirror_migrations ORDER BY 1",
            &[],
        )
        .await?;
    let newest = rows.last().map_or(0, |row| row.get::<_, i32>(0));
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if newest > known {
        return Err(Obstacle::Newer { found: newest, known }.into());
    }
    for row in rows {
        let (version, checksum): (i32, String) = (row.get(0), row.get(1));
        let standing = standings
            .iter_mut()
            .find(|standing| standing.migration.version == version)
            .filter(|standing| standing.migration.checksum() == checksum)
            .ok_or(Obstacle::OtherMigration { version })?;
        standing.applied_at = Some(row.get(2));
    }
    if standings.iter().all(|standing| standing.applied_at.is_none()) {
        refuse_foreign(client).await?;
    }
    Ok(standings)
}

/// Carries out what was not yet; gives the versions.
///
/// # Errors
/// As [`status`]; nothing was changed then.
pub async fn up(client: &mut Client) -> Result<Vec<i32>, Fault> {
    let transaction = client.transaction().await?;
    lock(transaction.client()).await?;
    let standings = status(transaction.client()).await?;
    let missing: Vec<&Migration> = standings
        .iter()
        .filter(|standing| standing.applied_at.is_none())
        .map(|standing| standing.migration)
        .collect();
    if !missing.is_empty() {
        transaction.batch_execute(BOOKS).await?;
    }
    for migration in &missing {
        transaction.batch_execute(migration.up).await?;
        transaction
            .execute(
                "INSERT INTO booking_mirror_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                &[&migration.version, &migration.name, &migration.checksum()],
            )
            .await?;
    }
    transaction.commit().await?;
    Ok(missing.iter().map(|migration| migration.version).collect())
}

/// Undoes every migration above `to`, all of them with 0; gives the versions. The rows go with
/// their tables.
///
/// # Errors
/// As [`status`]; nothing was changed then.
pub async fn down(client: &mut Client, to: i32) -> Result<Vec<i32>, Fault> {
    let transaction = client.transaction().await?;
    lock(transaction.client()).await?;
    let standings = status(transaction.client()).await?;
    let mut undone = Vec::new();
    for standing in standings.iter().rev() {
        let migration = standing.migration;
        if standing.applied_at.is_none() || migration.version <= to {
            continue;
        }
        transaction.batch_execute(migration.down).await?;
        transaction
            .execute(
                "DELETE FROM booking_mirror_migrations WHERE version = $1",
                &[&migration.version],
            )
            .await?;
        undone.push(migration.version);
    }
    if to <= 0 && has_books(transaction.client()).await? {
        transaction.batch_execute("DROP TABLE booking_mirror_migrations").await?;
    }
    transaction.commit().await?;
    Ok(undone)
}

async fn lock(client: &Client) -> Result<(), Fault> {
    client
        .execute("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", &[&LOCK])
        .await?;
    Ok(())
}

async fn has_books(client: &Client) -> Result<bool, Fault> {
    Ok(!existing(client, &["booking_mirror_migrations"]).await?.is_empty())
}

/// Refuses tables of our names that no migration of ours has made.
async fn refuse_foreign(client: &Client) -> Result<(), Fault> {
    let tables = existing(client, TABLES).await?;
    if tables.is_empty() {
        return Ok(());
    }
    let schema: String = client.query_one("SELECT current_schema()::text", &[]).await?.get(0);
    Err(Obstacle::Foreign { schema, tables: tables.join(", ") }.into())
}

/// Those of the names that stand for something in the schema.
async fn existing(client: &Client, names: &[&str]) -> Result<Vec<String>, Fault> {
    let rows = client
        .query(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = current_schema() AND c.relname::text = ANY($1::text[]) \
             AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1",
            &[&names],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_from_one_and_each_has_both_ways() {
        for (place, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.version).unwrap(), place + 1);
            assert!(!migration.up.is_empty() && migration.down.contains("DROP"));
        }
    }

    #[test]
    fn a_migration_that_was_published_never_changes() {
        let checksums: Vec<String> = MIGRATIONS.iter().map(Migration::checksum).collect();
        assert_eq!(checksums, ["5486b8f76ae926a8", "e766270c23bc687a"]);
    }
}
