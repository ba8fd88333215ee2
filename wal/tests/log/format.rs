//! The bytes of format 1.0, fixed for ever, and the proof that no other bytes do harm.
//!
//! # The golden files
//!
//! `golden/format-1.0/*.seg.head` are the two segments of a small log as this crate wrote it when
//! the format was frozen: the first 12 KiB of each, of which the rest is zeros. They were made by
//! `golden_log` below, by running this test once with `WAL_WRITE_GOLDEN=1`. They must never be made
//! again: a change that makes a test here fail is a change of the format, needs another version in
//! the header, and these files must stay readable.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use wal::frame::{CommitWord, DurableClaim, Expected, FrameHeader, Seed, check, find, span_of};
use wal::header::{Link, SegmentHeader, segment_name};
use wal::{Kind, Lsn, PAYLOAD_BYTES_MAX, Reader, Record, RecordType};

use crate::support::{NOTE, SIZE, Writer, directory, recovered, save_file};

const GOLDEN_BYTES: usize = 12 << 10;
const GOLDEN_BASES: [Lsn; 2] = [Lsn::ZERO, SIZE.base_after(Lsn::ZERO)];

fn golden_path(base: Lsn) -> PathBuf {
    let name = segment_name(base) + ".head";
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1.0").join(name)
}

/// What the golden files hold. Every value that could vary is fixed.
fn golden_log() -> Writer {
    let mut writer = Writer::new();
    writer.append(b"the first record");
    writer.append_as(RecordType { kind: Kind::new(0x1234), version: 7, ignorable: true }, b"");
    let given_up = writer.reserve(b"given up");
    writer.void(given_up);
    writer.sync();
    writer.append(&[0xab; 100]);
    writer.pad_page();
    writer.seal();
    let dir = directory();
    writer.save(dir.path());
    let next = recovered(dir.path()).unwrap().0.next;
    writer.boot(&next);
    writer.append(b"second epoch");
    writer.internal(Kind::IDLE, 32);
    writer.reserve(b"never decided");
    writer
}

/// The golden segments at their full length.
fn golden() -> [Vec<u8>; 2] {
    GOLDEN_BASES.map(|base| {
        let mut bytes = fs::read(golden_path(base)).unwrap();
        assert_eq!(bytes.len(), GOLDEN_BYTES);
        bytes.resize(usize::try_from(SIZE.get()).unwrap(), 0);
        bytes
    })
}

#[test]
fn the_encoder_still_writes_the_golden_bytes() {
    let log = golden_log();
    for (base, golden) in GOLDEN_BASES.into_iter().zip(golden_or_made(&log)) {
        assert!(log.segment(base).bytes == golden, "segment {base} differs from its golden file");
    }
}

fn golden_or_made(log: &Writer) -> [Vec<u8>; 2] {
    if std::env::var_os("WAL_WRITE_GOLDEN").is_some() {
        for base in GOLDEN_BASES {
            let (path, bytes) = (golden_path(base), &log.segment(base).bytes);
            assert!(!path.exists(), "golden files are made once");
            assert!(bytes[GOLDEN_BYTES..].iter().all(|&byte| byte == 0));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &bytes[..GOLDEN_BYTES]).unwrap();
        }
    }
    golden()
}

#[test]
fn the_golden_log_reads_as_it_was_written() {
    let dir = directory();
    for (base, bytes) in GOLDEN_BASES.into_iter().zip(golden()) {
        save_file(&dir.path().join(segment_name(base)), &bytes);
    }
    let mut seen = Vec::new();
    let report = wal::verify(dir.path(), |record: Record<'_>| {
        let Record { lsn, kind, version, ignorable, epoch, payload, .. } = record;
        seen.push((lsn.get(), kind.get(), version, ignorable, epoch, payload.to_vec()));
        Ok::<(), Infallible>(())
    })
    .unwrap();
    let expected = [
        (4096, 16, 1, false, 1, b"the first record".to_vec()),
        (4160, 0x1234, 7, true, 1, Vec::new()),
        (4256, 16, 1, false, 1, vec![0xab; 100]),
        (0x21000, 16, 1, false, 2, b"second epoch".to_vec()),
    ];
    assert_eq!(seen, expected);
    assert_eq!((report.epoch, report.segments, report.end.get()), (2, 2, 0x21060));
    assert_eq!(report.durable_floor.get(), 8192 + 32, "the cut after the seal");
    let torn = report.torn.unwrap();
    assert_eq!((torn.lsn.get(), torn.bytes_dropped), (0x21060, 64));
}

/// CRC-32 (IEEE 802.3, reflected) bit by bit, so that the format does not rest on one library.
fn crc32(initial: u32, bytes: &[u8]) -> u32 {
    let mut crc = !initial;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// The golden bytes read by hand, offset by offset, as wal/README.md describes them.
#[test]
fn the_golden_bytes_are_what_the_description_says() {
    let [first, second] = golden();
    let u16_at = |b: &[u8], at: usize| u16::from_le_bytes(b[at..at + 2].try_into().unwrap());
    let u32_at = |b: &[u8], at: usize| u32::from_le_bytes(b[at..at + 4].try_into().unwrap());
    let u64_at = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap());
    for (header, base, flags, prev_end, epoch) in
        [(&first, 0, 1, 0, 1), (&second, 0x20000, 3, 8224, 2)]
    {
        assert_eq!(header[..8], *b"\x89WAL\r\n\x1a\n");
        assert_eq!(u32_at(header, 8), crc32(0, &header[12..4096]));
        assert_eq!((u32_at(header, 12), u16_at(header, 16), u16_at(header, 18)), (4096, 1, 0));
        assert_eq!(header[20..24], [4, 3, 2, 1]);
        assert_eq!((u32_at(header, 24), u32_at(header, 28)), (4096, flags));
        assert_eq!(u64_at(header, 32), 128 << 10);
        assert_eq!(header[40..56], 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes());
        assert_eq!((u64_at(header, 56), u64_at(header, 64)), (base, prev_end));
        assert_eq!((u64_at(header, 72), u32_at(header, 80)), (prev_end, epoch));
        assert_eq!((u32_at(header, 84), u64_at(header, 96)), (0, 0));
        assert!(header[104..4096].iter().all(|&byte| byte == 0));
    }
    // The record of 100 bytes at 4256: 132 bytes long, 160 with the zeros behind it; everything
    // before it had just become durable.
    let frame = &first[4256..4256 + 160];
    assert_eq!((u32_at(frame, 0), u64_at(frame, 8), u16_at(frame, 16)), (132, 4256, 16));
    assert_eq!((frame[18], frame[19], u32_at(frame, 20)), (1, 0, 132));
    assert_eq!((u32_at(frame, 24), u32_at(frame, 28)), (1, 0));
    assert_eq!((&frame[32..132], &frame[132..]), ([0xab; 100].as_slice(), [0; 28].as_slice()));
    let mut seed = first[40..56].to_vec();
    seed.extend(&first[80..84]);
    seed.extend(&first[88..96]);
    assert_eq!(u32_at(frame, 4), crc32(crc32(0, &seed), &frame[8..]));
    // Void at 4192, padding up to the page, the seal behind it; the reserved frame of epoch 2.
    assert_eq!((u32_at(&first, 4192), u16_at(&first, 4192 + 16)), (40, 2));
    assert_eq!((u32_at(&first, 4416), u16_at(&first, 4416 + 16)), (8192 - 4416, 1));
    assert_eq!((u32_at(&first, 8192), u16_at(&first, 8192 + 16)), (32, 4));
    assert_eq!(u32_at(&second, 4096 + 64 + 32), 0x8000_0000 + 45);
}

fn header_strategy() -> impl Strategy<Value = FrameHeader> {
    let fields = (0..1_u64 << 60, any::<u16>(), any::<u8>(), 0..2_u8, any::<u32>());
    (fields, 0..PAYLOAD_BYTES_MAX, any::<u64>()).prop_map(|(fields, payload, behind)| {
        let (lsn, kind, version, flags, epoch) = fields;
        let lsn = Lsn::new(lsn & !31);
        let claim = DurableClaim::new(lsn, Lsn::new(lsn.get().saturating_sub(behind)));
        let length = wal::frame::frame_length(payload).unwrap();
        FrameHeader { lsn, kind: Kind::new(kind), version, flags, length, epoch, claim }
    })
}

fn encode(header: &FrameHeader, seed: Seed, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xee; header.span()];
    header.encode(seed, payload, &mut bytes[4..]);
    bytes[..4].copy_from_slice(&CommitWord::Committed(header.length).encode().to_le_bytes());
    bytes
}

proptest! {
    // No regression files: what was found once becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_read_back(header in header_strategy(), salt: u64, fill: u8) {
        let expected = Expected { seed: Seed::new(&[7; 16], header.epoch, salt), epoch: header.epoch };
        let payload = vec![fill; header.length as usize - 32];
        let bytes = encode(&header, expected.seed, &payload);
        let view = check(&bytes, header.lsn, expected).unwrap();
        prop_assert_eq!(view.header, header);
        prop_assert_eq!(view.payload, &payload[..]);
        prop_assert_eq!(find(&bytes, header.lsn, expected), Some(view));
        // And nowhere else, in no other segment, and not cut short.
        prop_assert!(check(&bytes, header.lsn.plus(32), expected).is_err());
        let other = Expected { seed: Seed::new(&[7; 16], header.epoch, !salt), ..expected };
        prop_assert!(check(&bytes, header.lsn, other).is_err());
        prop_assert!(check(&bytes[..bytes.len() - 1], header.lsn, expected).is_err());
    }

    #[test]
    fn padding_is_encoded_without_touching_the_zeros(units in 1_u32..2048, salt: u64) {
        let lsn = Lsn::new(4096);
        let expected = Expected { seed: Seed::new(&[7; 16], 3, salt), epoch: 3 };
        let header = FrameHeader::internal(lsn, Kind::PADDING, units * 32, 3, DurableClaim::NONE);
        let whole = encode(&header, expected.seed, &vec![0; header.length as usize - 32]);
        prop_assert_eq!(&header.encode_padding(expected.seed)[..], &whole[4..32]);
    }

    #[test]
    fn a_claim_is_never_bolder_than_the_mark(lsn: u64, durable: u64) {
        let claim = DurableClaim::new(Lsn::new(lsn), Lsn::new(durable));
        if let Some(position) = claim.position(Lsn::new(lsn)) {
            prop_assert_eq!(position, Lsn::new(durable.min(lsn)));
        } else {
            prop_assert!(lsn - durable >= u64::from(u32::MAX));
        }
    }

    #[test]
    fn no_bytes_panic_the_frame_check(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        length: u32, lsn: u64, plausible: bool, epoch: u32,
    ) {
        let expected = Expected { seed: Seed::new(&[7; 16], epoch, 1), epoch };
        if plausible && bytes.len() >= 32 {
            // Past the first checks, so that the later ones see hostile bytes as well.
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes[8..16].copy_from_slice(&lsn.to_le_bytes());
            bytes[20..24].copy_from_slice(&length.to_le_bytes());
            bytes[24..28].copy_from_slice(&epoch.to_le_bytes());
        }
        prop_assert!(check(&bytes, Lsn::new(lsn), expected).is_err());
        prop_assert!(find(&bytes, Lsn::new(lsn), expected).is_none());
        prop_assert!(span_of(length as usize) >= length as usize);
    }

    #[test]
    fn a_header_is_read_back(
        uuid: u128, base in 0..1_u64 << 30, epoch in 1..u32::MAX, salt: u64, created: u64,
        first: bool, clean: bool, behind in 0..4096_u64,
    ) {
        let base = Lsn::new(SIZE.get() * (base + 1));
        let prev_end = if first { Lsn::new(base.get() - behind * 31 / 32 * 32) } else { base };
        let link = if first { Link::FirstOfEpoch { clean_end_before: clean } } else { Link::Continues };
        let header = SegmentHeader {
            segment_size: SIZE, uuid: uuid::Uuid::from_u128(uuid), base, prev_end,
            durable_floor: prev_end, epoch, link, salt, created_ms: created,
        };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        let next = header.following(!salt, Lsn::new(u64::MAX), created);
        prop_assert_eq!(SegmentHeader::decode(&next.encode()), Ok(next));
        prop_assert!(next.expected() != header.expected() || salt == !salt);
    }

    #[test]
    fn no_bytes_panic_the_header(
        at in 0..104_usize, bytes in proptest::collection::vec(any::<u8>(), 0..64), fix_crc: bool,
    ) {
        let mut header = Writer::new().segments[&0].bytes[..4096].to_vec();
        let end = at + bytes.len();
        let good = header.clone();
        header[at..end].copy_from_slice(&bytes);
        if fix_crc {
            let crc = crc32fast::hash(&header[12..]);
            header[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        let decoded = SegmentHeader::decode(&header);
        // Whatever is accepted says exactly what its bytes say.
        if let Ok(decoded) = decoded && header != good {
            prop_assert!(fix_crc);
            prop_assert_eq!(&decoded.encode()[..], &header[..]);
        }
        let _ = SegmentHeader::decode(&bytes);
    }

    // Bytes strewn over a real log: recovery and reader may refuse or cut, never panic, and what
    // they yield was written.
    #[test]
    fn no_bytes_panic_recovery_or_reader(
        hits in proptest::collection::vec((0..SIZE.get() * 2, any::<[u8; 7]>()), 1..8),
        cut_short in proptest::option::of(0..SIZE.get()),
    ) {
        let log = golden_log();
        let dir = directory();
        let mut whole = Vec::new();
        for (base, segment) in &log.segments {
            let mut bytes = segment.bytes.clone();
            for (at, hit) in &hits {
                // Half of them where something is written.
                let at = if hit[0] & 1 == 0 { at % 8400 } else { at % SIZE.get() };
                let at = usize::try_from(at).unwrap().min(bytes.len() - hit.len());
                bytes[at..at + hit.len()].copy_from_slice(hit);
            }
            if let Some(length) = cut_short.filter(|_| *base != 0) {
                bytes.truncate(usize::try_from(length).unwrap());
            }
            save_file(&dir.path().join(segment_name(Lsn::new(*base))), &bytes);
            whole.push(b"the first record".to_vec());
        }
        whole.extend([vec![], vec![0xab; 100], b"second epoch".to_vec()]);
        if let Ok((_, seen)) = recovered(dir.path()) {
            prop_assert!(seen.iter().all(|(_, payload)| whole.contains(payload)));
        }
        if let Ok(mut reader) = Reader::open(dir.path()) {
            let mut steps = 0;
            loop {
                steps += 1;
                prop_assert!(steps < 100, "the reader does not come to an end");
                match reader.next_record() {
                    Ok(Some(record)) => prop_assert!(whole.iter().any(|p| p == record.payload)),
                    Ok(None) => break,
                    Err(_) => {
                        if reader.skip_damage().unwrap().is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_record_kind_of_the_log_is_told_from_the_callers() {
    assert!(Kind::new(15).is_internal() && !Kind::new(Kind::FIRST_FREE).is_internal());
    assert!(!Kind::new(0).is_known_internal() && Kind::SEAL.is_known_internal());
    assert_eq!(NOTE.kind.get(), Kind::FIRST_FREE);
}

#[test]
fn what_becomes_of_a_newer_record_is_a_void_frame_of_this_version() {
    let newer = RecordType { kind: Kind::new(0x1234), version: 7, ignorable: false };
    let claim = DurableClaim::new(Lsn::new(4096), Lsn::ZERO);
    let record = FrameHeader::record(Lsn::new(4096), newer, 100, 3, claim).unwrap();
    let void = record.voided();
    assert_eq!((void.kind, void.version, void.length), (Kind::VOID, 1, record.length));
}

#[test]
fn a_segment_that_follows_has_its_own_name_and_time() {
    let first = Writer::new().segment(Lsn::ZERO).header;
    let next = first.following(1, Lsn::ZERO, 1_700_000_000_000);
    assert_eq!((first.created_ms, next.created_ms), (0, 1_700_000_000_000));
    assert_eq!(first.file_name(), "wal-0000000000000000.seg");
    assert_eq!(next.file_name(), segment_name(SIZE.base_after(Lsn::ZERO)));
}

#[test]
fn a_claim_reaches_back_to_the_beginning_of_the_log_and_no_further() {
    let claim = DurableClaim::new(Lsn::new(4096), Lsn::ZERO);
    assert_eq!(claim.position(Lsn::new(5000)), Some(Lsn::new(904)));
    assert_eq!(claim.position(Lsn::new(4096)), Some(Lsn::ZERO));
    assert_eq!(claim.position(Lsn::new(4095)), None);
    assert_eq!(DurableClaim::NONE.position(Lsn::new(4096)), None);
}
