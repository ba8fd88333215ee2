//! A batch written in one transaction, with the checkpoint.
//!
//! **Invariant:** the rows of a batch and the position behind it become visible together or not at
//! all, and only if the checkpoint stood where the batch begins. That update comes first and must hit
//! exactly one row: its row lock, held to the end, keeps a second mirror from doing the same. Whatever
//! is killed when, whoever comes next reads the checkpoint and goes on from there.
//!
//! New rows go by binary COPY, changed ones by one UPDATE from arrays for each table; every such
//! update must hit as many rows as the batch changes, else somebody else has changed them.
//! Rows are written in the order of their ids, which is the order of their places, so that
//! pages of tables and indexes are touched one after the other.

use std::error::Error;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, CopyInSink, Statement, Transaction};
use uuid::Uuid;
use wal::Lsn;

use super::connect::{ANSWER_LIMIT, limited};
use super::copy::{Copy, micros, uuid};
use super::fault::{Fault, Obstacle};
use super::fold::{Batch, Known};
use super::rows::{BookingRow, COPY_TICKETS, EventRow, Seats, TicketState, UserRow, put_ticket};
use crate::domain::{EventNumber, SlotIndex, TicketStatus, Timestamp};

const ADVANCE: &str = "UPDATE booking_mirror_checkpoint \
     SET lsn = $3, records = $4, segment_salt = $5, mirrored_at = clock_timestamp() \
     WHERE log_uuid = $1 AND lsn = $2";
const ENTER: &str = "INSERT INTO booking_mirror_checkpoint \
     (log_uuid, lsn, records, segment_salt, mirrored_at) \
     VALUES ($1, $2, $3, $4, clock_timestamp())";
/// After so many rows another COPY is begun: one statement has to come to its end within its limit,
/// and keeps in PostgreSQL's memory what is left to check of each row.
const COPY_ROWS_MAX: usize = 250_000;
const CHANGE_USERS: &str = "UPDATE users AS u SET \
     email = coalesce(c.email, u.email), name = coalesce(c.name, u.name), \
     updated_at = coalesce(c.updated_at, u.updated_at), \
     deleted_at = coalesce(c.deleted_at, u.deleted_at) \
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[]) \
     AS c (id, email, name, updated_at, deleted_at) \
     WHERE u.id = c.id AND u.deleted_at IS NULL";
const END_BOOKINGS: &str = "UPDATE bookings AS b SET status = c.status, updated_at = c.updated_at \
     FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS c (id, status, updated_at) \
     WHERE b.id = c.id AND b.status = 'pending'";
const CHANGE_TICKETS: &str = "UPDATE tickets AS t SET \
     status = c.status, booking_id = c.booking_id, updated_at = c.updated_at \
     FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) \
     AS c (id, status, booking_id, updated_at) \
     WHERE t.id = c.id";

/// How far the tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The tables hold every record that ends here or before.
    pub lsn: Lsn,
    /// How many records those are.
    pub records: u64,
    /// The salt of the segment in which the last of them stands, if that is known: it tells the log
    /// from an older copy of it that has gone on by itself.
    pub salt: Option<u64>,
}

/// A salt as PostgreSQL takes it: bit by bit.
fn salt(checkpoint: Checkpoint) -> Option<i64> {
    checkpoint.salt.map(u64::cast_signed)
}

/// A position or a count as PostgreSQL takes it; neither reaches 2^63.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An instant on its way into an array.
#[derive(Debug)]
struct Instant(Timestamp);

impl ToSql for Instant {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(micros(self.0));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

/// What is sent again and again. Preparing them finds tables and columns that are gone.
#[derive(Debug)]
pub(super) struct Statements {
    advance: Statement,
    change_users: Statement,
    end_bookings: Statement,
    change_tickets: Statement,
    pub(super) copy_users: Statement,
    pub(super) copy_events: Statement,
    pub(super) copy_keys: Statement,
    pub(super) copy_bookings: Statement,
    pub(super) copy_tickets: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Fault> {
        Ok(Self {
            advance: client.prepare(ADVANCE).await?,
            change_users: client.prepare(CHANGE_USERS).await?,
            end_bookings: client.prepare(END_BOOKINGS).await?,
            change_tickets: client.prepare(CHANGE_TICKETS).await?,
            copy_users: client.prepare(UserRow::COPY).await?,
            copy_events: client.prepare(EventRow::COPY).await?,
            copy_keys: client.prepare(EventRow::COPY_KEYS).await?,
            copy_bookings: client.prepare(BookingRow::COPY).await?,
            copy_tickets: client.prepare(COPY_TICKETS).await?,
        })
    }
}

/// A transaction on the tables of one log.
pub(super) struct Writer<'c> {
    transaction: Transaction<'c>,
    statements: &'c Statements,
    log: Uuid,
}

impl<'c> Writer<'c> {
    pub(super) async fn begin(
        client: &'c mut Client,
        statements: &'c Statements,
        log: Uuid,
    ) -> Result<Self, Fault> {
        let begun = async { Ok(client.transaction().await?) };
        Ok(Self { transaction: limited(ANSWER_LIMIT, begun).await?, statements, log })
    }

    pub(super) const fn statements(&self) -> &'c Statements {
        self.statements
    }

    /// Enters the checkpoint into tables that have none.
    pub(super) async fn enter(&self, checkpoint: Checkpoint) -> Result<(), Fault> {
        let (lsn, records) = (number(checkpoint.lsn.get()), number(checkpoint.records));
        let parameters: [&(dyn ToSql + Sync); 4] = [&self.log, &lsn, &records, &salt(checkpoint)];
        let entered = async { Ok(self.transaction.execute(ENTER, &parameters).await?) };
        limited(ANSWER_LIMIT, entered).await.map(drop)
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), Fault> {
        limited(ANSWER_LIMIT, async { Ok(self.transaction.batch_execute(sql).await?) }).await
    }

    pub(super) async fn commit(self) -> Result<(), Fault> {
        limited(ANSWER_LIMIT, async { Ok(self.transaction.commit().await?) }).await
    }

    /// Moves the checkpoint; afterwards nobody else can before this transaction ends.
    pub(super) async fn advance(&self, from: Checkpoint, to: Checkpoint) -> Result<(), Fault> {
        let (lsn, records) = (number(to.lsn.get()), number(to.records));
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&self.log, &number(from.lsn.get()), &lsn, &records, &salt(to)];
        match self.execute(&self.statements.advance, &parameters).await? {
            1 => Ok(()),
            _ => Err(Obstacle::Overtaken.into()),
        }
    }

    /// Writes all rows of a batch.
    pub(super) async fn write(&self, batch: &Batch, known: &Known) -> Result<(), Fault> {
        let statements = self.statements;
        self.copy(&statements.copy_users, batch.new_users.values(), UserRow::put).await?;
        self.change_users(batch, known).await?;
        self.copy(&statements.copy_events, batch.new_events.values(), EventRow::put).await?;
        self.copy(&statements.copy_keys, batch.new_events.values(), EventRow::put_key).await?;
        self.copy(&statements.copy_bookings, batch.new_bookings.values(), BookingRow::put).await?;
        self.end_bookings(batch).await?;
        self.new_tickets(batch).await?;
        self.change_tickets(batch, known).await
    }

    async fn execute(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Fault> {
        let executed = async { Ok(self.transaction.execute(statement, parameters).await?) };
        limited(ANSWER_LIMIT, executed).await
    }

    /// Sends an UPDATE that must change `expected` rows.
    async fn change(
        &self,
        table: &str,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
        expected: usize,
    ) -> Result<(), Fault> {
        let found = self.execute(statement, parameters).await?;
        if found == expected as u64 {
            return Ok(());
        }
        let missing = (expected as u64).saturating_sub(found);
        let what = format!("{missing} rows of {table} that should change are not there");
        Err(Obstacle::Meddled { what }.into())
    }

    /// Sends rows; nothing if there are none.
    pub(super) async fn copy<R>(
        &self,
        statement: &Statement,
        rows: impl Iterator<Item = R>,
        put: impl Fn(R, &mut Copy),
    ) -> Result<(), Fault> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut sending = Sending::begin(&self.transaction, statement).await?;
            for row in rows.by_ref().take(COPY_ROWS_MAX) {
                put(row, &mut sending.copy);
                sending.send_full().await?;
            }
            sending.finish().await?;
        }
        Ok(())
    }

    async fn change_users(&self, batch: &Batch, known: &Known) -> Result<(), Fault> {
        if batch.users.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<Uuid> = Vec::with_capacity(batch.users.len());
        let (mut emails, mut names) = (Vec::new(), Vec::new());
        let (mut updated, mut deleted) = (Vec::new(), Vec::new());
        for (number, change) in &batch.users {
            let Some(id) = known.users.get(number) else { continue };
            ids.push(uuid(id.public()));
            let profile = change.profile.as_ref();
            emails.push(profile.map(|(email, _, _)| &**email));
            names.push(profile.map(|(_, name, _)| &**name));
            updated.push(profile.map(|&(_, _, at)| Instant(at)));
            deleted.push(change.deleted_at.map(Instant));
        }
        let parameters: [&(dyn ToSql + Sync); 5] = [&ids, &emails, &names, &updated, &deleted];
        self.change("users", &self.statements.change_users, &parameters, batch.users.len()).await
    }

    async fn end_bookings(&self, batch: &Batch) -> Result<(), Fault> {
        if batch.endings.is_empty() {
            return Ok(());
        }
        let endings = || batch.endings.values();
        let ids: Vec<Uuid> = endings().map(|ending| uuid(ending.id.public())).collect();
        let statuses: Vec<&str> = endings().map(|ending| ending.status.name()).collect();
        let times: Vec<Instant> = endings().map(|ending| Instant(ending.at)).collect();
        let parameters: [&(dyn ToSql + Sync); 3] = [&ids, &statuses, &times];
        self.change("bookings", &self.statements.end_bookings, &parameters, ids.len()).await
    }

    /// The tickets of new events, in the state that the batch leaves them in.
    async fn new_tickets(&self, batch: &Batch) -> Result<(), Fault> {
        let tickets = batch.new_events.values().flat_map(|event| {
            let seats = event.seats();
            (0..event.total_seats).map(move |index| (seats, SlotIndex::new(index)))
        });
        let put = |(seats, slot): (Seats, SlotIndex), copy: &mut Copy| {
            let untouched = TicketState {
                status: TicketStatus::Available,
                holder: None,
                updated_at: seats.created_at,
            };
            let number = seats.event.number;
            let state = batch.tickets.get(&(number, slot)).copied().unwrap_or(untouched);
            put_ticket(copy, seats, slot, state, batch.holder(number, state));
        };
        self.copy(&self.statements.copy_tickets, tickets, put).await
    }

    /// The tickets of events that were there before.
    async fn change_tickets(&self, batch: &Batch, known: &Known) -> Result<(), Fault> {
        let changed = |(place, _): &(&(EventNumber, SlotIndex), &TicketState)| {
            !batch.new_events.contains_key(&place.0)
        };
        let (mut ids, mut statuses) = (Vec::<Uuid>::new(), Vec::<&str>::new());
        let (mut holders, mut times) = (Vec::<Option<Uuid>>::new(), Vec::<Instant>::new());
        for (&(number, slot), &state) in batch.tickets.iter().filter(changed) {
            let Some(event) = known.events.get(&number) else { continue };
            ids.push(uuid(event.ticket_key.ticket(number, slot).public()));
            statuses.push(state.status.name());
            holders.push(batch.holder(number, state).map(|booking| uuid(booking.public())));
            times.push(Instant(state.updated_at));
        }
        if ids.is_empty() {
            return Ok(());
        }
        let parameters: [&(dyn ToSql + Sync); 4] = [&ids, &statuses, &holders, &times];
        self.change("tickets", &self.statements.change_tickets, &parameters, ids.len()).await
    }
}

/// Rows on their way to PostgreSQL.
struct Sending {
    sink: std::pin::Pin<Box<CopyInSink<Bytes>>>,
    copy: Copy,
}

impl Sending {
    async fn begin(transaction: &Transaction<'_>, statement: &Statement) -> Result<Self, Fault> {
        let begun = async { Ok(transaction.copy_in(statement).await?) };
        Ok(Self { sink: Box::pin(limited(ANSWER_LIMIT, begun).await?), copy: Copy::begin() })
    }

    /// Sends what there is, once it is enough.
    async fn send_full(&mut self) -> Result<(), Fault> {
        let Some(piece) = self.copy.piece() else { return Ok(()) };
        limited(ANSWER_LIMIT, async { Ok(self.sink.send(piece).await?) }).await
    }

    async fn finish(mut self) -> Result<(), Fault> {
        let end = self.copy.end();
        let finished = async {
            self.sink.send(end).await?;
            self.sink.as_mut().finish().await?;
            Ok(())
        };
        limited(ANSWER_LIMIT, finished).await
    }
}
