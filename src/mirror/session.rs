//! A session with PostgreSQL: from the checkpoint that is there, batch by batch.
//!
//! **Invariant:** what the session knows (where the checkpoint is, which number stands for which id)
//! is what PostgreSQL holds. After an error that is no longer sure, and the session is of no more
//! use: whoever wants to go on begins another, at the checkpoint that PostgreSQL then has.
//!
//! One session at a time writes to the tables: it holds a lock that PostgreSQL gives to nobody else
//! before the process that served it there has ended. So when a new session reads the checkpoint, no
//! commit of the one before can still be on its way, not even in a PostgreSQL that was stopped and
//! goes on. Should the lock not hold (behind a pooler that shares connections, say), the
//! checkpoint itself lets only one of two advance it, see `write`.
//!
//! It reads no clock, writes no log line and decides nothing about trying again: the thread in the
//! server and the command line both drive it.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::task::spawn_blocking;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;
use wal::{Lsn, ReadError, Reader};

use super::connect::{ANSWER_LIMIT, LOCK_LIMIT, STATEMENT_LIMIT, connect, limited};
use super::fault::{Fault, Obstacle};
use super::fold::{Batch, Known, KnownEvent, Pending};
use super::migrate;
use super::target::Target;
use super::write::{Checkpoint, Statements, Writer};
use crate::codec;
use crate::domain::{
    BookingId, Currency, EventId, PublicId, SlotIndex, TicketId, TicketKey, Timestamp, UserId,
};
use crate::image::snapshot::{self, Found, SnapshotError};

/// How many records a batch has at most.
pub const BATCH_RECORDS_MAX: u64 = 16_384;
/// How many bytes of payload a batch has at most, one record more or less.
pub const BATCH_BYTES_MAX: u64 = 4 << 20;
/// From how many new tickets on a batch takes no further record.
pub const BATCH_SEATS_MAX: u64 = 100_000;

/// How long a session waits for another to end: of one that was killed a moment ago PostgreSQL may
/// not know yet.
pub const CLAIM_LIMIT: Duration = Duration::from_secs(3);
const _: () = assert!(CLAIM_LIMIT.as_secs() < LOCK_LIMIT.as_secs());

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

/// What a session is about to do; told before it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Fill the tables from the snapshot at this position, and go on with the log from there.
    Loading(Lsn),
    /// Write a batch whose first record is of this time.
    Writing(Option<Timestamp>),
}

/// Who is told.
struct Ear(Box<dyn Fn(Doing)>);

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ear")
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    ear: Option<Ear>,
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
        // Before they are changed: tables of an older version may be another log's.
        let standings = limited(ANSWER_LIMIT, migrate::status(&client)).await?;
        if standings.iter().any(|standing| standing.applied_at.is_some()) {
            limited(ANSWER_LIMIT, read_checkpoint(&client, log)).await?;
        }
        limited(ANSWER_LIMIT, migrate::up(&mut client)).await?;
        let statements = limited(ANSWER_LIMIT, Statements::prepare(&client)).await?;
        let checkpoint = limited(ANSWER_LIMIT, read_checkpoint(&client, log)).await?;
        let known = read_known(&client).await?;
        Ok(Self { ear: None, client, statements, log, checkpoint, known, limits })
    }

    /// How far the tables are; `None` if they are empty and nothing was ever written.
    pub const fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// Whether the connection has ended; a session that has nothing to write learns it only so.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Asks PostgreSQL for nothing, to learn whether it still answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Fault> {
        limited(ANSWER_LIMIT, async { Ok(self.client.batch_execute("").await?) }).await
    }

    /// Of which log.
    pub const fn log(&self) -> Uuid {
        self.log
    }

    /// Whom to tell what is about to be done.
    pub fn listen(&mut self, ear: Box<dyn Fn(Doing)>) {
        self.ear = Some(Ear(ear));
    }

    pub(super) fn tell(&self, doing: Doing) {
        if let Some(Ear(ear)) = &self.ear {
            ear(doing);
        }
    }

    /// Puts `reader` where the tables are: at the checkpoint, or at the beginning of the log if they
    /// are empty. Where the log no longer has what comes next, the tables are filled from the
    /// newest snapshot beside it. `end` is where the log ends, if that is known; it must have been
    /// looked up after the session began, since until then others may have written.
    ///
    /// # Errors
    /// The log does not have that position; or anything that loading a snapshot gives.
    pub async fn resume(
        &mut self,
        reader: &mut Reader,
        end: Option<Lsn>,
    ) -> Result<Checkpoint, Fault> {
        let Some(held) = self.checkpoint else { return self.fill(reader).await };
        let mirrored = held.lsn;
        match reader.seek(mirrored) {
            Ok(()) => {
                check_same_log(reader, held, end)?;
                Ok(held)
            }
            Err(ReadError::Removed { .. }) => self.fill(reader).await,
            Err(ReadError::NoSuchPosition { .. }) if !mirrored.is_aligned() => {
                let what = format!("the checkpoint is at LSN {mirrored}, where no record can end");
                Err(Obstacle::Meddled { what }.into())
            }
            Err(
                ReadError::NoSuchPosition { end, .. } | ReadError::CutBehindReader { cut: end, .. },
            ) => Err(Obstacle::Ahead { mirrored, end }.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins with the first record of the log, or fills the tables from a snapshot if that is gone.
    /// From then on the reader stands in a file that it has open.
    async fn fill(&mut self, reader: &mut Reader) -> Result<Checkpoint, Fault> {
        let first = match reader.seek(Lsn::ZERO) {
            Ok(()) => return self.enter_beginning().await,
            Err(ReadError::Removed { first, .. }) => first,
            Err(error) => return Err(error.into()),
        };
        let Found { newest, refused, .. } = newest_snapshot(reader.directory().to_owned()).await?;
        let refused: String = refused.iter().map(|(_, error)| format!("; {error}")).collect();
        let Some((snapshot, _)) = newest else {
            return Err(Obstacle::NoBeginning { first, refused }.into());
        };
        match reader.seek(snapshot.lsn) {
            Ok(()) => {}
            Err(ReadError::Removed { lsn, first }) => {
                let refused = format!("; the newest is at LSN {lsn}{refused}");
                return Err(Obstacle::NoBeginning { first, refused }.into());
            }
            Err(error) => return Err(error.into()),
        }
        self.load(&snapshot, salt_before(reader, snapshot.lsn)).await
    }

    async fn enter_beginning(&mut self) -> Result<Checkpoint, Fault> {
        let start = Checkpoint { lsn: Lsn::ZERO, records: 0, salt: None };
        let writer = self.writer().await?;
        writer.enter(start).await?;
        writer.commit().await?;
        self.checkpoint = Some(start);
        Ok(start)
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
            self.tell(Doing::Writing(batch.oldest));
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
            let lsn = record.lsn;
            batch.note(record.end, record.payload.len());
            if let Some(fact) = fact {
                batch.fold(&mut self.known, &fact).map_err(|unfit| {
                    let what = format!("the record at LSN {lsn} is about {}", unfit.0);
                    Obstacle::Meddled { what }
                })?;
            }
            batch.salt = reader.segment().map(|segment| segment.header.salt);
        }
        Ok((batch, false))
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Fault> {
        let from = self.checkpoint.ok_or(Obstacle::Overtaken)?;
        let records = from.records + batch.records;
        let to = Checkpoint { lsn: batch.end, records, salt: batch.salt };
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
    let wait = |limit: Duration| format!("SET lock_timeout = {}", limit.as_millis());
    client.batch_execute(&wait(CLAIM_LIMIT)).await?;
    let sql = "SELECT pg_advisory_lock($1, hashtext(current_schema()))";
    match client.execute(sql, &[&LOCK]).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            return Err(Obstacle::Busy.into());
        }
        claimed => claimed?,
    };
    Ok(client.batch_execute(&wait(LOCK_LIMIT)).await?)
}

/// Checks that what the tables hold is the beginning of this log.
fn check_same_log(reader: &Reader, held: Checkpoint, end: Option<Lsn>) -> Result<(), Obstacle> {
    let mirrored = held.lsn;
    // The log may have gone on with another segment and nothing in it: that is still its end.
    if let Some(end) = end.filter(|&end| mirrored > reader.frame_behind(end)) {
        return Err(Obstacle::Ahead { mirrored, end });
    }
    match (held.salt, salt_before(reader, mirrored)) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(Obstacle::OtherBranch { mirrored }),
        _ => Ok(()),
    }
}

/// The salt of the segment in which what leads up to `lsn` ends.
fn salt_before(reader: &Reader, lsn: Lsn) -> Option<u64> {
    reader.segment_before(lsn).map(|segment| segment.header.salt)
}

pub(super) async fn read_checkpoint(
    client: &Client,
    log: Uuid,
) -> Result<Option<Checkpoint>, Fault> {
    // Whoever only looks may meet tables of the version before the salt.
    let sql = "SELECT log_uuid, lsn, records, (to_jsonb(c) ->> 'segment_salt')::bigint \
               FROM booking_mirror_checkpoint c";
    let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(None) };
    let theirs: Uuid = row.get(0);
    if theirs != log {
        return Err(Obstacle::OtherLog { theirs, ours: log }.into());
    }
    let number = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let salt = row.get::<_, Option<i64>>(3).map(i64::cast_unsigned);
    Ok(Some(Checkpoint { lsn: Lsn::new(number(1)), records: number(2), salt }))
}

/// Reads as long as it takes, if only something comes.
async fn read_known(client: &Client) -> Result<Known, Fault> {
    let mut known = Known::default();
    client.batch_execute("SET statement_timeout = 0").await?;
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
    let limit = format!("SET statement_timeout = {}", STATEMENT_LIMIT.as_millis());
    client.batch_execute(&limit).await?;
    Ok(known)
}

/// Loads a snapshot on a thread of its own: nobody waits for the end of that who wants the mirror to
/// stop.
async fn newest_snapshot(directory: PathBuf) -> Result<Found, Fault> {
    let path = directory.clone();
    let loading = spawn_blocking(move || snapshot::newest(&directory, || false));
    // It ends without an answer only where the process ends.
    let loaded = loading.await.unwrap_or(Err(SnapshotError::Stopped { path }));
    loaded.map_err(Fault::Snapshot)
}

/// Calls `take` for each row; it says `None` of one that we have not written.
async fn each(
    client: &Client,
    sql: &str,
    mut take: impl FnMut(&Row) -> Option<()>,
) -> Result<(), Fault> {
    let mut rows = pin!(client.query_raw(sql, NO_PARAMETERS).await?);
    while let Some(row) = limited(ANSWER_LIMIT, async { Ok(rows.try_next().await?) }).await? {
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
