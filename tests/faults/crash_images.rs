//! The machine crashes: what was acknowledged is there, from what was synced alone.
//!
//! The server keeps its data on an ext4 in a file, and that file lies on a btrfs. A clone of the file,
//! made at one instant in the middle of a run, has what the ext4 has written to its device by then;
//! pages that are only in memory are missing, as after a crash of the machine. The clone is mounted
//! (its journal is replayed), the real server recovers from it, and everything that clients had been
//! told before the cloning began must be true there. Meanwhile segments are filled, made and removed
//! and snapshots taken without pause; some clones are made of a disk on which a server is recovering.
//!
//! The negative control runs without syncs: there the same comparison must find losses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use booking_manager::codec::decode_record;
use booking_manager::domain::{BookingId, Fact};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;
use wal::Reader;

use crate::audit::{ask_for_snapshot, logged, on, restart_soundly};
use crate::disks::{Btrfs, Ext4, Ground};
use crate::harness::{
    Call, Client, Ending, Holds, Ledger, Load, Server, Settings, World, files, observe_for, sweep,
    wait_until,
};
use crate::means::{Extent, LIMIT, by_extent, extent, report, skipped};
use crate::script::large_event;

const GROUND_BYTES: u64 = 2 << 30;
const DISK_BYTES: u64 = 128 << 20;
const CLIENTS: usize = 6;
const LARGE_EVENTS_AT_ONCE: usize = 3;
/// With more segments than these the log is not filled further, until snapshots, which give way to
/// everything else on a busy machine, let some go: a full disk is not what is tested here.
const SEGMENTS_MAX: usize = 32;
/// How long a snapshot may take on such a machine.
const SNAPSHOTS_LIMIT: Duration = Duration::from_secs(600);

/// What clients had been told at one moment.
#[derive(Clone, Debug, Default)]
struct Told {
    ledger: Ledger,
    /// Events that were acknowledged.
    events: Vec<String>,
    /// The status that somebody was shown last, by booking.
    shown: BTreeMap<String, String>,
}

/// What goes on besides bookings.
#[derive(Debug, Default)]
struct Around {
    stop: AtomicBool,
    events: Mutex<Vec<String>>,
    shown: Mutex<BTreeMap<String, String>>,
    snapshots: AtomicU64,
}

/// A server at work.
struct Busy {
    server: Server,
    world: World,
    load: Option<Load>,
    around: Arc<Around>,
    threads: Vec<JoinHandle<()>>,
}

/// A crash.
struct Shot {
    image: PathBuf,
    before: Told,
    after: Told,
}

/// How often what should happen did.
#[derive(Debug, Default)]
struct Tally {
    crashes: u64,
    acknowledged: usize,
    torn_tails: u64,
    half_made_segments: u64,
    half_made_snapshots: u64,
    from_a_snapshot: u64,
    after_removals: u64,
    while_recovering: u64,
}

impl Around {
    /// Fills the log until told to stop.
    fn create(&self, client: &Client, directory: &Path) {
        while !self.stop.load(Ordering::Relaxed) {
            if files(directory, "wal-").len() > SEGMENTS_MAX {
                observe_for(Duration::from_millis(10));
                continue;
            }
            let answer = client.send(&large_event());
            if answer.status == 201 {
                self.events.lock().unwrap().push(answer.str("event_id").to_owned());
            }
        }
    }

    /// Reads bookings and notes what it is shown.
    fn watch(&self, client: &Client, users: &[String], mut rng: StdRng) {
        while !self.stop.load(Ordering::Relaxed) {
            let user = users.choose(&mut rng).expect("there are users");
            let bookings = client.bookings_of(user);
            let mut shown = self.shown.lock().unwrap();
            for booking in &bookings {
                let text = |member: &str| booking[member].as_str().unwrap().to_owned();
                shown.insert(text("id"), text("status"));
            }
        }
    }

    /// Makes snapshots without pause.
    fn ask_for_snapshots(&self, directory: &Path) {
        while !self.stop.load(Ordering::Relaxed) {
            if ask_for_snapshot(directory).is_ok_and(|answer| answer.get("error").is_none()) {
                self.snapshots.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Of servers whose segments are filled, made and removed all the time.
fn small_segments() -> Settings {
    Settings::new()
        .env("WAL_SEGMENT_BYTES", 1 << 20)
        .env("SNAPSHOT_LOG_BYTES", 1 << 20)
        .env("WAL_RETAIN_BYTES", 0)
}

impl Busy {
    fn start(settings: Settings, directory: &Path, seed: u64) -> Self {
        let server = on(settings, directory).start();
        let world = World::create(&server, 2 * CLIENTS, 3_000);
        let load = Some(Load::start(&server, &world, CLIENTS, 4, seed));
        let around = Arc::new(Around::default());
        let mut threads = Vec::new();
        for _ in 0..LARGE_EVENTS_AT_ONCE {
            let (around, client) = (Arc::clone(&around), server.client());
            let directory = directory.to_owned();
            threads.push(thread::spawn(move || around.create(&client, &directory)));
        }
        let (watched, client, users) = (Arc::clone(&around), server.client(), world.users.clone());
        let rng = StdRng::seed_from_u64(seed);
        threads.push(thread::spawn(move || watched.watch(&client, &users, rng)));
        let (asked, directory) = (Arc::clone(&around), directory.to_owned());
        threads.push(thread::spawn(move || asked.ask_for_snapshots(&directory)));
        Self { server, world, load, around, threads }
    }

    fn told(&self) -> Told {
        let load = self.load.as_ref().expect("it has not been stopped");
        Told {
            ledger: load.so_far().ledger,
            events: self.around.events.lock().unwrap().clone(),
            shown: self.around.shown.lock().unwrap().clone(),
        }
    }

    /// A crash of the disk that it works on, after which it goes on: what is crashed is the copy.
    fn shoot(&self, disk: &Ext4, image: PathBuf) -> Shot {
        let before = self.told();
        disk.crash_image(&image);
        Shot { image, before, after: self.told() }
    }

    fn stop(&mut self) {
        self.around.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("answers came");
        }
        let report = self.load.take().expect("it is stopped once").stop();
        assert_eq!(report.unanswered, 0, "the server itself did not crash");
        self.server.get("/health").expect(200);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // A failed test must not wait for threads that go on for ever.
        self.around.stop.store(true, Ordering::Relaxed);
    }
}

impl Told {
    /// What was told before a crash, and not contradicted while it happened: an ending that was
    /// asked for meanwhile may have made it onto the disk.
    fn due(&self, after: &Self) -> Self {
        let mut due = self.clone();
        let later: BTreeMap<&str, Ending> =
            after.ledger.held.iter().map(|held| (held.id(), held.ending)).collect();
        for held in &mut due.ledger.held {
            if let (Ending::None, Some(Ending::Acknowledged(ending) | Ending::Unknown(ending))) =
                (held.ending, later.get(held.answer.str("booking_id")))
            {
                held.ending = Ending::Unknown(ending);
            }
        }
        due
    }

    /// What is not so for a server, in a line each.
    fn differences(&self, client: &Client, world: &World) -> Vec<String> {
        let mut differences = self.ledger.differences(client, world, Holds::Last);
        for event in &self.events {
            if client.event(event).status != 200 {
                differences.push(format!("event {event} was acknowledged and is lost"));
            }
        }
        for (booking, shown) in &self.shown {
            let now = client.booking(booking);
            let is = now.json["status"].as_str().unwrap_or("lost");
            if now.status != 200 || shown != "pending" && shown != is {
                differences.push(format!("booking {booking} was shown as {shown} and is {is}"));
            }
        }
        differences
    }

    fn len(&self) -> usize {
        self.ledger.held.len() + self.events.len() + self.shown.len()
    }
}

impl Tally {
    /// Looks at what a crash has left.
    fn note_files(&mut self, directory: &Path) {
        let names = fs::read_dir(directory).expect("the directory was synced at its start");
        let names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        let any = |ending: &str| u64::from(names.iter().any(|name| name.ends_with(ending)));
        self.half_made_segments += any(".seg.tmp");
        self.half_made_snapshots += any(".snap.tmp");
        self.after_removals += 1 - any("wal-0000000000000000.seg");
    }

    fn note_recovery(&mut self, server: &Server) {
        let said = server.stderr();
        self.crashes += 1;
        self.torn_tails += u64::from(said.contains("cut off what a crash left unfinished"));
        self.from_a_snapshot += u64::from(said.contains("recovered snapshot_lsn="));
    }
}

/// A disk; `None`, and said, where no loop device is left for it.
fn unless_loops_are_out(disk: Result<Ext4, String>) -> Option<Ext4> {
    match disk {
        Ok(disk) => Some(disk),
        Err(why) if why.contains("loop device") => {
            skipped(&why);
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// Where disks can be crashed; `None`, and said, where none can.
fn disks() -> Option<(Ground, Btrfs)> {
    let ground = Ground::new(GROUND_BYTES / 2);
    match ground.btrfs(GROUND_BYTES) {
        Ok(btrfs) => Some((ground, btrfs)),
        Err(why) => {
            skipped(&why);
            None
        }
    }
}

/// A server on a disk that a crash has left, with everything as it was told.
fn examine(disk: &Ext4, due: &Told, world: &World, tally: &mut Tally) {
    let directory = disk.path().join("data");
    tally.note_files(&directory);
    let server = restart_soundly(Settings::new(), &directory);
    tally.note_recovery(&server);
    tally.acknowledged += due.len();
    let differences = due.differences(&server, world);
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), server.stderr());
    due.ledger.check_replays(&server, 10);
    sweep(&server, world);
    server.create_show(2);
}

/// Starts a server on what a crash has left and crashes the machine again, so long after the server
/// has begun to recover.
fn crash_again(disk: &Ext4, image: &Path, after: Duration) {
    let directory = disk.path().join("data");
    let mut server = Server::stopped(on(Settings::new(), &directory));
    thread::scope(|scope| {
        let recovering = scope.spawn(move || server.restart());
        wait_until(LIMIT, "the server looks at its files", || is_in_use(&directory));
        observe_for(after);
        disk.crash_image(image);
        recovering.join().expect("it recovers, but for the crash");
    });
}

/// Whether some process has a file under this directory open.
fn is_in_use(directory: &Path) -> bool {
    let directory = directory.canonicalize().unwrap();
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let files = entries("/proc".into()).flat_map(|process| entries(process.path().join("fd")));
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|file| file.starts_with(&directory))
}

fn newest_epoch(disk: &Ext4) -> u32 {
    let reader = Reader::open(disk.path().join("data")).unwrap();
    let epochs = reader.segments().iter().map(|segment| segment.header.epoch);
    epochs.max().expect("a log has segments")
}

/// Crashes the machine while a server recovers from what a crash has left, and also earlier or later,
/// and examines what each of these crashes leaves. The last act of a recovery is the first segment of
/// a new epoch: without one on the disk it was not over.
fn examine_recoveries(
    (ground, btrfs): &(Ground, Btrfs),
    crashed: &Ext4,
    due: &Told,
    world: &World,
    tally: &mut Tally,
    rng: &mut StdRng,
) -> Option<()> {
    let mut latest = 300;
    loop {
        let name = format!("recovery-{}", tally.crashes);
        let copy = btrfs.path().join(&name);
        crashed.crash_image(&copy);
        let first = unless_loops_are_out(ground.mount(copy, &name))?;
        let epoch = newest_epoch(&first);
        let again = btrfs.path().join(format!("{name}-again"));
        crash_again(&first, &again, Duration::from_millis(rng.random_range(0..=latest)));
        drop(first);
        let twice = unless_loops_are_out(ground.mount(again, &format!("{name}-again")))?;
        let recovered = newest_epoch(&twice) > epoch;
        examine(&twice, due, world, tally);
        tally.while_recovering += u64::from(!recovered);
        if !recovered {
            return Some(());
        }
        assert!(latest > 0, "a recovery was over as soon as it had begun, again and again");
        latest /= 2;
    }
}

#[test]
fn what_was_acknowledged_survives_crashes_of_the_machine() {
    let Some(disks) = disks() else { return };
    let (ground, btrfs) = &disks;
    let seed: u64 = rand::random();
    report(&format!("seed {seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let (mut snapshots, mut images) = (0, 0);
    for round in 0..by_extent(1, 30) {
        let disk = ground.ext4(btrfs.path(), &format!("disk-{round}"), DISK_BYTES);
        let Some(disk) = unless_loops_are_out(disk) else { return };
        let directory = disk.path().join("data");
        let mut busy = Busy::start(small_segments(), &directory, rng.random());
        let mut shots = Vec::new();
        for number in 0..by_extent(6, 10) {
            if number == 2 {
                // Also on the disk: a segment goes once the removal of the one before was synced.
                let segments = ["wal-0000000000000000.seg", "wal-0000000000100000.seg"];
                let segments = segments.map(|name| directory.join(name));
                let are_gone = || !segments.iter().any(|segment| segment.exists());
                wait_until(SNAPSHOTS_LIMIT, "segments are removed", are_gone);
            }
            observe_for(Duration::from_millis(rng.random_range(50..500)));
            images += 1;
            shots.push(busy.shoot(&disk, btrfs.path().join(format!("crash-{images}"))));
        }
        busy.stop();
        snapshots += busy.around.snapshots.load(Ordering::Relaxed);
        for (number, shot) in shots.into_iter().enumerate() {
            let due = shot.before.due(&shot.after);
            let name = shot.image.file_name().unwrap().to_string_lossy().into_owned();
            let mounted = ground.mount(shot.image, &name);
            let Some(crashed) = unless_loops_are_out(mounted) else { return };
            if number % 3 == 2 {
                let (world, rng) = (&busy.world, &mut rng);
                let done = examine_recoveries(&disks, &crashed, &due, world, &mut tally, rng);
                let Some(()) = done else { return };
            }
            examine(&crashed, &due, &busy.world, &mut tally);
        }
    }
    report(&format!("{tally:?}, {snapshots} snapshots"));
    assert!(tally.acknowledged > 100, "hardly anything was acknowledged");
    assert!(snapshots > 0 && tally.from_a_snapshot > 0, "no snapshot outlived a crash");
    assert!(tally.after_removals > 0, "no crash came after segments had been removed");
    if extent() == Extent::Long {
        assert!(tally.half_made_segments > 0, "no crash came while a segment was made");
        assert!(tally.half_made_snapshots > 0, "no crash came while a snapshot was written");
    }
}

/// The bookings that are recorded in what there is of a log.
fn bookings_in(directory: &Path) -> BTreeSet<String> {
    let mut reader = Reader::open(directory).unwrap();
    let mut bookings = BTreeSet::new();
    while let Some(record) = reader.next_record().unwrap() {
        if let Some(Fact::Held(held)) = decode_record(&record).unwrap() {
            let id = BookingId { event: held.event, row: held.row, tag: held.tag };
            bookings.insert(Uuid::from_u128(id.public().0).to_string());
        }
    }
    bookings
}

/// Under `interval` what is lost is young, and a suffix of the log.
#[test]
fn an_interval_loses_the_newest_alone() {
    let Some((ground, btrfs)) = disks() else { return };
    for round in 0..by_extent(1, 20) {
        let settings = small_segments().durability("interval:200");
        let disk = ground.ext4(btrfs.path(), &format!("disk-{round}"), DISK_BYTES);
        let Some(disk) = unless_loops_are_out(disk) else { return };
        let mut busy = Busy::start(settings, &disk.path().join("data"), rand::random());
        observe_for(Duration::from_millis(300));
        let early = busy.told();
        let mark = |name: &str| busy.server.stats()["wal"][name].as_u64().expect("a position");
        let published = mark("published_lsn");
        wait_until(LIMIT, "all of it is durable", || mark("durable_lsn") >= published);
        let shot = busy.shoot(&disk, btrfs.path().join(format!("crash-{round}")));
        busy.stop();
        let mounted = ground.mount(shot.image, &format!("crash-{round}"));
        let Some(crashed) = unless_loops_are_out(mounted) else { return };
        let server = restart_soundly(Settings::new(), &crashed.path().join("data"));
        let differences = early.due(&shot.after).differences(&server, &busy.world);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        let end: u64 = logged(&server, "recovered", "end_lsn").parse().unwrap();
        let recorded = bookings_in(&crashed.path().join("data"));
        for held in &shot.before.ledger.held {
            let position = held.answer.log_position();
            let status = server.booking(held.id()).status;
            // A hold that another thread has finished is told a position behind its record.
            let is_left = position < end || recorded.contains(held.id());
            let due = if is_left { 200 } else { 404 };
            assert_eq!(status, due, "booking at {position}, and the log ends at {end}");
        }
    }
}

/// What a killed server had in memory alone is on disk before the next one shows it. (Its reading
/// alone makes the kernel write; that it waits for a sync is seen by `call_order`.)
#[test]
fn what_a_restart_shows_survives_a_crash_right_after_it() {
    const BOOKINGS: usize = 200;
    let Some((ground, btrfs)) = disks() else { return };
    let disk = ground.ext4(btrfs.path(), "disk", DISK_BYTES);
    let Some(disk) = unless_loops_are_out(disk) else { return };
    let directory = disk.path().join("data");
    let settings = || Settings::new().env("WAL_SEGMENT_BYTES", 1 << 20);
    let mut killed = on(settings().durability("os"), &directory).start();
    let (user, show) = (killed.create_user(), killed.create_show(BOOKINGS));
    let held: Vec<_> =
        show.tickets.iter().map(|ticket| killed.hold(&user, &show.id, &[ticket])).collect();
    killed.kill9();
    let found_after = |image: &str, make: &dyn Fn(PathBuf)| {
        let path = btrfs.path().join(image);
        make(path.clone());
        let crashed = unless_loops_are_out(ground.mount(path, image))?;
        let server = restart_soundly(settings(), &crashed.path().join("data"));
        Some(held.iter().filter(|booking| server.booking(booking).status == 200).count())
    };
    let never_restarted = found_after("never-restarted", &|path| disk.crash_image(&path));
    let restarted = found_after("restarted", &|path| {
        let server = on(settings(), &directory).start();
        assert!(held.iter().all(|booking| server.booking(booking).status == 200));
        disk.crash_image(&path);
    });
    let (Some(before), Some(after)) = (never_restarted, restarted) else { return };
    assert!(before < BOOKINGS, "all was on disk before: this shows nothing");
    assert_eq!(after, BOOKINGS);
}

/// The negative control: the same crash and the same comparison, but nothing is synced.
#[test]
fn without_syncs_a_crash_loses_what_was_acknowledged() {
    let Some((ground, btrfs)) = disks() else { return };
    for round in 0..by_extent(1, 6) {
        // Whoever finds no segment ready has the one before synced: these are not filled so soon.
        let settings = small_segments().env("WAL_SEGMENT_BYTES", 16 << 20).durability("os");
        let disk = ground.ext4(btrfs.path(), &format!("disk-{round}"), DISK_BYTES);
        let Some(disk) = unless_loops_are_out(disk) else { return };
        let mut busy = Busy::start(settings, &disk.path().join("data"), rand::random());
        observe_for(Duration::from_secs(1));
        let shot = busy.shoot(&disk, btrfs.path().join(format!("crash-{round}")));
        busy.stop();
        let due = shot.before.due(&shot.after);
        let mounted = ground.mount(shot.image, &format!("crash-{round}"));
        let Some(crashed) = unless_loops_are_out(mounted) else { return };
        let server = restart_soundly(Settings::new(), &crashed.path().join("data"));
        let differences = due.differences(&server, &busy.world);
        report(&format!("{} of {} lost", differences.len(), shot.before.len()));
        assert!(!differences.is_empty(), "the comparison does not notice what is lost");
    }
}

/// What a client may send that the log has to hold; so that this file's tests fill segments.
#[test]
fn a_large_event_takes_two_kilobytes_of_log() {
    let server = Settings::new().start();
    let position = |call: &Call| server.send(call).expect(201).log_position();
    let first = position(&large_event());
    let taken = position(&large_event()) - first;
    assert!((2_048..8_192).contains(&taken), "{taken} bytes");
}
