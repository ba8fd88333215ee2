//! `repair --cut-tail`: what it explains, what it refuses, and what is left when it has cut.

use std::fs;
use std::path::PathBuf;

use wal::{Log, Lsn};

use crate::run::{Run, run};
use crate::story::{self, SEGMENT_BYTES, Story};

const CONFIRM: &str = "--lose-acknowledged-records-from";

fn repair(story: &Story, more: &[&str]) -> Run {
    run(story.path(), &[&["repair", "--cut-tail"], more].concat())
}

/// Where the log would end, as a dry run says.
fn proposed(story: &Story) -> String {
    let told = repair(story, &["--dry-run"]);
    assert_eq!(told.code, 1, "{told:?}");
    told.line_with("the log would end").rsplit(' ').next().unwrap().to_owned()
}

/// The segment files with their contents.
fn segments(story: &Story) -> Vec<(PathBuf, Vec<u8>)> {
    let files = story.files().into_iter().map(|(path, bytes, _)| (path, bytes));
    files.filter(|(path, _)| path.extension().is_some_and(|end| end == "seg")).collect()
}

/// Repairs, and checks what must hold after every repair; gives how many records are left.
fn repaired(story: &Story) -> u64 {
    let before = segments(story);
    let lsn = proposed(story);
    assert!(segments(story) == before, "a dry run changed something");
    let told = repair(story, &[CONFIRM, &lsn]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let originals = told.line_with("originals").split_whitespace().nth(1).unwrap();
    let originals = story.path().join(originals.strip_prefix("DIR/").unwrap());
    let after = segments(story);
    for (path, bytes) in before {
        let now = after.iter().find(|(other, _)| *other == path).map(|(_, bytes)| bytes);
        if now != Some(&bytes) {
            let kept = originals.join(path.file_name().unwrap());
            assert!(fs::read(kept).unwrap() == bytes, "{} is lost", path.display());
        }
    }
    let told = run(story.path(), &["verify"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(told.line_with("verdict"), "verdict       sound");
    assert_eq!(told.line_with("end "), format!("end           LSN {lsn}"));
    let records = told.line_with("records  ").split_whitespace().nth(1).unwrap().parse().unwrap();
    // The log itself can be opened from wherever a server would begin.
    let log = story::open_from(story.path(), told.begun());
    story::tell(&log, &story::refrain());
    log.seal().unwrap();
    drop(log);
    assert_eq!(run(story.path(), &["verify"]).code, 0, "after the next boot");
    records
}

/// Goes on into the second segment.
fn long(log: &Log) {
    while log.reserved().get() < SEGMENT_BYTES + 8_192 {
        log.kick();
        story::tell_when_there_is_room(log, &story::refrain());
    }
}

#[test]
fn what_needs_no_repair_gets_none() {
    let story = Story::told();
    let before = story.files();
    let told = repair(&story, &[]);
    assert_eq!((told.code, told.stdout.as_str()), (0, "nothing to repair: the log is sound\n"));
    story.tear();
    let told = repair(&story, &[CONFIRM, "4096"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.line_with("nothing to repair").contains("none of this was acknowledged"));
    assert_eq!(story.files().len(), before.len());
}

#[test]
fn damage_is_explained_and_only_cut_when_its_place_is_repeated() {
    let story = Story::told();
    let lsn = story.lsns[3];
    story.flip(lsn.get() + 40);
    let before = story.files();
    let told = repair(&story, &[]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage").contains(&format!("offset {lsn} (LSN {lsn}): checksum")));
    assert!(told.line_with("lost").contains("6 whole records"), "{told:?}");
    assert_eq!(told.line_with("kept"), "kept          3 records");
    assert!(told.line_with("nothing was changed").ends_with(&format!("{CONFIRM} {lsn}")));
    let told = repair(&story, &[CONFIRM, &story.lsns[4].to_string()]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    assert!(told.stderr.contains("nothing was changed"), "{told:?}");
    assert!(story.files() == before, "a file was changed");

    let json = repair(&story, &["--dry-run", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json["finding"].as_str(), json["lsn"].as_u64()), (Some("cut"), Some(lsn.get())));
    assert_eq!((json["done"].as_bool(), json["loss"]["records"].as_u64()), (Some(false), Some(6)));
    assert_eq!(repaired(&story), 3);
}

#[test]
fn damage_before_other_segments_and_boots_is_cut_with_all_behind_it() {
    let story = Story::told_with(long);
    drop(story::open(story.path()));
    let log = story::open(story.path());
    story::tell(&log, &story::refrain());
    log.seal().unwrap();
    drop(log);
    story.flip(story.lsns[6].get() + 40);
    assert_eq!(repaired(&story), 6);
}

#[test]
fn a_segment_whose_header_is_damaged_goes_with_all_behind_it() {
    let story = Story::told_with(long);
    story.flip_in(SEGMENT_BYTES, 60);
    assert!(repaired(&story) > 1_000);
}

#[test]
fn a_segment_whose_first_frame_is_damaged_is_emptied() {
    let story = Story::told_with(long);
    story.flip_in(SEGMENT_BYTES, 4_096 + 40);
    assert!(repaired(&story) > 1_000);
}

#[test]
fn a_record_that_does_not_decode_is_cut() {
    let story = Story::told_with(|log| {
        story::tell_nonsense(log);
        story::tell(log, &story::refrain());
    });
    assert_eq!(repaired(&story), 10);
}

#[test]
fn snapshots_beyond_the_cut_are_set_aside_and_the_others_stay() {
    let story = Story::told_with(long);
    let [before, beyond] = [2, 5].map(|place| story.snapshot(story.lsns[place]));
    let beyond_name = beyond.file_name().unwrap().to_str().unwrap();
    story.flip(story.lsns[3].get() + 40);
    let told = repair(&story, &[]);
    assert_eq!(told.code, 0, "a server does not read what the snapshot stands for: {told:?}");
    let begun = format!("sound from the snapshot at LSN {} on", story.lsns[5]);
    assert!(told.line_with("nothing to repair").contains(&begun), "{told:?}");

    Story::flip_file(&beyond, 100);
    let told = repair(&story, &["--dry-run"]);
    assert_eq!(told.line_with("set aside"), format!("set aside     DIR/{beyond_name}"));
    assert_eq!(told.line_with("kept"), "kept          3 records");
    assert_eq!(repaired(&story), 3);
    assert!(before.exists() && !beyond.exists());
}

#[test]
fn a_log_that_ends_before_its_snapshot_is_cut_by_setting_that_aside() {
    let story = Story::told();
    let beyond = story.wrong_snapshot(Lsn::new(story.end.get() + 64), story.end, story.uuid);
    let told = repair(&story, &["--dry-run"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("lost").contains("what the snapshots say beyond that"), "{told:?}");
    assert!(!told.stdout.contains("shorten") && !told.stdout.contains("remove"), "{told:?}");
    assert_eq!(repaired(&story), 10);
    assert!(!beyond.exists());
}

#[test]
fn a_log_without_its_beginning_is_not_cut_before_its_oldest_snapshot() {
    let story = Story::told_at_length();
    let snapshot = story.snapshot(Lsn::new(SEGMENT_BYTES + 4_096));
    let hidden = story.path().join("hidden");
    fs::rename(&snapshot, &hidden).unwrap();
    story.forget_the_beginning();
    story.flip_in(2 * SEGMENT_BYTES, 60);
    let told = repair(&story, &["--dry-run"]);
    assert!(told.line_with("no cut helps").contains("nothing would be left to start from"));
    fs::rename(&hidden, &snapshot).unwrap();
    assert!(repaired(&story) > 1_000);
}

#[test]
fn where_no_cut_helps_it_says_so() {
    let first_header = Story::told();
    first_header.flip(60);
    let newer_frame = Story::told();
    newer_frame.make_newer(newer_frame.lsns[6]);
    let newer_record = Story::told_with(|log| {
        story::tell_riddle(log);
    });
    for (story, why) in [
        (first_header, "nothing stands before it"),
        (newer_frame, "newer version"),
        (newer_record, "newer version"),
    ] {
        let before = story.files();
        let told = repair(&story, &[CONFIRM, "4096"]);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.line_with("no cut helps").contains(why), "{told:?}");
        assert!(story.files() == before, "a file was changed");
    }
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let story = Story::told();
    let log = story::open(story.path());
    let told = repair(&story, &[]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
    assert!(told.stderr.contains("in use by another process"), "{told:?}");
    assert_eq!(repair(&story, &["--dry-run"]).code, 0);
    drop(log);
}
