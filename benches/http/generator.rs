//! One second of load.

use std::path::Path;
use std::process::Command;

use super::servers::Child;

/// What one server did in one slice.
pub(crate) struct Slice {
    /// Requests per second.
    pub(crate) rate: f64,
    /// The server's CPU time per request, in microseconds.
    pub(crate) cpu_micros: f64,
}

/// Lets wrk send the script's requests for a second over `connections` connections.
pub(crate) fn wrk(server: &Child, script: &Path, connections: u32) -> Slice {
    let before = server.cpu_seconds();
    let output = Command::new("wrk")
        .args(["-t1", "-d1s", &format!("-c{connections}"), "-s"])
        .arg(script)
        .arg(format!("http://127.0.0.1:{}", server.port))
        .output()
        .expect("wrk is installed (Debian package wrk)");
    let cpu = server.cpu_seconds() - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
    let rate = field(&text, "Requests/sec:");
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .expect("wrk says how many requests it made");
    Slice { rate, cpu_micros: cpu * 1e6 / requests }
}

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).expect("wrk says its rate")
}
