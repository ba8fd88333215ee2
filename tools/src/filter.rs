//! Which records were asked for.
//!
//! Users, events and bookings are named by the UUID that clients see or by their number. A UUID
//! names only what was issued under it: where the log has said what the right tag is, another tag
//! names nothing.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use booking_manager::domain::{
    BookingId, BookingStatus, EventId, EventNumber, Fact, PublicId, RowNumber, Tag, Timestamp,
    UserId, UserNumber,
};
use uuid::Uuid;

use crate::fields;
use crate::names::{BookingNumber, Names};
use crate::seat::Seat;

/// A user, an event or a booking as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<N> {
    number: N,
    tag: Option<Tag>,
}

impl<N: Copy> Named<N> {
    /// The number that it goes by in the log.
    pub const fn number(&self) -> N {
        self.number
    }
}

impl<N: PartialEq> Named<N> {
    /// Whether it is the one with this number, whose tag is `tag` if that is known.
    pub(crate) fn is(self, number: Option<N>, tag: impl FnOnce(N) -> Option<Tag>) -> bool {
        let Some(number) = number.filter(|number| *number == self.number) else {
            return false;
        };
        let known = tag(number);
        self.tag.is_none() || known.is_none() || self.tag == known
    }
}

impl FromStr for Named<UserNumber> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(number) = text.parse() {
            return Ok(Self { number: UserNumber::new(number), tag: None });
        }
        let id = UserId::from_public(public(text)?).context("not the id of a user")?;
        Ok(Self { number: id.number, tag: Some(id.tag) })
    }
}

impl FromStr for Named<EventNumber> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(number) = text.parse() {
            return Ok(Self { number: EventNumber::new(number), tag: None });
        }
        let id = EventId::from_public(public(text)?).context("not the id of an event")?;
        Ok(Self { number: id.number, tag: Some(id.tag) })
    }
}

impl FromStr for Named<BookingNumber> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Some((event, row)) = text.split_once('/') {
            let event = event.parse().context("the event of EVENT/ROW is not a number")?;
            let row = row.parse().context("the row of EVENT/ROW is not a number")?;
            return Ok(Self { number: (EventNumber::new(event), RowNumber::new(row)), tag: None });
        }
        let id = BookingId::from_public(public(text)?).context("not the id of a booking")?;
        Ok(Self { number: (id.event, id.row), tag: Some(id.tag) })
    }
}

fn public(text: &str) -> anyhow::Result<PublicId> {
    let id = Uuid::try_parse(text).context("neither a UUID nor a number")?;
    Ok(PublicId(id.as_u128()))
}

/// A kind of record as it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NamedKind {
    /// By one of [`fields::KINDS`].
    Name(&'static str),
    /// By its number in the log.
    Number(u16),
}

impl FromStr for NamedKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        match fields::KINDS.into_iter().find(|name| *name == text) {
            Some(name) => Ok(Self::Name(name)),
            None => bail!("no such kind; expected a number or one of {}", fields::KINDS.join(", ")),
        }
    }
}

/// Reads a position: decimal, or hexadecimal with `0x` before it, as in the names of segments.
///
/// # Errors
/// Any other text.
pub fn position(text: &str) -> anyhow::Result<u64> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.context("expected a position such as 4096 or 0x1000")
}

/// Reads the status of a booking.
///
/// # Errors
/// There is no status of that name.
pub fn booking_status(text: &str) -> anyhow::Result<BookingStatus> {
    BookingStatus::from_name(text).context("expected pending, confirmed, cancelled or expired")
}

/// What a record must be to be shown; what is `None` does not matter.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// From this LSN on
    #[arg(long, value_name = "LSN", value_parser = position)]
    pub from: Option<u64>,
    /// Up to this LSN, exclusive; what lies beyond is not even read
    #[arg(long, value_name = "LSN", value_parser = position)]
    pub to: Option<u64>,
    /// Decided at or after this time (RFC 3339, such as 2025-01-01T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = crate::instant::parse)]
    pub since: Option<Timestamp>,
    /// Decided before this time
    #[arg(long, value_name = "TIME", value_parser = crate::instant::parse)]
    pub until: Option<Timestamp>,
    /// Of this kind, by name or number (user_created, user_updated, user_deleted, event_created,
    /// held, confirmed, cancelled, expired, key_bound); may be given more than once
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<NamedKind>,
    /// Concerning this event, its bookings included
    #[arg(long, value_name = "UUID|NUMBER")]
    pub event: Option<Named<EventNumber>>,
    /// Concerning this booking
    #[arg(long, value_name = "UUID|EVENT/ROW")]
    pub booking: Option<Named<BookingNumber>>,
    /// Concerning this user, their bookings included
    #[arg(long, value_name = "UUID|NUMBER")]
    pub user: Option<Named<UserNumber>>,
    /// Concerning a booking that has or had this ticket; seats count from 1
    #[arg(long, value_name = "UUID|EVENT/SEAT")]
    pub ticket: Option<Seat>,
}

impl Filter {
    /// Whether reading may stop at `lsn`.
    pub fn ends_before(&self, lsn: u64) -> bool {
        self.to.is_some_and(|to| lsn >= to)
    }

    /// Whether a record was asked for, as far as it alone can tell: for the ticket see
    /// [`crate::seat::Watched`]. `names` has learnt from it and all before it.
    pub fn wants(&self, record: &wal::Record<'_>, fact: &Fact<'_>, names: &Names) -> bool {
        let parties = names.parties(fact);
        let tag_of_user = |number| names.user(number).map(|id| id.tag);
        let tag_of_event = |number| names.event(number).map(|id| id.tag);
        let tag_of_booking = |number| names.booking(number).map(|id| id.tag);
        let is_kind = |kind: &NamedKind| match kind {
            NamedKind::Name(name) => *name == fields::kind(fact),
            NamedKind::Number(number) => *number == record.kind.get(),
        };
        self.from.is_none_or(|from| record.lsn.get() >= from)
            && !self.ends_before(record.lsn.get())
            && self.since.is_none_or(|since| fact.at() >= since)
            && self.until.is_none_or(|until| fact.at() < until)
            && (self.kind.is_empty() || self.kind.iter().any(is_kind))
            && self.event.is_none_or(|event| event.is(parties.event, tag_of_event))
            && self.booking.is_none_or(|booking| booking.is(parties.booking, tag_of_booking))
            && self.user.is_none_or(|user| user.is(parties.user, tag_of_user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_numbers_or_as_uuids_of_their_kind() {
        let user = UserId { number: UserNumber::new(7), tag: Tag::new(9) };
        let uuid = Uuid::from_u128(user.public().0).to_string();
        let number = UserNumber::new(7);
        let by_uuid: Named<UserNumber> = uuid.parse().unwrap();
        assert_eq!(by_uuid, Named { number, tag: Some(Tag::new(9)) });
        assert_eq!("7".parse::<Named<UserNumber>>().unwrap(), Named { number, tag: None });
        assert!(uuid.parse::<Named<EventNumber>>().is_err(), "a user is not an event");
        assert!("7".parse::<Named<BookingNumber>>().is_err(), "a row needs its event");
        let booking: Named<BookingNumber> = "3/1".parse().unwrap();
        assert_eq!(booking.number, (EventNumber::new(3), RowNumber::new(1)));
    }

    #[test]
    fn a_tag_matters_where_it_is_known() {
        let number = UserNumber::new(7);
        let named = Named { number, tag: Some(Tag::new(9)) };
        assert!(named.is(Some(number), |_| Some(Tag::new(9))));
        assert!(named.is(Some(number), |_| None));
        assert!(!named.is(Some(number), |_| Some(Tag::new(8))));
        assert!(!named.is(Some(UserNumber::new(8)), |_| None));
        assert!(!named.is(None, |_| None));
    }

    #[test]
    fn positions_are_decimal_or_hexadecimal() {
        assert_eq!(position("4096").unwrap(), 4096);
        assert_eq!(position("0x1000").unwrap(), 4096);
        assert!(position("1000h").is_err());
    }
}
