//! How fast a log that waits gets into PostgreSQL, against one INSERT or UPDATE for each row.
//!
//! `cargo bench --bench mirror [bookings]` (default 100,000). A log of holds and confirmations of two
//! tickets each is written; then, in a cluster of its own and a new database for each run:
//!
//! - `mirror`: the mirror's sessions, as the server has them;
//! - `rows`: the same rows by prepared statements for one row each, in transactions of as many records;
//! - `commits`: likewise, with a transaction for each record.
//!
//! The three take turns, so that a slow minute meets all of them; the slower two get fewer
//! bookings. Figures are bookings a second, each held and confirmed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a program run by hand, which prints"
)]

#[allow(dead_code, reason = "shared with the tests of the mirror")]
#[path = "../../tests/mirror/cluster.rs"]
mod cluster;
#[allow(dead_code, unused_imports, reason = "shared with the tests of the API")]
#[path = "../../tests/integration/harness/mod.rs"]
mod harness;
mod single;

use std::borrow::Cow;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use booking_manager::codec::encode;
use booking_manager::domain::{
    Amount, Currency, EventCreated, EventId, EventNumber, Fact, Held, RowNumber, SlotIndex, Tag,
    TicketKey, Timestamp, Transition, UserCreated, UserId, UserNumber,
};
use booking_manager::mirror::{Limits, Session, Target, runtime};
use cluster::{Cluster, Database};
use harness::now;
use tempfile::TempDir;
use wal::{Log, Options, Reader, Urgency};

const BOOKINGS_DEFAULT: u32 = 100_000;
const ROUNDS: usize = 3;
const USERS: u32 = 1_000;
const EVENTS: u32 = 10;
const SEATS_PER_BOOKING: u32 = 2;
/// How many fewer bookings the slower ways get.
const FEWER: u32 = 20;
/// How many holds stand before the confirmation of the first of them.
const OPEN: u32 = 200;

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let bookings: u32 = asked.unwrap_or(BOOKINGS_DEFAULT);
    let cluster = Cluster::start();
    let few = (bookings / FEWER).max(1_000);
    let (many_log, few_log) = (write_log(bookings), write_log(few));
    let (mut mirror, mut rows, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        mirror.push(rate(bookings, mirrored(&cluster.create(), many_log.path())));
        rows.push(rate(few, single::written(&cluster.create(), few_log.path(), u64::MAX)));
        commits.push(rate(few, single::written(&cluster.create(), few_log.path(), 1)));
        println!(
            "round {round}: mirror {:.0}, rows {:.0}, commits {:.0} bookings/s",
            mirror[round], rows[round], commits[round]
        );
    }
    let [mirror, rows, commits] = [mirror, rows, commits].map(median);
    println!(
        "median: mirror {mirror:.0} bookings/s; {:.1} times one row a statement ({rows:.0}), \
         {:.1} times one record a transaction ({commits:.0})",
        mirror / rows,
        mirror / commits
    );
}

fn rate(bookings: u32, elapsed: Duration) -> f64 {
    f64::from(bookings) / elapsed.as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Writes all but users and events once, so that only bookings are timed.
fn mirrored(database: &Database, log: &Path) -> Duration {
    let target = Target::from_url(&database.url()).unwrap();
    runtime().unwrap().block_on(async {
        let mut reader = Reader::open(log).unwrap();
        let uuid = reader.segments()[0].header.uuid;
        // First what stands before the bookings, record by record.
        let limits = Limits { records: u64::from(USERS + EVENTS), ..Limits::default() };
        let limits = Limits { seats: u64::MAX, ..limits };
        let mut session = Session::begin(&target, uuid, limits).await.unwrap();
        session.resume(&mut reader, None).await.unwrap();
        session.step(&mut reader).await.unwrap();
        drop(session);
        let mut session = loop {
            // PostgreSQL needs a moment to see that the first session is gone.
            if let Ok(session) = Session::begin(&target, uuid, Limits::default()).await {
                break session;
            }
        };
        session.resume(&mut reader, None).await.unwrap();
        let start = now();
        while !session.step(&mut reader).await.unwrap().caught_up {}
        start.elapsed()
    })
}

/// The seats of a booking: those of its event in turn.
fn place(number: u32) -> (EventNumber, RowNumber, [SlotIndex; SEATS_PER_BOOKING as usize]) {
    let (event, index) = (number % EVENTS, number / EVENTS);
    let slot = |n| SlotIndex::new(index * SEATS_PER_BOOKING + n);
    (EventNumber::new(event), RowNumber::new(index + 1), [slot(0), slot(1)])
}

fn write_log(bookings: u32) -> TempDir {
    let directory = TempDir::new().unwrap();
    let (log, _) = Log::open(Options::new(directory.path()), |_| Ok::<_, Infallible>(())).unwrap();
    let at = Timestamp::from_millis(1_800_000_000_000);
    let append = |fact: &Fact<'_>| {
        let encoded = encode(fact);
        loop {
            match log.reserve(encoded.record, Urgency::Take, encoded.payload()) {
                Ok(place) => {
                    place.commit();
                    break;
                }
                // The log makes room in the background.
                Err(_) => log.kick(),
            }
        }
    };
    for number in 0..USERS {
        let user = UserId { number: UserNumber::new(number), tag: Tag::new(number.into()) };
        let email = format!("user-{number}@example.com");
        append(&Fact::UserCreated(UserCreated {
            user,
            email: &email,
            name: "Ada",
            at,
            stamp: None,
        }));
    }
    let price = Amount::from_minor(7_500).unwrap();
    for number in 0..EVENTS {
        append(&Fact::EventCreated(EventCreated {
            event: EventId { number: EventNumber::new(number), tag: Tag::new(number.into()) },
            ticket_key: TicketKey::new(number.into()),
            name: "Summer Night",
            artist: "The Testers",
            venue: "City Hall",
            date: "2027-07-01T20:00:00Z",
            total_seats: (bookings / EVENTS + 1) * SEATS_PER_BOOKING,
            price,
            currency: Currency::DEFAULT,
            at,
            stamp: None,
        }));
    }
    for number in 0..bookings + OPEN {
        if number < bookings {
            let (event, row, slots) = place(number);
            append(&Fact::Held(Held {
                event,
                row,
                tag: Tag::new(number.into()),
                user: UserNumber::new(number % USERS),
                tickets: Cow::Borrowed(&slots),
                total: price.times(SEATS_PER_BOOKING).unwrap(),
                at,
                deadline: at + Duration::from_secs(600),
                stamp: None,
            }));
        }
        if let Some(number) = number.checked_sub(OPEN) {
            let (event, row, _) = place(number);
            append(&Fact::Confirmed(Transition { event, row, at, stamp: None }));
        }
    }
    log.seal().unwrap();
    directory
}
