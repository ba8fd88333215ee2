//! PostgreSQL behind the front end.
//!
//! A hold is one prepared statement, one round trip and one transaction, which is on disk before it is
//! answered. Each runtime has a few connections; a request takes the one on which the fewest wait,
//! and several wait on one at once (pipelining), so that PostgreSQL never waits for the front end.
//!
//! The tables are laid out for it: an update of a ticket finds room in the ticket's page and changes
//! no index (HOT), no foreign key takes locks, and ids are in the order in which they are used.

use std::cell::Cell;
use std::path::Path;

use anyhow::Context as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls, Statement};
use uuid::Uuid;

use crate::load::arguments::Backend;

use super::bodies::Booking;
use super::{ids, runtimes};

/// Part of the socket's name; nothing listens to a port.
pub(in crate::load::compare) const PORT: u16 = 5_432;
/// Connections of a runtime; each is a process of PostgreSQL's.
const CONNECTIONS_PER_RUNTIME: usize = 16;
/// Connections beside those of the runtimes: for tables, counts and PostgreSQL's own.
const CONNECTIONS_SPARE: usize = 12;
/// Tickets that are made by one statement.
const TICKETS_AT_ONCE: usize = 100_000;

const TABLES: &str = "
CREATE TABLE users (id uuid PRIMARY KEY, facts text NOT NULL);
CREATE TABLE events (id uuid PRIMARY KEY, seats bigint NOT NULL, price_cents bigint NOT NULL);
CREATE TABLE tickets (
    id uuid PRIMARY KEY,
    event_id uuid NOT NULL,
    price_cents bigint NOT NULL,
    held_until bigint NOT NULL DEFAULT 0,
    booking_id uuid
) WITH (fillfactor = 50);
CREATE TABLE bookings (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    event_id uuid NOT NULL,
    ticket_ids uuid[] NOT NULL,
    total_cents bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE FUNCTION hold(booking uuid, buyer uuid, event uuid, seats uuid[], moment bigint, expiry bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    free integer;
    total bigint;
BEGIN
    SELECT count(*), sum(price_cents) INTO free, total FROM (
        SELECT price_cents FROM tickets
        WHERE id = ANY (seats) AND event_id = event AND held_until <= moment
        ORDER BY id FOR UPDATE
    ) AS locked;
    IF free < cardinality(seats) OR NOT EXISTS (SELECT FROM users WHERE id = buyer) THEN
        RETURN NULL;
    END IF;
    UPDATE tickets SET booking_id = booking, held_until = expiry WHERE id = ANY (seats);
    INSERT INTO bookings VALUES (booking, buyer, event, seats, total, moment, expiry);
    RETURN total;
END
$$;
";

const FOR_UPDATE: &str = "SELECT hold($1, $2, $3, $4, $5, $6)";

/// Where only some of the seats are free, the division by zero takes them back.
const ONE_STATEMENT: &str = "
WITH taken AS (
    UPDATE tickets SET booking_id = $1, held_until = $6
    WHERE id = ANY ($4) AND event_id = $3 AND held_until <= $5
        AND EXISTS (SELECT FROM users WHERE id = $2)
    RETURNING price_cents
)
INSERT INTO bookings
SELECT $1, $2, $3, $4, sum(price_cents) / (count(*) = cardinality($4))::integer, $5, $6
FROM taken HAVING count(*) > 0
RETURNING total_cents
";

const HOLD_TYPES: [Type; 6] =
    [Type::UUID, Type::UUID, Type::UUID, Type::UUID_ARRAY, Type::INT8, Type::INT8];

/// How many connections PostgreSQL must take.
pub(in crate::load::compare) fn connections_max() -> usize {
    runtimes() * CONNECTIONS_PER_RUNTIME + CONNECTIONS_SPARE
}

/// The connections of one runtime.
#[derive(Debug)]
pub(super) struct Pool {
    lanes: Vec<Lane>,
}

/// One connection.
#[derive(Debug)]
struct Lane {
    client: Client,
    hold: Statement,
    /// How many wait for an answer on it.
    waiting: Cell<usize>,
}

/// One that waits, also if it is given up.
struct Turn<'l>(&'l Lane);

impl<'l> Turn<'l> {
    fn on(lane: &'l Lane) -> Self {
        lane.waiting.update(|waiting| waiting + 1);
        Self(lane)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.waiting.update(|waiting| waiting - 1);
    }
}

async fn connect(directory: &Path) -> anyhow::Result<Client> {
    let mut config = Config::new();
    config.host_path(directory).port(PORT).user("postgres").dbname("postgres");
    let (client, connection) = config.connect(NoTls).await.context("PostgreSQL is not there")?;
    // It ends with the client; a failure is told to whoever asks next.
    drop(tokio::spawn(connection));
    Ok(client)
}

/// Whether it takes connections.
pub(in crate::load::compare) fn is_ready(directory: &Path) -> bool {
    super::runtime().is_ok_and(|runtime| runtime.block_on(connect(directory)).is_ok())
}

/// Makes what there is to be, in an empty database.
pub(super) async fn make_tables(directory: &Path) -> anyhow::Result<()> {
    let client = connect(directory).await?;
    client.batch_execute(TABLES).await.context("the tables cannot be made")
}

/// How many bookings are stored, and how many tickets are held by one of them.
pub(in crate::load::compare) fn stored(directory: &Path) -> anyhow::Result<(u64, u64)> {
    let count = "SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM tickets \
                 JOIN bookings ON bookings.id = booking_id AND tickets.id = ANY (ticket_ids))";
    super::runtime()?.block_on(async {
        let row = connect(directory).await?.query_one(count, &[]).await?;
        let number = |place| row.try_get::<_, i64>(place);
        Ok((u64::try_from(number(0)?)?, u64::try_from(number(1)?)?))
    })
}

impl Pool {
    /// Connects and prepares.
    pub(super) async fn connect(directory: &Path, backend: Backend) -> anyhow::Result<Self> {
        let hold = if backend == Backend::PostgresForUpdate { FOR_UPDATE } else { ONE_STATEMENT };
        let mut lanes = Vec::new();
        for _ in 0..CONNECTIONS_PER_RUNTIME {
            let client = connect(directory).await?;
            let hold = client.prepare_typed(hold, &HOLD_TYPES).await?;
            lanes.push(Lane { client, hold, waiting: Cell::new(0) });
        }
        Ok(Self { lanes })
    }

    fn quickest(&self) -> anyhow::Result<&Lane> {
        let lane = self.lanes.iter().min_by_key(|lane| lane.waiting.get());
        lane.context("a pool has connections")
    }

    /// The total in cents; `None` if it is refused.
    pub(super) async fn hold(&self, booking: &Booking) -> anyhow::Result<Option<i64>> {
        let turn = Turn::on(self.quickest()?);
        let Lane { client, hold, .. } = turn.0;
        let wanted = &booking.wanted;
        let answer = client
            .query_opt(
                hold,
                &[
                    &booking.id,
                    &wanted.user_id,
                    &wanted.event_id,
                    &wanted.ticket_ids,
                    &booking.created_millis,
                    &booking.expires_millis(),
                ],
            )
            .await;
        match answer {
            Ok(Some(row)) => Ok(row.try_get(0)?),
            Ok(None) => Ok(None),
            Err(error) if error.code() == Some(&SqlState::DIVISION_BY_ZERO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A new user.
    pub(super) async fn register(&self, id: Uuid, facts: &str) -> anyhow::Result<()> {
        let turn = Turn::on(self.quickest()?);
        turn.0.client.execute("INSERT INTO users VALUES ($1, $2)", &[&id, &facts]).await?;
        Ok(())
    }

    /// A new event and its tickets, which are then known to the planner and need no more care.
    pub(super) async fn show(&self, id: Uuid, seats: u32, price: i64) -> anyhow::Result<()> {
        let client = &self.quickest()?.client;
        let event = "INSERT INTO events VALUES ($1, $2, $3)";
        client.execute(event, &[&id, &i64::from(seats), &price]).await?;
        let tickets: Vec<Uuid> = (1..=seats).map(|seat| ids::ticket(id, seat)).collect();
        let insert = "INSERT INTO tickets (id, event_id, price_cents) \
                      SELECT ticket, $2, $3 FROM unnest($1::uuid[]) AS ticket";
        for some in tickets.chunks(TICKETS_AT_ONCE) {
            client.execute(insert, &[&some, &id, &price]).await?;
        }
        client.batch_execute("VACUUM (ANALYZE) tickets").await?;
        client.batch_execute("VACUUM (ANALYZE) users").await?;
        Ok(())
    }
}
