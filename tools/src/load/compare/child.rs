//! Processes that end with this one, and before their directories are removed.
//!
//! Dropping one stops it and waits until it is gone. Should this program be killed, the kernel ends
//! them: `setpriv` asks it to, the first thing it does. (One whose `setpriv` was not that far goes on.)

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::load::clock::{now, pause};

use super::programs::Owner;

/// How long one may take to begin.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long one may take to end before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A process of ours.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    ending: Ending,
}

/// How a process is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// As most are.
    Terminate,
    /// As PostgreSQL is, so that it does not wait for anything.
    Quit,
}

impl Ending {
    const fn signal(self) -> Signal {
        match self {
            Self::Terminate => Signal::TERM,
            Self::Quit => Signal::QUIT,
        }
    }

    /// As `setpriv` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Quit => "QUIT",
        }
    }
}

/// A command that knows nothing of this program's environment, and ends with this process.
pub(super) fn command(program: &Path, owner: Option<Owner>, ending: Ending) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(Owner { user, group }) = owner {
        command.args([format!("--reuid={user}"), format!("--regid={group}")]).arg("--clear-groups");
    }
    command.args(["--pdeathsig", ending.name()]).arg(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // In a group of its own: what is typed at the terminal is for this program alone.
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/").process_group(0);
    command
}

impl Child {
    /// Starts one, whose complaints go to this file.
    pub(super) fn start(mut command: Command, ending: Ending, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let process = command.stderr(log).spawn();
        let process = process.context("setpriv (of util-linux) cannot be run")?;
        Ok(Self { process, ending })
    }

    /// Its id.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it does what it is for.
    pub(super) fn wait_until(
        &mut self,
        stop: &Arc<AtomicBool>,
        log: &Path,
        mut is_there: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let begun = now();
        while !is_there() {
            let ended = self.process.try_wait()?;
            let late = begun.elapsed() > START_LIMIT;
            if ended.is_some() || late {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("it {}: {}", if late { "did not start" } else { "ended" }, said.trim_end());
            }
            // Relaxed: nothing else is read because of it.
            ensure!(!stop.load(Ordering::Relaxed), "it was stopped");
            pause();
        }
        Ok(())
    }

    /// The port that it says on standard output, which must be a pipe.
    pub(super) fn said_port(&mut self, log: &Path) -> anyhow::Result<u16> {
        let stdout = self.process.stdout.take().context("standard output is no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        line.trim().parse().map_err(|_number| {
            anyhow!(
                "it said no port: {}",
                std::fs::read_to_string(log).unwrap_or_default().trim_end()
            )
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !self.has_ended()) {
            // It may have ended just now; it is ours until it is waited for.
            let _ = kill_process(pid, self.ending.signal());
        }
        let begun = now();
        while !self.has_ended() {
            if begun.elapsed() > STOP_LIMIT {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            pause();
        }
    }
}
