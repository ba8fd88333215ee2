//! One thread that keeps many connections busy.
//!
//! **Invariant:** each request has a time at which it was *due*, and its latency is counted from then.
//! In a closed loop that is when it is sent, as soon as its connection is free. In an open loop it
//! is when the schedule has it, whether or not a connection was free and whether or not this thread
//! had been waiting for an answer: what a slow server delays counts against the server (no
//! coordinated omission). An answer's time is when epoll told that it was there; what this thread
//! then takes to read a whole batch is not the server's.
//!
//! The thread knows nothing of what is asked: a [`Script`] writes the requests and is told the answers.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::thread::set_current_timer_slack;
use rustix::time::{ClockId, Timespec};

use super::beat::Pulse;
use super::clock::{nanos, now};
use super::connection::{Connection, Received, State};
use super::operation::Asked;
use super::tally::Tally;
use super::wire::Answer;

/// How often connections are looked after that epoll says nothing about.
const CARE: Duration = Duration::from_millis(50);
/// How long after a failure a connection is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// Events taken at once.
const EVENTS_MAX: usize = 1024;

/// What to ask next, if anything.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// This; the request is written.
    Request(Asked),
    /// Nothing until an answer has come.
    Later,
    /// Nothing any more.
    Nothing,
}

/// What is asked, and what becomes of it.
pub(super) trait Script: Send {
    /// Writes the next request.
    fn next(&mut self, out: &mut Vec<u8>) -> Next;

    /// Is told an answer, also those of warming up.
    fn answered(&mut self, asked: &Asked, answer: &Answer<'_>);

    /// Is told that no answer came: whether it was done is not known.
    fn unanswered(&mut self, asked: &Asked);
}

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Whenever a connection is free.
    Closed,
    /// One every so often, the next one at this time.
    Open { every: Duration, next: Instant },
}

impl Pace {
    /// When the next request is due, if that is not after `now`.
    fn due(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Closed => Some(now),
            Self::Open { next, .. } => (*next <= now).then_some(*next),
        }
    }

    /// One was taken.
    fn advance(&mut self) {
        if let Self::Open { every, next } = self {
            *next += *every;
        }
    }
}

/// What counts as measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Requests due from here on,
    pub(super) from: Instant,
    /// and before this; none is sent afterwards.
    pub(super) until: Instant,
}

/// How a thread is to work.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    pub(super) target: SocketAddr,
    pub(super) connections: usize,
    pub(super) pace: Pace,
    pub(super) window: Window,
    /// How long an answer may take.
    pub(super) patience: Duration,
    /// Raised when it is to end early.
    pub(super) stop: Arc<AtomicBool>,
}

/// A thread's state.
#[derive(Debug)]
pub(super) struct Worker<S> {
    shift: Shift,
    script: S,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Those that are free.
    idle: Vec<usize>,
    busy: usize,
    tally: Tally,
    pulse: Pulse,
    /// The thread's CPU time when measuring began, once it has.
    cpu_before: Option<u64>,
    over: bool,
}

/// What remains of a thread.
#[derive(Debug)]
pub(super) struct Worked<S> {
    pub(super) script: S,
    pub(super) tally: Tally,
}

impl<S: Script> Worker<S> {
    pub(super) fn new(shift: Shift, script: S, pulse: Pulse) -> anyhow::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("no epoll")?;
        let start = now();
        let connections = (0..shift.connections).map(|_| Connection::down(start)).collect();
        Ok(Self {
            shift,
            script,
            epoll,
            connections,
            idle: Vec::new(),
            busy: 0,
            tally: Tally::default(),
            pulse,
            cpu_before: None,
            over: false,
        })
    }

    /// Works until the window ends or the script does, and then until every answer has come.
    pub(super) fn work(mut self) -> anyhow::Result<Worked<S>> {
        // Otherwise the kernel may wake a thread 50 us late, and all answers would seem as late.
        set_current_timer_slack(Some(NonZeroU64::MIN)).context("no precise timers")?;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut care = now();
        loop {
            let time = now();
            if time >= care {
                self.look_after(time);
                care = time + CARE;
            }
            self.feed_idle();
            if self.over && self.busy == 0 {
                break;
            }
            events.clear();
            let wait = self.wait(now(), care);
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll failed"),
            }
            let arrived = now();
            for event in &events {
                let place = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.attend(place, event.flags, arrived);
            }
        }
        self.pulse.end(now());
        if let Pace::Open { every, next } = self.shift.pace {
            let missed = self.shift.window.until.saturating_duration_since(next);
            self.tally.faults.unsent = nanos(missed) / nanos(every);
        }
        Ok(Worked { script: self.script, tally: self.tally })
    }

    /// How long nothing has to be done unless a socket says otherwise; less than a second.
    fn wait(&self, now: Instant, care: Instant) -> Duration {
        let care = care.saturating_duration_since(now);
        match self.shift.pace {
            Pace::Open { next, .. } if !self.over && !self.idle.is_empty() => {
                care.min(next.saturating_duration_since(now))
            }
            Pace::Closed | Pace::Open { .. } => care,
        }
    }

    /// Makes connections that are down, and gives up those that keep silent too long.
    fn look_after(&mut self, now: Instant) {
        let window = self.shift.window;
        if self.cpu_before.is_none() && now >= window.from {
            self.cpu_before = Some(cpu_nanos());
        }
        if !self.over && (now >= window.until || self.shift.stop.load(Ordering::Relaxed)) {
            self.end(now);
        }
        for place in 0..self.connections.len() {
            match self.connections[place].state {
                State::Down(at) if at <= now && !self.over => self.connect(place, now),
                State::Connecting(since) if since + self.shift.patience < now => {
                    self.tally.faults.unconnected += 1;
                    self.connections[place].close(now);
                }
                State::Busy(asked, due) if due + self.shift.patience < now => {
                    self.tally.faults.late += 1;
                    self.lose(place, &asked, now);
                }
                State::Down(_) | State::Connecting(_) | State::Idle | State::Busy(..) => {}
            }
        }
        self.pulse.turn(now);
    }

    /// No more requests.
    fn end(&mut self, now: Instant) {
        self.over = true;
        self.shift.window.until = self.shift.window.until.min(now);
        self.tally.cpu_nanos = self.cpu_before.map_or(0, |before| cpu_nanos() - before);
    }

    fn connect(&mut self, place: usize, now: Instant) {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(place as u64);
        let made = self.connections[place].connect(self.shift.target, now);
        let made = made.and_then(|fd| Ok(epoll::add(&self.epoll, fd, data, flags)?));
        if made.is_err() {
            self.tally.faults.unconnected += 1;
            self.connections[place].close(now + AGAIN);
        }
    }

    /// Gives up a connection on which an answer was awaited.
    fn lose(&mut self, place: usize, asked: &Asked, now: Instant) {
        self.script.unanswered(asked);
        self.connections[place].close(now);
        self.busy -= 1;
    }

    /// A socket has something to say.
    fn attend(&mut self, place: usize, flags: EventFlags, arrived: Instant) {
        let Some(connection) = self.connections.get_mut(place) else {
            return;
        };
        let outcome = match connection.state {
            State::Down(_) => return,
            State::Connecting(_) => connection.is_connected().map(|connected| {
                if connected {
                    connection.state = State::Idle;
                    self.idle.push(place);
                }
            }),
            State::Idle | State::Busy(..) => {
                let sent = if connection.is_held_up() { connection.send() } else { Ok(()) };
                let heard = flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP);
                sent.and_then(|()| if heard { self.hear(place, arrived) } else { Ok(()) })
            }
        };
        let ends = flags.intersects(EventFlags::RDHUP | EventFlags::ERR | EventFlags::HUP);
        if outcome.is_err() || ends {
            self.give_up(place);
        }
    }

    /// The connection is of no use any more.
    fn give_up(&mut self, place: usize) {
        let time = now();
        match self.connections[place].state {
            State::Down(_) => {}
            State::Connecting(_) => {
                self.tally.faults.unconnected += 1;
                self.connections[place].close(time + AGAIN);
            }
            State::Idle => {
                self.idle.retain(|idle| *idle != place);
                self.connections[place].close(time);
            }
            State::Busy(asked, _) => {
                self.tally.faults.broken += 1;
                self.lose(place, &asked, time);
            }
        }
    }

    /// Reads what came and, if that is an answer, asks the next thing.
    fn hear(&mut self, place: usize, arrived: Instant) -> io::Result<()> {
        let connection = &mut self.connections[place];
        let Received::Answer(head) = connection.receive()? else {
            return Ok(());
        };
        let State::Busy(asked, due) = connection.state else {
            return Ok(());
        };
        let answer = head.answer(connection.received());
        self.script.answered(&asked, &answer);
        let window = self.shift.window;
        if window.from <= due && due < window.until {
            let latency = nanos(arrived.saturating_duration_since(due));
            self.tally.record(asked.operation, answer.status, answer.code(), latency);
            self.pulse.record(latency);
        }
        connection.done();
        self.busy -= 1;
        if head.closes {
            connection.close(arrived);
        } else if !self.feed(place) {
            self.idle.push(place);
        }
        Ok(())
    }

    /// Lets free connections ask what is due.
    fn feed_idle(&mut self) {
        while let Some(place) = self.idle.pop() {
            if !self.feed(place) {
                self.idle.push(place);
                return;
            }
        }
    }

    /// Lets a free connection ask the next thing; false if there is none now.
    fn feed(&mut self, place: usize) -> bool {
        if self.over {
            return false;
        }
        let time = now();
        let Some(due) = self.shift.pace.due(time) else {
            return false;
        };
        if due >= self.shift.window.until {
            self.end(time);
            return false;
        }
        let connection = &mut self.connections[place];
        let asked = match self.script.next(connection.request()) {
            Next::Request(asked) => asked,
            Next::Later => return false,
            Next::Nothing => {
                self.end(time);
                return false;
            }
        };
        self.shift.pace.advance();
        connection.state = State::Busy(asked, due);
        self.busy += 1;
        if connection.send().is_err() {
            self.give_up(place);
        }
        true
    }
}

/// CPU time of this thread so far.
fn cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}
