//! What a state comes to: events, tickets, bookings and money.

use std::collections::BTreeMap;
use std::fmt;

use booking_manager::domain::{BookingStatus, Currency};
use booking_manager::image::{Event, Image};
use serde::{Serialize, Serializer};

/// Sums over events.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    /// Users that were not deleted.
    pub users: u64,
    /// Events.
    pub events: u64,
    /// Their tickets.
    pub tickets: Tickets,
    /// Their bookings, whatever became of them.
    pub bookings: Bookings,
    /// The totals of confirmed bookings, by currency.
    pub confirmed_amounts: Amounts,
}

/// Tickets by status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Tickets {
    /// All of them.
    pub total: u64,
    /// Under confirmed bookings.
    pub sold: u64,
    /// Under pending ones.
    pub reserved: u64,
    /// Under none.
    pub available: u64,
}

/// Bookings by status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Bookings {
    /// Holds that may still become anything.
    pub pending: u64,
    /// Sales.
    pub confirmed: u64,
    /// Given back.
    pub cancelled: u64,
    /// Run out.
    pub expired: u64,
}

/// Sums of money by currency code, in minor units. A sum may be larger than any one amount.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Amounts(BTreeMap<&'static str, (i128, u32)>);

impl Totals {
    /// Of all events.
    pub fn of(image: &Image) -> Self {
        let mut totals = Self::default();
        image.events().for_each(|event| totals.add(event));
        let users = image.users().filter(|user| user.deleted_at.is_none());
        totals.users = users.count() as u64;
        totals
    }

    fn add(&mut self, event: &Event) {
        self.events += 1;
        self.tickets.total += u64::from(event.details.total_seats);
        self.tickets.sold += u64::from(event.sold());
        self.tickets.reserved += u64::from(event.reserved());
        self.tickets.available += u64::from(event.available());
        for (_, booking) in event.bookings() {
            self.bookings.add(booking.status);
            if booking.status == BookingStatus::Confirmed {
                self.confirmed_amounts.add(event.details.currency, booking.total.minor());
            }
        }
    }
}

impl Bookings {
    /// Of one event.
    pub fn of(event: &Event) -> Self {
        let mut bookings = Self::default();
        event.bookings().for_each(|(_, booking)| bookings.add(booking.status));
        bookings
    }

    const fn add(&mut self, status: BookingStatus) {
        let count = match status {
            BookingStatus::Pending => &mut self.pending,
            BookingStatus::Confirmed => &mut self.confirmed,
            BookingStatus::Cancelled => &mut self.cancelled,
            BookingStatus::Expired => &mut self.expired,
        };
        *count += 1;
    }
}

impl Amounts {
    fn add(&mut self, currency: Currency, minor: i64) {
        let sum = self.0.entry(currency.code()).or_insert((0, currency.decimals()));
        sum.0 += i128::from(minor);
    }

    fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(|(code, &(minor, decimals))| {
            let (unit, width) = (10_i128.pow(decimals), decimals as usize);
            let shown = match decimals {
                0 => minor.to_string(),
                _ => format!("{}.{:0width$}", minor / unit, minor % unit),
            };
            (*code, shown)
        })
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, events, tickets, bookings, confirmed_amounts } = self;
        writeln!(f, "users         {users}")?;
        writeln!(f, "events        {events}")?;
        let Tickets { total, sold, reserved, available } = tickets;
        write!(f, "tickets       {total}: {sold} sold, {reserved} reserved, ")?;
        writeln!(f, "{available} available")?;
        let Bookings { pending, confirmed, cancelled, expired } = bookings;
        let all = pending + confirmed + cancelled + expired;
        write!(f, "bookings      {all}: {pending} pending, {confirmed} confirmed, ")?;
        write!(f, "{cancelled} cancelled, {expired} expired")?;
        for (code, sum) in confirmed_amounts.shown() {
            write!(f, "\nconfirmed     {sum} {code}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_beyond_any_one_amount() {
        let mut amounts = Amounts::default();
        for code in ["EUR", "JPY", "KWD"] {
            let currency = Currency::from_code(code).unwrap();
            (0..3).for_each(|_| amounts.add(currency, i64::MAX));
        }
        let expected = r#"{"EUR":"276701161105643274.21","JPY":"27670116110564327421","KWD":"27670116110564327.421"}"#;
        assert_eq!(serde_json::to_string(&amounts).unwrap(), expected);
    }
}
