//! Logs in which something is damaged: each place is named, and exit code 1 says so.

use std::process::Stdio;

use crate::run::{program, run};
use crate::story::{self, Story};

const SEGMENT: &str = "DIR/wal-0000000000000000.seg";

#[test]
fn a_flipped_byte_is_named_by_file_and_offset() {
    let story = Story::told();
    let lsn = story.lsns[3];
    story.flip(lsn.get() + 40);
    let place = format!("{SEGMENT} at offset {lsn} (LSN {lsn}): checksum is ");

    let told = run(story.path(), &["verify"]);
    assert_eq!((told.code, told.stderr.as_str()), (1, ""), "{told:?}");
    let damage = told.line_with("damage");
    assert!(damage.starts_with(&format!("damage        {place}")), "{damage}");
    let durable = story.end.get() - 32;
    let known = format!("(known to have been durable up to LSN {durable})");
    assert!(damage.ends_with(&known), "{damage}");
    assert_eq!(told.line_with("records"), "records       3 before it");
    assert_eq!(told.line_with("verdict"), "verdict       refused: a server would not start");

    let told = run(story.path(), &["inspect"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(told.stdout.lines().count(), 10, "nine records and the damage");
    let skipped = story.lsns[4].since(lsn);
    let damage = told.stdout.lines().nth(3).unwrap();
    assert!(damage.starts_with(&format!("damage: {place}")), "{damage}");
    assert!(damage.ends_with(&format!("; {skipped} bytes skipped")), "{damage}");
    let confirmed = told.line_with("confirmed");
    assert!(confirmed.contains("row=1") && !confirmed.contains("booking_id"), "{confirmed}");

    let told = run(story.path(), &["stats"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage").contains(&place));
    assert!(told.line_with("verdict").contains("refused"));
    assert!(!told.stdout.contains("next"), "a refused log does not go on: {told:?}");
}

#[test]
fn damage_is_told_to_machines() {
    let story = Story::told();
    let lsn = story.lsns[3];
    story.flip(lsn.get() + 40);
    let json = run(story.path(), &["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["records_before"], 3);
    assert_eq!(json["damage"]["offset"], lsn.get());
    assert_eq!(json["damage"]["lsn"], lsn.get());
    assert_eq!(json["damage"]["file"], SEGMENT);
    let lines = run(story.path(), &["inspect", "--json"]);
    let line: serde_json::Value = serde_json::from_str(lines.line_with("damage")).unwrap();
    assert_eq!(line["damage"]["offset"], lsn.get());
    assert_eq!(line["skipped_bytes"], story.lsns[4].since(lsn));
}

#[test]
fn a_damaged_header_leaves_nothing_to_read() {
    let story = Story::told();
    story.flip(60);
    for command in ["verify", "inspect", "stats"] {
        let told = run(story.path(), &[command]);
        assert_eq!(told.code, 1, "{told:?}");
        let place = format!("{SEGMENT} at offset 0 (LSN 0): ");
        assert!(told.line_with("damage").contains(&place), "{told:?}");
    }
}

#[test]
fn a_record_that_does_not_decode_is_refused_by_name() {
    let mut riddle = None;
    let story = Story::told_with(|log| {
        riddle = Some(story::tell_riddle(log));
        story::tell(log, &story::refrain());
    });
    let lsn = riddle.unwrap();
    let place = format!(
        "{SEGMENT} at offset {lsn} (LSN {lsn}): record refused: kind 99 version 1 was written by a \
         newer version of this program"
    );
    let told = run(story.path(), &["verify"]);
    assert_eq!((told.code, told.line_with("damage")), (1, &*format!("damage        {place}")));
    let told = run(story.path(), &["inspect", "--kind", "user_updated"]);
    assert_eq!(told.code, 1);
    assert_eq!(told.line_with("damage"), format!("damage: {place}; 64 bytes skipped"));
    assert_eq!(told.stdout.lines().count(), 3, "two updates, and the damage between: {told:?}");
    let told = run(story.path(), &["stats"]);
    assert_eq!(told.code, 1);
    assert!(told.line_with("kind_99").starts_with("99   kind_99"), "{told:?}");
}

#[test]
fn a_seat_that_is_sold_twice_is_damage() {
    let mut twice = None;
    let story = Story::told_with(|log| twice = Some(story::tell(log, &story::double_sale())));
    let lsn = twice.unwrap();
    let told = run(story.path(), &["verify"]);
    let place = format!("{SEGMENT} at offset {lsn} (LSN {lsn}): record refused: ");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage").contains(&place), "{told:?}");
    assert_eq!(told.line_with("records"), "records       10 before it");
}

#[test]
fn a_frame_of_a_newer_version_is_named_and_the_next_one_not_lost() {
    let story = Story::told();
    let lsn = story.lsns[6];
    story.make_newer(lsn);
    let place = format!(
        "{SEGMENT} at offset {lsn} (LSN {lsn}): written by a newer version (internal record kind 9, \
         flags 0x00)"
    );
    let told = run(story.path(), &["verify"]);
    assert_eq!((told.code, told.line_with("damage")), (1, &*format!("damage        {place}")));
    let told = run(story.path(), &["inspect"]);
    assert_eq!(told.code, 1);
    let skipped = story.lsns[7].since(lsn);
    assert_eq!(told.line_with("damage"), format!("damage: {place}; {skipped} bytes skipped"));
    assert_eq!(told.stdout.lines().count(), 10, "nine records and the damage: {told:?}");
}

#[test]
fn the_seal_vouches_for_the_last_record() {
    let story = Story::told();
    let last = story.lsns[9];
    story.flip(last.get() + 40);
    for command in ["verify", "inspect", "stats"] {
        let told = run(story.path(), &[command]);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.line_with("damage").contains(&format!("offset {last} ")), "{told:?}");
    }
}

#[test]
fn damage_is_told_though_nobody_reads_it() {
    let story = Story::told();
    story.flip(story.lsns[0].get() + 40);
    for command in ["verify", "stats", "inspect"] {
        let mut child =
            program().arg(command).arg(story.path()).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{command}");
    }
}
