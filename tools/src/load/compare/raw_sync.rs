//! What the disk does by itself.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::load::clock::now;

/// How many are done.
const SYNCS: u64 = 50;
const BLOCK_BYTES: usize = 4_096;

/// Microseconds that an `fdatasync` of a freshly written 4 KiB block takes, in the median.
pub(super) fn micros(directory: &Path) -> anyhow::Result<f64> {
    let path = directory.join("raw");
    let file = File::create(&path)?;
    let blocks = usize::try_from(SYNCS)?;
    file.write_all_at(&vec![0; blocks * BLOCK_BYTES], 0)?;
    file.sync_all()?;
    let mut all = Vec::with_capacity(blocks);
    for block in 0..SYNCS {
        file.write_all_at(&[7; BLOCK_BYTES], block * BLOCK_BYTES as u64)?;
        let begun = now();
        file.sync_data()?;
        all.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    Ok(super::summary::median(&all))
}
