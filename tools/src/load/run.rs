//! A run from its beginning to its end: make, load, sweep.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::arguments::Run;
use super::claims::Findings;
use super::clock::{now, unix_millis};
use super::crowd::Crowd;
use super::ledger::Ledger;
use super::live::Live;
use super::phase::{self, Order, Phase};
use super::scenario::Scenario;
use super::setup::{self, Size};
use super::sweep;
use super::world::World;

/// Everything that a run has found out.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) scenario: Scenario,
    pub(super) run: Run,
    pub(super) size: Size,
    /// How long making users and events took.
    pub(super) setup: Duration,
    pub(super) phases: Vec<Phase>,
    /// What else there is to say.
    pub(super) remarks: Vec<String>,
    /// How many bookings were acknowledged.
    pub(super) held: usize,
    pub(super) sweep: Option<(Findings, Duration)>,
}

/// Runs a scenario that has one phase.
pub(super) fn run(scenario: Scenario, run: &Run) -> anyhow::Result<Outcome> {
    let size = scenario.size(run);
    let begun = now();
    let world = Arc::new(setup::make(&run.url, size, &name()).context("nothing could be made")?);
    let setup = begun.elapsed();
    let crowds = (0..run.threads).map(|thread| {
        let plan = scenario.plan(size, thread, run.threads);
        Crowd::new(&world, &run.url.pen, plan, run.seed, thread, run.threads)
    });
    let order = Order {
        run,
        name: scenario.name(),
        rate: run.rate,
        warmup: run.warmup,
        duration: run.duration,
        server: run.server_pid.as_slice(),
        stop: &stopped_by_signals()?,
    };
    let (crowds, phase) = phase::load(&order, crowds.collect())?;
    let ledger = Ledger::of(crowds.into_iter().map(Crowd::into_ledger));
    Ok(Outcome {
        scenario,
        run: run.clone(),
        size,
        setup,
        phases: vec![phase],
        remarks: Vec::new(),
        held: ledger.len(),
        sweep: swept(run, &world, &ledger)?,
    })
}

/// The sweep and how long it took, unless it is not wanted.
pub(super) fn swept(
    run: &Run,
    world: &World,
    ledger: &Ledger,
) -> anyhow::Result<Option<(Findings, Duration)>> {
    if run.no_sweep {
        return Ok(None);
    }
    let _live = Live::waiting(format!("reading back {} bookings", ledger.len()));
    let begun = now();
    let findings = sweep::sweep(&run.url, world, ledger)?;
    Ok(Some((findings, begun.elapsed())))
}

/// What a run calls what it makes, so that it meets no other's.
pub(super) fn name() -> String {
    format!("load-{:x}-{:x}", unix_millis(), std::process::id())
}

/// Raised by the first SIGINT or SIGTERM, so that what was measured is still told; the second ends
/// the process.
pub(super) fn stopped_by_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag raised.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("signals cannot be watched")?;
    }
    Ok(stop)
}
