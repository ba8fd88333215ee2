//! What a test needs of the machine: programs, the right to use them, and how long it may take.

use std::fs;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::getuid;
use tempfile::TempDir;

/// Waits for what takes long only on a machine that is busy with other things.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// A sample, for every change.
    Quick,
    /// Everything, which takes long: asked for by `FAULTS=long`.
    Long,
}

/// As the environment says; a word that is not known is no wish for less.
pub(crate) fn extent() -> Extent {
    match std::env::var("FAULTS").as_deref() {
        Err(_) | Ok("" | "quick") => Extent::Quick,
        Ok("long") => Extent::Long,
        Ok(other) => panic!("FAULTS={other}: expected quick or long"),
    }
}

/// One of two, by extent.
pub(crate) fn by_extent<T>(quick: T, long: T) -> T {
    match extent() {
        Extent::Quick => quick,
        Extent::Long => long,
    }
}

/// Whether what a test needs must be here: by `FAULTS_REQUIRED=1`.
fn is_required() -> bool {
    match std::env::var("FAULTS_REQUIRED").as_deref() {
        Err(_) | Ok("" | "0") => false,
        Ok("1") => true,
        Ok(other) => panic!("FAULTS_REQUIRED={other}: expected 0 or 1"),
    }
}

/// Says why a test shows nothing here, which fails it where all of them must show something.
#[track_caller]
pub(crate) fn skipped(why: &str) {
    assert!(!is_required(), "FAULTS_REQUIRED=1, and this test cannot run here: {why}");
    let _ = writeln!(stderr(), "skipped: {why}");
}

/// A figure or a seed for whoever reads the test's output.
pub(crate) fn report(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Those of the administrator are in nobody else's PATH.
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let places = std::env::split_paths(&path).chain(system);
    places.map(|place| place.join(name)).find(|place| place.is_file())
}

/// Where a program is; as root, Debian's package of it is installed if it is nowhere.
///
/// # Errors
/// What is missing, for [`skipped`].
pub(crate) fn program(name: &str, package: &str) -> Result<PathBuf, String> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().expect("no installation panicked");
    if find(name).is_none() && getuid().is_root() {
        report(&format!("installing {package} from Debian's packages"));
        let command =
            format!("apt-get update && apt-get install -y --no-install-recommends {package}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("DEBIAN_FRONTEND", "noninteractive");
        // What it prints tells why it failed, if it did; then the program is missing still.
        let _ = shell.status();
    }
    find(name).ok_or_else(|| format!("{name} is missing: `apt-get install -y {package}` as root"))
}

/// Runs a command.
///
/// # Errors
/// What it said, when it failed.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{command:?}: {}: {}", output.status, text(&output.stderr)))
}

/// A directory where so many bytes can be written quickly, for tests that crash no machine.
pub(crate) fn quick_directory(bytes: u64) -> TempDir {
    let directory = TempDir::with_prefix_in("booking-manager-quick-", quick_place(bytes));
    directory.expect("a temporary directory")
}

/// Where files may be made quickly: in memory if there is room for so many bytes. What is tested is
/// what the kernel is asked and what it keeps, which is the same there.
pub(crate) fn quick_place(bytes: u64) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let may_write = || {
        let probe = memory.join(format!("booking-manager-probe-{}", std::process::id()));
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).is_ok()
    };
    if room >= bytes && may_write() { memory.to_owned() } else { std::env::temp_dir() }
}
