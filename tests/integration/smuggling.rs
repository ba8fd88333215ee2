//! Requests whose end two readers could see at different places. Each is followed by a booking that
//! must not happen: where the framing is in doubt, nothing behind it is a request.

use serde_json::{Value, json};

use crate::harness::{Call, Raw, Server, Settings, Show, fresh_email};

/// What must come of a row.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// This answer, and then the connection is closed.
    Closed(u16),
    /// The first answer, and the second if the connection goes on after it.
    Either(u16, u16),
}

use Due::{Closed, Either};

/// The refusal of whatever is in doubt.
const REFUSED: Due = Closed(400);
const BODY_BYTES_MAX: usize = 4_096;

/// A server with a show and a user, and the request that is smuggled.
struct Victim {
    server: Server,
    show: Show,
    hold: String,
}

impl Victim {
    fn new() -> Self {
        let settings = Settings::new().env("MAX_BODY_BYTES", BODY_BYTES_MAX);
        let settings = settings.env("CORS_ALLOWED_ORIGINS", "*");
        let server = settings.env("REQUEST_TIMEOUT_SECONDS", 30).start();
        let (show, user) = (server.create_show(1), server.create_user());
        let body = json!({"user_id": user, "event_id": show.id, "ticket_ids": show.tickets});
        let hold = post("/api/bookings", "", &body.to_string());
        Self { server, show, hold }
    }

    fn is_booked(&self) -> bool {
        self.server.event(&self.show.id).expect(200).json["available"] == 0
    }

    /// Sends `bytes` and the booking behind them, on a connection of their own.
    #[track_caller]
    fn attack(&self, name: &str, bytes: &[u8], due: Due) {
        let mut connection = Raw::connect(self.server.address());
        connection.send([bytes, self.hold.as_bytes()].concat());
        if matches!(due, Either(..)) {
            connection.finish();
        }
        let replies = connection.replies_until_closed();
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        let is_due = match due {
            Closed(status) => statuses == [status],
            Either(first, second) => statuses == [first] || statuses == [first, second],
        };
        assert!(is_due, "{name}: {statuses:?} and not {due:?}");
        for reply in replies.iter().filter(|reply| reply.status >= 400) {
            let kind = reply.header("content-type");
            assert_eq!(kind, Some("application/problem+json"), "{name}");
            assert_eq!(reply.json()["status"], reply.status, "{name}");
        }
        assert!(!self.is_booked(), "{name}: what was smuggled was done");
    }

    fn rows<'r>(&self, rows: impl IntoIterator<Item = (&'r str, String, Due)>) {
        for (name, text, due) in rows {
            self.attack(name, text.as_bytes(), due);
        }
        self.server.create_user();
        assert_eq!(self.server.settled_stats()["total_requests"], 0, "a booking was tried");
    }
}

/// A request that is framed by its Content-Length, with more headers, each line ended.
fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn new_user() -> String {
    json!({"email": fresh_email(), "name": "Raw"}).to_string()
}

/// The head of a request for a new user with these headers, each line ended, and what follows.
fn framed(headers: &str, body: &str) -> String {
    format!(
        "POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
    )
}

/// A new user in one chunk, which begins with `size` and ends with `end`, and then `last`.
fn chunked(size: impl Fn(usize) -> String, end: &str, last: &str) -> String {
    let body = new_user();
    let body = format!("{}{body}{end}{last}", size(body.len()));
    framed("Transfer-Encoding: chunked\r\n", &body)
}

/// A new user whose chunk's size is written in this way.
fn sized(size: impl Fn(usize) -> String) -> String {
    chunked(size, "\r\n", "0\r\n\r\n")
}

/// A new user in one chunk, with this after its last one.
fn trailed(last: &str) -> String {
    chunked(|length| format!("{length:x}\r\n"), "\r\n", last)
}

#[test]
fn two_lengths_are_one_too_many() {
    let ends = "0\r\n\r\n";
    let both = |headers: &str| framed(headers, ends);
    Victim::new().rows([
        ("none and chunked", both("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), REFUSED),
        ("chunked and none", both("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), REFUSED),
        ("the same", both("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), REFUSED),
        ("more", both("Content-Length: 999\r\nTransfer-Encoding: chunked\r\n"), REFUSED),
        ("in other letters", both("cONTENT-lENGTH: 5\r\ntRANSFER-eNCODING: Chunked\r\n"), REFUSED),
        ("no number", both("Transfer-Encoding: chunked\r\nContent-Length: x\r\n"), REFUSED),
        ("not chunked", both("Content-Length: 5\r\nTransfer-Encoding: identity\r\n"), REFUSED),
        ("two differing", both("Content-Length: 5\r\nContent-Length: 6\r\n"), REFUSED),
        ("two of which one is none", both("Content-Length: 5\r\nContent-Length:\r\n"), REFUSED),
        ("a list", both("Content-Length: 5, 5\r\n"), REFUSED),
        ("a list that differs", both("Content-Length: 5,6\r\n"), REFUSED),
    ]);
}

/// Browsers' questions are answered without a look at what they ask for, but not without one at how
/// they are framed.
#[test]
fn a_preflight_is_framed_like_any_request() {
    let ask = |headers: &str| {
        format!(
            "OPTIONS /api/bookings HTTP/1.1\r\nOrigin: https://shop.example\r\n\
             Access-Control-Request-Method: POST\r\n{headers}\r\n"
        )
    };
    let hosted = |headers: &str| ask(&format!("Host: test\r\n{headers}"));
    let ends = "0\r\n\r\n";
    Victim::new().rows([
        ("no host", ask(""), REFUSED),
        ("two hosts", hosted("Host: other\r\n"), REFUSED),
        ("a coding twice", hosted("Transfer-Encoding: chunked, chunked\r\n") + ends, REFUSED),
        ("another before it", hosted("Transfer-Encoding: gzip, chunked\r\n") + ends, REFUSED),
        (
            "one and another",
            hosted("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n") + ends,
            REFUSED,
        ),
        (
            "two lengths",
            hosted("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + ends,
            REFUSED,
        ),
    ]);
}

#[test]
fn a_length_is_digits() {
    let lengths = [
        "+5",
        "-5",
        "5.0",
        "5e0",
        "0x5",
        "5 5",
        "5;",
        "",
        " ",
        "\"5\"",
        "five",
        "\u{665}",
        "5\t6",
        "18446744073709551616",
        "99999999999999999999999999",
    ];
    let victim = Victim::new();
    for length in lengths {
        let request = framed(&format!("Content-Length: {length}\r\n"), "hello");
        victim.attack(&format!("{length:?}"), request.as_bytes(), REFUSED);
    }
    for length in ["4097", "9223372036854775807", "18446744073709551615"] {
        let request = framed(&format!("Content-Length: {length}\r\n"), "");
        victim.attack(length, request.as_bytes(), Closed(413));
    }
    let body = new_user();
    for length in [format!("000{}", body.len()), format!("\t{} \t", body.len())] {
        let request = framed(&format!("Content-Length: {length}\r\n"), &body);
        let mut connection = Raw::connect(victim.server.address());
        let status = connection.send(request).reply().status;
        assert!(matches!(status, 201 | 409), "{length:?} was answered {status}");
    }
}

#[test]
fn the_only_transfer_coding_is_chunked() {
    let codings = [
        "xchunked",
        "chunkedx",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked, identity",
        ",chunked",
        "chunked,",
        "\"chunked\"",
        "chunked;q=1",
        "chunked ;",
        "chunked chunked",
        "ch\u{fc}nked",
        "",
        "chunked\u{b}",
        "\u{b}chunked",
        "chunked\u{0}",
        "\u{a0}chunked",
    ];
    let victim = Victim::new();
    for coding in codings {
        let request = framed(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
        victim.attack(&format!("{coding:?}"), request.as_bytes(), REFUSED);
        let both = format!("Content-Length: 5\r\nTransfer-Encoding: {coding}\r\n");
        victim.attack(&format!("{coding:?} too"), framed(&both, "0\r\n\r\n").as_bytes(), REFUSED);
    }
    let twice = |one, other| {
        let headers = format!("Transfer-Encoding: {one}\r\nTransfer-Encoding: {other}\r\n");
        framed(&headers, "0\r\n\r\n")
    };
    let old = framed("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("1.1", "1.0");
    victim.rows([
        ("twice", twice("chunked", "chunked"), REFUSED),
        ("and another", twice("chunked", "identity"), REFUSED),
        ("behind another", twice("identity", "chunked"), REFUSED),
        ("in HTTP/1.0", old, REFUSED),
    ]);
}

#[test]
fn the_lines_of_a_head_are_strict() {
    let host = "Host: test\r\n";
    let get = |line: &str, headers: &str| format!("{line}{headers}\r\n");
    let with = |header: &str| get("GET /livez HTTP/1.1\r\n", &format!("{host}{header}"));
    let fine = "GET /livez HTTP/1.1\r\n";
    let victim = Victim::new();
    victim.rows([
        ("blank before the colon", with("Transfer-Encoding : chunked\r\n"), REFUSED),
        ("tab before the colon", with("Content-Length\t: 5\r\n"), REFUSED),
        ("a folded line", with("X: a\r\n Transfer-Encoding: chunked\r\n"), REFUSED),
        ("a folded line with a tab", with("X: a\r\n\tb\r\n"), REFUSED),
        ("a folded value", with("Content-Length:\r\n 5\r\n"), REFUSED),
        ("a blank before the first header", get(fine, &format!(" {host}")), REFUSED),
        ("no colon", with("Transfer-Encoding\r\n"), REFUSED),
        ("no name", with(": chunked\r\n"), REFUSED),
        ("a blank in a name", with("X Y: a\r\n"), REFUSED),
        ("a zero in a name", with("X\0Y: a\r\n"), REFUSED),
        ("a zero in a value", with("X: a\0b\r\n"), REFUSED),
        ("a carriage return in a value", with("X: a\rContent-Length: 5\r\n"), REFUSED),
        ("two carriage returns", with("X: a\r\r\n"), REFUSED),
        ("a line feed for an end", with("X: a\nContent-Length: 5\r\n"), REFUSED),
        ("line feeds for all ends", with("X: a\r\n").replace("\r\n", "\n"), REFUSED),
        ("a line feed behind the request line", with("").replace("1.1\r\n", "1.1\n"), REFUSED),
        ("a line feed for the empty line", format!("{fine}{host}\n"), REFUSED),
        ("no host", get(fine, ""), REFUSED),
        ("two hosts", with("Host: other\r\n"), REFUSED),
        ("the same host twice", with(host), REFUSED),
    ]);
    let latin = b"GET /livez HTTP/1.1\r\nHost: test\r\nX-\xe9: a\r\n\r\n";
    victim.attack("a name beyond ASCII", latin, REFUSED);
}

#[test]
fn the_request_line_is_strict() {
    let get = |line: &str| format!("{line}\r\nHost: test\r\n\r\n");
    let victim = Victim::new();
    victim.rows([
        ("two blanks", get("GET  /livez HTTP/1.1"), REFUSED),
        ("tabs", get("GET\t/livez\tHTTP/1.1"), REFUSED),
        ("a blank in front", get(" GET /livez HTTP/1.1"), REFUSED),
        ("a blank in the path", get("GET /li vez HTTP/1.1"), REFUSED),
        ("a zero in the path", get("GET /li\0vez HTTP/1.1"), REFUSED),
        ("a carriage return in the path", get("GET /li\rvez HTTP/1.1"), REFUSED),
        ("a blank at the end", get("GET /livez HTTP/1.1 "), REFUSED),
        ("no version", get("GET /livez"), REFUSED),
        ("version 0.9", get("GET /livez HTTP/0.9"), REFUSED),
        ("version 1.2", get("GET /livez HTTP/1.2"), REFUSED),
        ("version 2", get("GET /livez HTTP/2.0"), REFUSED),
        ("version 1.01", get("GET /livez HTTP/1.01"), REFUSED),
        ("small letters", get("GET /livez http/1.1"), REFUSED),
        ("a method that is none", get("G@T /livez HTTP/1.1"), REFUSED),
        ("a tunnel", get("CONNECT test:443 HTTP/1.1"), REFUSED),
        ("a tunnel with a path", get("CONNECT /livez HTTP/1.1"), REFUSED),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), REFUSED),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned(), REFUSED),
    ]);
}

#[test]
fn chunks_are_strict() {
    let hex = |length: usize| format!("{length:x}");
    let crowd = "x".repeat(20_000);
    Victim::new().rows([
        ("no size", sized(|_| "\r\n".into()), REFUSED),
        ("a prefix", sized(|n| format!("0x{}\r\n", hex(n))), REFUSED),
        ("a sign", sized(|n| format!("+{}\r\n", hex(n))), REFUSED),
        ("less than nothing", sized(|n| format!("-{}\r\n", hex(n))), REFUSED),
        ("a blank in front", sized(|n| format!(" {}\r\n", hex(n))), REFUSED),
        ("two sizes", sized(|n| format!("{} {}\r\n", hex(n), hex(n))), REFUSED),
        ("no digit", sized(|_| "g\r\n".into()), REFUSED),
        ("65 bits", sized(|_| "10000000000000000\r\n".into()), REFUSED),
        ("a size ended by a line feed", sized(|n| format!("{}\n", hex(n))), REFUSED),
        ("a size ended by a carriage return", sized(|n| format!("{}\r", hex(n))), REFUSED),
        ("two carriage returns", sized(|n| format!("{}\r\r\n", hex(n))), REFUSED),
        ("a line feed in an extension", sized(|n| format!("{};a\nb\r\n", hex(n))), REFUSED),
        ("an endless extension", sized(|n| format!("{};{crowd}\r\n", hex(n))), REFUSED),
        ("a chunk too short", sized(|n| format!("{}\r\n", hex(n - 1))), REFUSED),
        ("a chunk too long", sized(|n| format!("{}\r\n", hex(n + 1))), REFUSED),
        ("no end", chunked(|n| format!("{n:x}\r\n"), "", "0\r\n\r\n"), REFUSED),
        ("a line feed for an end", chunked(|n| format!("{n:x}\r\n"), "\n", "0\r\n\r\n"), REFUSED),
        ("a line feed at the end of all", trailed("0\r\n\n"), REFUSED),
        ("a line feed behind a trailer", trailed("0\r\nX: a\n\r\n"), REFUSED),
        ("a line feed behind the trailers", trailed("0\r\nX: a\r\n\n"), REFUSED),
        ("a carriage return at the end of all", trailed("0\r\n\rX"), REFUSED),
        ("a trailer too long", trailed(&format!("0\r\nX: {crowd}\r\n\r\n")), REFUSED),
        ("too many trailers", trailed(&format!("0\r\n{}\r\n", "X: a\r\n".repeat(2_000))), REFUSED),
        ("a trailer that is none", trailed("0\r\nX a\r\n\r\n"), REFUSED),
        ("a folded trailer", trailed("0\r\nX: a\r\n b\r\n\r\n"), REFUSED),
        ("more than a body may have", sized(|_| "fff000\r\n".into()), Either(400, 400)),
    ]);
}

#[test]
fn a_body_that_nobody_reads_is_no_request() {
    let victim = Victim::new();
    let inner = victim.hold.clone();
    let method = |method: &str, path: &str| post(path, "", &inner).replacen("POST", method, 1);
    let other = post("/api/users", "", &inner).replace("application/json", "text/plain");
    let pad = " ".repeat(BODY_BYTES_MAX);
    let chunk = format!("{:x}\r\n{pad}{inner}\r\n0\r\n\r\n", pad.len() + inner.len());
    victim.rows([
        ("of a read", method("GET", "/livez") + "@", Either(200, 400)),
        ("of a path that is none", post("/nothing", "", &inner) + "@", Either(404, 400)),
        ("of a method that is not allowed", method("PUT", "/api/bookings") + "@", Either(405, 400)),
        ("of another type", other + "@", Either(415, 400)),
        ("that is no JSON", post("/api/users", "", &inner) + "@", Either(400, 400)),
        ("that is too long", post("/api/users", "", &(pad + &inner)), Closed(413)),
        ("that turns out too long", framed("Transfer-Encoding: chunked\r\n", &chunk), Closed(413)),
    ]);
}

#[test]
fn a_connection_that_is_to_be_closed_answers_nothing_more() {
    let close = "GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let and_keep = close.replace("close\r\n", "close\r\nConnection: keep-alive\r\n");
    Victim::new().rows([
        ("asked for", close.to_owned(), Closed(200)),
        ("asked for among others", close.replace("close", "x, Close"), Closed(200)),
        ("and taken back", and_keep, Closed(200)),
        ("with an upgrade", close.replace("close", "close, Upgrade\r\nUpgrade: h2c"), Closed(200)),
        ("HTTP/1.0", "GET /livez HTTP/1.0\r\n\r\n".to_owned(), Closed(200)),
    ]);
}

#[test]
fn what_is_in_no_doubt_is_done() {
    let victim = Victim::new();
    let address = victim.server.address();
    let hex = |length: usize| format!("{length:x}");
    let get = |line: &str, more: &str| format!("{line}\r\nHost: test\r\n{more}\r\n");
    let json = new_user();
    let expecting =
        framed(&format!("Content-Length: {}\r\nExpect: 100-continue\r\n", json.len()), &json);
    let two = format!("1\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &json[..1], json.len() - 1, &json[1..]);
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let rows: [(&str, String, &[u16]); 16] = [
        (
            "empty lines before a request",
            format!("\r\n\r\n{}", get("GET /livez HTTP/1.1", "")),
            &[200],
        ),
        ("no blank behind the colon", trailed("0\r\n\r\n").replace(": ", ":"), &[201]),
        ("large letters", trailed("0\r\n\r\n").replace("chunked", "CHUNKED"), &[201]),
        ("a size with zeros", sized(|n| format!("0000000000000000000{}\r\n", hex(n))), &[201]),
        ("a size in large letters", sized(|n| format!("{n:X}\r\n")), &[201]),
        ("an extension", sized(|n| format!("{} ;a=b;c=\"d\"\r\n", hex(n))), &[201]),
        ("two chunks", framed("Transfer-Encoding: chunked\r\n", &two), &[409]),
        ("a trailer with a length", trailed("0\r\nContent-Length: 5\r\n\r\n"), &[201]),
        ("a trailer with a coding", trailed("0\r\nTransfer-Encoding: x\r\n\r\n"), &[201]),
        ("a whole URI", get("GET http://test/livez HTTP/1.1", ""), &[200]),
        ("somebody else's URI", get("GET http://other.example/livez HTTP/1.1", ""), &[200]),
        ("an upgrade", get("GET /livez HTTP/1.1", h2c), &[200]),
        ("HTTP/1.0 kept", get("GET /livez HTTP/1.0", "Connection: keep-alive\r\n"), &[200]),
        (
            "an unknown header like a known one",
            post("/api/users", "Transfer_Encoding: chunked\r\n", &new_user()),
            &[201],
        ),
        ("an expectation of another kind", get("GET /livez HTTP/1.1", "Expect: tea\r\n"), &[200]),
        ("a hundred fields", get("GET /livez HTTP/1.1", &"X: a\r\n".repeat(99)), &[200]),
    ];
    let mut connection = Raw::connect(address);
    assert_eq!(connection.send(expecting).reply().status, 100);
    assert_eq!(connection.reply().status, 201);
    for (name, text, expected) in rows {
        let mut connection = Raw::connect(address);
        connection.send(text);
        let statuses: Vec<u16> =
            connection.replies_while_open().iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, expected, "{name}");
    }
}

/// The negative control: the booking that is not smuggled in is one that would be made.
#[test]
fn a_booking_behind_a_sound_request_is_made() {
    let victim = Victim::new();
    let mut connection = Raw::connect(victim.server.address());
    connection.send(format!("{}{}", trailed("0\r\n\r\n"), victim.hold));
    assert_eq!(connection.reply().status, 201);
    assert_eq!(connection.reply().status, 201);
    assert!(victim.is_booked());
    let stats = victim.server.settled_stats();
    assert_eq!(stats["successful_bookings"], Value::from(1));
    victim.server.send(&Call::get("/health")).expect(200);
}
