//! The life of one seat.

use std::fs;

use crate::run::run;
use crate::story::{self, SEGMENT_BYTES, Story};

/// The kinds of the deeds that are told, in order.
fn kinds(stdout: &str) -> Vec<&str> {
    let deeds = stdout.lines().filter(|line| line.starts_with(' '));
    deeds.map(|line| line.split_whitespace().nth(3).unwrap()).collect()
}

#[test]
fn a_seat_that_was_sold_and_one_that_came_back() {
    let story = Story::told();
    let told = run(story.path(), &["history", "--ticket", "0/5"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    assert_eq!(kinds(&told.stdout), ["event_created", "held", "confirmed"]);
    assert!(told.stdout.ends_with("at the end of the log: sold\n"), "{told:?}");
    let held = told.line_with(" held ");
    assert!(held.contains(&story::first_booking()) && held.contains(&story::ada()), "{held}");
    assert!(held.trim_start().starts_with(&story.lsns[3].to_string()), "{held}");

    let told = run(story.path(), &["history", "--event", &story::show(), "--seat", "10"]);
    assert_eq!(kinds(&told.stdout), ["event_created", "held", "expired"]);
    assert!(told.stdout.ends_with("at the end of the log: available\n"), "{told:?}");

    let told = run(story.path(), &["history", "--ticket", "0/2"]);
    assert_eq!(kinds(&told.stdout), ["event_created"]);
}

#[test]
fn a_ticket_is_found_by_its_id() {
    let story = Story::told();
    let json = run(story.path(), &["history", "--json", "--ticket", "0/5"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let id = json["ticket_id"].as_str().unwrap().to_owned();
    let told = run(story.path(), &["history", "--json", "--ticket", &id]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told.stdout).unwrap(), json);
    assert_eq!((json["status"].as_str(), json["complete"].as_bool()), (Some("sold"), Some(true)));
    assert_eq!(json["deeds"][2]["kind"], "confirmed");

    let forged = format!("{}{}", &id[..35], if id.ends_with('0') { '1' } else { '0' });
    for nobody in [forged.as_str(), "0/11", "1/1"] {
        let told = run(story.path(), &["history", "--ticket", nobody]);
        assert_eq!(told.code, 0);
        assert!(told.stdout.ends_with("the log tells of no such seat\n"), "{told:?}");
        assert_eq!(kinds(&told.stdout), [""; 0], "{nobody}");
    }
    let wrong = story::show().replace("5403", "5404");
    let told = run(story.path(), &["history", "--event", &wrong, "--seat", "5"]);
    assert!(told.stdout.ends_with("the log tells of no such seat\n"), "{told:?}");
}

#[test]
fn what_is_missing_is_said() {
    let story = Story::told();
    story.flip(story.lsns[3].get() + 40);
    let told = run(story.path(), &["history", "--ticket", "0/5"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage").contains(&format!("LSN {}", story.lsns[3])));

    // A log whose first segment was removed.
    let story = Story::told_with(|log| {
        while log.reserved().get() < SEGMENT_BYTES + 8_192 {
            log.kick();
            story::tell_when_there_is_room(log, &story::refrain());
        }
    });
    fs::remove_file(story.segment()).unwrap();
    let told = run(story.path(), &["history", "--ticket", "0/5"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.line_with("the log begins at LSN 1048576:").contains("is not told"));
    let json = run(story.path(), &["history", "--json", "--ticket", "0/5"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json["complete"].as_bool(), json["status"].as_str()), (Some(false), None));
}
