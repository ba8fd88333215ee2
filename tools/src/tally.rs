//! `stats`: what a log consists of, and what recovery would do with it now.
//!
//! The frames are counted first, on past any damage, and the verdict is reached in a second pass.
//! Beside a running server the second may therefore find more than the first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use booking_manager::codec;
use serde::Serialize;
use wal::frame::FrameView;
use wal::header::segment_name;
use wal::{Kind, Lsn, Reader, SegmentSize};

use crate::Status;
use crate::arguments::Place;
use crate::fault::{Fault, refused_record, shown_path};
use crate::fields;
use crate::frames::{self, Found};
use crate::output::Output;
use crate::verdict::Verdict;

/// The segment files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Segments {
    count: usize,
    bytes_each: u64,
    /// Base of the first file.
    first: u64,
    /// End of the last file, most of which may not have been written yet.
    end: u64,
    /// Boots that have segments here.
    epochs: usize,
}

/// The frames of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Share {
    kind: String,
    number: u16,
    frames: u64,
    /// Headers and padding included.
    bytes: u64,
}

/// How a server would go on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Next {
    epoch: u32,
    lsn: u64,
    file: String,
}

#[derive(Debug, Serialize)]
struct Tally<'a> {
    #[serde(serialize_with = "shown_path")]
    directory: &'a PathBuf,
    segments: Option<Segments>,
    kinds: Vec<Share>,
    damage: Vec<Fault>,
    recovery: Verdict,
    /// `None` if it would not.
    next: Option<Next>,
}

/// Counts.
///
/// # Errors
/// The log cannot be read, or the answer not be written.
pub fn stats(place: &Place, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let tally = Tally::of(&place.directory)?;
    if place.json {
        output.json(&tally)?
    } else {
        tally.show(output)?
    }
    let sound = tally.damage.is_empty() && tally.recovery.status() == Status::Sound;
    Ok(if sound { Status::Sound } else { Status::Damaged })
}

impl<'a> Tally<'a> {
    fn of(directory: &'a PathBuf) -> anyhow::Result<Self> {
        let (mut kinds, mut damage) = (BTreeMap::new(), Vec::new());
        frames::each(directory, |found| {
            match found {
                Found::Frame(view, frames) => {
                    if let Err(reason) = count(&mut kinds, &view) {
                        damage.push(frames.fault(view.header.lsn, reason));
                    }
                }
                Found::Damage(fault, _) => damage.push(fault),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let recovery = Verdict::on(directory)?;
        // A log whose headers cannot be read has said so above.
        let reader = Reader::open(directory).ok();
        let segments = reader.as_ref().and_then(Segments::of);
        let next = next(&recovery, segments.as_ref());
        let kinds = kinds.into_values().collect();
        Ok(Self { directory, segments, kinds, damage, recovery, next })
    }

    fn show(&self, output: &mut Output<impl Write>) -> anyhow::Result<()> {
        output.line(format_args!("directory     {}", self.directory.display()))?;
        if let Some(Segments { count, bytes_each, first, end, epochs }) = &self.segments {
            let all = *count as u64 * bytes_each;
            output
                .line(format_args!("segments      {count} of {bytes_each} bytes, {all} in all"))?;
            output.line(format_args!("positions     LSN {first} to {end}, in {epochs} epochs"))?;
        }
        if !self.kinds.is_empty() {
            output.line(format_args!(
                "\n{:<4} {:<13} {:>12} {:>16}",
                "no.", "kind", "frames", "bytes"
            ))?;
        }
        for Share { kind, number, frames, bytes } in &self.kinds {
            output.line(format_args!("{number:<4} {kind:<13} {frames:>12} {bytes:>16}"))?;
        }
        output.line("")?;
        for fault in &self.damage {
            output.line(format_args!("damage        {fault}"))?;
        }
        output.line(format_args!("recovery now\n{}", self.recovery))?;
        if let Some(Next { epoch, lsn, file }) = &self.next {
            output
                .line(format_args!("next          epoch {epoch} from LSN {lsn} on, in {file}"))?;
        }
        Ok(())
    }
}

/// Adds a frame to its kind; says what is wrong with a record that does not decode.
fn count(kinds: &mut BTreeMap<u16, Share>, view: &FrameView<'_>) -> Result<(), String> {
    let kind = view.header.kind;
    let decoded = if kind.is_internal() {
        Ok(internal_name(kind).to_owned())
    } else {
        let name = |fact: Option<_>| match fact {
            Some(fact) => fields::kind(&fact).to_owned(),
            None => format!("kind_{}", kind.get()),
        };
        codec::decode_record(&view.record()).map(name).map_err(|error| refused_record(&error))
    };
    let number = kind.get();
    let share = kinds.entry(number).or_insert_with(|| Share {
        kind: format!("kind_{number}"),
        number,
        frames: 0,
        bytes: 0,
    });
    share.frames += 1;
    share.bytes += view.header.span() as u64;
    share.kind = decoded?;
    Ok(())
}

/// The log's own frames, by name.
fn internal_name(kind: Kind) -> &'static str {
    match kind {
        Kind::PADDING => "padding",
        Kind::VOID => "void",
        Kind::IDLE => "idle",
        Kind::SEAL => "seal",
        _ => "unknown",
    }
}

impl Segments {
    fn of(reader: &Reader) -> Option<Self> {
        let segments = reader.segments();
        let (first, last) = (segments.first()?, segments.last()?);
        let epochs: BTreeSet<u32> = segments.iter().map(|segment| segment.header.epoch).collect();
        Some(Self {
            count: segments.len(),
            bytes_each: first.header.segment_size.get(),
            first: first.header.base.get(),
            end: last.header.end().get(),
            epochs: epochs.len(),
        })
    }
}

/// Where and as what the log would go on.
fn next(recovery: &Verdict, segments: Option<&Segments>) -> Option<Next> {
    let Verdict::Sound(summary) = recovery else {
        return None;
    };
    let size = SegmentSize::new(segments?.bytes_each)?;
    let base = size.base_at_or_after(Lsn::new(summary.end));
    let epoch = summary.epoch.checked_add(1)?;
    Some(Next { epoch, lsn: size.frame_start(base).get(), file: segment_name(base) })
}
