//! The tables, made, shown and removed.

use std::process::Command;

use crate::cluster::{Database, database};
use crate::replay::{replay, wait_for_mirrors_to_end};
use crate::run::{Run, ended, program};
use crate::story::Story;

fn migrate(arguments: &[&str], database: &Database) -> Run {
    wait_for_mirrors_to_end(database);
    ended(migrate_command(arguments).args(["--to", &database.url()]))
}

fn migrate_command(arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("migrate").args(arguments).env_remove("DATABASE_URL").env_remove("PGPASSWORD");
    command
}

#[test]
fn up_and_down_and_what_is_there_in_between() {
    let database = database();
    let status = migrate(&["status"], &database);
    assert_eq!((status.code, status.stderr.as_str()), (1, ""), "{status:?}");
    assert!(status.stdout.ends_with("migration     2, salt: not carried out\n"), "{status:?}");
    let down = migrate(&["down", "--yes"], &database);
    assert_eq!(down.code, 0, "{down:?}");
    assert!(down.stdout.contains("nothing to do"), "{down:?}");

    let up = migrate(&["up"], &database);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.stdout.ends_with("migration     2: carried out\n"), "{up:?}");
    let up = migrate(&["up", "--json"], &database);
    assert!(up.stdout.ends_with("\"carried_out\":[]}\n"), "{up:?}");
    let status = migrate(&["status", "--json"], &database);
    assert_eq!(status.code, 0, "{status:?}");
    let told: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(told["migrations"][0]["name"], "tables");
    assert!(told["migrations"][0]["applied_at"].is_string(), "{told}");

    let story = Story::told();
    assert_eq!(replay(&story, &database, &[]).code, 0);
    let refused = migrate(&["down"], &database);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stdout.contains("would drop    bookings, 2 rows\n"), "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(migrate(&["status"], &database).code, 0);
    let down = migrate(&["down", "--yes"], &database);
    assert_eq!((down.code, down.stderr.as_str()), (0, ""), "{down:?}");
    assert!(down.stdout.contains("dropped       tickets, 10 rows\n"), "{down:?}");
    assert_eq!(migrate(&["status"], &database).code, 1);
    let left: i64 = database
        .value("SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace");
    assert_eq!(left, 0);
}

#[test]
fn what_somebody_dropped_by_hand_keeps_nobody_from_removing_the_rest() {
    let database = database();
    assert_eq!(migrate(&["up"], &database).code, 0);
    database.run("DROP TABLE tickets; DROP TABLE booking_mirror_checkpoint");
    let down = migrate(&["down", "--yes"], &database);
    assert_eq!((down.code, down.stderr.as_str()), (0, ""), "{down:?}");
    assert_eq!(migrate(&["up"], &database).code, 0);
    database.run("SELECT * FROM tickets, booking_mirror_checkpoint");
}

#[test]
fn tables_of_the_version_before_are_read_and_brought_up_to_date() {
    let database = database();
    let story = Story::told();
    let replay = |option| replay(&story, &database, &[option]);
    assert_eq!(replay("--verify").code, 0);
    // As the first version left them.
    database.run("ALTER TABLE booking_mirror_checkpoint DROP COLUMN segment_salt");
    database.run("DELETE FROM booking_mirror_migrations WHERE version = 2");
    let looked = replay("--verify-only");
    assert_eq!((looked.code, looked.stderr.as_str()), (0, ""), "{looked:?}");
    assert_eq!(migrate(&["status"], &database).code, 1);
    assert_eq!(replay("--verify").code, 0);
    assert_eq!(migrate(&["status"], &database).code, 0);
}

#[test]
fn tables_that_are_not_the_mirrors_are_left_alone() {
    let database = database();
    database.run("CREATE TABLE users (mine text)");
    for arguments in [&["status"][..], &["up"], &["down", "--yes"]] {
        let told = migrate(arguments, &database);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
        assert!(told.stderr.contains("not the mirror's (users)"), "{told:?}");
    }
    database.run("SELECT mine FROM users");
}

#[test]
fn the_url_may_come_from_the_environment_and_no_secret_is_shown() {
    let database = database();
    let url = database.url();
    let told = ended(migrate_command(&["up"]).env("DATABASE_URL", &url));
    assert_eq!(told.code, 0, "{told:?}");
    let with_password = url.replace("postgres@", "postgres:hunter2@");
    for (name, value) in [("DATABASE_URL", with_password.as_str()), ("PGPASSWORD", "hunter2")] {
        let mut command = migrate_command(&["status"]);
        let told = ended(command.env("DATABASE_URL", &url).env(name, value));
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.stdout.contains("postgres:***@"), "{told:?}");
        assert!(!told.stdout.contains("hunter2"), "{told:?}");
    }
    for bad in ["postgres://u:hunter2@h", "hunter2", "postgres://u:hunter2@127.0.0.1:1/d", ""] {
        let mut command = migrate_command(&["status"]);
        let told = ended(command.env("DATABASE_URL", bad));
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
        assert!(!told.stderr.is_empty() && !told.stderr.contains("hunter2"), "{told:?}");
    }
    let mut command = migrate_command(&["status", "--help"]);
    let help = ended(command.env("DATABASE_URL", &with_password));
    assert!(help.stdout.contains("DATABASE_URL") && !help.stdout.contains("hunter2"), "{help:?}");
    let missing = ended(&mut migrate_command(&["status"]));
    assert_eq!(missing.code, 2, "{missing:?}");
}
