//! Runs the program.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use wal::Lsn;

/// What the program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking-wal"));
    command.stdin(Stdio::null());
    command
}

/// Runs `booking-wal` on a directory. Its path is shown as `DIR`.
pub(crate) fn run(directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Run {
    let output = program().args(arguments).arg(directory).output().unwrap();
    let shown = |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(&directory.display().to_string(), "DIR")
    };
    Run {
        code: output.status.code().unwrap(),
        stdout: shown(output.stdout),
        stderr: shown(output.stderr),
    }
}

/// Runs a command that has its arguments already.
pub(crate) fn ended(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    pub(crate) fn line_with(&self, text: &str) -> &str {
        let line = self.stdout.lines().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no line with {text:?} in {self:?}"))
    }

    /// The position of the snapshot that `verify` began with, or the beginning.
    pub(crate) fn begun(&self) -> Lsn {
        let begun = self
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("begun         at the snapshot at LSN "));
        let lsn = begun.and_then(|line| line.split(',').next()?.parse().ok());
        lsn.map_or(Lsn::ZERO, Lsn::new)
    }
}
