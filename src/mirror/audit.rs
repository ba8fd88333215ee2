//! Every row compared with an image of the log at the checkpoint that the rows claim.
//!
//! The rows are read in the order of their ids, which is the order in which an image gives its
//! users, events, bookings and tickets; so both are walked once, side by side, and neither is held in
//! memory. All of it is one snapshot of PostgreSQL: a mirror that goes on meanwhile does no harm.

use std::cmp::Ordering;
use std::fmt;
use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::connect::connect;
use super::copy::{micros, uuid};
use super::fault::{Fault, Obstacle};
use super::load::bookings;
use super::rows::{BookingRow, EventRow, starts_at};
use super::session::read_checkpoint;
use super::target::Target;
use super::write::Checkpoint;
use crate::domain::{Amount, Currency, PublicId, Timestamp};
use crate::image::{Event, Image, Ticket, User};

const NO_PARAMETERS: [&(dyn ToSql + Sync); 0] = [];

/// A column: its name, and how it is asked for as text.
type Column = (&'static str, Form);

#[derive(Clone, Copy)]
enum Form {
    Text,
    Time,
    List,
}

const USERS: &[Column] = &[
    ("email", Form::Text),
    ("name", Form::Text),
    ("created_at", Form::Time),
    ("updated_at", Form::Time),
    ("deleted_at", Form::Time),
];
const EVENTS: &[Column] = &[
    ("name", Form::Text),
    ("artist", Form::Text),
    ("venue", Form::Text),
    ("date", Form::Text),
    ("starts_at", Form::Time),
    ("total_seats", Form::Text),
    ("price", Form::Text),
    ("currency", Form::Text),
    ("created_at", Form::Time),
    ("updated_at", Form::Time),
];
const BOOKINGS: &[Column] = &[
    ("user_id", Form::Text),
    ("event_id", Form::Text),
    ("ticket_ids", Form::List),
    ("status", Form::Text),
    ("total_amount", Form::Text),
    ("currency", Form::Text),
    ("created_at", Form::Time),
    ("updated_at", Form::Time),
    ("expires_at", Form::Time),
];
const TICKETS: &[Column] = &[
    ("event_id", Form::Text),
    ("seat_number", Form::Text),
    ("price", Form::Text),
    ("status", Form::Text),
    ("booking_id", Form::Text),
    ("created_at", Form::Time),
    ("updated_at", Form::Time),
];

/// A row as texts, in the order of its table's columns.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Texts {
    id: Uuid,
    columns: Vec<Option<String>>,
}

/// One way in which PostgreSQL differs from the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// A row is not there.
    Missing {
        /// Of which table.
        table: &'static str,
        /// Its id.
        id: Uuid,
    },
    /// A row is there that the log knows nothing of.
    Surplus {
        /// Of which table.
        table: &'static str,
        /// Its id.
        id: Uuid,
    },
    /// A column has another value.
    Value {
        /// Of which table.
        table: &'static str,
        /// The row's id.
        id: Uuid,
        /// The column.
        column: &'static str,
        /// What the log says; times in microseconds since 2000.
        expected: Option<String>,
        /// What PostgreSQL says.
        found: Option<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { table, id } => write!(f, "{table} {id}: not in PostgreSQL"),
            Self::Surplus { table, id } => write!(f, "{table} {id}: not in the log"),
            Self::Value { table, id, column, expected, found } => {
                let shown = |value: &Option<String>| {
                    value.as_ref().map_or("null".to_owned(), |text| format!("{text:?}"))
                };
                let (expected, found) = (shown(expected), shown(found));
                write!(f, "{table} {id}: {column} is {found}, and {expected} by the log")
            }
        }
    }
}

/// What was compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compared {
    /// Rows of the image.
    pub rows: u64,
    /// Differences reported.
    pub differences: u64,
}

/// A look at the tables as they are at one instant.
#[derive(Debug)]
pub struct Audit {
    client: Client,
    checkpoint: Option<Checkpoint>,
}

impl Audit {
    /// Connects, and reads which position of the log the tables claim. Needs no lock: the mirror may
    /// go on.
    ///
    /// # Errors
    /// PostgreSQL's, or the tables are another log's.
    pub async fn begin(target: &Target, log: Uuid) -> Result<Self, Fault> {
        let client = connect(target).await?;
        client
            .batch_execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                 BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            )
            .await?;
        let checkpoint = read_checkpoint(&client, log).await?;
        Ok(Self { client, checkpoint })
    }

    /// Which position; `None` if nothing was ever mirrored.
    pub const fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// Compares with the image of the log at the checkpoint, and reports each difference; `passed` is
    /// told how many rows of the image have been looked at.
    ///
    /// # Errors
    /// PostgreSQL's; or the image is not the one at the checkpoint.
    pub async fn compare(
        &self,
        image: &Image,
        mut report: impl FnMut(Difference),
        mut passed: impl FnMut(u64),
    ) -> Result<Compared, Fault> {
        let claimed = self.checkpoint.map_or(0, |checkpoint| checkpoint.records);
        if claimed != image.records() {
            let what = format!(
                "the checkpoint counts {claimed} records where the log has {}",
                image.records()
            );
            return Err(Obstacle::Meddled { what }.into());
        }
        let mut compared = Compared::default();
        let mut side = Side {
            client: &self.client,
            compared: &mut compared,
            report: &mut report,
            passed: &mut passed,
        };
        side.walk("users", USERS, image.users().map(user)).await?;
        side.walk("events", EVENTS, image.events().map(event)).await?;
        let all = image.events().flat_map(|event| bookings(image, event));
        side.walk("bookings", BOOKINGS, all.map(|row| booking(&row))).await?;
        let all =
            image.events().flat_map(|event| event.tickets().map(move |seat| ticket(event, seat)));
        side.walk("tickets", TICKETS, all).await?;
        let keys = image.events().map(|event| Texts {
            id: uuid(event.id.public()),
            columns: vec![Some(format!("\\x{:032x}", event.ticket_key.reveal()))],
        });
        side.walk("booking_mirror_events", &[("ticket_key", Form::Text)], keys).await?;
        Ok(compared)
    }
}

struct Side<'a, R, P> {
    client: &'a Client,
    compared: &'a mut Compared,
    report: &'a mut R,
    passed: &'a mut P,
}

impl<R: FnMut(Difference), P: FnMut(u64)> Side<'_, R, P> {
    /// Walks over a table and what should be in it, both in the order of ids.
    async fn walk(
        &mut self,
        table: &'static str,
        columns: &[Column],
        expected: impl Iterator<Item = Texts>,
    ) -> Result<(), Fault> {
        let mut found = pin!(self.client.query_raw(&select(table, columns), NO_PARAMETERS).await?);
        let mut next = found.try_next().await?.map(texts).transpose()?;
        for row in expected {
            self.compared.rows += 1;
            (self.passed)(self.compared.rows);
            while let Some(surplus) = next.take_if(|found| found.id < row.id) {
                self.differs(Difference::Surplus { table, id: surplus.id });
                next = found.try_next().await?.map(texts).transpose()?;
            }
            match next.as_ref().map(|found| found.id.cmp(&row.id)) {
                Some(Ordering::Equal) => {
                    if let Some(found) = &next {
                        self.columns(table, columns, &row, found);
                    }
                    next = found.try_next().await?.map(texts).transpose()?;
                }
                Some(Ordering::Less | Ordering::Greater) | None => {
                    self.differs(Difference::Missing { table, id: row.id });
                }
            }
        }
        while let Some(surplus) = next {
            self.differs(Difference::Surplus { table, id: surplus.id });
            next = found.try_next().await?.map(texts).transpose()?;
        }
        Ok(())
    }

    fn columns(
        &mut self,
        table: &'static str,
        columns: &[Column],
        expected: &Texts,
        found: &Texts,
    ) {
        let values = expected.columns.iter().zip(&found.columns);
        for (&(column, _), (expected_value, found_value)) in columns.iter().zip(values) {
            if expected_value != found_value {
                self.differs(Difference::Value {
                    table,
                    id: expected.id,
                    column,
                    expected: expected_value.clone(),
                    found: found_value.clone(),
                });
            }
        }
    }

    fn differs(&mut self, difference: Difference) {
        self.compared.differences += 1;
        (self.report)(difference);
    }
}

fn select(table: &str, columns: &[Column]) -> String {
    let id = if table == "booking_mirror_events" { "event_id" } else { "id" };
    let mut sql = format!("SELECT {id}");
    for (column, form) in columns {
        let value = match form {
            Form::Text => format!("{column}::text"),
            Form::Time => {
                format!("((extract(epoch FROM {column}) - 946684800) * 1000000)::bigint::text")
            }
            Form::List => format!("array_to_string({column}, ',')"),
        };
        sql = format!("{sql}, {value}");
    }
    format!("{sql} FROM {table} ORDER BY 1")
}

fn texts(row: Row) -> Result<Texts, Fault> {
    let columns = (1..row.len()).map(|column| row.try_get(column)).collect::<Result<_, _>>()?;
    Ok(Texts { id: row.try_get(0)?, columns })
}

fn id(id: PublicId) -> Option<String> {
    Some(uuid(id).to_string())
}

#[expect(clippy::unnecessary_wraps, reason = "a column may be null, and this one is not")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn time(at: Timestamp) -> Option<String> {
    Some(micros(at).to_string())
}

fn money(amount: Amount, currency: Currency) -> Option<String> {
    // As numeric(20, 4) is shown.
    let unit = 10_i64.pow(currency.decimals());
    let (whole, rest) = (amount.minor() / unit, amount.minor() % unit);
    Some(format!("{whole}.{:04}", rest * (10_000 / unit)))
}

fn user(user: &User) -> Texts {
    let columns = vec![
        text(user.email.as_str()),
        text(user.name.as_str()),
        time(user.created_at),
        time(user.updated_at),
        user.deleted_at.and_then(time),
    ];
    Texts { id: uuid(user.id.public()), columns }
}

fn event(event: &Event) -> Texts {
    let EventRow {
        id, name, artist, venue, date, total_seats, price, currency, created_at, ..
    } = EventRow::of(event);
    let columns = vec![
        text(&name),
        text(&artist),
        text(&venue),
        text(&date),
        starts_at(&date).map(|micros| micros.to_string()),
        Some(total_seats.to_string()),
        money(price, currency),
        text(currency.code()),
        time(created_at),
        time(created_at),
    ];
    Texts { id: uuid(id.public()), columns }
}

fn booking(row: &BookingRow) -> Texts {
    let ticket = |&slot: &_| {
        let ticket = row.ticket_key.ticket(row.event.number, slot);
        uuid(ticket.public()).to_string()
    };
    let tickets: Vec<String> = row.slots.iter().map(ticket).collect();
    let columns = vec![
        id(row.user.public()),
        id(row.event.public()),
        Some(tickets.join(",")),
        text(row.status.name()),
        money(row.total, row.currency),
        text(row.currency.code()),
        time(row.created_at),
        time(row.updated_at),
        time(row.expires_at),
    ];
    Texts { id: uuid(row.id.public()), columns }
}

fn ticket(event: &Event, ticket: Ticket) -> Texts {
    let holder = ticket.holder.and_then(|row| Some(event.booking_id(row, event.booking(row)?)));
    let columns = vec![
        id(event.id.public()),
        Some(ticket.id.slot.seat_number().to_string()),
        money(event.details.price, event.details.currency),
        text(ticket.status.name()),
        holder.and_then(|booking| id(booking.public())),
        time(event.created_at),
        time(ticket.updated_at),
    ];
    Texts { id: uuid(ticket.id.public()), columns }
}
