//! `verify`: the whole log and all snapshots, each against the other.
//!
//! Where the log still has its beginning, it is folded from there, and each snapshot on the way must
//! be exactly the state that the fold has come to; where it does not, the oldest usable snapshot is
//! what the fold begins with and the later ones are compared. A starting server reads less: so what
//! is damaged here may not keep it from starting, and where that is so, the verdict says it.

use std::io::Write;
use std::path::{Path, PathBuf};

use booking_manager::image::{Image, snapshot};
use serde::Serialize;
use wal::Lsn;

use crate::Status;
use crate::arguments::Place;
use crate::fault::{Refusal, shown_path};
use crate::fold::{Folded, Pass};
use crate::frames::check_directory;
use crate::output::Output;
use crate::snapshots::{self, Condition, Identity, Shelved};
use crate::totals::Totals;
use crate::verdict::{Begun, Summary, Verdict};

/// What it comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// There is no log: a server would begin one.
    Fresh,
    /// Nothing is wrong.
    Sound,
    /// Something is, and a server would start all the same.
    Damaged,
    /// A server would not start.
    Refused,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Audit<'a> {
    #[serde(serialize_with = "shown_path")]
    directory: &'a PathBuf,
    verdict: Word,
    #[serde(flatten)]
    summary: Option<Summary>,
    /// Records before the damage, all of which are legal.
    #[serde(skip_serializing_if = "Option::is_none")]
    records_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<Refusal>,
    /// Of the state at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals>,
    /// Oldest first.
    snapshots: Vec<Shelved>,
    /// What a server would begin with, or would stop at, where that is not what was found here.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Verdict>,
}

/// Checks everything and says what was found.
///
/// # Errors
/// The directory cannot be read, or the answer not be written.
pub fn verify(place: &Place, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let audit = Audit::on(&place.directory)?;
    if place.json {
        output.json(&audit)?;
    } else {
        audit.show(output)?;
    }
    Ok(match audit.verdict {
        Word::Fresh | Word::Sound => Status::Sound,
        Word::Damaged | Word::Refused => Status::Damaged,
    })
}

impl<'a> Audit<'a> {
    fn on(directory: &'a PathBuf) -> anyhow::Result<Self> {
        check_directory(directory)?;
        let log = Identity::of(directory);
        // Listed before the log is read: what a running server adds meanwhile is another time's.
        let listed = snapshot::list(directory)?;
        let (shelf, oldest) = snapshots::shelve(&listed, log);
        let from = oldest.filter(|_| log.is_some_and(|log| log.first > Lsn::ZERO));
        let begun = from.as_deref().map(Begun::of);
        let mut comparison = Comparison::new(shelf, begun);
        let pass = Pass { directory, log, from, floor: listed.first() };
        let folded = pass.fold("checking", |image, record| {
            comparison.reach(record.lsn, image);
            comparison.read = record.end;
        })?;
        let Folded { image, records, reached, outcome } = folded;
        let mut audit = Self {
            directory,
            verdict: Word::Sound,
            summary: None,
            records_before: None,
            damage: None,
            totals: None,
            snapshots: Vec::new(),
            server: None,
        };
        match outcome {
            Ok(report) if report.segments == 0 => audit.verdict = Word::Fresh,
            Ok(report) => {
                comparison.reach(reached, &image);
                audit.totals = Some(Totals::of(&image));
                audit.summary = Some(Summary::new(report, begun, &image));
            }
            Err(damage) => {
                let before = begun.map_or(0, |begun| begun.records);
                audit.records_before = Some(before + records);
                audit.damage = Some(damage);
            }
        }
        drop(image);
        audit.snapshots = comparison.end();
        audit.conclude(directory)?;
        Ok(audit)
    }

    /// Finds out what damage means for a server.
    fn conclude(&mut self, directory: &Path) -> anyhow::Result<()> {
        if self.damage.is_none() && !self.snapshots.iter().any(Shelved::is_damaged) {
            return Ok(());
        }
        let server = Verdict::on(directory)?;
        self.verdict = match &server {
            Verdict::Fresh | Verdict::Sound(_) => Word::Damaged,
            Verdict::Refused { .. } => Word::Refused,
        };
        let known = matches!(&server, Verdict::Refused { damage, .. } if self.damage.as_ref() == Some(damage));
        self.server = Some(server).filter(|_| !known);
        Ok(())
    }

    fn show(&self, output: &mut Output<impl Write>) -> anyhow::Result<()> {
        output.line(format_args!("directory     {}", self.directory.display()))?;
        if let Some(summary) = &self.summary {
            output.line(summary)?;
        }
        if let Some(totals) = &self.totals {
            output.line(totals)?;
        }
        for snapshot in &self.snapshots {
            output.line(format_args!("snapshot      {snapshot}"))?;
        }
        if let Some(damage) = &self.damage {
            output.line(format_args!("damage        {damage}"))?;
        }
        if let Some(records) = self.records_before {
            output.line(format_args!("records       {records} before it"))?;
        }
        match (&self.server, self.verdict) {
            (_, Word::Fresh) => output.line(Verdict::Fresh),
            (_, Word::Sound) => output.line("verdict       sound"),
            (Some(Verdict::Sound(Summary { begun: Some(Begun { lsn, .. }), .. })), _) => output
                .line(format_args!(
                    "verdict       damaged: a server would start, from the snapshot at LSN {lsn}"
                )),
            (Some(Verdict::Sound(_) | Verdict::Fresh), _) | (None, Word::Damaged) => {
                output.line("verdict       damaged: a server would start, from the log's beginning")
            }
            (Some(Verdict::Refused { damage, .. }), _) => {
                output.line(format_args!("server        would stop at {damage}"))?;
                output.line("verdict       refused: a server would not start")
            }
            (None, Word::Refused) => output.line("verdict       refused: a server would not start"),
        }
    }
}

/// Compares snapshots with the fold as it comes past them.
#[derive(Debug)]
struct Comparison {
    /// Oldest first.
    shelf: Vec<Shelved>,
    /// The first that has not been come to.
    next: usize,
    /// End of the last record that was read.
    read: Lsn,
}

impl Comparison {
    /// With those that a fold comes past that begins at a snapshot, or at the beginning.
    fn new(shelf: Vec<Shelved>, begun: Option<Begun>) -> Self {
        let begins = begun.map(|begun| begun.lsn);
        let next = shelf.partition_point(|shelved| begins.is_some_and(|lsn| shelved.lsn <= lsn));
        Self { shelf, next, read: Lsn::new(begins.unwrap_or(0)) }
    }

    /// Every record before `lsn` is in the image.
    fn reach(&mut self, lsn: Lsn, image: &Image) {
        while let Some(shelved) = self.shelf.get_mut(self.next)
            && shelved.lsn <= lsn.get()
        {
            self.next += 1;
            if shelved.condition != Condition::Whole {
                continue;
            }
            let file = shelved.file.display();
            if shelved.lsn < self.read.get() {
                shelved.blame(format!("{file} is of a position within a record"));
                continue;
            }
            let (records, hash) = (image.records(), image.hash().to_string());
            if shelved.records == Some(records) && shelved.state_hash.as_ref() == Some(&hash) {
                shelved.condition = Condition::Sound;
            } else {
                shelved.blame(format!(
                    "{file} is not what the log makes there: {records} records, state {hash}"
                ));
            }
        }
    }

    fn end(mut self) -> Vec<Shelved> {
        let whole = self.shelf.iter_mut().filter(|shelved| shelved.condition == Condition::Whole);
        whole.for_each(|shelved| shelved.condition = Condition::NotCompared);
        self.shelf
    }
}
