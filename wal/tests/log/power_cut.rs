//! Power cuts and kills on a simulated disk: nothing acknowledged is lost, nothing is refused.
//!
//! Each seed is one life of a log: random records, holes, void frames, padding and roll-overs,
//! syncs of the contiguous prefix, write-back by the kernel's whim, then a power cut or a kill,
//! recovery by the real code, and on into the next boot, which may itself be cut down at any step.
//! Now and then a snapshot of what was acknowledged is taken, and the segments before the last one
//! but one are removed. The power may go at any step of that too, while a segment is half made,
//! before its name is durable, and while recovery syncs; recovery begins at a snapshot that survived
//! whole or, where the log still reaches back so far, at the first record.
//! `WAL_SEEDS` sets the number of seeds (400 unless set).
//!
//! Mistakes are made on purpose, each in a test of its own that demands to see it fail:
//! acknowledging without a sync, recovery without its sync, a hole skipped by the syncer, segments
//! removed newest first, or beyond what the snapshots hold, names given to segments or snapshots
//! that were not synced, and segments used whose names were not.
#![allow(clippy::cast_possible_truncation, reason = "test segments are far below 4 GiB")]

use std::collections::BTreeSet;

use tempfile::TempDir;
use wal::Lsn;
use wal::header::{Link, SegmentHeader, temporary_name};
use wal::recovery::NextSegment;
use wal::retention::removable;

use crate::support::disk::{Contents, Dice, Disk};
use crate::support::{SIZE, Seen, Writer, directory, recovered_from};

/// A mistake made on purpose.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Mistake {
    None,
    /// The syncer publishes `durable` without having synced.
    NoSync,
    /// Recovery does not sync what it vouches for in the next header.
    NoSyncInRecovery,
    /// The syncer steps over a frame that is still reserved.
    SkipHole,
    /// The youngest of the segments to be removed goes first.
    RemoveNewestFirst,
    /// What is durable is removed whether or not a snapshot holds it.
    RemoveBeyondSnapshots,
    /// A segment gets its final name without having been synced.
    NameSegmentFirst,
    /// A segment is written to although its name is not durable.
    UseUnsyncedName,
    /// A snapshot gets its final name without having been synced.
    NameSnapshotFirst,
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    Lost(String),
    Refused(String),
}

/// How often rare things happened, so that a test can demand that they did.
#[derive(Default, Debug)]
struct Tally {
    cuts: u64,
    kills: u64,
    torn: u64,
    clean_ends: u64,
    acknowledged: u64,
    beyond_durable: u64,
    voids: u64,
    roll_overs: u64,
    crashed_while_naming: u64,
    cut_while_booting: u64,
    dead_segments: u64,
    removed_segments: u64,
    cut_while_removing: u64,
    snapshots: u64,
    cut_in_a_snapshot: u64,
    cut_in_recovery: u64,
    half_made: u64,
    starts: u64,
    empty_tails: u64,
}

struct Life<'a> {
    dice: Dice,
    mistake: Mistake,
    tally: &'a mut Tally,
    directory: TempDir,
    disk: Disk,
    writer: Writer,
    /// Reserved frames that are not decided, by position.
    open: Vec<(Lsn, Vec<u8>)>,
    /// Records committed in this boot, in any order, and those recovered at its beginning.
    written: Vec<Seen>,
    /// Bases of the segments that were removed in this boot.
    removed: BTreeSet<u64>,
    /// Everything before this position was acknowledged.
    acknowledged: Lsn,
    /// Positions of the two newest snapshots: everything before them is known without the log.
    snapshots: [Lsn; 2],
}

impl<'a> Life<'a> {
    fn begin(seed: u64, mistake: Mistake, tally: &'a mut Tally) -> Self {
        let mut dice = Dice(seed);
        let sector = if dice.one_in(2) { 512 } else { 4096 };
        let writer = Writer::new();
        let mut disk = Disk::new(sector);
        disk.rename_in(0, writer.segments[&0].bytes.clone(), Contents::Synced);
        disk.sync_directory();
        Self {
            dice,
            mistake,
            tally,
            directory: directory(),
            disk,
            writer,
            open: Vec::new(),
            written: Vec::new(),
            removed: BTreeSet::new(),
            acknowledged: Lsn::ZERO,
            snapshots: [Lsn::ZERO; 2],
        }
    }

    fn run(mut self) -> Result<(), Failure> {
        for _ in 0..3 {
            let mut running = true;
            for _ in 0..self.dice.below(60) {
                running = running && self.step();
            }
            if running && (!self.dice.one_in(8) || self.close()) {
                self.crash();
            }
            while !self.boot()? {}
        }
        Ok(())
    }

    /// One thing that happens to a log; `false` if it crashed while it did.
    fn step(&mut self) -> bool {
        match self.dice.below(16) {
            0..5 => self.append(),
            5 => self.reserve(),
            6 => self.decide(),
            7..9 => {
                self.sync();
                true
            }
            9 => {
                self.disk.write_back_some(&mut self.dice);
                true
            }
            10 => {
                self.writer.pad_page();
                self.flush_writes()
            }
            11 => {
                if self.writer.segments.len() < 12 && self.dice.one_in(4) {
                    self.writer.prepare();
                }
                self.flush_writes()
            }
            12..15 => self.take_snapshot(),
            _ => self.remove_oldest(),
        }
    }

    /// What the checkpoints do: the file, its name, the names made durable, and the oldest one
    /// removed; `false` if the power was cut meanwhile.
    fn take_snapshot(&mut self) -> bool {
        let [_, newest] = self.snapshots;
        if self.acknowledged == newest {
            return true;
        }
        let survives = |life: &mut Self| {
            let cut = life.dice.one_in(24);
            if cut {
                life.tally.cut_in_a_snapshot += 1;
                life.cut_power();
            }
            !cut
        };
        // A part of it under a temporary name is nothing that anybody looks at.
        if !survives(self) {
            return false;
        }
        let contents = match self.mistake {
            Mistake::NameSnapshotFirst => Contents::Unsynced,
            _ => Contents::Synced,
        };
        self.disk.name_snapshot(self.acknowledged.get(), contents);
        if !survives(self) {
            return false;
        }
        self.disk.sync_directory();
        self.tally.snapshots += 1;
        self.snapshots = [newest, self.acknowledged];
        let whole = self.disk.whole_snapshots();
        for &surplus in &whole[..whole.len().saturating_sub(2)] {
            self.disk.remove_snapshot(surplus);
        }
        survives(self)
    }

    /// What the log does to segments that nobody needs; `false` if the power was cut meanwhile.
    fn remove_oldest(&mut self) -> bool {
        let mut floor = self.snapshots[0];
        if self.mistake == Mistake::RemoveBeyondSnapshots {
            floor = self.acknowledged;
        }
        let bases = self.disk.bases();
        let ends = bases.iter().map(|&base| SIZE.base_after(Lsn::new(base)));
        let mut going = bases[..removable(ends, floor)].to_vec();
        if self.mistake == Mistake::RemoveNewestFirst {
            going.reverse();
        }
        for base in going {
            self.disk.remove(base);
            self.removed.insert(base);
            self.tally.removed_segments += 1;
            if self.dice.one_in(6) {
                self.tally.cut_while_removing += 1;
                self.cut_power();
                return false;
            }
            self.disk.sync_directory();
        }
        true
    }

    fn payload(&mut self) -> Vec<u8> {
        let longest = if self.dice.one_in(6) { 60_000 } else { 600 };
        let bytes = self.dice.below(longest);
        let fill = self.dice.next() as u8;
        vec![fill; bytes]
    }

    fn append(&mut self) -> bool {
        let payload = self.payload();
        let lsn = self.writer.append(&payload);
        self.written.push((lsn, payload));
        self.flush_writes()
    }

    fn reserve(&mut self) -> bool {
        let payload = self.payload();
        let lsn = self.writer.reserve(&payload);
        self.open.push((lsn, payload));
        self.flush_writes()
    }

    /// One of the open reservations is filled or given up.
    fn decide(&mut self) -> bool {
        if self.open.is_empty() {
            return true;
        }
        let (lsn, payload) = self.open.swap_remove(self.dice.below(self.open.len()));
        if self.dice.one_in(2) {
            self.tally.voids += 1;
            self.writer.void(lsn);
        } else {
            self.writer.commit(lsn);
            self.written.push((lsn, payload));
        }
        self.flush_writes()
    }

    /// New segments and written ranges go to the disk's cache; `false` if it crashed when a new one
    /// had its name, and that was not durable.
    fn flush_writes(&mut self) -> bool {
        let known = self.disk.bases();
        for (&base, segment) in &self.writer.segments {
            if !known.contains(&base) && !self.removed.contains(&base) {
                self.tally.roll_overs += 1;
                let contents = match self.mistake {
                    Mistake::NameSegmentFirst => Contents::Unsynced,
                    _ => Contents::Synced,
                };
                self.disk.rename_in(base, fresh_file(&segment.header), contents);
                if self.dice.one_in(12) {
                    self.tally.crashed_while_naming += 1;
                    self.crash();
                    return false;
                }
                if self.mistake != Mistake::UseUnsyncedName {
                    self.disk.sync_directory();
                }
            }
        }
        for (base, range) in std::mem::take(&mut self.writer.writes) {
            assert!(!self.removed.contains(&base), "a segment in use was removed");
            self.disk.write(base, range, &self.writer.segments[&base].bytes);
        }
        true
    }

    /// What the syncer does: the contiguous committed prefix becomes durable and is acknowledged.
    fn sync(&mut self) {
        let hole = self.open.iter().map(|&(lsn, _)| lsn).min();
        let published = match hole {
            Some(hole) if self.mistake != Mistake::SkipHole => hole,
            _ => self.writer.tail,
        };
        if self.mistake != Mistake::NoSync {
            for base in self.disk.bases() {
                if (SIZE.base_of(self.writer.durable).get()..published.get()).contains(&base) {
                    self.disk.sync(base);
                }
            }
        }
        self.writer.durable = published;
        // The first frame of a segment begins where the frame before it ends, a header aside.
        self.acknowledged = if SIZE.offset_of(published) != 4096 {
            published
        } else if self.writer.segment(published).header.link == Link::Continues {
            SIZE.base_of(published)
        } else {
            self.acknowledged
        };
    }

    /// An orderly end: everything decided, synced, sealed, synced; `false` if it crashed meanwhile.
    fn close(&mut self) -> bool {
        for (lsn, _) in std::mem::take(&mut self.open) {
            self.writer.void(lsn);
        }
        if !self.flush_writes() {
            return false;
        }
        self.sync();
        self.writer.seal();
        if !self.flush_writes() {
            return false;
        }
        self.sync();
        true
    }

    fn crash(&mut self) {
        if self.dice.one_in(4) {
            self.tally.kills += 1;
            self.open.clear();
        } else {
            self.cut_power();
        }
    }

    fn cut_power(&mut self) {
        self.tally.cuts += 1;
        self.disk.cut_power(&mut self.dice);
        self.open.clear();
    }

    /// Where recovery begins: a snapshot that reaches the log, or the beginning while it is there.
    fn start(&mut self) -> Lsn {
        let first = self.disk.bases().first().copied().unwrap_or_default();
        let mut starts = self.snapshots.to_vec();
        starts.push(Lsn::ZERO);
        starts.retain(|start| start.get() >= first);
        // Without any: the newest, so that the refusal is seen.
        let newest = self.snapshots[1];
        if starts.is_empty() { newest } else { starts[self.dice.below(starts.len())] }
    }

    /// A segment may have been in the making when the power was cut: any part of it is there.
    fn leave_half_made(&mut self) {
        if self.dice.one_in(4) {
            self.tally.half_made += 1;
            let base = self.disk.bases().last().map_or(Lsn::ZERO, |&last| Lsn::new(last));
            let mut bytes = vec![0; self.dice.below(9_000)];
            bytes.iter_mut().step_by(7).for_each(|byte| *byte = self.dice.next() as u8);
            let path = self.directory.path().join(temporary_name(SIZE.base_after(base)));
            std::fs::write(path, bytes).unwrap();
        }
    }

    /// Recovers and begins the next epoch; `false` if the power was cut while it did.
    fn boot(&mut self) -> Result<bool, Failure> {
        self.disk.save(self.directory.path());
        self.leave_half_made();
        let whole = self.disk.whole_snapshots();
        let newest = |back: usize| whole.iter().rev().nth(back).map_or(Lsn::ZERO, |&l| Lsn::new(l));
        self.snapshots = [newest(1), newest(0)];
        let start = self.start();
        let (outcome, mut seen) = match recovered_from(self.directory.path(), start) {
            Ok(recovered) => recovered,
            Err(error) => return Err(Failure::Refused(error.to_string())),
        };
        if self.mistake != Mistake::NoSyncInRecovery {
            for base in self.disk.bases() {
                if self.dice.one_in(60) {
                    self.tally.cut_in_recovery += 1;
                    self.disk.cut_power(&mut self.dice);
                    return Ok(false);
                }
                self.disk.sync(base);
            }
        }
        if start > Lsn::ZERO {
            self.tally.starts += 1;
            self.tally.empty_tails += u64::from(seen.is_empty());
            // What the snapshot holds.
            self.written.sort_unstable();
            let held = self.written.partition_point(|(lsn, _)| *lsn < start);
            seen.splice(0..0, self.written[..held].iter().cloned());
        }
        self.check(&seen, outcome.report.end)?;
        self.tally.torn += u64::from(outcome.report.torn.is_some());
        self.tally.clean_ends += u64::from(outcome.report.clean);
        self.tally.dead_segments += outcome.next.dead.len() as u64;
        if !self.enter(&outcome.next) {
            self.tally.cut_while_booting += 1;
            self.disk.cut_power(&mut self.dice);
            return Ok(false);
        }
        // From here on clients see what was recovered.
        self.acknowledged = outcome.report.end;
        self.written = seen;
        Ok(true)
    }

    /// Exactly what was written, in order, and at least everything that was acknowledged.
    fn check(&mut self, seen: &[Seen], end: Lsn) -> Result<(), Failure> {
        self.written.sort_unstable();
        let acknowledged = self.written.partition_point(|(lsn, _)| *lsn < self.acknowledged);
        self.tally.acknowledged += acknowledged as u64;
        if seen.len() < acknowledged || end < self.acknowledged {
            let (found, due) = (seen.len(), self.acknowledged);
            return Err(Failure::Lost(format!("{found} of {acknowledged}, end {end} < {due}")));
        }
        self.tally.beyond_durable += (seen.len() - acknowledged) as u64;
        if self.written.get(..seen.len()) != Some(seen) {
            return Err(Failure::Lost("another record than was written".to_owned()));
        }
        Ok(())
    }

    /// The steps of [`NextSegment`], any of which may be the last before a power cut.
    fn enter(&mut self, next: &NextSegment) -> bool {
        let survives = |dice: &mut Dice| !dice.one_in(12);
        if !survives(&mut self.dice) {
            return false;
        }
        for path in &next.dead {
            let base = self.disk.bases().into_iter().next_back().unwrap();
            assert!(path.ends_with(wal::header::segment_name(Lsn::new(base))), "last one first");
            self.disk.remove(base);
            if !survives(&mut self.dice) {
                return false;
            }
            self.disk.sync_directory();
        }
        let bases = self.disk.bases();
        self.removed.clear();
        self.writer.segments.retain(|base, _| bases.contains(base));
        for base in bases {
            // The writer goes on from what there is on the disk, not from what it once wrote.
            let image = self.disk.image(base).to_vec();
            self.writer.segments.get_mut(&base).unwrap().bytes = image;
        }
        let header = next.header(self.writer.next_salt(), 0);
        self.disk.rename_in(next.base.get(), fresh_file(&header), Contents::Synced);
        if !survives(&mut self.dice) {
            // The writer must know the header that may have survived.
            self.writer.insert(header);
            return false;
        }
        self.disk.sync_directory();
        self.writer.boot_with(next, header);
        self.writer.writes.clear();
        true
    }
}

/// A segment's file as it gets its name: header and zeros.
fn fresh_file(header: &SegmentHeader) -> Vec<u8> {
    let mut bytes = vec![0; SIZE.get() as usize];
    bytes[..4096].copy_from_slice(&header.encode());
    bytes
}

fn seeds() -> u64 {
    std::env::var("WAL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Runs seeds until one fails.
fn first_failure(mistake: Mistake, tally: &mut Tally) -> Option<(u64, Failure)> {
    (0..seeds()).find_map(|seed| {
        let outcome = Life::begin(seed, mistake, tally).run();
        outcome.err().map(|failure| (seed, failure))
    })
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_refused() {
    let mut tally = Tally::default();
    let failure = first_failure(Mistake::None, &mut tally);
    assert_eq!(failure, None, "{tally:?}");
    let Tally { cuts, kills, torn, clean_ends, acknowledged, beyond_durable, .. } = tally;
    let Tally { voids, roll_overs, crashed_while_naming, .. } = tally;
    let Tally { cut_while_booting, dead_segments, .. } = tally;
    let Tally { removed_segments, cut_while_removing, starts, empty_tails, .. } = tally;
    let Tally { snapshots, cut_in_a_snapshot, cut_in_recovery, half_made, .. } = tally;
    println!("{tally:?}");
    // Each of these must have happened, or the test tests less than it says.
    for (count, what) in [
        (cuts, "power cuts"),
        (kills, "kills"),
        (torn, "torn tails"),
        (clean_ends, "clean ends"),
        (acknowledged, "acknowledged records"),
        (beyond_durable, "records that survived without having been acknowledged"),
        (voids, "void frames"),
        (roll_overs, "roll-overs"),
        (crashed_while_naming, "crashes before a new segment's name is durable"),
        (cut_while_booting, "power cuts while booting"),
        (dead_segments, "dead segments removed"),
        (removed_segments, "segments removed below a snapshot"),
        (cut_while_removing, "power cuts while removing"),
        (snapshots, "snapshots"),
        (cut_in_a_snapshot, "power cuts while a snapshot is made"),
        (cut_in_recovery, "power cuts while recovery syncs"),
        (half_made, "half-made segments"),
        (starts, "starts from a snapshot"),
        (empty_tails, "snapshots behind which nothing was logged"),
    ] {
        assert!(count > 0, "no {what} in any seed");
    }
}

#[test]
fn leaving_out_the_sync_is_noticed() {
    let failure = first_failure(Mistake::NoSync, &mut Tally::default());
    assert!(failure.is_some(), "acknowledging without a sync must lose something");
}

#[test]
fn leaving_out_the_sync_of_recovery_is_noticed() {
    let failure = first_failure(Mistake::NoSyncInRecovery, &mut Tally::default());
    assert!(failure.is_some(), "a header that vouches for what is not on the medium must show");
}

#[test]
fn a_syncer_that_skips_holes_is_noticed() {
    let failure = first_failure(Mistake::SkipHole, &mut Tally::default());
    assert!(failure.is_some(), "a frame that was never filled stands before acknowledged ones");
}

#[test]
fn removing_the_newest_first_is_noticed() {
    let failure = first_failure(Mistake::RemoveNewestFirst, &mut Tally::default());
    assert!(
        matches!(failure, Some((_, Failure::Refused(_)))),
        "a gap must be refused: {failure:?}"
    );
}

#[test]
fn removing_what_no_snapshot_holds_is_noticed() {
    let failure = first_failure(Mistake::RemoveBeyondSnapshots, &mut Tally::default());
    match failure {
        Some((_, Failure::Refused(text))) => assert!(text.contains("were removed"), "{text}"),
        other => panic!("a log without its beginning must be refused: {other:?}"),
    }
}

#[test]
fn naming_a_segment_before_it_is_synced_is_noticed() {
    let failure = first_failure(Mistake::NameSegmentFirst, &mut Tally::default());
    assert!(
        matches!(failure, Some((_, Failure::Refused(_)))),
        "a torn header under a final name must be refused: {failure:?}"
    );
}

#[test]
fn using_a_segment_whose_name_is_not_durable_is_noticed() {
    let failure = first_failure(Mistake::UseUnsyncedName, &mut Tally::default());
    assert!(
        matches!(failure, Some((_, Failure::Lost(_)))),
        "what was acknowledged in a file without a name is lost: {failure:?}"
    );
}

#[test]
fn naming_a_snapshot_before_it_is_synced_is_noticed() {
    let failure = first_failure(Mistake::NameSnapshotFirst, &mut Tally::default());
    assert!(failure.is_some(), "a log whose beginning only torn snapshots hold must show");
}
