//! A session with PostgreSQL: from the checkpoint that is there, batch by batch.
//!
//! **Invariant:** what the session knows (where the checkpoint is, which number stands for which id)
//! is what PostgreSQL holds. After an error that is no longer sure, and the session is of no more
//! use: whoever wants to go on begins another, at the checkpoint that PostgreSQL then has.
//!
//! It reads no clock, writes no log line and decides nothing about trying again: the thread in the
//! server and the command line both drive it.

use std::path::PathBuf;
use std::pin::pin;

use futures_util::TryStreamExt;
use tokio::task::spawn_blocking;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;
use wal::{Lsn, ReadError, Reader};

use super::connect::{ANSWER_LIMIT, connect, limited};
use super::fault::{Fault, Obstacle};
use super::fold::{Batch, Known, KnownEvent, Pending};
use super::migrate;
use super::target::Target;
use super::write::{Checkpoint, Statements, Writer};
use crate::codec;
use crate::domain::{
    BookingId, Currency, EventId, PublicId, SlotIndex, TicketId, TicketKey, UserId,
};
use crate::image::snapshot::{self, Found};

/// How many records a batch has at most.
pub const BATCH_RECORDS_MAX: u64 = 16_384;
/// How many bytes of payload a batch has at most, one record more or less.
pub const BATCH_BYTES_MAX: u64 = 4 << 20;
/// From how many new tickets on a batch takes no further record.
pub const BATCH_SEATS_MAX: u64 = 100_000;

/// The first of the two numbers of the lock that one mirror of a schema holds.
const LOCK: i32 = 0x626b_6d72;
const NO_PARAMETERS: [&(dyn ToSql + Sync); 0] = [];

/// What a step has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// How many records it has written.
    pub records: u64,
    /// Every record before this position is in PostgreSQL.
    pub mirrored: Lsn,
    /// Whether there was nothing more to read.
    pub caught_up: bool,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    client: Client,
    statements: Statements,
    log: Uuid,
    checkpoint: Option<Checkpoint>,
    known: Known,
    limits: Limits,
}

/// How much one batch takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records at most.
    pub records: u64,
    /// Bytes of payload at most, one record more or less.
    pub bytes: u64,
    /// New tickets after which no further record is taken.
    pub seats: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: BATCH_RECORDS_MAX, bytes: BATCH_BYTES_MAX, seats: BATCH_SEATS_MAX }
    }
}

impl Limits {
    const fn reached(&self, batch: &Batch) -> bool {
        batch.records >= self.records || batch.bytes >= self.bytes || batch.seats >= self.seats
    }
}

impl Session {
    /// Connects, brings the tables to this program's version, keeps other mirrors out, and reads
    /// how far the tables are.
    ///
    /// # Errors
    /// Anything that [`Fault`] names.
    pub async fn begin(target: &Target, log: Uuid, limits: Limits) -> Result<Self, Fault> {
        let mut client = connect(target).await?;
        limited(ANSWER_LIMIT, claim(&client)).await?;
        limited(ANSWER_LIMIT, migrate::up(&mut client)).await?;
        let statements = limited(ANSWER_LIMIT, Statements::prepare(&client)).await?;
        let checkpoint = limited(ANSWER_LIMIT, read_checkpoint(&client, log)).await?;
        let known = limited(ANSWER_LIMIT, read_known(&client)).await?;
        Ok(Self { client, statements, log, checkpoint, known, limits })
    }

    /// How far the tables are; `None` if they are empty and nothing was ever written.
    pub const fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// Whether the connection has ended; a session that has nothing to write learns it only so.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Of which log.
    pub const fn log(&self) -> Uuid {
        self.log
    }

    /// Puts `reader` where the tables are: at the checkpoint, or at the beginning of the log if they
    /// are empty. Where the log no longer has what comes next, the tables are filled from the
    /// newest snapshot beside it. `end` is where the log ends, as far as that is known.
    ///
    /// # Errors
    /// The log does not have that position; or anything that loading a snapshot gives.
    pub async fn resume(
        &mut self,
        reader: &mut Reader,
        end: Option<Lsn>,
    ) -> Result<Checkpoint, Fault> {
        let first = reader.segments().first().map_or(Lsn::ZERO, |segment| segment.header.base);
        // What is loaded now may lie behind `end`, which was read before.
        let held = self.checkpoint;
        let checkpoint = match self.checkpoint {
            Some(checkpoint) if checkpoint.lsn >= first => checkpoint,
            None if first == Lsn::ZERO => {
                let start = Checkpoint { lsn: Lsn::ZERO, records: 0 };
                let writer = self.writer().await?;
                writer.enter(writer.log(), start).await?;
                writer.commit().await?;
                self.checkpoint = Some(start);
                start
            }
            Some(_) | None => {
                let found = newest_snapshot(reader.directory().to_owned()).await?;
                let found = found.newest.filter(|(snapshot, _)| snapshot.lsn >= first);
                let (snapshot, _) = found.ok_or(Obstacle::NoBeginning { first })?;
                self.load(&snapshot).await?
            }
        };
        let mirrored = checkpoint.lsn;
        match (end, reader.seek(mirrored)) {
            (Some(end), _) if mirrored > end && held == Some(checkpoint) => {
                Err(Obstacle::Ahead { mirrored, end }.into())
            }
            (_, Err(ReadError::NoSuchPosition { end, .. })) => {
                Err(Obstacle::Ahead { mirrored, end }.into())
            }
            (_, sought) => sought.map(|()| checkpoint).map_err(Fault::from),
        }
    }

    pub(super) async fn writer(&mut self) -> Result<Writer<'_>, Fault> {
        Writer::begin(&mut self.client, &self.statements, self.log).await
    }

    /// Takes what the tables hold now for what is known of them.
    pub(super) async fn learn(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        self.known = read_known(&self.client).await?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// Writes the next batch of records, as far as there are any before the reader's durable mark.
    ///
    /// # Errors
    /// Anything; the session is of no more use then.
    pub async fn step(&mut self, reader: &mut Reader) -> Result<Progress, Fault> {
        let (batch, caught_up) = self.gather(reader)?;
        let records = batch.records;
        if !batch.is_empty() {
            self.write(&batch).await?;
        }
        let mirrored = if caught_up { reader.position() } else { batch.end };
        Ok(Progress { records, mirrored, caught_up })
    }

    /// Reads the next records and folds them; whether there were no more of them.
    fn gather(&mut self, reader: &mut Reader) -> Result<(Batch, bool), Fault> {
        let mut batch = Batch::default();
        while !self.limits.reached(&batch) {
            let Some(record) = reader.next_record()? else { return Ok((batch, true)) };
            let fact =
                codec::decode_record(&record).map_err(|error| Fault::codec(record.lsn, &error))?;
            batch.note(record.end, record.payload.len());
            if let Some(fact) = fact {
                batch.fold(&mut self.known, &fact).map_err(|unfit| {
                    let what = format!("the record at LSN {} is about {}", record.lsn, unfit.0);
                    Obstacle::Meddled { what }
                })?;
            }
        }
        Ok((batch, false))
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let from = self.checkpoint.ok_or(Obstacle::Overtaken)?;
        let to = Checkpoint { lsn: batch.end, records: from.records + batch.records };
        let writer = Writer::begin(&mut self.client, &self.statements, self.log).await?;
        writer.advance(from, to).await?;
        writer.write(batch, &self.known).await?;
        writer.commit().await?;
        self.checkpoint = Some(to);
        Ok(())
    }
}

/// Keeps other mirrors of this schema out as long as the connection lasts.
async fn claim(client: &Client) -> Result<(), Fault> {
    let sql = "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))";
    let claimed: bool = client.query_one(sql, &[&LOCK]).await?.get(0);
    if claimed { Ok(()) } else { Err(Obstacle::Busy.into()) }
}

pub(super) async fn read_checkpoint(
    client: &Client,
    log: Uuid,
) -> Result<Option<Checkpoint>, Fault> {
    let sql = "SELECT log_uuid, lsn, records FROM booking_mirror_checkpoint";
    let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(None) };
    let theirs: Uuid = row.get(0);
    if theirs != log {
        return Err(Obstacle::OtherLog { theirs, ours: log }.into());
    }
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(Some(Checkpoint { lsn: Lsn::new(number(1)), records: number(2) }))
}

async fn read_known(client: &Client) -> Result<Known, Fault> {
    let mut known = Known::default();
    each(client, "SELECT id FROM users", |row| {
        let id = UserId::from_public(id(row, 0)?)?;
        known.users.insert(id.number, id);
        Some(())
    })
    .await?;
    let events = "SELECT e.id, k.ticket_key, e.currency FROM events e \
                  LEFT JOIN booking_mirror_events k ON k.event_id = e.id";
    each(client, events, |row| {
        let id = EventId::from_public(id(row, 0)?)?;
        let key: [u8; 16] = row.try_get::<_, &[u8]>(1).ok()?.try_into().ok()?;
        let ticket_key = TicketKey::new(u128::from_be_bytes(key));
        let currency = Currency::from_code(row.try_get(2).ok()?)?;
        known.events.insert(id.number, KnownEvent { id, ticket_key, currency });
        Some(())
    })
    .await?;
    each(client, "SELECT id, ticket_ids FROM bookings WHERE status = 'pending'", |row| {
        let id = BookingId::from_public(id(row, 0)?)?;
        let tickets: Vec<Uuid> = row.try_get(1).ok()?;
        let slot = |ticket: &Uuid| {
            TicketId::from_public(PublicId(ticket.as_u128())).map(|ticket| ticket.slot)
        };
        let slots: Option<Box<[SlotIndex]>> = tickets.iter().map(slot).collect();
        known.pending.insert((id.event, id.row), Pending { id, slots: slots? });
        Some(())
    })
    .await?;
    Ok(known)
}

/// Loads a snapshot on a thread of its own: nobody waits for the end of that who wants the mirror to
/// stop.
async fn newest_snapshot(directory: PathBuf) -> Result<Found, Fault> {
    let loading = spawn_blocking(move || snapshot::newest(&directory, || false));
    let loaded = loading.await.map_err(|error| Fault::Snapshot(error.to_string()))?;
    loaded.map_err(|error| Fault::Snapshot(error.to_string()))
}

/// Calls `take` for each row; it says `None` of one that we have not written.
async fn each(
    client: &Client,
    sql: &str,
    mut take: impl FnMut(&Row) -> Option<()>,
) -> Result<(), Fault> {
    let mut rows = pin!(client.query_raw(sql, NO_PARAMETERS).await?);
    while let Some(row) = rows.try_next().await? {
        if take(&row).is_none() {
            let what = format!("a row that is not the mirror's, found by `{sql}`");
            return Err(Obstacle::Meddled { what }.into());
        }
    }
    Ok(())
}

fn id(row: &Row, column: usize) -> Option<PublicId> {
    row.try_get::<_, Uuid>(column).ok().map(|id| PublicId(id.as_u128()))
}
