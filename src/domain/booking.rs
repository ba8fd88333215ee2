//! What can be said of a booking.

use super::ids::SlotIndex;

/// How many tickets one booking may take.
pub const TICKETS_PER_BOOKING_MAX: usize = 100;
/// How many bookings one event may ever have, those that lost a race for their tickets included.
pub const ROWS_PER_EVENT_MAX: u32 = 1 << 31;

/// The slots of a booking, in ascending order. One ticket is the common case and needs no
/// allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slots {
    /// A single ticket's.
    One([SlotIndex; 1]),
    /// Those of several tickets.
    Many(Box<[SlotIndex]>),
}

impl Slots {
    /// Keeps `sorted`, which has no slot twice.
    pub fn new(sorted: &[SlotIndex]) -> Self {
        match sorted {
            &[slot] => Self::One([slot]),
            many => Self::Many(many.into()),
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[SlotIndex] {
        match self {
            Self::One(slot) => slot,
            Self::Many(slots) => slots,
        }
    }

    /// How many; at most [`TICKETS_PER_BOOKING_MAX`].
    pub fn count(&self) -> u32 {
        u32::try_from(self.as_slice().len()).expect("bounded by the tickets of one booking")
    }
}

/// A booking's status. `Pending` and `Confirmed` are live; the other two are final.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BookingStatus {
    /// Held until its deadline.
    Pending,
    /// Bought.
    Confirmed,
    /// Given back by its owner.
    Cancelled,
    /// Ended by its deadline.
    Expired,
}

impl BookingStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Confirmed, Self::Cancelled, Self::Expired];

    /// The word that clients see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The status that `name` stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_found_by_its_name_and_by_no_other() {
        for status in BookingStatus::ALL {
            assert_eq!(BookingStatus::from_name(status.name()), Some(status));
        }
        for other in ["", "Pending", "held"] {
            assert_eq!(BookingStatus::from_name(other), None, "{other}");
        }
    }
}
