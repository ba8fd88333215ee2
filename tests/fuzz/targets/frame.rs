//! Frames of the log: no bytes make checking them panic, and what passes lies within the bytes. Read as
//! kind, version, flag and payload, the input is written as a frame, which is read as it was written.

use wal::frame::{self, DurableClaim, Expected, FrameHeader, Seed};
use wal::{Kind, Lsn, RecordType};

pub(crate) fn run(bytes: &[u8]) {
    let expected = Expected { seed: Seed::new(&[7; 16], 1, 9), epoch: 1 };
    let lsn = Lsn::new(4096);
    let found = frame::find(bytes, lsn, expected);
    if let Ok(view) = frame::check(bytes, lsn, expected) {
        assert!(view.header.end().since(lsn) <= bytes.len() as u64);
        assert!(found.is_some(), "a whole frame is found where it stands");
    }
    if let [low, high, version, ignorable, payload @ ..] = bytes {
        let record = RecordType {
            kind: Kind::new(u16::from_le_bytes([*low, *high])),
            version: *version,
            ignorable: ignorable & 1 == 1,
        };
        written_is_read(record, payload, lsn, expected);
    }
}

fn written_is_read(record: RecordType, payload: &[u8], lsn: Lsn, expected: Expected) {
    let claim = DurableClaim::new(lsn, lsn);
    let Some(header) = FrameHeader::record(lsn, record, payload.len(), expected.epoch, claim)
    else {
        return;
    };
    let mut frame = vec![0; header.span()];
    frame[..4].copy_from_slice(&header.length.to_le_bytes());
    header.encode(expected.seed, payload, &mut frame[4..]);
    let view = frame::check(&frame, lsn, expected).expect("a frame that was written");
    assert_eq!((view.header, view.record().payload), (header, payload));
}
