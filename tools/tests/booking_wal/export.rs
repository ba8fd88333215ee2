//! Bookings as files.

use crate::run::{Run, run};
use crate::story::{self, Story};

const COLUMNS: &str = "id,user_id,event_id,ticket_ids,seat_numbers,status,total_amount,currency,\
                       created_at,updated_at,expires_at";

fn export(story: &Story, more: &[&str]) -> Run {
    let told = run(story.path(), &[&["export", "--format"], more].concat());
    assert_eq!(told.code, 0, "{told:?}");
    told
}

fn lines(told: &Run) -> Vec<serde_json::Value> {
    told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ndjson_begins_with_what_it_is_exact_for() {
    let story = Story::told();
    let told = export(&story, &["ndjson"]);
    assert_eq!(run(story.path(), &["export"]).stdout, told.stdout, "unless told otherwise");
    let first = told.stdout.lines().next().unwrap();
    let expected = format!(
        "{{\"uuid\":\"{}\",\"lsn\":{},\"newest\":\"2023-11-14T22:23:20.006Z\",\"records\":10,\
         \"bookings\":2}}",
        story.uuid, story.end
    );
    assert_eq!((first, told.stderr.as_str()), (expected.as_str(), ""));
    let lines = lines(&told);
    assert_eq!(lines.len(), 3);
    let booking = &lines[1];
    assert_eq!(booking["id"], story::first_booking());
    assert_eq!(booking["user_id"], story::ada());
    assert_eq!(booking["event_id"], story::show());
    assert_eq!(booking["seat_numbers"], serde_json::json!([1, 5]));
    assert_eq!(booking["ticket_ids"].as_array().unwrap().len(), 2);
    assert!(
        told.stdout
            .contains("\"status\":\"confirmed\",\"total_amount\":151.00,\"currency\":\"EUR\"")
    );
    assert_eq!(booking["created_at"], "2023-11-14T22:13:20.003Z");
    assert_eq!(booking["updated_at"], "2023-11-14T22:13:20.005Z");
    assert_eq!(booking["expires_at"], "2023-11-14T22:23:20.003Z");
    let names: Vec<_> = told.stdout.lines().nth(1).unwrap().split("\":").collect();
    let names: Vec<_> = names.iter().filter_map(|part| part.rsplit('"').next()).collect();
    assert_eq!(names[..11].join(","), COLUMNS);
}

#[test]
fn csv_is_read_back_by_any_reader_and_told_of_beside_it() {
    let story = Story::told();
    let told = export(&story, &["csv"]);
    assert_eq!(told.stdout.lines().next(), Some(COLUMNS));
    let exact =
        format!("booking-wal: 2 bookings, exact for LSN {} of log {}\n", story.end, story.uuid);
    assert_eq!(told.stderr, exact);
    let mut reader = csv::Reader::from_reader(told.stdout.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0][4], &rows[0][5], &rows[0][6]), ("1 5", "confirmed", "151.00"));
    let ndjson = lines(&export(&story, &["ndjson"]));
    let tickets: Vec<_> = rows[0][3].split(' ').collect();
    assert_eq!(ndjson[1]["ticket_ids"], serde_json::json!(tickets));
}

#[test]
fn bookings_are_chosen_by_event_status_and_moment() {
    let story = Story::told();
    let count = |more: &[&str]| {
        let lines = lines(&export(&story, &[&["ndjson"], more].concat()));
        assert_eq!(lines[0]["bookings"], lines.len() - 1);
        lines.len() - 1
    };
    assert_eq!(count(&["--status", "confirmed"]), 1);
    assert_eq!(count(&["--status", "pending"]), 0);
    assert_eq!(count(&["--event", &story::show(), "--status", "expired"]), 1);
    let before_the_end = story.lsns[5].to_string();
    assert_eq!(count(&["--status", "pending", "--at", &before_the_end]), 2);
    assert_eq!(count(&["--at", "2023-11-14T22:13:20.003Z"]), 1);
    for wrong in [&["--event", "7"][..], &["--status", "sold"], &["--at", "noon"]] {
        let told = run(story.path(), &[&["export", "--format", "csv"], wrong].concat());
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    }
}
