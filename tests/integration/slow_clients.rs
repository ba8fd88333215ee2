//! Clients that say little, or too many of them at once: they cost others neither time nor room.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::harness::{Raw, Server, Settings, fresh_email, now, observe_for, wait_until};

/// What a busy machine may add to any deadline.
const PATIENCE: Duration = Duration::from_secs(20);
const BODY_BYTES_MAX: usize = 65_536;

/// The most memory that a connection costs that is open and has said nothing, or half of a usual
/// request, in bytes.
const IDLE_COST_MAX: u64 = 24 * 1_024;
/// The most that one costs that has sent all it may of a head, or of a body, and then stops.
const FULL_COST_MAX: u64 = 256 * 1_024;

/// How many times as long a good client's p99 may be beside a crowd of slow ones.
const CROWD_RATIO_MAX: f64 = 2.0;

/// Lets this process open as many connections as these tests have at once.
fn allow_connections() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum.or(Some(65_536)), ..limit };
    setrlimit(Resource::Nofile, wanted).expect("up to the hard limit");
}

fn post(length: usize, body: &str) -> String {
    format!(
        "POST /api/users HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// How many kinds of stalled clients there are.
const KINDS_OF_STALLED: usize = 5;

/// Connections of which each has said nothing, half a head, half a body, is idle after an answer,
/// or is gone with an answer on its way, and never said so.
fn stalled(server: &Server, count: usize) -> Vec<Raw> {
    let mut connections: Vec<Raw> = Vec::with_capacity(count);
    for number in 0..count {
        let mut connection = Raw::connect(server.address());
        match number % KINDS_OF_STALLED {
            0 => {}
            1 => {
                connection.send("GET /api/events HTTP/1.1\r\nHost: te");
            }
            2 => {
                connection.send(post(200, "{\"email\":\"half"));
            }
            3 => assert_eq!(connection.get("/livez").reply().status, 200),
            _ => {
                assert_eq!(connection.get("/livez").reply().status, 200);
                connection.vanish();
                connection.get("/livez");
            }
        }
        connections.push(connection);
    }
    wait_until(PATIENCE, "all are accepted", || server.open_connections() >= count as u64);
    connections
}

/// A client that means well, and keeps its connection.
struct Guest<'s> {
    connection: Raw,
    server: &'s Server,
    event: String,
}

impl<'s> Guest<'s> {
    fn of(server: &'s Server) -> Self {
        let event = server.create_show(1).id;
        Self { connection: Raw::connect(server.address()), server, event }
    }

    /// The 99th percentile of so many requests' durations.
    fn p99(&mut self, count: usize, mut act: impl FnMut(&mut Self) -> u16, due: u16) -> Duration {
        let mut durations: Vec<Duration> = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = now();
            assert_eq!(act(self), due);
            durations.push(begin.elapsed());
        }
        durations.sort_unstable();
        durations[count * 99 / 100 - 1]
    }

    fn reads(&mut self, count: usize) -> Duration {
        let path = format!("/api/events/{}", self.event);
        self.p99(count, |guest| guest.connection.get(&path).reply().status, 200)
    }

    fn writes(&mut self, count: usize) -> Duration {
        let write = |guest: &mut Self| {
            let body = json!({"email": fresh_email(), "name": "Guest"}).to_string();
            guest.connection.send(post(body.len(), &body)).reply().status
        };
        self.p99(count, write, 201)
    }
}

/// The p99s that two guests see in two turns, one after the other.
#[derive(Clone, Copy)]
struct Pair {
    calm: Duration,
    crowded: Duration,
}

impl Pair {
    fn ratio(self) -> f64 {
        self.crowded.as_secs_f64() / self.calm.as_secs_f64()
    }
}

/// The pair with the median ratio.
fn median(pairs: &mut [Pair]) -> Pair {
    pairs.sort_unstable_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    pairs[pairs.len() / 2]
}

/// Two guests take turns, and take turns in beginning, so that whatever else the machine does
/// hits both alike. If the first pairs are not fine, which may be noise, more are taken; then the
/// median of all of them counts, and no good turn makes up for bad ones.
fn median_of_turns(
    [calm, crowded]: [&mut Guest<'_>; 2],
    measure: fn(&mut Guest<'_>) -> Duration,
) -> Pair {
    const PAIRS: usize = 11;
    const PAIRS_MAX: usize = 33;
    // Longer than a scheduler's habit of where it puts a thread lasts.
    const BETWEEN_PAIRS: Duration = Duration::from_millis(100);
    let mut pairs = Vec::with_capacity(PAIRS_MAX);
    for number in 0..PAIRS_MAX {
        if number == PAIRS && median(&mut pairs).ratio() <= CROWD_RATIO_MAX {
            break;
        }
        let pair = if number % 2 == 0 {
            let calm = measure(calm);
            Pair { calm, crowded: measure(crowded) }
        } else {
            let crowded = measure(crowded);
            Pair { calm: measure(calm), crowded }
        };
        pairs.push(pair);
        observe_for(BETWEEN_PAIRS);
    }
    median(&mut pairs)
}

/// Two servers, alike but for the connections to one of them.
#[test]
fn thousands_of_stalled_clients_slow_nobody_and_cost_little() {
    const STALLED: usize = 2_000;
    allow_connections();
    // The clients are stalled for as long as the turns take.
    let settings = || Settings::new().env("REQUEST_TIMEOUT_SECONDS", 3_600);
    let (calm, crowded) = (settings().start(), settings().start());
    let before = crowded.anonymous_bytes();
    let crowd = stalled(&crowded, STALLED);
    let cost = crowded.anonymous_bytes().saturating_sub(before) / STALLED as u64;
    eprintln!("{STALLED} stalled connections cost {cost} bytes each");
    assert!(cost <= IDLE_COST_MAX, "{cost} bytes for a stalled connection");
    let (mut calm, mut crowded) = (Guest::of(&calm), Guest::of(&crowded));
    for (what, measure) in [
        // Ten and two of them are slower than the p99.
        ("read", (|guest| guest.reads(1_000)) as fn(&mut Guest<'_>) -> Duration),
        ("write", |guest| guest.writes(200)),
    ] {
        let pair = median_of_turns([&mut calm, &mut crowded], measure);
        let (ratio, Pair { calm, crowded }) = (pair.ratio(), pair);
        eprintln!(
            "p99 of a {what}: {calm:?} without, {crowded:?} with {STALLED} stalled clients, \
             {ratio:.2} times"
        );
        assert!(ratio <= CROWD_RATIO_MAX, "a {what} takes {crowded:?} beside them, not {calm:?}");
    }
    assert!(crowded.server.open_connections() >= STALLED as u64, "they were there all the time");
    drop(crowd);
    // But for those that said nothing when they went; they have all of the hour.
    let most = (STALLED / KINDS_OF_STALLED + 10) as u64;
    wait_until(PATIENCE, "they are gone", || crowded.server.open_connections() < most);
}

#[test]
fn what_one_connection_can_occupy_is_bounded() {
    const COUNT: usize = 200;
    allow_connections();
    let head = format!("GET /livez HTTP/1.1\r\nHost: test\r\nX: {}", "x".repeat(16_000));
    let body = post(BODY_BYTES_MAX, &" ".repeat(BODY_BYTES_MAX - 1));
    let chunk = format!("{:x}\r\n{}\r\n", 1_024, " ".repeat(1_024)).repeat(63);
    let chunked = format!(
        "POST /api/users HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    for (what, text) in [("head", head), ("body", body), ("chunked body", chunked)] {
        let settings = Settings::new().env("MAX_BODY_BYTES", BODY_BYTES_MAX);
        let server = settings.env("REQUEST_TIMEOUT_SECONDS", 120).start();
        let before = server.anonymous_bytes();
        let mut crowd: Vec<Raw> = (0..COUNT).map(|_| Raw::connect(server.address())).collect();
        for connection in &mut crowd {
            connection.send(&text);
        }
        wait_until(PATIENCE, "all are accepted", || server.open_connections() >= COUNT as u64);
        // Whoever is served behind them all has waited until they were read.
        let mut highest = 0;
        for _ in 0..50 {
            server.create_user();
            highest = server.anonymous_bytes().max(highest);
        }
        let cost = highest.saturating_sub(before) / COUNT as u64;
        eprintln!("half a {what} as long as it may be costs {cost} bytes");
        assert!(cost <= FULL_COST_MAX, "half a {what} costs {cost} bytes");
        drop(crowd);
    }
}

/// The log needs files as well: a client that takes every connection does not take those.
#[test]
fn connections_leave_the_log_its_files() {
    const FILES_MAX: usize = 400;
    const FLOOD: usize = 600;
    allow_connections();
    let settings = Settings::new().launched_by(["prlimit", &format!("--nofile={FILES_MAX}")]);
    let settings = settings.env("HTTP_THREADS", 2).env("WAL_SEGMENT_BYTES", 1 << 20);
    let server = settings.env("REQUEST_TIMEOUT_SECONDS", 3_600).start();
    assert!(server.stderr().contains("fewer files may be open than MAX_CONNECTIONS asks for"));
    let mut guest = Guest::of(&server);
    guest.reads(100);
    let mut flood: Vec<Raw> = Vec::with_capacity(FLOOD);
    for _ in 0..FLOOD {
        let mut connection = Raw::connect(server.address());
        connection.send("GET /livez HTTP/1.1\r\nHost: te");
        flood.push(connection);
    }
    let files = || std::fs::read_dir(server.data_dir()).expect("it is there").count();
    let before = files();
    let name = "\u{1f3ab}".repeat(200);
    wait_until(PATIENCE, "there are three segments more", || {
        for _ in 0..100 {
            let body = json!({"email": fresh_email(), "name": name}).to_string();
            // A slow disk refuses some; without files it would refuse all.
            let status = guest.connection.send(post(body.len(), &body)).reply().status;
            assert!(matches!(status, 201 | 503), "{status}");
        }
        files() >= before + 3
    });
    let stats = guest.connection.get("/api/bookings/stats").reply().json();
    assert!(stats["connections"]["refused"].as_u64() > Some(0), "there was room: {stats}");
}

#[test]
fn a_flood_of_connections_is_turned_away_and_then_over() {
    const CONNECTIONS_MAX: usize = 100;
    const FLOOD: usize = 1_000;
    allow_connections();
    let settings = Settings::new().env("MAX_CONNECTIONS", CONNECTIONS_MAX);
    // Long enough that the flood is over before a place comes free.
    let server = settings.env("REQUEST_TIMEOUT_SECONDS", 10).start();
    let mut guest = Guest::of(&server);
    guest.writes(100);
    let mut flood: Vec<Raw> = Vec::with_capacity(FLOOD);
    for number in 0..FLOOD {
        let mut connection = Raw::connect(server.address());
        connection.send("GET /livez HTTP/1.1\r\nHost: te");
        flood.push(connection);
        if number % 20 == 0 {
            // Whoever is in stays in, and is served.
            guest.reads(10);
        }
    }
    let (mut timed_out, mut turned_away, mut closed) = (0, 0, 0);
    for connection in &mut flood {
        match connection.read() {
            None => closed += 1,
            Some(reply) if reply.status == 408 => timed_out += 1,
            Some(reply) => {
                reply.expect_refusal(503, "overloaded");
                assert_eq!(reply.header("retry-after"), Some("1"));
                assert!(connection.is_closed_within(PATIENCE), "turned away, and still there");
                turned_away += 1;
            }
        }
    }
    eprintln!("{timed_out} timed out, {turned_away} turned away, {closed} closed at once");
    assert!((1..CONNECTIONS_MAX).contains(&timed_out), "{timed_out} were let in");
    assert!(turned_away > 0, "nobody was told");
    drop(flood);
    wait_until(PATIENCE, "there is room again", || server.is_ready());
    server.create_user();
    let stats = server.stats();
    let refused = stats["connections"]["refused"].as_u64().expect("a count");
    assert!(refused >= turned_away, "{refused} were counted as refused");
    wait_until(PATIENCE, "all are gone", || server.open_connections() < 10);
}

#[test]
fn who_is_turned_away_cannot_go_on_sending() {
    const CONNECTIONS_MAX: usize = 4;
    /// More than stands in the buffers of both sides, and less than loopback carries in the second
    /// that the server waits for the end.
    const BUFFERED_MAX: usize = 64 << 20;
    let server = Settings::new().env("MAX_CONNECTIONS", CONNECTIONS_MAX).start();
    // Their answers do not come before the end: the places are taken.
    let mut taken: Vec<Raw> = Vec::with_capacity(2 * CONNECTIONS_MAX);
    taken.resize_with(2 * CONNECTIONS_MAX, || Raw::connect(server.address()));
    let mut sender = TcpStream::connect(server.address()).expect("the server listens");
    sender.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let (piece, mut sent) = ([b'a'; BODY_BYTES_MAX], 0);
    while let Ok(bytes) = sender.write(&piece)
        && sent <= BUFFERED_MAX
    {
        sent += bytes;
    }
    assert!(sent <= BUFFERED_MAX, "{sent} bytes were taken from somebody who was turned away");
    drop(taken);
    wait_until(PATIENCE, "there is room again", || server.is_ready());
    assert!(server.stats()["connections"]["refused"].as_u64() > Some(0), "there was room");
}
