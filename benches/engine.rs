//! What a booking costs the engine in CPU, the append to the log included: one thread, `os`
//! durability (nothing waits for a disk here in any mode; the syncer's work is not the caller's).
//!
//! `cargo bench --bench engine`

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench measures time, and may panic when it fails"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use booking_manager::clock::Clock;
use booking_manager::domain::{Amount, Currency, Email, EventDetails, PersonName, PublicId, Title};
use booking_manager::engine::{Engine, HoldRequest, Settings};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn open(directory: &Path) -> Engine {
    let mut options = wal::Options::new(directory);
    options.durability = wal::Durability::Os;
    let settings = Settings {
        hold_ttl: Duration::from_secs(3_600),
        lane_count: 3,
        lane_capacity: 1_024,
        bookings_max: 1 << 26,
        idempotency_keys_max: 1 << 20,
    };
    Engine::open(options, &settings, Clock::system()).unwrap().0
}

fn user(engine: &Engine) -> PublicId {
    let email = Email::parse("bench@example.com").unwrap();
    let name = PersonName::parse("Bench").unwrap();
    engine.create_user(email, name, None).result.unwrap().id.public()
}

fn event(engine: &Engine, seats: u32) -> (PublicId, Vec<PublicId>) {
    let title = |text| Title::parse(text).unwrap();
    let details = EventDetails {
        name: title("Night"),
        artist: title("Band"),
        venue: title("Hall"),
        date: "2026-12-24T20:00:00Z".into(),
        total_seats: seats,
        price: Amount::parse("75.00", 2).unwrap(),
        currency: Currency::DEFAULT,
    };
    let event = engine.create_event(details, None).result.unwrap().id.public();
    let (_, mut cursor) = engine.tickets(event, None, None).result.unwrap();
    let mut page = Vec::new();
    while !cursor.is_done() {
        let _ = engine.next_tickets(&mut cursor, 4_096, &mut page);
    }
    (event, page.iter().map(|ticket| ticket.id.public()).collect())
}

/// Holds `count` tickets and gives them back, so that the next round finds them free.
fn hold_and_cancel(criterion: &mut Criterion, count: usize) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    let user = user(&engine);
    let (event, tickets) = event(&engine, 100_000);
    let mut sets = tickets.chunks_exact(count).cycle();
    criterion.bench_function(&format!("hold {count} and cancel"), |bencher| {
        bencher.iter_custom(|rounds| {
            let mut elapsed = Duration::ZERO;
            for round in 0..rounds {
                if round % ROUNDS_PER_WAIT == 0 {
                    wait_for_room(&engine);
                }
                let tickets = sets.next().unwrap();
                let request = HoldRequest { user, event, tickets, stamp: None };
                let start = Instant::now();
                let made = engine.hold(&request).result.unwrap();
                black_box(engine.cancel(made.booking.id.public(), user, None).result.unwrap());
                elapsed += start.elapsed();
            }
            elapsed
        });
    });
}

/// One thread without clients writes faster than disk space is prepared: that wait is not the
/// engine's cost.
const ROUNDS_PER_WAIT: u64 = 256;

fn wait_for_room(engine: &Engine) {
    let settled = || {
        let stats = engine.log().stats();
        engine.log().kick();
        engine.log().has_room() && stats.segments_ahead > 0
    };
    while !settled() {
        std::thread::yield_now();
    }
}

fn refusals(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    let user = user(&engine);
    let (event, tickets) = event(&engine, 200);
    let whole: Vec<_> = tickets[..2].to_vec();
    engine.hold(&HoldRequest { user, event, tickets: &whole, stamp: None }).result.unwrap();
    criterion.bench_function("hold refused", |bencher| {
        let request = HoldRequest { user, event, tickets: &tickets[..1], stamp: None };
        bencher.iter(|| black_box(engine.hold(&request).result.unwrap_err()));
    });
    criterion.bench_function("list 100,000 tickets", |bencher| {
        let (event, _) = self::event(&engine, 100_000);
        bencher.iter_batched(
            || (engine.tickets(event, None, None).result.unwrap().1, Vec::with_capacity(100_000)),
            |(mut cursor, mut page)| {
                while !cursor.is_done() {
                    let _ = engine.next_tickets(&mut cursor, 4_096, &mut page);
                }
                page
            },
            BatchSize::PerIteration,
        );
    });
}

fn engine(criterion: &mut Criterion) {
    for count in [1, 4, 100] {
        hold_and_cancel(criterion, count);
    }
    refusals(criterion);
}

criterion_group!(benches, engine);
criterion_main!(benches);
