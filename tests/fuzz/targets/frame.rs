//! Frames of the log: no bytes make checking them panic, and what passes lies within the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal::Lsn;
use wal::frame::{self, Expected, Seed};

fuzz_target!(|bytes: &[u8]| {
    let expected = Expected { seed: Seed::new(&[7; 16], 1, 9), epoch: 1 };
    let lsn = Lsn::new(4096);
    let found = frame::find(bytes, lsn, expected);
    match frame::check(bytes, lsn, expected) {
        Ok(view) => {
            assert!(view.header.end().since(lsn) <= bytes.len() as u64);
            assert!(found.is_some(), "a whole frame is found where it stands");
        }
        Err(_) => {}
    }
});
