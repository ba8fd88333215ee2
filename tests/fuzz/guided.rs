//! One target under libFuzzer: see `.ci/fuzz`.
#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let asked = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    let found = TARGETS.iter().find(|target| target.name == asked);
    *found.unwrap_or_else(|| panic!("there is no target {asked}"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
