//! Waiting for the log: no answer leaves before the log is answerable up to its position.
//!
//! Every runtime thread has one line of waiters. A request whose position is not covered yet joins
//! the line at its end and is woken by the runtime's release task, which runs once per sync. The first
//! to join since the log was last asked to move wakes the runtime's asking task; that one stands
//! behind every task that is ready by then, so all that they append is asked for at once and shares a
//! group. Within one thread positions rise almost always, so the line is first in, first out: an entry that waits
//! for less than the one before it leaves together with that one, at most one group later.
//!
//! No wake-up is lost: the log publishes its mark and then calls [`Bells::ring`]; a waiter joins the
//! line and only then does the release task look at the mark, and a ring that came too early for it
//! is kept by its `Notify`. The line itself is only ever touched by its own thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use wal::{Log, Lsn};

use super::Shared;

/// How every runtime's release task is told that the log has moved.
#[derive(Debug, Default)]
pub(super) struct Bells(OnceLock<Box<[Arc<Notify>]>>);

impl Bells {
    /// Hangs up one bell per runtime; once.
    pub(super) fn hang(&self, bells: Box<[Arc<Notify>]>) {
        let hung = self.0.set(bells);
        assert!(hung.is_ok(), "a server is started once");
    }

    /// Tells every runtime. Called by the log, once per sync.
    pub(super) fn ring(&self) {
        for bell in self.0.get().into_iter().flatten() {
            bell.notify_one();
        }
    }
}

/// Why an answer cannot be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unsettled {
    /// The log has failed for good.
    Poisoned,
    /// The log has not moved for as long as a request may take.
    Stalled,
}

/// The waiters of one runtime.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    line: RefCell<Line>,
    /// Rung when somebody joins an empty line.
    joined: Notify,
    /// Rung when somebody joins and the asking task is not about to run.
    asked: Notify,
    is_asked: Cell<bool>,
}

#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<Entry>,
    /// How many entries have left: the number of the first one in `entries`.
    left: u64,
    /// Entries with lower numbers were given up.
    given_up: u64,
}

#[derive(Debug)]
struct Entry {
    wait_for: Lsn,
    /// `None` once nobody waits here any more.
    waker: Option<Waker>,
}

impl Line {
    fn join(&mut self, wait_for: Lsn, waker: Waker) -> u64 {
        self.entries.push_back(Entry { wait_for, waker: Some(waker) });
        self.left + self.entries.len() as u64 - 1
    }

    /// The entry with this number, unless it has left.
    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let index = usize::try_from(number.checked_sub(self.left)?).ok()?;
        self.entries.get_mut(index)
    }

    /// The next waker whose position `mark` covers.
    fn pop_covered(&mut self, mark: Lsn) -> Option<Entry> {
        if self.entries.front()?.wait_for > mark {
            return None;
        }
        self.left += 1;
        self.entries.pop_front()
    }
}

impl Waiters {
    /// Wakes everybody whose position `mark` covers; whether anybody is left.
    pub(super) fn release(&self, mark: Lsn) -> bool {
        loop {
            // The borrow ends before the waker runs.
            let entry = self.line.borrow_mut().pop_covered(mark);
            match entry {
                Some(entry) => entry.waker.into_iter().for_each(Waker::wake),
                None => break,
            }
        }
        !self.line.borrow().entries.is_empty()
    }

    /// Wakes everybody with the news that waiting longer makes no sense.
    fn give_up(&self) {
        let entries = {
            let mut line = self.line.borrow_mut();
            line.left += line.entries.len() as u64;
            line.given_up = line.left;
            std::mem::take(&mut line.entries)
        };
        let wakers = entries.into_iter().filter_map(|entry| entry.waker);
        wakers.for_each(Waker::wake);
    }

    /// The release task of one runtime: runs for as long as the runtime does.
    pub(super) async fn run(&self, shared: &Shared, bell: &Notify, patience: Duration) {
        loop {
            self.joined.notified().await;
            // Nobody waits for a log that is not there.
            let Some(engine) = shared.engine() else {
                continue;
            };
            let log = engine.log();
            loop {
                let rung = tokio::time::timeout(patience, bell.notified()).await;
                if log.poisoned().is_some() || rung.is_err() && log.answerable() < self.front() {
                    self.give_up();
                }
                if !self.release(log.answerable()) {
                    break;
                }
            }
        }
    }

    /// The asking task of one runtime: has the log move as far as those in line want it to, once
    /// per turn of the runtime's scheduler.
    pub(super) async fn ask(&self, shared: &Shared) {
        loop {
            self.asked.notified().await;
            self.is_asked.set(false);
            // Nobody waits for a log that is not there.
            if let Some(engine) = shared.engine() {
                engine.log().kick();
            }
        }
    }

    fn ask_soon(&self) {
        if !self.is_asked.replace(true) {
            self.asked.notify_one();
        }
    }

    /// What the first in line waits for.
    fn front(&self) -> Lsn {
        let line = self.line.borrow();
        line.entries.front().map_or(Lsn::ZERO, |entry| entry.wait_for)
    }
}

/// One answer's wait. Dropping it, as happens when a client goes away, leaves the line.
#[derive(Debug)]
pub(super) struct Wait {
    waiters: Rc<Waiters>,
    wait_for: Lsn,
    /// The number in line, once in line.
    number: Option<u64>,
}

impl Wait {
    /// A wait for the log to be answerable up to `wait_for`.
    pub(super) fn new(waiters: &Rc<Waiters>, wait_for: Lsn) -> Self {
        Self { waiters: Rc::clone(waiters), wait_for, number: None }
    }

    /// Ready once the answer may leave, or never will.
    pub(super) fn poll(&mut self, log: &Log, cx: &Context<'_>) -> Poll<Result<(), Unsettled>> {
        if log.answerable() >= self.wait_for {
            return Poll::Ready(Ok(()));
        }
        if log.poisoned().is_some() {
            return Poll::Ready(Err(Unsettled::Poisoned));
        }
        let Some(number) = self.number else {
            return self.join(log, cx);
        };
        let mut line = self.waiters.line.borrow_mut();
        if number < line.given_up {
            return Poll::Ready(Err(Unsettled::Stalled));
        }
        // Somebody else may have woken the task; or the entry has left and is woken for good.
        match line.entry(number) {
            Some(Entry { waker: Some(waker), .. }) => waker.clone_from(cx.waker()),
            Some(Entry { waker: None, .. }) | None => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }

    /// Stands in line, unless answers do not wait for a sync and the log moves far enough at once.
    fn join(&mut self, log: &Log, cx: &Context<'_>) -> Poll<Result<(), Unsettled>> {
        if log.answers_on_publish() {
            log.kick();
            if log.answerable() >= self.wait_for {
                return Poll::Ready(Ok(()));
            }
        }
        self.waiters.ask_soon();
        let mut line = self.waiters.line.borrow_mut();
        if line.entries.is_empty() {
            self.waiters.joined.notify_one();
        }
        self.number = Some(line.join(self.wait_for, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(number) = self.number
            && let Some(entry) = self.waiters.line.borrow_mut().entry(number)
        {
            entry.waker = None;
        }
    }
}

/// Waits until the log is answerable up to `wait_for`.
pub(super) async fn settled(
    waiters: &Rc<Waiters>,
    log: &Log,
    wait_for: Lsn,
) -> Result<(), Unsettled> {
    // Most reads find everything settled.
    if log.answerable() >= wait_for {
        return Ok(());
    }
    let mut wait = Wait::new(waiters, wait_for);
    std::future::poll_fn(|cx| wait.poll(log, cx)).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn join(waiters: &Rc<Waiters>, wait_for: u64, count: &Arc<Count>) -> Wait {
        let wait_for = Lsn::new(wait_for);
        let waker = Waker::from(Arc::clone(count));
        let number = waiters.line.borrow_mut().join(wait_for, waker);
        Wait { waiters: Rc::clone(waiters), wait_for, number: Some(number) }
    }

    #[test]
    fn the_line_releases_exactly_what_is_covered_in_order() {
        let waiters = Rc::new(Waiters::default());
        let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
        // The third waits for less than the second, and leaves with it.
        let waits: Vec<Wait> = [10, 30, 20, 40]
            .into_iter()
            .zip(&counts)
            .map(|(position, count)| join(&waiters, position, count))
            .collect();
        let woken = || counts.iter().map(|count| count.get()).collect::<Vec<_>>();

        assert!(waiters.release(Lsn::new(9)));
        assert_eq!(woken(), [0, 0, 0, 0]);
        assert!(waiters.release(Lsn::new(29)));
        assert_eq!(woken(), [1, 0, 0, 0]);
        assert!(waiters.release(Lsn::new(30)));
        assert_eq!(woken(), [1, 1, 1, 0]);
        assert!(!waiters.release(Lsn::new(40)));
        assert_eq!(woken(), [1, 1, 1, 1]);
        drop(waits);
    }

    #[test]
    fn who_has_gone_is_not_woken_and_holds_nobody_up() {
        let waiters = Rc::new(Waiters::default());
        let count = Arc::<Count>::default();
        let first = join(&waiters, 10, &count);
        let gone = join(&waiters, 20, &count);
        let third = join(&waiters, 30, &count);
        drop(gone);
        assert!(!waiters.release(Lsn::new(30)));
        assert_eq!(count.get(), 2);
        // These left the line before they were dropped; later entries keep their numbers.
        let late = join(&waiters, 40, &count);
        drop((first, third));
        assert!(!waiters.release(Lsn::new(40)));
        assert_eq!(count.get(), 3);
        drop(late);
    }

    #[test]
    fn giving_up_empties_the_line_once() {
        let waiters = Rc::new(Waiters::default());
        let count = Arc::<Count>::default();
        let early = join(&waiters, 10, &count);
        waiters.give_up();
        assert_eq!(count.get(), 1);
        let late = join(&waiters, 10, &count);
        assert!(early.number.unwrap() < waiters.line.borrow().given_up);
        assert!(late.number.unwrap() >= waiters.line.borrow().given_up);
        assert!(!waiters.release(Lsn::new(10)));
        assert_eq!(count.get(), 2);
    }

    #[tokio::test]
    async fn a_ring_before_anybody_listens_is_kept() {
        let bells = Bells::default();
        bells.ring();
        let bell = Arc::new(Notify::new());
        bells.hang([Arc::clone(&bell)].into());
        bells.ring();
        bells.ring();
        bell.notified().await;
        let second = tokio::time::timeout(Duration::from_millis(5), bell.notified()).await;
        assert!(second.is_err(), "two rings are one");
    }
}
