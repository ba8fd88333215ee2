//! The whole log in random schedules: appenders, waiters, the syncer, the preparer, removals, closing
//! and failing, on real files that are read again at the end of every execution.
//!
//! Shuttle has one thread run at a time and may switch at every atomic, lock, park and frame's first
//! word; orderings weaker than that are the business of `append`. It reports a deadlock when
//! everybody sleeps, so a client that is not told fails a model. (A background thread that is not woken
//! does not: parked threads may wake by themselves. That is for `append` as well.) Time is made up (see `stopwatch`), so nothing
//! waits for the clock.
//!
//! Mistakes are kept beside the models that find them, a client's and one of closing: the tests that
//! must panic.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use shuttle::{
    Config, FailurePersistence, Runner,
    rand::{Rng, thread_rng},
    scheduler::RandomScheduler,
    sync::{Condvar, Mutex as Watched},
    thread,
};
use tempfile::TempDir;

use crate::{
    Durability, Kind, Log, Lsn, Options, Poison, RecordType, ReserveError, Urgency, shared::Stop,
};

const RECORD: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };
/// The smallest segment; three of the largest records fill one and a half.
const SEGMENT_BYTES: u64 = 128 << 10;
/// How many schedules each model is run in, unless `MODEL_SCHEDULES` says otherwise.
const SCHEDULES: usize = 100;

fn sample(model: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("MODEL_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let mut config = Config::new();
    // Frames are put together on the stack.
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    config.failure_persistence = FailurePersistence::Print;
    Runner::new(RandomScheduler::new(schedules.unwrap_or(SCHEDULES)), config).run(model);
}

/// In memory where there is such a directory: the disk is not what is tried here.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary directory")
}

/// What a client waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Answerable,
    /// A mistake: nobody has synced it yet.
    Published,
}

/// A log, who waits for it, and what should be in it.
struct Scene {
    log: Log,
    directory: TempDir,
    /// How often progress was told of.
    told: Watched<u64>,
    progress: Condvar,
    written: Mutex<BTreeMap<Lsn, Vec<u8>>>,
}

impl Scene {
    fn new(durability: Durability) -> Arc<Self> {
        let directory = directory();
        let mut options = Options::new(directory.path());
        options.segment_bytes = SEGMENT_BYTES;
        options.durability = durability;
        options.pad_group_bytes_min = thread_rng().gen_range(0..2048);
        let (log, _) = Log::open(options, |_| Ok::<_, Infallible>(())).expect("an empty directory");
        let (count, progress) = (Watched::new(0), Condvar::new());
        let written = Mutex::default();
        let scene = Self { log, directory, told: count, progress, written };
        let scene = Arc::new(scene);
        let waker = Arc::downgrade(&scene);
        scene.log.on_progress(Box::new(move || {
            if let Some(scene) = waker.upgrade() {
                scene.wake();
            }
        }));
        scene
    }

    fn wake(&self) {
        *self.told.lock().expect("no panic") += 1;
        self.progress.notify_all();
    }

    fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let scene = Arc::clone(self);
        thread::spawn(move || run(&scene))
    }

    /// Appends a record, unless the log has stopped; returns its end. Some are given up.
    fn append(&self, bytes: usize) -> Result<Option<Lsn>, ReserveError> {
        let payload: Vec<u8> =
            std::iter::repeat_with(|| thread_rng().r#gen()).take(bytes).collect();
        let reservation = loop {
            match self.log.reserve(RECORD, Urgency::Take, &payload) {
                Ok(reservation) => break reservation,
                Err(error) if error.retryable() => thread::yield_now(),
                Err(error) => return Err(error),
            }
        };
        if thread_rng().gen_ratio(1, 5) {
            reservation.void();
            return Ok(None);
        }
        self.written.lock().expect("no panic").insert(reservation.lsn(), payload);
        Ok(Some(reservation.commit()))
    }

    /// Waits as a server's request does: it asks once, and is then told. (A park would not do: shuttle
    /// lets parked threads wake by themselves as long as another can run.)
    fn wait(&self, end: Lsn) -> Result<(), Poison> {
        self.wait_until(Waiting::Answerable, end)
    }

    fn wait_until(&self, waiting: Waiting, end: Lsn) -> Result<(), Poison> {
        self.log.kick();
        let mut told = self.told.lock().expect("no panic");
        loop {
            let reached = match waiting {
                Waiting::Answerable => self.log.answerable(),
                Waiting::Published => self.log.published(),
            };
            if reached >= end {
                return Ok(());
            }
            if let Some(poison) = self.log.poisoned() {
                return Err(poison);
            }
            told = self.progress.wait(told).expect("no panic");
        }
    }

    /// Looks at the marks in an order in which they must not seem to fall.
    fn look(&self) {
        let (durable, published) = (self.log.durable(), self.log.published());
        assert!(durable <= published && published <= self.log.reserved());
    }

    /// Closes the log and compares what is read with what was written.
    fn seal_and_compare(self: Arc<Self>) {
        let end = self.log.seal().expect("nothing failed");
        assert_eq!(self.log.reserved(), end, "all of it is durable");
        let first = self.log.segments()[0].base;
        let scene = Arc::into_inner(self).expect("every thread has gone");
        drop(scene.log);
        let written = scene.written.into_inner().expect("no panic");
        let mut expected = written.into_iter().filter(|(lsn, _)| *lsn >= first);
        let report = crate::verify(scene.directory.path(), |record| {
            assert_eq!(expected.next(), Some((record.lsn, record.payload.to_vec())));
            Ok::<_, Infallible>(())
        });
        assert!(report.expect("a sound log").clean, "something stands behind the clean end");
        assert_eq!(expected.next(), None);
    }
}

/// A few large records, so that segments end, or many small ones.
fn bytes() -> usize {
    if thread_rng().gen_ratio(1, 3) {
        thread_rng().gen_range(30_000..crate::PAYLOAD_BYTES_MAX)
    } else {
        thread_rng().gen_range(0..300)
    }
}

fn appenders_and_waiters(durability: Durability, waiting: Waiting) {
    let scene = Scene::new(durability);
    let threads = [(); 3].map(|()| {
        scene.spawn(move |scene| {
            for _ in 0..3 {
                if let Some(end) = scene.append(bytes()).expect("the log runs") {
                    scene.wait_until(waiting, end).expect("nothing fails");
                    let is_durable = scene.log.durable() >= end;
                    assert!(is_durable || durability != Durability::Commit, "told too early");
                }
                scene.look();
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    scene.seal_and_compare();
}

#[test]
fn what_was_told_to_be_durable_is_there_in_order() {
    sample(|| appenders_and_waiters(Durability::Commit, Waiting::Answerable));
}

#[test]
#[should_panic(expected = "told too early")]
fn a_client_that_does_not_wait_for_the_disk_is_found() {
    sample(|| appenders_and_waiters(Durability::Commit, Waiting::Published));
}

#[test]
fn answers_at_an_interval_or_at_once_arrive_as_well() {
    sample(|| {
        let interval = Durability::Interval(Duration::from_millis(1));
        let durability = if thread_rng().r#gen() { interval } else { Durability::Os };
        appenders_and_waiters(durability, Waiting::Answerable);
    });
}

#[test]
fn old_segments_go_while_others_append() {
    sample(|| {
        let scene = Scene::new(Durability::Commit);
        let appenders = [(), ()].map(|()| {
            scene.spawn(|scene| {
                for _ in 0..4 {
                    let end = scene.append(thread_rng().gen_range(40_000..60_000));
                    if let Some(end) = end.expect("the log runs") {
                        scene.wait(end).expect("nothing fails");
                    }
                }
            })
        });
        let remover = scene.spawn(|scene| {
            for _ in 0..4 {
                let removed = scene.log.remove_below(scene.log.reserved()).expect("files can go");
                assert!(removed.first <= scene.log.durable(), "what is not durable stays");
                thread::yield_now();
            }
        });
        appenders.into_iter().for_each(|thread| thread.join().expect("no panic"));
        remover.join().expect("no panic");
        scene.seal_and_compare();
    });
}

/// In which order a log is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    ClosesFirst,
    /// A mistake: others still append while the syncer writes the clean end.
    ClosesLast,
}

impl Closing {
    fn close(self, log: &Log) {
        if self == Self::ClosesLast {
            log.shared.set_stop(Stop::Seal);
            while log.shared.stop() != Stop::Quit {
                thread::yield_now();
            }
        }
        let end = log.seal().expect("nothing fails");
        assert_eq!(log.reserved(), end, "something stands behind the clean end");
    }
}

fn close_beside_appenders(closing: Closing) {
    sample(move || {
        let scene = Scene::new(Durability::Commit);
        let appenders = [(), ()].map(|()| {
            scene.spawn(|scene| {
                for _ in 0..3 {
                    match scene.append(bytes()) {
                        Ok(Some(end)) => scene.wait(end).expect("what was taken becomes durable"),
                        Ok(None) => {}
                        Err(error) => return assert_eq!(error, ReserveError::Sealed),
                    }
                }
            })
        });
        let closer = scene.spawn(move |scene| closing.close(&scene.log));
        appenders.into_iter().for_each(|thread| thread.join().expect("no panic"));
        closer.join().expect("no panic");
        scene.seal_and_compare();
    });
}

#[test]
fn closing_beside_appenders_loses_nothing() {
    close_beside_appenders(Closing::ClosesFirst);
}

#[test]
#[should_panic(expected = "behind the clean end")]
fn a_log_that_is_closed_last_is_found() {
    close_beside_appenders(Closing::ClosesLast);
}

/// The directory goes away, so that the preparer fails: whoever waits is told, and nobody for ever.
#[test]
fn a_failure_reaches_everybody() {
    sample(|| {
        let scene = Scene::new(Durability::Commit);
        let appenders = [(), ()].map(|()| {
            scene.spawn(|scene| {
                loop {
                    match scene.append(thread_rng().gen_range(20_000..60_000)) {
                        Ok(Some(end)) => drop(scene.wait(end)),
                        Ok(None) => {}
                        Err(error) => return assert_eq!(error, ReserveError::Poisoned),
                    }
                }
            })
        });
        let path: PathBuf = scene.directory.path().to_owned();
        let saboteur = thread::spawn(move || std::fs::remove_dir_all(path).expect("it is there"));
        appenders.into_iter().for_each(|thread| thread.join().expect("no panic"));
        saboteur.join().expect("no panic");
        scene.log.seal().expect_err("the log has failed");
        let durable = scene.log.durable();
        scene.log.kick();
        assert_eq!(scene.log.durable(), durable, "nothing moves any more");
    });
}
