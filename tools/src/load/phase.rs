//! One stretch of load: threads that work side by side, and what they measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::arguments::Run;
use super::beat::{Beat, Pulse};
use super::clock::now;
use super::live::Live;
use super::process;
use super::tally::Tally;
use super::worker::{Pace, Script, Shift, Window, Worked, Worker};

/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Order<'r> {
    /// Connections, threads and so on.
    pub(super) run: &'r Run,
    /// Its name in the report.
    pub(super) name: &'static str,
    pub(super) rate: Option<u32>,
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    /// The processes whose CPU time is the server's; none if it is not to be measured.
    pub(super) server: &'r [u32],
    /// Raised from outside to end it early.
    pub(super) stop: &'r Arc<AtomicBool>,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// Requests a second that were due, in an open loop.
    pub(super) rate: Option<u32>,
    /// For how long.
    pub(super) measured: Duration,
    pub(super) tally: Tally,
    /// Second by second, in order, warming up included.
    pub(super) beats: Vec<Beat>,
    /// CPU time of the server while measuring, in nanoseconds.
    pub(super) server_cpu: Option<u64>,
}

/// Lets the scripts work, each in a thread; gives them back.
pub(super) fn load<S: Script + 'static>(
    order: &Order<'_>,
    scripts: Vec<S>,
) -> anyhow::Result<(Vec<S>, Phase)> {
    let begun = now();
    let from = begun + order.warmup;
    let window = Window { from, until: from + order.duration };
    let (to, beats) = mpsc::channel();
    let threads: Vec<_> = (0..)
        .zip(scripts)
        .map(|(thread, script)| {
            let shift = shift(order, thread, begun, window);
            let worker = Worker::new(shift, script, Pulse::new(begun, Some(to.clone())))?;
            Ok(thread::spawn(move || worker.work()))
        })
        .collect::<anyhow::Result<_>>()?;
    drop(to);
    let seen = watch(order, &beats, window);
    let mut phase = Phase {
        name: order.name,
        rate: order.rate,
        measured: seen.until.saturating_duration_since(window.from),
        tally: Tally::default(),
        beats: seen.beats,
        server_cpu: seen.server_cpu,
    };
    let mut scripts = Vec::new();
    for thread in threads {
        let Worked { script, tally } =
            thread.join().map_err(|_panic| anyhow!("a thread panicked"))??;
        phase.tally.add(&tally);
        scripts.push(script);
    }
    Ok((scripts, phase))
}

/// One thread's share of the connections and of the rate.
fn shift(order: &Order<'_>, thread: u32, begun: Instant, window: Window) -> Shift {
    let Run { connections, threads, .. } = *order.run;
    let share = connections / threads + u32::from(thread < connections % threads);
    let pace = match order.rate {
        None => Pace::Closed,
        Some(rate) => {
            let every = Duration::from_secs(1) * threads / rate;
            Pace::Open { every, next: begun + every * thread / threads }
        }
    };
    Shift {
        target: order.run.url.address,
        connections: share.max(1) as usize,
        pace,
        window,
        patience: order.run.timeout,
        stop: Arc::clone(order.stop),
    }
}

/// What was seen while the threads worked.
struct Seen {
    beats: Vec<Beat>,
    server_cpu: Option<u64>,
    until: Instant,
}

/// Collects what the threads tell, until all have ended; measures the server's CPU time meanwhile.
fn watch(order: &Order<'_>, from: &Receiver<Beat>, window: Window) -> Seen {
    let mut live = Live::new(order.name, order.warmup + order.duration);
    let mut beats: Vec<Beat> = Vec::new();
    let cpu = || process::cpu_nanos_of(order.server);
    let (mut before, mut after) = (None, None);
    let mut until = None;
    loop {
        let time = now();
        if before.is_none() && time >= window.from {
            before = cpu();
        }
        let over = time >= window.until || order.stop.load(Ordering::Relaxed);
        if over && until.is_none() {
            until = Some(time.min(window.until));
            after = cpu();
        }
        let next = [window.from, window.until].into_iter().filter(|next| *next > time).min();
        let wait = next.map_or(LOOK, |next| (next - time).min(LOOK));
        match from.recv_timeout(wait) {
            Ok(beat) => live.show(enter(&mut beats, beat)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    beats.sort_by_key(|beat| beat.second);
    let until = until.unwrap_or_else(|| now().min(window.until));
    let server_cpu = before.zip(after.or_else(cpu)).map(|(before, after)| after - before);
    Seen { beats, server_cpu, until }
}

/// Adds one thread's second to the others'; gives the sum.
fn enter(beats: &mut Vec<Beat>, beat: Beat) -> &Beat {
    let known = beats.iter().position(|known| known.second == beat.second);
    let place = match known {
        Some(place) => {
            beats[place].latencies.add(&beat.latencies).expect("all have the same bounds");
            place
        }
        None => {
            beats.push(beat);
            beats.len() - 1
        }
    };
    &beats[place]
}
