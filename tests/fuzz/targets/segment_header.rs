//! Segment headers: no bytes make decoding panic, and what decodes encodes to the same bytes. Half
//! of the inputs are given a right checksum, to get past it.

use wal::header::SegmentHeader;

pub(crate) fn run(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    let mut header = vec![0; 4096];
    let length = bytes.len().min(header.len());
    header[..length].copy_from_slice(&bytes[..length]);
    let crc = crc32fast::hash(&header[12..]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    if let Ok(decoded) = SegmentHeader::decode(&header) {
        assert_eq!(&decoded.encode()[..], &header[..]);
    }
}
