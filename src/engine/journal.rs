//! The log of crate `wal` as the ledger of the slot protocol.

use wal::{Lsn, ReserveError, Urgency};

use super::ledger::{Ledger, NoRoom, Place, Position};
use crate::codec;
use crate::domain::Fact;

impl Ledger for wal::Log {
    type Place<'a> = wal::Reservation<'a>;

    fn has_room(&self) -> bool {
        wal::Log::has_room(self)
    }

    fn reserve(&self, urgency: Urgency, fact: &Fact<'_>) -> Result<Self::Place<'_>, NoRoom> {
        let mut payload = codec::Payload::new();
        let record = codec::encode_into(fact, &mut payload);
        wal::Log::reserve(self, record, urgency, &payload).map_err(|error| match error {
            ReserveError::NoRoom
            | ReserveError::TooFarAhead
            | ReserveError::Poisoned
            | ReserveError::Sealed => NoRoom,
            ReserveError::TooLong => {
                unreachable!("a fact is shorter than a frame, as asserted in `codec`")
            }
        })
    }
}

impl Place for wal::Reservation<'_> {
    fn lsn(&self) -> Lsn {
        wal::Reservation::lsn(self)
    }

    fn fill(mut self) -> Position {
        let lsn = wal::Reservation::lsn(&self);
        self.decided();
        Position { lsn, wait_for: self.commit() }
    }

    fn void(self) {
        wal::Reservation::void(self);
    }
}
