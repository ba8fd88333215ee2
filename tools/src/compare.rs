//! Every row of a mirror compared with what the log makes, at the position that the rows claim.
//!
//! All of PostgreSQL that is read is of one instant, so that a mirror may go on meanwhile. Of
//! many differences only the first are kept, and all are counted. The secret of an event's ticket
//! ids is not shown, not even where it differs.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use booking_manager::image::Image;
use booking_manager::mirror::{Audit, Checkpoint, Difference, Target};
use serde::Serialize;
use uuid::Uuid;

use crate::fault::Fault;
use crate::moment::{self, Moment, State};
use crate::progress::Progress;

/// How many differences are shown.
pub const SHOWN_MAX: usize = 50;

/// What it came to.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The position for which the rows should be exact.
    pub lsn: u64,
    /// Rows that the log makes.
    pub rows: u64,
    /// How many differences there are.
    pub differences: u64,
    /// The first of them, [`SHOWN_MAX`] at most.
    pub first: Vec<Shown>,
}

/// A difference as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    table: &'static str,
    id: Uuid,
    #[serde(flatten)]
    what: What,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
enum What {
    /// The log has the row, PostgreSQL has not.
    Missing,
    /// PostgreSQL has the row, the log has not.
    Surplus,
    Value {
        column: &'static str,
        expected: Option<String>,
        found: Option<String>,
    },
    /// A value that is not shown.
    Secret {
        column: &'static str,
    },
}

impl From<Difference> for Shown {
    fn from(difference: Difference) -> Self {
        let text = difference.to_string();
        match difference {
            Difference::Missing { table, id } => Self { table, id, what: What::Missing, text },
            Difference::Surplus { table, id } => Self { table, id, what: What::Surplus, text },
            Difference::Value { table: table @ "booking_mirror_events", id, column, .. } => {
                let text = format!("{table} {id}: {column} is another than by the log");
                Self { table, id, what: What::Secret { column }, text }
            }
            Difference::Value { table, id, column, expected, found } => {
                Self { table, id, what: What::Value { column, expected, found }, text }
            }
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Compares them; or finds damage in the log before the position that the rows claim.
///
/// # Errors
/// PostgreSQL's; nothing was ever mirrored; the log does not tell of the position.
pub async fn compare(
    directory: &Path,
    target: &Target,
    log: Uuid,
) -> anyhow::Result<Result<Comparison, Fault>> {
    let audit = Audit::begin(target, log).await?;
    let Checkpoint { lsn, .. } = audit
        .checkpoint()
        .context("nothing was ever mirrored into this database: `replay` fills it")?;
    let image = match image_at(directory, lsn.get())? {
        Ok(image) => image,
        Err(damage) => return Ok(Err(damage)),
    };
    let mut first = Vec::new();
    let report = |difference| {
        if first.len() < SHOWN_MAX {
            first.push(Shown::from(difference));
        }
    };
    let (users, events) = (image.users().count() as u64, image.events().count() as u64);
    // Of an event there is a secret besides.
    let rows = users + 2 * events + image.bookings() + image.tickets();
    let mut progress = Progress::counting("comparing", rows);
    let compared = audit.compare(&image, report, |row| progress.count(row)).await?;
    drop(progress);
    let (rows, differences) = (compared.rows, compared.differences);
    Ok(Ok(Comparison { lsn: lsn.get(), rows, differences, first }))
}

fn image_at(directory: &Path, lsn: u64) -> anyhow::Result<Result<Image, Fault>> {
    let state = moment::state_at(directory, Some(Moment::Position(lsn)))?;
    Ok(state.map(|State { image, .. }| image))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lsn, rows, differences, first } = self;
        for shown in first {
            writeln!(f, "difference    {shown}")?;
        }
        let more = *differences - first.len() as u64;
        if more > 0 {
            writeln!(f, "difference    {more} more, which are not shown")?;
        }
        write!(f, "compared      {rows} rows at LSN {lsn}: ")?;
        match differences {
            0 => f.write_str("all are as the log makes them"),
            1 => f.write_str("1 difference"),
            many => write!(f, "{many} differences"),
        }
    }
}
