//! The two servers as processes of their own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bare;

/// A server that ends with the bench.
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) port: u16,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Child {
    fn start(mut command: Command, port_file: &Path) -> Self {
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        Self { process, port: 0 }.listening(port_file)
    }

    /// Waits until the server has said where it listens.
    fn listening(mut self, port_file: &Path) -> Self {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.port == 0 {
            assert!(Instant::now() < deadline, "a server did not start");
            let port = std::fs::read_to_string(port_file).unwrap_or_default();
            self.port = port.trim().parse().unwrap_or(0);
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    pub(crate) fn start_bare(directory: &Path, threads: usize) -> Self {
        let port_file = directory.join("bare-port");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(bare::PORT_FILE, &port_file).env(bare::THREADS, threads.to_string());
        Self::start(command, &port_file)
    }

    /// CPU time of all its threads so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }
}

/// booking-manager, with what is needed to book on it.
pub(crate) struct Booking {
    pub(crate) child: Child,
    user: String,
}

impl Booking {
    pub(crate) fn start(directory: &Path, durability: &str, threads: usize) -> Self {
        let port_file = directory.join("port");
        let log = std::fs::File::create(directory.join("server.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_booking-manager"));
        command
            .env_clear()
            .env("SERVER_HOST", "127.0.0.1")
            .env("SERVER_PORT", "0")
            .env("PORT_FILE", &port_file)
            .env("DATA_DIR", directory.join("data"))
            .env("DURABILITY", durability)
            .env("HTTP_THREADS", threads.to_string())
            .current_dir(directory)
            .stderr(log);
        let child = Child::start(command, &port_file);
        let url = format!("http://127.0.0.1:{}/readyz", child.port);
        while ureq::get(&url).call().is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut booking = Self { child, user: String::new() };
        let user = booking.post("/api/users", r#"{"email":"bench@example.com","name":"Bench"}"#);
        booking.user = user["user_id"].as_str().unwrap().into();
        booking
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.child.port)
    }

    fn post(&self, path: &str, body: &str) -> serde_json::Value {
        let request = ureq::post(self.url(path)).content_type("application/json");
        request.send(body).unwrap().body_mut().read_json().unwrap()
    }

    /// Creates an event of `seats` seats and the generator's script that books them one by one.
    pub(crate) fn prepare_slice(&self, directory: &Path, seats: u32) -> PathBuf {
        let event = self.post(
            "/api/events",
            &format!(
                r#"{{"name":"Night","artist":"Band","venue":"Hall","date":"2026-12-24T20:00:00Z","total_seats":{seats},"price":75.00}}"#
            ),
        );
        let event = event["event_id"].as_str().unwrap();
        let mut listing =
            ureq::get(self.url(&format!("/api/events/{event}/tickets"))).call().unwrap();
        let body = listing.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        let tickets: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        assert_eq!(tickets.len(), seats as usize);
        let ids = directory.join("tickets");
        let mut lines = String::new();
        for ticket in &tickets {
            writeln!(lines, "{}", ticket["id"].as_str().unwrap()).unwrap();
        }
        std::fs::write(&ids, lines).unwrap();
        let script = directory.join("book.lua");
        let mut file = std::fs::File::create(&script).unwrap();
        write!(
            file,
            r#"-- Past the last ticket this fails, and wrk with it.
local ids, next_id = {{}}, 0
for line in io.lines("{ids}") do ids[#ids + 1] = line end
local prefix = '{{"user_id":"{user}","event_id":"{event}","ticket_ids":["'
local headers = {{ ["Content-Type"] = "application/json" }}
function request()
  next_id = next_id + 1
  return wrk.format("POST", "/api/bookings", headers, prefix .. ids[next_id] .. '"]}}')
end
"#,
            ids = ids.display(),
            user = self.user,
        )
        .unwrap();
        script
    }
}
