//! Records: no payloads make decoding or folding them panic, and what decodes encodes to the same
//! bytes. The input is a row of records, each a kind (0 is 16), a length and a payload.

use booking_manager::codec;
use booking_manager::image::Image;
use wal::{Kind, Lsn};

pub(crate) fn run(bytes: &[u8]) {
    let (mut image, mut rest, mut lsn) = (Image::new(), bytes, 4096);
    while let [kind, length, behind @ ..] = rest {
        let (payload, behind) = behind.split_at((*length as usize).min(behind.len()));
        rest = behind;
        lsn += 64;
        let Ok(fact) = codec::decode(Kind::new(16 + u16::from(*kind)), 1, payload) else {
            continue;
        };
        assert_eq!(codec::encode(&fact).payload(), payload);
        if image.apply_fact(&fact, Lsn::new(lsn)).is_err() {
            return;
        }
    }
    image.hash();
}
