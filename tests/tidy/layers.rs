//! Which part may know which: the dependency directions of the architecture, read from the paths in
//! the sources.

use super::lexer::{paths, tokens};
use super::{File, assert_none, files, sample};

/// Modules of the main crate, as far as a rule names them.
const MODULES: &[&str] = &[
    "checkpoint",
    "clock",
    "codec",
    "config",
    "domain",
    "engine",
    "http",
    "image",
    "mirror",
    "stats",
    "sync",
    "telemetry",
];
/// What every part may use: what comes with the compiler.
const STANDARD: &[&str] = &["alloc", "core", "std"];
/// What tests of every part may use.
const TESTING: &[&str] = &["loom", "proptest", "shuttle", "tempfile"];

/// What a part of the code may know.
struct Layer {
    /// A file or directory, without the ending `.rs` or the slash.
    place: &'static str,
    /// Modules of the main crate.
    modules: &'static [&'static str],
    crates: Crates,
}

enum Crates {
    /// These and no other.
    Only(&'static [&'static str]),
    /// All but these.
    Not(&'static [&'static str]),
}

const LAYERS: &[Layer] = &[
    Layer {
        place: "src/domain",
        modules: &["domain"],
        crates: Crates::Only(&["iso_currency", "siphasher"]),
    },
    Layer {
        place: "src/image",
        modules: &["image", "domain", "codec"],
        crates: Crates::Not(&["clap", "dotenvy", "hyper", "serde", "tokio"]),
    },
    Layer {
        place: "src/checkpoint",
        modules: &["checkpoint", "engine", "image", "domain", "clock"],
        crates: Crates::Not(&["clap", "dotenvy", "hyper", "tokio"]),
    },
    Layer {
        place: "src/engine",
        modules: &["engine", "image", "domain", "codec", "clock", "sync"],
        crates: Crates::Not(&[
            "clap",
            "dotenvy",
            "http_body_util",
            "hyper",
            "hyper_util",
            "prometheus_client",
            "serde",
            "serde_json",
            "tokio",
        ]),
    },
    Layer {
        place: "src/http",
        modules: &["http", "domain", "engine", "stats", "clock"],
        crates: Crates::Not(&["clap", "dotenvy"]),
    },
    Layer {
        place: "src/mirror",
        modules: &["mirror", "image", "domain", "codec", "clock", "sync"],
        crates: Crates::Not(&["clap", "dotenvy", "hyper"]),
    },
    Layer { place: "wal", modules: &[], crates: Crates::Not(&["tools"]) },
    Layer {
        place: "tools",
        modules: &["domain", "codec", "image", "mirror"],
        crates: Crates::Not(&["hyper", "hyper_util", "dotenvy"]),
    },
    // The server that is compared with ours.
    Layer {
        place: "tools/src/load/compare/front",
        modules: &[],
        crates: Crates::Not(&["dotenvy"]),
    },
];

impl Layer {
    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.place);
        rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    }

    /// What is wrong with a path in one of its files, `depth` modules below the crate's root.
    fn offence(&self, path: &[String], depth: usize, known: &[String]) -> Option<String> {
        let first = path.first()?.as_str();
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let module = match first {
            "crate" | "booking_manager" => path.get(1),
            "super" if supers >= depth => path.get(supers),
            _ => None,
        };
        if let Some(module) = module.map(String::as_str) {
            let ours = first != "crate" || self.place.starts_with("src/");
            let known = ours && MODULES.contains(&module);
            let outside = known && !self.modules.contains(&module);
            return outside.then(|| format!("knows the module {module}"));
        }
        let foreign = known.iter().any(|name| name == first)
            && !STANDARD.contains(&first)
            && !TESTING.contains(&first);
        let allowed = match self.crates {
            Crates::Only(only) => only.contains(&first),
            Crates::Not(not) => !not.contains(&first),
        };
        (foreign && !allowed).then(|| format!("uses the crate {first}"))
    }
}

/// How many modules a file of the main crate lies below the root of its crate.
fn depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod").count()
}

/// The crates that the workspace's manifest names.
fn known_crates(manifest: &str) -> Vec<String> {
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    names.chain(["tools"]).map(|name| name.replace('-', "_")).collect()
}

fn offences(files: &[File], known: &[String]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        // The closest one counts.
        let holding = LAYERS.iter().filter(|layer| layer.holds(&file.path));
        if let Some(layer) = holding.max_by_key(|layer| layer.place.len()) {
            for (line, path) in paths(&tokens(&file.text)) {
                if let Some(what) = layer.offence(&path, depth(&file.path), known) {
                    offences.push(format!("{}:{line}: {} {what}", file.path, layer.place));
                }
            }
        }
    }
    offences
}

/// Dependencies of the log's crate on ours.
fn manifest_offences(files: &[File]) -> Vec<String> {
    let manifest = files.iter().filter(|file| file.path == "wal/Cargo.toml");
    let lines = manifest.flat_map(|file| file.text.lines());
    let ours = lines.filter(|line| {
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        ["booking-manager", "tools"].contains(&name) || line.contains("path = \"..")
    });
    ours.map(|line| format!("wal/Cargo.toml: {line}")).collect()
}

fn known() -> Vec<String> {
    let files = files();
    let manifest = files.iter().find(|file| file.path == "Cargo.toml").unwrap();
    let known = known_crates(&manifest.text);
    for name in ["hyper", "http_body_util", "serde_json", "wal"] {
        assert!(known.iter().any(|known| known == name), "{name} is not among {known:?}");
    }
    known
}

#[test]
fn parts_know_only_what_they_may() {
    let files = files();
    for layer in LAYERS.iter().filter(|layer| layer.place != "src/mirror") {
        let held = files.iter().any(|file| layer.holds(&file.path));
        assert!(held, "no file in {}: was it moved?", layer.place);
    }
    assert_none(&offences(&files, &known()));
    assert_none(&manifest_offences(&files));
}

#[test]
fn the_direction_rule_reports_what_it_should() {
    let known = known();
    for (path, text) in [
        ("src/domain/a.rs", "use crate::engine::Engine;"),
        ("src/domain/a.rs", "use serde::Serialize;"),
        ("src/domain.rs", "#[derive(serde::Serialize)] struct A;"),
        ("src/domain/a.rs", "use wal;"),
        ("src/domain/a.rs", "use {std::fmt, wal as log};"),
        ("src/engine/a.rs", "use crate::{clock::Clock, stats};"),
        ("src/engine/a.rs", "use crate::{clock::{self, Clock}, domain::*, http::{Server}};"),
        ("src/engine/a.rs", "fn f() { crate::config::load(); }"),
        ("src/engine/a.rs", "use super::super::http::Server;"),
        ("src/engine/mod.rs", "use super::http::Server;"),
        ("src/engine/a/b.rs", "async fn f() { ::tokio::spawn(g()); }"),
        ("src/engine/a.rs", "pub use hyper::Request as R;"),
        ("src/http/a.rs", "use crate::config::Config;"),
        ("src/http/a.rs", "use crate::mirror;"),
        ("src/mirror/a.rs", "use crate::engine::Engine;"),
        ("wal/src/a.rs", "use booking_manager::domain::Fact;"),
        ("tools/src/bin/a.rs", "use booking_manager::engine::Engine;"),
        ("tools/src/load/compare/a.rs", "use hyper::Request;"),
        ("tools/src/load/compare/front/a.rs", "use booking_manager::domain::Fact;"),
    ] {
        let offences = offences(&sample(path, text), &known);
        assert_eq!(offences.len(), 1, "{path}: {text}: {offences:?}");
    }
    let manifest = sample("wal/Cargo.toml", "[dependencies]\nbooking-manager.workspace = true\n");
    assert_eq!(manifest_offences(&manifest).len(), 1);
}

#[test]
fn the_direction_rule_leaves_the_rest_alone() {
    let known = known();
    for (path, text) in [
        (
            "src/domain/a.rs",
            "use std::fmt; use super::ids; use iso_currency::Currency; fn f(bytes: u8) {}",
        ),
        ("src/domain/a.rs", "// use serde::Serialize;\nconst A: &str = \"crate::engine\";"),
        (
            "src/engine/a.rs",
            "use super::stats; use wal::Lsn; use crate::domain::{Fact, Refusal}; fn f(bytes: u8) {}",
        ),
        ("src/http/a.rs", "use crate::engine::Engine; use hyper::Request; let config = 1;"),
        ("wal/src/a.rs", "use crate::sync::AtomicU64; use crate::stats::Counters;"),
        ("src/main.rs", "use booking_manager::config;"),
        ("tools/src/load/compare/front/a.rs", "use hyper::Request;"),
    ] {
        assert_eq!(offences(&sample(path, text), &known), [""; 0], "{path}: {text}");
    }
}
