//! What was at a moment.

use std::fs;

use wal::Lsn;

use crate::run::{Run, run};
use crate::story::{self, SEGMENT_BYTES, Story};

fn state(story: &Story, more: &[&str]) -> Run {
    run(story.path(), &[&["state"], more].concat())
}

fn json(story: &Story, more: &[&str]) -> serde_json::Value {
    let told = run(story.path(), &[&["state", "--json"], more].concat());
    assert_eq!(told.code, 0, "{told:?}");
    serde_json::from_str(&told.stdout).unwrap()
}

#[test]
fn the_end_is_shown_unless_a_moment_is_asked_for() {
    let story = Story::told();
    let told = state(&story, &[]);
    let expected = format!(
        "directory     DIR
uuid          {}
exact for     LSN {}
records       10, newest of 2023-11-14T22:23:20.006Z
state         {}
users         1
events        1
tickets       10: 2 sold, 0 reserved, 8 available
bookings      2: 0 pending, 1 confirmed, 0 cancelled, 1 expired
confirmed     151.00 EUR

   event id                                       seats available  reserved      sold name
       0 {}        10         8         0         2 \"Night\"
",
        story.uuid,
        story.end,
        story.state_hash(),
        story::show(),
    );
    assert_eq!((told.code, told.stdout), (0, expected));
}

#[test]
fn seats_are_shown_as_they_were_then() {
    let story = Story::told();
    // Before the first booking was confirmed.
    let told = state(&story, &["--event", "0", "--at", &story.lsns[5].to_string()]);
    let booking = story::first_booking();
    let expected = format!(
        "exact for     LSN {}
records       5, newest of 2023-11-14T22:13:20.004Z
",
        story.lsns[5]
    );
    assert!(told.stdout.contains(&expected), "{told:?}");
    assert!(
        told.stdout.contains("tickets       10: 0 sold, 3 reserved, 7 available\n"),
        "{told:?}"
    );
    let seat = |told: &Run, seat: u32| told.line_with(&format!("{seat:>8} ")).to_owned();
    let holder = format!("booking {booking} user {}", story::ada());
    let time = "2023-11-14T22:13:20";
    assert_eq!(seat(&told, 1), format!("       1 reserved  {time}.003Z {holder}"));
    assert_eq!(seat(&told, 2), format!("       2 available {time}.002Z"));
    assert!(seat(&told, 10).starts_with(&format!("      10 reserved  {time}.004Z booking ")));

    let told = state(&story, &["--event", &story::show()]);
    assert_eq!(seat(&told, 5), format!("       5 sold      {time}.005Z {holder}"));
    assert_eq!(seat(&told, 10), "      10 available 2023-11-14T22:23:20.004Z");
    let answer = json(&story, &["--event", "0"]);
    assert_eq!(answer["event"]["sold"], 2);
    assert_eq!(answer["seats"][4]["booking_id"], booking);
    assert_eq!(answer["seats"][9]["booking_id"], serde_json::Value::Null);
}

#[test]
fn a_time_stands_for_the_last_position_before_anything_later() {
    let story = Story::told();
    for (time, place) in [
        ("2023-11-14T22:13:19Z", 0),
        ("2023-11-14T22:13:20.002Z", 3),
        ("2023-11-14T23:13:20.005+01:00", 6),
    ] {
        for _ in 0..2 {
            let answer = json(&story, &["--at", time]);
            assert_eq!(answer["lsn"], story.lsns[place].get(), "{time}");
            assert_eq!(answer["records"], place);
            // From a snapshot on it is the same.
            story.snapshot(story.lsns[2]);
        }
    }
    assert_eq!(json(&story, &["--at", "2030-01-01T00:00:00Z"])["records"], 10);
}

#[test]
fn a_position_is_rounded_down_to_a_record_and_must_be_in_the_log() {
    let story = Story::told();
    let within = Lsn::new(story.lsns[3].get() + 32);
    let answer = json(&story, &["--at", &format!("{:#x}", within.get())]);
    assert_eq!((&answer["lsn"], &answer["records"]), (&story.lsns[3].get().into(), &3.into()));
    assert_eq!(json(&story, &["--at", "0"])["records"], 0);
    let told = state(&story, &["--at", &(story.end.get() + 1).to_string()]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains(&format!("the log ends at LSN {}", story.end)), "{told:?}");
    let told = state(&story, &["--event", "0", "--at", "4096"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("there was no such event"), "{told:?}");
}

#[test]
fn every_position_gives_the_same_with_and_without_snapshots() {
    let story = Story::told();
    let hashes = |story: &Story| -> Vec<_> {
        let all = story.lsns.iter().chain([&story.end]);
        all.map(|lsn| json(story, &["--at", &lsn.to_string()])["state_hash"].clone()).collect()
    };
    let before = hashes(&story);
    for place in [1, 4, 7] {
        story.snapshot(story.lsns[place]);
    }
    story.snapshot(story.end);
    assert_eq!(hashes(&story), before);
}

#[test]
fn damage_before_the_moment_is_told_and_nothing_else() {
    let story = Story::told();
    let lsn = story.lsns[4];
    story.flip(lsn.get() + 40);
    let told = state(&story, &[]);
    assert_eq!(told.code, 1, "{told:?}");
    let place = format!("damage        DIR/wal-0000000000000000.seg at offset {lsn} (LSN {lsn}): ");
    assert!(told.stdout.starts_with(&place), "{told:?}");
    assert!(told.stdout.ends_with(&format!("--at {lsn} shows the last before it\n")), "{told:?}");
    assert_eq!(json(&story, &["--at", &lsn.to_string()])["records"], 4);
    for format in ["ndjson", "csv"] {
        let told = run(story.path(), &["export", "--format", format]);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.stdout.contains("damage") && !told.stdout.contains("booking"), "{told:?}");
    }
}

#[test]
fn a_log_without_its_beginning_tells_of_what_its_snapshots_reach() {
    let story = Story::told_at_length();
    let whole = json(&story, &[]);
    let lsn = Lsn::new(SEGMENT_BYTES);
    let path = story.snapshot(lsn);
    story.forget_the_beginning();
    assert_eq!(json(&story, &[])["state_hash"], whole["state_hash"]);
    assert_eq!(json(&story, &["--at", &lsn.to_string()])["lsn"], lsn.get());
    let early = state(&story, &["--at", &(lsn.get() - 32).to_string()]);
    assert_eq!(early.code, 2, "{early:?}");
    assert!(early.stderr.contains("not known: the log begins at LSN 1048576"), "{early:?}");
    fs::remove_file(path).unwrap();
    assert_eq!(state(&story, &[]).code, 2);
}
