//! A history in the making: a real server, a crowd, and kills.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use booking_manager::domain::EventNumber;
use tempfile::TempDir;

use super::checker::Round;
use super::crowd::Member;
use super::edge::Watcher;
use super::harness::{Server, Settings, wait_until};
use super::history::{Moment, Operation, Outcome, Silence};
use super::means::quick_directory;
use super::records::LogReader;
use super::server_clock::ServerClock;
use super::stopwatch::Stopwatch;
use super::world::{Show, World};

/// The seats of the events on sale; the last is the one that few want.
const SEATS: [usize; 5] = [12, 60, 240, 240, 240];
/// How long a round may take at most.
const ROUND_LIMIT: Duration = Duration::from_secs(3_600);
const USERS: usize = 48;
/// What of the log may be kept at a time, and snapshots beside it.
const DATA_BYTES: u64 = 2 << 30;

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RoundEnd {
    /// The server is killed while all clients are at it, and started again.
    Kill,
    /// The clients stop.
    Stop,
}

/// A history in the making.
#[derive(Debug)]
pub(crate) struct Course {
    server: Server,
    /// Where the server's data is: on a disk that is slow holds lapse before anybody can use them.
    _data: TempDir,
    hold: Duration,
    world: Arc<World>,
    stopwatch: Stopwatch,
    clock: ServerClock,
    log: LogReader,
    members: Vec<Member>,
    watchers: Vec<Watcher>,
    /// The first event of this round.
    pub(crate) first_event: EventNumber,
}

impl Course {
    /// Starts a server whose holds last so long.
    pub(crate) fn start(hold_seconds: u32, members: usize, watchers: usize, seed: u64) -> Self {
        let data = quick_directory(DATA_BYTES);
        let server = Settings::new()
            .data_dir(&data.path().join("data"))
            .hold_ttl_seconds(hold_seconds)
            // More threads than cores: they lose their core in the middle of a step.
            .env("HTTP_THREADS", 4)
            .env("WAL_SEGMENT_BYTES", 16 << 20)
            // Starts begin at a snapshot, and yet the log is there to be read.
            .env("SNAPSHOT_LOG_BYTES", 8 << 20)
            .env("WAL_RETAIN_BYTES", 1_u64 << 30)
            .start();
        let stopwatch = Stopwatch::start();
        let world = Arc::new(World::create(&server, USERS));
        let clock = ServerClock::measure(server.address(), stopwatch);
        let member = |number| Member::new(&world, stopwatch, number, seed);
        let watcher = |number| Watcher::new(&world, stopwatch, clock, seed ^ (number + 1) << 32);
        Self {
            log: LogReader::new(server.data_dir()),
            members: (0..members).map(member).collect(),
            watchers: (0..watchers as u64).map(watcher).collect(),
            server,
            _data: data,
            hold: Duration::from_secs(hold_seconds.into()),
            world: Arc::clone(&world),
            stopwatch,
            clock,
            first_event: EventNumber::new(0),
        }
    }

    /// Lets the clients act until so many more operations are recorded, and holds could lapse.
    pub(crate) fn round(&mut self, operations: u64, end: RoundEnd) -> Round {
        let clock = self.clock;
        let shows: Vec<_> = SEATS.iter().map(|seats| Show::create(&self.server, *seats)).collect();
        for member in &mut self.members {
            member.forget_before(self.first_event);
            member.come_back(self.server.address());
        }
        self.first_event = shows[0].event;
        self.world.set_shows(shows);
        for watcher in &mut self.watchers {
            watcher.clock = clock;
            watcher.recorder.go_to(self.server.address());
        }
        let quota = self.world.recorded.load(Ordering::Relaxed) + operations;
        let killed_at = self.let_act(quota, end);
        if end == RoundEnd::Kill {
            self.server.restart();
            self.clock = ServerClock::measure(self.server.address(), self.stopwatch);
        }
        let operations = self.collect(killed_at);
        Round { operations, records: self.log.read_on(), clock }
    }

    /// Runs all clients to the end of the round; the moment at which the server was killed.
    fn let_act(&mut self, quota: u64, end: RoundEnd) -> Moment {
        let Self { server, world, stopwatch, members, watchers, hold, .. } = self;
        let earliest = stopwatch.now().after(2 * *hold);
        let acting = AtomicUsize::new(members.len());
        world.stop.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            for member in members {
                let acting = &acting;
                scope.spawn(move || {
                    member.act();
                    acting.fetch_sub(1, Ordering::Relaxed);
                });
            }
            for watcher in watchers {
                scope.spawn(|| watcher.act());
            }
            let done =
                || world.recorded.load(Ordering::Relaxed) >= quota && stopwatch.now() >= earliest;
            let lone = || acting.load(Ordering::Relaxed) == 0;
            wait_until(ROUND_LIMIT, "the round is over", || {
                renew_shows(server, world);
                done() || lone()
            });
            assert!(!lone(), "all clients have lost the server, which nobody killed");
            let ended = stopwatch.now();
            match end {
                RoundEnd::Kill => server.kill9(),
                RoundEnd::Stop => world.stop.store(true, Ordering::Relaxed),
            }
            match end {
                RoundEnd::Kill => ended,
                RoundEnd::Stop => Moment(u64::MAX),
            }
        })
    }

    /// What all clients have recorded. A connection that ended when the server was killed is not
    /// lost for no reason.
    fn collect(&mut self, killed_at: Moment) -> Vec<Operation> {
        let members = self.members.iter_mut().map(|member| &mut member.recorder);
        let watchers = self.watchers.iter_mut().map(|watcher| &mut watcher.recorder);
        let recorders = members.chain(watchers);
        let mut operations: Vec<_> =
            recorders.flat_map(|recorder| recorder.take_operations()).collect();
        for operation in &mut operations {
            if let Outcome::Unknown(Silence::Lost(at)) = operation.outcome
                && at >= killed_at
            {
                operation.outcome = Outcome::Unknown(Silence::Killed);
            }
        }
        operations
    }

    /// Ends the server in good order.
    pub(crate) fn finish(mut self) {
        assert!(self.server.terminate().success(), "the server did not stop in good order");
    }
}

/// Puts new events in the place of those that are sold out.
fn renew_shows(server: &Server, world: &World) {
    let mut shows = world.shows();
    let mut renewed = false;
    for show in &mut shows {
        if show.is_sold_out() {
            *show = Show::create(server, show.tickets.len());
            renewed = true;
        }
    }
    if renewed {
        world.set_shows(shows);
    }
}
