//! Rules about our files that no compiler holds. Each is a function from files to offences, is run
//! over all files, and has a negative control: a sample that breaks the rule must be reported.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lexer.rs"]
mod lexer;

use std::fs;
use std::path::Path;

use lexer::tokens;

/// The files that may contain `unsafe`, exactly.
const UNSAFE_FILES: &[&str] = &["wal/src/ring.rs", "wal/src/sigbus.rs", "wal/tests/residency.rs"];
/// Beyond this a file is split by noun.
const LINES_MAX: usize = 800;
/// Names that say nothing of what they name.
const EMPTY_NAMES: &[&str] =
    &["common", "helper", "helpers", "manager", "misc", "service", "util", "utils"];

/// One of our files: its path from the root of the repository, and its text.
#[derive(Clone, Debug)]
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_source(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All our sources and documents; not what was built, nor what a server wrote.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    let sources = files.iter().filter(|file| file.is_source()).count();
    assert!(sources > 20, "only {sources} sources found: looking in the wrong place?");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(directory: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            let foreign = name.starts_with('.') || name.starts_with("target") || name == "data";
            if !foreign {
                collect(&entry.path(), files);
            }
        } else if [".rs", ".md", ".toml"].iter().any(|ending| name.ends_with(ending)) {
            let path = entry.path();
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            files.push(File { path, text });
        }
    }
}

fn sources(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is_source())
}

fn sample(path: &str, text: &str) -> Vec<File> {
    vec![File { path: path.to_owned(), text: text.to_owned() }]
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// `unsafe` outside the list, and files on the list that have none.
fn unsafe_offences(files: &[File], allowed: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in sources(files) {
        let found = tokens(&file.text).into_iter().find(|token| token.text == "unsafe");
        let listed = allowed.contains(&file.path.as_str());
        match (found, listed) {
            (Some(token), false) => offences.push(format!(
                "{}:{}: unsafe in a file that is not on the list",
                file.path, token.line
            )),
            (None, true) => offences.push(format!("{}: on the list without any unsafe", file.path)),
            (Some(_), true) | (None, false) => {}
        }
    }
    let missing = allowed.iter().filter(|path| !files.iter().any(|file| file.path == **path));
    offences.extend(missing.map(|path| format!("{path}: on the list, but there is no such file")));
    offences
}

#[test]
fn unsafe_lives_in_the_listed_files_and_only_there() {
    assert_none(&unsafe_offences(&files(), UNSAFE_FILES));
}

#[test]
fn the_unsafe_rule_reports_what_it_should() {
    let file = sample("src/a.rs", "fn f() { unsafe { g() } }");
    assert_eq!(unsafe_offences(&file, &[]).len(), 1);
    assert_eq!(unsafe_offences(&file, &["src/a.rs"]), [""; 0]);
    assert_eq!(unsafe_offences(&file, &["src/a.rs", "src/gone.rs"]).len(), 1);
    let text =
        "// unsafe\nconst A: &str = r#\"unsafe \"quoted\"\"#; #![deny(unsafe_op_in_unsafe_fn)]";
    let safe = sample("src/a.rs", text);
    assert_eq!(unsafe_offences(&safe, &[]), [""; 0]);
    assert_eq!(unsafe_offences(&safe, &["src/a.rs"]).len(), 1);
}

fn size_offences(files: &[File]) -> Vec<String> {
    let lines = sources(files).map(|file| (&file.path, file.text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(path, lines)| format!("{path}: {lines} lines, more than {LINES_MAX}")).collect()
}

#[test]
fn no_file_is_too_long() {
    assert_none(&size_offences(&files()));
}

#[test]
fn the_size_rule_reports_what_it_should() {
    assert_eq!(size_offences(&sample("src/a.rs", &"\n".repeat(LINES_MAX))), [""; 0]);
    assert_eq!(size_offences(&sample("src/a.rs", &"\n".repeat(LINES_MAX + 1))).len(), 1);
}

fn name_offences(files: &[File]) -> Vec<String> {
    let is_empty = |path: &str| {
        let words = path.trim_end_matches(".rs").split(['/', '_', '-']);
        words.into_iter().any(|word| EMPTY_NAMES.contains(&word))
    };
    let empty = sources(files).filter(|file| is_empty(&file.path));
    empty.map(|file| format!("{}: the name says nothing of the content", file.path)).collect()
}

#[test]
fn names_say_something() {
    assert_none(&name_offences(&files()));
}

#[test]
fn the_name_rule_reports_what_it_should() {
    for path in
        ["src/utils.rs", "src/utils/mod.rs", "tests/common/server.rs", "src/lane_manager.rs"]
    {
        assert_eq!(name_offences(&sample(path, "")).len(), 1, "{path}");
    }
    assert_eq!(name_offences(&sample("src/commons_of_rome.rs", "")), [""; 0]);
}

/// Whether the arguments of a macro begin here.
fn opens(token: Option<&lexer::Token>) -> bool {
    token.is_some_and(|token| ["(", "[", "{"].contains(&token.text.as_str()))
}

/// Tests that do not run, and code that is not there yet.
fn unfinished_offences(files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in sources(files) {
        let tokens = tokens(&file.text);
        for (place, token) in tokens.iter().enumerate() {
            let next = tokens.get(place + 1).map(|token| token.text.as_str());
            let what = match (token.text.as_str(), next) {
                ("todo", Some("!")) if opens(tokens.get(place + 2)) => "todo!",
                ("#", Some("[")) if lexer::attribute(&tokens[place + 1..]).contains(&"ignore") => {
                    "a test that is ignored"
                }
                _ => continue,
            };
            offences.push(format!("{}:{}: {what}", file.path, token.line));
        }
        for (place, line) in file.text.lines().enumerate() {
            let line = line.trim_start();
            let documents = line.starts_with("///") || line.starts_with("//!");
            if documents && line.contains("```") && line.contains("ignore") {
                offences.push(format!("{}:{}: an example that is ignored", file.path, place + 1));
            }
        }
    }
    offences
}

#[test]
fn nothing_is_ignored_or_left_to_do() {
    assert_none(&unfinished_offences(&files()));
}

#[test]
fn the_unfinished_rule_reports_what_it_should() {
    for text in [
        "#[test]\n#[ignore]\nfn t() {}",
        "#[ignore = \"slow\"]\nfn t() {}",
        "#[cfg_attr(debug_assertions, ignore)]\nfn t() {}",
        "fn f() { todo!() }",
        "/// ```ignore\n/// ```\nfn f() {}",
    ] {
        assert_eq!(unfinished_offences(&sample("src/a.rs", text)).len(), 1, "{text}");
    }
    let fine =
        "// todo!() and #[ignore]\nfn ignore(todo: u8) { let _ = (\"todo!()\", todo != 1); }";
    assert_eq!(unfinished_offences(&sample("src/a.rs", fine)), [""; 0]);
}

/// Relative links of documents that lead nowhere; `exists` is asked with a path from the root.
fn link_offences(files: &[File], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let here = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for (line, target) in links(&file.text) {
            let elsewhere = ["http://", "https://", "mailto:", "#"];
            let path = target.split('#').next().unwrap_or_default();
            if elsewhere.iter().any(|start| target.starts_with(start)) || exists(&here.join(path)) {
                continue;
            }
            offences.push(format!("{}:{line}: {target} does not exist", file.path));
        }
    }
    offences
}

/// The targets of `[text](target)` and `[label]: target`, outside of code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (place, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every other piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("x");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let defined = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let defined = defined.and_then(|(_, target)| target.split_whitespace().next());
        links.extend(inline.chain(defined).map(|target| (place + 1, target.to_owned())));
    }
    links
}

#[test]
fn links_lead_somewhere() {
    assert_none(&link_offences(&files(), |path| root().join(path).exists()));
}

#[test]
fn the_link_rule_reports_what_it_should() {
    let text = "[a](b.md#part) [c](https://x.example) [d](#here) ![e](gone.png)\n`[f](code.md)`\n\
                ```\n[g](code.md)\n```\n[h]: also-gone.md\n";
    let offences = link_offences(&sample("docs/a.md", text), |path| path == Path::new("docs/b.md"));
    assert_eq!(
        offences,
        ["docs/a.md:1: gone.png does not exist", "docs/a.md:6: also-gone.md does not exist"]
    );
}
