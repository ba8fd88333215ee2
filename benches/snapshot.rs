//! What a snapshot of a sold-out million of seats costs: its size, and the time and memory that writing
//! and loading it take.
//!
//! `cargo bench --bench snapshot [tickets of a booking]` (default 1). In one run and in turns, so that a
//! slow minute meets both:
//!
//! - `snapshot`: the image encoded, written, synced and published, without the pauses that a server
//!   makes for the log's sake;
//! - `bytes`: as many bytes written, synced and renamed, in pieces of a megabyte.
//!
//! The bar is a snapshot in at most 3 times the time of the bytes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program run by hand, which measures time and prints"
)]

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use booking_manager::domain::{
    Amount, Currency, EventCreated, EventId, EventNumber, Fact, Held, RowNumber, SlotIndex, Tag,
    TicketKey, Timestamp, Transition, UserCreated, UserId, UserNumber,
};
use booking_manager::image::Image;
use booking_manager::image::snapshot::{self, Snapshot, file_name};
use uuid::Uuid;
use wal::{LockedDirectory, Lsn};

const EVENTS: u32 = 10;
const SEATS: u32 = 1_000_000;
const SEATS_PER_EVENT: u32 = SEATS / EVENTS;
const USERS: u32 = 100_000;
const ROUNDS: usize = 7;
const LSN: Lsn = Lsn::new(1 << 40);
const AT: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let tickets: u32 = asked.unwrap_or(1).clamp(1, 100);
    let (image, image_bytes) = counted(|| sold_out(tickets));
    println!("{SEATS} seats sold, in {} bookings of {tickets}", image.bookings());
    println!("image       {:.1} MiB of memory", mebibytes(image_bytes));
    let snapshot = Snapshot { log: Uuid::from_u128(7), lsn: LSN, image };
    let directory = tempfile::tempdir().unwrap();
    let locked = LockedDirectory::acquire(directory.path()).unwrap();
    let path = directory.path().join(file_name(LSN));
    let mut figures: [Vec<Duration>; 2] = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let began = Instant::now();
        let go_on = || ControlFlow::Continue(());
        let summary = snapshot::write(&locked, &snapshot, AT, 0, go_on).unwrap().unwrap();
        figures[0].push(began.elapsed());
        let began = Instant::now();
        write_bytes(&directory.path().join("bytes"), usize::try_from(summary.bytes).unwrap());
        figures[1].push(began.elapsed());
        println!("round {round}: snapshot {:?}, bytes {:?}", figures[0][round], figures[1][round]);
    }
    let [written, raw] = figures.map(median);
    let bytes = fs::metadata(&path).unwrap().len();
    println!("size        {:.1} MiB", mebibytes(bytes));
    println!(
        "written in  {written:.3?}, {:.2} times the bytes alone ({raw:.3?})",
        ratio(written, raw)
    );
    drop(snapshot);
    let began = Instant::now();
    let ((loaded, _), loaded_bytes) = counted(|| snapshot::load(&path, || false).unwrap());
    println!("loaded in   {:.3?}, {:.1} MiB of memory", began.elapsed(), mebibytes(loaded_bytes));
    drop(loaded);
    let (asked, longest) = (Cell::new(Instant::now()), Cell::new(Duration::ZERO));
    let loaded = snapshot::load(&path, || {
        longest.set(longest.get().max(asked.replace(Instant::now()).elapsed()));
        false
    });
    drop(loaded.unwrap());
    println!("stops       within {:.1?} while it is loaded", longest.get());
}

/// The state once every seat is sold, in bookings of so many tickets.
fn sold_out(tickets: u32) -> Image {
    let (mut image, mut lsn) = (Image::new(), Lsn::new(4_096));
    let mut apply = |fact: &Fact<'_>| {
        image.apply_fact(fact, lsn).unwrap();
        lsn = lsn.plus(96);
    };
    for number in 0..USERS {
        let user = UserId { number: UserNumber::new(number), tag: Tag::new(number.into()) };
        let email = format!("user-{number}@example.com");
        apply(&Fact::UserCreated(UserCreated {
            user,
            email: &email,
            name: "Ada",
            at: AT,
            stamp: None,
        }));
    }
    let price = Amount::from_minor(7_500).unwrap();
    for number in 0..EVENTS {
        apply(&Fact::EventCreated(EventCreated {
            event: EventId { number: EventNumber::new(number), tag: Tag::new(number.into()) },
            ticket_key: TicketKey::new(number.into()),
            name: "Summer Night",
            artist: "The Testers",
            venue: "City Hall",
            date: "2027-07-01T20:00:00Z",
            total_seats: SEATS_PER_EVENT,
            price,
            currency: Currency::DEFAULT,
            at: AT,
            stamp: None,
        }));
    }
    let seats: Vec<_> = (0..SEATS_PER_EVENT).map(SlotIndex::new).collect();
    for (index, slots) in seats.chunks(tickets as usize).enumerate() {
        for event in (0..EVENTS).map(EventNumber::new) {
            let row = RowNumber::new(u32::try_from(index).unwrap() + 1);
            let user = UserNumber::new((row.get() * EVENTS + event.get()) % USERS);
            apply(&Fact::Held(Held {
                event,
                row,
                tag: Tag::new(row.get().into()),
                user,
                tickets: Cow::Borrowed(slots),
                total: price.times(u32::try_from(slots.len()).unwrap()).unwrap(),
                at: AT,
                deadline: AT + Duration::from_secs(600),
                stamp: None,
            }));
            apply(&Fact::Confirmed(Transition { event, row, at: AT, stamp: None }));
        }
    }
    image
}

/// The same number of bytes, as a snapshot is written at the least.
fn write_bytes(path: &Path, bytes: usize) {
    let piece = vec![0x5a; 1 << 20];
    let unfinished = path.with_extension("tmp");
    let mut file = File::create_new(&unfinished).unwrap();
    for at in (0..bytes).step_by(piece.len()) {
        file.write_all(&piece[..piece.len().min(bytes - at)]).unwrap();
    }
    file.sync_data().unwrap();
    fs::rename(&unfinished, path).unwrap();
    File::open(path.parent().unwrap()).unwrap().sync_all().unwrap();
}

/// What `make` makes, and how much more anonymous memory this process has then.
fn counted<T>(make: impl FnOnce() -> T) -> (T, u64) {
    let before = anonymous_bytes();
    let made = make();
    (made, anonymous_bytes().saturating_sub(before))
}

fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn median(mut figures: Vec<Duration>) -> Duration {
    figures.sort_unstable();
    figures[figures.len() / 2]
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
