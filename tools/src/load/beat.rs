//! What happens second by second, told by the threads while they work.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::tally::histogram;

/// One second of one thread.
#[derive(Debug)]
pub(super) struct Beat {
    /// Which second of the run, from 0.
    pub(super) second: u64,
    /// Latencies of the answers that came in it.
    pub(super) latencies: Histogram<u64>,
}

/// A thread's side.
#[derive(Debug)]
pub(super) struct Pulse {
    begun: Instant,
    beat: Beat,
    to: Option<Sender<Beat>>,
}

impl Pulse {
    /// Seconds count from `begun`; nobody hears of them without `to`.
    pub(super) fn new(begun: Instant, to: Option<Sender<Beat>>) -> Self {
        Self { begun, beat: Beat { second: 0, latencies: histogram() }, to }
    }

    /// Counts an answer.
    pub(super) fn record(&mut self, nanos: u64) {
        self.beat.latencies.saturating_record(nanos);
    }

    /// Tells of the last second if it is over.
    pub(super) fn turn(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.begun).as_secs();
        if second > self.beat.second {
            self.tell(second);
        }
    }

    /// Tells of what is left.
    pub(super) fn end(mut self, now: Instant) {
        self.turn(now + Duration::from_secs(1));
    }

    fn tell(&mut self, next: u64) {
        let beat = Beat { second: next, latencies: histogram() };
        let beat = std::mem::replace(&mut self.beat, beat);
        if let Some(to) = &self.to
            && !beat.latencies.is_empty()
        {
            // Nobody listens any more once the run was given up.
            let _ = to.send(beat);
        }
    }
}
