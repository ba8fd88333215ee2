//! What a contender has stored, asked of whoever stores it and not of the front end.

use std::path::PathBuf;

use serde::Serialize;

use crate::load::ledger::{Ledger, Wrongs};
use crate::load::rows::Counters;
use crate::load::server::Server;
use crate::load::sweep;
use crate::load::world::World;

use super::front;

/// Who stores.
#[derive(Debug)]
pub(super) enum Store {
    /// Nobody.
    Nothing,
    /// The server itself.
    Server,
    /// PostgreSQL, whose socket is in this directory.
    Postgres(PathBuf),
    /// Redis, whose socket this is.
    Redis(PathBuf),
}

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Stored {
    pub(super) bookings: u64,
    /// Seats that are held.
    pub(super) seats: u64,
}

impl Store {
    /// Counts; notes what cannot be true. `None` where nothing is stored.
    pub(super) fn count(
        &self,
        server: &Server,
        world: &World,
        ledger: &Ledger,
        wrongs: &mut Wrongs,
    ) -> anyhow::Result<Option<Stored>> {
        if !matches!(self, Self::Server) {
            wrongs.add(ledger.wrongs().clone());
        }
        let (bookings, seats) = match self {
            Self::Nothing => return Ok(None),
            Self::Server => {
                // What the ledger has noted is among them.
                let findings = sweep::sweep(server, world, ledger)?;
                wrongs.add(findings.wrongs);
                let mut seats = 0;
                for show in &world.shows {
                    let event = server.client().get(&format!("/api/events/{}", show.id))?;
                    let counters: Counters = serde_json::from_slice(&event.body)?;
                    seats += counters.reserved + counters.sold;
                }
                (findings.bookings, seats)
            }
            Self::Postgres(directory) => front::postgres::stored(directory)?,
            Self::Redis(socket) => front::redis::stored(socket)?,
        };
        Ok(Some(Stored { bookings, seats }))
    }
}
