//! The files of the log, as far as a test that damages them must know them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::raw::find;

/// Length of a segment's header.
const HEADER_LEN: usize = 4_096;
/// Every frame begins at a multiple of this.
const FRAME_ALIGN: usize = 32;
/// Set in a commit word while its frame is reserved but not written.
const RESERVED: u32 = 1 << 31;

/// All segments under a data directory, in the order of the log.
fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![data_dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the data directory can be read") {
            let path = entry.expect("the data directory can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if is_segment(&path) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no wal-*.seg under {data_dir:?}");
    found.sort();
    found
}

fn bytes_of(segment: &Path) -> Vec<u8> {
    fs::read(segment).expect("a segment can be read")
}

/// All segments and their bytes.
pub(crate) fn segment_bytes(data_dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let with_bytes = |path: PathBuf| {
        let bytes = bytes_of(&path);
        (path, bytes)
    };
    segments(data_dir).into_iter().map(with_bytes).collect()
}

fn is_segment(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let digits =
        name.and_then(|name| name.strip_prefix("wal-")).and_then(|name| name.strip_suffix(".seg"));
    digits.is_some_and(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Where in the first segment that has it this text stands.
pub(crate) fn find_in_segments(data_dir: &Path, text: &str) -> (PathBuf, u64) {
    for path in segments(data_dir) {
        let bytes = bytes_of(&path);
        let end = end_of_records(&bytes);
        if let Some(at) = find(&bytes[..end], text.as_bytes()) {
            return (path, at as u64);
        }
    }
    panic!("{text:?} stands in no segment");
}

/// Inverts one bit; doing it twice changes nothing.
pub(crate) fn flip_byte(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("a segment can be opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("inside the file");
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    file.sync_all().unwrap();
}

/// Writes bytes behind the last record of the log; gives the segment written to.
pub(crate) fn write_behind_last_record(data_dir: &Path, bytes: &[u8]) -> PathBuf {
    let used = segments(data_dir).into_iter().rev().find_map(|path| {
        let segment = bytes_of(&path);
        let end = end_of_records(&segment);
        (end > HEADER_LEN).then_some((path, segment.len(), end))
    });
    let (path, len, end) = used.expect("some segment has records");
    let room = len - end;
    assert!(room >= bytes.len(), "only {room} bytes of room in {path:?}");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(bytes, end as u64).unwrap();
    file.sync_all().unwrap();
    path
}

/// Where the first free frame begins.
fn end_of_records(segment: &[u8]) -> usize {
    let mut at = HEADER_LEN;
    while let Some(word) = segment.get(at..at + 4) {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        if word == 0 || word & RESERVED != 0 {
            break;
        }
        at += (word as usize).next_multiple_of(FRAME_ALIGN);
    }
    at.min(segment.len())
}
