//! `inspect --follow` beside a log that grows.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wal::Log;

use crate::run::program;
use crate::story::{self, SEGMENT_BYTES};

struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn of(directory: &TempDir) -> Self {
        let mut child = program()
            .args(["inspect", "--follow", "--json"])
            .arg(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the next line; gives the LSN in it.
    fn next(&mut self) -> u64 {
        let line = self.lines.next().unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line["lsn"].as_u64().unwrap()
    }

    /// Waits for the end, in which nothing may be wrong.
    fn ends(self) {
        let Self { child, lines } = self;
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}

fn tell(log: &Log) -> u64 {
    log.kick();
    story::tell_when_there_is_room(log, &story::refrain()).get()
}

#[test]
fn records_come_as_they_are_written_also_in_the_next_segment_until_interrupted() {
    let directory = TempDir::new().unwrap();
    let mut follower = Follower::of(&directory);
    let log = story::open(directory.path());
    let mut last = 0;
    for _ in 0..3 {
        last = tell(&log);
        assert_eq!(follower.next(), last, "at once, with the log open");
    }
    let mut told = 0;
    while last < SEGMENT_BYTES + 8_192 {
        last = tell(&log);
        told += 1;
    }
    for left in (0..told).rev() {
        let lsn = follower.next();
        assert_eq!(lsn == last, left == 0, "each once, in order");
    }
    let pid = Pid::from_child(&follower.child);
    kill_process(pid, Signal::INT).unwrap();
    assert!(follower.lines.next().is_none(), "nothing more was told");
    follower.ends();
}

#[test]
fn a_follower_ends_when_nobody_reads_it_though_nothing_comes() {
    let directory = TempDir::new().unwrap();
    let log = story::open(directory.path());
    let lsn = tell(&log);
    let mut follower = Follower::of(&directory);
    assert_eq!(follower.next(), lsn);
    follower.ends();
}

#[test]
fn a_follower_goes_on_with_the_next_boot() {
    let directory = TempDir::new().unwrap();
    let log = story::open(directory.path());
    let first = tell(&log);
    let mut follower = Follower::of(&directory);
    assert_eq!(follower.next(), first);
    log.seal().unwrap();
    drop(log);
    let log = story::open(directory.path());
    let second = tell(&log);
    assert!(second > SEGMENT_BYTES);
    assert_eq!(follower.next(), second);
    follower.ends();
}
