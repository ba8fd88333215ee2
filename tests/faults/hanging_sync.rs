//! A disk that hangs: nobody is told what may not last, and when it answers again nothing is lost.

use std::time::Duration;

use crate::harness::{Call, Client, Settings, wait_until};
use crate::means::{LIMIT, quick_directory, skipped};
use crate::trace::{Role, Strace, is_possible};

const DATA_BYTES: u64 = 256 << 20;
/// Longer than the server lets a request wait for the log.
const HANGS: Duration = Duration::from_secs(8);

/// The position up to which all is on disk, as the server tells while the disk hangs.
fn durable(client: &Client) -> u64 {
    let text = client.get("/metrics").expect(200).text;
    let line =
        text.lines().find_map(|l| l.strip_prefix("booking_wal_lsn_bytes{mark=\"durable\"} "));
    line.expect("the mark").parse().expect("a position")
}

#[test]
fn what_a_hanging_sync_leaves_open_is_told_as_that_and_can_be_repeated() {
    if let Err(why) = is_possible() {
        skipped(&why);
        return;
    }
    let directory = quick_directory(DATA_BYTES);
    let settings = Settings::new().env("REQUEST_TIMEOUT_SECONDS", 1);
    let server = settings.data_dir(&directory.path().join("data")).start();
    let client = server.client();
    let (user, show) = (client.create_user(), client.create_show(2));
    let hold = |ticket: &String| Call::book(&user, &show.id, &[ticket]).key(ticket);

    let delay = format!("fdatasync:delay_enter={}:when=1", HANGS.as_micros());
    let output = directory.path().join("trace");
    let strace = Strace::attach(&server, Role::Syncer, &[delay], &output);
    let open = client.send(&hold(&show.tickets[0])).expect_refusal(503, "storage_unavailable");
    let (told, synced) = (open.log_position(), durable(&client));
    assert!(told <= synced, "{told} was told, and only what is before {synced} is on disk");
    assert!(open.str("detail").contains("unknown"), "{}", open.text);
    // Nobody sees the hold either before it is on disk.
    let tickets = format!("/api/events/{}/tickets", show.id);
    client.get(&tickets).expect_refusal(503, "storage_unavailable");

    wait_until(LIMIT, "the disk answers again", || durable(&client) > synced);
    drop(strace);
    let repeated = client.send(&hold(&show.tickets[0])).expect(201);
    assert!(repeated.log_position() > told);
    let bookings = client.bookings_of(&user);
    assert_eq!(bookings.len(), 1, "it was made once: {bookings:?}");
    assert_eq!(bookings[0]["id"], repeated.json["booking_id"]);
    client.send(&hold(&show.tickets[1])).expect(201);
}
