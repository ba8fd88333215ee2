//! A server that is killed in the midst of the load and starts again.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::wait_until;
use crate::liar::ask;
use crate::program::{Run, ended, program, run};
use crate::server::Server;

const LIMIT: Duration = Duration::from_secs(600);
/// So many booking requests show that the load is on.
const ENOUGH: u64 = 100;

/// Load that goes on until it is interrupted, or killed by the end of a test that failed.
struct Load(Option<Child>);

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Load {
    fn on(server: &Server, scenario: &str) -> Self {
        let url = server.url();
        let child = program()
            .args([scenario, "--url", &url, "--json", "--warmup", "0s", "--duration", "10m"])
            .args(["--users", "50", "--seats", "200000", "--events", "1", "--connections", "16"])
            .spawn()
            .unwrap();
        let load = Self(Some(child));
        wait_for_requests(server);
        load
    }

    fn interrupted(mut self) -> Run {
        let child = self.0.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        ended(child)
    }
}

/// Waits until this run of the server has decided enough requests.
fn wait_for_requests(server: &Server) {
    wait_until(LIMIT, "the load is on", || {
        let request = "GET /api/bookings/stats HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let stats = ask(server.port, request).unwrap_or_default();
        let body = stats.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let stats: Value = serde_json::from_str(body).unwrap_or_default();
        stats["total_requests"].as_u64().is_some_and(|requests| requests >= ENOUGH)
    });
}

#[test]
fn what_was_acknowledged_before_a_crash_is_true_after_it() {
    let mut server = Server::start();
    let load = Load::on(&server, "checkout");
    server.kill();
    server.restart();
    wait_for_requests(&server);
    let report = load.interrupted().sound();
    let phase = &report["phases"][0];
    assert!(phase["faults"]["broken"].as_u64().unwrap() > 0, "no request met the crash: {phase}");
    assert!(report["acknowledged_bookings"].as_u64().unwrap() > ENOUGH, "{report}");
}

#[test]
fn a_server_that_has_forgotten_everything_is_found_out() {
    let mut server = Server::start();
    let load = Load::on(&server, "many-events");
    server.kill();
    server.forget();
    server.restart();
    wait_for_requests(&server);
    let wrongs = load.interrupted().wrongs();
    assert!(wrongs.iter().any(|wrong| wrong.contains("user_not_found")), "{wrongs:?}");
}

#[test]
fn a_server_that_is_not_there_cannot_be_used() {
    let mut server = Server::start();
    let url = server.url();
    server.kill();
    let told = run(&["browse", "--url", &url]);
    assert!(told.unusable().contains("nothing could be made"), "{told:?}");
}
