//! Logs in which nothing is damaged.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::wait_until;
use crate::run::{Run, program, run};
use crate::story::{self, SEGMENT_BYTES, Story};

const LIMIT: Duration = Duration::from_secs(600);
const TOTALS: &str = "users         1
events        1
tickets       10: 2 sold, 0 reserved, 8 available
bookings      2: 0 pending, 1 confirmed, 0 cancelled, 1 expired
confirmed     151.00 EUR
";
const JSON_TOTALS: &str = "\"totals\":{\"users\":1,\"events\":1,\
    \"tickets\":{\"total\":10,\"sold\":2,\"reserved\":0,\"available\":8},\
    \"bookings\":{\"pending\":0,\"confirmed\":1,\"cancelled\":0,\"expired\":1},\
    \"confirmed_amounts\":{\"EUR\":\"151.00\"}}";

#[test]
fn verify_sums_up() {
    let story = Story::told();
    let told = run(story.path(), &["verify"]);
    let expected = format!(
        "directory     DIR
uuid          {}
epoch         1
segments      2
records       10
bytes         {}
end           LSN {}
durable       at least to LSN {}
state         {}
tail          clean: the log was closed in order
{TOTALS}verdict       sound
",
        story.uuid,
        story.end.get() - 4096,
        story.end.get(),
        story.end.get() - 32,
        story.state_hash(),
    );
    assert_eq!(told.stdout, expected, "{told:?}");
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
}

#[test]
fn verify_sums_up_for_machines() {
    let story = Story::told();
    let told = run(story.path(), &["verify", "--json"]);
    let expected = format!(
        "{{\"directory\":\"DIR\",\"verdict\":\"sound\",\"uuid\":\"{}\",\"epoch\":1,\
         \"segments\":2,\"begun\":null,\"records\":10,\"bytes\":{},\"end\":{},\"durable_floor\":{},\
         \"clean\":true,\"torn\":null,\"state_hash\":\"{}\",{JSON_TOTALS},\
         \"snapshots\":[]}}\n",
        story.uuid,
        story.end.get() - 4096,
        story.end.get(),
        story.end.get() - 32,
        story.state_hash(),
    );
    assert_eq!((told.code, told.stdout), (0, expected));
}

#[test]
fn stats_count_by_kind() {
    let story = Story::told();
    let told = run(story.path(), &["stats"]);
    assert_eq!(told.code, 0, "{told:?}");
    for (kind, number, frames) in
        [("user_created", 16, 2), ("held", 20, 2), ("expired", 23, 1), ("seal", 4, 1)]
    {
        let line: Vec<_> = told.line_with(kind).split_whitespace().collect();
        let [number, frames] = [number, frames].map(|number: u32| number.to_string());
        assert_eq!(line[..3], [number.as_str(), kind, frames.as_str()]);
    }
    let files = format!("segments      2 of {SEGMENT_BYTES} bytes, {} in all", 2 * SEGMENT_BYTES);
    assert_eq!(told.line_with("segments      2 of"), files);
    let next = format!("epoch 2 from LSN {} on", SEGMENT_BYTES + 4096);
    assert!(told.line_with("next").contains(&next), "{told:?}");
    assert!(told.line_with("verdict").contains("sound"));

    let json = run(story.path(), &["stats", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let bytes = json["kinds"].as_array().unwrap().iter().map(|kind| kind["bytes"].as_u64());
    assert_eq!(bytes.sum::<Option<u64>>(), Some(story.end.get() - 4096));
    assert_eq!(json["recovery"]["verdict"], "sound");
    assert_eq!(json["next"]["file"], "wal-0000000000100000.seg");
}

#[test]
fn stats_tell_when_and_where_records_are_and_how_long_recovery_takes() {
    let story = Story::told();
    let told = run(story.path(), &["stats", "--segments", "--bucket", "600"]);
    let table: Vec<_> =
        told.stdout.lines().skip_while(|line| !line.contains("600 s from")).collect();
    let cells: Vec<_> = table[1].split_whitespace().collect();
    assert_eq!(cells[..2], ["2023-11-14T22:10:00.000Z", "7"], "{told:?}");
    let cells: Vec<_> = table[2].split_whitespace().collect();
    assert_eq!(cells[..2], ["2023-11-14T22:20:00.000Z", "3"], "{told:?}");
    let file = told.line_with("wal-0000000000000000.seg ");
    assert_eq!(file.split_whitespace().nth(3), Some("10"), "{file}");
    assert!(told.line_with("would take").contains("records/s"), "{told:?}");

    let json = run(story.path(), &["stats", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let records: u64 = json["rates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rate| rate["records"].as_u64().unwrap())
        .sum();
    assert_eq!(records, 10);
    assert_eq!(json["rates"][0]["kinds"]["held"], 2);
    assert_eq!(json["segments"]["files"][0]["records"], 10);
    assert_eq!(json["estimate"]["records"], 10);
    assert!(json["estimate"]["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_torn_tail_is_told_and_is_no_damage() {
    let story = Story::told();
    story.tear();
    let told = run(story.path(), &["verify"]);
    assert_eq!(told.code, 0, "{told:?}");
    let end = story.end;
    let place = format!("DIR/wal-0000000000000000.seg at offset {end} (LSN {end}): ");
    let tail = told.line_with("tail");
    assert!(tail.starts_with(&format!("tail          torn: {place}")), "{tail}");
    assert!(tail.ends_with("; 64 bytes would be dropped"), "{tail}");
    let json = run(story.path(), &["verify", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["torn"]["offset"], end.get());
    assert_eq!(json["torn"]["bytes_dropped"], 64);
    assert_eq!(run(story.path(), &["inspect"]).code, 0);
    assert_eq!(run(story.path(), &["stats"]).code, 0);
}

#[test]
fn an_empty_directory_is_a_log_to_be_begun() {
    let directory = TempDir::new().unwrap();
    let verdict = "verdict       no log: a server would begin one\n";
    let told = run(directory.path(), &["verify"]);
    assert_eq!((told.code, told.stdout), (0, format!("directory     DIR\n{verdict}")));
    let told = run(directory.path(), &["inspect"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    let told = run(directory.path(), &["stats"]);
    assert_eq!(told.code, 0);
    assert!(told.stdout.ends_with(verdict), "{told:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made there");
}

#[test]
fn what_cannot_be_read_is_neither_sound_nor_damaged() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for command in ["verify", "inspect", "stats", "state", "snapshot"] {
        for (path, reason) in
            [(directory.path().join("missing"), "No such file"), (file.clone(), "not a directory")]
        {
            let told = run(&path, &[command]);
            assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{told:?}");
            assert!(told.stderr.starts_with("booking-wal: cannot read DIR"), "{told:?}");
            assert!(told.stderr.contains(reason), "{told:?}");
        }
    }
    let foreign = directory.path().join("wal-notes.txt");
    fs::write(&foreign, "").unwrap();
    let told = run(directory.path(), &["verify"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("wal-notes.txt"), "{told:?}");
}

#[test]
fn wrong_usage_is_told_from_damage() {
    let story = Story::told();
    for arguments in [
        &["repair"][..],
        &["verify", "--fast"],
        &["inspect", "--since", "yesterday"],
        &["inspect", "--user", "ada"],
        &["inspect", "--event", &story::ada()],
        &["inspect", "--kind", "sold"],
        &["inspect", "--ticket", "0/0"],
        &["history"],
        &["history", "--event", "0"],
        &["history", "--event", "0", "--seat", "0"],
        &["repair", "--dry-run"],
        &["stats", "--bucket", "0"],
        &["state", "--at", "yesterday"],
        &["export", "--format", "xml"],
        &["snapshot", "--at", "4096"],
    ] {
        let told = run(story.path(), arguments);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{arguments:?}: {told:?}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let story = Story::told_with(|log| {
        for _ in 0..5_000 {
            story::tell(log, &story::refrain());
        }
    });
    for command in ["inspect", "stats", "verify", "state"] {
        let mut child = program()
            .arg(command)
            .arg(story.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert!(first.ends_with('\n'), "{first:?}");
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    }
}

/// Raises a flag when dropped.
struct RaiseOnDrop<'f>(&'f AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_log_in_use_reads_as_sound_and_grows() {
    let directory = TempDir::new().unwrap();
    let log = story::open(directory.path());
    story::tell_all(&log);
    // Relaxed: what is read is the files.
    let (done, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    let counted = |told: &Run| {
        let records = told.line_with("records").split_whitespace().nth(1).unwrap().to_owned();
        records.parse::<u64>().unwrap()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // One sync a record, so that the log stays short enough to be read in a moment.
                let begun = story::tell(&log, &story::refrain());
                log.kick();
                while log.durable() <= begun {
                    thread::yield_now();
                }
                durable.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also when an assertion fails: the scope waits for the writer.
        let _done = RaiseOnDrop(&done);
        let look = || {
            let others = ["inspect", "stats"].map(|command| run(directory.path(), &[command]));
            (run(directory.path(), &["verify"]), others)
        };
        let first = look();
        let seen = durable.load(Ordering::Relaxed);
        let mut runs = vec![first, look(), look(), look()];
        // One more than was counted may have been seen: it is counted a little later.
        wait_until(LIMIT, "the log has grown", || durable.load(Ordering::Relaxed) > seen + 1);
        runs.push(look());
        for (verify, others) in &runs {
            assert_eq!((verify.code, verify.stderr.as_str()), (0, ""), "{verify:?}");
            assert!(!verify.stdout.contains("tail          clean"), "{verify:?}");
            assert!(others.iter().all(|other| other.code == 0), "a false alarm");
        }
        let counts: Vec<_> = runs.iter().map(|(verify, _)| counted(verify)).collect();
        assert!(counts.is_sorted() && counts.first() < counts.last(), "{counts:?}");
    });
    log.seal().unwrap();
    assert!(run(directory.path(), &["verify"]).stdout.contains("tail          clean"));
}

#[test]
fn nothing_is_changed() {
    let story = Story::told();
    story.tear();
    fs::write(story.path().join("wal-0000000000200000.seg.tmp"), "half-made").unwrap();
    let before = story.files();
    for arguments in [
        &["verify"][..],
        &["inspect"],
        &["inspect", "--raw", "--json"],
        &["stats"],
        &["stats", "--segments", "--json"],
        &["history", "--ticket", "0/1"],
        &["repair", "--cut-tail", "--dry-run"],
        &["state"],
        &["state", "--event", "0", "--at", "4500"],
        &["export", "--format", "ndjson"],
        &["export", "--format", "csv"],
    ] {
        assert_eq!(run(story.path(), arguments).code, 0, "{arguments:?}");
    }
    assert!(story.files() == before, "a file was changed");
}
