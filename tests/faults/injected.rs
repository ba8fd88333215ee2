//! System calls that fail, or that are the last before a kill: the N-th of each kind in each thread
//! of a real server, one in a run.
//!
//! What must hold each time: nothing that was acknowledged is lost; a failed sync, or anything else
//! that leaves the log in doubt, ends the service (503 for all, then an exit code); what can be waited
//! for, a full disk above all, does not, and reads go on; and what is left on the disk is sound, which
//! `booking-wal verify` and a new server agree on. A server that starts in spite of a fault serves
//! all that was told before. One that is told to stop ends by itself, and cleanly only if its log
//! was synced.
//!
//! That nothing was acknowledged whose sync failed cannot be seen afterwards, as the bytes are in
//! memory still: each acknowledgement of a server that starts or works is held against a trace of the
//! syncer when it comes.
//!
//! First the calls of a run without a fault are counted, by thread and name; only those on files of
//! the data directory count. Then for each of them, and each fault, the same script runs again. The
//! long run takes all, the quick one the first of each kind and a random sample of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::thread;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tempfile::TempDir;

use crate::audit::{Sound, ask_for_snapshot, expect_sound, logged, restart_soundly};
use crate::harness::{Server, Settings, wait_until};
use crate::means::{Extent, LIMIT, extent, quick_directory, report, skipped};
use crate::script::{Length, Played, Told, end_of, enlarge, play};
use crate::trace::{
    Call, Role, Strace, Syncs, after_fault, calls, has_begun, is_possible, launcher,
};

const SIGKILL: i32 = 9;
/// The exit code of a server whose disk has failed.
const INPUT_OUTPUT: i32 = 74;
/// Runs at a time: most of one is waiting for processes to start and to end.
const AT_ONCE: usize = 6;
/// Of each part, beyond the first call of each kind, in the quick run.
const SAMPLE: usize = 6;
const PLACE_BYTES: u64 = 256 << 20;
/// How long a thread is held in a call while the server is told to stop: longer than the
/// checkpoints take to notice, which end before the log does.
const HELD_MICROSECONDS: u64 = 3_000_000;

/// What happens instead of a call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    Eio,
    Enospc,
    /// `ENOSPC`, for all calls from there on, until the tracer goes.
    StaysFull,
    Kill,
}

/// What the server does when the fault comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Starts,
    Works,
    /// It has been, or is about to be, sent SIGTERM.
    Stops,
}

/// One run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Case {
    phase: Phase,
    role: Role,
    name: String,
    ordinal: usize,
    fault: Fault,
}

/// What a fault must lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// The process is killed.
    Killed,
    /// The log has failed.
    Stops,
    /// The service goes on, or ends cleanly if it was told to.
    GoesOn,
    /// The start fails.
    Refuses,
    /// A start that fails, or goes on.
    Either,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    Killed,
    Stopped,
    WentOn,
    /// This time the thread made fewer calls.
    NotMet,
}

/// What the runs are about: a thread, and a phase of the server's life. Starts are the first
/// thread's, on nothing or on what an earlier life left.
struct Part {
    phase: Phase,
    role: Role,
    /// What a server left that was killed.
    left: Option<(TempDir, Told, Sound)>,
}

impl Fault {
    fn applies(self, phase: Phase, role: Role, name: &str) -> bool {
        let takes_no_space = ["pread64", "read", "getdents64", "flock", "close"].contains(&name);
        // Elsewhere files are closed only after they have served.
        let lets_go = ["flock", "close"].contains(&name);
        match self {
            Self::Eio | Self::Kill => phase == Phase::Stops || !lets_go,
            Self::Enospc => !takes_no_space,
            Self::StaysFull => {
                (phase, role) == (Phase::Works, Role::Preparer)
                    && ["fallocate", "pwrite64", "openat"].contains(&name)
            }
        }
    }
}

/// As strace takes it: the first call of that name takes long.
fn hold(name: &str) -> String {
    format!("{name}:delay_enter={HELD_MICROSECONDS}:when=1")
}

impl Case {
    /// As strace takes it, together with the call that the thread is held in, if it is.
    fn injections(&self, held: Option<&str>) -> Vec<String> {
        let Self { name, ordinal, fault, .. } = self;
        let (what, on) = match fault {
            Fault::Eio => ("error=EIO", ""),
            Fault::Enospc => ("error=ENOSPC", ""),
            Fault::StaysFull => ("error=ENOSPC", "+"),
            Fault::Kill => ("signal=KILL", ""),
        };
        // Of two for calls of one name the second would count alone.
        if held == Some(name) && *ordinal == 1 {
            return vec![format!("{}:{what}", hold(name))];
        }
        let held = held.map(hold);
        held.into_iter().chain([format!("{name}:{what}:when={ordinal}{on}")]).collect()
    }

    fn due(&self) -> Due {
        let full = matches!(self.fault, Fault::Enospc | Fault::StaysFull);
        match self.role {
            _ if self.fault == Fault::Kill => Due::Killed,
            // The log is synced and sealed by then: what is not removed or closed hurts nobody.
            Role::Main if self.phase == Phase::Stops => Due::GoesOn,
            // What may not be on the disk must not be served.
            Role::Main if self.name.ends_with("sync") => Due::Refuses,
            Role::Main => Due::Either,
            // No booking depends on a snapshot, nor on the removal of what is old.
            Role::Checkpoint => Due::GoesOn,
            // Making a segment can be tried again as long as it is nobody's yet.
            Role::Preparer
                if full && ["openat", "fallocate", "pwrite64", "rename"].contains(&&*self.name) =>
            {
                Due::GoesOn
            }
            // What remains of a segment that nobody entered is removed by the next start.
            Role::Preparer if ["close", "unlink"].contains(&&*self.name) => Due::GoesOn,
            Role::Preparer | Role::Syncer => Due::Stops,
        }
    }
}

fn settings() -> Settings {
    Settings::new()
        .env("WAL_SEGMENT_BYTES", 1 << 20)
        .env("WAL_RETAIN_BYTES", 0)
        .env("REQUEST_TIMEOUT_SECONDS", 10)
}

fn directory() -> TempDir {
    quick_directory(PLACE_BYTES)
}

/// Copies the files of a data directory.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

impl Part {
    /// A server on nothing, one of whose threads is looked at.
    fn of(phase: Phase, role: Role) -> Self {
        Self { phase, role, left: None }
    }

    /// A server that starts on a log with snapshots, with a segment that was made ahead, and with
    /// half of a segment and of a snapshot.
    fn starting() -> Self {
        let left = directory();
        let data = left.path().join("data");
        let mut server = settings().data_dir(&data).start();
        let told = Told::begin(&server);
        let played = play(&mut server, told, Length::Full, None);
        assert_eq!(played.ended, None);
        server.kill9();
        fs::write(data.join("wal-00000000deadb000.seg.tmp"), [1; 8_192]).unwrap();
        fs::write(data.join("snapshot-00000000deadbeef.snap.tmp"), [1; 8_192]).unwrap();
        let sound = expect_sound(&data);
        Self { left: Some((left, played.told, sound)), ..Self::of(Phase::Starts, Role::Main) }
    }

    fn length(&self) -> Length {
        match self.role {
            Role::Main | Role::Syncer => Length::Short,
            Role::Preparer | Role::Checkpoint => Length::Full,
        }
    }

    /// As all others, unless the syncer is looked at while it stops: nothing is synced before.
    fn settings(&self) -> Settings {
        match (self.phase, self.role) {
            (Phase::Stops, Role::Syncer) => settings().durability("interval:60000"),
            _ => settings(),
        }
    }

    /// The call that the thread is in the middle of while the server is told to stop, so that the
    /// rest of what it does comes afterwards in each run.
    fn held(&self) -> Option<&'static str> {
        match (self.phase, self.role) {
            (Phase::Stops, Role::Preparer) => Some("fallocate"),
            (Phase::Stops, Role::Checkpoint) => Some("fdatasync"),
            _ => None,
        }
    }

    /// All runs that there can be, by a run without a fault.
    fn cases(&self) -> Vec<Case> {
        let root = directory();
        let (data, output) = (root.path().join("data"), root.path().join("trace"));
        let held: Vec<String> = self.held().map(hold).into_iter().collect();
        let mut server = self.start(&data, &held, &output).expect("nothing fails");
        let ended = match self.phase {
            Phase::Starts => None,
            Phase::Works => self.work(&mut server, &[], &output).ended,
            Phase::Stops => self.stop(&mut server, &held, &output).ended,
        };
        if self.phase == Phase::Stops {
            assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", server.stderr());
        } else {
            assert_eq!(ended, None);
            server.kill9();
        }
        let mut cases = Vec::new();
        let mut calls = calls(&output, &data);
        // That of a directory writes nothing: the standard library panics if it fails.
        let inside = format!("{}/", data.display());
        calls.retain(|call| call.name != "close" || call.line.contains(&inside));
        let is_held = |call: &Call| self.held().is_some_and(|held| call.name == held);
        let before = |call: &Call| self.held().is_some() && !is_held(call);
        for call in calls.into_iter().skip_while(before) {
            for fault in [Fault::Eio, Fault::Enospc, Fault::StaysFull, Fault::Kill] {
                // strace does not kill in a call that it holds.
                let is_possible = fault != Fault::Kill || !is_held(&call);
                if is_possible && fault.applies(self.phase, self.role, &call.name) {
                    let (name, ordinal) = (call.name.clone(), call.ordinal);
                    cases.push(Case { phase: self.phase, role: self.role, name, ordinal, fault });
                }
            }
        }
        cases
    }

    /// Starts a server on a copy of what was left, or on nothing; its first thread is traced if
    /// its start is what is looked at.
    fn start(&self, data: &Path, faults: &[String], output: &Path) -> Result<Server, ExitStatus> {
        let mut settings = self.settings().data_dir(data);
        if let Some((left, ..)) = &self.left {
            copy_files(&left.path().join("data"), data);
        }
        if self.phase == Phase::Starts {
            settings = settings.launched_by(launcher(faults, output));
        }
        let mut server = Server::stopped(settings);
        server.try_restart().map(|()| server)
    }

    /// The script, while the thread is traced, and the syncer as well.
    fn work(&self, server: &mut Server, faults: &[String], output: &Path) -> Played {
        let told = Told::begin(server);
        let beside = output.with_extension("syncer");
        let (_syncer, syncs) = if self.role == Role::Syncer {
            (None, Syncs::written_to(output))
        } else {
            let strace = Strace::attach(server, Role::Syncer, &[], &beside);
            (Some(strace), Syncs::written_to(&beside))
        };
        let strace =
            (self.phase == Phase::Works).then(|| Strace::attach(server, self.role, faults, output));
        if faults.iter().any(|fault| fault.ends_with('+')) {
            return play_on_a_full_disk(server, told, strace, &syncs);
        }
        play(server, told, self.length(), Some(&syncs))
    }

    /// Tells the server to stop, with the thread in the middle of what it does then, and waits
    /// until it has ended, which it does by itself.
    fn stop(&self, server: &mut Server, faults: &[String], output: &Path) -> Played {
        let told = Told::begin(server);
        let mut played = play(server, told, Length::Short, None);
        assert_eq!(played.ended, None);
        let _strace = Strace::attach(server, self.role, faults, output);
        if self.role == Role::Checkpoint {
            let data = server.data_dir();
            // Its socket goes with the server, and nobody waits for the answer.
            thread::spawn(move || ask_for_snapshot(&data));
        }
        if self.role == Role::Preparer {
            let is_held = || self.held().is_some_and(|name| has_begun(output, name));
            played = enlarge(server, played.told, None, is_held);
        }
        if played.ended.is_none() {
            if let Some(name) = self.held() {
                wait_until(LIMIT, "the thread is where it is held", || has_begun(output, name));
            }
            server.send_sigterm();
            played.ended = Some(end_of(server));
        }
        if played.ended.is_some_and(|status| status.success()) {
            let sound = expect_sound(&server.data_dir());
            assert_eq!(sound.state_hash, logged(server, "stopped", "state_hash"));
        }
        played
    }

    /// One run: the fault is met, and everything holds.
    fn run(&self, case: &Case) -> Outcome {
        let root = directory();
        let (data, output) = (root.path().join("data"), root.path().join("trace"));
        let faults = case.injections(self.held());
        let (outcome, told) = match self.start(&data, &faults, &output) {
            Err(status) => (case.check_end(status, &output), None),
            Ok(mut server) => {
                self.check_what_was_left(&server);
                let played = match self.phase {
                    Phase::Starts | Phase::Works => self.work(&mut server, &faults, &output),
                    Phase::Stops => self.stop(&mut server, &faults, &output),
                };
                let outcome = case.check(&mut server, played.ended, &output);
                (outcome, Some(played.told))
            }
        };
        self.check_what_is_left(&data, told.as_ref());
        outcome
    }

    /// A server that serves, whatever its start has met, serves all that was told before: here and
    /// now, since what this one did not see the next one may find.
    fn check_what_was_left(&self, server: &Server) {
        if let Some((_, told, sound)) = &self.left {
            assert_eq!(logged(server, "recovered", "state_hash"), sound.state_hash);
            told.check(server);
        }
    }

    /// The directory is sound, and a server makes of it what clients were told.
    fn check_what_is_left(&self, data: &Path, told: Option<&Told>) {
        if told.is_none()
            && let Some((_, _, before)) = &self.left
        {
            assert_eq!(&expect_sound(data).state_hash, &before.state_hash, "the state changed");
        }
        let mut server = restart_soundly(settings(), data);
        if let Some((_, before, _)) = &self.left {
            before.check(&server);
        }
        if let Some(told) = told {
            told.check(&server);
        }
        let show = server.create_show(1);
        server.hold(&server.create_user(), &show.id, &show.tickets);
        assert_eq!(server.terminate().code(), Some(0), "{}", server.stderr());
        assert_eq!(expect_sound(data).state_hash, logged(&server, "stopped", "state_hash"));
    }
}

/// The disk is full from the fault on: then nothing more is taken, until there is space again.
fn play_on_a_full_disk(
    server: &mut Server,
    told: Told,
    strace: Option<Strace>,
    syncs: &Syncs,
) -> Played {
    let mut told = told;
    for _ in 0..12 {
        let refused = told.answers.keys().any(|(status, _)| *status == 503);
        if refused {
            drop(strace);
            return play(server, told, Length::Short, Some(syncs));
        }
        let played = enlarge(server, told, Some(syncs), || false);
        if played.ended.is_some() {
            return played;
        }
        told = played.told;
    }
    panic!("a full disk refuses nothing: {:?}", told.answers);
}

impl Case {
    /// What came of it, which must be what is due. A server that has not ended then is killed.
    fn check(&self, server: &mut Server, ended: Option<ExitStatus>, output: &Path) -> Outcome {
        if let Some(status) = ended {
            let says_so = server.stderr().contains(": stopped ");
            assert!(!says_so || status.success() || self.fault == Fault::Kill, "{status}");
            return self.check_end(status, output);
        }
        let met = self.fault != Fault::Kill && after_fault(output).is_some();
        assert!(!met || self.due() != Due::Refuses, "a sync failed, and it serves");
        if met && self.due() == Due::Stops {
            // Nobody asked for anything any more when it came.
            return self.check_end(end_of(server), output);
        }
        server.kill9();
        if met { Outcome::WentOn } else { Outcome::NotMet }
    }

    fn check_end(&self, status: ExitStatus, output: &Path) -> Outcome {
        use std::os::unix::process::ExitStatusExt as _;
        if self.fault == Fault::Kill {
            if self.phase == Phase::Stops && status.success() {
                return Outcome::NotMet;
            }
            assert_eq!(status.signal(), Some(SIGKILL), "ended otherwise: {status}");
            return Outcome::Killed;
        }
        let after = match after_fault(output) {
            Some(after) => after,
            None if self.phase == Phase::Stops && status.success() => return Outcome::NotMet,
            None => panic!("the process ended without having met the fault: {status}"),
        };
        match self.due() {
            Due::GoesOn if self.phase == Phase::Stops => {
                assert!(status.success(), "no clean end: {status}");
                return Outcome::WentOn;
            }
            Due::Stops => assert_eq!(status.code(), Some(INPUT_OUTPUT), "{status}"),
            Due::Refuses | Due::Either => {
                assert!(status.code().is_some_and(|code| code > 0), "{status}")
            }
            Due::GoesOn | Due::Killed => panic!("the service ended: {status}"),
        }
        if self.name.ends_with("sync") {
            assert!(!after.contains("sync("), "a sync was tried again:\n{after}");
        }
        Outcome::Stopped
    }
}

/// All in the long run; in the quick one the first of each kind, every sync of a start (they are
/// few, and each is for something else), and some others. Of a stop, which takes its time, fewer.
fn chosen(mut cases: Vec<Case>, rng: &mut StdRng) -> Vec<Case> {
    if extent() == Extent::Long {
        return cases;
    }
    let mut kinds = BTreeSet::new();
    let stops = cases.iter().any(|case| case.phase == Phase::Stops);
    let first =
        |case: &Case| kinds.insert((case.name.clone(), case.fault)) || case.due() == Due::Refuses;
    let (mut chosen, mut others): (Vec<_>, Vec<_>) = cases.drain(..).partition(first);
    let most = if stops { SAMPLE } else { chosen.len() + SAMPLE };
    chosen.shuffle(rng);
    others.shuffle(rng);
    chosen.extend(others);
    chosen.truncate(most);
    chosen
}

/// Runs the cases of a part, several at a time; gives how they ended, and those that failed.
fn run_all(part: &Part, cases: Vec<Case>) -> (BTreeMap<(String, Outcome), u64>, Vec<Case>) {
    let (cases, tally) = (Mutex::new(cases), Mutex::new(BTreeMap::new()));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().pop() else { return };
                    let run = catch_unwind(AssertUnwindSafe(|| part.run(&case)));
                    if let Ok(outcome) = run {
                        let kind = (format!("{} {:?}", case.name, case.fault), outcome);
                        *tally.lock().unwrap().entry(kind).or_default() += 1;
                    } else {
                        report(&format!("FAILED: {case:?}"));
                        failed.lock().unwrap().push(case);
                    }
                }
            });
        }
    });
    (tally.into_inner().unwrap(), failed.into_inner().unwrap())
}

fn try_part(part: &Part) {
    let seed: u64 = rand::random();
    let cases = part.cases();
    let all = cases.len();
    assert!(all > 0, "no calls were seen");
    let chosen = chosen(cases, &mut StdRng::seed_from_u64(seed));
    let count = chosen.len();
    let (tally, failed) = run_all(part, chosen);
    let met: u64 = tally.iter().filter(|((_, o), _)| *o != Outcome::NotMet).map(|(_, n)| n).sum();
    let Part { phase, role, .. } = part;
    report(&format!(
        "{role:?} {phase:?}: seed {seed}, {count} of {all} faults, {met} met: {tally:?}"
    ));
    assert_eq!(failed, [], "see above");
    // How many calls there are varies: a syncer makes fewer when more is asked at a time. But no
    // kind of fault may have been met by none.
    let kinds: BTreeSet<_> = tally.keys().map(|(kind, _)| kind).collect();
    let met = tally.keys().filter(|(_, outcome)| *outcome != Outcome::NotMet);
    assert_eq!(
        met.map(|(kind, _)| kind).collect::<BTreeSet<_>>(),
        kinds,
        "faults that nothing met"
    );
}

/// A part, unless there can be no tracing here.
fn try_if_possible(part: impl FnOnce() -> Part) {
    match is_possible() {
        Ok(()) => try_part(&part()),
        Err(why) => skipped(&why),
    }
}

#[test]
fn faults_of_the_syncer() {
    try_if_possible(|| Part::of(Phase::Works, Role::Syncer));
}

#[test]
fn faults_of_the_preparer() {
    try_if_possible(|| Part::of(Phase::Works, Role::Preparer));
}

#[test]
fn faults_of_the_checkpoints() {
    try_if_possible(|| Part::of(Phase::Works, Role::Checkpoint));
}

#[test]
fn faults_of_a_first_start() {
    try_if_possible(|| Part::of(Phase::Starts, Role::Main));
}

#[test]
fn faults_of_a_restart() {
    try_if_possible(Part::starting);
}

#[test]
fn faults_of_a_stop_in_the_syncer() {
    try_if_possible(|| Part::of(Phase::Stops, Role::Syncer));
}

#[test]
fn faults_of_a_stop_in_the_preparer() {
    try_if_possible(|| Part::of(Phase::Stops, Role::Preparer));
}

#[test]
fn faults_of_a_stop_in_the_checkpoints() {
    try_if_possible(|| Part::of(Phase::Stops, Role::Checkpoint));
}

#[test]
fn faults_of_a_stop_in_the_first_thread() {
    try_if_possible(|| Part::of(Phase::Stops, Role::Main));
}
