//! Holds that lapse together.

use crate::program::{answers, run};
use crate::server::Server;

#[test]
fn others_are_measured_before_and_while_holds_lapse() {
    let server = Server::with_holds_of(15);
    let url = server.url();
    let report = run(&[
        "expiry-storm",
        "--url",
        &url,
        "--json",
        "--holds",
        "3000",
        "--connections",
        "500",
        "--rate",
        "200",
        "--duration",
        "1s",
        "--users",
        "50",
    ])
    .sound();
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases.iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    assert_eq!(names, ["placing", "before", "during"], "{report}");
    assert_eq!(answers(&phases[0], "hold", 201), 3_000, "{report}");
    for phase in &phases[1..] {
        assert!(answers(phase, "hold", 201) > 0, "{report}");
    }
    let remarks = report["remarks"].as_array().unwrap();
    assert!(remarks[0].as_str().unwrap().starts_with("3000 holds lapsed within"), "{report}");
    assert!(remarks[2].as_str().unwrap().starts_with("all swept"), "{report}");
}

#[test]
fn holds_that_last_too_long_are_not_waited_for() {
    let server = Server::start();
    let told = run(&["expiry-storm", "--url", &server.url()]);
    assert!(told.unusable().contains("HOLD_TTL_SECONDS"), "{told:?}");
}
