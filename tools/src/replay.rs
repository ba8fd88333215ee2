//! `replay`: the log into PostgreSQL, by the mirror's own code.
//!
//! **Invariant:** nothing is written there that the log might not have after a power cut. Without a
//! server that is what recovery would keep, once what a killed server left in memory is synced; the
//! lock is held while that is decided, and not longer: a server that starts meanwhile only adds to it.
//! Where the lock cannot be had, only what the log itself proves to have been durable is replayed.
//!
//! The first pass reads the log and checks that every record is legal given those before it, as a
//! starting server does. The second writes, and goes on from whatever checkpoint PostgreSQL has.

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use booking_manager::mirror::{
    self, Checkpoint, Doing, Limits, Obstacle, Session, Target, connect, runtime, unless_silent,
};
use serde::Serialize;
use uuid::Uuid;
use wal::{LockedDirectory, Lsn, ReadError, Reader};

use crate::Status;
use crate::arguments::Replay;
use crate::checkpoint::sync_last_epoch;
use crate::compare::{Comparison, compare};
use crate::database;
use crate::fault::{Refusal, shown_path};
use crate::frames::check_directory;
use crate::output::Output;
use crate::progress::{Progress, per_second};
use crate::snapshots::{self, Identity};
use crate::verdict::{Summary, Verdict};

/// What was done, in the order in which it is told.
#[derive(Debug, Default, Serialize)]
struct Answer<'a> {
    #[serde(serialize_with = "shown_path")]
    directory: PathBuf,
    /// Without its password.
    database: String,
    uuid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<Replayed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<Comparison>,
    /// In the log, or what the mirror stumbled over in the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<Damage>,
}

/// Damage, in the log or in the rows.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Damage {
    Refused(Refusal),
    Found(crate::fault::Fault),
    Met { reason: String },
}

/// Where replaying began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "began", content = "began_at", rename_all = "snake_case")]
enum Began {
    Beginning,
    Snapshot(u64),
    Checkpoint(u64),
}

/// Up to where the log may be replayed.
#[derive(Debug, Serialize)]
struct Bound<'a> {
    up_to: u64,
    /// Why not to the end; `None` if it is the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_proven_durable: Option<String>,
    #[serde(skip)]
    directory: &'a Path,
}

/// What was replayed.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    #[serde(flatten)]
    began: Began,
    #[serde(flatten)]
    bound: Bound<'a>,
    /// Records replayed now.
    records: u64,
    seconds: f64,
    records_per_second: u64,
    /// Everything before it is in PostgreSQL.
    mirrored_lsn: u64,
    /// How many records that is.
    mirrored_records: u64,
    /// Rows.
    bookings: i64,
}

/// Replays, compares, and says what came of it.
///
/// # Errors
/// The directory cannot be read, the database not be used, or the answer not be written.
pub fn replay(order: &Replay, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let directory = order.place.directory.as_path();
    check_directory(directory)?;
    let target = database::target(&order.database)?;
    let mut answer = Answer {
        directory: directory.to_owned(),
        database: target.to_string(),
        ..Answer::default()
    };
    let json = order.place.json;
    let carried_out = runtime()?.block_on(carry_out(order, &target, &mut answer, |shown| {
        // What follows may take long.
        if json { Ok(()) } else { output.line(shown).and_then(|()| output.finish()) }
    }));
    if let Err(error) = carried_out {
        let reason = format!("{error:#}");
        let damaged = error.downcast_ref::<mirror::Fault>().is_some_and(tells_of_damage);
        answer.damage = Some(if damaged { Damage::Met { reason } } else { return Err(error) });
    }
    if json {
        output.json(&answer)?;
    } else if let Some(damage) = &answer.damage {
        output.line(format_args!("damage        {damage}"))?;
    } else if let Some(compared) = &answer.compared {
        output.line(compared)?;
    }
    let differs = answer.compared.is_some_and(|compared| compared.differences > 0);
    Ok(if differs || answer.damage.is_some() { Status::Damaged } else { Status::Sound })
}

async fn carry_out<'a>(
    order: &'a Replay,
    target: &Target,
    answer: &mut Answer<'a>,
    mut tell: impl FnMut(&Replayed<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let directory = order.place.directory.as_path();
    let Some(log) = Identity::of(directory) else {
        answer.damage = Some(unreadable(directory)?);
        return Ok(());
    };
    answer.uuid = log.uuid;
    // Before the long work, so that a wrong password is known at once.
    let standing = database::checkpoint(target, log.uuid).await?;
    if !order.verify_only {
        refuse_unless_empty(order, standing, log)?;
        let bound = match Bound::find(directory)? {
            Ok(bound) => bound,
            Err(damage) => {
                answer.damage = Some(Damage::Refused(damage));
                return Ok(());
            }
        };
        let replayed = write(order, target, log, bound).await?;
        tell(answer.replayed.insert(replayed))?;
    } else if standing.is_none() {
        bail!("nothing was ever mirrored into this database: `replay` fills it");
    }
    if order.verify || order.verify_only {
        match compare(directory, target, log.uuid).await? {
            Ok(compared) => answer.compared = Some(compared),
            Err(damage) => answer.damage = Some(Damage::Found(damage)),
        }
    }
    Ok(())
}

/// Says why no header can be read.
fn unreadable(directory: &Path) -> anyhow::Result<Damage> {
    match Verdict::on(directory)? {
        Verdict::Refused { damage, .. } => Ok(Damage::Refused(damage)),
        Verdict::Fresh | Verdict::Sound(_) => bail!("there is no log in {}", directory.display()),
    }
}

/// Refuses to begin anew in a database that has something already, or where the log cannot.
fn refuse_unless_empty(
    order: &Replay,
    standing: Option<Checkpoint>,
    log: Identity,
) -> anyhow::Result<()> {
    if !order.from_beginning && !order.from_snapshot {
        return Ok(());
    }
    if let Some(Checkpoint { lsn, .. }) = standing {
        bail!(
            "the database has this log up to LSN {lsn} already: leave the option away to go on from \
             there, or remove the tables first, with `booking-wal migrate down --yes`"
        );
    }
    ensure!(
        !order.from_beginning || log.first == Lsn::ZERO,
        "the log begins at LSN {}, what was before has been removed: use --from-snapshot",
        log.first
    );
    Ok(())
}

impl<'a> Bound<'a> {
    /// Finds it, or the damage for which a server would refuse the log.
    fn find(directory: &'a Path) -> anyhow::Result<Result<Self, Refusal>> {
        let lock = LockedDirectory::acquire(directory);
        if lock.is_ok() {
            sync_last_epoch(directory)?;
        }
        Ok(match Verdict::on(directory)? {
            Verdict::Fresh => bail!("there is no log in {}", directory.display()),
            Verdict::Refused { damage, .. } => Err(damage),
            Verdict::Sound(Summary { end, durable_floor, .. }) => Ok(match lock {
                Ok(_) => Self { up_to: end, only_proven_durable: None, directory },
                Err(error) => {
                    let only_proven_durable = Some(error.to_string());
                    // Of a log without records the header alone is proven.
                    Self { up_to: durable_floor.min(end), only_proven_durable, directory }
                }
            }),
        })
    }

    /// Where the log ends, if that is known.
    fn end(&self) -> Option<Lsn> {
        self.only_proven_durable.is_none().then_some(Lsn::new(self.up_to))
    }
}

/// Writes all that may be, from where the database stands.
async fn write<'a>(
    order: &Replay,
    target: &Target,
    log: Identity,
    bound: Bound<'a>,
) -> anyhow::Result<Replayed<'a>> {
    let mut reader = Reader::open(bound.directory)?;
    let begun = Session::begin(target, log.uuid, Limits::default());
    let mut session = unless_silent(target, begun).await?;
    let filling = show_filling(&mut session);
    if order.from_snapshot {
        load(&mut session, target, bound.directory, log, Lsn::new(bound.up_to)).await?;
    }
    let before = session.checkpoint();
    let start = unless_silent(target, session.resume(&mut reader, bound.end())).await?;
    drop(filling.take());
    let began = match before {
        Some(before) if before == start && !order.from_snapshot => {
            Began::Checkpoint(start.lsn.get())
        }
        _ if start.lsn == Lsn::ZERO => Began::Beginning,
        Some(_) | None => Began::Snapshot(start.lsn.get()),
    };
    reader.set_durable(Lsn::new(bound.up_to));
    let to = Lsn::new(bound.up_to).max(start.lsn);
    let mut progress = Progress::over("replaying", start.lsn, to);
    let mut now = start;
    loop {
        let step = unless_silent(target, session.step(&mut reader)).await;
        let step = step.map_err(in_the_middle)?;
        now = session.checkpoint().unwrap_or(now);
        progress.reach_after(now.lsn, now.records - start.records);
        if step.caught_up {
            break;
        }
    }
    let (time, records) = (progress.elapsed(), now.records - start.records);
    drop(progress);
    let client = connect(target).await?;
    let rows = client.query_one("SELECT count(*) FROM bookings", &[]).await;
    let bookings = rows.map_err(mirror::Fault::from)?.get(0);
    Ok(Replayed {
        began,
        bound,
        records,
        seconds: time.as_secs_f64(),
        records_per_second: per_second(records, time),
        mirrored_lsn: now.lsn.get(),
        mirrored_records: now.records,
        bookings,
    })
}

/// Shows that the tables are being filled from a snapshot, until it is taken away.
fn show_filling(session: &mut Session) -> Rc<RefCell<Option<Progress>>> {
    let filling = Rc::default();
    let shown: Rc<RefCell<Option<Progress>>> = Rc::clone(&filling);
    session.listen(Box::new(move |doing| match doing {
        Doing::Loading(_) => {
            shown.replace(Some(Progress::waiting("filling the tables from a snapshot")));
        }
        Doing::Writing(_) => {}
    }));
    filling
}

/// Fills empty tables from the newest snapshot that is not of a later position.
async fn load(
    session: &mut Session,
    target: &Target,
    directory: &Path,
    log: Identity,
    up_to: Lsn,
) -> anyhow::Result<()> {
    // Somebody else may have filled them since they were looked at.
    ensure!(session.checkpoint().is_none(), "the database is not empty any more");
    let reader = Reader::open(directory)?;
    // A server that begins another segment takes its beginning for the end of the log.
    let up_to = reader.frame_behind(up_to);
    let wanted = |snapshot: &booking_manager::image::snapshot::Snapshot| {
        snapshot.lsn <= up_to && log.reaches_back_to(snapshot.lsn)
    };
    let snapshot = snapshots::newest_usable(directory, log, wanted)?.context(
        "there is no usable snapshot of this log: `booking-wal snapshot` makes one, or leave \
         --from-snapshot away",
    )?;
    let salt = reader.segment_before(snapshot.lsn).map(|segment| segment.header.salt);
    unless_silent(target, session.load(&snapshot, salt)).await?;
    Ok(())
}

/// What was written stays, and so the same command goes on.
fn in_the_middle(fault: mirror::Fault) -> anyhow::Error {
    let passes = fault.obstacle().is_none() && !tells_of_damage(&fault);
    let error = anyhow::Error::new(fault);
    if passes {
        error.context("stopped in the middle; run it again to go on from there")
    } else {
        error
    }
}

/// Whether it is the log or the rows that are wrong, rather than a way that is barred.
fn tells_of_damage(fault: &mirror::Fault) -> bool {
    use Obstacle::{Altered, Meddled, Record};
    matches!(fault, mirror::Fault::Log(ReadError::Damage(_)))
        || matches!(fault.obstacle(), Some(Altered { .. } | Meddled { .. } | Record { .. }))
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(damage) => write!(f, "{damage}; nothing was replayed"),
            Self::Found(damage) => damage.fmt(f),
            Self::Met { reason } => f.write_str(reason),
        }
    }
}

impl fmt::Display for Replayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { began, bound, records, seconds, records_per_second, bookings, .. } = self;
        match began {
            Began::Beginning => writeln!(f, "began         at the beginning of the log")?,
            Began::Snapshot(lsn) => writeln!(f, "began         at the snapshot at LSN {lsn}")?,
            Began::Checkpoint(lsn) => {
                writeln!(f, "began         where the database stood, at LSN {lsn}")?;
            }
        }
        let up_to = bound.up_to;
        match &bound.only_proven_durable {
            None => writeln!(f, "up to         LSN {up_to}, the end of the log")?,
            Some(why) => writeln!(
                f,
                "up to         LSN {up_to}, the last position that the log proves durable: what is \
                 behind it another process cannot know ({why})"
            )?,
        }
        let Self { mirrored_lsn: lsn, mirrored_records: all, .. } = self;
        write!(
            f,
            "replayed      {records} records in {seconds:.3} s, {records_per_second} records/s: \
             the database is at LSN {lsn} with {all} records, {bookings} bookings"
        )
    }
}
