//! Very many holds that lapse together, and what others notice of it.
//!
//! Another crowd, which has nothing to do with the holds, books at a steady rate (an open loop, so
//! that a stall counts in full) once before the first hold lapses, and once while all of them do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::arguments::{Run, Storm};
use super::clock::now;
use super::crowd::Crowd;
use super::ledger::Ledger;
use super::phase::{self, Order, Phase};
use super::plan::{Plan, Rounds};
use super::run::{self, Outcome};
use super::scenario::Scenario;
use super::server::Server;
use super::setup::{self, Size};
use super::skew::Skew;
use super::supply::{self, Supply};
use super::world::World;

/// Requests a second of the others, if not said otherwise.
const RATE: u32 = 2_000;
/// The longest hold that is waited for.
const TTL_MAX: Duration = Duration::from_secs(300);
/// How long the others work before they are measured.
const WARMUP: Duration = Duration::from_millis(500);
/// The least time that says anything about others before the storm.
const BEFORE_MIN: Duration = Duration::from_secs(1);
/// What is left between the two measurements.
const GAP: Duration = Duration::from_millis(300);
/// How long others are measured after the last hold has lapsed.
const AFTER: Duration = Duration::from_secs(1);
/// How long the server may take to notice that holds have lapsed.
const SWEEP_LIMIT: Duration = Duration::from_secs(60);

/// Runs the scenario.
pub(super) fn run(storm: &Storm) -> anyhow::Result<Outcome> {
    let run = Run { rate: Some(storm.run.rate.unwrap_or(RATE)), ..storm.run.clone() };
    let begun = now();
    let name = run::name();
    let ttl = ttl(&run.url, &name)?;
    ensure!(
        ttl <= TTL_MAX,
        "holds of this server last {} s, which is too long to wait for: start it with \
         HOLD_TTL_SECONDS=15 or so",
        ttl.as_secs()
    );
    let size = Scenario::ExpiryStorm.size(&Run { duration: ttl + run.duration, ..run.clone() });
    let others = Arc::new(setup::make(&run.url, size, &format!("{name}-others"))?);
    let hall = Size { events: 1, seats: storm.holds, ..size };
    let hall = Arc::new(setup::make(&run.url, hall, &format!("{name}-storm"))?);
    let setup = begun.elapsed();

    let stop = run::stopped_by_signals()?;
    let (storm, placing) = place(&run, &hall, &stop)?;
    let skew = Skew::measure(&mut run.url.client())?;
    let (ledger, before, during, swept) = weather(&run, &others, size, &storm, skew, &stop)?;
    let remarks = vec![
        format!("{} holds lapsed within {}", storm.len(), spread(&storm)),
        compared(&before, &during),
        swept,
    ];
    let mut sweep = run::swept(&run, &others, &ledger)?;
    if let (Some((findings, took)), Some((more, longer))) =
        (&mut sweep, run::swept(&run, &hall, &storm)?)
    {
        findings.add(more);
        *took += longer;
    }
    let held = ledger.len() + storm.len();
    let (scenario, phases) = (Scenario::ExpiryStorm, vec![placing, before, during]);
    Ok(Outcome { scenario, run, size, setup, phases, remarks, held, sweep })
}

/// How long holds last, found out by making one.
fn ttl(server: &Server, name: &str) -> anyhow::Result<Duration> {
    let one = Size { users: 1, events: 1, seats: 1 };
    let world = setup::make(server, one, &format!("{name}-probe"))?;
    let (user, show) = (world.user(0), world.show(0));
    let body = format!(
        r#"{{"user_id":"{user}","event_id":"{}","ticket_ids":["{}"]}}"#,
        show.id, show.tickets[0]
    );
    let held = server.client().ask_post("/api/bookings", &body)?.expect(201, "a hold")?;
    let millis = held.answer().number("expires_in_ms").context("a hold has no expires_in_ms")?;
    Ok(Duration::from_millis(millis))
}

/// Holds every seat of the hall, as fast as that goes.
fn place(run: &Run, hall: &Arc<World>, stop: &Arc<AtomicBool>) -> anyhow::Result<(Ledger, Phase)> {
    let seats = u32::try_from(hall.show(0).tickets.len()).unwrap_or(u32::MAX);
    let crowds = (0..run.threads).map(|thread| {
        let supply = Supply::new(supply::Order::EventByEvent, 1, seats, thread, run.threads);
        let plan = Plan::Distinct(Rounds::once(supply));
        Crowd::new(hall, &run.url.pen, plan, run.seed, thread, run.threads)
    });
    let order = Order {
        run,
        name: "placing",
        rate: None,
        warmup: Duration::ZERO,
        duration: TTL_MAX,
        server: run.server_pid.as_slice(),
        stop,
    };
    let (crowds, phase) = phase::load(&order, crowds.collect())?;
    Ok((Ledger::of(crowds.into_iter().map(Crowd::into_ledger)), phase))
}

/// Lets the others work before and during the storm. Also says how soon after its end the server had
/// noticed it.
fn weather(
    run: &Run,
    others: &Arc<World>,
    size: Size,
    storm: &Ledger,
    skew: Skew,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<(Ledger, Phase, Phase, String)> {
    let crowds = (0..run.threads).map(|thread| {
        let plan = Scenario::ExpiryStorm.plan(size, thread, run.threads);
        Crowd::new(others, &run.url.pen, plan, run.seed, thread, run.threads)
    });
    let (first, last) = storm.deadlines().context("no hold was made")?;
    let left = until(first, skew).saturating_sub(WARMUP + GAP);
    ensure!(
        left >= BEFORE_MIN,
        "placing {} holds took so long that the first of them lapses at once: start the server \
         with a longer HOLD_TTL_SECONDS",
        storm.len()
    );
    let duration = run.duration.min(left);
    let (rate, server) = (run.rate, run.server_pid.as_slice());
    let before = Order { run, name: "before", rate, warmup: WARMUP, duration, server, stop };
    let (crowds, before_phase) = phase::load(&before, crowds.collect())?;
    let warmup = until(first, skew);
    let duration = until(last, skew).saturating_sub(warmup) + AFTER;
    let watcher = watch_end(run.url.clone(), until(last, skew));
    let during = Order { name: "during", warmup, duration, ..before };
    let (crowds, during_phase) = phase::load(&during, crowds)?;
    let swept = watcher.join().map_err(|_panic| anyhow::anyhow!("the watcher panicked"))??;
    let ledger = Ledger::of(crowds.into_iter().map(Crowd::into_ledger));
    Ok((ledger, before_phase, during_phase, swept))
}

/// How long it is until the server's clock shows so many milliseconds.
fn until(deadline: i64, skew: Skew) -> Duration {
    Duration::from_millis(u64::try_from(deadline - skew.earliest()).unwrap_or(0))
}

/// From the last deadline on, asks for how many lapsed holds nobody has swept yet.
fn watch_end(server: Server, wait: Duration) -> thread::JoinHandle<anyhow::Result<String>> {
    let begun = now();
    thread::spawn(move || {
        thread::park_timeout(wait);
        let mut client = server.client();
        loop {
            let stats = client.get("/api/bookings/stats")?;
            let lapsed = stats.answer().number("expired_locks");
            let since = begun.elapsed().saturating_sub(wait);
            match lapsed {
                Some(0) => {
                    return Ok(format!(
                        "all swept {:.3} s after the last deadline",
                        since.as_secs_f64()
                    ));
                }
                Some(lapsed) if since > SWEEP_LIMIT => {
                    return Ok(format!(
                        "{lapsed} lapsed holds were still not swept after {} s",
                        since.as_secs()
                    ));
                }
                Some(_) => thread::park_timeout(Duration::from_millis(20)),
                None => return Ok("the server does not tell how many holds have lapsed".into()),
            }
        }
    })
}

fn spread(storm: &Ledger) -> String {
    let millis = storm.deadlines().map_or(0, |(first, last)| last - first);
    format!("{millis} ms")
}

fn compared(before: &Phase, during: &Phase) -> String {
    let p99 = |phase: &Phase| phase.tally.all().value_at_quantile(0.99) as f64 / 1e6;
    let (calm, rough) = (p99(before), p99(during));
    format!(
        "p99 of the others {calm:.3} ms before and {rough:.3} ms during: {:.2} times",
        rough / calm
    )
}
