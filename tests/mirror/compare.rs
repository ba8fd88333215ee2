//! PostgreSQL's rows against what the server says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::Database;
use super::harness::{Client, World, wait_until};

/// How long the mirror may take to have everything: a million rows on a slow disk as well.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(300);
/// Bookings take less, however slow the disk: one that waits for a PostgreSQL which is locked or
/// silent takes longer ([`LOCK_LIMIT`](booking_manager::mirror::LOCK_LIMIT) and more).
pub(crate) const BOOKING_LIMIT: Duration = Duration::from_secs(8);

/// What the server says of its mirror.
#[track_caller]
pub(crate) fn mirror(client: &Client) -> Value {
    client.stats()["mirror"].clone()
}

/// Waits until the mirror is in this state.
#[track_caller]
pub(crate) fn wait_for_state(client: &Client, state: &str) -> Value {
    let mut seen = Value::Null;
    let what = format!("the mirror is {state}");
    wait_until(CATCH_UP_LIMIT, &what, || {
        seen = mirror(client);
        seen["state"] == state
    });
    seen
}

/// Waits until PostgreSQL has all that is durable.
#[track_caller]
pub(crate) fn wait_until_mirrored(client: &Client) {
    let position = client.get("/api/bookings/stats").expect(200).log_position();
    wait_until(CATCH_UP_LIMIT, "PostgreSQL has what the server has", || {
        let mirror = mirror(client);
        mirror["state"] == "streaming"
            && mirror["lag_records"] == 0
            && mirror["mirrored_lsn"].as_u64().is_some_and(|lsn| lsn >= position)
    });
}

const ISO8601: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'";

fn by_id(rows: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let entry = |row: Value| (row["id"].as_str().expect("an id").to_owned(), row);
    rows.into_iter().map(entry).collect()
}

fn rows(database: &Database, sql: &str) -> BTreeMap<String, Value> {
    let sql = sql.replace("ISO8601", ISO8601);
    let rows = database.rows(&format!("SELECT row_to_json(r)::text FROM ({sql}) r"), &[]);
    by_id(rows.iter().map(|row| serde_json::from_str(row.get(0)).expect("JSON")))
}

#[track_caller]
fn assert_same(what: &str, told: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) {
    for (id, row) in told {
        assert_eq!(found.get(id), Some(row), "{what} {id} in PostgreSQL, and as the server has it");
    }
    assert_eq!(told.len(), found.len(), "there are other {what}s in PostgreSQL");
}

/// Compares every row with the server's answers, once PostgreSQL has what the server has. Nothing may
/// change meanwhile, and the server must know of nothing but the world.
#[track_caller]
pub(crate) fn assert_mirrored(client: &Client, world: &World, database: &Database) {
    wait_until_mirrored(client);
    let told =
        world.users.iter().map(|id| client.get(&format!("/api/users/{id}")).expect(200).json);
    let sql = "SELECT id, email, name, to_char(created_at AT TIME ZONE 'UTC', ISO8601) AS created_at, \
               to_char(updated_at AT TIME ZONE 'UTC', ISO8601) AS updated_at FROM users \
               WHERE deleted_at IS NULL";
    assert_same("user", &by_id(told), &rows(database, sql));

    let told = world.bookings(client);
    let sql = "SELECT id, user_id, event_id, ticket_ids, status, total_amount, currency, \
               to_char(created_at AT TIME ZONE 'UTC', ISO8601) AS created_at, \
               to_char(expires_at AT TIME ZONE 'UTC', ISO8601) AS expires_at, \
               to_char(updated_at AT TIME ZONE 'UTC', ISO8601) AS updated_at FROM bookings";
    let found = rows(database, sql);
    assert_same(
        "booking",
        &by_id(told.into_iter().map(plain)),
        &by_id(found.into_values().map(plain)),
    );

    let holders = "SELECT t.id FROM tickets t FULL JOIN \
         (SELECT b.id, unnest(b.ticket_ids) AS ticket FROM bookings b \
          WHERE b.status IN ('pending', 'confirmed')) h \
         ON h.ticket = t.id AND h.id = t.booking_id \
         WHERE (t.booking_id IS NULL) <> (h.id IS NULL)";
    assert!(rows(database, holders).is_empty(), "tickets and bookings contradict each other");
    for show in &world.shows {
        let mut event = client.event(&show.id).expect(200).json;
        for count in ["available", "reserved", "sold"] {
            let sql = format!(
                "SELECT count(*) FROM tickets WHERE event_id = '{}' AND status = '{count}'",
                show.id
            );
            assert_eq!(event[count], database.value::<i64>(&sql), "tickets {count}");
            event.as_object_mut().expect("an object").remove(count);
        }
        let sql = format!(
            "SELECT id, name, artist, venue, date, total_seats, price, currency, \
             to_char(created_at AT TIME ZONE 'UTC', ISO8601) AS created_at, \
             to_char(updated_at AT TIME ZONE 'UTC', ISO8601) AS updated_at \
             FROM events WHERE id = '{}' AND starts_at = date::timestamptz",
            show.id
        );
        let found = by_id(rows(database, &sql).into_values().map(plain));
        assert_same("event", &by_id([plain(event)]), &found);
        let sql = format!(
            "SELECT id, event_id, seat_number, status, price, \
             to_char(created_at AT TIME ZONE 'UTC', ISO8601) AS created_at, \
             to_char(updated_at AT TIME ZONE 'UTC', ISO8601) AS updated_at \
             FROM tickets WHERE event_id = '{}'",
            show.id
        );
        let told = client.tickets(&show.id).into_iter().map(plain);
        assert_same("ticket", &by_id(told), &by_id(rows(database, &sql).into_values().map(plain)));
    }
}

/// With money as a number of hundredths, which two texts of one amount share.
fn plain(mut row: Value) -> Value {
    for member in ["price", "total_amount"] {
        if let Some(amount) = row.get(member) {
            row[member] = json!(super::harness::minor_units(amount));
        }
    }
    row
}
