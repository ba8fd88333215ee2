//! The server's clock, as far as it can be known from here.

use anyhow::Context as _;

use super::client::Client;
use super::clock::unix_millis;
use super::wire;

/// How far two clocks may move against each other during a run, in milliseconds.
const DRIFT_MILLIS: i64 = 5;

/// How far the server's clock is ahead of this machine's: at least and at most so many milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Skew {
    least: i64,
    most: i64,
}

impl Skew {
    /// Asks the server for its time.
    pub(super) fn measure(client: &mut Client) -> anyhow::Result<Self> {
        let sent = unix_millis();
        let health = client.get("/health")?;
        let received = unix_millis();
        let told = health.answer().text("timestamp").and_then(wire::millis);
        let told = told.context("the server does not tell its time")?;
        // Both clocks are read in whole milliseconds, rounded down.
        Ok(Self { least: told - received - 1 - DRIFT_MILLIS, most: told - sent + 1 + DRIFT_MILLIS })
    }

    /// What time it is there at least.
    pub(super) fn earliest(self) -> i64 {
        unix_millis() + self.least
    }

    /// What time it is there at most.
    pub(super) fn latest(self) -> i64 {
        unix_millis() + self.most
    }
}
