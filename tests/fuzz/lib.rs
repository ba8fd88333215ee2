//! The targets: each takes any bytes, and panics if what it tries with them is not as it should be.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file, and of its directory of inputs.
    pub name: &'static str,
    /// Tries an input.
    pub run: fn(&[u8]),
}

include!(concat!(env!("OUT_DIR"), "/targets.rs"));
