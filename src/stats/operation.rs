//! What is counted apart: kinds of requests, and classes of answers.

/// Responses are counted by the first digit of their status, 1 to 5.
pub(super) const STATUS_CLASSES: usize = 5;

/// What a request was about, as far as latencies are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Taking tickets.
    Hold,
    /// Confirming a booking.
    Confirm,
    /// Cancelling a booking.
    Cancel,
    /// Showing a booking, or a user's bookings.
    BookingRead,
    /// Creating, changing or deleting a user.
    UserWrite,
    /// Showing a user.
    UserRead,
    /// Creating an event.
    EventCreate,
    /// Showing or listing events.
    EventRead,
    /// Listing an event's tickets.
    TicketList,
    /// Anything else, unknown paths included.
    Other,
}

impl Operation {
    /// Every operation, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Hold,
        Self::Confirm,
        Self::Cancel,
        Self::BookingRead,
        Self::UserWrite,
        Self::UserRead,
        Self::EventCreate,
        Self::EventRead,
        Self::TicketList,
        Self::Other,
    ];

    /// The word for it, in every form of the statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::BookingRead => "booking_read",
            Self::UserWrite => "user_write",
            Self::UserRead => "user_read",
            Self::EventCreate => "event_create",
            Self::EventRead => "event_read",
            Self::TicketList => "ticket_list",
            Self::Other => "other",
        }
    }

    /// Its place in [`Operation::ALL`].
    pub(super) const fn place(self) -> usize {
        self as usize
    }
}
