//! Events: the shows that people attend.

use super::ids::SlotIndex;
use super::money::{Amount, Currency};
use super::user::{TextFault, check_text};

/// How many seats one event may have.
pub const SEATS_PER_EVENT_MAX: u32 = 1_000_000;
/// How many tickets all events together can have.
pub const TICKETS_MAX: u64 = 1 << 31;
/// The longest name, artist or venue of an event accepted, in characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// The longest date accepted, in bytes.
pub const DATE_BYTES_MAX: usize = 64;

/// The name of an event, an artist or a venue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Title(Box<str>);

impl Title {
    /// Accepts any text that is not blank and has no control characters.
    pub fn parse(text: &str) -> Result<Self, TextFault> {
        check_text(text, TITLE_CHARS_MAX)?;
        Ok(Self(text.into()))
    }

    /// The title as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an organiser says of an event; it never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventDetails {
    /// What the event is called.
    pub name: Title,
    /// Who performs.
    pub artist: Title,
    /// Where.
    pub venue: Title,
    /// When, in RFC 3339, just as it was sent: the edge that took it in has checked its form.
    pub date: Box<str>,
    /// How many tickets there are, 1 to [`SEATS_PER_EVENT_MAX`].
    pub total_seats: u32,
    /// What one ticket costs, more than zero or zero, never less.
    pub price: Amount,
    /// In which currency.
    pub currency: Currency,
}

impl EventDetails {
    /// The sum of the prices of these tickets, unless it is beyond what an amount can hold.
    pub fn total_of(&self, slots: &[SlotIndex]) -> Option<Amount> {
        self.price.times(u32::try_from(slots.len()).ok()?)
    }
}
