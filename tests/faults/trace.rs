//! strace: a server's system calls, seen and made to fail.
//!
//! Faults are aimed at one thread, because strace counts the calls of each thread by itself: the
//! N-th `fdatasync` of the syncer is one call, the N-th of the process is not. The first thread is
//! watched from the beginning of its life, the others once the server is ready.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Server, wait_until};
use crate::means::{LIMIT, program};

/// The calls that can hurt a log, that recovery depends on, or that let go of files.
const CALLS: &str = "trace=fdatasync,fsync,fallocate,?rename,renameat,renameat2,mmap,openat,\
                     pwrite64,write,ftruncate,?unlink,unlinkat,pread64,read,getdents64,\
                     flock,close";

/// A thread of the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Role {
    /// Recovers, and begins the new epoch.
    Main,
    Syncer,
    Preparer,
    Checkpoint,
}

/// One system call on a file of the data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The how manyth of its name in its thread, calls on other files included.
    pub(crate) ordinal: usize,
    /// The line that strace wrote.
    pub(crate) line: String,
}

/// A strace at work on some thread of a server; dropping it lets the thread go.
#[derive(Debug)]
pub(crate) struct Strace(Child);

/// The syncs of a syncer that is traced. They and the answers of the server need no common clock:
/// strace has written how a call begins before it is made, and how it ends before the thread goes
/// on.
#[derive(Clone, Debug)]
pub(crate) struct Syncs {
    output: PathBuf,
}

/// A moment of a trace: the bytes that were written by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment(usize);

impl Role {
    /// What the server calls the thread.
    fn name(self) -> &'static str {
        match self {
            Self::Main => "booking-manager",
            Self::Syncer => "wal-syncer",
            Self::Preparer => "wal-preparer",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Whether strace can be had, and may trace.
///
/// # Errors
/// Why not, for a test that is skipped.
pub(crate) fn is_possible() -> Result<(), String> {
    let strace = program("strace", "strace")?;
    // As the servers will be, it is no child of the tracer, which may make a difference.
    let mut sibling = Command::new("cat");
    let mut sibling = sibling.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat");
    let mut strace = Command::new(strace);
    strace.args(["-qq", "-o", "/dev/null", "-p"]).arg(sibling.id().to_string());
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut strace = strace.spawn().expect("strace starts");
    let process = PathBuf::from(format!("/proc/{}", sibling.id()));
    let mut refused = None;
    wait_until(LIMIT, "strace has the process or may not", || {
        refused = strace.try_wait().expect("one's own child");
        refused.is_some() || is_traced(&process)
    });
    // The end of its input is its own end, and that of the tracer.
    drop(sibling.stdin.take());
    sibling.wait().expect("one's own child");
    let output = strace.wait_with_output().expect("one's own child");
    match refused {
        None => Ok(()),
        Some(_) => Err(format!("tracing is not permitted: {output:?}")),
    }
}

/// Whether a process or thread, named by its directory in /proc, has a tracer, or has ended.
fn is_traced(process: &Path) -> bool {
    fs::read_to_string(process.join("status")).map_or(true, |status| {
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|pid| pid.trim() != "0")
    })
}

fn options(faults: &[String], output: &Path) -> Vec<String> {
    let mut words = vec!["-y".to_owned(), "-e".to_owned(), CALLS.to_owned()];
    for fault in faults {
        words.extend(["-e".to_owned(), format!("inject={fault}")]);
    }
    words.extend(["-o".to_owned(), output.display().to_string()]);
    words
}

/// What starts a server whose first thread is traced. The tracer is a child's child, so that the
/// server is the one that was started.
pub(crate) fn launcher(faults: &[String], output: &Path) -> Vec<String> {
    let mut words = vec!["strace".to_owned(), "-D".to_owned()];
    words.extend(options(faults, output));
    words
}

impl Strace {
    /// Traces a thread of a server from now on, and makes calls fail if so told.
    pub(crate) fn attach(server: &Server, role: Role, faults: &[String], output: &Path) -> Self {
        let thread = thread_of(server.pid(), role);
        let mut strace = Command::new("strace");
        strace.args(options(faults, output)).arg("-p");
        strace.arg(thread.file_name().expect("the thread's number"));
        if role == Role::Main {
            // It closes connections as well, now more and now fewer: they must not be counted.
            for file in fs::read_dir(server.data_dir()).expect("the server's directory") {
                strace.arg("-P").arg(file.expect("the server's directory").path());
            }
        }
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let attached = Self(strace.spawn().expect("strace starts"));
        // A fault that was met at once has ended the process.
        wait_until(LIMIT, "strace has the thread", || is_traced(&thread));
        attached
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // It may have ended with the thread already.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.0.wait();
    }
}

impl Syncs {
    /// Those that a strace of the syncer writes to `output`.
    pub(crate) fn written_to(output: &Path) -> Self {
        Self { output: output.to_owned() }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.text().len())
    }

    /// Whether the first sync of a segment that began after the moment has succeeded; `None` if
    /// there is none that has ended.
    pub(crate) fn first_since(&self, moment: Moment) -> Option<bool> {
        let text = self.text();
        let (before, since) = text.split_at(moment.0);
        // What is left of a line that was there is a call that had begun.
        let began = if before.is_empty() || before.ends_with('\n') {
            since
        } else {
            since.split_once('\n').map_or("", |(_, rest)| rest)
        };
        let mut lines = began.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let sync = lines.find(|line| line.starts_with("fdatasync(") && line.contains(".seg>"))?;
        Some(sync.rsplit_once(" = ").is_some_and(|(_, result)| result.trim() == "0"))
    }
}

/// The thread's directory in /proc, once there is one: a thread names itself, which may be after the
/// server is ready.
fn thread_of(pid: u32, role: Role) -> PathBuf {
    let mut found = None;
    let what = format!("the server has a thread {}", role.name());
    wait_until(LIMIT, &what, || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
        let mut tasks = tasks.map(|task| task.unwrap().path());
        found = tasks.find(|task| {
            fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == role.name())
        });
        found.is_some()
    });
    found.expect("it was waited for")
}

/// The calls on files under `directory` in what strace wrote of one thread.
pub(crate) fn calls(output: &Path, directory: &Path) -> Vec<Call> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let under = directory.display().to_string();
    let mut counts = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            continue;
        }
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if line.contains(&under) {
            let (name, line) = (name.to_owned(), line.to_owned());
            calls.push(Call { name, ordinal: *count, line });
        }
    }
    calls
}

/// Whether the thread has begun a call of this name.
pub(crate) fn has_begun(output: &Path, name: &str) -> bool {
    let text = fs::read_to_string(output).unwrap_or_default();
    text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
}

/// Whether the fault was met; and what the thread did afterwards.
pub(crate) fn after_fault(output: &Path) -> Option<String> {
    let text = fs::read_to_string(output).unwrap_or_default();
    text.split_once("(INJECTED)").map(|(_, after)| after.to_owned())
}

#[test]
fn calls_are_counted_by_name_and_told_by_directory() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("trace");
    let text = "openat(AT_FDCWD</>, \"/lib/x\", O_RDONLY) = 3</lib/x>\n\
                openat(AT_FDCWD</>, \"/data/a\", O_RDONLY) = 4</data/a>\n\
                --- SIGTERM {si_signo=SIGTERM} ---\n\
                fdatasync(4</data/a>) = -1 EIO (Input/output error) (INJECTED)\n\
                fdatasync(4</data/a>) = 0\n\
                +++ exited with 0 +++\n";
    fs::write(&output, text).unwrap();
    let calls = calls(&output, Path::new("/data"));
    let found: Vec<_> = calls.iter().map(|call| (call.name.as_str(), call.ordinal)).collect();
    assert_eq!(found, [("openat", 2), ("fdatasync", 1), ("fdatasync", 2)]);
    assert!(after_fault(&output).unwrap().contains("fdatasync"));
}

#[test]
fn only_a_sync_that_began_later_and_has_ended_counts() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("trace");
    let syncs = Syncs::written_to(&output);
    let mut text = String::new();
    let mut write = |more: &str| {
        text.push_str(more);
        fs::write(&output, &text).unwrap();
        syncs.now()
    };
    let start = syncs.now();
    let during = write("fdatasync(4</d/wal-0.seg>");
    assert_eq!(syncs.first_since(start), None);
    let between = write(") = 0\n");
    assert_eq!((syncs.first_since(start), syncs.first_since(during)), (Some(true), None));
    let later = write("fdatasync(4</d/wal-0.seg>) = -1 EIO (Input/output error) (INJECTED)\n");
    assert_eq!(syncs.first_since(during), Some(false));
    assert_eq!(syncs.first_since(between), Some(false));
    write("fdatasync(5</d/a.snap.tmp>) = 0\n");
    assert_eq!(syncs.first_since(later), None);
}
