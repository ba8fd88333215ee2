//! How often a booking allocates, log append included: counted, so that it does not grow unseen.

use std::time::Duration;

use allocation_counter::measure;
use booking_manager::clock::Clock;
use booking_manager::domain::{Amount, Currency, Email, EventDetails, PersonName, Title};
use booking_manager::engine::{Engine, HoldRequest, Settings};

#[test]
fn a_booking_allocates_little() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        hold_ttl: Duration::from_secs(600),
        lane_count: 3,
        lane_capacity: 16,
        bookings_max: 1 << 20,
        idempotency_keys_max: 16,
    };
    let options = wal::Options::new(directory.path());
    let (engine, _) = Engine::open(options, &settings, Clock::system()).unwrap();
    let email = Email::parse("ada@example.com").unwrap();
    let name = PersonName::parse("Ada").unwrap();
    let user = engine.create_user(email, name, None).result.unwrap().id.public();
    let title = |text| Title::parse(text).unwrap();
    let details = EventDetails {
        name: title("Night"),
        artist: title("Band"),
        venue: title("Hall"),
        date: "2026-12-24T20:00:00Z".into(),
        total_seats: 1_000,
        price: Amount::parse("75.00", 2).unwrap(),
        currency: Currency::DEFAULT,
    };
    let event = engine.create_event(details, None).result.unwrap().id.public();
    let (_, mut cursor) = engine.tickets(event, None, None).result.unwrap();
    let mut tickets = Vec::new();
    let _ = engine.next_tickets(&mut cursor, 1_000, &mut tickets);

    let rounds = 500;
    let mut bookings = Vec::with_capacity(rounds);
    let held = measure(|| {
        for ticket in &tickets[..rounds] {
            let tickets = &[ticket.id.public()];
            let request = HoldRequest { user, event, tickets, stamp: None };
            bookings.push(engine.hold(&request).result.unwrap().booking.id.public());
        }
    });
    let confirmed = measure(|| {
        for &booking in &bookings {
            assert!(engine.confirm(booking, user, None).result.is_ok());
        }
    });
    let each = |total: u64| total as f64 / rounds as f64;
    // The slots as they were asked for and the ids in the answer; now and then a chunk of rows or
    // of the sweeper's queue.
    assert!(each(held.count_total) < 2.2, "{} allocations per hold", each(held.count_total));
    assert!(each(held.bytes_total) < 400.0, "{} bytes per hold", each(held.bytes_total));
    // The ids in the answer.
    assert!(each(confirmed.count_total) <= 1.0, "{} per confirmation", each(confirmed.count_total));
}
