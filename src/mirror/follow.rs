//! The thread that follows the log of a running server.
//!
//! **Invariant:** nobody waits for it. It reads what is durable, with a reader of its own, and holds
//! no lock that the engine knows; PostgreSQL may be slow, hanging, gone or full. It is stopped between
//! any two messages to PostgreSQL, and what is open then is rolled back.
//!
//! Whatever goes wrong ends the session; after a wait (see `breaker`) the next one begins with the
//! checkpoint that PostgreSQL holds.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;
use wal::{Lsn, Reader};

use super::breaker::{self, Breaker};
use super::connect::unless_silent;
use super::fault::{Fault, Obstacle};
use super::session::{Limits, Session};
use super::target::Target;
use super::watch::{ReadMarks, Watch};
use crate::clock::Clock;
use crate::codec;
use crate::domain::Timestamp;

/// How long the next batch gathers after one was written: a transaction for each record would cost
/// PostgreSQL, and the disk that the log shares with it, more than all of its rows.
const GATHER: Duration = Duration::from_millis(5);
/// How long is waited for more when nothing comes.
const PARK_MAX: Duration = Duration::from_millis(100);
const _: () = assert!(GATHER.as_millis() < PARK_MAX.as_millis());
/// After how long without a record PostgreSQL is asked whether it still answers.
const PING_AFTER: Duration = Duration::from_secs(10);
/// How often the log is looked at while nothing is tried, so that the lag is told in seconds.
const GLANCE: Duration = Duration::from_millis(250);

/// What the thread needs.
pub struct Options {
    /// Where to.
    pub target: Target,
    /// Where the log lies.
    pub log: PathBuf,
    /// Where the log is.
    pub marks: ReadMarks,
    /// The clock that the records were stamped with.
    pub clock: Clock,
}

/// The thread; dropping this stops it, soon, whatever PostgreSQL does.
#[derive(Debug)]
pub struct Mirror {
    watch: Arc<Watch>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, log, .. } = self;
        f.debug_struct("Options").field("target", target).field("log", log).finish_non_exhaustive()
    }
}

impl Mirror {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start(options: Options) -> io::Result<Self> {
        let Options { target, log, marks, clock } = options;
        let runtime = runtime()?;
        let watch = Arc::new(Watch::new(target.to_string(), marks, clock));
        let (stop, stopped) = oneshot::channel();
        let follower = Follower { target, log, watch: Arc::clone(&watch), told: None };
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = follower.run() => {}
                }
            });
            // Looking up a name may still block a thread of its own: nobody waits for it.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("mirror".to_owned()).spawn(run)?;
        Ok(Self { watch, stop: Some(stop), thread: Some(thread) })
    }

    /// How it is doing.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked the process would have ended.
            let _ = thread.join();
        }
    }
}

/// What a [`Session`] runs in.
///
/// # Errors
/// The system gives no event queue.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

struct Follower {
    target: Target,
    log: PathBuf,
    watch: Arc<Watch>,
    /// What was logged last, so that the same is not logged at each try.
    told: Option<String>,
}

impl Follower {
    async fn run(mut self) {
        let mut breaker = Breaker::default();
        loop {
            self.watch.connecting();
            let Err(fault) = self.follow(&mut breaker).await;
            let obstacle = fault.obstacle().is_some();
            let wait = if obstacle { breaker::BLOCKED } else { breaker.open() };
            self.tell(&fault);
            self.watch.failed(obstacle, fault.to_string(), wait);
            self.pause(wait).await;
        }
    }

    fn tell(&mut self, fault: &Fault) {
        let text = fault.to_string();
        if self.told.as_ref() == Some(&text) {
            return;
        }
        if fault.obstacle().is_some() {
            tracing::error!(to = %self.target, "the mirror is blocked: {text}");
        } else {
            tracing::warn!(to = %self.target, "the mirror will try again: {text}");
        }
        self.told = Some(text);
    }

    /// One session, until something goes wrong.
    async fn follow(&mut self, breaker: &mut Breaker) -> Result<std::convert::Infallible, Fault> {
        let mut reader = Reader::open(&self.log)?;
        let log = reader.segments().first().map(|segment| segment.header.uuid);
        let nothing = Obstacle::NoBeginning { first: Lsn::ZERO, refused: String::new() };
        let begun = Session::begin(&self.target, log.ok_or(nothing)?, Limits::default());
        let mut session = unless_silent(&self.target, begun).await?;
        self.watch.begun(session.checkpoint());
        let watch = Arc::clone(&self.watch);
        session.listen(Box::new(move |doing| watch.does(doing)));
        let durable = self.watch.durable();
        reader.set_durable(durable);
        let checkpoint =
            unless_silent(&self.target, session.resume(&mut reader, Some(durable))).await?;
        self.watch.resumed(checkpoint);
        tracing::info!(
            to = %self.target,
            lsn = checkpoint.lsn.get(),
            behind_bytes = durable.since(checkpoint.lsn),
            "mirroring"
        );
        let (mut park, mut idle) = (GATHER, Duration::ZERO);
        loop {
            reader.set_durable(self.watch.durable());
            let step = unless_silent(&self.target, session.step(&mut reader)).await?;
            let now = session.checkpoint().unwrap_or(checkpoint);
            self.watch.advanced(&step, now.lsn, now.records);
            breaker.close();
            self.told = None;
            if !step.caught_up {
                continue;
            }
            park = if step.records > 0 { GATHER } else { (park * 2).min(PARK_MAX) };
            idle = if step.records > 0 { park } else { idle + park };
            sleep(park).await;
            if session.is_closed() {
                return Err(Fault::Connection("PostgreSQL has closed the connection".to_owned()));
            }
            if idle >= PING_AFTER {
                unless_silent(&self.target, session.ping()).await?;
                idle = Duration::ZERO;
            }
        }
    }

    /// Waits, and keeps an eye on the age of what cannot be written.
    async fn pause(&self, mut wait: Duration) {
        let mut oldest = None;
        while !wait.is_zero() {
            if oldest.is_none() {
                oldest = self.oldest_waiting();
                self.watch.waiting(oldest);
            }
            let nap = wait.min(GLANCE);
            sleep(nap).await;
            wait -= nap;
        }
    }

    /// The time of the first durable record that PostgreSQL does not have.
    fn oldest_waiting(&self) -> Option<Timestamp> {
        let confirmed = self.watch.confirmed()?;
        let mut reader = Reader::open(&self.log).ok()?;
        reader.set_durable(self.watch.durable());
        reader.seek(confirmed).ok()?;
        let record = reader.next_record().ok()??;
        Some(codec::decode_record(&record).ok()??.at())
    }
}
