//! What the server's clock reads at a moment of the clients', within bounds.
//!
//! The server's clock runs on the machine's boot-time clock and jumps only when the server is
//! started. So after each start it is asked for the time again and again: every answer was made
//! between two known moments and bounds the difference from both sides, and the bounds together are
//! narrower than a millisecond. Nothing that is checked with it depends on the time of day being right.

use serde::Deserialize;

use super::answers::millis;
use super::history::Moment;
use super::stopwatch::Stopwatch;
use super::wire::{Connection, PATIENCE};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// How often the server is asked at least.
const PROBES: u32 = 200;

/// The difference between the clients' clock and the server's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    /// At least so many nanoseconds are to be added to a moment.
    lowest: u64,
    /// And fewer than so many.
    highest: u64,
}

#[derive(Deserialize)]
struct Health<'a> {
    timestamp: &'a str,
}

impl ServerClock {
    /// Asks the server at `address`.
    pub(crate) fn measure(address: &str, stopwatch: Stopwatch) -> Self {
        let mut connection = Connection::open(address).expect("the server listens");
        let mut clock = Self { lowest: 0, highest: u64::MAX };
        for _ in 0..PROBES {
            let sent = stopwatch.now();
            connection.send(b"GET /health HTTP/1.1\r\nHost: history\r\n\r\n");
            let letter = connection.receive(PATIENCE).expect("an answer about its health");
            let health: Health<'_> = serde_json::from_slice(&letter.body).expect("its health");
            let reading = millis(health.timestamp).expect("a time");
            clock.learn(sent, stopwatch.now(), reading);
        }
        assert!(clock.lowest < clock.highest, "the server's clock does not run evenly");
        clock
    }

    /// The server's clock read `reading` at some moment between these two.
    fn learn(&mut self, sent: Moment, received: Moment, reading: u64) {
        let reading = reading * NANOS_PER_MILLI;
        self.lowest = self.lowest.max(reading.saturating_sub(received.0));
        self.highest = self.highest.min((reading + NANOS_PER_MILLI).saturating_sub(sent.0));
    }

    /// The server's clock reads at least this at `moment`, in milliseconds since 1970.
    pub(crate) fn earliest_reading(self, moment: Moment) -> u64 {
        (moment.0 + self.lowest) / NANOS_PER_MILLI
    }

    /// The server's clock reads at most this at `moment`.
    pub(crate) fn latest_reading(self, moment: Moment) -> u64 {
        (moment.0 + self.highest) / NANOS_PER_MILLI
    }

    /// The first moment at which the server's clock may read `millis`.
    pub(crate) fn earliest_moment(self, millis: u64) -> Moment {
        Moment((millis * NANOS_PER_MILLI).saturating_sub(self.highest))
    }

    /// From this moment on it certainly does.
    pub(crate) fn latest_moment(self, millis: u64) -> Moment {
        Moment((millis * NANOS_PER_MILLI).saturating_sub(self.lowest))
    }
}

#[test]
fn readings_narrow_the_difference() {
    let mut clock = ServerClock { lowest: 0, highest: u64::MAX };
    // The server is 5.3 ms ahead.
    clock.learn(Moment(100_000), Moment(300_000), 5);
    clock.learn(Moment(650_000), Moment(720_000), 5);
    clock.learn(Moment(690_000), Moment(750_000), 6);
    assert_eq!((clock.lowest, clock.highest), (5_250_000, 5_350_000));
    assert_eq!(clock.earliest_reading(Moment(700_000)), 5);
    assert_eq!(clock.latest_reading(Moment(700_000)), 6);
    assert_eq!(clock.earliest_moment(6), Moment(650_000));
    assert_eq!(clock.latest_moment(6), Moment(750_000));
}
