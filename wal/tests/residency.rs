//! What of the log is in memory: pages come in as they are written, one by one.
//!
//! A page that is read before it was written through comes with many others in a large folio, and
//! then each sync of one record writes the whole folio: 2 MiB instead of 5 KiB were seen, and a
//! quarter of the bookings.
#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::convert::Infallible;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use wal::header::segment_name;
use wal::{Log, Lsn, Options};

const PAGE_BYTES: usize = 4_096;
/// `TMPFS_MAGIC`: there the allocated blocks are memory themselves.
const TMPFS: i64 = 0x0102_1994;

/// For each page of a file whether it is in memory. Looking brings none in.
fn residency(path: &Path) -> Vec<bool> {
    let file = File::open(path).unwrap();
    // SAFETY: nothing is read through the mapping.
    let map = unsafe { Mmap::map(&file) }.unwrap();
    let mut pages = vec![0_u8; map.len().div_ceil(PAGE_BYTES)];
    // SAFETY: the range is the mapping's own, and `pages` has a byte for each of its pages.
    let failed =
        unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    pages.iter().map(|page| page & 1 == 1).collect()
}

#[test]
fn the_first_segment_comes_into_memory_as_it_is_written() {
    let place = tempfile::tempdir().unwrap();
    if rustix::fs::statfs(place.path()).unwrap().f_type == TMPFS {
        eprintln!("skipped: {} is in memory", place.path().display());
        return;
    }
    for _ in 0..50 {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.segment_bytes = 64 << 20;
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).unwrap();
        let pages = residency(&directory.path().join(segment_name(Lsn::ZERO)));
        drop(log);
        assert!(pages[0], "the header was just written");
        // Zeros come with pauses of 2 ms for each 256 KiB: they are half-way only where this thread
        // was kept from looking for 200 ms, and then the try is void.
        if !pages[pages.len() / 2..].contains(&true) {
            return;
        }
    }
    panic!("pages in memory that nobody has written");
}
