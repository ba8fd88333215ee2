//! The listing: every field, every filter.

use crate::run::run;
use crate::story::{self, Story};

/// The positions, replaced by the place of their record in the story, so that expected texts can
/// be read.
fn without_positions(story: &Story, text: &str) -> String {
    let line = |line: &str| {
        let (lsn, rest) = line.trim_start().split_once(' ').unwrap();
        let place = story.lsns.iter().position(|known| known.to_string() == lsn).unwrap();
        format!("{place} {}\n", rest.trim_start())
    };
    text.lines().map(line).collect()
}

#[test]
fn all_fields_are_shown() {
    let story = Story::told();
    let told = run(story.path(), &["inspect"]);
    let expected = r#"0 1 2023-11-14T22:13:20.000Z user_created  user=0 user_id=00000000-0000-8000-8000-000000000ada email="ada@example.com" name="Ada \"Countess\" Lovelace"
1 1 2023-11-14T22:13:20.001Z user_created  user=1 user_id=00000000-0000-8001-8000-000000000b0b email="bob@example.com" name="Bob"
2 1 2023-11-14T22:13:20.002Z event_created event=0 event_id=40000000-0000-8000-8000-000000005403 name="Night" artist="The Queens" venue="Hall 1" date="2025-06-01T20:00:00Z" total_seats=10 price_minor=7550 price=75.50 currency=EUR
3 1 2023-11-14T22:13:20.003Z held          event=0 event_id=40000000-0000-8000-8000-000000005403 row=1 booking_id=c0000000-0000-8001-8000-0000000000f1 user=0 user_id=00000000-0000-8000-8000-000000000ada seats=1,5 total_minor=15100 total=151.00 currency=EUR deadline=2023-11-14T22:23:20.003Z key="order-1" fingerprint=0000000000000000000000000000feed
4 1 2023-11-14T22:13:20.004Z held          event=0 event_id=40000000-0000-8000-8000-000000005403 row=2 booking_id=c0000000-0000-8002-8000-0000000000f2 user=1 user_id=00000000-0000-8001-8000-000000000b0b seats=10 total_minor=7550 total=75.50 currency=EUR deadline=2023-11-14T22:23:20.004Z
5 1 2023-11-14T22:13:20.005Z confirmed     event=0 event_id=40000000-0000-8000-8000-000000005403 row=1 booking_id=c0000000-0000-8001-8000-0000000000f1 user=0 user_id=00000000-0000-8000-8000-000000000ada
6 1 2023-11-14T22:13:20.006Z key_bound     subject=confirmed event=0 event_id=40000000-0000-8000-8000-000000005403 row=1 booking_id=c0000000-0000-8001-8000-0000000000f1 user=0 user_id=00000000-0000-8000-8000-000000000ada key="order-1" fingerprint=0000000000000000000000000000feed
7 1 2023-11-14T22:23:20.004Z expired       event=0 event_id=40000000-0000-8000-8000-000000005403 row=2 booking_id=c0000000-0000-8002-8000-0000000000f2 user=1 user_id=00000000-0000-8001-8000-000000000b0b
8 1 2023-11-14T22:23:20.005Z user_updated  user=1 user_id=00000000-0000-8001-8000-000000000b0b email="robert@example.com" name="Robert"
9 1 2023-11-14T22:23:20.006Z user_deleted  user=1 user_id=00000000-0000-8001-8000-000000000b0b
"#;
    assert_eq!(without_positions(&story, &told.stdout), expected);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
}

#[test]
fn a_record_is_one_object_for_machines() {
    let story = Story::told();
    let told = run(story.path(), &["inspect", "--json", "--kind", "held", "--booking", "0/2"]);
    let expected = format!(
        "{{\"lsn\":{},\"end\":{},\"epoch\":1,\"at\":\"2023-11-14T22:13:20.004Z\",\"kind\":\"held\",\
         \"event\":0,\"event_id\":\"40000000-0000-8000-8000-000000005403\",\"row\":2,\
         \"booking_id\":\"c0000000-0000-8002-8000-0000000000f2\",\"user\":1,\
         \"user_id\":\"00000000-0000-8001-8000-000000000b0b\",\"seats\":[10],\
         \"total_minor\":7550,\"total\":\"75.50\",\"currency\":\"EUR\",\
         \"deadline\":\"2023-11-14T22:23:20.004Z\"}}\n",
        story.lsns[4], story.lsns[5],
    );
    assert_eq!((told.code, told.stdout), (0, expected));
}

#[test]
fn the_payload_is_shown_when_asked_for() {
    let story = Story::told();
    let told = run(story.path(), &["inspect", "--raw", "--kind", "user_deleted"]);
    let raw = "raw=01000000c68feecf8b010000";
    assert!(told.stdout.trim_end().ends_with(raw), "{told:?}");
    let json = run(story.path(), &["inspect", "--raw", "--json", "--kind", "18"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(format!("raw={}", json["raw"].as_str().unwrap()), raw);
}

#[test]
fn the_secret_of_an_event_is_not_shown() {
    let story = Story::told();
    for arguments in [&["inspect"][..], &["inspect", "--json"]] {
        assert!(!run(story.path(), arguments).stdout.contains("5ec2e7"));
    }
}

#[test]
fn filters_choose() {
    let story = Story::told();
    let [third, sixth] = [3, 6].map(|place: usize| story.lsns[place].to_string());
    let third_in_hex = format!("{:#x}", story.lsns[3].get());
    let (ada, show, first) = (story::ada(), story::show(), story::first_booking());
    let forged = first.replace("0000000000f1", "0000000000f3");
    for (arguments, expected) in [
        (&["--from", &third, "--to", &sixth][..], &[3, 4, 5][..]),
        (&["--to", &third_in_hex], &[0, 1, 2]),
        (&["--since", "2023-11-14T22:23:20.005Z"], &[8, 9]),
        (&["--until", "2023-11-14T23:13:20.002+01:00"], &[0, 1]),
        (&["--kind", "held"], &[3, 4]),
        (&["--kind", "expired,21"], &[5, 7]),
        (&["--kind", "99"], &[]),
        (&["--event", &show], &[2, 3, 4, 5, 6, 7]),
        (&["--event", "0", "--kind", "event_created"], &[2]),
        (&["--event", "1"], &[]),
        (&["--user", &ada], &[0, 3, 5, 6]),
        (&["--user", "1"], &[1, 4, 7, 8, 9]),
        (&["--booking", &first], &[3, 5, 6]),
        (&["--booking", "0/2"], &[4, 7]),
        (&["--booking", &forged], &[]),
        (&["--ticket", "0/5"], &[3, 5, 6]),
        (&["--ticket", "0/10"], &[4, 7]),
        (&["--ticket", "0/2"], &[]),
        (&["--ticket", "0/5", "--kind", "confirmed"], &[5]),
        (&["--user", "1", "--event", "0", "--from", &sixth], &[7]),
    ] {
        let told = run(story.path(), &[&["inspect"], arguments].concat());
        let lines = without_positions(&story, &told.stdout);
        let places: Vec<_> = lines.lines().map(|line| line.split(' ').next().unwrap()).collect();
        let expected: Vec<_> = expected.iter().map(usize::to_string).collect();
        assert_eq!(places, expected, "{arguments:?}");
        assert_eq!(told.code, 0);
    }
}

#[test]
fn records_of_several_boots_follow_each_other() {
    let story = Story::told();
    let log = story::open(story.path());
    story::tell(&log, &story::refrain());
    drop(log);
    let told = run(story.path(), &["inspect", "--kind", "user_updated"]);
    let epochs: Vec<_> =
        told.stdout.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(epochs, ["1", "2"]);
    assert!(told.line_with("name=\"Ada\"").contains(&story::ada()), "known from the first boot");
}
