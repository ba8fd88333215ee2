//! The sweeper: a thread that expires lapsed holds which nobody happens to meet.
//!
//! A hold ends at its deadline whether or not anything sweeps; the sweeper only sees to it that
//! the record of it, the counters and the mirror follow soon. Owners push the deadline of every new
//! booking onto a queue; the sweeper keeps them in a heap of its own and sleeps until the earliest.
//!
//! It works in bounded batches and lets the log become answerable up to the end of one before it
//! begins the next, so that a million holds lapsing together never crowd out a client.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use flume::RecvTimeoutError;
use wal::Urgency;

use super::Engine;
use super::ledger::NoRoom;
use super::row::State;
use super::slots::Turn;
use crate::domain::{EventNumber, RowNumber, Timestamp};
use crate::sync::Ordering;

/// A booking, and when it lapses.
pub(super) type Due = (Timestamp, EventNumber, RowNumber);

/// How many bookings a batch expires.
const BATCH_MAX: usize = 512;
/// How long the sweeper sleeps at most, so that the queue of new holds stays short.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// How long the sweeper waits before it looks again whether the log has caught up.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the sweeper waits when the log has no room.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);
/// How often idempotency keys whose time is over are forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(600);

/// The deadlines that lie ahead.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    ahead: BinaryHeap<Reverse<Due>>,
    /// Due, but not expired yet.
    lapsed: Vec<Due>,
}

impl Schedule {
    /// How long until there may be something to do: the earliest deadline known, and before the
    /// first of those that are still in the queue, which lie a whole hold ahead.
    fn pause(&self, now: Timestamp, hold_ttl: Duration) -> Duration {
        let longest = (hold_ttl / 2).min(SLEEP_MAX);
        match self.ahead.peek() {
            Some(Reverse((deadline, ..))) => {
                Duration::from_millis(deadline.millis_since(now)).min(longest)
            }
            None => longest,
        }
    }
}

impl Engine {
    /// Expires up to a batch of lapsed bookings; false if the log had no room for that.
    pub(super) fn sweep(&self, schedule: &mut Schedule) -> bool {
        let now = self.clock.now();
        while let Some(due) = self.due.pop() {
            schedule.ahead.push(Reverse(due));
        }
        while schedule.ahead.peek().is_some_and(|Reverse((deadline, ..))| *deadline <= now) {
            let Some(Reverse(due)) = schedule.ahead.pop() else {
                break;
            };
            if let Some(tickets) = self.pending_tickets(due) {
                self.lapsed_tickets.fetch_add(tickets, Ordering::Relaxed);
                schedule.lapsed.push(due);
            }
        }
        let turn = Turn { ledger: &self.log, now, urgency: Urgency::Take };
        for _ in 0..BATCH_MAX {
            let Some(&(_, event, number)) = schedule.lapsed.last() else {
                break;
            };
            let (event, row) = self.linked(event, number);
            if event.seats.settle(turn, number, row) == Err(NoRoom) {
                return false;
            }
            let tickets = u64::from(row.terms.slots.count());
            self.lapsed_tickets.fetch_sub(tickets, Ordering::Relaxed);
            schedule.lapsed.pop();
        }
        true
    }

    /// How many tickets a booking holds, if it is pending.
    fn pending_tickets(&self, (_, event, number): Due) -> Option<u64> {
        let (_, row) = self.linked(event, number);
        (row.word().state() == State::Pending).then(|| u64::from(row.terms.slots.count()))
    }
}

/// The sweeper's thread; dropping this stops it.
#[derive(Debug)]
pub struct Sweeper {
    stop: Option<flume::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts sweeping.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(engine: Arc<Engine>) -> std::io::Result<Self> {
        let (stop, stopped) = flume::bounded(0);
        let thread = std::thread::Builder::new()
            .name("sweeper".into())
            .spawn(move || run(&engine, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A sweeper that panicked has ended the process already.
            let _ = thread.join();
        }
    }
}

fn run(engine: &Engine, stopped: &flume::Receiver<()>) {
    let mut schedule = Schedule::default();
    let hold_ttl = Duration::from_millis(engine.hold_ttl_millis.into());
    let mut purge_at = engine.clock.now();
    loop {
        let had_room = engine.sweep(&mut schedule);
        let mark = engine.log.reserved();
        engine.log.kick();
        let now = engine.clock.now();
        if now >= purge_at {
            engine.store.keys.purge(now);
            purge_at = now + PURGE_INTERVAL;
        }
        let mut pause = match (had_room, schedule.lapsed.is_empty()) {
            (false, _) => NO_ROOM_PAUSE,
            (true, true) => schedule.pause(now, hold_ttl),
            (true, false) => Duration::ZERO,
        };
        loop {
            match stopped.recv_timeout(pause) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if engine.log.answerable() >= mark || engine.log.poisoned().is_some() {
                break;
            }
            pause = PAUSE;
        }
    }
}
