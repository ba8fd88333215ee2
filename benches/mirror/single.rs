//! The same rows, each by a statement of its own.

use std::path::Path;
use std::time::Duration;

use booking_manager::codec::decode_record;
use booking_manager::domain::{BookingId, EventNumber, Fact, PublicId};
use booking_manager::mirror::{Limits, Session, Target, connect, runtime};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;
use wal::Reader;

use super::cluster::Database;
use super::harness::now;
use super::{EVENTS, USERS, place};

/// As many records as a batch of the mirror has.
const RECORDS_PER_TRANSACTION: u64 = 16_384;

struct Statements {
    hold: Statement,
    end: Statement,
    ticket: Statement,
}

/// Writes the bookings of a log, so many records in a transaction at most.
pub(crate) fn written(database: &Database, log: &Path, records_max: u64) -> Duration {
    let target = Target::from_url(&database.url()).unwrap();
    let records_max = records_max.min(RECORDS_PER_TRANSACTION);
    runtime().unwrap().block_on(async {
        let mut reader = Reader::open(log).unwrap();
        let uuid = reader.segments()[0].header.uuid;
        let limits =
            Limits { records: u64::from(USERS + EVENTS), bytes: u64::MAX, seats: u64::MAX };
        let mut session = Session::begin(&target, uuid, limits).await.unwrap();
        session.resume(&mut reader, None).await.unwrap();
        session.step(&mut reader).await.unwrap();
        drop(session);
        let client = connect(&target).await.unwrap();
        let statements = Statements::prepare(&client).await;
        let events = ids(&client, "SELECT id FROM events ORDER BY 1").await;
        let users = ids(&client, "SELECT id FROM users ORDER BY 1").await;
        let mut tickets = Vec::new();
        for event in &events {
            let sql = format!("SELECT id FROM tickets WHERE event_id = '{event}' ORDER BY 1");
            tickets.push(ids(&client, &sql).await);
        }
        let start = now();
        let mut open = 0;
        while let Some(record) = reader.next_record().unwrap() {
            if open == 0 {
                client.batch_execute("BEGIN").await.unwrap();
            }
            match decode_record(&record).unwrap().unwrap() {
                Fact::Held(held) => {
                    let id = BookingId { event: held.event, row: held.row, tag: held.tag };
                    let event = held.event.index();
                    let seats: Vec<Uuid> =
                        held.tickets.iter().map(|slot| tickets[event][slot.index()]).collect();
                    let id = uuid_of(id.public());
                    let user = users[held.user.index()];
                    client
                        .execute(&statements.hold, &[&id, &user, &events[event], &seats])
                        .await
                        .unwrap();
                    statements.tickets(&client, &seats, "reserved", id).await;
                }
                Fact::Confirmed(end) => {
                    let number = (end.row.get() - 1) * EVENTS + end.event.get();
                    let (event, row, slots) = place(number);
                    assert_eq!((event, row), (end.event, end.row));
                    let seats = slots.map(|slot| tickets[event.index()][slot.index()]);
                    let id = booking_of(event, number);
                    client.execute(&statements.end, &[&id]).await.unwrap();
                    statements.tickets(&client, &seats, "sold", id).await;
                }
                Fact::UserCreated(_)
                | Fact::UserUpdated(_)
                | Fact::UserDeleted(_)
                | Fact::EventCreated(_)
                | Fact::Cancelled(_)
                | Fact::Expired(_)
                | Fact::KeyBound(_) => panic!("only holds and confirmations were written"),
            }
            open += 1;
            if open == records_max {
                client.batch_execute("COMMIT").await.unwrap();
                open = 0;
            }
        }
        client.batch_execute("COMMIT").await.unwrap();
        start.elapsed()
    })
}

fn uuid_of(id: PublicId) -> Uuid {
    Uuid::from_u128(id.0)
}

fn booking_of(event: EventNumber, number: u32) -> Uuid {
    let (_, row, _) = place(number);
    let tag = booking_manager::domain::Tag::new(number.into());
    uuid_of(BookingId { event, row, tag }.public())
}

async fn ids(client: &Client, sql: &str) -> Vec<Uuid> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

impl Statements {
    async fn prepare(client: &Client) -> Self {
        let hold = "INSERT INTO bookings VALUES \
             ($1, $2, $3, $4, 'pending', 150, 'USD', now(), now(), now() + interval '10 minutes')";
        let end = "UPDATE bookings SET status = 'confirmed', updated_at = now() WHERE id = $1";
        let ticket = "UPDATE tickets SET status = $2, booking_id = $3, updated_at = now() \
             WHERE id = $1";
        Self {
            hold: client.prepare(hold).await.unwrap(),
            end: client.prepare(end).await.unwrap(),
            ticket: client.prepare(ticket).await.unwrap(),
        }
    }

    async fn tickets(&self, client: &Client, tickets: &[Uuid], status: &str, booking: Uuid) {
        for ticket in tickets {
            client.execute(&self.ticket, &[ticket, &status, &booking]).await.unwrap();
        }
    }
}
