//! Each scenario, for a moment, in a closed and in an open loop.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{answers, run};
use crate::server::Server;

/// What every test adds: little of everything, so that it is soon made and read back.
const SMALL: &[&str] = &["--json", "--warmup", "100ms", "--duration", "700ms", "--users", "50"];

fn measured(server: &Server, arguments: &[&str]) -> Value {
    let url = server.url();
    let all = [arguments, SMALL, &["--url", &url]].concat();
    let report = run(&all).sound();
    assert_eq!(report["scenario"], arguments[0]);
    report["phases"][0].clone()
}

/// Of what a run consists that books: requests, none of them refused below HTTP, and latencies of
/// these operations, those that were refused apart.
fn check(phase: &Value, operations: &[&str]) {
    let requests = phase["requests"].as_u64().unwrap();
    assert!(requests > 0, "{phase}");
    for fault in ["unconnected", "broken", "late"] {
        assert_eq!(phase["faults"][fault], 0, "{phase}");
    }
    let series = phase["latency"].as_object().unwrap();
    assert!(operations.iter().all(|operation| series.contains_key(*operation)), "{phase}");
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
    assert_eq!(sum, requests, "{phase}");
    assert!(phase["generator_cpu_us_per_request"].as_f64().unwrap() > 0.0, "{phase}");
}

#[test]
fn distinct_seats_are_never_refused() {
    let server = Server::start();
    let pid = server.pid().to_string();
    for scenario in ["hot-event", "many-events"] {
        for rate in [&[][..], &["--rate", "400"]] {
            let arguments =
                [&[scenario, "--seats", "30000", "--events", "2", "--server-pid", &pid], rate]
                    .concat();
            let phase = measured(&server, &arguments);
            check(&phase, &["hold"]);
            assert_eq!(answers(&phase, "hold", 201), phase["requests"], "{phase}");
            assert!(phase["server_cpu_us_per_request"].as_f64().is_some(), "{phase}");
            assert_eq!(phase["rate"].as_u64(), (!rate.is_empty()).then_some(400));
        }
    }
}

#[test]
fn an_open_loop_has_the_rate_that_was_asked_for() {
    let server = Server::start();
    let phase = measured(&server, &["many-events", "--rate", "1000", "--threads", "3"]);
    // 700 were due. A machine that stands still for a while leaves some of them unsent.
    let sent = phase["requests"].as_u64().unwrap();
    let unsent = phase["faults"]["unsent"].as_u64().unwrap();
    assert!(sent + unsent >= 690 && sent <= 710, "{phase}");
}

#[test]
fn seats_that_do_not_last_are_cancelled_and_taken_again() {
    let server = Server::start();
    let phase =
        measured(&server, &["hot-event", "--seats", "100", "--events", "1", "--connections", "8"]);
    check(&phase, &["hold", "cancel"]);
    assert!(answers(&phase, "hold", 201) > 100, "{phase}");
    assert_eq!(answers(&phase, "hold", 409), 0, "{phase}");
}

#[test]
fn those_who_want_the_same_are_refused_and_go_on() {
    let server = Server::start();
    for scenario in ["hot-seats", "groups"] {
        for rate in [&[][..], &["--rate", "800"]] {
            let arguments = [&[scenario, "--connections", "32", "--threads", "2"], rate].concat();
            let phase = measured(&server, &arguments);
            check(&phase, &["hold", "cancel"]);
            assert!(
                answers(&phase, "hold", 201) > 0 && answers(&phase, "cancel", 200) > 0,
                "{phase}"
            );
        }
        let phase = measured(&server, &[scenario, "--seats", "8", "--connections", "64"]);
        assert!(answers(&phase, "hold", 409) > 0, "nobody was refused one of 8 seats: {phase}");
    }
}

#[test]
fn customers_look_hold_and_decide() {
    let server = Server::start();
    for rate in [&[][..], &["--rate", "600"]] {
        let arguments = [&["checkout", "--seats", "3000", "--events", "3"], rate].concat();
        let phase = measured(&server, &arguments);
        check(&phase, &["list-available", "hold", "confirm", "cancel"]);
    }
    let phase = measured(&server, &["browse"]);
    check(&phase, &["list-events", "show-event", "list-tickets", "list-available"]);
    assert!(["hold", "confirm"].iter().all(|name| phase["latency"][name].is_null()), "{phase}");
}

#[test]
fn text_and_files_are_written() {
    let server = Server::start();
    let url = server.url();
    let directory = TempDir::new().unwrap();
    let (hdr, plot) = (directory.path().join("hdr"), directory.path().join("plot.svg"));
    let told = run(&[
        "checkout",
        "--url",
        &url,
        "--duration",
        "500ms",
        "--seats",
        "500",
        "--hdr",
        hdr.to_str().unwrap(),
        "--plot",
        plot.to_str().unwrap(),
    ]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    for line in
        ["scenario      checkout\n", "hold 201\n", "verdict       every answer is still true\n"]
    {
        assert!(told.stdout.contains(line), "{line:?} in {told:?}");
    }
    let hold = fs::read_to_string(hdr.join("checkout-hold.hgrm")).unwrap();
    assert!(hold.contains("1/(1-Percentile)") && hold.contains("#[Max"), "{hold}");
    assert!(hdr.join("checkout-all.hgrm").exists());
    let series = fs::read_dir(&hdr).unwrap().count() - 1;
    assert!(series >= 4, "looking, holding, confirming, cancelling");
    let plot = fs::read_to_string(plot).unwrap();
    assert!(plot.starts_with("<svg") && plot.matches("<polyline").count() == series, "{plot}");
}
