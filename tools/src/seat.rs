//! One seat of an event, and which bookings ever took it.

use std::collections::HashSet;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use booking_manager::domain::{
    EventNumber, Fact, PublicId, RowNumber, SlotIndex, Subject, Tag, TicketId, TicketKey,
};
use uuid::Uuid;

/// A seat as it was asked for: by its ticket's UUID, or by event and seat number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The event.
    pub event: EventNumber,
    /// The seat's place there; its number is one more.
    pub slot: SlotIndex,
    /// The tag of the ticket, if it was named by its UUID.
    tag: Option<Tag>,
}

impl Seat {
    /// The seat with this number, counted from 1.
    pub fn numbered(event: EventNumber, seat: u32) -> Option<Self> {
        Some(Self { event, slot: SlotIndex::new(seat.checked_sub(1)?), tag: None })
    }

    /// Its number, as people count.
    pub const fn number(self) -> u32 {
        self.slot.get().saturating_add(1)
    }

    /// The id of its ticket, if the UUID that was asked for is one that was issued.
    pub fn ticket(self, key: TicketKey) -> Option<TicketId> {
        let id = key.ticket(self.event, self.slot);
        self.tag.is_none_or(|tag| tag == id.tag).then_some(id)
    }
}

impl FromStr for Seat {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some((event, seat)) = text.split_once('/') {
            let event = event.parse().context("the event of EVENT/SEAT is not a number")?;
            let seat = seat.parse().context("the seat of EVENT/SEAT is not a number")?;
            return Self::numbered(EventNumber::new(event), seat).context("seats count from 1");
        }
        let id = Uuid::try_parse(text).context("neither a UUID nor EVENT/SEAT")?;
        let id = TicketId::from_public(PublicId(id.as_u128())).context("not the id of a ticket")?;
        ensure!(id.slot.get() < u32::MAX, "not the id of a ticket");
        Ok(Self { event: id.event, slot: id.slot, tag: Some(id.tag) })
    }
}

/// Watches one seat while the records of a log go by.
#[derive(Clone, Debug)]
pub struct Watched {
    seat: Seat,
    /// Bookings that ever took it.
    rows: HashSet<RowNumber>,
    /// The UUID that was asked for is not one that the event has issued, or the event has no such
    /// seat.
    forged: bool,
}

impl Watched {
    /// From now on.
    pub fn from(seat: Seat) -> Self {
        Self { seat, rows: HashSet::new(), forged: false }
    }

    /// Whether the fact is about a booking that has or had the seat. Must be asked for each fact in
    /// turn, since only the hold says which seats a booking took.
    pub fn concerns(&mut self, fact: &Fact<'_>) -> bool {
        let (event, row) = match fact {
            Fact::EventCreated(fact) if fact.event.number == self.seat.event => {
                self.forged = self.seat.ticket(fact.ticket_key).is_none()
                    || self.seat.slot.get() >= fact.total_seats;
                return false;
            }
            Fact::Held(fact) => {
                if fact.event == self.seat.event && fact.tickets.contains(&self.seat.slot) {
                    self.rows.insert(fact.row);
                }
                (fact.event, fact.row)
            }
            Fact::Confirmed(fact) | Fact::Cancelled(fact) | Fact::Expired(fact) => {
                (fact.event, fact.row)
            }
            Fact::KeyBound(fact) => match fact.subject {
                Subject::Held(event, row)
                | Subject::HeldAlready(event, row)
                | Subject::Confirmed(event, row)
                | Subject::Cancelled(event, row) => (event, row),
                Subject::UserCreated(_) | Subject::EventCreated(_) => return false,
            },
            Fact::UserCreated(_)
            | Fact::UserUpdated(_)
            | Fact::UserDeleted(_)
            | Fact::EventCreated(_) => return false,
        };
        !self.forged && event == self.seat.event && self.rows.contains(&row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_named_by_its_place_or_its_ticket() {
        let seat: Seat = "3/7".parse().unwrap();
        let (event, slot) = (EventNumber::new(3), SlotIndex::new(6));
        assert_eq!((seat.event, seat.slot, seat.number()), (event, slot, 7));
        let key = TicketKey::new(9);
        let id = key.ticket(event, slot);
        let uuid = Uuid::from_u128(id.public().0).to_string();
        let by_ticket: Seat = uuid.parse().unwrap();
        assert_eq!(by_ticket.ticket(key), Some(id));
        assert_eq!(by_ticket.ticket(TicketKey::new(8)), None, "issued by another event");
        for bad in ["3/0", "3", "x/1", "3/x", "", "00000000-0000-8000-8000-000000000ada"] {
            assert!(bad.parse::<Seat>().is_err(), "{bad}");
        }
    }
}
