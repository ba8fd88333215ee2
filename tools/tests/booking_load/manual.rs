//! What the program says of itself, and of a command line that is wrong.

use tempfile::TempDir;

use crate::program::run;

#[test]
fn completions_and_pages_know_the_scenarios() {
    let scenarios = [
        "hot-event",
        "hot-seats",
        "groups",
        "many-events",
        "checkout",
        "browse",
        "expiry-storm",
        "compare",
        "demo",
    ];
    let script = run(&["completions", "bash"]);
    let directory = TempDir::new().unwrap();
    let pages = directory.path().join("man1");
    assert_eq!(run(&["man", "--out", pages.to_str().unwrap()]).code, 0);
    for scenario in scenarios {
        assert!(script.stdout.contains(scenario), "{scenario}");
        assert!(pages.join(format!("booking-load-{scenario}.1")).exists(), "{scenario}");
    }
    let page = run(&["man"]);
    assert!(page.stdout.contains(".TH booking-load 1") && page.stdout.contains("Exit codes"));
}

#[test]
fn wrong_usage_is_told() {
    for arguments in [
        &[][..],
        &["sell-out"],
        &["hot-event", "--url", "https://localhost"],
        &["hot-event", "--url", "localhost:8080"],
        &["hot-event", "--rate", "0"],
        &["hot-event", "--duration", "soon"],
        &["hot-event", "--seats", "1000001"],
        &["expiry-storm", "--holds", "0"],
        &["demo", "--rate", "5"],
        &["compare", "--slices", "0"],
        &["compare", "--server", "/nowhere/booking-manager"],
        &["front", "--backend", "redis"],
    ] {
        assert!(!run(arguments).unusable().is_empty(), "{arguments:?}");
    }
}
