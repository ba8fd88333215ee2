//! What can be said of a ticket.

/// A ticket's status, which is a function of its slot and of the booking that the slot names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TicketStatus {
    /// Nobody has it.
    Available,
    /// A pending booking holds it.
    Reserved,
    /// A confirmed booking has it.
    Sold,
    /// Withdrawn from sale. Part of the contract; nothing withdraws a ticket yet.
    Cancelled,
}

impl TicketStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Available, Self::Reserved, Self::Sold, Self::Cancelled];

    /// The word that clients see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Reserved => "reserved",
            Self::Sold => "sold",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status that `name` stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}
