//! A simulated disk under a log: what was synced stays, what was not may survive in any part.
//!
//! Every file has two images: what a running system sees (`cache`) and what a power cut leaves
//! (`medium`). A write touches the first only and marks sectors dirty; a sync copies all dirty
//! sectors of one file; write-back copies any of them at any time, since a kernel may; a power cut
//! copies a random subset and then forgets the cache. Sectors are 512 or 4,096 bytes, and a write
//! is torn between them, never within: that is the assumption that wal/README.md states.
//!
//! Names are durable after the directory is synced; before that a power cut keeps any prefix of
//! the changes, as a journaling file system does.
//!
//! Of a snapshot's file only its position is known, and whether it is whole.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use wal::Lsn;
use wal::header::segment_name;

use super::save_file;

/// A small generator, so that a seed gives the same run everywhere and for ever (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone)]
struct SimFile {
    cache: Vec<u8>,
    medium: Vec<u8>,
    dirty: Vec<bool>,
}

impl SimFile {
    fn write_back(&mut self, sector: usize, bytes: usize) {
        let range = sector * bytes..(sector + 1) * bytes;
        self.medium[range.clone()].copy_from_slice(&self.cache[range]);
        self.dirty[sector] = false;
    }
}

#[derive(Clone)]
enum NameChange {
    Put(u64, Vec<u8>, Contents),
    Remove(u64),
    PutSnapshot(u64, Contents),
    RemoveSnapshot(u64),
}

/// What the medium has of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// All of it.
    Synced,
    /// Any part.
    Unsynced,
    /// Not all of it.
    Torn,
}

/// Snapshots by position.
type Snapshots = BTreeMap<u64, Contents>;

/// Shared until written, so that remembering names before a change costs nothing.
type Files = BTreeMap<u64, Rc<SimFile>>;

/// The files of one log, by base.
pub struct Disk {
    sector: usize,
    files: Files,
    snapshots: Snapshots,
    /// Changes of names since the directory was synced, and the names before them.
    names: Vec<NameChange>,
    named_before: (Files, Snapshots),
}

impl Disk {
    pub fn new(sector: usize) -> Self {
        let (files, snapshots) = <(Files, Snapshots)>::default();
        Self { sector, files, snapshots, names: Vec::new(), named_before: Default::default() }
    }

    /// A complete file gets its final name; it was synced, or its medium has nothing of it yet.
    pub fn rename_in(&mut self, base: u64, bytes: Vec<u8>, contents: Contents) {
        self.change(NameChange::Put(base, bytes, contents));
    }

    pub fn remove(&mut self, base: u64) {
        self.change(NameChange::Remove(base));
    }

    /// A snapshot gets its final name.
    pub fn name_snapshot(&mut self, lsn: u64, contents: Contents) {
        self.change(NameChange::PutSnapshot(lsn, contents));
    }

    pub fn remove_snapshot(&mut self, lsn: u64) {
        self.change(NameChange::RemoveSnapshot(lsn));
    }

    /// The snapshots that can be read, oldest first.
    pub fn whole_snapshots(&self) -> Vec<u64> {
        let whole = self.snapshots.iter().filter(|(_, contents)| **contents != Contents::Torn);
        whole.map(|(&lsn, _)| lsn).collect()
    }

    fn change(&mut self, change: NameChange) {
        if self.names.is_empty() {
            self.named_before = (self.files.clone(), self.snapshots.clone());
        }
        apply((&mut self.files, &mut self.snapshots), &change, self.sector);
        self.names.push(change);
    }

    pub fn sync_directory(&mut self) {
        self.names.clear();
        self.named_before = Default::default();
    }

    pub fn write(&mut self, base: u64, range: Range<usize>, image: &[u8]) {
        let file = Rc::make_mut(self.files.get_mut(&base).unwrap());
        file.cache[range.clone()].copy_from_slice(&image[range.clone()]);
        for sector in range.start / self.sector..range.end.div_ceil(self.sector) {
            file.dirty[sector] = true;
        }
    }

    pub fn sync(&mut self, base: u64) {
        let file = Rc::make_mut(self.files.get_mut(&base).unwrap());
        for sector in 0..file.dirty.len() {
            if file.dirty[sector] {
                file.write_back(sector, self.sector);
            }
        }
    }

    pub fn bases(&self) -> Vec<u64> {
        self.files.keys().copied().collect()
    }

    /// The kernel writes back some dirty sectors because it feels like it.
    pub fn write_back_some(&mut self, dice: &mut Dice) {
        let keep_one_in = 1 + dice.below(8);
        for file in self.files.values_mut().filter(|file| file.dirty.contains(&true)) {
            let file = Rc::make_mut(file);
            for sector in 0..file.dirty.len() {
                if file.dirty[sector] && dice.one_in(keep_one_in) {
                    file.write_back(sector, self.sector);
                }
            }
        }
    }

    /// Power is lost. A new medium; nothing is dirty after it.
    pub fn cut_power(&mut self, dice: &mut Dice) {
        self.write_back_some(dice);
        if !self.names.is_empty() {
            let survive = dice.below(self.names.len() + 1);
            let (mut files, mut snapshots) = std::mem::take(&mut self.named_before);
            for change in self.names.drain(..).take(survive) {
                apply((&mut files, &mut snapshots), &change, self.sector);
            }
            // Contents are those of the files as they are now, for those that kept their names; two
            // files of one name have different headers.
            for (base, file) in &mut files {
                if let Some(now) = self.files.get(base)
                    && now.cache[..4096] == file.cache[..4096]
                {
                    *file = now.clone();
                }
            }
            (self.files, self.snapshots) = (files, snapshots);
        }
        for contents in self.snapshots.values_mut().filter(|c| **c == Contents::Unsynced) {
            *contents = if dice.one_in(4) { Contents::Synced } else { Contents::Torn };
        }
        for file in self.files.values_mut().filter(|file| file.dirty.contains(&true)) {
            let file = Rc::make_mut(file);
            file.cache.clone_from(&file.medium);
            file.dirty.fill(false);
        }
    }

    /// What a process sees that starts now.
    pub fn save(&self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (base, file) in &self.files {
            save_file(&directory.join(segment_name(Lsn::new(*base))), &file.cache);
        }
    }

    pub fn image(&self, base: u64) -> &[u8] {
        &self.files[&base].cache
    }
}

fn apply((files, snapshots): (&mut Files, &mut Snapshots), change: &NameChange, sector: usize) {
    match change {
        NameChange::Put(base, bytes, contents) => {
            let synced = *contents == Contents::Synced;
            let medium = if synced { bytes.clone() } else { vec![0; bytes.len()] };
            let dirty = vec![!synced; bytes.len() / sector];
            files.insert(*base, Rc::new(SimFile { cache: bytes.clone(), medium, dirty }));
        }
        NameChange::Remove(base) => drop(files.remove(base)),
        NameChange::PutSnapshot(lsn, contents) => _ = snapshots.insert(*lsn, *contents),
        NameChange::RemoveSnapshot(lsn) => _ = snapshots.remove(lsn),
    }
}
