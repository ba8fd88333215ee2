//! What one thread has recorded, readable by every other.
//!
//! **Invariant:** every word of a shard is written by one thread at a time, the one whose
//! [`Recorder`](super::Recorder) has claimed it, and only ever read by others. So an increment is a
//! load and a store, without a locked instruction; a recorder waits for nobody, and a reader takes
//! nothing that a recorder needs.
//!
//! **Whole life:** a counter per bucket. Words are `Relaxed`: nothing else is read on the strength of
//! them, and a reader that misses a request of this instant shows it next time. A summary counts what
//! it has read, so it always agrees with itself.
//!
//! **The last seconds:** [`SLICES`] slices, each of one second, reused in turn. A slice's `second` word
//! says which second it holds (plus one; 0: none). It is a sequence lock with one writer:
//!
//! 1. The writer that finds another second there stores 0, passes a release fence, clears the counters,
//!    and stores the new second with release.
//! 2. A reader loads `second` with acquire: it then sees the cleared counters (1, second store). It adds
//!    up, passes an acquire fence and loads `second` again. If any of the counters it saw was written
//!    by a later clearing, the two fences order the 0 before this load, the words differ, and the
//!    reader leaves the slice out.
//!
//! A slice is cleared at the earliest [`SLICES`] seconds after it was begun, and readers look at those of
//! the last [`WINDOW_SECONDS`] alone, so only a reader that stalls for longer than the difference ever
//! loses one. Nothing ticks: whoever records first in a new second clears, and an idle server does
//! nothing.
//!
//! **Size:** for each operation 24 KiB of life counters and 12 of 12 KiB for the seconds, about 168 KiB; with
//! the ten operations 1.7 MiB per recorder. It is allocated zeroed, so pages become resident only
//! when an operation touches them, and shards are reused when a recorder goes.

use hdrhistogram::Histogram;

use super::layout::{self, BUCKETS, bucket_of};
use super::operation::{Operation, STATUS_CLASSES};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence, zeroed};

#[cfg(all(test, any(booking_loom, booking_shuttle)))]
mod models;

/// How many seconds "the last seconds" are: the current one and those before it.
pub(super) const WINDOW_SECONDS: u64 = 10;
/// One more than is read, so that a reader has a second before its oldest slice is reused.
const SLICES: usize = 12;
const _: () = assert!(SLICES as u64 > WINDOW_SECONDS);

/// A second on a clock that only moves forward; which one does not matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Second(pub(super) u64);

/// What one thread has recorded.
#[derive(Debug)]
pub(super) struct Shard {
    /// Whether a recorder has it.
    claimed: AtomicBool,
    responses: [AtomicU64; STATUS_CLASSES],
    tracks: Box<[Track]>,
}

/// What one thread has recorded of one operation.
#[derive(Debug)]
struct Track {
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
    max_nanos: AtomicU64,
    slices: [Slice; SLICES],
}

#[derive(Debug)]
struct Slice {
    /// The second it holds, plus one; 0 while there is none.
    second: AtomicU64,
    max_nanos: AtomicU64,
    counts: Box<[AtomicU32]>,
}

/// Durations added up from any number of shards.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    pub(super) histogram: Histogram<u64>,
    pub(super) sum_nanos: u64,
    pub(super) max_nanos: u64,
}

impl Durations {
    pub(super) fn none() -> Self {
        let histogram = layout::histogram();
        Self { histogram, sum_nanos: 0, max_nanos: 0 }
    }

    fn add(&mut self, counts: impl Iterator<Item = u64>, max_nanos: u64) {
        for (bucket, count) in counts.enumerate().filter(|(_, count)| *count > 0) {
            self.histogram.saturating_record_n(layout::shortest_of(bucket), count);
        }
        self.max_nanos = self.max_nanos.max(max_nanos);
    }
}

/// Adds to a word that no other thread writes.
#[inline]
fn add(word: &AtomicU64, amount: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Raises a word that no other thread writes.
#[inline]
fn raise(word: &AtomicU64, to: u64) {
    if word.load(Ordering::Relaxed) < to {
        word.store(to, Ordering::Relaxed);
    }
}

impl Shard {
    /// A shard that its maker has claimed.
    pub(super) fn claimed() -> Self {
        Self {
            claimed: AtomicBool::new(true),
            responses: Default::default(),
            tracks: Operation::ALL.iter().map(|_| Track::new()).collect(),
        }
    }

    /// Makes the caller the one writer, unless there is one. Acquire, with the release of
    /// [`Shard::release`]: the new writer goes on from what the last one wrote.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Acquire)
    }

    pub(super) fn release(&self) {
        self.claimed.store(false, Ordering::Release);
    }

    /// To be called by the writer alone.
    #[inline]
    pub(super) fn record(&self, operation: Operation, nanos: u64, status: u16, now: Second) {
        let class = usize::from((status / 100).clamp(1, 5) - 1);
        add(&self.responses[class], 1);
        self.tracks[operation.place()].record(nanos, now);
    }

    /// Responses by the first digit of their status, 1 to 5.
    pub(super) fn add_responses(&self, to: &mut [u64; STATUS_CLASSES]) {
        for (sum, word) in to.iter_mut().zip(&self.responses) {
            *sum += word.load(Ordering::Relaxed);
        }
    }

    pub(super) fn add_life(&self, operation: Operation, to: &mut Durations) {
        let track = &self.tracks[operation.place()];
        let counts = track.counts.iter().map(|count| count.load(Ordering::Relaxed));
        to.add(counts, track.max_nanos.load(Ordering::Relaxed));
        to.sum_nanos = to.sum_nanos.wrapping_add(track.sum_nanos.load(Ordering::Relaxed));
    }

    pub(super) fn add_last_seconds(&self, operation: Operation, now: Second, to: &mut Durations) {
        let mut counts = vec![0; BUCKETS];
        for slice in &self.tracks[operation.place()].slices {
            slice.add_if_recent(now, &mut counts, to);
        }
    }
}

impl Track {
    fn new() -> Self {
        Self {
            counts: zeroed(BUCKETS),
            sum_nanos: AtomicU64::new(0),
            max_nanos: AtomicU64::new(0),
            slices: std::array::from_fn(|_| Slice::new(BUCKETS)),
        }
    }

    #[inline]
    fn record(&self, nanos: u64, now: Second) {
        let bucket = bucket_of(nanos);
        add(&self.counts[bucket], 1);
        add(&self.sum_nanos, nanos);
        raise(&self.max_nanos, nanos);
        #[expect(clippy::cast_possible_truncation, reason = "a remainder below 12")]
        let slice = &self.slices[(now.0 % SLICES as u64) as usize];
        slice.record(bucket, nanos, now);
    }
}

impl Slice {
    fn new(buckets: usize) -> Self {
        Self { second: AtomicU64::new(0), max_nanos: AtomicU64::new(0), counts: zeroed(buckets) }
    }

    /// To be called by the writer alone.
    #[inline]
    fn record(&self, bucket: usize, nanos: u64, now: Second) {
        if self.second.load(Ordering::Relaxed) != now.0 + 1 {
            self.begin(now);
        }
        let count = &self.counts[bucket];
        count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        raise(&self.max_nanos, nanos);
    }

    /// Clears it for another second: step 1 of the module's protocol.
    #[cold]
    fn begin(&self, now: Second) {
        self.second.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.max_nanos.store(0, Ordering::Relaxed);
        self.second.store(now.0 + 1, Ordering::Release);
    }

    /// Adds what it holds unless that is too old or being cleared: step 2. `counts` is the reader's
    /// workspace.
    fn add_if_recent(&self, now: Second, counts: &mut [u64], to: &mut Durations) {
        let before = self.second.load(Ordering::Acquire);
        let oldest = (now.0 + 1).saturating_sub(WINDOW_SECONDS);
        // A second ahead of the reader's is one that began while it was on its way here.
        if before == 0 || before - 1 < oldest {
            return;
        }
        for (count, word) in counts.iter_mut().zip(&self.counts) {
            *count = u64::from(word.load(Ordering::Relaxed));
        }
        let max_nanos = self.max_nanos.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.second.load(Ordering::Relaxed) == before {
            to.add(counts.iter().copied(), max_nanos);
        }
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use super::*;

    fn recent(shard: &Shard, now: u64) -> Durations {
        let mut durations = Durations::none();
        shard.add_last_seconds(Operation::Hold, Second(now), &mut durations);
        durations
    }

    #[test]
    fn the_window_moves_with_the_seconds() {
        let shard = Shard::claimed();
        for second in 0..5 {
            for _ in 0..=second {
                shard.record(Operation::Hold, 1_000 * (second + 1), 200, Second(second));
            }
        }
        assert_eq!(recent(&shard, 4).histogram.len(), 15);
        assert_eq!(recent(&shard, 9).histogram.len(), 15, "second 0 is the tenth, counted back");
        assert_eq!(recent(&shard, 10).histogram.len(), 14, "second 0 is gone");
        assert_eq!(recent(&shard, 13).histogram.len(), 5);
        assert_eq!(recent(&shard, 13).max_nanos, 5_000);
        assert_eq!(recent(&shard, 14).histogram.len(), 0);
        assert_eq!(recent(&shard, 14).max_nanos, 0);
    }

    #[test]
    fn a_reused_slice_starts_empty_also_after_a_long_pause() {
        let shard = Shard::claimed();
        shard.record(Operation::Hold, 9_000_000, 200, Second(3));
        shard.record(Operation::Hold, 1_000, 200, Second(3 + SLICES as u64));
        let durations = recent(&shard, 3 + SLICES as u64);
        assert_eq!((durations.histogram.len(), durations.max_nanos), (1, 1_000));
        shard.record(Operation::Hold, 2_000, 200, Second(1_000_003));
        let durations = recent(&shard, 1_000_003);
        assert_eq!((durations.histogram.len(), durations.max_nanos), (1, 2_000));
        let mut life = Durations::none();
        shard.add_life(Operation::Hold, &mut life);
        assert_eq!((life.histogram.len(), life.max_nanos), (3, 9_000_000));
        assert_eq!(life.sum_nanos, 9_003_000);
    }

    #[test]
    fn a_slice_that_is_being_cleared_is_left_out() {
        let shard = Shard::claimed();
        shard.record(Operation::Hold, 1_000, 200, Second(7));
        let slice = &shard.tracks[Operation::Hold.place()].slices[7];
        slice.second.store(0, Ordering::Relaxed);
        assert_eq!(recent(&shard, 7).histogram.len(), 0);
    }

    struct StopOnDrop<'s>(&'s AtomicBool);

    impl Drop for StopOnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A writer that reuses slices all the time, and a reader beside it: whatever the reader takes from a
    /// slice belongs to one second. Seconds that share a slice differ in their durations by turns, so a
    /// mixture shows.
    #[test]
    fn a_reader_never_sees_two_seconds_in_one_slice() {
        let shard = Shard::claimed();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for second in 0.. {
                    let turn = second / SLICES as u64 % 2;
                    let nanos = layout::shortest_of(500 + 1_000 * usize::from(turn == 1));
                    for _ in 0..3 {
                        shard.record(Operation::Hold, nanos, 200, Second(second));
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            // Also when an assertion fails: the scope waits for the writer.
            let _stop = StopOnDrop(&stop);
            let (mut rounds, mut seen) = (0, 0);
            let mut counts = vec![0; BUCKETS];
            // The writer may have got no turn yet.
            while rounds < 10_000 || (seen == 0 && !writer.is_finished()) {
                rounds += 1;
                for slice in &shard.tracks[Operation::Hold.place()].slices {
                    let mut durations = Durations::none();
                    slice.add_if_recent(Second(0), &mut counts, &mut durations);
                    let histogram = durations.histogram;
                    assert!(histogram.len() <= 3);
                    let same = histogram.equivalent(histogram.min(), histogram.max());
                    assert!(same || histogram.is_empty(), "a mixture");
                    seen += histogram.len();
                }
            }
            assert!(seen > 0, "the reader must have seen something");
        });
    }

    #[test]
    fn statuses_are_counted_by_their_first_digit() {
        let shard = Shard::claimed();
        for status in [0, 101, 200, 201, 304, 404, 409, 503, 999, u16::MAX] {
            shard.record(Operation::Other, 1, status, Second(0));
        }
        let mut responses = [0; STATUS_CLASSES];
        shard.add_responses(&mut responses);
        assert_eq!(responses, [2, 2, 1, 2, 3]);
    }

    #[test]
    fn a_shard_has_one_writer() {
        let shard = Shard::claimed();
        assert!(!shard.claim());
        shard.release();
        assert!(shard.claim());
        assert!(!shard.claim());
    }
}
