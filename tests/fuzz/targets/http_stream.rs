//! What comes on a connection, told into heads and bodies: the same, however the network cuts it. The
//! first byte says how.

use booking_manager::http::parsers::Heads;

/// What is seen of the heads in `bytes` if they come in pieces of `step`. Bodies are in turn 7 bytes
/// long, in chunks, and not there.
fn seen(bytes: &[u8], step: usize) -> Vec<(bool, bool)> {
    let (mut heads, mut seen) = (Heads::default(), Vec::new());
    for piece in bytes.chunks(step) {
        heads.hear(piece);
        while let Some(head) = heads.take([Some(7), None, Some(0)][seen.len() % 3]) {
            seen.push(head);
        }
    }
    seen
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let step = usize::from(*step).max(1);
    assert_eq!(seen(bytes, step), seen(bytes, bytes.len().max(1)), "in steps of {step}");
}
