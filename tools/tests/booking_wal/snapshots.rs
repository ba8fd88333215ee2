//! Snapshots and the log, each checked against the other.

use std::fs;
use std::path::Path;

use uuid::Uuid;
use wal::Lsn;

use crate::run::{Run, run};
use crate::story::{SEGMENT_BYTES, Story, open};

fn verify(story: &Story) -> Run {
    run(story.path(), &["verify"])
}

fn shown(path: &Path) -> String {
    format!("DIR/{}", path.file_name().unwrap().to_str().unwrap())
}

fn first_of(text: &str, lsn: Lsn) -> String {
    format!("{text}snapshot at LSN {lsn}")
}

#[test]
fn snapshots_that_hold_what_the_log_makes_are_sound() {
    let story = Story::told();
    let files = [story.lsns[0], story.lsns[4], story.end].map(|lsn| (lsn, story.snapshot(lsn)));
    let told = verify(&story);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    let lines: Vec<_> = told.stdout.lines().filter(|line| line.starts_with("snapshot")).collect();
    let expected: Vec<_> = files
        .iter()
        .zip([0, 4, 10])
        .map(|((lsn, path), records)| {
            let bytes = fs::metadata(path).unwrap().len();
            format!("snapshot      LSN {lsn}: sound, {records} records, {bytes} bytes")
        })
        .collect();
    assert_eq!(lines, expected);
    assert_eq!(told.line_with("verdict"), "verdict       sound");
    let json = run(story.path(), &["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["snapshots"][2]["condition"], "sound");
    assert_eq!(json["snapshots"][2]["state_hash"], json["state_hash"]);
    assert_eq!(json["snapshots"][2]["made"], "2023-11-14T22:13:20.000Z");
}

/// As a server makes it that is asked for one and killed before anything was logged.
#[test]
fn a_snapshot_of_an_epoch_in_which_nothing_was_logged_is_sound() {
    let story = Story::told();
    let log = open(story.path());
    let begun = log.durable();
    drop(log);
    assert!(begun > story.end);
    story.snapshot(begun);
    let told = verify(&story);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.line_with("snapshot  ").contains(": sound, 10 records"), "{told:?}");
    let stats = run(story.path(), &["stats"]);
    assert_eq!(stats.code, 0, "{stats:?}");
    assert_eq!(
        stats.line_with("begun"),
        first_of("begun         at the ", begun) + ", after 10 records"
    );
}

#[test]
fn a_damaged_newest_snapshot_is_named_and_a_server_would_fall_back() {
    for damage in ["header", "block", "cut short", "empty", "longer"] {
        let story = Story::told();
        let [older, newest] = [story.lsns[4], story.lsns[8]].map(|lsn| story.snapshot(lsn));
        let mut bytes = fs::read(&newest).unwrap();
        match damage {
            "header" => bytes[40] ^= 1,
            "block" => bytes[130] ^= 1,
            "cut short" => bytes.truncate(bytes.len() - 1),
            "empty" => bytes.clear(),
            _ => bytes.push(0),
        }
        fs::write(&newest, bytes).unwrap();
        let told = verify(&story);
        assert_eq!(told.code, 1, "{damage}: {told:?}");
        let place =
            format!("LSN {}: damaged: {} is damaged at offset ", story.lsns[8], shown(&newest));
        assert!(told.line_with(&place).starts_with("snapshot "), "{told:?}");
        assert!(told.line_with(&format!("LSN {}: ", story.lsns[4])).contains("sound"), "{told:?}");
        let verdict =
            first_of("verdict       damaged: a server would start, from the ", story.lsns[4]);
        assert_eq!(told.line_with("verdict"), verdict);
        let told = run(story.path(), &["stats"]);
        assert_eq!(told.code, 1, "{damage}: {told:?}");
        assert_eq!(
            told.line_with("begun"),
            first_of("begun         at the ", story.lsns[4]) + ", after 4 records"
        );
        fs::remove_file(older).unwrap();
        let verdict = "verdict       damaged: a server would start, from the log's beginning";
        assert_eq!(verify(&story).line_with("verdict"), verdict);
    }
}

#[test]
fn a_snapshot_of_another_state_or_log_or_place_is_damage() {
    let story = Story::told();
    let (lsn, other) = (story.lsns[9], Uuid::from_u128(7));
    let check = |path: &Path, reason: &str, verdict: &str| {
        let told = verify(&story);
        assert_eq!(told.code, 1, "{told:?}");
        let line = told.line_with("snapshot  ");
        assert!(line.contains(&shown(path)) && line.contains(reason), "{line}");
        assert!(told.line_with("verdict").contains(verdict), "{told:?}");
    };
    let starts = "damaged: a server would start";
    let wrong = story.wrong_snapshot(lsn, story.lsns[8], story.uuid);
    check(&wrong, "is not what the log makes there: 9 records", starts);
    let foreign = story.wrong_snapshot(lsn, lsn, other);
    let reason = format!("is of another log ({other} instead of {})", story.uuid);
    check(&foreign, &reason, "refused: a server would not start");
    let told = run(story.path(), &["snapshot"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage").contains(&reason), "{told:?}");
    let told = run(story.path(), &["repair", "--cut-tail", "--dry-run"]);
    assert_eq!(told.line_with("set aside"), format!("set aside     {}", shown(&foreign)));
    assert!(told.line_with("the log would end").ends_with(&format!("LSN {}", story.end)));
    let newer = story.snapshot(story.lsns[5]);
    let moved = story.path().join(booking_manager::image::snapshot::file_name(lsn));
    fs::rename(newer, &moved).unwrap();
    let beginning = "a server would start, from the log's beginning";
    check(&moved, &format!("holds the state at LSN {}", story.lsns[5]), beginning);
    fs::remove_file(moved).unwrap();

    let lsn = story.lsns[4];
    let within = story.wrong_snapshot(Lsn::new(lsn.get() + 32), story.lsns[5], story.uuid);
    let told = verify(&story);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("snapshot  ").contains("is of a position within a record"), "{told:?}");
    let stop = format!("would stop at {} at offset 0 (LSN {lsn}): its position", shown(&within));
    assert!(told.line_with("server").contains(&stop), "{told:?}");
    assert_eq!(told.line_with("verdict"), "verdict       refused: a server would not start");
}

#[test]
fn a_snapshot_of_a_newer_version_is_named() {
    let story = Story::told();
    let path = story.snapshot(story.lsns[4]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] = 2;
    let crc = crc32(&bytes[12..96]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let told = verify(&story);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("snapshot  ").contains("newer version of this program"), "{told:?}");
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}

#[test]
fn a_log_that_ends_before_its_snapshot_is_damage() {
    let story = Story::told();
    let beyond = Lsn::new(story.end.get() + 64);
    let path = story.wrong_snapshot(beyond, story.end, story.uuid);
    let end = story.end;
    for whole in [true, false] {
        if !whole {
            Story::flip_file(&path, 50);
        }
        let told = verify(&story);
        assert_eq!(told.code, 1, "{told:?}");
        let place =
            format!("damage        DIR/wal-0000000000000000.seg at offset {end} (LSN {end}): ");
        let damage = told.line_with("damage   ");
        assert!(damage.starts_with(&place), "{damage}");
        assert!(
            damage.ends_with(&format!(
                "the log ends here, before {} (known to have been durable up to LSN {beyond})",
                &shown(&path)[4..]
            )),
            "{damage}"
        );
        assert_eq!(told.line_with("verdict"), "verdict       refused: a server would not start");
    }
    fs::remove_file(story.segment()).unwrap();
    fs::remove_file(story.path().join("wal-0000000000100000.seg")).unwrap();
    let told = verify(&story);
    assert_eq!(told.code, 1, "no log, and something was durable: {told:?}");
    assert!(told.line_with("verdict").contains("refused"), "{told:?}");
}

#[test]
fn a_log_without_its_beginning_is_checked_from_its_oldest_usable_snapshot_on() {
    let story = Story::told_at_length();
    let [early, oldest, newest] =
        [story.lsns[4], Lsn::new(SEGMENT_BYTES), story.end].map(|lsn| (lsn, story.snapshot(lsn)));
    let whole = verify(&story);
    story.forget_the_beginning();
    let told = verify(&story);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.line_with("begun").starts_with(&first_of("begun         at the ", oldest.0)),
        "{told:?}"
    );
    for line in ["records  ", "state  ", "end  ", "bookings  "] {
        assert_eq!(told.line_with(line), whole.line_with(line));
    }
    let condition = |lsn: Lsn| told.line_with(&format!("snapshot      LSN {lsn}: "));
    assert!(condition(early.0).contains("whole, not compared"), "{told:?}");
    assert!(condition(oldest.0).contains("whole, not compared"), "{told:?}");
    assert!(condition(newest.0).contains("sound"), "{told:?}");

    // What stands before the newest snapshot does not keep a server from starting.
    // In the first frame's header: a padding frame may have nothing behind it.
    story.flip_in(SEGMENT_BYTES, 4_096 + 20);
    let told = verify(&story);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(
        told.line_with("damage  ").contains("wal-0000000000100000.seg at offset 4096"),
        "{told:?}"
    );
    let verdict = first_of("verdict       damaged: a server would start, from the ", newest.0);
    assert_eq!(told.line_with("verdict"), verdict);

    for (_, path) in [oldest, newest] {
        fs::remove_file(path).unwrap();
    }
    let told = verify(&story);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.line_with("damage  ").contains("no usable snapshot is here"), "{told:?}");
    assert_eq!(told.line_with("verdict"), "verdict       refused: a server would not start");
}

#[test]
fn stats_list_snapshots_and_what_recovery_would_read() {
    let story = Story::told_at_length();
    let lsn = Lsn::new(2 * SEGMENT_BYTES);
    let path = story.snapshot(lsn);
    let told = run(story.path(), &["stats"]);
    assert_eq!(told.code, 0, "{told:?}");
    let bytes = fs::metadata(path).unwrap().len();
    let line = told.line_with(&format!("snapshot      LSN {lsn}: whole, "));
    assert!(
        line.contains(&format!(" records, {bytes} bytes, made ")) && line.ends_with(" s ago"),
        "{line}"
    );
    let tail = story.end.get() - lsn.get() - 4_096;
    assert!(told.line_with("would take").contains(&format!("{tail} bytes of tail")), "{told:?}");
    let json = run(story.path(), &["stats", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["recovery"]["begun"]["lsn"], lsn.get());
    assert_eq!(json["estimate"]["bytes"], tail);
    assert_eq!(json["snapshots"][0]["bytes"], bytes);
}
