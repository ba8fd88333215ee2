//! Tests over real sockets, of what needs no engine: everything below and beside the API.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{AllowedOrigins, HttpOptions, Running, Server, Shared};
use crate::clock::Clock;
use crate::stats::Stats;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn options() -> HttpOptions {
    HttpOptions {
        host: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        runtimes: 2,
        max_connections: 100,
        max_body_bytes: 1_024,
        request_timeout: PATIENCE,
        cors: AllowedOrigins::Any,
    }
}

fn start(options: HttpOptions) -> (Running, Arc<Shared>) {
    let shared = Shared::new(Stats::new(), Clock::system());
    let running = Server::bind(options).unwrap().start(Arc::clone(&shared));
    (running.unwrap(), shared)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `bytes` and reads until the server closes.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    read_answer(&mut stream)
}

fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Answer(String::from_utf8(answer).unwrap())
}

/// A GET on a connection that ends with it.
fn get(address: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    exchange(address, request.as_bytes())
}

struct Answer(String);

impl Answer {
    /// The status of the last answer on the connection.
    fn status(&self) -> u16 {
        let last = self.0.rfind("HTTP/1.1 ").expect("an answer");
        self.0[last + 9..last + 12].parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let last = self.0.rfind("HTTP/1.1 ").expect("an answer");
        let head = self.0[last..].split("\r\n\r\n").next().unwrap();
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    fn body(&self) -> &str {
        self.0.rsplit("\r\n\r\n").next().unwrap()
    }

    /// Checks that this is a complete problem document with this status and code.
    fn check_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status(), status, "{}", self.0);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.0);
        let body: Value = serde_json::from_str(self.body()).unwrap();
        assert_eq!(body["status"], status);
        assert_eq!(body["code"], code);
        assert_eq!(self.header("x-request-id"), body["request_id"].as_str());
        let length = self.body().len().to_string();
        assert_eq!(self.header("content-length"), Some(length.as_str()));
    }
}

#[test]
fn it_answers_before_it_is_ready() {
    let (running, shared) = start(options());
    let at = running.local_addr();
    assert_eq!(get(at, "/livez").status(), 200);
    let ready = get(at, "/readyz");
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.body().lines().count(), 3);
    let health: Value = serde_json::from_str(get(at, "/health").body()).unwrap();
    assert_eq!(health["status"], "starting");
    let api = get(at, "/api/events");
    api.check_problem(503, "not_ready");
    assert_eq!(api.header("retry-after"), Some("1"));
    get(at, "/metrics").check_problem(503, "not_ready");
    running.drain(PATIENCE).unwrap();
    assert_eq!(shared.connections(), 0);
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    get(at, "/nowhere?a=b").check_problem(404, "not_found");
    get(at, "/api/users/").check_problem(404, "not_found");
    get(at, "/%zz").check_problem(400, "bad_parameter");
    let wrong = exchange(at, b"DELETE /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    wrong.check_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, OPTIONS"));
    running.drain(PATIENCE).unwrap();
}

#[test]
fn a_head_asks_for_no_body_and_options_for_the_methods() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    let close = "HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let head = exchange(at, format!("HEAD /livez {close}\r\n").as_bytes());
    assert_eq!(head.status(), 200);
    assert_eq!(head.header("content-length"), Some("3"));
    assert_eq!(head.body(), "");
    let options = exchange(at, format!("OPTIONS /api/bookings {close}\r\n").as_bytes());
    assert_eq!(options.status(), 204);
    assert_eq!(options.header("allow"), Some("POST, OPTIONS"));
    let preflight = format!(
        "OPTIONS /api/bookings {close}origin: http://a\r\naccess-control-request-method: POST\r\n\r\n"
    );
    let preflight = exchange(at, preflight.as_bytes());
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    running.drain(PATIENCE).unwrap();
}

#[test]
fn what_hyper_refuses_by_itself_is_a_problem_too() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    for broken in [
        "BROKEN\r\n\r\n".to_owned(),
        "GET / HTTP/3.9\r\n\r\n".into(),
        "GET /livez HTTP/1.1\r\nhost : x\r\n\r\n".into(),
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".into(),
    ] {
        exchange(at, broken.as_bytes()).check_problem(400, "malformed_request");
    }
    let long = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    exchange(at, long.as_bytes()).check_problem(431, "headers_too_large");
    let endless = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}", "a".repeat(100_000));
    exchange(at, endless.as_bytes()).check_problem(431, "headers_too_large");
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(101));
    exchange(at, many.as_bytes()).check_problem(431, "headers_too_large");
    for length in [u64::MAX, u64::MAX - 1] {
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        exchange(at, head.as_bytes()).check_problem(413, "body_too_large");
    }
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    exchange(at, http2).check_problem(400, "malformed_request");
    // Answers to what came before on the same connection are not touched.
    let after = exchange(at, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\nBROKEN\r\n\r\n");
    assert!(after.0.starts_with("HTTP/1.1 200 OK\r\n"), "{}", after.0);
    after.check_problem(400, "malformed_request");
    running.drain(PATIENCE).unwrap();
}

#[test]
fn ambiguous_heads_are_refused() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    for ambiguous in [
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        "POST /api/users HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/users HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
         content-length: 5\r\n\r\n0\r\n\r\n",
        "POST /api/users HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = exchange(at, ambiguous.as_bytes());
        answer.check_problem(400, "malformed_request");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // Also behind others that came with it.
    for before in [
        "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nhost: x\r\norigin: http://a\r\n\
         access-control-request-method: POST\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let both = "GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
                    transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        let answer = exchange(at, format!("{before}{before}{both}").as_bytes());
        answer.check_problem(400, "malformed_request");
        assert_eq!(answer.0.matches("HTTP/1.1 20").count(), 2, "{}", answer.0);
    }
    let target = format!("/livez?{}", "a".repeat(2_048));
    get(at, &target).check_problem(414, "target_too_long");
    running.drain(PATIENCE).unwrap();
}

#[test]
fn request_ids_are_echoed_or_made() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    let request =
        b"GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(at, request).header("x-request-id"), Some("mine"));
    let made = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    let (first, second) = (get(at, "/livez"), get(at, "/livez"));
    assert_eq!(made(&first).len(), 32);
    assert_ne!(made(&first), made(&second));
    running.drain(PATIENCE).unwrap();
}

#[test]
fn a_request_id_like_a_status_line_is_no_answer() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    for method in ["HEAD /livez", "OPTIONS /api/bookings", "GET /livez"] {
        for id in ["HTTP/1.1-400", "HTTP/1.0", "HTTP/1.1"] {
            let answer = exchange(
                at,
                format!(
                    "{method} HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\n\r\n\
                     GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                )
                .as_bytes(),
            );
            assert!(answer.0.contains(&format!("\r\nx-request-id: {id}\r\n")), "{}", answer.0);
            assert_eq!(answer.0.matches("\r\n\r\n").count(), 2, "{}", answer.0);
            assert_eq!(answer.status(), 200);
        }
    }
    running.drain(PATIENCE).unwrap();
}

#[test]
fn one_client_too_many_is_told_so_and_the_others_stay() {
    let (running, shared) = start(HttpOptions { max_connections: 1, ..options() });
    let at = running.local_addr();
    let mut first = connect(at);
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    first.write_all(request).unwrap();
    let mut some = [0; 64];
    assert!(first.read(&mut some).unwrap() > 0);
    assert_eq!(shared.connections(), 1);
    let second = get(at, "/livez");
    second.check_problem(503, "overloaded");
    assert_eq!(second.header("retry-after"), Some("1"));
    first.write_all(request).unwrap();
    assert!(first.read(&mut some).unwrap() > 0);
    running.drain(PATIENCE).unwrap();
}

#[test]
fn a_refused_upload_does_not_reset_the_connection() {
    let (running, _shared) = start(options());
    let at = running.local_addr();
    let mut stream = connect(at);
    let head = "POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b'x'; 300_000]).unwrap();
    read_answer(&mut stream).check_problem(404, "not_found");
    running.drain(PATIENCE).unwrap();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (running, _shared) = start(options());
    let mut requests = String::new();
    for number in 0..100 {
        requests += &format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-request-id: n{number}\r\n\r\n");
    }
    requests += "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = exchange(running.local_addr(), requests.as_bytes()).0;
    let ids: Vec<&str> =
        answers.lines().filter_map(|line| line.strip_prefix("x-request-id: n")).collect();
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 101);
    running.drain(PATIENCE).unwrap();
}

#[test]
fn silence_is_not_waited_for_forever() {
    let (running, _shared) =
        start(HttpOptions { request_timeout: Duration::from_millis(100), ..options() });
    let at = running.local_addr();
    let whole = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(exchange(at, b"").0, "");
    assert_eq!(exchange(at, b"\r\n").0, "");
    let idle = exchange(at, whole.as_bytes());
    assert_eq!((idle.status(), idle.body()), (200, "ok\n"));
    for before in ["", whole] {
        let late = exchange(at, format!("{before}GET /livez HTTP/1.1\r\nho").as_bytes());
        late.check_problem(408, "request_timeout");
        assert_eq!(late.header("connection"), Some("close"));
    }
    running.drain(PATIENCE).unwrap();
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let (running, _shared) = start(options());
    let mut stream = connect(running.local_addr());
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut stream).status(), 200);
    running.drain(PATIENCE).unwrap();
}

#[test]
fn draining_answers_whoever_is_connected_and_closes() {
    let (running, shared) = start(options());
    let at = running.local_addr();
    let mut idle = connect(at);
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    idle.write_all(request).unwrap();
    let mut some = [0; 1_024];
    assert!(idle.read(&mut some).unwrap() > 0);
    // Connected, and accepted or not: each has sent its request before the drain begins.
    let mut waiting: Vec<TcpStream> = (0..50).map(|_| connect(at)).collect();
    for stream in &mut waiting {
        stream.write_all(request).unwrap();
    }
    running.drain(PATIENCE).unwrap();
    assert_eq!(idle.read(&mut some).unwrap(), 0, "an idle connection ends");
    for stream in &mut waiting {
        assert_eq!(read_answer(stream).status(), 200);
    }
    assert_eq!(shared.connections(), 0);
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn a_port_that_is_taken_is_not_shared() {
    let (running, _shared) = start(options());
    let taken = HttpOptions { port: running.local_addr().port(), ..options() };
    let error = Server::bind(taken).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    running.drain(PATIENCE).unwrap();
}
