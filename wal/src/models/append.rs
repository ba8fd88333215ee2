//! The append protocol: the real code of `marks`, `append`, `reservation` and `bell` over modelled
//! memory.
//!
//! Frame bodies are loom cells: reading one without the order that its commit word gives is a race,
//! and so is writing one before `limit` said that its memory is there. A lost wake-up is a deadlock.
//!
//! Some mistakes are kept beside the models that find them. Mutations that were tried besides, each
//! caught by the model named:
//!
//! | mutation | caught by |
//! |---|---|
//! | `commit_word` stores Relaxed | `committed_frames_are_seen_whole` (race on the body) |
//! | `scan` loads Relaxed | `committed_frames_are_seen_whole` (race on the body) |
//! | `scan` takes reserved frames for committed | `committed_frames_are_seen_whole` (race on the body) |
//! | `raise_limit` before `map` | `claims_wait_for_the_limit` (race on the zeros) |
//! | `raise_limit` stores, or `limit` loads, Relaxed | `claims_wait_for_the_limit` (race on the zeros) |
//! | a claimer across the end does not write the padding | `claimers_roll_over_together` (the walk never arrives) |
//! | `claim` stores instead of swapping | `claimers_roll_over_together` (one range, two owners) |
//! | `claim` swaps Relaxed | `a_slot_that_turned_shows_nothing_old` (an old frame is published) |
//! | `close` loads and stores | `closing_sees_every_claim` |
//! | `Bell::arm` or `Bell::ring` without its fence | `no_wake_up_is_lost` (deadlock) |
//! | `Demand::ask` rings before it raises, or the bell without its fence | `no_demand_is_lost` (deadlock) |
//! | the sleeper looks for work before it arms | `no_wake_up_is_lost` (deadlock) |
//! | `publish` without its fence, or without the second walk | `whoever_fills_a_hole_wakes_the_rest` (deadlock) |
//! | `after_fill` without its fence | `whoever_fills_a_hole_wakes_the_rest` (deadlock) |

use std::sync::{Arc, OnceLock};

use loom::thread;

use crate::{
    append::{Append, INTERNAL_BYTES},
    bell::Bell,
    demand::Demand,
    frame::{FRAME_HEADER_BYTES, Kind, RecordType},
    lsn::Lsn,
    marks::{Geometry, Keep, Marks, Refused},
    ring::Ring,
    sync::Ordering,
};

const FRAME: u64 = FRAME_HEADER_BYTES as u64;
/// A header and three frames without payload.
const GEOMETRY: Geometry = Geometry { segment_bytes: 4 * FRAME, header_bytes: FRAME };
const SLOTS: usize = 2;
const RECORD: RecordType =
    RecordType { kind: Kind::new(Kind::FIRST_FREE), version: 1, ignorable: false };

const _: () = assert!(INTERNAL_BYTES > 0);

/// How much of what could happen is explored, unless `MODEL_PREEMPTIONS` says less.
enum Reach {
    /// Every interleaving.
    Everything,
    /// Those with at most three switches away from a thread that could go on: all of them were not
    /// through after a minute.
    FewSwitches,
}

/// Explores `run`.
fn model(reach: Reach, run: impl Fn() + Send + Sync + 'static) {
    let most = std::env::var("MODEL_PREEMPTIONS").ok().and_then(|text| text.parse().ok());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = match reach {
        Reach::Everything => most,
        Reach::FewSwitches => Some(most.map_or(3, |most: usize| most.min(2))),
    };
    builder.check(run);
}

/// A log of one mapped segment, the second one not mapped yet.
fn append(on_publish: bool) -> Append {
    let marks = Marks::new(FRAME, GEOMETRY, u64::MAX);
    let ring = Ring::new(GEOMETRY, SLOTS as u64);
    ring.map(0, GEOMETRY.segment_bytes);
    let append = Append::new(marks, ring, SLOTS, 1, on_publish);
    append.marks.raise_limit(GEOMETRY.segment_bytes);
    append
}

/// Walks and checks that every frame below the mark is whole: its own address stands in it.
fn walk_and_check(append: &Append) -> u64 {
    walk_and_check_from(append, FRAME)
}

/// A thread of its own for the walk: loom leaves out interleavings of the main thread's.
fn walker(append: &Arc<Append>, from: u64) -> thread::JoinHandle<u64> {
    let append = Arc::clone(append);
    thread::spawn(move || walk_and_check_from(&append, from))
}

fn walk_and_check_from(append: &Append, from: u64) -> u64 {
    let published = append.walk(u64::MAX).published;
    let mut at = from;
    while at < published {
        let start = GEOMETRY.frame_start(at);
        let mut lsn = [0; 8];
        append.ring.read(start + 8, &mut lsn);
        assert_eq!(u64::from_le_bytes(lsn), start, "a published frame is incomplete");
        let length = append.ring.word(start).load(Ordering::Relaxed) & u64::from(u32::MAX);
        assert!(length >= FRAME && length <= GEOMETRY.frame_room(), "a published frame is open");
        at = start + length.next_multiple_of(FRAME);
    }
    assert_eq!(at, published);
    published
}

/// One commits, one gives up, one walks meanwhile and makes durable what it found.
#[test]
fn committed_frames_are_seen_whole() {
    model(Reach::Everything, || {
        let append = Arc::new(append(false));
        let walker = walker(&append, FRAME);
        let winner = thread::spawn({
            let append = Arc::clone(&append);
            move || append.reserve(RECORD, b"", 0).expect("room").commit().get()
        });
        let loser = thread::spawn({
            let append = Arc::clone(&append);
            move || append.reserve(RECORD, b"", 0).expect("room").void()
        });
        let published = walker.join().expect("no panic");
        append.marks.advance_durable(published);
        assert!(append.marks.durable() <= append.marks.published());
        assert!(append.marks.published() <= append.marks.reserved());
        winner.join().expect("no panic");
        loser.join().expect("no panic");
        assert_eq!(walk_and_check(&append), append.marks.reserved());
        let count = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        assert_eq!((count(&append.tally.records), count(&append.tally.void_frames)), (1, 1));
    });
}

/// What becomes of the rest of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RollingOver {
    Pads,
    /// A mistake: whoever claims it forgets it.
    LeavesAHole,
}

/// Both ask for more than the first segment has left: one of them pads, both get their own place.
fn two_roll_over(rolling: RollingOver) {
    model(Reach::Everything, move || {
        let append = Arc::new(append(false));
        append.ring.map(GEOMETRY.segment_bytes, GEOMETRY.segment_bytes);
        append.marks.raise_limit(2 * GEOMETRY.segment_bytes);
        append.reserve(RECORD, b"", 0).expect("room").commit();
        append.reserve(RECORD, b"", 0).expect("room").commit();
        let walker = walker(&append, FRAME);
        let threads = [b"first".as_slice(), b""].map(|payload| {
            let append = Arc::clone(&append);
            thread::spawn(move || {
                if rolling == RollingOver::LeavesAHole && !payload.is_empty() {
                    let claim = append.marks.claim(2 * FRAME, Keep::Nothing).expect("room");
                    append.fill_internal(Kind::PADDING, claim.start, claim.end);
                    return (Lsn::new(claim.start), Lsn::new(claim.end));
                }
                let reservation = append.reserve(RECORD, payload, 0).expect("room");
                let range = (reservation.lsn(), reservation.end());
                reservation.commit();
                range
            })
        });
        walker.join().expect("no panic");
        let [first, second] = threads.map(|thread| thread.join().expect("no panic"));
        assert!(first.1 <= second.0 || second.1 <= first.0, "{first:?} and {second:?} overlap");
        let walked = walk_and_check(&append);
        assert_eq!(walked, append.marks.reserved(), "the walk never arrives");
    });
}

#[test]
fn claimers_roll_over_together() {
    two_roll_over(RollingOver::Pads);
}

#[test]
#[should_panic(expected = "never arrives")]
fn a_rest_that_nobody_fills_is_found() {
    two_roll_over(RollingOver::LeavesAHole);
}

/// In which order a segment is made and given out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preparing {
    MapsFirst,
    /// The mistake that the limit is there to rule out.
    RaisesFirst,
}

/// The preparer maps the second segment while an appender wants to use it.
fn an_appender_waits_for_the_next_segment(preparing: Preparing) {
    model(Reach::Everything, move || {
        let append = Arc::new(append(false));
        for _ in 0..3 {
            append.reserve(RECORD, b"", 0).expect("room").commit();
        }
        let walker = walker(&append, FRAME);
        let preparer = thread::spawn({
            let append = Arc::clone(&append);
            move || {
                if preparing == Preparing::RaisesFirst {
                    append.marks.raise_limit(2 * GEOMETRY.segment_bytes);
                }
                append.ring.map(GEOMETRY.segment_bytes, GEOMETRY.segment_bytes);
                append.marks.raise_limit(2 * GEOMETRY.segment_bytes);
            }
        });
        let appender = thread::spawn({
            let append = Arc::clone(&append);
            move || match append.reserve(RECORD, b"", 0) {
                Ok(reservation) => drop(reservation.commit()),
                Err(refused) => assert_eq!(refused, Refused::NoRoom),
            }
        });
        walker.join().expect("no panic");
        preparer.join().expect("no panic");
        appender.join().expect("no panic");
        assert_eq!(walk_and_check(&append), append.marks.reserved());
        assert!(append.marks.reserved() <= append.marks.limit());
    });
}

#[test]
fn claims_wait_for_the_limit() {
    an_appender_waits_for_the_next_segment(Preparing::MapsFirst);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_limit_before_its_memory_is_found() {
    an_appender_waits_for_the_next_segment(Preparing::RaisesFirst);
}

/// A slot of the ring takes its second segment: no walker takes the frames of the first for its own.
#[test]
fn a_slot_that_turned_shows_nothing_old() {
    model(Reach::Everything, || {
        let append = Arc::new(append(false));
        append.ring.map(GEOMETRY.segment_bytes, GEOMETRY.segment_bytes);
        append.marks.raise_limit(2 * GEOMETRY.segment_bytes);
        for _ in 0..6 {
            append.reserve(RECORD, b"", 0).expect("room").commit();
        }
        let full = walk_and_check(&append);
        append.marks.advance_durable(full);
        let walker = walker(&append, full);
        let preparer = thread::spawn({
            let append = Arc::clone(&append);
            move || {
                let base = 2 * GEOMETRY.segment_bytes;
                append.ring.map(base, GEOMETRY.segment_bytes);
                append.marks.raise_limit(base + GEOMETRY.segment_bytes);
            }
        });
        let appender = thread::spawn({
            let append = Arc::clone(&append);
            move || append.reserve(RECORD, b"", 0).map(|reservation| reservation.commit()).is_ok()
        });
        walker.join().expect("no panic");
        preparer.join().expect("no panic");
        appender.join().expect("no panic");
        assert_eq!(walk_and_check_from(&append, full), append.marks.reserved());
    });
}

/// Closing races with a claim: what was claimed is in the mark that closing returns.
#[test]
fn closing_sees_every_claim() {
    model(Reach::Everything, || {
        let append = Arc::new(append(false));
        let appender = thread::spawn({
            let append = Arc::clone(&append);
            move || append.reserve(RECORD, b"", 0).map(|reservation| reservation.commit().get())
        });
        let end = append.marks.close();
        match appender.join().expect("no panic") {
            Ok(claimed) => assert!(claimed <= end),
            Err(refused) => assert_eq!((refused, end), (Refused::Closed, FRAME)),
        }
        assert_eq!(walk_and_check(&append), end);
        append.append_internal(Kind::SEAL, Keep::Nothing).expect("room");
        assert_eq!(walk_and_check(&append), end + FRAME);
    });
}

/// How far ahead of `durable` is as far as one may get.
const FAR: u64 = 2 * FRAME;

/// How an appender keeps from getting too far ahead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bounding {
    ClaimsWithin,
    /// A mistake: it looks how far it would get, and claims at another instant.
    LooksFirst,
}

fn would_be_far(marks: &Marks) -> bool {
    marks.reserved() + FRAME - marks.durable() > FAR
}

/// However claims and syncs mix, nobody gets further ahead of `durable` than allowed.
fn appenders_race_the_syncer(bounding: Bounding) {
    model(Reach::FewSwitches, move || {
        let bound = if bounding == Bounding::ClaimsWithin { FAR } else { u64::MAX };
        let marks = Marks::new(FRAME, GEOMETRY, bound);
        let ring = Ring::new(GEOMETRY, SLOTS as u64);
        ring.map(0, GEOMETRY.segment_bytes);
        let append = Arc::new(Append::new(marks, ring, SLOTS, 1, false));
        append.marks.raise_limit(GEOMETRY.segment_bytes);
        let appenders = [2, 1].map(|records| {
            let append = Arc::clone(&append);
            thread::spawn(move || {
                for _ in 0..records {
                    if bounding == Bounding::LooksFirst && would_be_far(&append.marks) {
                        continue;
                    }
                    let Ok(reservation) = append.reserve(RECORD, b"", 0) else {
                        continue;
                    };
                    // `durable` only rises, so it was no nearer when the claim was made.
                    let distance = reservation.end().get() - append.marks.durable();
                    assert!(distance <= FAR, "too far ahead");
                    reservation.commit();
                }
            })
        });
        let syncer = thread::spawn({
            let append = Arc::clone(&append);
            move || append.marks.advance_durable(append.walk(u64::MAX).published)
        });
        appenders.into_iter().for_each(|appender| appender.join().expect("no panic"));
        syncer.join().expect("no panic");
        assert_eq!(walk_and_check(&append), append.marks.reserved());
    });
}

#[test]
fn nobody_gets_too_far_ahead() {
    appenders_race_the_syncer(Bounding::ClaimsWithin);
}

#[test]
#[should_panic(expected = "too far ahead")]
fn a_look_before_the_claim_is_found() {
    appenders_race_the_syncer(Bounding::LooksFirst);
}

/// How the syncer comes by the rest of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Claims,
    /// A mistake: it fills what is free when it looks.
    TakesTheRest,
}

impl Padding {
    fn pad(self, append: &Append, page: u64) {
        match self {
            Self::Claims => match append.marks.claim_rest_of_page(page, 0) {
                Some(claim) => append.fill_internal(Kind::PADDING, claim.start, claim.end),
                None => assert!(append.marks.reserved() >= page),
            },
            Self::TakesTheRest => {
                let start = append.marks.reserved();
                if start < page {
                    append.fill_internal(Kind::PADDING, start, page);
                }
            }
        }
    }
}

/// The syncer fills the tail's page while others append: every byte has one owner.
fn a_page_is_filled(padding: Padding) {
    const PAGE: u64 = 2 * FRAME;
    model(Reach::Everything, move || {
        let append = Arc::new(append(false));
        let walker = walker(&append, FRAME);
        let syncer = thread::spawn({
            let append = Arc::clone(&append);
            move || padding.pad(&append, PAGE)
        });
        let appender = thread::spawn({
            let append = Arc::clone(&append);
            move || append.reserve(RECORD, b"", 0).expect("room").commit().get()
        });
        walker.join().expect("no panic");
        syncer.join().expect("no panic");
        appender.join().expect("no panic");
        assert_eq!(walk_and_check(&append), append.marks.reserved());
        let padded = append.tally.internal_frames.load(std::sync::atomic::Ordering::Relaxed) == 1;
        assert_eq!(append.marks.reserved(), if padded { PAGE + FRAME } else { PAGE });
    });
}

#[test]
fn a_page_is_filled_beside_appenders() {
    a_page_is_filled(Padding::Claims);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_rest_of_a_page_that_nobody_claimed_is_found() {
    a_page_is_filled(Padding::TakesTheRest);
}

/// When the syncer looks for work a last time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleeping {
    ArmsFirst,
    /// A mistake: whoever comes in between finds the bell not armed.
    LooksFirst,
}

/// The syncer sleeps when it finds nothing; whoever waits for a record rings.
fn a_syncer_sleeps(sleeping: Sleeping) {
    model(Reach::FewSwitches, move || {
        let append = Arc::new(append(false));
        let bell = Arc::new(Bell::new());
        let syncer = thread::spawn({
            let (append, bell) = (Arc::clone(&append), Arc::clone(&bell));
            move || {
                bell.attend();
                loop {
                    let walked = append.walk(u64::MAX);
                    if walked.published > append.marks.durable() {
                        append.marks.advance_durable(walked.published);
                    }
                    if append.marks.durable() == FRAME + 2 * FRAME {
                        return;
                    }
                    let nothing = || append.marks.reserved() == append.marks.durable();
                    let early = (sleeping == Sleeping::LooksFirst).then(nothing);
                    bell.arm();
                    if early.unwrap_or_else(nothing) {
                        thread::park();
                    } else {
                        thread::yield_now();
                    }
                    bell.disarm();
                }
            }
        });
        let other = thread::spawn({
            let (append, bell) = (Arc::clone(&append), Arc::clone(&bell));
            move || {
                append.reserve(RECORD, b"", 0).expect("room").commit();
                bell.ring();
            }
        });
        append.reserve(RECORD, b"", 0).expect("room").commit();
        bell.ring();
        other.join().expect("no panic");
        // Deadlocks, and so fails the model, when the last ring was lost.
        syncer.join().expect("no panic");
    });
}

#[test]
fn no_wake_up_is_lost() {
    a_syncer_sleeps(Sleeping::ArmsFirst);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_syncer_that_looks_too_early_is_found() {
    a_syncer_sleeps(Sleeping::LooksFirst);
}

/// Whoever asks for what another has asked for may rely on that one's ring.
#[test]
fn no_demand_is_lost() {
    model(Reach::FewSwitches, || {
        let append = Arc::new(append(false));
        let (bell, demand) = (Arc::new(Bell::new()), Arc::new(Demand::new(FRAME)));
        let syncer = thread::spawn({
            let (append, bell, demand) =
                (Arc::clone(&append), Arc::clone(&bell), Arc::clone(&demand));
            move || {
                bell.attend();
                while append.marks.durable() < FRAME + 2 * FRAME {
                    bell.arm();
                    if !demand.exceeds(append.marks.durable()) {
                        thread::park();
                    }
                    bell.disarm();
                    if demand.exceeds(append.marks.durable()) {
                        let walked = append.walk(u64::MAX);
                        if walked.published == append.marks.durable() {
                            thread::yield_now();
                        } else {
                            append.marks.advance_durable(walked.published);
                        }
                    }
                }
            }
        });
        let ask = |append: &Append, bell: &Bell, demand: &Demand| {
            append.reserve(RECORD, b"", 0).expect("room").commit();
            demand.ask(append.marks.reserved(), bell);
        };
        let other = thread::spawn({
            let (append, bell, demand) =
                (Arc::clone(&append), Arc::clone(&bell), Arc::clone(&demand));
            move || ask(&append, &bell, &demand)
        });
        ask(&append, &bell, &demand);
        other.join().expect("no panic");
        // Deadlocks, and so fails the model, when the last demand was lost.
        syncer.join().expect("no panic");
    });
}

/// A record committed behind a hole can be answered as soon as the hole is filled, without a syncer.
#[test]
fn whoever_fills_a_hole_wakes_the_rest() {
    model(Reach::Everything, || {
        let append = Arc::new(append(true));
        let waiter: Arc<OnceLock<thread::Thread>> = Arc::default();
        append.set_notify(Box::new({
            let waiter = Arc::clone(&waiter);
            move || {
                if let Some(waiter) = waiter.get() {
                    waiter.unpark();
                }
            }
        }));
        let hole = append.reserve(RECORD, b"", 0).expect("room");
        let behind = thread::spawn({
            let (append, waiter) = (Arc::clone(&append), Arc::clone(&waiter));
            move || {
                waiter.set(thread::current()).expect("once");
                let end = append.reserve(RECORD, b"", 0).expect("room").commit().get();
                append.publish();
                while append.marks.published() < end {
                    thread::park();
                }
            }
        });
        hole.commit();
        behind.join().expect("no panic");
        assert_eq!(walk_and_check(&append), append.marks.reserved());
    });
}
