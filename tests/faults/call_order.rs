//! The order of the calls that a crash between any two of them depends on, read from a trace.
//!
//! A name is given to what was synced, and counts once its directory was synced: only then may
//! anything be stored in a new segment, or removed because a new snapshot stands for it.

use std::collections::BTreeSet;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Settings, files, wait_until};
use crate::means::{LIMIT, report, skipped};
use crate::script::{Length, Told, play};
use crate::trace::{Call, Role, Strace, calls, is_possible, launcher};

/// What a call does to a file, by the file's name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Act {
    /// Of records: more than a page. A look at a header, or at one word, is less.
    Read(String),
    Write(String),
    Sync(String),
    SyncDirectory,
    Name {
        from: String,
        to: String,
    },
    Map(String),
    Remove(String),
}

/// How often things were seen in good order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seen {
    names: u32,
    maps: u32,
    removals: u32,
}

/// The files that a line names, in its order.
fn names(line: &str, directory: &Path) -> Vec<String> {
    let under = format!("{}/", directory.display());
    let ends = |c: char| c == '"' || c == '>';
    let pieces = line.split(&under).skip(1);
    pieces.filter_map(|piece| piece.split(ends).next()).map(str::to_owned).collect()
}

fn bytes_read(line: &str) -> u64 {
    line.rsplit_once(" = ").and_then(|(_, result)| result.trim().parse().ok()).unwrap_or(0)
}

fn act(call: &Call, directory: &Path) -> Option<Act> {
    if !call.line.contains(" = ") || call.line.contains(" = -1 ") {
        return None;
    }
    let mut names = names(&call.line, directory).into_iter();
    match call.name.as_str() {
        "write" | "pwrite64" | "fallocate" | "ftruncate" => names.next().map(Act::Write),
        "pread64" if bytes_read(&call.line) > 4_096 => {
            names.next().filter(|file| file.ends_with(".seg")).map(Act::Read)
        }
        "fsync" | "fdatasync" => Some(names.next().map_or(Act::SyncDirectory, Act::Sync)),
        "mmap" => names.next().map(Act::Map),
        "unlink" | "unlinkat" => names.next().map(Act::Remove),
        name if name.starts_with("rename") => {
            Some(Act::Name { from: names.next()?, to: names.next()? })
        }
        _ => None,
    }
}

/// What is out of order.
fn offence(acts: &[Act]) -> Result<Seen, String> {
    let (mut unsynced, mut unsettled) = (BTreeSet::new(), BTreeSet::new());
    let mut seen = Seen::default();
    for act in acts {
        match act {
            Act::Read(_) => {}
            Act::Write(file) => _ = unsynced.insert(file.clone()),
            Act::Sync(file) => _ = unsynced.remove(file),
            Act::SyncDirectory => unsettled.clear(),
            Act::Name { from, to } => {
                if unsynced.contains(from) {
                    return Err(format!("{from} was named {to} before it was synced"));
                }
                unsettled.insert(to.clone());
                seen.names += 1;
            }
            Act::Map(file) => {
                if unsettled.contains(file) {
                    return Err(format!("{file} was mapped before its name was synced"));
                }
                seen.maps += 1;
            }
            Act::Remove(file) => {
                if let Some(other) = unsettled.first().filter(|_| !file.ends_with(".tmp")) {
                    return Err(format!("{file} was removed before the name {other} was synced"));
                }
                if file.ends_with(".seg") {
                    // The names of segments go one by one.
                    unsettled.insert(file.clone());
                }
                seen.removals += 1;
            }
        }
    }
    Ok(seen)
}

/// What a thread of a server does while segments are filled, made and removed, until it was enough.
fn see(role: Role, enough: fn(Seen) -> bool) -> Seen {
    let root = TempDir::new().unwrap();
    let (data, output) = (root.path().join("data"), root.path().join("trace"));
    let settings = Settings::new().env("WAL_SEGMENT_BYTES", 1 << 20).env("WAL_RETAIN_BYTES", 0);
    let mut server = settings.data_dir(&data).start();
    let told = Told::begin(&server);
    let strace = Strace::attach(&server, role, &[], &output);
    assert_eq!(play(&mut server, told, Length::Full, None).ended, None);
    let seen = || {
        let acts: Vec<Act> =
            calls(&output, &data).iter().filter_map(|call| act(call, &data)).collect();
        offence(&acts).unwrap()
    };
    // What the script has caused may be going on still.
    wait_until(LIMIT, "segments and snapshots were made, used and removed", || enough(seen()));
    drop(strace);
    server.kill9();
    seen()
}

#[test]
fn names_are_given_to_what_is_synced_and_count_when_they_are() {
    if let Err(why) = is_possible() {
        return skipped(&why);
    }
    let preparer = see(Role::Preparer, |seen| seen.names > 0 && seen.maps > 0);
    let checkpoints = see(Role::Checkpoint, |seen| seen.names > 1 && seen.removals > 0);
    report(&format!("preparer {preparer:?}, checkpoints {checkpoints:?}"));
}

/// What a killed server had in memory alone is served by nobody before it is on disk.
#[test]
fn a_restart_syncs_what_the_killed_one_wrote_before_it_reads() {
    if let Err(why) = is_possible() {
        return skipped(&why);
    }
    let root = TempDir::new().unwrap();
    let (data, output) = (root.path().join("data"), root.path().join("trace"));
    let settings = || Settings::new().env("WAL_SEGMENT_BYTES", 1 << 20).data_dir(&data);
    let mut killed = settings().start();
    let told = Told::begin(&killed);
    assert_eq!(play(&mut killed, told, Length::Full, None).ended, None);
    killed.kill9();
    let names = files(&data, "wal-").into_iter().map(|path| path.file_name().unwrap().to_owned());
    let names = names.map(|name| name.into_string().unwrap());
    let segments: BTreeSet<_> = names.filter(|name| name.ends_with(".seg")).collect();
    assert!(segments.len() > 1, "all of one epoch: {segments:?}");
    let restarted = settings().launched_by(launcher(&[], &output)).start();
    let calls = calls(&output, &data);
    drop(restarted);
    let acts = calls.iter().filter_map(|call| act(call, &data));
    let before_reading = acts.take_while(|act| !matches!(act, Act::Read(_)));
    let synced = |act| if let Act::Sync(file) = act { Some(file) } else { None };
    assert_eq!(before_reading.filter_map(synced).collect::<BTreeSet<_>>(), segments);
}

#[test]
fn what_is_out_of_order_is_reported() {
    let line = |name: &str, line: &str| Call { name: name.into(), ordinal: 1, line: line.into() };
    let acts = |calls: &[Call]| -> Vec<Act> {
        calls.iter().filter_map(|call| act(call, Path::new("/d"))).collect()
    };
    let write = line("write", "write(3</d/a.tmp>, \"x\", 1) = 1");
    let sync = line("fdatasync", "fdatasync(3</d/a.tmp>) = 0");
    let failed = line("fdatasync", "fdatasync(3</d/a.tmp>) = -1 EIO (Input/output error)");
    let name = line("rename", "rename(\"/d/a.tmp\", \"/d/a\") = 0");
    let settle = line("fsync", "fsync(4</d>) = 0");
    let map = line("mmap", "mmap(0x1, 2, PROT_READ, MAP_SHARED, 3</d/a>, 0) = 0x1");
    let remove = line("unlink", "unlink(\"/d/wal-1.seg\") = 0");
    let good = [&write, &sync, &name, &settle, &map, &remove, &settle, &remove].map(Clone::clone);
    assert_eq!(offence(&acts(&good)), Ok(Seen { names: 1, maps: 1, removals: 2 }));
    for (bad, reason) in [
        (vec![&write, &name], "before it was synced"),
        (vec![&write, &failed, &name], "before it was synced"),
        (vec![&sync, &write, &name], "before it was synced"),
        (vec![&write, &sync, &name, &map], "mapped before its name"),
        (vec![&write, &sync, &name, &remove], "removed before the name a"),
        (vec![&remove, &remove], "removed before the name wal-1.seg"),
    ] {
        let bad: Vec<Call> = bad.into_iter().cloned().collect();
        let said = offence(&acts(&bad)).unwrap_err();
        assert!(said.contains(reason), "{said}");
    }
}
