//! `history`: everything that ever happened to one seat.

use std::fmt;
use std::io::Write;
use std::ops::ControlFlow;

use anyhow::Context as _;
use booking_manager::codec;
use booking_manager::domain::{EventNumber, Fact, RowNumber, TicketStatus};
use serde::Serialize;
use uuid::Uuid;
use wal::Record;

use crate::Status;
use crate::arguments::Tale;
use crate::fault::{Fault, refused_record};
use crate::fields::{self, Fields};
use crate::filter::Named;
use crate::frames::{self, Found};
use crate::instant;
use crate::names::Names;
use crate::output::Output;
use crate::progress::Progress;
use crate::seat::{Seat, Watched};

/// One thing that happened.
#[derive(Debug, Serialize)]
struct Deed {
    lsn: u64,
    epoch: u32,
    at: String,
    kind: &'static str,
    #[serde(flatten)]
    fields: Fields,
}

/// All that happened.
#[derive(Debug, Serialize)]
struct History {
    event: u32,
    seat: u32,
    /// `None` if the log does not tell, or there is no such seat.
    ticket_id: Option<String>,
    /// The log begins here; 0 if nothing of it has been removed.
    log_begins: u64,
    /// Nothing is missing: the log begins at its beginning, and no damage was met.
    complete: bool,
    deeds: Vec<Deed>,
    damage: Vec<Fault>,
    /// What the records leave it as; `None` if there is no such seat as far as the log tells.
    status: Option<&'static str>,
}

/// Tells it.
///
/// # Errors
/// The log cannot be read, or the answer not be written.
pub fn history(tale: &Tale, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    let seat = match (tale.ticket, tale.event.zip(tale.seat)) {
        (Some(seat), _) => seat,
        (None, Some((event, seat))) => {
            Seat::numbered(event.number(), seat).context("seats count from 1")?
        }
        (None, None) => anyhow::bail!("which seat? give --ticket, or --event and --seat"),
    };
    let history = Telling::of(tale, seat)?;
    if tale.place.json {
        output.json(&history)?
    } else {
        history.show(output)?
    }
    Ok(if history.damage.is_empty() { Status::Sound } else { Status::Damaged })
}

/// A history on its way through the log.
#[derive(Debug)]
struct Telling {
    seat: Seat,
    event: Option<Named<EventNumber>>,
    names: Names,
    watched: Watched,
    /// The booking that has the seat, and as what.
    holder: Option<(RowNumber, TicketStatus)>,
    /// Whether the record that made the event was met, and the seat is one of its.
    exists: Option<bool>,
    history: History,
}

impl Telling {
    fn of(tale: &Tale, seat: Seat) -> anyhow::Result<History> {
        let directory = &tale.place.directory;
        let (from, to) = frames::extent(directory);
        let mut progress = Progress::over("reading", from, to);
        let mut telling = Self {
            seat,
            event: tale.event,
            names: Names::default(),
            watched: Watched::from(seat),
            holder: None,
            exists: None,
            history: History {
                event: seat.event.get(),
                seat: seat.number(),
                ticket_id: None,
                log_begins: from.get(),
                complete: false,
                deeds: Vec::new(),
                damage: Vec::new(),
                status: None,
            },
        };
        frames::each(directory, |found| {
            match found {
                Found::Frame(view, _) if view.header.kind.is_internal() => {}
                Found::Frame(view, frames) => {
                    let record = view.record();
                    progress.reach(record.lsn);
                    match codec::decode_record(&record) {
                        Ok(Some(fact)) => telling.take(&record, &fact),
                        Ok(None) => {}
                        Err(error) => {
                            let fault = frames.fault(record.lsn, refused_record(&error));
                            telling.history.damage.push(fault);
                        }
                    }
                }
                Found::Damage(fault, _) => telling.history.damage.push(fault),
                // Only a log that is being followed is read twice.
                Found::TakenBack(..) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(telling.end())
    }

    fn take(&mut self, record: &Record<'_>, fact: &Fact<'_>) {
        self.names.learn(fact);
        if let Fact::EventCreated(created) = fact
            && created.event.number == self.seat.event
        {
            let named = self
                .event
                .is_none_or(|event| event.is(Some(self.seat.event), |_| Some(created.event.tag)));
            let ticket = self.seat.ticket(created.ticket_key);
            let ticket = ticket.filter(|ticket| named && ticket.slot.get() < created.total_seats);
            self.exists = Some(ticket.is_some());
            self.history.ticket_id =
                ticket.map(|ticket| Uuid::from_u128(ticket.public().0).to_string());
            if ticket.is_some() {
                self.note(record, fact);
            }
        }
        if !self.watched.concerns(fact) || self.exists == Some(false) {
            return;
        }
        self.holder = match fact {
            Fact::Held(held) => Some((held.row, TicketStatus::Reserved)),
            Fact::Confirmed(end) => Some((end.row, TicketStatus::Sold)),
            Fact::Cancelled(end) | Fact::Expired(end) => {
                self.holder.filter(|(row, _)| *row != end.row)
            }
            // What a key stands for changes nothing about a seat.
            Fact::KeyBound(_)
            | Fact::UserCreated(_)
            | Fact::UserUpdated(_)
            | Fact::UserDeleted(_)
            | Fact::EventCreated(_) => return,
        };
        self.note(record, fact);
    }

    fn note(&mut self, record: &Record<'_>, fact: &Fact<'_>) {
        self.history.deeds.push(Deed {
            lsn: record.lsn.get(),
            epoch: record.epoch,
            at: instant::show(fact.at()),
            kind: fields::kind(fact),
            fields: Fields::of(fact, &self.names),
        });
    }

    fn end(self) -> History {
        let mut history = self.history;
        history.complete = history.log_begins == 0 && history.damage.is_empty();
        let known = self.exists == Some(true) || self.holder.is_some();
        let status = self.holder.map_or(TicketStatus::Available, |(_, status)| status);
        history.status = (known && self.exists != Some(false)).then(|| status.name());
        history
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lsn, epoch, at, kind, fields } = self;
        write!(f, "{lsn:>12} {epoch:>4} {at} {kind:<13} {fields}")
    }
}

impl History {
    fn show(&self, output: &mut Output<impl Write>) -> anyhow::Result<()> {
        let ticket = self.ticket_id.as_deref().unwrap_or("not known");
        output.line(format_args!("event {} seat {}, ticket {ticket}", self.event, self.seat))?;
        if self.log_begins > 0 {
            output.line(format_args!(
                "the log begins at LSN {}: what happened before that is not told",
                self.log_begins
            ))?;
        }
        self.deeds.iter().try_for_each(|deed| output.line(deed))?;
        for fault in &self.damage {
            output.line(format_args!("damage: {fault}; what stood there is not told"))?;
        }
        match self.status {
            Some(status) => output.line(format_args!("at the end of the log: {status}")),
            None => output.line("the log tells of no such seat"),
        }
    }
}
