//! A run from its beginning to its end: make, load, sweep, report.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::arguments::Run;
use super::beat::{Beat, Pulse};
use super::clock::{now, unix_millis};
use super::crowd::Crowd;
use super::ledger::Ledger;
use super::plan::{Plan, Rounds};
use super::process;
use super::setup::{self, Size};
use super::supply::{Order, Supply};
use super::sweep::{self, Findings};
use super::tally::Tally;
use super::worker::{Pace, Shift, Window, Worked, Worker};
use super::world::World;

/// Holds a second that seats are made for, where each is asked for once.
const HOLDS_PER_SECOND: u64 = 80_000;
/// How many seats everybody wants.
const HOT_SEATS: u32 = 100;

/// What users do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Distinct seats of one event.
    HotEvent,
    /// The same seats.
    HotSeats,
    /// Overlapping sets.
    Groups,
    /// Distinct seats of many events.
    ManyEvents,
    /// From looking to paying.
    Checkout,
    /// Only looking.
    Browse,
}

impl Scenario {
    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::HotEvent => "hot-event",
            Self::HotSeats => "hot-seats",
            Self::Groups => "groups",
            Self::ManyEvents => "many-events",
            Self::Checkout => "checkout",
            Self::Browse => "browse",
        }
    }

    /// How much it needs, if nothing else is wished.
    fn size(self, run: &Run) -> Size {
        let seconds = (run.warmup + run.duration).as_secs_f64();
        let rate = run.rate.map_or(HOLDS_PER_SECOND as f64, |rate| f64::from(rate) * 1.05);
        let needed = (rate * seconds).ceil().max(f64::from(2 * run.connections));
        // Whole and positive, and bounded by the longest run at the highest rate.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
        let needed = needed as u64;
        let (events, seats) = match self {
            Self::HotEvent => {
                let events = run.events.map_or_else(
                    || needed.div_ceil(u64::from(run.seats.unwrap_or(setup::SEATS_MAX))),
                    u64::from,
                );
                (events.min(1_000), needed.div_ceil(events))
            }
            Self::ManyEvents => {
                let events = u64::from(run.events.unwrap_or(100));
                (events, needed.div_ceil(events))
            }
            Self::HotSeats => (1, u64::from(HOT_SEATS)),
            Self::Groups => (1, 500),
            // A third of the requests are holds, of 2.5 tickets each, and most of them stay.
            Self::Checkout => {
                let events = u64::from(run.events.unwrap_or(20));
                (events, (needed * 4 / 10).div_ceil(events))
            }
            Self::Browse => (20, 1_000),
        };
        let bounded = |number: u64, most: u32| u32::try_from(number).unwrap_or(most).clamp(1, most);
        Size {
            users: run.users.max(run.threads),
            events: run.events.unwrap_or(bounded(events, 100_000)),
            seats: run.seats.unwrap_or(bounded(seats, setup::SEATS_MAX)),
        }
    }

    fn plan(self, size: Size, thread: u32, threads: u32) -> Plan {
        let Size { events, seats, .. } = size;
        let supply = |order| Rounds::over(Supply::new(order, events, seats, thread, threads));
        match self {
            Self::HotEvent => Plan::Distinct(supply(Order::EventByEvent)),
            Self::ManyEvents => Plan::Distinct(supply(Order::InTurns)),
            Self::HotSeats => Plan::Same { seats: seats.min(HOT_SEATS) },
            Self::Groups => Plan::Groups { seats },
            Self::Checkout => Plan::Checkout { events },
            Self::Browse => Plan::Browse { events },
        }
    }
}

/// Everything that a run has found out.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) scenario: Scenario,
    pub(super) run: Run,
    pub(super) size: Size,
    pub(super) setup: Duration,
    /// How long was measured.
    pub(super) measured: Duration,
    pub(super) tally: Tally,
    pub(super) beats: Vec<Beat>,
    /// CPU time of the server while measuring, in nanoseconds.
    pub(super) server_cpu: Option<u64>,
    pub(super) held: usize,
    pub(super) sweep: Option<(Findings, Duration)>,
}

/// Runs a scenario.
pub(super) fn run(scenario: Scenario, run: &Run) -> anyhow::Result<Outcome> {
    let size = scenario.size(run);
    let begun = now();
    let name = format!("load-{:x}-{:x}", unix_millis(), std::process::id());
    let world = setup::make(&run.url, size, &name).context("nothing could be made")?;
    let world = Arc::new(world);
    let setup = begun.elapsed();
    let crowds = (0..run.threads).map(|thread| {
        let plan = scenario.plan(size, thread, run.threads);
        Crowd::new(&world, &run.url.pen, plan, run.seed, thread, run.threads)
    });
    let Loaded { crowds, tally, beats, server_cpu, measured } = load(run, crowds.collect())?;
    let mut ledger = Ledger::default();
    for crowd in crowds {
        ledger.append(crowd.into_ledger());
    }
    let sweep = (!run.no_sweep).then(|| sweep_timed(run, &world, &ledger)).transpose()?;
    let run = run.clone();
    let held = ledger.len();
    Ok(Outcome { scenario, run, size, setup, measured, tally, beats, server_cpu, held, sweep })
}

fn sweep_timed(run: &Run, world: &World, ledger: &Ledger) -> anyhow::Result<(Findings, Duration)> {
    let begun = now();
    let findings = sweep::sweep(&run.url, world, ledger)?;
    Ok((findings, begun.elapsed()))
}

/// What remains of all threads.
struct Loaded {
    crowds: Vec<Crowd>,
    tally: Tally,
    beats: Vec<Beat>,
    server_cpu: Option<u64>,
    measured: Duration,
}

/// Lets the crowds loose, one in a thread.
fn load(run: &Run, crowds: Vec<Crowd>) -> anyhow::Result<Loaded> {
    let begun = now();
    let from = begun + run.warmup;
    let window = Window { from, until: from + run.duration };
    let stop = Arc::new(AtomicBool::new(false));
    let (to, beats) = mpsc::channel();
    let threads: Vec<_> = (0..)
        .zip(crowds)
        .map(|(thread, crowd)| {
            let shift = shift(run, thread, begun, window, &stop);
            let worker = Worker::new(shift, crowd, Pulse::new(begun, Some(to.clone())))?;
            Ok(thread::spawn(move || worker.work()))
        })
        .collect::<anyhow::Result<_>>()?;
    drop(to);
    let (beats, server_cpu) = watch(run, &beats, window);
    let mut loaded = Loaded {
        crowds: Vec::new(),
        tally: Tally::default(),
        beats,
        server_cpu,
        measured: run.duration,
    };
    for thread in threads {
        let Worked { script, tally } = thread.join().expect("a thread panicked")?;
        loaded.tally.add(&tally);
        loaded.crowds.push(script);
    }
    Ok(loaded)
}

/// One thread's share of the connections and of the rate.
fn shift(run: &Run, thread: u32, begun: Instant, window: Window, stop: &Arc<AtomicBool>) -> Shift {
    let share = run.connections / run.threads + u32::from(thread < run.connections % run.threads);
    let pace = match run.rate {
        None => Pace::Closed,
        Some(rate) => {
            let every = Duration::from_secs(1) * run.threads / rate;
            Pace::Open { every, next: begun + every * thread / run.threads }
        }
    };
    Shift {
        target: run.url.address,
        connections: share.max(1) as usize,
        pace,
        window,
        patience: run.timeout,
        stop: Arc::clone(stop),
    }
}

/// Collects what the threads tell, until all have ended; measures the server's CPU time meanwhile.
fn watch(run: &Run, from: &Receiver<Beat>, window: Window) -> (Vec<Beat>, Option<u64>) {
    let mut beats: Vec<Beat> = Vec::new();
    let cpu = || run.server_pid.and_then(process::cpu_nanos);
    let (mut before, mut after) = (None, None);
    loop {
        let time = now();
        if before.is_none() && time >= window.from {
            before = cpu();
        }
        if after.is_none() && time >= window.until {
            after = cpu();
        }
        let next = [window.from, window.until].into_iter().filter(|next| *next > time).min();
        let wait = next.map_or(Duration::from_secs(1), |next| next - time);
        match from.recv_timeout(wait) {
            Ok(beat) => match beats.iter_mut().find(|known| known.second == beat.second) {
                Some(known) => {
                    known
                        .latencies
                        .add(&beat.latencies)
                        .expect("all histograms have the same bounds");
                }
                None => beats.push(beat),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let spent = before.zip(after.or_else(cpu)).map(|(before, after)| after - before);
    (beats, spent)
}
