//! How models are run: small pieces of real code, in interleavings that no test would meet.
//!
//! * loom explores every interleaving of a few threads, under the C11 memory model as far as it has
//!   it: `RUSTFLAGS="--cfg booking_loom" cargo test --profile models --lib models`
//! * shuttle samples random schedules of more threads and more steps, sequentially consistent:
//!   `RUSTFLAGS="--cfg booking_shuttle" cargo test --profile models --lib models`
//!
//! (Each with a target directory of its own.) The models stand beside what they run: those of the
//! bookings in `engine/models`, of the statistics in `stats/shard/models.rs`, of the mirror's watch in
//! `mirror/watch/models.rs`, of the waiting for the log in `http/models.rs`; those of the log itself
//! are in the crate `wal`.

#[cfg(booking_loom)]
pub(crate) use loom::thread;
#[cfg(booking_shuttle)]
pub(crate) use shuttle::thread;

/// How far loom goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// Every interleaving.
    Everything,
    /// Those with at most so many switches away from a thread that could go on.
    Preemptions(usize),
}

/// A number that the environment gives.
fn given(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Explores `model` as far as `reach` says; if `MODEL_PREEMPTIONS` is given, with so many switches at
/// most, and one fewer than it says.
#[cfg(booking_loom)]
pub(crate) fn explore(reach: Reach, model: impl Fn() + Sync + Send + 'static) {
    let most = given("MODEL_PREEMPTIONS");
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = match reach {
        Reach::Everything => most,
        Reach::Preemptions(own) => Some(most.map_or(own, |most| most.min(own - 1))),
    };
    builder.max_branches = 100_000;
    builder.check(model);
}

/// Runs a model that is written for loom's exhaustive search in a number of schedules.
#[cfg(booking_shuttle)]
pub(crate) fn explore(_: Reach, model: impl Fn() + Sync + Send + 'static) {
    sample(2_000, model);
}

/// Runs `model` in so many random schedules, or in as many as `MODEL_SCHEDULES` says.
#[cfg(booking_shuttle)]
pub(crate) fn sample(schedules: usize, model: impl Fn() + Sync + Send + 'static) {
    use shuttle::scheduler::RandomScheduler;
    let schedules = given("MODEL_SCHEDULES").unwrap_or(schedules);
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    shuttle::Runner::new(RandomScheduler::new(schedules), config).run(model);
}

/// A directory for a log; in memory where there is such a place, since the disk is not what is tried.
#[cfg(booking_shuttle)]
pub(crate) fn directory() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made =
        if memory.is_dir() { tempfile::TempDir::new_in(memory) } else { tempfile::TempDir::new() };
    made.expect("a temporary directory")
}

/// An engine on a log of its own in `directory`, with the log's real threads in the model.
#[cfg(booking_shuttle)]
pub(crate) fn engine(
    directory: &std::path::Path,
    durability: wal::Durability,
    clock: &crate::clock::Clock,
) -> crate::engine::Engine {
    let mut options = wal::Options::new(directory);
    options.segment_bytes = 128 << 10;
    options.durability = durability;
    let settings = crate::engine::Settings {
        hold_ttl: std::time::Duration::from_millis(10),
        lane_count: 1,
        lane_capacity: 8,
        bookings_max: 1_000,
        idempotency_keys_max: 100,
    };
    crate::engine::Engine::open(options, &settings, clock.clone()).expect("a sound log").0
}
