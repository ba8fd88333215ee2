//! One contender's turn: start it, make a world on it, measure slice by slice, ask whether it was
//! true, end it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tempfile::TempDir;

use crate::load::arguments::{Backend, Compare, Run};
use crate::load::crowd::Crowd;
use crate::load::ledger::{Ledger, Wrongs};
use crate::load::operation::Operation;
use crate::load::phase::{self, Order, Phase};
use crate::load::plan::{Plan, Rounds};
use crate::load::process;
use crate::load::run;
use crate::load::scenario::{self, Scenario};
use crate::load::server::Server;
use crate::load::setup;
use crate::load::supply::{self, Supply};
use crate::load::tally::histogram;
use crate::load::world::World;

use super::child::{Child, Ending, command};
use super::contender::Contender;
use super::programs::Programs;
use super::stored::{Store, Stored};
use super::{booking, postgres, raw_sync, redis};

/// What each slice but a turn's first begins with and does not count: connecting.
const RAMP: Duration = Duration::from_millis(100);
/// More holds than any contender makes in a second, even if it does nothing.
const HOLDS_PER_SECOND_MAX: u32 = 250_000;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all turns have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions<'c> {
    pub(super) order: &'c Compare,
    pub(super) programs: &'c Programs,
    /// Raised when it is to end early.
    pub(super) stop: &'c Arc<AtomicBool>,
}

/// What came of a turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) contender: Contender,
    pub(super) round: u32,
    pub(super) slices: Vec<Slice>,
    /// Of all slices.
    pub(super) latencies: Histogram<u64>,
    pub(super) sync_micros: f64,
    /// Bookings that were acknowledged, while warming up, too.
    pub(super) acknowledged: u64,
    /// `None` of the bare server.
    pub(super) stored: Option<Stored>,
    /// How a seat that is held was answered to somebody else; `None` of the bare server.
    pub(super) taken: Option<u16>,
    pub(super) wrongs: Wrongs,
}

/// One slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// Bookings a second.
    pub(super) rate: f64,
    /// CPU time of the server and what is behind it for each of them.
    pub(super) cpu_micros: Option<f64>,
}

/// A contender that runs. It is ended, front end first, before its directory is removed.
#[derive(Debug)]
struct Running {
    children: Vec<Child>,
    server: Server,
    store: Store,
    directory: TempDir,
}

impl Running {
    fn start(conditions: &Conditions<'_>, contender: Contender) -> anyhow::Result<Self> {
        let Conditions { order, programs, stop } = *conditions;
        let directory = TempDir::with_prefix_in("booking-compare-", &order.directory)
            .with_context(|| format!("cannot write into {}", order.directory.display()))?;
        let path = directory.path();
        let front = |backend, socket| start_front(programs, backend, socket, path);
        let (children, server, store) = match contender {
            Contender::Bare | Contender::Control => {
                let (child, server) = front(Backend::Noop, None)?;
                (vec![child], server, Store::Nothing)
            }
            Contender::Booking(durability) => {
                let (child, server) = booking::start(programs, durability, path, stop)?;
                (vec![child], server, Store::Server)
            }
            Contender::Postgres(locking) => {
                let postgres = programs.postgres.as_ref().context("PostgreSQL is missing")?;
                let database = postgres::start(postgres, path, stop)?;
                let (child, server) = front(locking.backend(), Some(path))?;
                (vec![child, database], server, Store::Postgres(path.to_owned()))
            }
            Contender::Redis(fsync) => {
                let redis = programs.redis.as_ref().context("Redis is missing")?;
                let database = redis::start(redis, fsync, path, stop)?;
                let socket = redis::socket(path);
                let (child, server) = front(Backend::Redis, Some(&socket))?;
                (vec![child, database], server, Store::Redis(socket))
            }
        };
        Ok(Self { children, server, store, directory })
    }

    /// All processes that work for it, PostgreSQL's own with them.
    fn pids(&self) -> Vec<u32> {
        let children = self.children.iter().map(Child::pid);
        children.flat_map(|pid| [vec![pid], process::children(pid)].concat()).collect()
    }
}

fn start_front(
    programs: &Programs,
    backend: Backend,
    socket: Option<&Path>,
    directory: &Path,
) -> anyhow::Result<(Child, Server)> {
    let name = match backend {
        Backend::Noop => "noop",
        Backend::PostgresForUpdate => "postgres-for-update",
        Backend::PostgresOneStatement => "postgres-one-statement",
        Backend::Redis => "redis",
    };
    let log = directory.join("front.log");
    let mut front = command(&programs.own, None, Ending::Terminate);
    front.args(["front", "--backend", name]).stdout(Stdio::piped());
    if let Some(socket) = socket {
        front.arg("--socket").arg(socket);
    }
    let mut child = Child::start(front, Ending::Terminate, &log)?;
    let port = child.said_port(&log).context("the front end did not start")?;
    let server = format!("http://127.0.0.1:{port}").parse()?;
    Ok((child, server))
}

/// Lets a contender take a turn.
pub(super) fn take(
    conditions: &Conditions<'_>,
    contender: Contender,
    round: u32,
) -> anyhow::Result<Turn> {
    let turn = Running::start(conditions, contender)
        .and_then(|running| measure(conditions, &running, contender, round));
    turn.with_context(|| contender.name())
}

fn measure(
    conditions: &Conditions<'_>,
    running: &Running,
    contender: Contender,
    round: u32,
) -> anyhow::Result<Turn> {
    let order = conditions.order;
    let run = generator(order, &running.server);
    let size = Scenario::HotEvent.size(&run);
    let name = run::name();
    let world = Arc::new(setup::make(&run.url, size, &name)?);
    let supply = Supply::new(supply::Order::EventByEvent, size.events, size.seats, 0, 1);
    // None is given back: a front end knows no cancelling.
    let plan = Plan::Distinct(Rounds::once(supply));
    let mut crowd = Crowd::new(&world, &run.url.pen, plan, run.seed, 0, 1);
    // The crowd's alone from here on: what is shared would be copied when another event is made.
    drop(world);
    let pids = running.pids();
    let (mut slices, mut latencies) = (Vec::new(), histogram());
    // How many seats must be left before a slice: a guess, then twice what any slice so far took. (A
    // slice that stood still says nothing about the next one.)
    let mut enough = scenario::needed(&run);
    for number in 0..slices_per_round(order) {
        let slice = Order {
            run: &run,
            name: contender.name(),
            rate: order.rate,
            warmup: if number == 0 { run.warmup } else { RAMP },
            duration: order.slice,
            server: &pids,
            stop: conditions.stop,
        };
        let before = crowd.holds();
        while crowd.seats() < before + enough {
            // All cost the same: the bare server has one answer for every hold, and it names a price.
            crowd.grow(setup::show(&mut run.url.client(), 0, size.seats, &name)?);
        }
        let (mut after, phase) = phase::load(&slice, vec![crowd])?;
        ensure!(!conditions.stop.load(Ordering::Relaxed), "it was stopped");
        ensure!(phase.measured >= order.slice, "the seats did not last: measure shorter slices");
        crowd = after.pop().context("one crowd went, one comes back")?;
        let twice = 2 * (crowd.holds() - before);
        enough = if number == 0 { twice } else { enough.max(twice) };
        slices.push(Slice::of(&phase));
        latencies.add(phase.tally.all())?;
    }
    let sync_micros = raw_sync::micros(running.directory.path())?;
    let world = Arc::clone(crowd.world());
    let ledger = crowd.into_ledger();
    let mut wrongs = Wrongs::default();
    let taken = match &running.store {
        Store::Nothing => None,
        Store::Server | Store::Postgres(_) | Store::Redis(_) => {
            Some(ask_for_taken(&running.server, &world, &ledger)?)
        }
    };
    let stored = running.store.count(&running.server, &world, &ledger, &mut wrongs)?;
    let turn = Turn {
        contender,
        round,
        slices,
        latencies,
        sync_micros,
        acknowledged: ledger.len() as u64,
        stored,
        taken,
        wrongs,
    };
    Ok(turn.judged(ledger.unknown.len() as u64))
}

/// How many slices each turn has.
pub(super) const fn slices_per_round(order: &Compare) -> u32 {
    order.slices.div_ceil(order.rounds)
}

/// What the generator is told: seats enough for the first slice.
fn generator(order: &Compare, server: &Server) -> Run {
    Run {
        url: server.clone(),
        rate: order.rate.or(Some(HOLDS_PER_SECOND_MAX)),
        connections: order.connections,
        threads: 1,
        duration: order.slice,
        warmup: order.warmup.max(RAMP),
        users: order.users,
        events: Some(1),
        seats: None,
        timeout: PATIENCE,
        seed: 1,
        server_pid: None,
        no_sweep: false,
        json: false,
        hdr: None,
        plot: None,
    }
}

/// Somebody asks for a seat that another holds; gives the answer's status.
fn ask_for_taken(server: &Server, world: &World, ledger: &Ledger) -> anyhow::Result<u16> {
    ensure!(ledger.len() > 0, "nothing was booked");
    let entry = ledger.entry(0);
    let show = world.show(entry.event);
    let seat = ledger.seats(entry).first().context("a booking has a seat")?;
    let users = u32::try_from(world.users.len())?;
    let body = serde_json::json!({
        "user_id": world.user((entry.user + 1) % users),
        "event_id": show.id,
        "ticket_ids": [show.tickets[*seat as usize]],
    });
    let answer = server.client().ask_post("/api/bookings", &body.to_string())?;
    Ok(answer.status)
}

impl Slice {
    fn of(phase: &Phase) -> Self {
        let answers = phase.tally.answers();
        let booked = answers
            .iter()
            .filter(|((operation, status, _), _)| *operation == Operation::Hold && *status == 201);
        let booked = booked.map(|(_, count)| *count).sum::<u64>() as f64;
        Self {
            rate: booked / phase.measured.as_secs_f64(),
            cpu_micros: phase.server_cpu.map(|nanos| nanos as f64 / 1e3 / booked.max(1.0)),
        }
    }
}

impl Turn {
    /// Notes what cannot be true, where so many requests were never answered.
    fn judged(mut self, unknown: u64) -> Self {
        let Self { acknowledged, .. } = self;
        let name = self.contender.name();
        if let Some(Stored { bookings, seats }) = self.stored {
            // A request whose answer never came may have been done.
            if bookings < acknowledged || bookings > acknowledged + unknown {
                self.wrongs.note(|| {
                    format!("{name}: {acknowledged} acknowledged, {bookings} bookings stored")
                });
            }
            if seats != bookings {
                self.wrongs.note(|| format!("{name}: {bookings} bookings, {seats} seats held"));
            }
        }
        if let Some(status) = self.taken.filter(|status| *status != 409) {
            self.wrongs.note(|| format!("{name}: a taken seat was answered {status}, not 409"));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::compare::contender::Fsync;

    /// How many things are wrong with a turn that acknowledged 100 bookings.
    fn wrongs(bookings: u64, seats: u64, unknown: u64, taken: u16) -> u64 {
        let turn = Turn {
            contender: Contender::Redis(Fsync::Always),
            round: 0,
            slices: Vec::new(),
            latencies: histogram(),
            sync_micros: 0.0,
            acknowledged: 100,
            stored: Some(Stored { bookings, seats }),
            taken: Some(taken),
            wrongs: Wrongs::default(),
        };
        turn.judged(unknown).wrongs.count
    }

    #[test]
    fn what_was_acknowledged_must_be_stored_and_refused_to_others() {
        assert_eq!(wrongs(100, 100, 0, 409), 0);
        assert_eq!(wrongs(102, 102, 2, 409), 0, "two were done whose answer never came");
        assert_eq!(wrongs(99, 99, 2, 409), 1, "one is lost");
        assert_eq!(wrongs(103, 103, 2, 409), 1, "one was never asked for");
        assert_eq!(wrongs(100, 99, 0, 409), 1, "a seat is in two bookings");
        assert_eq!(wrongs(100, 100, 0, 201), 1, "a seat was sold again");
    }
}
