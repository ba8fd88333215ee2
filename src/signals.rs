//! SIGTERM and SIGINT.
//!
//! The first one that arrives while the engine serves asks the process to stop in order. Before that
//! nothing has been promised to anybody, and after that somebody is impatient: then it ends the
//! process at once, with the exit code that a shell gives for the signal. The log stands that as it
//! stands a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// The exit code of a process that signal number n ended is this plus n.
const SIGNALLED: i32 = 128;

/// Hands on the signals that ask the process to stop.
pub(crate) struct Signals {
    received: Receiver<&'static str>,
    /// Publishes nothing: it only chooses what a signal does.
    serving: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on, on a thread of its own.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let runtime = runtime.map_err(Failure::Signals)?;
        let (terminate, interrupt) = {
            let _entered = runtime.enter();
            let terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
            (
                terminate,
                signal(SignalKind::interrupt()).map_err(Failure::Signals)?,
            )
        };
        let (send, received) = flume::unbounded();
        let serving = Arc::new(AtomicBool::new(false));
        let hand_on = hand_on(terminate, interrupt, send, Arc::clone(&serving));
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || runtime.block_on(hand_on))
            .map_err(Failure::Thread)?;
        Ok(Self { received, serving })
    }

    /// From now on the first signal asks for an orderly stop.
    pub(crate) fn serving(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// The signal that asks for an orderly stop, if it comes within `time`.
    pub(crate) fn next_within(&self, time: Duration) -> Option<&'static str> {
        match self.received.recv_timeout(time) {
            Ok(name) => Some(name),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("its thread ends with the process"),
        }
    }
}

async fn hand_on(
    mut terminate: Signal,
    mut interrupt: Signal,
    send: Sender<&'static str>,
    serving: Arc<AtomicBool>,
) {
    let mut told = false;
    loop {
        let (name, kind) = tokio::select! {
            _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
            _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
        };
        if told || !serving.load(Ordering::Relaxed) || send.send(name).is_err() {
            tracing::warn!(signal = name, "stopping at once");
            std::process::exit(SIGNALLED + kind.as_raw_value());
        }
        told = true;
    }
}
