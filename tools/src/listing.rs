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
use crate::frames::{self, Beyond, Found};
use crate::instant;
use crate::names::Names;
use crate::output::Output;

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

/// Lists the records that were asked for, and all damage on the way to them.
///
/// All records from the first on are read, whatever was asked for: only they tell which ids the
/// numbers in later records stand for.
///
/// # Errors
/// The log cannot be read, or the lines not be written.
pub fn inspect(request: &Request, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let mut names = Names::default();
    let mut status = Status::Sound;
    frames::each(&request.place.directory, |found| {
        match found {
            Found::Frame(view, _) if request.filter.ends_before(view.header.lsn.get()) => {
                return Ok(ControlFlow::Break(()));
            }
            Found::Frame(view, _) if view.header.kind.is_internal() => {}
            Found::Frame(view, frames) => {
                let record = view.record();
                match codec::decode_record(&record) {
                    Ok(None) => {}
                    Ok(Some(fact)) => {
                        names.learn(&fact);
                        if request.filter.wants(&record, &fact, &names) {
                            let line = line(&record, &fact, &names, request.raw);
                            write(request, output, &line)?;
                        }
                    }
                    Err(error) => {
                        status = Status::Damaged;
                        let damage = frames.fault(record.lsn, refused_record(&error));
                        let skipped_bytes = Some(record.end.since(record.lsn));
                        write(request, output, &DamageLine { damage, skipped_bytes })?;
                    }
                }
            }
            Found::Damage(damage, _) if request.filter.ends_before(damage.lsn) => {
                return Ok(ControlFlow::Break(()));
            }
            Found::Damage(damage, beyond) => {
                status = Status::Damaged;
                let skipped_bytes = match beyond {
                    Beyond::Skipped(bytes) => Some(bytes),
                    Beyond::Nothing => None,
                };
                write(request, output, &DamageLine { damage, skipped_bytes })?;
            }
        }
        Ok(if output.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(status)
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

fn write(
    request: &Request,
    output: &mut Output<impl Write>,
    line: &(impl fmt::Display + Serialize),
) -> anyhow::Result<()> {
    if request.place.json { output.json(line) } else { output.line(line) }
}
