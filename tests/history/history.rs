//! What a history is made of: operations as the clients saw them, and when.
//!
//! Things are named by the addresses that their ids carry, so that an answer, a request and a record
//! of the log can be compared without a lookup.

use std::time::Duration;

use booking_manager::domain::{
    BookingId, BookingStatus, EventNumber, SlotIndex, TicketStatus, UserNumber,
};

/// A moment of the clients' monotonic clock: nanoseconds since the history began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0 + u64::try_from(span.as_nanos()).expect("a short span"))
    }
}

/// An idempotency key; on the wire it is `history-` and the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyNumber(pub(crate) u64);

impl KeyNumber {
    const PREFIX: &str = "history-";

    pub(crate) fn text(self) -> String {
        format!("{}{}", Self::PREFIX, self.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(Self::PREFIX)?.parse().ok().map(Self)
    }
}

/// How a client asks for a booking to end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Ending {
    Confirm,
    Cancel,
}

impl Ending {
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }

    /// The status that a success leaves.
    pub(crate) const fn status(self) -> BookingStatus {
        match self {
            Self::Confirm => BookingStatus::Confirmed,
            Self::Cancel => BookingStatus::Cancelled,
        }
    }
}

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Asked {
    /// Tickets, in ascending order here.
    Hold { user: UserNumber, event: EventNumber, slots: Box<[SlotIndex]> },
    /// The end of a booking.
    End { ending: Ending, booking: BookingId, user: UserNumber },
    /// A look at a booking.
    Booking(BookingId),
    /// A look at an event's counters.
    Counters(EventNumber),
    /// A page of an event's tickets from a slot on; perhaps the available ones alone.
    Tickets { event: EventNumber, first: SlotIndex, limit: u32, only_available: bool },
}

impl Asked {
    /// Whether it asks for a change.
    pub(crate) const fn is_write(&self) -> bool {
        match self {
            Self::Hold { .. } | Self::End { .. } => true,
            Self::Booking(_) | Self::Counters(_) | Self::Tickets { .. } => false,
        }
    }
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// Before its first byte was sent.
    pub(crate) begun: Moment,
    pub(crate) asked: Asked,
    pub(crate) key: Option<KeyNumber>,
    pub(crate) outcome: Outcome,
}

/// What a client knows of its request.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Answered(Answer),
    /// It was sent, and may or may not have been carried out.
    Unknown(Silence),
    /// Not all of it was sent, so it must not have been carried out.
    NotSent,
}

/// Why there was no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// The server was killed.
    Killed,
    /// The connection ended at this moment and nobody knows why: a fault, unless the server was
    /// killed then.
    Lost(Moment),
    /// The client closed the connection as soon as the request was sent.
    HungUp,
    /// The client waited for a little while, and then closed the connection.
    Impatient,
    /// 503: the log did not say in time that it had it.
    NotStored,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// After its last byte was read.
    pub(crate) at: Moment,
    /// `X-Log-Position`.
    pub(crate) position: u64,
    /// `Idempotent-Replayed`.
    pub(crate) replayed: bool,
    pub(crate) said: Said,
}

/// What an answer said.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// 201: a booking was made; so many milliseconds are left of it.
    Made(Box<Seen>, u64),
    /// 200: the same user's booking of the same tickets was there already.
    Existing(Box<Seen>, u64),
    /// 200: the booking ended as asked, now or before.
    Ended(Box<Seen>),
    Booking(Box<Seen>),
    Counters(Counters),
    Tickets(Box<[TicketSeen]>),
    Refused(Refused),
    /// Nothing that belongs to the request.
    Strange(Box<str>),
}

impl Said {
    /// The booking that it showed.
    pub(crate) fn booking_mut(&mut self) -> Option<&mut Seen> {
        match self {
            Self::Made(seen, _)
            | Self::Existing(seen, _)
            | Self::Ended(seen)
            | Self::Booking(seen) => Some(seen),
            Self::Counters(_) | Self::Tickets(_) | Self::Refused(_) | Self::Strange(_) => None,
        }
    }
}

/// A booking as an answer showed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) id: BookingId,
    pub(crate) user: UserNumber,
    pub(crate) slots: Box<[SlotIndex]>,
    pub(crate) status: BookingStatus,
    /// In cents.
    pub(crate) total: i64,
    /// These three in milliseconds since 1970.
    pub(crate) created_at: u64,
    pub(crate) expires_at: u64,
    /// Not told of a booking that is just being made.
    pub(crate) updated_at: Option<u64>,
}

/// An event's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counters {
    pub(crate) available: u32,
    pub(crate) reserved: u32,
    pub(crate) sold: u32,
}

/// A ticket as a list showed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TicketSeen {
    pub(crate) slot: SlotIndex,
    pub(crate) status: TicketStatus,
    pub(crate) updated_at: u64,
}

/// A ticket that was not free, as a refusal named it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Conflict {
    pub(crate) slot: SlotIndex,
    pub(crate) status: TicketStatus,
    /// The asking user's own booking, if it was named.
    pub(crate) own: Option<BookingId>,
}

/// Why nothing was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Taken(Box<[Conflict]>),
    BookingExpired,
    BookingCancelled,
    AlreadyConfirmed,
    NotYours,
    InFlight,
    KeyReused,
    NotFound,
}

impl Operation {
    /// The answer, if there was one.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Unknown(_) | Outcome::NotSent => None,
        }
    }

    /// Whether it may have been carried out without anybody saying so.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }
}
