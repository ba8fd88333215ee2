//! A slice that is cleared for another second while it is read, and a shard that changes hands; how
//! models are run is in [`crate::models`].
//!
//! A slice has two buckets here instead of thousands.

use std::sync::Arc;

use super::*;
use crate::models::{Reach, explore, thread};

/// Two seconds that share a slice, and what is recorded in each: its bucket and duration.
const SECONDS: [(Second, usize, u64); 2] = [(Second(0), 0, 10), (Second(12), 1, 100)];

/// How a slice gets from one second to the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clearing {
    Clears,
    /// A mistake: the old second's records stay and pass for the new one's.
    Forgets,
    /// A mistake: nothing orders the announcement before the clearing.
    #[cfg(booking_loom)]
    LacksFence,
}

impl Clearing {
    /// What goes wrong before the writer records in `now`; it then finds the slice begun.
    fn begin(self, slice: &Slice, now: Second) {
        match self {
            Self::Clears => {}
            Self::Forgets => slice.second.store(now.0 + 1, Ordering::Release),
            #[cfg(booking_loom)]
            Self::LacksFence => {
                slice.second.store(0, Ordering::Relaxed);
                slice.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
                slice.max_nanos.store(0, Ordering::Relaxed);
                slice.second.store(now.0 + 1, Ordering::Release);
            }
        }
    }
}

/// How a reader makes sure that what it has added up is of one second.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    LooksAgain,
    /// A mistake: what was cleared meanwhile is taken as well. (For loom alone: one in a thousand
    /// random schedules shows it.)
    #[cfg(booking_loom)]
    LooksOnce,
}

impl Reading {
    fn read(self, slice: &Slice, to: &mut Durations) {
        match self {
            Self::LooksAgain => slice.add_if_recent(Second(0), &mut [0; 2], to),
            #[cfg(booking_loom)]
            Self::LooksOnce => {
                if slice.second.load(Ordering::Acquire) != 0 {
                    let counts = slice.counts.iter().map(|c| c.load(Ordering::Relaxed).into());
                    to.add(counts, slice.max_nanos.load(Ordering::Relaxed));
                }
            }
        }
    }
}

fn read_while_written(clearing: Clearing, reading: Reading) {
    explore(Reach::Everything, move || {
        let slice = Arc::new(Slice::new(2));
        let writer = Arc::clone(&slice);
        let writer = thread::spawn(move || {
            for (second, bucket, nanos) in SECONDS {
                clearing.begin(&writer, second);
                writer.record(bucket, nanos, second);
            }
        });
        let reader = Arc::clone(&slice);
        let reader = thread::spawn(move || {
            let mut durations = Durations::none();
            reading.read(&reader, &mut durations);
            let of = |bucket| durations.histogram.count_at(layout::shortest_of(bucket));
            let [first, second] = SECONDS.map(|(_, bucket, _)| of(bucket));
            assert!(first + second <= 1, "a mixture of two seconds: {first} and {second}");
            if first + second == 1 {
                let (_, _, own) = SECONDS[usize::from(first == 0)];
                assert!([0, own].contains(&durations.max_nanos), "a maximum of another second");
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_never_mixes_two_seconds() {
    read_while_written(Clearing::Clears, Reading::LooksAgain);
}

#[test]
#[should_panic(expected = "second")]
fn a_slice_that_is_not_cleared_is_found() {
    read_while_written(Clearing::Forgets, Reading::LooksAgain);
}

#[cfg(booking_loom)]
#[test]
#[should_panic(expected = "second")]
fn a_slice_that_is_cleared_without_a_fence_is_found() {
    read_while_written(Clearing::LacksFence, Reading::LooksAgain);
}

#[cfg(booking_loom)]
#[test]
#[should_panic(expected = "second")]
fn a_reader_that_looks_once_is_found() {
    read_while_written(Clearing::Clears, Reading::LooksOnce);
}

/// How a recorder gives its shard to the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handing {
    Releases,
    /// A mistake: whoever claims the shard next need not see what was counted.
    #[cfg(booking_loom)]
    Relaxed,
}

impl Handing {
    fn hand_on(self, shard: &Shard) {
        match self {
            Self::Releases => shard.release(),
            #[cfg(booking_loom)]
            Self::Relaxed => shard.claimed.store(false, Ordering::Relaxed),
        }
    }
}

fn a_shard_changes_hands(handing: Handing) {
    explore(Reach::Everything, move || {
        let shard = Shard {
            claimed: AtomicBool::new(false),
            responses: Default::default(),
            tracks: Box::default(),
        };
        let shard = Arc::new(shard);
        let recorders = [(), ()].map(|()| {
            let shard = Arc::clone(&shard);
            thread::spawn(move || {
                let claimed = shard.claim();
                if claimed {
                    add(&shard.responses[1], 1);
                    handing.hand_on(&shard);
                }
                u64::from(claimed)
            })
        });
        let claims: u64 = recorders.map(|recorder| recorder.join().unwrap()).iter().sum();
        assert!(claims >= 1, "nobody got a shard that is free");
        let mut responses = [0; STATUS_CLASSES];
        shard.add_responses(&mut responses);
        assert_eq!(responses, [0, claims, 0, 0, 0], "what one of them counted is lost");
    });
}

/// What one recorder has counted is not lost to the next, on whatever thread that one is.
#[test]
fn a_shard_that_changes_hands_keeps_what_was_counted() {
    a_shard_changes_hands(Handing::Releases);
}

#[cfg(booking_loom)]
#[test]
#[should_panic(expected = "is lost")]
fn a_shard_that_is_handed_on_without_release_is_found() {
    a_shard_changes_hands(Handing::Relaxed);
}
