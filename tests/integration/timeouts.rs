//! The time a client has: to send a head, to send a body, and to read on. Whoever is never idle
//! and never done has no more of it than who says nothing.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Call, Raw, Server, Settings, event_body, now, observe_for, together, wait_until,
};

const TIMEOUT: Duration = Duration::from_secs(2);
/// What a busy machine may add to any deadline.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most memory that a connection costs whose client does not read, in bytes: a few chunks of a
/// list that has hundreds. A page is held as a whole, once.
const UNREAD_COST_MAX: u64 = 512 * 1_024;
/// A page ends once it has so many bytes.
const PAGE_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// So many that their list is several times what the kernel takes off the server's hands.
const SEATS: usize = 200_000;

/// A server that waits for nobody but its clients, whose time is short.
fn impatient_server() -> Server {
    let settings = Settings::new().env("REQUEST_TIMEOUT_SECONDS", TIMEOUT.as_secs());
    settings.durability("os").start()
}

/// Where a server lists the tickets of an event of many seats.
fn long_list(server: &Server) -> String {
    let call = Call::new("POST", "/api/events").json(&event_body(SEATS, 7_500));
    let event = server.send(&call).expect(201);
    format!("/api/events/{}/tickets", event.str("event_id"))
}

/// A client that says `begin` and then `drop` again and again, some five times a second.
struct Dripping {
    what: &'static str,
    begin: &'static str,
    drop: &'static str,
    /// Status and code of the answer that is due when its time is over.
    due: (u16, &'static str),
}

const DRIPPING: [Dripping; 6] = [
    Dripping {
        what: "a head",
        begin: "GET /livez HTTP/1.1\r\nHost: test\r\nX: ",
        drop: "x",
        due: (408, "request_timeout"),
    },
    Dripping {
        what: "a head of whole lines",
        begin: "GET /livez HTTP/1.1\r\nHost: test\r\n",
        drop: "X: x\r\n",
        due: (408, "request_timeout"),
    },
    Dripping {
        what: "a second head",
        begin: "GET /livez HTTP/1.1\r\nHost: test\r\n\r\nGET /livez HTTP/1.1\r\nX: ",
        drop: "x",
        due: (408, "request_timeout"),
    },
    Dripping {
        what: "a body",
        begin: "POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Length: 10000\r\n\r\n{",
        drop: " ",
        due: (408, "request_timeout"),
    },
    Dripping {
        what: "a body in chunks",
        begin: "POST /api/users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
        drop: "1\r\n \r\n",
        due: (408, "request_timeout"),
    },
    Dripping {
        what: "a body that nobody wants",
        begin: "POST /api/nothing HTTP/1.1\r\nHost: test\r\nContent-Length: 10000\r\n\r\n",
        drop: "x",
        due: (404, "not_found"),
    },
];

#[test]
fn whoever_drips_a_request_is_cut_off_in_time() {
    let server = impatient_server();
    together(DRIPPING.len(), |number| {
        let Dripping { what, begin, drop, due } = &DRIPPING[number];
        let start = now();
        let mut connection = Raw::connect(server.address());
        connection.send(begin);
        // Looks for at least as long as one read waits.
        while !connection.is_closed_within(Duration::from_millis(1)) {
            assert!(start.elapsed() < TIMEOUT + PATIENCE, "{what} drips on");
            connection.send(drop);
        }
        assert!(start.elapsed() >= TIMEOUT, "{what} was cut after {:?}", start.elapsed());
        let replies = connection.replies_until_closed();
        let last = replies.last().unwrap_or_else(|| panic!("{what} was cut without a word"));
        last.expect_refusal(due.0, due.1);
        assert_eq!(last.header("connection"), Some("close"), "{what}");
    });
    wait_until(PATIENCE, "they are gone", || server.open_connections() < 3);
    server.create_user();
}

/// A client that asks for more than it reads.
struct Unread {
    what: &'static str,
    /// What follows the path of the list that it asks for, and how often it asks.
    query: &'static str,
    requests: usize,
    /// Whether it goes without a word, or stays and does not read.
    vanishes: bool,
    /// How much of the cost is no chunk.
    page_bytes: u64,
}

const LONG_LIST: Unread =
    Unread { what: "one long list", query: "", requests: 1, vanishes: false, page_bytes: 0 };
const UNREAD: [Unread; 4] = [
    LONG_LIST,
    Unread { what: "many short lists", query: "?limit=100", requests: 2_000, ..LONG_LIST },
    Unread { what: "a list for who is gone", vanishes: true, ..LONG_LIST },
    Unread { what: "one long page", query: "?limit=10000", page_bytes: 2_800_000, ..LONG_LIST },
];

#[test]
fn a_reader_that_stalls_is_cut_off_in_time_and_costs_little() {
    const COUNT: usize = 20;
    for Unread { what, query, requests, vanishes, page_bytes } in UNREAD {
        let server = impatient_server();
        let path = long_list(&server);
        let request = format!("GET {path}{query} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(requests);
        // What the first reader costs the server once is not a connection's.
        assert_eq!(Raw::connect(server.address()).get(&path).reply().status, 200);
        let before = server.anonymous_bytes();
        let mut readers: Vec<Raw> = (0..COUNT).map(|_| Raw::connect(server.address())).collect();
        let start = now();
        for reader in &mut readers {
            if vanishes {
                reader.vanish();
            }
            reader.send(&request);
        }
        let mut highest = 0;
        wait_until(TIMEOUT + PATIENCE, "the readers are cut off", || {
            highest = server.anonymous_bytes().max(highest);
            let connections = &server.stats()["connections"];
            let count = |name: &str| connections[name].as_u64().expect("a count");
            count("opened") >= COUNT as u64 && count("open") < 3
        });
        let cost = highest.saturating_sub(before) / COUNT as u64;
        let after = start.elapsed();
        eprintln!("{what}, unread: cut off after {after:?}, {cost} bytes each");
        assert!(after >= TIMEOUT, "{what}: cut off after {after:?}");
        assert!(cost <= page_bytes + UNREAD_COST_MAX, "{what}: {cost} bytes each");
        server.create_user();
    }
}

#[test]
fn a_reader_that_is_slow_and_steady_gets_everything() {
    const PIECE: u64 = 2_500_000;
    const BETWEEN_PIECES: Duration = Duration::from_millis(300);
    let server = impatient_server();
    let mut list = server.stream(&long_list(&server));
    let start = now();
    let (mut piece, mut listed) = (Vec::new(), 0);
    loop {
        piece.clear();
        list.by_ref().take(PIECE).read_to_end(&mut piece).expect("the list goes on");
        if piece.is_empty() {
            break;
        }
        listed += piece.iter().filter(|&&byte| byte == b'}').count();
        observe_for(BETWEEN_PIECES);
    }
    assert_eq!(listed, SEATS, "tickets are missing");
    assert!(start.elapsed() > TIMEOUT * 2, "that was not slow");
}

/// An answer that is made at once and goes out in parts, for longer than anybody may be idle.
#[test]
fn a_slow_and_steady_reader_gets_all_of_a_long_page() {
    const BOOKINGS: usize = 1_100;
    const PIECE: usize = 200_000;
    const BETWEEN_PIECES: Duration = Duration::from_millis(300);
    let server = impatient_server();
    let (user, show) = (server.create_user(), server.create_show(BOOKINGS * 100));
    for tickets in show.tickets.chunks(100) {
        server.hold(&user, &show.id, tickets);
    }
    let mut reader = Raw::connect(server.address());
    reader.keep_little_unread();
    let start = now();
    reader.get(&format!("/api/users/{user}/bookings?limit={BOOKINGS}"));
    let mut read = reader.read_some();
    while read < PAGE_BYTES_MAX {
        let piece = (read + PIECE).min(PAGE_BYTES_MAX);
        while read < piece {
            read = reader.read_some();
        }
        observe_for(BETWEEN_PIECES);
    }
    let page = reader.reply();
    assert!(start.elapsed() > TIMEOUT * 2, "that was not slow");
    // It ended before the list did, and leads on to the rest.
    let ids = |page: &Value| -> Vec<String> {
        let bookings = page.as_array().expect("an array");
        bookings.iter().map(|booking| booking["booking_id"].to_string()).collect()
    };
    let (target, _) = page.header("link").and_then(|link| link[1..].split_once('>')).unwrap();
    let mut listed = ids(&page.json());
    assert!(listed.len() < BOOKINGS, "a page of more than it may have");
    listed.extend(ids(&server.get(target).expect(200).json));
    assert_eq!(listed, ids(&server.bookings_of(&user).into()));
}
