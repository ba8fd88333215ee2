//! Every target, tried with the inputs that are kept and with random changes to them: a fixed number,
//! so that a slow machine tries as much as a fast one.
//!
//! The seed is printed, and `FUZZ_SEED` tries the same again; `FUZZ_RUNS` says how many (of each target).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that fails may panic, and says how to try it again"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use fuzz::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Changed inputs for each target.
const RUNS_DEFAULT: u64 = 20_000;
/// Changes to one input at the most.
const CHANGES_MAX: usize = 8;
/// No changed input is longer.
const BYTES_MAX: usize = 16 << 10;
/// All inputs that are kept may have so many bytes together.
const CORPUS_BYTES_MAX: usize = 200_000;

/// Numbers at which something may change.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The inputs of a target that are kept, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Tries all of `corpus`, and `runs` changes to it. Gives the first input that fails.
fn campaign(target: Target, corpus: &[Vec<u8>], seed: u64, runs: u64) -> Result<(), Vec<u8>> {
    let holds = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_ok();
    if let Some(fails) = corpus.iter().find(|bytes| !holds(bytes)) {
        return Err(fails.clone());
    }
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..runs {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        for _ in 0..rng.random_range(1..=CHANGES_MAX) {
            change(&mut bytes, corpus, &mut rng);
        }
        bytes.truncate(BYTES_MAX);
        if !holds(&bytes) {
            return Err(bytes);
        }
    }
    Ok(())
}

/// Part of `bytes`, perhaps nothing.
fn part(bytes: &[u8], rng: &mut StdRng) -> std::ops::Range<usize> {
    let start = rng.random_range(0..=bytes.len());
    let longest = if rng.random() { 8 } else { 256 };
    start..bytes.len().min(start + rng.random_range(0..=longest))
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut StdRng) {
    let range = part(bytes, rng);
    match rng.random_range(0..7) {
        0 => drop(bytes.drain(range)),
        1 => bytes.extend_from_within(range),
        2 => {
            let other = &corpus[rng.random_range(0..corpus.len())];
            let piece = other[part(other, rng)].to_vec();
            drop(bytes.splice(range, piece));
        }
        3 => {
            let width = 1 << rng.random_range(0..4);
            let edge = EDGES[rng.random_range(0..EDGES.len())].wrapping_add(rng.random_range(0..3));
            let (little, big) = (edge.to_le_bytes(), edge.to_be_bytes());
            let number = if rng.random() { &little[..width] } else { &big[8 - width..] };
            let end = bytes.len().min(range.start + width);
            drop(bytes.splice(range.start..end, number.iter().copied()));
        }
        4 => bytes[range].fill(rng.random()),
        5 => bytes.insert(range.start, rng.random()),
        _ => {
            if let Some(byte) = bytes.get_mut(range.start) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
}

#[test]
fn every_target_holds() {
    let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
    let runs = number("FUZZ_RUNS").unwrap_or(RUNS_DEFAULT);
    eprintln!("FUZZ_SEED={seed}");
    let failed: Vec<String> = thread::scope(|scope| {
        let campaigns: Vec<_> = TARGETS
            .iter()
            .map(|target| {
                scope.spawn(move || (target, campaign(*target, &corpus(target.name), seed, runs)))
            })
            .collect();
        let ended = campaigns.into_iter().map(|campaign| campaign.join().unwrap());
        let failed = ended.filter_map(|(target, outcome)| Some((target, outcome.err()?)));
        failed
            .map(|(target, bytes)| format!("{}: \"{}\"", target.name, bytes.escape_ascii()))
            .collect()
    });
    assert!(failed.is_empty(), "FUZZ_SEED={seed} finds what fails:\n{}", failed.join("\n"));
}

#[test]
fn what_is_kept_is_small_and_of_a_target() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in fs::read_dir(all).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|target| target.name == name), "there is no target {name}");
    }
    let bytes: usize = TARGETS.iter().flat_map(|target| corpus(target.name)).map(|b| b.len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes of inputs are kept");
}

/// Fails if a length does not fit what follows it.
fn believes_lengths(bytes: &[u8]) {
    if let Some((length, rest)) = bytes.split_first() {
        let _ = rest[..usize::from(*length)].len();
    }
}

/// Fails if two bytes that the corpus has apart stand together.
fn fears_an_encounter(bytes: &[u8]) {
    assert!(!bytes.windows(2).any(|pair| pair == b"ab"));
}

#[test]
fn what_fails_is_found_and_given_back() {
    let kept = [b"\x03abc".to_vec(), b"\x00".to_vec()];
    let target = Target { name: "lengths", run: believes_lengths };
    let found = campaign(target, &kept, 1, RUNS_DEFAULT).unwrap_err();
    assert!(catch_unwind(|| believes_lengths(&found)).is_err());
    let kept = [b"a b".to_vec(), b"b a".to_vec()];
    let target = Target { name: "encounter", run: fears_an_encounter };
    let found = campaign(target, &kept, 1, RUNS_DEFAULT).unwrap_err();
    assert!(catch_unwind(|| fears_an_encounter(&found)).is_err());
    let kept = [b"ab".to_vec()];
    assert_eq!(
        campaign(target, &kept, 1, 0).unwrap_err(),
        kept[0],
        "what is kept is tried as it is"
    );
}
