//! `repair`: the one thing here that changes a log.
//!
//! **Invariant:** no byte is lost that was there before. The files that will be changed or removed
//! get a second name in a directory of their own first, durably; no file is written to in place. The
//! segment in which the log will end is made anew under a temporary name, which is nobody's data, and
//! takes the old one's name by a rename. A crash at any step leaves a log that is refused as before,
//! or that ends where it was to end.
//!
//! Order: lock; find the cut, the outcome tried ([`crate::cut`]); confirm; second names, synced; remove
//! the snapshots beyond the cut and the segments behind the cut, last one first, each durably; replace the shortened one; verify.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;
use wal::{LockedDirectory, Lsn, SegmentSize};

use crate::Status;
use crate::arguments::Surgery;
use crate::cut::{Cut, Finding, Kept, Shorten};
use crate::frames::check_directory;
use crate::output::Output;
use crate::trial;
use crate::verdict::{Begun, Verdict};

/// The answer for machines.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    /// Whether the cut was made.
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a Kept>,
}

/// Cuts, or says what it would cut.
///
/// # Errors
/// The directory cannot be read, is in use, or cannot be written; or the LSN that was confirmed is
/// not the one of the cut.
pub fn repair(surgery: &Surgery, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let directory = &surgery.place.directory;
    check_directory(directory)?;
    let lock = match surgery.dry_run {
        true => None,
        false => Some(LockedDirectory::acquire(directory)?),
    };
    let finding = Finding::on(directory)?;
    let cut = match &finding {
        Finding::Cut(cut) => Some(cut),
        Finding::Fresh
        | Finding::Sound { .. }
        | Finding::TornTail { .. }
        | Finding::Hopeless { .. } => None,
    };
    let confirmed = surgery.lose_acknowledged_records_from;
    if let (Some(cut), Some(lsn)) = (cut, confirmed)
        && cut.lsn != lsn
    {
        bail!(
            "the log would end at LSN {}, and LSN {lsn} was confirmed: nothing was changed",
            cut.lsn
        );
    }
    let mut kept = None;
    if let (Some(cut), Some(lock), Some(_)) = (cut, &lock, confirmed) {
        kept = Some(perform(lock, cut)?);
    }
    if surgery.place.json {
        output.json(&Answer { finding: &finding, done: kept.is_some(), kept: kept.as_ref() })?;
    } else {
        tell(surgery, &finding, kept.as_ref(), output)?;
    }
    let sound = match finding {
        Finding::Fresh | Finding::Sound { .. } | Finding::TornTail { .. } => true,
        Finding::Hopeless { .. } => false,
        Finding::Cut(_) => kept.is_some(),
    };
    Ok(if sound { Status::Sound } else { Status::Damaged })
}

fn tell(
    surgery: &Surgery,
    finding: &Finding,
    kept: Option<&Kept>,
    output: &mut Output<impl Write>,
) -> anyhow::Result<()> {
    match finding {
        Finding::Fresh => output.line("nothing to repair: there is no log"),
        Finding::Sound { begun: None } => output.line("nothing to repair: the log is sound"),
        Finding::Sound { begun: Some(Begun { lsn, .. }) } => output.line(format_args!(
            "nothing to repair: the log is sound from the snapshot at LSN {lsn} on, where a server \
             would begin"
        )),
        Finding::TornTail { torn } => {
            output.line(format_args!("tail          torn: {torn}"))?;
            output.line("nothing to repair: none of this was acknowledged, and a server drops it when it starts")
        }
        Finding::Hopeless { damage, why } => {
            output.line(format_args!("damage        {damage}"))?;
            output.line(format_args!("no cut helps: {why}"))
        }
        Finding::Cut(cut) => {
            cut.lines().into_iter().try_for_each(|line| output.line(line))?;
            match kept {
                Some(kept) => {
                    let kept = kept.directory.display();
                    output.line(format_args!("originals     {kept}"))?;
                    output.line(
                        "repaired: verify says sound; a mirror that is ahead must be filled anew",
                    )
                }
                None if surgery.dry_run => output.line("nothing was changed: a dry run"),
                None => output.line(format_args!(
                    "nothing was changed: restore a backup if there is one; else, to lose all \
                     this, add --lose-acknowledged-records-from {}",
                    cut.lsn
                )),
            }
        }
    }
}

/// Makes the cut.
fn perform(lock: &LockedDirectory, cut: &Cut) -> anyhow::Result<Kept> {
    let directory = keep(lock, cut)?;
    lock.remove(&cut.snapshots)?;
    lock.remove(&cut.remove)?;
    if let Some(Shorten { file, zeros_from }) = &cut.shorten {
        shorten(lock, file, Lsn::new(*zeros_from))?;
    }
    match Verdict::on(lock.path())? {
        Verdict::Sound(summary) if summary.end == cut.lsn => Ok(Kept { directory }),
        Verdict::Fresh | Verdict::Sound(_) | Verdict::Refused { .. } => bail!(
            "the outcome is not what was tried; the files as they were are in {}",
            directory.display()
        ),
    }
}

/// Gives the files that will change a second name, durably.
fn keep(lock: &LockedDirectory, cut: &Cut) -> anyhow::Result<PathBuf> {
    // For people only: nothing is decided by it.
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
    let place = lock.path().join(format!("repair-{now}"));
    let refused = || format!("cannot keep the files in {}; nothing was changed", place.display());
    let second_names = || -> std::io::Result<()> {
        fs::create_dir(&place)?;
        let shortened = cut.shorten.iter().map(|shorten| &shorten.file);
        for file in cut.snapshots.iter().chain(&cut.remove).chain(shortened) {
            // What a killed server left in memory is worth keeping, too.
            fs::File::open(file)?.sync_all()?;
            fs::hard_link(file, place.join(file.file_name().unwrap_or_default()))?;
        }
        fs::File::open(&place)?.sync_all()
    };
    second_names().with_context(refused)?;
    lock.sync().with_context(refused)?;
    Ok(place)
}

/// Replaces a segment by one that is zero from `lsn` on.
fn shorten(lock: &LockedDirectory, file: &Path, lsn: Lsn) -> anyhow::Result<()> {
    let length = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    let size = SegmentSize::new(length.len()).context("a segment has the length of no segment")?;
    let temporary = lock.path().join(wal::header::temporary_name(size.base_of(lsn)));
    lock.remove(std::slice::from_ref(&temporary))?;
    trial::shortened(file, &temporary, lsn, size)?;
    fs::rename(&temporary, file).with_context(|| format!("cannot replace {}", file.display()))?;
    Ok(lock.sync()?)
}
