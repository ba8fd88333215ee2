//! The tables against an image of the log: filled from it, and compared with it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use booking_manager::domain::Timestamp;
use booking_manager::image::Image;
use booking_manager::image::snapshot::{self, Snapshot};
use booking_manager::mirror::{Audit, Difference, Limits, Session, Target, runtime};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal::{LockedDirectory, Lsn, Reader};

use super::cluster::{Database, database};
use super::compare::{assert_mirrored, wait_until_mirrored};
use super::following::{crowd, server};
use super::harness::{World, fresh_email};

fn target(database: &Database) -> Target {
    Target::from_url(&database.url()).unwrap()
}

/// The image of the first so many records of a log that nobody writes any more.
fn image_of(log: &Path, records_max: u64) -> Snapshot {
    let mut reader = Reader::open(log).unwrap();
    let uuid = reader.segments()[0].header.uuid;
    let (mut image, mut lsn) = (Image::new(), Lsn::ZERO);
    while image.records() < records_max
        && let Some(record) = reader.next_record().unwrap()
    {
        image.apply(&record).unwrap();
        lsn = record.end;
    }
    Snapshot { log: uuid, lsn, image }
}

fn differences(database: &Database, snapshot: &Snapshot) -> Vec<Difference> {
    runtime().unwrap().block_on(async {
        let audit = Audit::begin(&target(database), snapshot.log).await.unwrap();
        assert_eq!(audit.checkpoint().unwrap().records, snapshot.image.records());
        let mut found = Vec::new();
        let compared = audit.compare(&snapshot.image, |one| found.push(one), |_| ()).await.unwrap();
        assert_eq!(compared.differences, found.len() as u64);
        assert!(compared.rows > snapshot.image.tickets() + snapshot.image.bookings());
        found
    })
}

#[track_caller]
fn assert_none(differences: &[Difference]) {
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn tables_are_filled_from_an_image_followed_and_compared() {
    let database = database();
    let mut server = server(&database);
    let world = World::create(&server, 8, 300);
    crowd(&server, &world, Duration::from_secs(1), 1);
    // Addresses change hands; somebody leaves.
    let [first, second] = [&world.users[0], &world.users[1]];
    let email = |user: &str| server.get(&format!("/api/users/{user}")).json["email"].clone();
    let (one, two) = (email(first), email(second));
    for (user, email) in [(first, fresh_email().into()), (second, one), (first, two)] {
        let body = serde_json::json!({"email": email, "name": "Grace Hopper"});
        server.put(&format!("/api/users/{user}"), &body).expect(200);
    }
    let leaver = server.create_user();
    server.delete(&format!("/api/users/{leaver}")).expect(204);
    assert_mirrored(&server, &world, &database);
    assert!(server.terminate().success());

    let log = server.data_dir();
    let whole = image_of(&log, u64::MAX);
    assert_none(&differences(&database, &whole));
    let half = image_of(&log, whole.image.records() / 2);
    let mut random = StdRng::seed_from_u64(3);
    let other = super::cluster::database();
    runtime().unwrap().block_on(async {
        let mut reader = Reader::open(&log).unwrap();
        for snapshot in [&half, &whole, &half] {
            // Also over rows that are there already, and ahead.
            let limits = Limits { records: random.random_range(1..40), ..Limits::default() };
            let mut session = begin(&other, snapshot, limits).await;
            session.load(snapshot, None).await.unwrap();
            session.resume(&mut reader, None).await.unwrap();
            // Batches of other lengths from one session to the next.
            for _ in 0..random.random_range(0..4) {
                session.step(&mut reader).await.unwrap();
            }
            drop(session);
            let limits = Limits { records: random.random_range(1..400), ..Limits::default() };
            let mut session = begin(&other, snapshot, limits).await;
            session.resume(&mut reader, None).await.unwrap();
            while !session.step(&mut reader).await.unwrap().caught_up {}
        }
    });
    assert_none(&differences(&other, &whole));
}

/// Begins a session once the one before is gone.
async fn begin(database: &Database, snapshot: &Snapshot, limits: Limits) -> Session {
    for _ in 0..1_000 {
        if let Ok(session) = Session::begin(&target(database), snapshot.log, limits).await {
            return session;
        }
    }
    panic!("the session before does not end")
}

#[test]
fn each_difference_is_told() {
    let database = database();
    let mut server = server(&database);
    let world = World::create(&server, 4, 20);
    let show = world.show();
    server.hold(&world.users[0], &show.id, &show.tickets[..2]);
    wait_until_mirrored(&server);
    assert!(server.terminate().success());
    let snapshot = image_of(&server.data_dir(), u64::MAX);
    assert_none(&differences(&database, &snapshot));
    database.run(
        "UPDATE users SET name = 'Mallory', deleted_at = '2026-01-01 00:00:00+00' \
         WHERE id = (SELECT min(id::text)::uuid FROM users); \
         DELETE FROM tickets WHERE seat_number = 20; \
         UPDATE tickets SET price = price + 0.0001 WHERE seat_number = 7; \
         INSERT INTO bookings SELECT '00000000-0000-0000-0000-000000000000', user_id, event_id, ticket_ids, \
         'expired', total_amount, currency, created_at, updated_at, expires_at FROM bookings",
    );
    let told: Vec<String> =
        differences(&database, &snapshot).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 5, "{told:#?}");
    for (line, part) in told.iter().zip([
        "name is \"Mallory\", and \"Ada Lovelace\" by the log",
        "deleted_at is \"820540800000000\", and null by the log",
        "bookings 00000000-0000-0000-0000-000000000000: not in the log",
        "price is \"75.0001\", and \"75.0000\" by the log",
        "not in PostgreSQL",
    ]) {
        assert!(line.contains(part), "{line} instead of {part}");
    }
}

#[test]
fn a_log_without_its_beginning_is_taken_up_from_a_snapshot() {
    let database = database();
    let mut server = server(&database);
    let world = World::create(&server, 8, 1_000);
    crowd(&server, &world, Duration::from_millis(400), 1);
    assert!(server.terminate().success());
    server.restart();
    crowd(&server, &world, Duration::from_millis(400), 2);
    assert!(server.terminate().success());
    let log = server.data_dir();
    let whole = image_of(&log, u64::MAX);
    // Only the segments from the last record's on and a snapshot are left, as retention leaves them.
    let rest = tempfile::tempdir().unwrap();
    let reader = Reader::open(&log).unwrap();
    for segment in reader.segments().iter().filter(|segment| segment.header.end() > whole.lsn) {
        fs::copy(&segment.path, rest.path().join(segment.path.file_name().unwrap())).unwrap();
    }
    assert!(Reader::open(rest.path()).unwrap().segments()[0].header.base > Lsn::ZERO);
    let other = super::cluster::database();
    let resume = async |limits| {
        let mut reader = Reader::open(rest.path()).unwrap();
        let mut session = begin(&other, &whole, limits).await;
        session.resume(&mut reader, None).await?;
        while !session.step(&mut reader).await?.caught_up {}
        Ok::<_, booking_manager::mirror::Fault>(())
    };
    runtime().unwrap().block_on(async {
        let refused = resume(Limits::default()).await.unwrap_err().to_string();
        assert!(refused.contains("there is no whole snapshot"), "{refused}");
        let made_at = Timestamp::from_millis(0);
        let locked = LockedDirectory::acquire(rest.path()).unwrap();
        let go_on = || ControlFlow::Continue(());
        let written = snapshot::write(&locked, &whole, made_at, 0, go_on);
        assert!(written.unwrap().is_some());
        resume(Limits::default()).await.unwrap();
    });
    assert_none(&differences(&other, &whole));
}
