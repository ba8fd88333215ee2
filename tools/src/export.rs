//! `export`: bookings with all their columns, as they were at a moment.

use std::io::{self, Write};

use anyhow::Context as _;
use booking_manager::domain::BookingStatus;
use booking_manager::domain::RowNumber;
use booking_manager::image::{Booking, Event, Image};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Status;
use crate::arguments::{Extract, Format};
use crate::instant;
use crate::moment::{self, Place, State};
use crate::output::Output;
use crate::state::{find, tell_damage, uuid_of};

/// A booking. The names are those of the interface that clients see.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    user_id: String,
    event_id: String,
    ticket_ids: Vec<String>,
    seat_numbers: Vec<u32>,
    status: &'static str,
    /// A number with the decimals of its currency.
    total_amount: Box<RawValue>,
    currency: &'static str,
    created_at: String,
    updated_at: String,
    /// Until when it is held, or was, whatever became of it.
    expires_at: String,
}

/// The columns, in order.
const COLUMNS: [&str; 11] = [
    "id",
    "user_id",
    "event_id",
    "ticket_ids",
    "seat_numbers",
    "status",
    "total_amount",
    "currency",
    "created_at",
    "updated_at",
    "expires_at",
];

/// What the bookings are exact for.
#[derive(Debug, Serialize)]
struct Heading<'a> {
    #[serde(flatten)]
    place: &'a Place,
    bookings: usize,
}

/// Writes them.
///
/// # Errors
/// The log cannot be read or does not tell of the moment, there was no such event, or the answer
/// cannot be written.
pub fn export(extract: &Extract, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let Extract { directory, format, at, event, status } = extract;
    let json = *format == Format::Ndjson;
    let State { image, place } = match moment::state_at(directory, *at)? {
        Ok(state) => state,
        Err(damage) => return tell_damage(&damage, json, output),
    };
    let only = match event {
        Some(named) => {
            let none = || format!("there was no such event at LSN {}", place.lsn);
            Some(find(&image, *named).with_context(none)?.id.number)
        }
        None => None,
    };
    let wanted = Wanted { image: &image, status: *status };
    let events = || image.events().filter(|event| only.is_none_or(|only| event.id.number == only));
    let bookings = events().map(|event| wanted.of(event).count()).sum();
    let heading = Heading { place: &place, bookings };
    let lines = events()
        .flat_map(|event| wanted.of(event).map(|(row, booking)| wanted.line(event, row, booking)));
    match format {
        Format::Ndjson => {
            output.json(&heading)?;
            for line in lines {
                output.json(&line?)?;
                if output.is_closed() {
                    break;
                }
            }
        }
        Format::Csv => write_csv(lines, output)?,
    }
    if !json {
        let Heading { place: Place { uuid, lsn, .. }, bookings } = heading;
        let told = format!("booking-wal: {bookings} bookings, exact for LSN {lsn} of log {uuid}");
        writeln!(io::stderr(), "{told}").context("cannot write to standard error")?;
    }
    Ok(Status::Sound)
}

fn write_csv(
    lines: impl Iterator<Item = anyhow::Result<Line>>,
    output: &mut Output<impl Write>,
) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(&mut *output);
    writer.write_record(COLUMNS)?;
    for line in lines {
        let line = line?;
        let seats: Vec<_> = line.seat_numbers.iter().map(u32::to_string).collect();
        writer.write_record([
            &line.id,
            &line.user_id,
            &line.event_id,
            line.ticket_ids.join(" ").as_str(),
            seats.join(" ").as_str(),
            line.status,
            line.total_amount.get(),
            line.currency,
            &line.created_at,
            &line.updated_at,
            &line.expires_at,
        ])?;
        if writer.get_ref().is_closed() {
            break;
        }
    }
    Ok(writer.flush()?)
}

/// Which bookings.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    image: &'a Image,
    status: Option<BookingStatus>,
}

impl<'a> Wanted<'a> {
    fn of(self, event: &'a Event) -> impl Iterator<Item = (RowNumber, &'a Booking)> {
        let all = event.bookings();
        all.filter(move |(_, booking)| self.status.is_none_or(|status| booking.status == status))
    }

    fn line(self, event: &Event, row: RowNumber, booking: &Booking) -> anyhow::Result<Line> {
        let user = self.image.user(booking.user).context("a booking of a user who is not there")?;
        let currency = event.details.currency;
        let ticket = |slot| uuid_of(event.ticket_key.ticket(event.id.number, slot).public());
        let slots = booking.slots.as_slice();
        let total = booking.total.display(currency.decimals()).to_string();
        Ok(Line {
            id: uuid_of(event.booking_id(row, booking).public()),
            user_id: uuid_of(user.id.public()),
            event_id: uuid_of(event.id.public()),
            ticket_ids: slots.iter().map(|&slot| ticket(slot)).collect(),
            seat_numbers: slots.iter().map(|slot| slot.seat_number()).collect(),
            status: booking.status.name(),
            total_amount: RawValue::from_string(total)?,
            currency: currency.code(),
            created_at: instant::show(booking.created_at),
            updated_at: instant::show(booking.changed_at),
            expires_at: instant::show(booking.deadline()),
        })
    }
}
