//! Each scenario, for a moment, in a closed and in an open loop.

use std::fmt::Debug;
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{answers, run};
use crate::server::Server;

/// What every test adds: little of everything, so that it is soon made and read back.
const SMALL: &[&str] = &["--json", "--warmup", "100ms", "--users", "50"];
/// How long is measured first.
const SHORT: &str = "700ms";

/// Runs for longer until that has enough: with a slow disk, or on a machine that stands still for a
/// while, few requests are due and answered in a short time. Whatever is wrong in any of the runs is for
/// them to assert.
fn long_enough<T: Debug>(run: impl Fn(&str) -> T, has_enough: impl Fn(&T) -> bool) -> T {
    for duration in [SHORT, "7s"] {
        let told = run(duration);
        if has_enough(&told) {
            return told;
        }
    }
    let told = run("70s");
    assert!(has_enough(&told), "not enough in 70 s: {told:?}");
    told
}

/// What a run of a scenario measured, at least as much as `has_enough` asks for.
fn measured(server: &Server, arguments: &[&str], has_enough: impl Fn(&Value) -> bool) -> Value {
    long_enough(|duration| measured_for(duration, server, arguments), has_enough)
}

/// What a run of a scenario measured, in which no request was refused below HTTP.
fn measured_for(duration: &str, server: &Server, arguments: &[&str]) -> Value {
    let url = server.url();
    let all = [arguments, SMALL, &["--duration", duration, "--url", &url]].concat();
    let report = run(&all).sound();
    assert_eq!(report["scenario"], arguments[0]);
    let phase = &report["phases"][0];
    for fault in ["unconnected", "broken", "late"] {
        assert_eq!(phase["faults"][fault], 0, "{phase}");
    }
    phase.clone()
}

/// Whether a run had each of these operations, and used CPU time for them. It must have had no other,
/// and latencies of all that it had, those that were refused apart.
fn has_all(phase: &Value, operations: &[&str]) -> bool {
    let series = phase["latency"].as_object().unwrap();
    let (mut sum, mut refused) = (0, 0);
    for (name, latency) in series.iter().filter(|(name, _)| *name != "all") {
        let operation = name.strip_suffix("-refused").unwrap_or(name);
        assert!(operations.contains(&operation), "{name}: {phase}");
        let count = latency["count"].as_u64().unwrap();
        sum += count;
        refused += if operation == name { 0 } else { count };
        let quantiles = ["p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "p99_99_ms", "max_ms"];
        let quantiles = quantiles.map(|name| latency[name].as_f64().unwrap());
        assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{name}: {phase}");
    }
    let answers = phase["answers"].as_array().unwrap().iter();
    let problems = answers.filter(|answer| answer["status"].as_u64().unwrap() >= 400);
    let problems: u64 = problems.map(|answer| answer["count"].as_u64().unwrap()).sum();
    assert_eq!(refused, problems, "{phase}");
    assert_eq!(phase["latency"]["all"]["count"], sum, "{phase}");
    assert_eq!(phase["requests"], sum, "{phase}");
    phase["generator_cpu_us_per_request"].as_f64() > Some(0.0)
        && operations.iter().all(|operation| series.contains_key(*operation))
}

#[test]
fn distinct_seats_are_never_refused() {
    let server = Server::start();
    let pid = server.pid().to_string();
    for scenario in ["hot-event", "many-events"] {
        for rate in [&[][..], &["--rate", "400"]] {
            // Unless told otherwise, it makes seats enough for as long as it runs.
            let arguments = [&[scenario, "--events", "2", "--server-pid", &pid], rate].concat();
            let phase = measured(&server, &arguments, |phase| {
                assert_eq!(answers(phase, "hold", 201), phase["requests"], "{phase}");
                has_all(phase, &["hold"]) && phase["server_cpu_us_per_request"].is_number()
            });
            assert_eq!(phase["rate"].as_u64(), (!rate.is_empty()).then_some(400));
        }
    }
}

#[test]
fn an_open_loop_has_the_rate_that_was_asked_for() {
    let server = Server::start();
    let phase = measured_for(SHORT, &server, &["many-events", "--rate", "1000", "--threads", "3"]);
    // 700 were due. A machine that stands still for a while leaves some of them unsent.
    let sent = phase["requests"].as_u64().unwrap();
    let unsent = phase["faults"]["unsent"].as_u64().unwrap();
    assert!(sent + unsent >= 690 && sent <= 710, "{phase}");
}

#[test]
fn seats_that_do_not_last_are_cancelled_and_taken_again() {
    let server = Server::start();
    let few = ["hot-event", "--seats", "100", "--events", "1", "--connections", "8"];
    measured(&server, &few, |phase| {
        assert_eq!(answers(phase, "hold", 409), 0, "{phase}");
        has_all(phase, &["hold", "cancel"]) && answers(phase, "hold", 201) > 100
    });
}

#[test]
fn those_who_want_the_same_are_refused_and_go_on() {
    let server = Server::start();
    for scenario in ["hot-seats", "groups"] {
        for rate in [&[][..], &["--rate", "800"]] {
            let arguments = [&[scenario, "--connections", "32", "--threads", "2"], rate].concat();
            measured(&server, &arguments, |phase| {
                has_all(phase, &["hold", "cancel"])
                    && answers(phase, "hold", 201) > 0
                    && answers(phase, "cancel", 200) > 0
            });
        }
        measured(&server, &[scenario, "--seats", "8", "--connections", "64"], |phase| {
            answers(phase, "hold", 409) > 0
        });
    }
}

#[test]
fn customers_look_hold_and_decide() {
    let server = Server::start();
    for rate in [&[][..], &["--rate", "600"]] {
        let arguments = [&["checkout", "--seats", "3000", "--events", "3"], rate].concat();
        let deciding = ["list-available", "hold", "confirm", "cancel"];
        measured(&server, &arguments, |phase| has_all(phase, &deciding));
    }
    let looking = ["list-events", "show-event", "list-tickets", "list-available"];
    measured(&server, &["browse"], |phase| has_all(phase, &looking));
}

#[test]
fn text_and_files_are_written() {
    let server = Server::start();
    let url = server.url();
    let directory = TempDir::new().unwrap();
    let (hdr, plot) = (directory.path().join("hdr"), directory.path().join("plot.svg"));
    let run_for = |duration: &str| {
        let told = run(&[
            "checkout",
            "--url",
            &url,
            "--warmup",
            "100ms",
            "--duration",
            duration,
            "--seats",
            "500",
            "--hdr",
            hdr.to_str().unwrap(),
            "--plot",
            plot.to_str().unwrap(),
        ]);
        assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
        told
    };
    let told = long_enough(run_for, |_| {
        let has = |name: &str| hdr.join(format!("checkout-{name}.hgrm")).exists();
        ["list-available", "hold", "confirm", "cancel"].into_iter().all(has)
    });
    for line in
        ["scenario      checkout\n", "hold 201\n", "verdict       every answer is still true\n"]
    {
        assert!(told.stdout.contains(line), "{line:?} in {told:?}");
    }
    let hold = fs::read_to_string(hdr.join("checkout-hold.hgrm")).unwrap();
    assert!(hold.contains("1/(1-Percentile)") && hold.contains("#[Max"), "{hold}");
    assert!(hdr.join("checkout-all.hgrm").exists());
    let series = fs::read_dir(&hdr).unwrap().count() - 1;
    let plot = fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && plot.matches("<polyline").count() == series, "{plot}");
}
