//! `stats`: what a log consists of, and what recovery would do with it now.
//!
//! The frames are counted first, on past any damage, and the verdict is reached in a second pass.
//! Beside a running server the second may therefore find more than the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use booking_manager::codec;
use booking_manager::domain::Timestamp;
use booking_manager::image::snapshot;
use serde::Serialize;
use wal::chain::Segment;
use wal::frame::FrameView;
use wal::header::segment_name;
use wal::{Kind, Lsn, Reader, SegmentSize};

use crate::Status;
use crate::arguments::Census;
use crate::fault::{Fault, refused_record, shown_path};
use crate::fields;
use crate::frames::{self, Found};
use crate::instant;
use crate::output::Output;
use crate::progress::Progress;
use crate::rates::{Bucket, Rates};
use crate::snapshots::{self, Identity, Shelved};
use crate::verdict::{Summary, Verdict};

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
    files: Vec<SegmentFile>,
}

/// One segment file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct SegmentFile {
    file: String,
    first: u64,
    epoch: u32,
    /// When it was made, which may be long before it was used.
    created: String,
    records: u64,
    /// Of whole frames.
    bytes: u64,
}

/// How long recovery would take.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Estimate {
    /// To load the snapshot, if it would begin with one.
    snapshot_seconds: f64,
    /// Bytes of frames that it would read behind that.
    bytes: u64,
    records: u64,
    /// As fast as they were read from the disk, checked and applied just now.
    bytes_per_second: f64,
    records_per_second: f64,
    /// In all.
    seconds: f64,
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
    rates: Vec<Bucket>,
    #[serde(skip)]
    table: Rates,
    /// Oldest first; whole or not, but not compared with the log.
    snapshots: Vec<Shelved>,
    damage: Vec<Fault>,
    recovery: Verdict,
    /// `None` if it would not.
    next: Option<Next>,
    estimate: Option<Estimate>,
}

/// Counts.
///
/// # Errors
/// The log cannot be read, or the answer not be written.
pub fn stats(census: &Census, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let tally = Tally::of(census)?;
    if census.place.json {
        output.json(&tally)?
    } else {
        tally.show(census.segments, output)?
    }
    let sound = tally.damage.is_empty()
        && tally.recovery.status() == Status::Sound
        && !tally.snapshots.iter().any(Shelved::is_damaged);
    Ok(if sound { Status::Sound } else { Status::Damaged })
}

impl<'a> Tally<'a> {
    fn of(census: &'a Census) -> anyhow::Result<Self> {
        let directory = &census.place.directory;
        let (from, to) = frames::extent(directory);
        let mut progress = Progress::over("counting", from, to);
        let (mut kinds, mut damage) = (BTreeMap::new(), Vec::new());
        let (mut table, mut uses) = (Rates::new(census.bucket), BTreeMap::new());
        frames::each(directory, |found| {
            match found {
                Found::Frame(view, frames) => {
                    progress.reach(view.header.lsn);
                    let (records, bytes) = uses.entry(frames.base_of(view.header.lsn)).or_default();
                    *records += u64::from(!view.header.kind.is_internal());
                    *bytes += view.header.span() as u64;
                    if let Err(reason) = count(&mut kinds, &mut table, &view) {
                        damage.push(frames.fault(view.header.lsn, reason));
                    }
                }
                Found::Damage(fault, _) => damage.push(fault),
                // Only a log that is being followed is read twice.
                Found::TakenBack(..) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        drop(progress);
        let (snapshots, _) =
            snapshots::shelve(&snapshot::list(directory)?, Identity::of(directory));
        let recovery = Verdict::on(directory)?;
        // A log whose headers cannot be read has said so above.
        let reader = Reader::open(directory).ok();
        let segments = reader.as_ref().and_then(|reader| Segments::of(reader, &uses));
        let next = next(&recovery, segments.as_ref());
        let kinds = kinds.into_values().collect();
        let (rates, estimate) = (table.buckets(), Estimate::of(&recovery));
        Ok(Self {
            directory,
            segments,
            kinds,
            rates,
            table,
            snapshots,
            damage,
            recovery,
            next,
            estimate,
        })
    }

    fn show(&self, files: bool, output: &mut Output<impl Write>) -> anyhow::Result<()> {
        output.line(format_args!("directory     {}", self.directory.display()))?;
        if let Some(Segments { count, bytes_each, first, end, epochs, .. }) = &self.segments {
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
        if files {
            self.segments.iter().try_for_each(|segments| segments.show(output))?;
        }
        if !self.rates.is_empty() {
            output.line(format_args!("\n{}", self.table))?;
        }
        output.line("")?;
        for snapshot in &self.snapshots {
            let age = snapshot.age_seconds.map(|age| format!(", made {age} s ago"));
            output.line(format_args!("snapshot      {snapshot}{}", age.unwrap_or_default()))?;
        }
        for fault in &self.damage {
            output.line(format_args!("damage        {fault}"))?;
        }
        output.line(format_args!("recovery now\n{}", self.recovery))?;
        if let Some(Next { epoch, lsn, file }) = &self.next {
            output
                .line(format_args!("next          epoch {epoch} from LSN {lsn} on, in {file}"))?;
        }
        self.estimate.iter().try_for_each(|estimate| output.line(estimate))
    }
}

impl Estimate {
    /// From how long the verdict took. `None` if recovery would not go on, or has nothing to read.
    fn of(recovery: &Verdict) -> Option<Self> {
        let Verdict::Sound(summary) = recovery else {
            return None;
        };
        let Summary { begun, bytes, records, loading, elapsed, .. } = summary;
        let (seconds, snapshot_seconds) = (elapsed.as_secs_f64(), loading.as_secs_f64());
        let records = records - begun.map_or(0, |begun| begun.records);
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let rate = |count: u64| count as f64 / seconds;
        (begun.is_some() || (*bytes > 0 && seconds > 0.0)).then(|| Self {
            snapshot_seconds: if begun.is_some() { snapshot_seconds } else { 0.0 },
            bytes: *bytes,
            records,
            bytes_per_second: if *bytes > 0 { rate(*bytes) } else { 0.0 },
            records_per_second: if records > 0 { rate(records) } else { 0.0 },
            seconds: if begun.is_some() { snapshot_seconds + seconds } else { seconds },
        })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes_per_second / 1e6;
        write!(f, "would take    about {:.2} s: ", self.seconds)?;
        if self.snapshot_seconds > 0.0 {
            write!(
                f,
                "{:.2} s for the snapshot, {} bytes of tail, ",
                self.snapshot_seconds, self.bytes
            )?;
        }
        write!(f, "{megabytes:.0} MB/s, {:.0} records/s just now", self.records_per_second)
    }
}

/// Adds a frame to its kind; says what is wrong with a record that does not decode.
fn count(
    kinds: &mut BTreeMap<u16, Share>,
    rates: &mut Rates,
    view: &FrameView<'_>,
) -> Result<(), String> {
    let kind = view.header.kind;
    let decoded = if kind.is_internal() {
        Ok(internal_name(kind).to_owned())
    } else {
        let name = |fact: Option<_>| match fact {
            Some(fact) => {
                rates.count(&fact);
                fields::kind(&fact).to_owned()
            }
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
    fn of(reader: &Reader, uses: &BTreeMap<Lsn, (u64, u64)>) -> Option<Self> {
        let segments = reader.segments();
        let file = |segment: &Segment| {
            let (records, bytes) = uses.get(&segment.header.base).copied().unwrap_or_default();
            SegmentFile {
                file: segment.header.file_name(),
                first: segment.header.base.get(),
                epoch: segment.header.epoch,
                created: instant::show(Timestamp::from_millis(segment.header.created_ms)),
                records,
                bytes,
            }
        };
        let (first, last) = (segments.first()?, segments.last()?);
        let epochs: BTreeSet<u32> = segments.iter().map(|segment| segment.header.epoch).collect();
        Some(Self {
            count: segments.len(),
            bytes_each: first.header.segment_size.get(),
            first: first.header.base.get(),
            end: last.header.end().get(),
            epochs: epochs.len(),
            files: segments.iter().map(file).collect(),
        })
    }

    fn show(&self, output: &mut Output<impl Write>) -> anyhow::Result<()> {
        output.line(format_args!(
            "\n{:<24} {:>5} {:<24} {:>10} {:>12}",
            "file", "epoch", "made", "records", "bytes"
        ))?;
        self.files.iter().try_for_each(|segment| {
            let SegmentFile { file, first: _, epoch, created, records, bytes } = segment;
            output.line(format_args!("{file} {epoch:>5} {created} {records:>10} {bytes:>12}"))
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
