//! What can be said of a booking.

/// How many tickets one booking may take.
pub const TICKETS_PER_BOOKING_MAX: usize = 100;

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
        [Self::Pending, Self::Confirmed, Self::Cancelled, Self::Expired]
            .into_iter()
            .find(|status| status.name() == name)
    }
}
