//! HTTP/1.1 itself: what proper clients may do, and what others must not achieve.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Raw, Server, Settings, Shared, fresh_email, shared, wait_until};

const BODY_BYTES_MAX: usize = 65_536;
const TIMEOUT_SECONDS: u64 = 2;
/// The configured deadline, and what a busy machine may add.
const CLOSED_LIMIT: Duration = Duration::from_secs(TIMEOUT_SECONDS + 8);

fn narrow_bounds(timeout_seconds: u64) -> Settings {
    Settings::new()
        .env("MAX_BODY_BYTES", BODY_BYTES_MAX)
        .env("REQUEST_TIMEOUT_SECONDS", timeout_seconds)
}

/// A server with narrow bounds, for tests that write nothing: a sync may take longer.
fn strict_server() -> &'static Server {
    static SHARED: Shared = Shared::new();
    SHARED.get(|| narrow_bounds(TIMEOUT_SECONDS))
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
    )
}

fn new_user() -> String {
    let body = json!({"email": fresh_email(), "name": "Raw"}).to_string();
    post(&format!("Content-Length: {}\r\n", body.len()), &body)
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let mut connection = Raw::connect(shared().address());
    for _ in 0..5 {
        assert_eq!(connection.send(new_user()).reply().status, 201);
        assert_eq!(connection.get("/api/nothing").reply().status, 404);
        assert_eq!(connection.get("/livez").reply().status, 200);
    }
}

#[test]
fn a_connection_is_closed_when_its_client_asks_for_it() {
    let mut connection = Raw::connect(shared().address());
    connection.send("GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(connection.reply().status, 200);
    assert!(connection.is_closed_within(CLOSED_LIMIT), "still open");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut connection = Raw::connect(shared().address());
    let request = |number: usize| {
        let path = ["/livez", "/api/nothing", "/health", "/api/events?limit=1"][number % 4];
        format!("GET {path} HTTP/1.1\r\nHost: test\r\nX-Request-Id: pipe-{number}\r\n\r\n")
    };
    let all: String = (0..16).map(request).collect();
    connection.send(all);
    for number in 0..16 {
        let reply = connection.reply();
        let due = format!("pipe-{number}");
        assert_eq!(reply.header("x-request-id"), Some(due.as_str()));
        assert_eq!(reply.status, if number % 4 == 1 { 404 } else { 200 });
    }
}

#[test]
fn pipelined_writes_are_all_done() {
    let mut connection = Raw::connect(shared().address());
    let all: String = (0..16).map(|_| new_user()).collect();
    connection.send(all);
    for number in 0..16 {
        assert_eq!(connection.reply().status, 201, "write {number}");
    }
}

#[test]
fn a_chunked_body_is_read() {
    let body = json!({"email": fresh_email(), "name": "In pieces"}).to_string();
    let (one, other) = body.split_at(10);
    let chunked = format!("{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len());
    let mut connection = Raw::connect(shared().address());
    connection.send(post("Transfer-Encoding: chunked\r\n", &chunked));
    assert_eq!(connection.reply().status, 201);
}

#[test]
fn two_kinds_of_length_are_refused() {
    let headers = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let turned = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    for headers in [headers, turned] {
        let mut connection = Raw::connect(shared().address());
        connection.send(post(headers, "0\r\n\r\n"));
        assert_eq!(connection.reply().status, 400, "{headers:?}");
    }
}

#[test]
fn two_different_lengths_are_refused() {
    let mut connection = Raw::connect(shared().address());
    connection.send(post("Content-Length: 2\r\nContent-Length: 7\r\n", "{}     "));
    assert_eq!(connection.reply().status, 400);
}

#[test]
fn a_request_without_a_host_is_refused() {
    let mut connection = Raw::connect(shared().address());
    connection.send("GET /health HTTP/1.1\r\n\r\n");
    assert_eq!(connection.reply().status, 400);
}

#[test]
fn a_body_that_is_declared_too_large_is_refused_without_being_read() {
    let server = strict_server();
    let mut connection = Raw::connect(server.address());
    let declared = format!("Content-Length: {}\r\n", BODY_BYTES_MAX + 1);
    connection.send(post(&declared, ""));
    connection.reply().expect_refusal(413, "body_too_large");
    let mut connection = Raw::connect(server.address());
    connection.send(post("Content-Length: 9000000000000000000\r\n", ""));
    connection.reply().expect_refusal(413, "body_too_large");
}

#[test]
fn a_chunked_body_over_the_bound_is_refused() {
    let server = strict_server();
    let mut connection = Raw::connect(server.address());
    connection.send(post("Transfer-Encoding: chunked\r\n", ""));
    let chunk = format!("{:x}\r\n{}\r\n", 4_096, " ".repeat(4_096));
    connection.send(chunk.repeat(BODY_BYTES_MAX / 4_096 + 2));
    connection.reply().expect_refusal(413, "body_too_large");
}

#[test]
fn a_flood_of_headers_is_refused() {
    let many: String = (0..5_000).map(|n| format!("X-Flood-{n}: water\r\n")).collect();
    let long = format!("X-Flood: {}\r\n", "w".repeat(400_000));
    for flood in [many, long] {
        let mut connection = Raw::connect(shared().address());
        connection.send(format!("GET /health HTTP/1.1\r\nHost: test\r\n{flood}\r\n"));
        connection.reply().expect_refusal(431, "headers_too_large");
    }
}

#[test]
fn half_a_request_head_is_ended_in_time() {
    let server = strict_server();
    for half in ["", "GET /heal", "GET /health HTTP/1.1\r\nHost: te"] {
        let mut connection = Raw::connect(server.address());
        connection.send(half);
        assert!(connection.is_closed_within(CLOSED_LIMIT), "{half:?} keeps its connection");
    }
    server.get("/health").expect(200);
}

#[test]
fn a_stalled_body_is_ended_in_time() {
    let server = strict_server();
    let mut connection = Raw::connect(server.address());
    connection.send(post("Content-Length: 50\r\n", "{\"email\":"));
    if let Some(reply) = connection.read() {
        assert_eq!(reply.status, 408, "a stalled body is a timeout");
    }
    assert!(connection.is_closed_within(CLOSED_LIMIT), "still open");
}

#[test]
fn stalled_clients_harm_nobody_else() {
    let server = narrow_bounds(30).start();
    let stalled: Vec<Raw> = (0..50)
        .map(|number| {
            let mut connection = Raw::connect(server.address());
            let half =
                ["", "POST /api", &post("Content-Length: 99\r\n", "{")][number % 3].to_owned();
            connection.send(half);
            connection
        })
        .collect();
    for _ in 0..20 {
        server.create_user();
    }
    drop(stalled);
    server.get("/health").expect(200);
}

#[test]
fn a_client_that_leaves_in_the_middle_harms_nobody() {
    let client = shared();
    let whole = new_user();
    for length in (1..whole.len()).step_by(7) {
        Raw::connect(client.address()).send(&whole[..length]);
    }
    for _ in 0..20 {
        Raw::connect(client.address()).send(new_user());
    }
    client.create_user();
}

#[test]
fn a_client_that_says_no_more_still_gets_its_answer() {
    let mut connection = Raw::connect(shared().address());
    connection.send(new_user()).finish();
    if let Some(reply) = connection.read() {
        assert_eq!(reply.status, 201);
    }
    shared().create_user();
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let client = shared();
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n".to_vec();
    let zeros = vec![0; 2_048];
    let noise: Vec<u8> =
        (0..10_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let null = b"GET /health HTTP/1.1\r\nHost: te\0st\r\n\r\n".to_vec();
    for garbage in [tls_hello, zeros, noise, http2, null] {
        let mut connection = Raw::connect(client.address());
        connection.send(&garbage).finish();
        if let Some(reply) = connection.read() {
            let refused = reply.status / 100 == 4 || reply.status == 505;
            assert!(refused, "garbage was answered {}", reply.status);
        }
    }
    client.create_user();
}

#[test]
fn a_refusal_without_the_body_keeps_the_connection_however_it_arrives() {
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        let mut connection = Raw::connect(shared().address());
        for (head, due) in [
            (
                "POST /api/users HTTP/1.1\r\nContent-Type: application/json\r\nIdempotency-Key: a b",
                400,
            ),
            ("POST /api/users HTTP/1.1\r\nContent-Type: text/plain", 415),
            ("POST /api/nothing HTTP/1.1", 404),
            ("GET /livez HTTP/1.1", 200),
        ] {
            connection.send(format!("{head}\r\nHost: test\r\nContent-Length: 4\r\n\r\n"));
            assert!(!connection.is_closed_within(pause), "closed before its body came: {head}");
            let reply = connection.send("body").reply();
            assert_eq!((reply.status, reply.header("connection")), (due, None), "{head}");
        }
    }
}

#[test]
fn whoever_asks_before_sending_a_body_is_refused_without_it() {
    let mut connection = Raw::connect(shared().address());
    connection.send(
        "POST /api/nothing HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    let reply = connection.reply();
    assert_eq!((reply.status, reply.header("connection")), (404, Some("close")));
    assert!(connection.is_closed_within(CLOSED_LIMIT), "still open");
}

#[test]
fn an_answer_is_not_lost_with_a_body_that_nobody_reads() {
    for method in ["GET", "DELETE", "OPTIONS"] {
        for _ in 0..10 {
            let mut connection = Raw::connect(shared().address());
            connection.send(format!(
                "{method} /api/events?limit=1 HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n"
            ));
            connection.send(vec![b'x'; 300_000]);
            let due = match method {
                "GET" => 200,
                "DELETE" => 405,
                _ => 204,
            };
            let reply = connection.reply();
            assert_eq!(reply.status, due, "{method} with a body");
            assert_eq!(reply.header("connection"), Some("close"), "{method} with a body");
        }
    }
}

#[test]
fn a_bad_length_is_refused() {
    for length in ["-1", "x", "18446744073709551616", "1 1"] {
        let mut connection = Raw::connect(shared().address());
        connection.send(post(&format!("Content-Length: {length}\r\n"), "{}")).finish();
        if let Some(reply) = connection.read() {
            assert_eq!(reply.status / 100, 4, "a length of {length:?}");
        }
    }
}

#[test]
fn connections_over_the_bound_wait_or_are_refused_and_then_there_is_room() {
    const CONNECTIONS_MAX: usize = 16;
    let settings = Settings::new().env("MAX_CONNECTIONS", CONNECTIONS_MAX);
    let server = settings.start();
    let mut crowd: Vec<Raw> =
        (0..CONNECTIONS_MAX * 3).filter_map(|_| Raw::try_connect(server.address())).collect();
    for connection in &mut crowd {
        connection.get("/livez");
    }
    // Which of them are within the bound is not told: several threads accept at once.
    let mut served = 0;
    for reply in crowd.iter_mut().filter_map(Raw::read) {
        if reply.status == 200 {
            served += 1;
        } else {
            reply.expect_refusal(503, "overloaded");
        }
    }
    assert!((1..=CONNECTIONS_MAX).contains(&served), "{served} connections were served");
    drop(crowd);
    wait_until(CLOSED_LIMIT, "there is room again", || server.is_ready());
    server.create_user();
}
