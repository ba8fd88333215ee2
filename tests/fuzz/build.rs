//! Finds the targets: whatever is in their directory.

#![allow(clippy::print_stdout, reason = "that is how cargo is talked to")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let targets =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("targets");
    println!("cargo::rerun-if-changed={}", targets.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&targets)? {
        let path = entry?.path();
        if let (Some(stem), Some("rs")) =
            (path.file_stem(), path.extension().and_then(|e| e.to_str()))
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut source = String::new();
    for name in &names {
        let path = targets.join(name).with_extension("rs");
        let _ = writeln!(source, "#[path = {path:?}]\nmod {name};");
    }
    source.push_str("/// All of them, by name.\npub const TARGETS: &[Target] = &[\n");
    for name in &names {
        let _ = writeln!(source, "    Target {{ name: {name:?}, run: {name}::run }},");
    }
    source.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("targets.rs"), source)
}
