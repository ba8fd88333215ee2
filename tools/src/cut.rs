//! What would have to go so that a log can be recovered again, and what would be lost with it.
//!
//! A log is cut at P, the first place at which recovery finds no good frame. Everything in the log
//! that may say that something from P on was durable stands behind P: a frame claims at most its own
//! position, and a header at most its base. So three things make a log that ends at P, and of these
//! as many are done as are needed, which is found out by asking recovery each time
//! ([`crate::trial`]):
//!
//! 1. the segments behind the one of P go, last one first;
//! 2. the segment of P is replaced by one that is zero from P on;
//! 3. a segment whose header cannot be read goes, with all behind it.
//!
//! A snapshot beyond P says that P was not the end, and is set aside as well; recovery is asked with
//! those that stay. Where the beginning of the log has been removed, a usable one must be among them,
//! or there is nothing to start from. A log that is sound and ends before a snapshot of it is cut
//! by setting that one aside and nothing else; so is one that has a snapshot of another log.
//!
//! What was written by a newer version of the program is not cut: it is not damaged.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use booking_manager::image::snapshot::{self, Named};
use serde::Serialize;
use wal::{Lsn, SegmentSize, directory};

use crate::fault::{Cause, Refusal, shown_path};
use crate::frames::{self, Found};
use crate::trial::{self, Part};
use crate::verdict::{Begun, Summary, Torn, Verdict};

/// What can be done about a log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// Nothing: there is no log.
    Fresh,
    /// Nothing: a server would start.
    Sound {
        /// The snapshot from which it would go on; the log before it was not looked at.
        begun: Option<Begun>,
    },
    /// Nothing: a server cuts this itself, and nobody was told of what is in it.
    TornTail {
        /// What it would cut.
        torn: Torn,
    },
    /// Nothing by cutting: nothing before the damage could be kept, or it is not damage but a newer
    /// version's.
    Hopeless {
        /// Where recovery stops.
        damage: Refusal,
        /// Why no cut helps.
        why: &'static str,
    },
    /// A cut.
    Cut(Box<Cut>),
}

/// A cut, and its price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cut {
    /// What recovery refuses now.
    pub damage: Refusal,
    /// P: where the log would end.
    pub lsn: u64,
    /// Snapshots of what would not have happened any more; they would go first.
    pub snapshots: Vec<PathBuf>,
    /// Segment files that would go, last one first.
    pub remove: Vec<PathBuf>,
    /// The segment file that would be zero from P on.
    pub shorten: Option<Shorten>,
    /// What would be lost.
    pub loss: Loss,
    /// What recovery would find then.
    pub then: Summary,
}

/// A segment file that is to be zero from a position on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Shorten {
    /// The file.
    #[serde(serialize_with = "shown_path")]
    pub file: PathBuf,
    /// The position. Where the first frame of a segment is bad, it lies behind the segment's header
    /// and the log ends in front of it.
    pub zeros_from: u64,
}

/// What stands from P on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Default)]
pub struct Loss {
    /// Whole records, which could still be read.
    pub records: u64,
    /// Where the first of them begins.
    pub first: Option<u64>,
    /// Where the last of them ends.
    pub end: Option<u64>,
    /// Stretches that cannot be read.
    pub damaged_places: u64,
}

impl Finding {
    /// Finds out. Changes nothing.
    ///
    /// # Errors
    /// The log cannot be read, or there is no temporary place for the trial.
    pub fn on(directory: &Path) -> anyhow::Result<Self> {
        let damage = match Verdict::on(directory)? {
            Verdict::Fresh => return Ok(Self::Fresh),
            Verdict::Sound(Summary { torn: Some(torn), .. }) => return Ok(Self::TornTail { torn }),
            Verdict::Sound(Summary { begun, .. }) => return Ok(Self::Sound { begun }),
            Verdict::Refused { damage, .. } => damage,
        };
        let listing = directory::list(directory)?;
        let all: Vec<_> = listing.segments.into_iter().map(|segment| segment.path).collect();
        let snapshots = snapshot::list(directory)?;
        let mut plan = Plan {
            directory,
            kept: all.len(),
            all,
            shorten: None,
            kept_snapshots: snapshots.clone(),
            snapshots,
        };
        match plan.search(damage.clone())? {
            Ok(then) => plan.cut(damage, then).map(Box::new).map(Self::Cut),
            Err(why) => Ok(Self::Hopeless { damage, why }),
        }
    }
}

const NOTHING_BEFORE: &str = "nothing stands before it that could be kept";
const REFUSED: &str = "it would still be refused";

/// A cut that is being looked for.
#[derive(Debug)]
struct Plan<'a> {
    directory: &'a Path,
    all: Vec<PathBuf>,
    /// How many of them stay.
    kept: usize,
    /// From where on the last one that stays is zero.
    shorten: Option<(Lsn, SegmentSize)>,
    /// All of them, newest first.
    snapshots: Vec<Named>,
    /// Those that stay.
    kept_snapshots: Vec<Named>,
}

impl Plan<'_> {
    /// Takes away until recovery would not refuse any more, or says why that cannot be.
    fn search(&mut self, mut damage: Refusal) -> anyhow::Result<Result<Summary, &'static str>> {
        loop {
            let before = self.kept_snapshots.len();
            let foreign = damage.cause == Cause::ForeignSnapshot;
            self.kept_snapshots.retain(|snapshot| match foreign {
                true => snapshot.path != damage.fault.file,
                false => snapshot.lsn.get() <= damage.fault.lsn,
            });
            let set_aside = self.kept_snapshots.len() < before;
            match damage.cause {
                Cause::NewerVersion => {
                    let newer = "it was written by a newer version of this program: use that one";
                    return Ok(Err(newer));
                }
                Cause::NoBeginning => return Ok(Err("nothing would be left to start from")),
                Cause::SnapshotBeyond | Cause::ForeignSnapshot if set_aside => {}
                Cause::SnapshotBeyond | Cause::ForeignSnapshot => return Ok(Err(REFUSED)),
                Cause::Damage => {
                    if let Err(why) = self.take_away(&damage)? {
                        return Ok(Err(why));
                    }
                }
            }
            if self.kept == 0 {
                return Ok(Err(NOTHING_BEFORE));
            }
            match trial::verdict(self.directory, &self.parts(), &self.kept_snapshots)? {
                Verdict::Fresh => return Ok(Err(NOTHING_BEFORE)),
                Verdict::Sound(summary) => return Ok(Ok(summary)),
                Verdict::Refused { damage: next, .. } => damage = next,
            }
        }
    }

    /// Takes away a place that is damaged, with what stands behind it.
    fn take_away(&mut self, damage: &Refusal) -> anyhow::Result<Result<(), &'static str>> {
        let index = self.all.iter().position(|path| *path == damage.fault.file);
        // A file that is missing behind the last one: there is nothing to take away.
        let Some(index) = index.filter(|index| *index < self.kept) else {
            return Ok(Err("what is missing cannot be cut off"));
        };
        if damage.fault.offset == 0 {
            self.kept = index;
            self.shorten = None;
        } else if index + 1 < self.kept {
            self.kept = index + 1;
        } else if self.shorten.is_none() && damage.fault.offset < self.size()?.get() {
            self.shorten = Some((Lsn::new(damage.fault.lsn), self.size()?));
        } else {
            return Ok(Err(REFUSED));
        }
        Ok(Ok(()))
    }

    fn parts(&self) -> Vec<Part> {
        let last = self.kept - 1;
        let kept = self.all[..self.kept].iter().cloned().enumerate();
        kept.map(|(at, path)| Part { path, cut: self.shorten.filter(|_| at == last) }).collect()
    }

    /// The size of the segments. Read from the length of the last one that stays, which recovery has
    /// compared with its header.
    fn size(&self) -> anyhow::Result<SegmentSize> {
        let path = &self.all[self.kept - 1];
        let found = fs::metadata(path);
        let found = found.with_context(|| format!("cannot read {}", path.display()))?;
        SegmentSize::new(found.len()).context("a segment has the length of no segment")
    }

    fn cut(self, damage: Refusal, then: Summary) -> anyhow::Result<Cut> {
        let kept = |snapshot: &&Named| self.kept_snapshots.contains(snapshot);
        let beyond = self.snapshots.iter().filter(|snapshot| !kept(snapshot));
        let snapshots = beyond.map(|snapshot| snapshot.path.clone()).collect();
        let remove = self.all[self.kept..].iter().rev().cloned().collect();
        let shorten = self.shorten.map(|(lsn, _)| Shorten {
            file: self.all[self.kept - 1].clone(),
            zeros_from: lsn.get(),
        });
        let loss = Loss::from_lsn(self.directory, Lsn::new(then.end))?;
        Ok(Cut { damage, lsn: then.end, snapshots, remove, shorten, loss, then })
    }
}

impl Loss {
    /// Counts what could still be read from `lsn` on.
    fn from_lsn(directory: &Path, lsn: Lsn) -> anyhow::Result<Self> {
        let mut loss = Self::default();
        frames::each(directory, |found| {
            match found {
                Found::Frame(view, _) if view.header.lsn >= lsn => {
                    if !view.header.kind.is_internal() {
                        loss.records += 1;
                        loss.first.get_or_insert(view.header.lsn.get());
                        loss.end = Some(view.header.end().get());
                    }
                }
                Found::Damage(..) => loss.damaged_places += 1,
                Found::Frame(..) | Found::TakenBack(..) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(loss)
    }
}

impl Cut {
    /// What was done, in the words of a person; one line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("damage        {}", self.damage),
            format!("cut           the log would end at LSN {}", self.lsn),
        ];
        let end = self.loss.end.map_or_else(|| "?".to_owned(), |end| end.to_string());
        let first = self.loss.first.map_or_else(|| "?".to_owned(), |first| first.to_string());
        let cuts = self.shorten.is_some() || !self.remove.is_empty();
        lines.push(match self.loss.records {
            0 if !cuts => "lost          what the snapshots say beyond that".to_owned(),
            // Behind a header that cannot be read, records cannot be told from chance.
            0 => format!(
                "lost          all from LSN {} on; no record there can be counted",
                self.lsn
            ),
            records => format!(
                "lost          {records} whole records, LSN {first} to {end}, and what is damaged"
            ),
        });
        lines.push(format!("kept          {} records", self.then.records));
        if let Some(Shorten { file, zeros_from }) = &self.shorten {
            let file = file.display();
            lines.push(format!("shorten       {file} (zeros from LSN {zeros_from} on)"));
        }
        lines.extend(self.snapshots.iter().map(|file| format!("set aside     {}", file.display())));
        lines.extend(self.remove.iter().map(|file| format!("remove        {}", file.display())));
        lines
    }
}

/// Where the files went that a repair has changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    /// The directory with their links.
    #[serde(serialize_with = "shown_path")]
    pub directory: PathBuf,
}
