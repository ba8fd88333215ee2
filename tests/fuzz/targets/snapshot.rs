//! Snapshots: no bytes make reading one panic. To get past the checksums, the input is read a second
//! time as a row of blocks (kind, entries, length and payload), behind a right header.

use std::path::Path;

use booking_manager::image::snapshot;

fn crc(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut file = b"\x89SNP\r\n\x1a\n\0\0\0\0\x01\0\0\0".to_vec();
    file.resize(96, 0);
    let seed = crc32fast::hash(&file[12..]);
    file[8..12].copy_from_slice(&seed.to_le_bytes());
    let (mut rest, mut index) = (bytes, 0_u32);
    while let [kind, entries, low, high, behind @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (payload, behind) = behind.split_at(length);
        rest = behind;
        let mut block = u32::try_from(length).unwrap_or(0).to_le_bytes().to_vec();
        block.extend([*kind, 0, 0, 0, *entries, 0, 0, 0]);
        block.extend(payload);
        file.extend(crc(seed, &[&index.to_le_bytes(), &block]).to_le_bytes());
        file.extend(block);
        index += 1;
    }
    file
}

pub(crate) fn run(bytes: &[u8]) {
    let path = Path::new("input");
    let _ = snapshot::read(bytes, path, || false);
    let _ = snapshot::read(&sealed(bytes)[..], path, || false);
}
