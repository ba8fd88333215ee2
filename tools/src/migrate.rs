//! `migrate`: the tables in PostgreSQL, made, shown and removed.
//!
//! What the versions are and what is done about them is the mirror's own; this says it. Removing
//! needs a word of consent, since queries of others may live on the tables, though the log can
//! always fill them anew.

use std::fmt;
use std::io::Write;

use anyhow::bail;
use booking_manager::mirror::migrate::{self, Standing};
use booking_manager::mirror::{Fault, Target, connect, runtime};
use serde::Serialize;

use crate::Status;
use crate::arguments::{Migrate, Schema};
use crate::database;
use crate::output::Output;

/// The tables whose rows count; what the mirror keeps for itself goes with them.
const TABLES: [&str; 4] = ["users", "events", "tickets", "bookings"];
/// Somebody may have dropped one by hand: that is what this command is for, then.
const IS_THERE: &str = "SELECT to_regclass(quote_ident(current_schema()) || '.' || $1) IS NOT NULL";

/// What was found or done.
#[derive(Debug, Serialize)]
struct Answer {
    /// Without its password.
    database: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    Status { migrations: Vec<Line> },
    Up { carried_out: Vec<i32> },
    Down { dropped: bool, undone: Vec<i32>, tables: Vec<Table> },
}

/// A migration.
#[derive(Debug, Serialize)]
struct Line {
    version: i32,
    name: &'static str,
    applied_at: Option<String>,
}

/// A table, before it is dropped.
#[derive(Debug, Serialize)]
struct Table {
    name: &'static str,
    rows: i64,
}

/// Does it.
///
/// # Errors
/// The database cannot be used, there is no consent, or the answer cannot be written.
pub fn migrate(migrate: &Migrate, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let (Migrate::Status(schema) | Migrate::Up(schema) | Migrate::Down { schema, .. }) = migrate;
    let target = database::target(&schema.database)?;
    let content = runtime()?.block_on(carry_out(migrate, &target))?;
    let refused =
        matches!(&content, Content::Down { dropped: false, tables, .. } if !tables.is_empty());
    let answer = Answer { database: target.to_string(), content };
    tell(&answer, schema, output)?;
    if refused {
        output.finish()?;
        bail!("nothing was dropped: give --yes to drop these tables");
    }
    Ok(answer.content.status())
}

async fn carry_out(migrate: &Migrate, target: &Target) -> Result<Content, Fault> {
    let mut client = connect(target).await?;
    Ok(match migrate {
        Migrate::Status(_) => {
            let standings = migrate::status(&client).await?;
            Content::Status { migrations: standings.into_iter().map(Line::from).collect() }
        }
        Migrate::Up(_) => Content::Up { carried_out: migrate::up(&mut client).await? },
        Migrate::Down { yes, .. } => {
            let standings = migrate::status(&client).await?;
            let mut tables = Vec::new();
            if standings.iter().any(|standing| standing.applied_at.is_some()) {
                for name in TABLES {
                    let is_there = client.query_one(IS_THERE, &[&name]).await?.get(0);
                    let sql = format!("SELECT count(*) FROM {name}");
                    let rows = if is_there { client.query_one(&sql, &[]).await?.get(0) } else { 0 };
                    tables.push(Table { name, rows });
                }
            }
            let undone = if *yes { migrate::down(&mut client, 0).await? } else { Vec::new() };
            Content::Down { dropped: *yes, undone, tables }
        }
    })
}

impl From<Standing> for Line {
    fn from(standing: Standing) -> Self {
        let Standing { migration, applied_at } = standing;
        Self { version: migration.version, name: migration.name, applied_at }
    }
}

impl Content {
    fn status(&self) -> Status {
        let missing = |line: &Line| line.applied_at.is_none();
        match self {
            Self::Status { migrations } if migrations.iter().any(missing) => Status::Damaged,
            Self::Status { .. } | Self::Up { .. } | Self::Down { .. } => Status::Sound,
        }
    }
}

fn tell(answer: &Answer, schema: &Schema, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    if schema.json { output.json(answer) } else { output.line(answer) }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database      {}", self.database)?;
        match &self.content {
            Content::Status { migrations } => {
                for Line { version, name, applied_at } in migrations {
                    let when = match applied_at {
                        Some(at) => format!("carried out at {at}"),
                        None => "not carried out".to_owned(),
                    };
                    write!(f, "\nmigration     {version}, {name}: {when}")?;
                }
                Ok(())
            }
            Content::Up { carried_out } if carried_out.is_empty() => {
                f.write_str("\nnothing to do: the tables are of this program's version")
            }
            Content::Up { carried_out } => carried_out
                .iter()
                .try_for_each(|version| write!(f, "\nmigration     {version}: carried out")),
            Content::Down { tables, .. } if tables.is_empty() => {
                f.write_str("\nnothing to do: the mirror has no tables there")
            }
            Content::Down { dropped, tables, .. } => {
                let word = if *dropped { "dropped      " } else { "would drop   " };
                for Table { name, rows } in tables {
                    write!(f, "\n{word} {name}, {rows} rows")?;
                }
                write!(f, "\n{word} booking_mirror_*, the mirror's own tables")
            }
        }
    }
}
