//! The log into PostgreSQL, and the two held against each other.

use std::process::Stdio;
use std::time::Duration;

use crate::cluster::{Database, database};
use crate::harness::wait_until;
use crate::run::{Run, program, run};
use crate::story::{self, Story};

pub(crate) fn replay(story: &Story, database: &Database, more: &[&str]) -> Run {
    wait_for_mirrors_to_end(database);
    let url = database.url();
    run(story.path(), &[&["replay", "--to", &url], more].concat())
}

/// A program's session, its transaction and its locks go when PostgreSQL notices that it has ended.
/// The next one waits for that only for a few seconds.
pub(crate) fn wait_for_mirrors_to_end(database: &Database) {
    wait_until(Duration::from_secs(600), "PostgreSQL has noticed", || {
        database.value::<i64>(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'booking-manager mirror'",
        ) == 0
    });
}

#[track_caller]
fn assert_equal(told: &Run, rows: u64) {
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let compared = told.line_with("compared      ");
    assert!(compared.starts_with(&format!("compared      {rows} rows at LSN ")), "{told:?}");
    assert!(compared.ends_with(": all are as the log makes them"), "{told:?}");
}

/// Two users, an event with its key, two bookings and ten tickets.
const ROWS: u64 = 16;

fn mirrored(database: &Database) -> (i64, i64) {
    let rows = database.rows("SELECT lsn, records FROM booking_mirror_checkpoint", &[]);
    rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)))
}

#[test]
fn a_story_is_replayed_and_found_to_be_equal() {
    let story = Story::told();
    story.tear();
    let database = database();
    let told = replay(&story, &database, &["--verify"]);
    assert_equal(&told, ROWS);
    assert!(told.stdout.starts_with("began         at the beginning of the log\n"), "{told:?}");
    let up_to = format!("up to         LSN {}, the end of the log", story.end);
    assert_eq!(told.line_with("up to "), up_to);
    let line = told.line_with("replayed ");
    assert!(line.starts_with("replayed      10 records in "), "{told:?}");
    assert!(line.ends_with(" with 10 records, 2 bookings"), "{told:?}");
    assert_eq!(mirrored(&database).1, 10);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM tickets WHERE status = 'sold'"), 2);

    let again = replay(&story, &database, &["--json"]);
    assert_eq!(again.code, 0, "{again:?}");
    let told: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let replayed = &told["replayed"];
    assert_eq!((&replayed["began"], &replayed["records"]), (&"checkpoint".into(), &0.into()));
    assert_eq!((&told["uuid"], &told["compared"]), (&story.uuid.to_string().into(), &().into()));
    for option in ["--from-beginning", "--from-snapshot"] {
        let told = replay(&story, &database, &[option]);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
        assert!(told.stderr.contains("migrate down --yes"), "{told:?}");
    }
}

#[test]
fn what_somebody_changed_is_named() {
    let story = Story::told();
    let database = database();
    assert_eq!(replay(&story, &database, &["--from-beginning"]).code, 0);
    let id = story::first_booking();
    database.run(&format!("UPDATE bookings SET status = 'pending' WHERE id = '{id}'"));
    let told = replay(&story, &database, &["--verify-only"]);
    assert_eq!((told.code, told.stderr.as_str()), (1, ""), "{told:?}");
    let named = "status is \"pending\", and \"confirmed\" by the log";
    assert_eq!(told.line_with("difference "), format!("difference    bookings {id}: {named}"));
    assert!(told.stdout.ends_with(": 1 difference\n"), "{told:?}");

    database.run("UPDATE tickets SET price = 1");
    database.run("DELETE FROM tickets WHERE seat_number = 3");
    database.run("UPDATE booking_mirror_events SET ticket_key = decode(repeat('0', 32), 'hex')");
    database.run("UPDATE bookings SET total_amount = 1");
    let told = replay(&story, &database, &["--verify-only", "--json"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(!told.stdout.contains("5ec2e7"), "the secret of the ids: {told:?}");
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["compared"]["differences"], 1 + 2 + 9 + 1 + 1);
    let first = told["compared"]["first"].as_array().unwrap();
    let missing: Vec<_> = first.iter().filter(|line| line["difference"] == "missing").collect();
    assert_eq!((missing.len(), &missing[0]["table"]), (1, &"tickets".into()));

    database.run("UPDATE booking_mirror_checkpoint SET records = records + 1");
    let told = replay(&story, &database, &["--verify-only"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage ").contains("the checkpoint counts 11 records"), "{told:?}");
}

#[test]
fn a_program_killed_in_the_middle_goes_on_where_it_was() {
    const BOOKINGS: u32 = 20_000;
    let story = Story::told_with(|log| story::tell_of_a_crowd(log, BOOKINGS));
    let database = database();
    assert_eq!(replay(&story, &database, &["--verify-only"]).code, 2);
    let mut up = program();
    up.args(["migrate", "up", "--to", &database.url()]).stdout(Stdio::null());
    assert!(up.status().unwrap().success());
    // The second transaction is made to wait in its middle, so that the kill is certain to hit it.
    database.run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$ BEGIN \
           IF NEW.records > 20000 THEN PERFORM pg_advisory_xact_lock(7); END IF; \
           RETURN NEW; END $$; \
         CREATE TRIGGER wait AFTER UPDATE ON booking_mirror_checkpoint \
           FOR EACH ROW EXECUTE FUNCTION wait(); \
         SELECT pg_advisory_lock(7)",
    );
    let mut command = program();
    command.args(["replay", "--to", &database.url()]).arg(story.path()).stdout(Stdio::null());
    wait_for_mirrors_to_end(&database);
    let mut child = command.spawn().unwrap();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_until(Duration::from_secs(60), "a transaction waits", || {
        database.value::<i64>(waiting) == 1
    });
    child.kill().unwrap();
    child.wait().unwrap();
    database.run("SELECT pg_advisory_unlock(7); DROP TRIGGER wait ON booking_mirror_checkpoint");
    let (_, before) = mirrored(&database);
    assert!(before > 0 && before < 20_000, "{before} records");
    let told = replay(&story, &database, &["--verify"]);
    assert_equal(&told, ROWS + 2 + 2 * u64::from(BOOKINGS));
    assert!(told.line_with("began ").starts_with("began         where the database stood"));
    let records = 10 + 1 + i64::from(BOOKINGS) * 3 / 2;
    assert!(told.line_with("replayed ").contains(&format!("  {} records in ", records - before)));
    assert!(told.line_with("replayed ").ends_with(", 20002 bookings"), "{told:?}");
    assert_eq!(mirrored(&database).1, records);
}

#[test]
fn a_database_with_another_log_is_refused() {
    let (story, other) = (Story::told(), Story::told());
    let database = database();
    assert_eq!(replay(&other, &database, &[]).code, 0);
    for option in ["--verify", "--verify-only", "--from-beginning"] {
        let told = replay(&story, &database, &[option]);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
        assert!(told.stderr.contains("the mirror of another log"), "{told:?}");
    }
    assert_equal(&replay(&other, &database, &["--verify-only"]), ROWS);
}

#[test]
fn a_log_without_its_beginning_is_replayed_from_a_snapshot() {
    let story = Story::told_at_length();
    let lsn = story.lsns[7];
    story.snapshot(lsn);
    let database = database();
    let told = replay(&story, &database, &["--from-snapshot", "--verify"]);
    assert_equal(&told, ROWS);
    assert_eq!(told.line_with("began "), format!("began         at the snapshot at LSN {lsn}"));

    // The snapshot must be of where the log goes on.
    story.snapshot(story.end);
    story.forget_the_beginning();
    let database = crate::cluster::database();
    let told = replay(&story, &database, &["--from-beginning"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("use --from-snapshot"), "{told:?}");
    let told = replay(&story, &database, &["--verify"]);
    assert_equal(&told, ROWS);
    assert!(told.line_with("began ").contains(&story.end.to_string()), "{told:?}");
}

#[test]
fn beside_a_server_only_what_is_proven_durable_is_replayed() {
    let story = Story::told();
    // As a server has it that has not synced the last records, or died before it could.
    let last = story.lsns[9];
    let mut reader = wal::Reader::open(story.path()).unwrap();
    reader.seek(last).unwrap();
    let end = reader.next_record().unwrap().unwrap().end;
    story.blank(end, story.end);
    let database = database();
    let lock = wal::LockedDirectory::acquire(story.path()).unwrap();
    let told = replay(&story, &database, &["--verify"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let up_to = told.line_with("up to ");
    assert!(up_to.contains("the log proves durable"), "{told:?}");
    assert!(up_to.contains("in use by another process"), "{told:?}");
    let (lsn, before) = mirrored(&database);
    assert!(before < 10 && u64::try_from(lsn).unwrap() <= last.get(), "{told:?}");
    drop(lock);
    let told = replay(&story, &database, &["--verify"]);
    assert_equal(&told, ROWS);
    assert_eq!(told.line_with("up to "), format!("up to         LSN {end}, the end of the log"));
    assert_eq!(mirrored(&database), (i64::try_from(end.get()).unwrap(), 10));
}

#[test]
fn a_log_in_use_is_replayed_on_and_on() {
    let story = Story::told();
    let database = database();
    let log = story::open(story.path());
    assert_eq!(replay(&story, &database, &["--verify"]).code, 0);
    let (_, before) = mirrored(&database);
    assert_eq!(before, 10, "what was logged before the server began is proven");
    story::tell_of_a_crowd(&log, 100);
    assert_eq!(replay(&story, &database, &["--verify"]).code, 0);
    log.seal().unwrap();
    drop(log);
    assert_equal(&replay(&story, &database, &["--verify"]), ROWS + 2 + 200);
    assert_eq!(mirrored(&database).1, 10 + 151);
}

#[test]
fn a_log_whose_last_segment_is_full_is_gone_on_with() {
    let story = Story::told_to_the_brim();
    let database = database();
    let told = replay(&story, &database, &["--verify"]);
    assert_equal(&told, ROWS);
    assert_eq!(u64::try_from(mirrored(&database).0).unwrap(), story.end.get());
    // The database is where the log ends, and not ahead of it.
    assert_equal(&replay(&story, &database, &["--verify"]), ROWS);
    drop(story::open(story.path()));
    assert_equal(&replay(&story, &database, &["--verify"]), ROWS);
}

#[test]
fn a_boot_that_logged_nothing_leaves_the_log_where_it_was() {
    let story = Story::told();
    let log = story::open(story.path());
    let begun = log.durable();
    drop(log);
    assert!(begun > story.end, "a boot begins a segment of its own");
    // A server takes this for the end of the log, and its snapshots and its mirror say so.
    story.snapshot(begun);
    let database = database();
    let told = replay(&story, &database, &["--from-snapshot", "--verify"]);
    assert_equal(&told, ROWS);
    assert_eq!(mirrored(&database), (i64::try_from(begun.get()).unwrap(), 10));
    assert_equal(&replay(&story, &database, &["--verify"]), ROWS);
    // The next boot has the same place anew.
    let log = story::open(story.path());
    assert_eq!(log.durable(), begun);
    story::tell_of_a_crowd(&log, 10);
    log.seal().unwrap();
    drop(log);
    assert_equal(&replay(&story, &database, &["--verify"]), ROWS + 2 + 20);
}

#[test]
fn nothing_is_replayed_of_a_log_that_a_server_would_refuse() {
    let story = Story::told();
    story.flip(story.lsns[4].get() + 40);
    let database = database();
    let told = replay(&story, &database, &["--verify"]);
    assert_eq!((told.code, told.stderr.as_str()), (1, ""), "{told:?}");
    assert!(told.line_with("damage ").ends_with("; nothing was replayed"), "{told:?}");
    assert_eq!(database.value::<i64>("SELECT count(*) FROM pg_class WHERE relname = 'users'"), 0);
    let empty = tempfile::TempDir::new().unwrap();
    let told = run(empty.path(), &["replay", "--to", &database.url()]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("there is no log"), "{told:?}");
}
