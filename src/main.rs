//! The process: wiring, and nothing else.
//!
//! Configuration, log lines, the HTTP server (which answers `/livez` and `/readyz` from here on),
//! recovery, the engine behind the server, the sweeper; then waiting for a signal or for the log to
//! fail; then in reverse: drain, stop sweeping, seal the log.
//!
//! A thread that panics ends the process (see `telemetry`), so nothing here waits for one that died.

mod exit;
mod signals;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use booking_manager::checkpoint::{self, Checkpointer, Needed, Retention};
use booking_manager::clock::Clock;
use booking_manager::config::{self, Config, CorsOrigins, Request};
use booking_manager::engine::{Engine, Recovery, Settings, Sweeper};
use booking_manager::http::{AllowedOrigins, HttpOptions, Running, Server, Shared};
use booking_manager::image::StateHash;
use booking_manager::mirror::{self, Marks, Mirror, Watch};
use booking_manager::stats::{self, Stats};
use booking_manager::telemetry;
use flume::RecvTimeoutError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wal::Poison;

use exit::Failure;
use signals::Signals;

const STATISTICS_INTERVAL: Duration = Duration::from_secs(30);
/// How often the log is asked whether it has failed: one load of one word.
const POISON_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a process whose log has failed goes on answering 503, so that clients learn it.
const POISON_LINGER: Duration = Duration::from_secs(2);
/// Files beside the connections: the log, listeners, standard streams, and some to spare.
const OTHER_FILES: usize = 128;

fn main() -> ExitCode {
    let config = match config::load() {
        Ok(Request::Run(config)) => *config,
        Ok(Request::Show(text)) => {
            let shown = io::stdout().write_all(text.as_bytes());
            return shown.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        Err(fault) => {
            // Without standard error the exit code is all there is left to say.
            let _ = writeln!(io::stderr(), "booking-manager: {fault}");
            return ExitCode::from(exit::USAGE);
        }
    };
    let _lines = telemetry::init(config.log_level, config.log_format);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(exit_code = failure.code(), "{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(config: &Config) -> Result<(), Failure> {
    announce(config);
    let signals = Signals::listen()?;
    let clock = Clock::system();
    let stats = Stats::new();
    let shared = Shared::new(Arc::clone(&stats), clock.clone());
    let running = serve(config, &shared)?;
    let (engine, recovery) = open(config, clock)?;
    shared.open(Arc::clone(&engine));
    signals.serving();
    let sweeper = Sweeper::start(Arc::clone(&engine)).map_err(Failure::Thread)?;
    let mirror = start_mirror(config, &engine, &recovery, &stats)?;
    let watch = mirror.as_ref().map(Mirror::watch);
    let checkpointer = start_checkpoints(config, Arc::clone(&engine), &recovery, watch)?;
    stats.show_checkpoints(checkpointer.status());
    let ticker = Ticker::start(stats, Arc::clone(&engine))?;
    tracing::info!("ready");
    let poison = wait(&signals, &engine);
    if let Some(poison) = poison {
        tracing::error!(reason = %poison, "the log has failed: answering 503, then stopping");
        // A signal ends it sooner.
        let _ = signals.next_within(POISON_LINGER);
        // They may be in the middle of something long, on a disk that fails: nobody waits for them.
        std::mem::forget((checkpointer, mirror));
        return Err(Failure::Poisoned(poison));
    }
    running.drain(config.drain_timeout).map_err(Failure::Drain)?;
    drop((ticker, checkpointer, mirror, sweeper));
    let end = engine.log().seal().map_err(Failure::Seal)?;
    let state = engine.state_hash();
    tracing::info!(
        end_lsn = end.get(),
        state_hash = %state,
        "stopped"
    );
    Ok(())
}

/// Says what is being started.
fn announce(config: &Config) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        environment = config.environment.name(),
        pid = std::process::id(),
        configuration = %config.effective(),
        "starting"
    );
}

/// How many connections there may be: fewer than asked for if they would leave no files for the log.
fn connections(options: &HttpOptions) -> usize {
    let beside = options.files_beside() + OTHER_FILES;
    let needed = options.max_connections.saturating_add(beside);
    let allowed = allow_files(u64::try_from(needed).unwrap_or(u64::MAX));
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if allowed >= needed {
        return options.max_connections;
    }
    let connections = allowed.saturating_sub(beside).max(1);
    tracing::warn!(
        allowed,
        needed,
        connections,
        "fewer files may be open than MAX_CONNECTIONS asks for: raise the limit (ulimit -n)"
    );
    connections
}

/// Raises the limit on open files to `needed`, as far as that is permitted; gives what it is then.
fn allow_files(needed: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let (current, most) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if current >= needed {
        return current;
    }
    let raised = needed.min(most);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }) {
        Ok(()) => raised,
        Err(_) => current,
    }
}

/// Listens, and starts to answer what needs no engine.
fn serve(config: &Config, shared: &Arc<Shared>) -> Result<Running, Failure> {
    let mut options = HttpOptions {
        host: config.host,
        port: config.port,
        runtimes: config.http_threads,
        max_connections: config.max_connections,
        max_body_bytes: config.max_body_bytes,
        request_timeout: config.request_timeout,
        cors: match &config.cors {
            CorsOrigins::Off => AllowedOrigins::None,
            CorsOrigins::Any => AllowedOrigins::Any,
            CorsOrigins::Listed(origins) => AllowedOrigins::These(origins.clone()),
        },
    };
    options.max_connections = connections(&options);
    let listen = |source| Failure::Listen { host: config.host, port: config.port, source };
    let running = Server::bind(options)
        .map_err(listen)?
        .start(Arc::clone(shared))
        .map_err(Failure::Thread)?;
    let address = running.local_addr();
    tracing::info!(%address, port = address.port(), "listening");
    if let Some(path) = &config.port_file {
        write_port(path, address.port())
            .map_err(|source| Failure::PortFile { path: path.clone(), source })?;
    }
    Ok(running)
}

/// Writes the port so that whoever sees the file sees all of it.
fn write_port(path: &Path, port: u16) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    std::fs::write(&unfinished, format!("{port}\n"))?;
    std::fs::rename(&unfinished, path)
}

/// Recovers the state from the newest snapshot and the log.
fn open(config: &Config, clock: Clock) -> Result<(Arc<Engine>, Recovery), Failure> {
    let mut options = wal::Options::new(&config.data_dir);
    options.durability = config.durability;
    options.segment_bytes = config.wal_segment_bytes;
    options.unsynced_bytes_max = config.wal_unsynced_bytes_max;
    let settings = Settings {
        hold_ttl: config.hold_ttl,
        lane_count: config.queue_count,
        lane_capacity: config.queue_capacity,
        bookings_max: config.bookings_max,
        idempotency_keys_max: config.idempotency_keys_max,
    };
    tracing::info!(data_dir = %config.data_dir.display(), "recovering");
    let (engine, recovery) = Engine::open(options, &settings, clock).map_err(Failure::Open)?;
    let state = engine.state_hash();
    report_recovery(&recovery, state);
    Ok((Arc::new(engine), recovery))
}

/// Starts the mirror, if PostgreSQL is configured.
fn start_mirror(
    config: &Config,
    engine: &Arc<Engine>,
    recovery: &Recovery,
    stats: &Stats,
) -> Result<Option<Mirror>, Failure> {
    let Some(postgres) = &config.postgres else { return Ok(None) };
    let (of, before) = (Arc::clone(engine), recovery.records);
    let options = mirror::Options {
        target: postgres.target.clone(),
        log: config.data_dir.clone(),
        marks: Box::new(move || Marks {
            durable: of.log().durable(),
            records: before + of.log().stats().records,
        }),
        clock: engine.clock().clone(),
    };
    let mirror = Mirror::start(options).map_err(Failure::Thread)?;
    stats.show_mirror(mirror.watch());
    Ok(Some(mirror))
}

/// Starts to fold the log into snapshots.
fn start_checkpoints(
    config: &Config,
    engine: Arc<Engine>,
    recovery: &Recovery,
    mirror: Option<Arc<Watch>>,
) -> Result<Checkpointer, Failure> {
    let settings = checkpoint::Settings {
        directory: config.data_dir.clone(),
        log_bytes: config.snapshot_log_bytes,
        age: config.snapshot_age,
        retention: Retention {
            bytes: config.wal_retain_bytes,
            age: config.wal_retain,
            mirror_bytes_max: config.wal_mirror_bytes_max,
        },
    };
    let needed = Box::new(move || match &mirror {
        None => Needed::Nothing,
        Some(mirror) => mirror.needed().map_or(Needed::Unknown, Needed::From),
    });
    Checkpointer::start(engine, settings, recovery, needed).map_err(Failure::Thread)
}

fn report_recovery(recovery: &Recovery, state: StateHash) {
    for (named, error) in &recovery.refused {
        tracing::error!(
            lsn = named.lsn.get(),
            %error,
            "a snapshot cannot be used; recovered from what was before it"
        );
    }
    let report = &recovery.report;
    if let Some(torn) = &report.torn {
        tracing::warn!(
            file = %torn.file.display(),
            offset = torn.offset,
            lsn = torn.lsn.get(),
            bytes_dropped = torn.bytes_dropped,
            reason = %torn.reason,
            "cut off what a crash left unfinished; none of it had been answered"
        );
    }
    tracing::info!(
        snapshot_lsn = recovery.snapshot.map(|snapshot| snapshot.lsn.get()),
        records = report.records,
        records_in_all = recovery.records,
        bytes = report.bytes,
        segments = report.segments,
        end_lsn = report.end.get(),
        clean = report.clean,
        epoch = report.epoch,
        elapsed_ms = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        state_hash = %state,
        "recovered"
    );
}

/// Until the process is told to stop (`None`) or the log has failed.
fn wait(signals: &Signals, engine: &Engine) -> Option<Poison> {
    loop {
        if let Some(signal) = signals.next_within(POISON_CHECK_INTERVAL) {
            tracing::info!(signal, "draining");
            return None;
        }
        if let Some(poison) = engine.log().poisoned() {
            return Some(poison);
        }
    }
}

/// The thread that logs the statistics; dropping this stops it.
struct Ticker {
    stop: Option<flume::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ticker {
    fn start(stats: Arc<Stats>, engine: Arc<Engine>) -> Result<Self, Failure> {
        let (stop, stopped) = flume::bounded::<()>(0);
        let tick = move || {
            while stopped.recv_timeout(STATISTICS_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                stats::log_line(&stats, &engine);
            }
            // The last figures before the end.
            stats::log_line(&stats, &engine);
        };
        let thread = std::thread::Builder::new().name("statistics".to_owned()).spawn(tick);
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(Failure::Thread)?) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked the process would have ended.
            let _ = thread.join();
        }
    }
}
