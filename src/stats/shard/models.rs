//! A slice that is cleared for another second while it is read, and a shard that changes hands; how
//! models are run is in [`crate::models`].
//!
//! A slice has two buckets here instead of thousands.

use std::sync::Arc;

use super::*;
use crate::models::{Reach, explore, thread};

/// Two seconds that share a slice, and what is recorded in each: its bucket and duration.
const SECONDS: [(Second, usize, u64); 2] = [(Second(0), 0, 10), (Second(12), 1, 100)];

/// Takes one second's records for the other's, which the models must notice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clearing {
    Clears,
    Forgets,
}

fn read_while_written(clearing: Clearing, reach: Reach) {
    explore(reach, move || {
        let slice = Arc::new(Slice::new(2));
        let writer = Arc::clone(&slice);
        let writer = thread::spawn(move || {
            for (second, bucket, nanos) in SECONDS {
                if clearing == Clearing::Forgets {
                    writer.second.store(second.0 + 1, Ordering::Release);
                }
                writer.record(bucket, nanos, second);
            }
        });
        let reader = Arc::clone(&slice);
        let reader = thread::spawn(move || {
            let mut durations = Durations::none();
            reader.add_if_recent(Second(0), &mut [0; 2], &mut durations);
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
    read_while_written(Clearing::Clears, Reach::Everything);
}

#[test]
#[should_panic(expected = "second")]
fn a_slice_that_is_not_cleared_is_found() {
    read_while_written(Clearing::Forgets, Reach::Everything);
}

/// What one recorder has counted is not lost to the next, on whatever thread that one is.
#[test]
fn a_shard_that_changes_hands_keeps_what_was_counted() {
    explore(Reach::Everything, || {
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
                    shard.release();
                }
                u64::from(claimed)
            })
        });
        let claims: u64 = recorders.map(|recorder| recorder.join().unwrap()).iter().sum();
        assert!(claims >= 1, "nobody got a shard that is free");
        let mut responses = [0; STATUS_CLASSES];
        shard.add_responses(&mut responses);
        assert_eq!(responses, [0, claims, 0, 0, 0]);
    });
}
