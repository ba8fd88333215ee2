//! `inspect`: the records of a log, one a line.

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;

use booking_manager::codec;
use booking_manager::domain::Fact;
use serde::Serialize;
use wal::Record;

use crate::Status;
use crate::arguments::Request;
use crate::fault::{Fault, refused_record};
use crate::fields::{self, Fields};
use crate::frames::{self, Beyond, Found, Frames};
use crate::instant;
use crate::names::Names;
use crate::output::Output;
use crate::patience::Patience;
use crate::progress::Progress;
use crate::seat::Watched;

/// One record as it is shown.
#[derive(Debug, Serialize)]
struct Line {
    lsn: u64,
    end: u64,
    epoch: u32,
    at: String,
    kind: &'static str,
    #[serde(flatten)]
    fields: Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

/// Damage as it is shown in the place of records.
#[derive(Debug, Serialize)]
struct DamageLine {
    damage: Fault,
    /// `null` when nothing readable follows.
    skipped_bytes: Option<u64>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lsn, end: _, epoch, at, kind, fields, raw } = self;
        write!(f, "{lsn:>12} {epoch:>4} {at} {kind:<13} {fields}")?;
        raw.iter().try_for_each(|raw| write!(f, " raw={raw}"))
    }
}

impl fmt::Display for DamageLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damage: {}", self.damage)?;
        match self.skipped_bytes {
            Some(bytes) => write!(f, "; {bytes} bytes skipped"),
            None => f.write_str("; nothing readable follows"),
        }
    }
}

/// That records which were shown are none any more.
#[derive(Debug, Serialize)]
struct TakenBackLine {
    taken_back: TakenBack,
}

#[derive(Debug, Serialize)]
struct TakenBack {
    from: u64,
    to: u64,
}

impl fmt::Display for TakenBackLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TakenBack { from, to } = self.taken_back;
        write!(f, "taken back: a crash cut the log at LSN {from}; what was shown from there to ")?;
        write!(f, "LSN {to} is no part of it any more")
    }
}

/// Lists the records that were asked for, and all damage on the way to them.
///
/// All records from the first on are read, whatever was asked for: only they tell which ids the
/// numbers in later records stand for.
///
/// # Errors
/// The log cannot be read, or the lines not be written.
pub fn inspect(request: &Request, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let directory = &request.place.directory;
    let mut listing = Listing {
        request,
        names: Names::default(),
        ticket: request.filter.ticket.map(Watched::from),
        status: Status::Sound,
        progress: None,
    };
    if request.follow {
        let patience = Patience::begin()?;
        output.be_prompt();
        let mut gone = false;
        let idle = || {
            let flow = patience.wait()?;
            gone |= flow.is_break();
            Ok(if patience.is_over() { ControlFlow::Break(()) } else { flow })
        };
        frames::follow(directory, idle, |found| {
            let flow = listing.take(found, output)?;
            Ok(if patience.is_over() { ControlFlow::Break(()) } else { flow })
        })?;
        if gone {
            output.close();
        }
    } else {
        let (from, to) = frames::extent(directory);
        listing.progress = Some(Progress::beside_lines("reading", from, to));
        frames::each(directory, |found| listing.take(found, output))?;
    }
    Ok(listing.status)
}

/// A listing on its way through the log.
#[derive(Debug)]
struct Listing<'a> {
    request: &'a Request,
    names: Names,
    ticket: Option<Watched>,
    status: Status,
    progress: Option<Progress>,
}

impl Listing<'_> {
    fn take(
        &mut self,
        found: Found<'_>,
        output: &mut Output<impl Write>,
    ) -> anyhow::Result<ControlFlow<()>> {
        match found {
            Found::Frame(view, _) if self.request.filter.ends_before(view.header.lsn.get()) => {
                return Ok(ControlFlow::Break(()));
            }
            Found::Frame(view, _) if view.header.kind.is_internal() => {}
            Found::Frame(view, frames) => self.record(&view.record(), frames, output)?,
            Found::Damage(damage, _) if self.request.filter.ends_before(damage.lsn) => {
                return Ok(ControlFlow::Break(()));
            }
            Found::Damage(damage, beyond) => {
                self.status = Status::Damaged;
                let skipped_bytes = match beyond {
                    Beyond::Skipped(bytes) => Some(bytes),
                    Beyond::Nothing => None,
                };
                self.write(output, &DamageLine { damage, skipped_bytes })?;
            }
            Found::TakenBack(from, to) => {
                let taken_back = TakenBack { from: from.get(), to: to.get() };
                self.write(output, &TakenBackLine { taken_back })?;
            }
        }
        Ok(if output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        frames: Frames<'_>,
        output: &mut Output<impl Write>,
    ) -> anyhow::Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.reach(record.lsn);
        }
        match codec::decode_record(record) {
            Ok(None) => Ok(()),
            Ok(Some(fact)) => {
                self.names.learn(&fact);
                // Asked first, since it has to see every fact.
                let of_ticket = self.ticket.as_mut().is_none_or(|ticket| ticket.concerns(&fact));
                if !of_ticket || !self.request.filter.wants(record, &fact, &self.names) {
                    return Ok(());
                }
                self.write(output, &line(record, &fact, &self.names, self.request.raw))
            }
            Err(error) => {
                self.status = Status::Damaged;
                let damage = frames.fault(record.lsn, refused_record(&error));
                let skipped_bytes = Some(record.end.since(record.lsn));
                self.write(output, &DamageLine { damage, skipped_bytes })
            }
        }
    }

    fn write(
        &self,
        output: &mut Output<impl Write>,
        line: &(impl fmt::Display + Serialize),
    ) -> anyhow::Result<()> {
        if self.request.place.json { output.json(line) } else { output.line(line) }
    }
}

fn line(record: &Record<'_>, fact: &Fact<'_>, names: &Names, raw: bool) -> Line {
    Line {
        lsn: record.lsn.get(),
        end: record.end.get(),
        epoch: record.epoch,
        at: instant::show(fact.at()),
        kind: fields::kind(fact),
        fields: Fields::of(fact, names),
        raw: raw.then(|| record.payload.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}
