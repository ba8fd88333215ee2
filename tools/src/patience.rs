//! Waiting for a log to grow: for a moment, or until nobody wants more.
//!
//! Nothing tells another process of a new record, so a follower looks again after a moment. It ends
//! in order when it is asked to (SIGINT, SIGTERM), and when whoever reads standard output has gone,
//! which is noticed also while there is nothing to write.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};

/// 50 ms: below what a person notices, and cheap to do twenty times a second.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Waits, and knows when to stop.
#[derive(Debug)]
pub struct Patience {
    /// Publishes nothing: it only says that a signal has come.
    interrupted: Arc<AtomicBool>,
}

impl Patience {
    /// From now on the two signals end the wait and not the process.
    ///
    /// # Errors
    /// The signals cannot be had.
    pub fn begin() -> anyhow::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .context("cannot listen for signals")?;
        }
        Ok(Self { interrupted })
    }

    /// Whether it was asked to stop.
    pub fn is_over(&self) -> bool {
        // Relaxed: nothing else is read because of it.
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Waits for a moment. Breaks off when the reader of standard output has gone.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn wait(&self) -> anyhow::Result<ControlFlow<()>> {
        let stdout = io::stdout();
        // No event is asked for: that the other end has gone is told without asking.
        let mut output = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut output, Some(&MOMENT)) {
            Ok(0) | Err(Errno::INTR) => Ok(ControlFlow::Continue(())),
            Ok(_) => Ok(ControlFlow::Break(())),
            Err(errno) => Err(errno).context("cannot wait for the log to grow"),
        }
    }
}
