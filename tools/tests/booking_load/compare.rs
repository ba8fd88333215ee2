//! A short comparison of everything that is installed here.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::wait_until;
use crate::program::{Run, program, run};
use crate::server::binary;

const LIMIT: Duration = Duration::from_secs(60);

/// Little of everything.
const SHORT: &[&str] =
    &["--rounds", "1", "--warmup", "100ms", "--users", "20", "--connections", "16"];

/// All, in the order of the table, and whether they store anything.
const CONTENDERS: [(&str, bool); 8] = [
    ("bare hyper", false),
    ("booking-manager, commit", true),
    ("booking-manager, os", true),
    ("PostgreSQL, for update", true),
    ("PostgreSQL, one statement", true),
    ("Redis, fsync always", true),
    ("Redis, fsync everysec", true),
    ("bare hyper again (A/A)", false),
];

/// Three slices of 100 ms each.
fn compare(directory: &Path, options: &[&str]) -> Run {
    compare_for(directory, [3, 100], options)
}

/// So many slices of so many milliseconds.
fn compare_for(directory: &Path, [slices, millis]: [u32; 2], options: &[&str]) -> Run {
    let (slices, slice) = (slices.to_string(), format!("{millis}ms"));
    let mut arguments = vec!["compare", "--server", binary().to_str().unwrap()];
    arguments.extend(["--directory", directory.to_str().unwrap()]);
    arguments.extend(["--slices", &slices, "--slice", &slice]);
    run(&[&arguments, SHORT, options].concat())
}

/// A directory that PostgreSQL's user may pass through.
fn place() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let place = TempDir::with_prefix("booking-load-compare-test-").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

/// Processes whose command line names something in this directory.
fn left_behind(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let commands =
        processes.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    commands.filter(|command| command.contains(directory)).collect()
}

#[track_caller]
fn assert_nothing_is_left(place: &Path) {
    assert_eq!(left_behind(place), [""; 0]);
    assert_eq!(fs::read_dir(place).unwrap().count(), 0, "directories are left");
}

#[test]
fn all_that_are_installed_are_compared_and_were_honest() {
    let place = place();
    let told = compare(place.path(), &["--json"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&report["wrong"], &report["slices_per_round"]), (&0.into(), &3.into()), "{report}");
    assert!(report["aa_ratio"].as_f64().unwrap() > 0.0, "{report}");
    let rows = report["contenders"].as_array().unwrap();
    assert_eq!(rows.len(), CONTENDERS.len());
    for (row, (name, stores)) in rows.iter().zip(CONTENDERS) {
        assert_eq!(row["contender"], name);
        let measured = &row["measured"];
        if measured.is_null() {
            assert!(row["missing"].as_str().unwrap().ends_with("is not installed"), "{row}");
            continue;
        }
        assert!(row["missing"].is_null(), "{row}");
        assert_eq!(measured["rates"].as_array().unwrap().len(), 3, "{row}");
        let sync_micros = measured["raw_fdatasync_us"].as_f64().unwrap();
        assert!(sync_micros > 0.0, "{row}");
        for figure in ["requests_per_second", "of_bare", "p50_ms", "p99_ms"] {
            // What waits for a slow disk may be asked for nothing within a slice of 100 ms.
            let may_be_none = stores && sync_micros >= 20_000.0;
            assert!(may_be_none || measured[figure].as_f64().unwrap() > 0.0, "{figure}: {row}");
        }
        assert!(measured["server_cpu_us_per_request"].is_number(), "{row}");
        let acknowledged = measured["acknowledged"].as_u64().unwrap();
        assert!(acknowledged > 0, "{row}");
        if stores {
            assert_eq!(measured["stored"]["bookings"], acknowledged, "{row}");
            assert_eq!(measured["stored"]["seats"], acknowledged, "{row}");
            assert_eq!(measured["refuses_taken"], true, "{row}");
        } else {
            assert!(measured["stored"].is_null() && measured["refuses_taken"].is_null(), "{row}");
        }
    }
    assert_nothing_is_left(place.path());
}

#[test]
fn the_table_and_the_chart_have_a_row_for_each() {
    let place = place();
    let plots = TempDir::new().unwrap();
    let plot = plots.path().join("rates.svg");
    let told = compare(place.path(), &["--plot", plot.to_str().unwrap()]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let chart = fs::read_to_string(plot).unwrap();
    for (name, _) in CONTENDERS {
        let rows = told.stdout.lines().filter(|line| line.starts_with(name));
        assert!(rows.count() >= 1 && chart.contains(&format!(">{name}<")), "{name}: {told:?}");
    }
    for line in
        ["hot-event, closed loop, 16 connections; 1 rounds of 3 slices", "A/A ratio", "verdict"]
    {
        assert!(told.stdout.contains(line), "{line:?} in {told:?}");
    }
    assert!(chart.starts_with("<svg") && chart.matches("<rect").count() > 1, "{chart}");
    assert_nothing_is_left(place.path());
}

#[test]
fn those_who_are_not_named_are_left_out_and_the_others_keep_the_rate() {
    let place = place();
    let told = compare(place.path(), &["--json", "--only", "booking-manager", "--rate", "100"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(report["rate"], 100, "{report}");
    for row in report["contenders"].as_array().unwrap() {
        let name = row["contender"].as_str().unwrap();
        if name.starts_with("bare") || name.starts_with("booking-manager") {
            let rate = row["measured"]["requests_per_second"].as_f64().unwrap();
            // What was due in the 100 ms before a slice of 100 ms may be answered late, within it.
            assert!(rate > 0.0 && rate < 300.0, "{row}");
        } else {
            assert_eq!((&row["missing"], &row["measured"]), (&"left out".into(), &().into()));
        }
    }
    let told = compare(place.path(), &["--only", "nobody"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert_nothing_is_left(place.path());
}

#[test]
fn when_seats_run_short_there_is_another_event() {
    let place = place();
    let order = ["--json", "--only", "booking-manager", "--rate", "1000"];
    let told = compare_for(place.path(), [20, 50], &order);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    for row in &report["contenders"].as_array().unwrap()[..3] {
        // Seats are made for 150 ms, and 1,000 more; connecting takes 100 ms of each slice. A slow disk
        // books too few to need more.
        let acknowledged = row["measured"]["acknowledged"].as_u64().unwrap();
        let sync_micros = row["measured"]["raw_fdatasync_us"].as_f64().unwrap();
        assert!(acknowledged > 1_150 || sync_micros >= 20_000.0, "{row}");
    }
    assert_nothing_is_left(place.path());
}

/// A file that a contender makes once it runs, and where that is installed. Redis is ended as
/// booking-manager is.
const SIGNS: [(&str, &str); 2] = [("port", "/"), (".s.PGSQL.5432", "/usr/lib/postgresql")];

#[test]
fn one_that_is_stopped_or_killed_leaves_no_process() {
    let installed = SIGNS.into_iter().filter(|(_, program)| Path::new(program).exists());
    for (sign, _) in installed {
        for signal in [Signal::TERM, Signal::KILL] {
            let place = place();
            let mut command = program();
            command.args(["compare", "--server", binary().to_str().unwrap()]);
            command.args(SHORT).args(["--slices", "3", "--slice", "100ms"]);
            // What is the last of the first round is soon there.
            command.arg("--directory").arg(place.path());
            let mut child = command.spawn().unwrap();
            let is_there = || {
                let mut turns = fs::read_dir(place.path()).unwrap().flatten();
                turns.any(|turn| turn.path().join(sign).exists())
            };
            wait_until(LIMIT, "the contender runs", is_there);
            let family = family(child.id());
            assert!(family.len() > 1, "{family:?}");
            kill_process(Pid::from_child(&child), signal).unwrap();
            wait_until(LIMIT, "it ends", || child.try_wait().unwrap().is_some());
            wait_until(LIMIT, "all that it has begun ends", || {
                family.iter().all(|pid| has_ended(*pid))
            });
            if signal == Signal::TERM {
                assert_nothing_is_left(place.path());
            }
        }
    }
}

/// A process and all that it has begun, and so on.
fn family(first: u32) -> Vec<u32> {
    let mut family = vec![first];
    let mut next = 0;
    while next < family.len() {
        family.extend(children(family[next]));
        next += 1;
    }
    family
}

/// Whether a process is gone, or a zombie: an orphan's is there until the first process waits for it.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything, comes the state.
    stat.rsplit_once(") ").is_none_or(|(_, behind)| behind.starts_with('Z'))
}

/// The processes that this one has begun.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let pids = fs::read_to_string(path).unwrap_or_default();
    pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
