//! Clocks that step, a machine that is suspended or restarted, a process that is stopped: a hold ends
//! exactly at its deadline all the same, and the log never goes back in time.
//!
//! The server reads its clocks from the kernel's page in its own memory, without a system call and
//! without the C library. A small library, preloaded into it, steps what that page tells
//! (`stepped_clock.c`); the process does not notice otherwise. That it is in effect shows in the time
//! of the server's own log lines.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use booking_manager::codec::decode_record;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wal::Reader;

use crate::audit::expect_sound;
use crate::harness::{Reply, Server, Settings, now, observe_for, unix_millis, wait_until};
use crate::means::{LIMIT, quick_directory, run, skipped};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/stepped_clock.c");
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// How far the machine's own time of day may be set by somebody else meanwhile, in milliseconds.
const SLACK: i64 = 1_000;
/// What is lost of times that are told in whole milliseconds, a few of which are compared.
const ROUNDING: i64 = 3;
const ROUNDED: Duration = Duration::from_millis(ROUNDING.unsigned_abs());
/// A log of which two segments are made.
const DATA_BYTES: u64 = 256 << 20;

/// The clocks of one server, and the directory of its log.
struct Clocks {
    /// Of the library, which may not be executed from everywhere.
    directory: TempDir,
    data: TempDir,
    library: PathBuf,
    steps: File,
    /// Of the time of day and of the time since boot, in milliseconds.
    now: (i64, i64),
}

impl Clocks {
    /// `None`, and said, where there can be none.
    fn new() -> Option<Self> {
        let directory = TempDir::with_prefix("booking-manager-clocks-").unwrap();
        let library = directory.path().join("stepped_clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(SOURCE);
        if let Err(why) = run(&mut compiler) {
            skipped(&format!("the stepped clock was not compiled: {why}"));
            return None;
        }
        let steps = File::create(directory.path().join("steps")).unwrap();
        let data = quick_directory(DATA_BYTES);
        let clocks = Self { directory, data, library, steps, now: (0, 0) };
        clocks.write();
        Some(clocks)
    }

    fn write(&self) {
        for (place, millis) in [(0, self.now.0), (8, self.now.1)] {
            self.steps.write_all_at(&(millis * 1_000_000).to_le_bytes(), place).unwrap();
        }
    }

    /// Steps the time of day to so much beside the true one.
    fn step_wall(&mut self, millis: i64) {
        self.now.0 = millis;
        self.write();
    }

    /// Steps the time since boot to so much beside the true one.
    fn step_boot(&mut self, millis: i64) {
        self.now.1 = millis;
        self.write();
    }

    /// A server with these clocks, whose holds last for so many seconds.
    fn server(&self, hold_ttl_seconds: u32) -> Server {
        Settings::new()
            .hold_ttl_seconds(hold_ttl_seconds)
            .env("LD_PRELOAD", self.library.display())
            .env("STEPPED_CLOCK", self.directory.path().join("steps").display())
            .data_dir(&self.data.path().join("data"))
            .start()
    }

    /// Sound, and no record is older than one of an earlier life.
    #[track_caller]
    fn check_log(&self) {
        let directory = self.data.path().join("data");
        expect_sound(&directory);
        let mut reader = Reader::open(&directory).unwrap();
        let bases: Vec<_> =
            reader.segments().iter().map(|s| (s.header.base, s.header.epoch)).collect();
        let (mut newest, mut newest_before, mut epoch) = (0, 0, 0);
        let mut records = 0;
        while let Some(record) = reader.next_record().unwrap() {
            let (_, of) = bases.iter().rfind(|(base, _)| *base <= record.lsn).unwrap();
            if *of != epoch {
                (epoch, newest_before) = (*of, newest);
            }
            let fact = decode_record(&record).unwrap().expect("a kind of this version");
            let at = fact.at().millis();
            assert!(at >= newest_before, "{at} was logged after a life that had seen {newest}");
            newest = newest.max(at);
            records += 1;
        }
        assert!(records > 0, "an empty log shows nothing");
    }
}

fn millis(reply: &Reply, member: &str) -> i64 {
    let time: jiff::Timestamp = reply.str(member).parse().expect("RFC 3339");
    time.as_millisecond()
}

fn whole_millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).expect("less than centuries")
}

/// Fails the test unless a number of milliseconds lies between two others, but for so many.
#[track_caller]
fn expect_between(low: i64, millis: i64, high: i64, slack: i64, what: &str) {
    let fits = (low - slack..=high + slack).contains(&millis);
    assert!(fits, "{what}: {millis} is not between {low} and {high}");
}

/// The time that the server's newest log line bears.
fn newest_line(server: &Server) -> i64 {
    let text = server.stderr();
    let stamps = text.lines().rev().filter_map(|line| line.split_whitespace().next());
    let mut stamps = stamps.filter_map(|stamp| stamp.parse::<jiff::Timestamp>().ok());
    stamps.next().expect("lines bear times").as_millisecond()
}

/// Makes the server log a line, and waits until its time is that far beside the true one.
#[track_caller]
fn expect_stepped(server: &Server, millis: i64) {
    wait_until(LIMIT, "the process sees the step", || {
        let before = unix_millis();
        // A refusal of the admin socket is not logged; a snapshot, or that there is none, is.
        server.create_user();
        let _ = crate::audit::ask_for_snapshot(&server.data_dir());
        let line = newest_line(server) - millis;
        (before - SLACK..=unix_millis() + SLACK).contains(&line)
    });
}

/// A hold, and when its request had been sent and was answered.
struct Timed {
    booking: String,
    user: String,
    expires_at: String,
    sent: Instant,
    answered: Instant,
    /// The same by the machine's time of day.
    sent_at: i64,
    answered_at: i64,
}

fn hold(server: &Server) -> (Timed, Reply) {
    let (user, show) = (server.create_user(), server.create_show(1));
    let (sent, sent_at) = (now(), unix_millis());
    let reply = server.book(&user, &show.id, &show.tickets).expect(201);
    let booking = reply.str("booking_id").to_owned();
    let expires_at = reply.str("expires_at").to_owned();
    let (answered, answered_at) = (now(), unix_millis());
    (Timed { booking, user, expires_at, sent, answered, sent_at, answered_at }, reply)
}

impl Timed {
    /// Fails the test unless the deadline lies so many milliseconds behind the request, by the
    /// machine's time of day.
    #[track_caller]
    fn expect_deadline_after(&self, millis: i64, what: &str) {
        let expires_at: jiff::Timestamp = self.expires_at.parse().expect("RFC 3339");
        let made_at = expires_at.as_millisecond() - millis;
        expect_between(self.sent_at, made_at, self.answered_at, SLACK, what);
    }

    /// Fails the test unless so many milliseconds passed between an earlier request and this one.
    #[track_caller]
    fn expect_made_after(&self, earlier: &Self, millis: i64, what: &str) {
        let least = whole_millis(self.sent - earlier.answered);
        let most = whole_millis(self.answered - earlier.sent);
        expect_between(least, millis, most, ROUNDING, what);
    }

    /// Fails the test unless the booking has this status, and its deadline as it was told.
    #[track_caller]
    fn expect(&self, server: &Server, status: &str) {
        let read = server.booking(&self.booking).expect(200);
        assert_eq!(read.str("status"), status, "{}", read.text);
        assert_eq!(read.str("expires_at"), self.expires_at);
    }

    /// Whether the hold has ended; it must have after its deadline, and not before.
    #[track_caller]
    fn has_ended(&self, server: &Server, ttl: Duration) -> bool {
        let before = now();
        let read = server.booking(&self.booking).expect(200);
        let after = now();
        assert_eq!(read.str("expires_at"), self.expires_at);
        let expired = read.str("status") == "expired";
        if expired {
            assert!(after + ROUNDED >= self.sent + ttl, "it ended early");
        } else {
            assert_eq!(read.str("status"), "pending", "{}", read.text);
            assert!(before < self.answered + ttl + ROUNDED, "it ended late");
        }
        expired
    }

    /// The hold is pending up to its deadline, not after it, and cannot be confirmed then.
    #[track_caller]
    fn expect_to_end_after(&self, server: &Server, ttl: Duration) {
        wait_until(LIMIT + ttl, "the hold has ended", || self.has_ended(server, ttl));
        server.confirm(&self.booking, &self.user).expect_refusal(409, "booking_expired");
    }
}

#[test]
fn steps_of_the_time_of_day_change_nothing_in_a_running_server() {
    const TTL: Duration = Duration::from_secs(6);
    let Some(mut clocks) = Clocks::new() else { return };
    let server = clocks.server(6);
    let (first, _) = hold(&server);
    first.expect_deadline_after(6_000, "a deadline");
    for step in [HOUR, -HOUR, DAY, -DAY] {
        clocks.step_wall(step);
        expect_stepped(&server, step);
        let (made, told) = hold(&server);
        made.expect_deadline_after(6_000, "a later deadline");
        assert!(told.json["expires_in_ms"].as_u64() <= Some(6_000), "{}", told.text);
        made.has_ended(&server, TTL);
    }
    first.expect_to_end_after(&server, TTL);
    let (last, _) = hold(&server);
    clocks.step_wall(HOUR);
    last.expect_to_end_after(&server, TTL);
    drop(server);
    clocks.check_log();
}

#[test]
fn a_machine_that_was_suspended_has_not_stopped_the_time() {
    let Some(mut clocks) = Clocks::new() else { return };
    let server = clocks.server(600);
    let (held, told) = hold(&server);
    clocks.step_boot(597_000);
    held.expect_to_end_after(&server, Duration::from_secs(3));
    let (later, told_later) = hold(&server);
    let passed = millis(&told_later, "expires_at") - millis(&told, "expires_at");
    later.expect_made_after(&held, passed - 597_000, "the time that passed");
    clocks.step_boot(597_000 + 601_000);
    server.confirm(&later.booking, &later.user).expect_refusal(409, "booking_expired");
    later.expect(&server, "expired");
    drop(server);
    clocks.check_log();
}

#[test]
fn a_restart_of_the_machine_neither_ends_nor_lengthens_a_hold() {
    let Some(mut clocks) = Clocks::new() else { return };
    let mut before = None;
    // Up for a month, then for no time at all, then for an hour.
    for boot in [30 * DAY, 0, HOUR] {
        clocks.step_boot(boot);
        let mut server = clocks.server(600);
        let (held, _) = hold(&server);
        held.expect_deadline_after(600_000, "a deadline");
        if let Some(earlier) = before.replace(held) {
            Timed::expect(&earlier, &server, "pending");
        }
        server.kill9();
    }
    let last = before.expect("three lives");
    let server = clocks.server(600);
    server.confirm(&last.booking, &last.user).expect(200);
    drop(server);
    clocks.check_log();
}

#[test]
fn a_hold_ends_on_time_across_a_restart_of_the_machine() {
    const TTL: Duration = Duration::from_secs(8);
    let Some(mut clocks) = Clocks::new() else { return };
    clocks.step_boot(30 * DAY);
    let mut server = clocks.server(8);
    let (held, _) = hold(&server);
    server.kill9();
    clocks.step_boot(0);
    let server = clocks.server(8);
    held.expect_to_end_after(&server, TTL);
    drop(server);
    clocks.check_log();
}

#[test]
fn a_time_of_day_that_went_back_between_two_lives_revives_nothing() {
    let Some(mut clocks) = Clocks::new() else { return };
    let mut server = clocks.server(1);
    let (ended, _) = hold(&server);
    ended.expect_to_end_after(&server, Duration::from_secs(1));
    server.kill9();
    let mut server = clocks.server(600);
    let (held, told) = hold(&server);
    let mut newest = millis(&told, "created_at");
    let mut begun = held.sent;
    server.kill9();
    for step in [-HOUR, -DAY] {
        clocks.step_wall(step);
        let mut server = clocks.server(600);
        // The clock goes on from the newest time in the log.
        ended.expect(&server, "expired");
        server.confirm(&ended.booking, &ended.user).expect_refusal(409, "booking_expired");
        held.expect(&server, "pending");
        let (later, told) = hold(&server);
        let made = millis(&told, "created_at");
        assert!(made >= newest, "made at {made}, and the log knows {newest}");
        assert_eq!(millis(&told, "expires_at"), made + 600_000);
        let most = newest + whole_millis(later.answered - begun);
        expect_between(newest, made, most, ROUNDING, "a time that goes on");
        (newest, begun) = (made, later.sent);
        server.kill9();
    }
    clocks.check_log();
}

/// An hour by the time of day between two lives is an hour: nobody can tell it from one that passed.
/// It also shows that a server's time comes from the clock that these tests step.
#[test]
fn a_time_of_day_that_went_forward_between_two_lives_ends_what_was_due() {
    let Some(mut clocks) = Clocks::new() else { return };
    let mut server = clocks.server(600);
    let (held, _) = hold(&server);
    server.kill9();
    clocks.step_wall(HOUR);
    let mut server = clocks.server(600);
    held.expect(&server, "expired");
    server.confirm(&held.booking, &held.user).expect_refusal(409, "booking_expired");
    let (ahead, told) = hold(&server);
    ahead.expect_deadline_after(HOUR + 600_000, "a deadline");
    server.kill9();
    clocks.step_wall(0);
    let server = clocks.server(600);
    held.expect(&server, "expired");
    let (last, told_last) = hold(&server);
    // The time goes on from that of the life before, without the time between the two.
    let (least, most) = (millis(&told, "expires_at"), last.answered_at + HOUR + 600_000);
    expect_between(least, millis(&told_last, "expires_at"), most, SLACK, "not back");
    drop(server);
    clocks.check_log();
}

#[test]
fn a_process_that_was_stopped_across_a_deadline_confirms_nothing() {
    let Some(clocks) = Clocks::new() else { return };
    let server = clocks.server(2);
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).unwrap();
    let (held, _) = hold(&server);
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    };
    wait_until(LIMIT, "the process is stopped", stopped);
    let client = server.client();
    let (booking, user) = (held.booking.clone(), held.user.clone());
    // It lies in the socket until the process goes on.
    let confirmation = std::thread::spawn(move || client.confirm(&booking, &user));
    observe_for(Duration::from_secs(3));
    kill_process(pid, Signal::CONT).unwrap();
    confirmation.join().unwrap().expect_refusal(409, "booking_expired");
    held.expect(&server, "expired");
    let (later, _) = hold(&server);
    later.expect_deadline_after(2_000, "a new deadline");
    drop(server);
    clocks.check_log();
}
