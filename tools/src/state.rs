//! `state`: what the events, or the seats of one, were at a moment.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use booking_manager::domain::{BookingId, EventNumber, PublicId};
use booking_manager::image::{Event, Image, Ticket};
use serde::Serialize;
use uuid::Uuid;

use crate::Status;
use crate::arguments::Glance;
use crate::fault::{Fault, shown_path};
use crate::filter::Named;
use crate::instant;
use crate::moment::{self, Place, State};
use crate::output::Output;
use crate::totals::{Bookings, Totals};

/// An event with its counters.
#[derive(Debug, Serialize)]
struct EventLine {
    number: u32,
    id: String,
    name: String,
    artist: String,
    venue: String,
    date: String,
    price: String,
    currency: &'static str,
    created_at: String,
    total_seats: u32,
    available: u32,
    reserved: u32,
    sold: u32,
    bookings: Bookings,
}

/// A seat with who had it.
#[derive(Debug, Serialize)]
struct SeatLine {
    seat: u32,
    status: &'static str,
    since: String,
    booking_id: Option<String>,
    user_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(serialize_with = "shown_path")]
    directory: &'a PathBuf,
    #[serde(flatten)]
    place: Place,
    state_hash: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    All { totals: Totals, events: Vec<EventLine> },
    One { event: Box<EventLine>, seats: Vec<SeatLine> },
}

/// Says that there is no answer, because damage lies before it.
///
/// # Errors
/// The answer cannot be written.
pub fn tell_damage(
    damage: &Fault,
    json: bool,
    output: &mut Output<impl Write>,
) -> anyhow::Result<Status> {
    if json {
        output.json(&serde_json::json!({ "damage": damage }))?;
    } else {
        output.line(format_args!("damage        {damage}"))?;
        let lsn = damage.lsn;
        output.line(format_args!(
            "no state behind it is known; --at {lsn} shows the last before it"
        ))?;
    }
    Ok(Status::Damaged)
}

/// Shows it.
///
/// # Errors
/// The log cannot be read or does not tell of the moment, there was no such event, or the answer
/// cannot be written.
pub fn state(glance: &Glance, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let directory = &glance.place.directory;
    let State { image, place } = match moment::state_at(directory, glance.at)? {
        Ok(state) => state,
        Err(damage) => return tell_damage(&damage, glance.place.json, output),
    };
    let content = match glance.event {
        Some(named) => {
            let event = find(&image, named)
                .with_context(|| format!("there was no such event at LSN {}", place.lsn))?;
            let seats = event.tickets().map(|ticket| SeatLine::of(&image, event, &ticket));
            Content::One { event: Box::new(EventLine::of(event)), seats: seats.collect() }
        }
        None => Content::All {
            totals: Totals::of(&image),
            events: image.events().map(EventLine::of).collect(),
        },
    };
    let state_hash = image.hash().to_string();
    let answer = Answer { directory, place, state_hash, content };
    if glance.place.json {
        output.json(&answer)?;
    } else {
        answer.show(output)?;
    }
    Ok(Status::Sound)
}

/// The event that was asked for, if it was there.
pub fn find(image: &Image, named: Named<EventNumber>) -> Option<&Event> {
    let event = image.event(named.number())?;
    named.is(Some(event.id.number), |_| Some(event.id.tag)).then_some(event)
}

/// A public id as clients see it.
pub fn uuid_of(PublicId(bits): PublicId) -> String {
    Uuid::from_u128(bits).to_string()
}

impl EventLine {
    fn of(event: &Event) -> Self {
        let details = &event.details;
        Self {
            number: event.id.number.get(),
            id: uuid_of(event.id.public()),
            name: details.name.as_str().to_owned(),
            artist: details.artist.as_str().to_owned(),
            venue: details.venue.as_str().to_owned(),
            date: details.date.to_string(),
            price: details.price.display(details.currency.decimals()).to_string(),
            currency: details.currency.code(),
            created_at: instant::show(event.created_at),
            total_seats: details.total_seats,
            available: event.available(),
            reserved: event.reserved(),
            sold: event.sold(),
            bookings: Bookings::of(event),
        }
    }
}

impl fmt::Display for EventLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, id, name, total_seats, available, reserved, sold, .. } = self;
        write!(
            f,
            "{number:>8} {id} {total_seats:>9} {available:>9} {reserved:>9} {sold:>9} {name:?}"
        )
    }
}

impl SeatLine {
    fn of(image: &Image, event: &Event, ticket: &Ticket) -> Self {
        let holder = ticket.holder.and_then(|row| Some((row, event.booking(row)?)));
        let id = holder.map(|(row, booking)| event.booking_id(row, booking));
        let user = holder.and_then(|(_, booking)| image.user(booking.user));
        Self {
            seat: ticket.id.slot.seat_number(),
            status: ticket.status.name(),
            since: instant::show(ticket.updated_at),
            booking_id: id.map(BookingId::public).map(uuid_of),
            user_id: user.map(|user| uuid_of(user.id.public())),
        }
    }
}

impl fmt::Display for SeatLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seat, status, since, booking_id, user_id } = self;
        write!(f, "{seat:>8} {status:<9} {since}")?;
        let (Some(booking), Some(user)) = (booking_id, user_id) else {
            return Ok(());
        };
        write!(f, " booking {booking} user {user}")
    }
}

impl Answer<'_> {
    fn show(&self, output: &mut Output<impl Write>) -> anyhow::Result<()> {
        let Place { uuid, lsn, newest, records } = &self.place;
        output.line(format_args!("directory     {}", self.directory.display()))?;
        output.line(format_args!("uuid          {uuid}"))?;
        output.line(format_args!("exact for     LSN {lsn}"))?;
        let newest = newest.as_deref().map_or_else(String::new, |at| format!(", newest of {at}"));
        output.line(format_args!("records       {records}{newest}"))?;
        output.line(format_args!("state         {}", self.state_hash))?;
        match &self.content {
            Content::All { totals, events } => {
                output.line(totals)?;
                let [total, free, held, sold] = ["seats", "available", "reserved", "sold"];
                output.line(format_args!(
                    "\n{:>8} {:<36} {total:>9} {free:>9} {held:>9} {sold:>9} name",
                    "event", "id"
                ))?;
                events.iter().try_for_each(|event| output.line(event))
            }
            Content::One { event, seats } => {
                let EventLine { number, id, name, price, currency, date, .. } = &**event;
                output.line(format_args!("event         {number}, {id}"))?;
                output
                    .line(format_args!("name          {name:?} on {date:?}, {price} {currency}"))?;
                let EventLine { total_seats, available, reserved, sold, .. } = &**event;
                output.line(format_args!(
                    "tickets       {total_seats}: {sold} sold, {reserved} reserved, {available} \
                     available\n"
                ))?;
                output.line(format_args!("{:>8} {:<9} since", "seat", "status"))?;
                seats.iter().try_for_each(|seat| output.line(seat))
            }
        }
    }
}
