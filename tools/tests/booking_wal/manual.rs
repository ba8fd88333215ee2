//! What the program says of itself.

use tempfile::TempDir;

use crate::run::program;

#[test]
fn completions_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = program().args(["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for subcommand in ["verify", "inspect", "history", "state", "export", "snapshot", "repair"]
        {
            assert!(script.contains(subcommand), "{shell}: {subcommand}");
        }
    }
    assert_eq!(program().args(["completions", "tcsh"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn there_is_a_page_for_the_program_and_each_subcommand() {
    let output = program().arg("man").output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains(".TH booking-wal 1") && page.contains("Exit codes"), "{page}");
    let directory = TempDir::new().unwrap();
    let pages = directory.path().join("man1");
    let output = program().args(["man", "--out"]).arg(&pages).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for page in ["booking-wal", "booking-wal-verify", "booking-wal-repair", "booking-wal-history"] {
        assert!(pages.join(format!("{page}.1")).exists(), "{page}");
    }
}
