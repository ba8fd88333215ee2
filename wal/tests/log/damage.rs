//! Every single byte below the durable position, flipped: recovery refuses at exactly that frame.
//!
//! The negative control is the same flip above the durable position: a torn tail, cut there.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use wal::recovery::RecoveryError;
use wal::{Kind, Lsn, Reason, RecordType};

use crate::support::disk::Dice;
use crate::support::{NOTE, SIZE, Writer, directory, recovered};

/// The classes of a frame's bytes, so that the test can show that it reached them all.
fn class_of(at: u64, length: u64) -> &'static str {
    match at {
        0..4 => "commit word",
        4..8 => "crc",
        8..16 => "lsn",
        16..18 => "kind",
        18 => "version",
        19 => "flags",
        20..24 => "length",
        24..28 => "epoch",
        28..32 => "claim",
        _ if at < length => "payload",
        _ => "zeros up to the span",
    }
}

/// Frames of all sorts, in two epochs and two segments. Returns the log, the frames (position and
/// length) and the position of the last frame, whose claim covers all others.
fn log_of_all_sorts() -> (Writer, Vec<(Lsn, u64)>, Lsn) {
    let mut writer = Writer::new();
    let mut frames = Vec::new();
    let mut note = |lsn: Lsn, payload: u64| frames.push((lsn, 32 + payload));
    for bytes in [0_u8, 1, 31, 32, 33, 100] {
        note(writer.append(&vec![bytes; usize::from(bytes)]), u64::from(bytes));
    }
    let given_up = writer.reserve(b"given up");
    writer.void(given_up);
    note(given_up, 8);
    note(writer.internal(Kind::PADDING, 224), 192);
    writer.sync();
    note(writer.internal(Kind::IDLE, 32), 0);
    note(writer.append_as(RecordType { ignorable: true, ..NOTE }, b"may be skipped"), 14);
    let dir = directory();
    writer.save(dir.path());
    let next = recovered(dir.path()).unwrap().0.next;
    writer.boot(&next);
    note(writer.append(b"second epoch"), 12);
    note(writer.append(&[7; 200]), 200);
    writer.sync();
    let last = writer.append(b"claims everything before it");
    (writer, frames, last)
}

#[test]
fn every_byte_of_every_frame_below_the_durable_position_is_guarded() {
    let (writer, frames, _) = log_of_all_sorts();
    let dir = directory();
    writer.save(dir.path());
    recovered(dir.path()).unwrap();
    let mut classes = BTreeMap::<&str, u32>::new();
    for &(lsn, length) in &frames {
        let file = File::options().write(true).open(writer.path(dir.path(), lsn)).unwrap();
        let segment = &writer.segment(lsn).bytes;
        for at in 0..length.next_multiple_of(32) {
            let offset = SIZE.offset_of(lsn) + at;
            let good = segment[usize::try_from(offset).unwrap()];
            for bad in [good ^ (1 << (at % 8)), !good] {
                file.write_all_at(&[bad], offset).unwrap();
                match recovered(dir.path()).unwrap_err() {
                    RecoveryError::Damaged { damage, .. } => {
                        assert_eq!(damage.lsn, lsn, "byte {at} of the frame at {lsn}: {damage}");
                        assert_eq!(damage.offset, SIZE.offset_of(lsn));
                        assert!(matches!(damage.reason, Reason::Frame(_)), "{damage}");
                    }
                    other => panic!("byte {at} of the frame at {lsn}: {other}"),
                }
            }
            file.write_all_at(&[good], offset).unwrap();
            *classes.entry(class_of(at, length)).or_default() += 1;
        }
    }
    assert_eq!(classes.len(), 11, "a class of bytes was never flipped: {classes:?}");
    recovered(dir.path()).unwrap();
}

#[test]
fn the_same_flips_above_the_durable_position_are_a_torn_tail() {
    let (writer, _, last) = log_of_all_sorts();
    let dir = directory();
    writer.save(dir.path());
    let whole = recovered(dir.path()).unwrap().1;
    let file = File::options().write(true).open(writer.path(dir.path(), last)).unwrap();
    for at in 0..64 {
        let offset = SIZE.offset_of(last) + at;
        let good = writer.segment(last).bytes[usize::try_from(offset).unwrap()];
        file.write_all_at(&[!good], offset).unwrap();
        let (outcome, seen) = recovered(dir.path()).unwrap();
        assert_eq!(seen, whole[..whole.len() - 1], "byte {at}");
        assert_eq!((outcome.report.end, outcome.next.prev_end), (last, last), "byte {at}");
        assert_eq!(outcome.report.torn.unwrap().lsn, last);
        file.write_all_at(&[good], offset).unwrap();
    }
    assert_eq!(recovered(dir.path()).unwrap().1, whole);
}

#[test]
fn a_frame_copied_to_another_place_or_from_another_boot_cannot_pass() {
    let (writer, frames, last) = log_of_all_sorts();
    let (from, to) = (frames[10].0, frames[5].0); // of the second epoch, over one of the first
    let copy = |image: &Writer, from: Lsn, to: Lsn| {
        let mut image = image.clone();
        let at = |lsn: Lsn| usize::try_from(SIZE.offset_of(lsn)).unwrap();
        let bytes = image.segment(from).bytes[at(from)..at(from) + 64].to_vec();
        let base = SIZE.base_of(to).get();
        let target = &mut image.segments.get_mut(&base).unwrap().bytes;
        target[at(to)..at(to) + 64].copy_from_slice(&bytes);
        let dir = directory();
        image.save(dir.path());
        recovered(dir.path())
    };
    for from in [from, last, frames[4].0] {
        match copy(&writer, from, to).unwrap_err() {
            RecoveryError::Damaged { damage, .. } => assert_eq!(damage.lsn, to),
            other => panic!("{other}"),
        }
    }
    // The control: over itself it changes nothing.
    copy(&writer, to, to).unwrap();
}

#[test]
fn a_payload_made_to_look_like_a_frame_is_no_evidence() {
    // A client that knows uuid, epoch and position, but not the salt, sends a frame that claims
    // durability; behind a torn frame it must not make recovery refuse. With the salt it would.
    for knows_salt in [false, true] {
        let mut writer = Writer::new();
        let torn = writer.append(b"torn");
        let inside = writer.tail.plus(32);
        let mut header = writer.segment(torn).header;
        if !knows_salt {
            header.salt ^= 1;
        }
        let claim = wal::frame::DurableClaim::new(inside, torn.plus(32));
        let forged = wal::frame::FrameHeader::internal(inside, Kind::IDLE, 32, 1, claim);
        let mut payload = [0; 32];
        payload[..4].copy_from_slice(&32_u32.to_le_bytes());
        forged.encode(header.expected().seed, b"", &mut payload[4..]);
        let carrier = writer.append(&payload);
        let at = |lsn: Lsn| usize::try_from(lsn.get()).unwrap();
        let bytes = &mut writer.segments.get_mut(&0).unwrap().bytes;
        bytes[at(torn) + 32] ^= 1;
        bytes[at(carrier) + 4] ^= 1; // else the whole frame around it would be found first
        let dir = directory();
        writer.save(dir.path());
        assert_eq!(recovered(dir.path()).is_err(), knows_salt);
    }
}

/// Every frame of the closed or claimed part of a log, in order.
fn frames_of(writer: &Writer, end: Lsn) -> Vec<(Lsn, Lsn)> {
    let mut frames = Vec::new();
    let mut at = SIZE.frame_start(Lsn::ZERO);
    while at < end {
        let offset = usize::try_from(SIZE.offset_of(at)).unwrap();
        let bytes = &writer.segment(at).bytes[offset..];
        let view = wal::frame::check(bytes, at, writer.expected(at)).unwrap();
        frames.push((at, view.header.end()));
        at = view.header.end();
        if SIZE.offset_of(at) == 0 {
            at = SIZE.frame_start(at);
        }
    }
    frames
}

/// Random logs, each with one bit flipped or one page lost below the durable position.
#[test]
fn rot_anywhere_below_the_durable_position_is_refused_at_the_first_frame_it_touches() {
    let mut dice = Dice(2024);
    let (mut flips, mut lost, mut headers) = (0, 0, 0);
    for _ in 0..300 {
        let mut writer = Writer::new();
        for _ in 0..1 + dice.below(30) {
            let longest = if dice.one_in(3) { 60_000 } else { 700 };
            let payload: Vec<u8> = vec![0xd7; dice.below(longest)];
            writer.append(&payload);
            if dice.one_in(4) {
                writer.pad_page();
            }
        }
        writer.pad_page(); // so that a lost page does not take the claim with it
        writer.sync();
        let durable = writer.durable;
        writer.append(b"claims everything before it");
        let frames = frames_of(&writer, durable);
        let dir = directory();
        writer.save(dir.path());
        recovered(dir.path()).unwrap();

        // A bit anywhere below, or a page whose loss changes something.
        let flip = dice.one_in(2);
        let at = Lsn::new(dice.next() % durable.get());
        let base = SIZE.base_of(at);
        let bytes = &mut writer.segments.get_mut(&base.get()).unwrap().bytes;
        let before = bytes.clone();
        let offset = usize::try_from(SIZE.offset_of(at)).unwrap();
        if flip {
            bytes[offset] ^= 1 << dice.below(8);
        } else {
            bytes[offset / 4096 * 4096..][..4096].fill(0);
        }
        let Some(first) = (0..before.len()).find(|&at| before[at] != bytes[at]) else {
            continue;
        };
        let first = base.plus(first as u64);
        writer.save(dir.path());
        match recovered(dir.path()).map(|(outcome, _)| outcome.report) {
            Err(RecoveryError::Damaged { damage, .. }) => {
                let hit = frames.iter().find(|(_, end)| *end > first).unwrap().0;
                assert_eq!(damage.lsn, hit, "{damage}");
                if flip { flips += 1 } else { lost += 1 }
            }
            Err(RecoveryError::Unreadable(damage)) => {
                assert!(SIZE.offset_of(first) < 4096, "{damage}");
                assert_eq!(damage.lsn, base, "{damage}");
                headers += 1;
            }
            other => panic!("{other:?} with byte {first} of {durable} changed"),
        }
    }
    assert!(flips > 50 && lost > 50 && headers > 1, "{flips} {lost} {headers}");
}
