//! File systems of one's own, in files: mounted for a test and gone with it, however it ends.
//!
//! A [`Ground`] is a directory under which everything lies. A shell waits for the end of this
//! process and then unmounts what is left under it, so that a test which is killed leaves nothing
//! behind; loop devices are given up by the kernel with the last mount that uses them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::harness::wait_until;
use crate::means::{LIMIT, program, quick_place, run};

/// What the shell does that outlives this process; `$1` is the directory.
const UNDERTAKER: &str = r#"
cat
grep -o " $1[^ ]*" /proc/mounts | sort -r | while read -r place; do umount -l "$place"; done
rm -rf -- "$1"
"#;

/// A directory for mounts.
#[derive(Debug)]
pub(crate) struct Ground {
    directory: TempDir,
    undertaker: Child,
    /// Closed by the end of this process, whatever ends it.
    _lifeline: ChildStdin,
}

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

/// An ext4 file system in a file, mounted; dropping it unmounts it and removes the file.
#[derive(Debug)]
pub(crate) struct Ext4 {
    mount: Mount,
    image: Image,
}

/// A file with a file system; dropping it removes it.
#[derive(Debug)]
struct Image(PathBuf);

/// A btrfs in a file, mounted: a file in it can be copied at one instant.
#[derive(Debug)]
pub(crate) struct Btrfs(Mount);

impl Ground {
    /// A new directory where so many bytes can be written.
    pub(crate) fn new(bytes: u64) -> Self {
        let directory = TempDir::with_prefix_in("booking-manager-disks-", quick_place(bytes));
        let directory = directory.expect("a temporary directory");
        let mut undertaker = Command::new("sh")
            .args(["-c", UNDERTAKER, "undertaker"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What interrupts the tests must not reach it.
            .process_group(0)
            .spawn()
            .expect("a shell");
        let lifeline = undertaker.stdin.take().expect("it was asked for");
        Self { directory, undertaker, _lifeline: lifeline }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A new btrfs of so many bytes.
    ///
    /// # Errors
    /// Why there can be none here.
    pub(crate) fn btrfs(&self, bytes: u64) -> Result<Btrfs, String> {
        let make = program("mkfs.btrfs", "btrfs-progs")?;
        let image = self.path().join("btrfs.img");
        file_of(&image, bytes);
        run(Command::new(make).arg("--quiet").arg(&image))?;
        Ok(Btrfs(Mount::new(&image, &self.path().join("btrfs"))?))
    }

    /// A new ext4 of so many bytes, in a file of that name in `place`.
    ///
    /// # Errors
    /// Why there can be none here.
    pub(crate) fn ext4(&self, place: &Path, name: &str, bytes: u64) -> Result<Ext4, String> {
        let make = program("mkfs.ext4", "e2fsprogs")?;
        let image = place.join(name);
        file_of(&image, bytes);
        // Nothing is left for the kernel to do later, and nothing set aside for root.
        let options = ["-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run(Command::new(make).args(options).arg(&image))?;
        self.mount(image, name)
    }

    /// Mounts an image of an ext4, whose journal is replayed, under this name.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn mount(&self, image: PathBuf, name: &str) -> Result<Ext4, String> {
        let mount = Mount::new(&image, &self.path().join(format!("at-{name}")))?;
        Ok(Ext4 { mount, image: Image(image) })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Everything mounted under it has been dropped before, so the rest is only files. The shell
        // must not clean up a second time in a directory that may be another's by then.
        let _ = self.undertaker.kill();
        let _ = self.undertaker.wait();
    }
}

fn file_of(path: &Path, bytes: u64) {
    let file = File::create(path).expect("one's own directory can be written");
    file.set_len(bytes).expect("holes cost nothing");
}

impl Mount {
    fn new(image: &Path, place: &Path) -> Result<Self, String> {
        fs::create_dir_all(place).expect("one's own directory can be written");
        let mut mount = Command::new("mount");
        run(mount.args(["-o", "loop"]).arg(image).arg(place))
            .map_err(|error| format!("mounting is not permitted: {error}"))?;
        Ok(Self(place.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = |lazily: &[&str]| {
            let mut umount = Command::new("umount");
            run(umount.args(lazily).arg(&self.0)).is_ok()
        };
        if std::thread::panicking() {
            // A process may have it in use still, whose end is not waited for.
            let _ = unmounted(&["-l"]);
            return;
        }
        wait_until(LIMIT, "nobody uses the file system any more", || unmounted(&[]));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // With the ground, if not now.
        let _ = fs::remove_file(&self.0);
    }
}

impl Btrfs {
    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.0.0
    }
}

impl Ext4 {
    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mount.0
    }

    /// A copy of its image as it is at one instant: what the file system has written by then, and not
    /// what it still has in memory. So it is what a crash of the machine leaves.
    pub(crate) fn crash_image(&self, copy: &Path) {
        let mut cp = Command::new("cp");
        run(cp.arg("--reflink=always").arg(&self.image.0).arg(copy)).expect("btrfs clones files");
    }

    /// Fills it to the last block; the file's removal gives the space back.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut filler = File::create(&path).expect("one more file");
        let mut piece = vec![1; 1 << 20];
        while !piece.is_empty() {
            match filler.write(&piece) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => piece.truncate(piece.len() / 2),
            }
        }
        // What is only promised so far is taken for good, or refused, here.
        let _ = filler.sync_all();
        path
    }
}
