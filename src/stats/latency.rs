//! What is said of the durations of one operation.

use super::Operation;
use super::layout::BUCKETS;
use super::shard::Durations;

/// The durations of one operation.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    pub(super) operation: Operation,
    /// Since the start.
    pub(super) life: Durations,
    /// In the last seconds.
    pub(super) recent: Durations,
}

/// A few figures that describe many durations. Times are in microseconds; 0 where there were none.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Durations {
    /// A percentile is the upper end of the bucket it falls into, so at most 0.8 % (or 64 ns) too
    /// high, never too low, and never beyond the maximum, which is exact.
    pub(super) fn summary(&self) -> Summary {
        let quantile = |quantile| {
            let nanos = self.histogram.value_at_quantile(quantile);
            micros(nanos.min(self.max_nanos))
        };
        Summary {
            count: self.histogram.len(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: micros(self.max_nanos),
        }
    }

    /// How many durations were at most `nanos`, to the bucket that it falls into.
    pub(super) fn at_most(&self, nanos: u64) -> u64 {
        self.histogram.count_between(0, nanos)
    }
}

/// Microseconds with one decimal: finer than that is noise.
#[expect(clippy::cast_precision_loss, reason = "2^53 tenths of a microsecond are 28 years")]
fn micros(nanos: u64) -> f64 {
    (nanos / 100 + u64::from(nanos % 100 >= 50)) as f64 / 10.0
}

const _: () = assert!(BUCKETS == 3_072, "the sizes in the documentation of `shard` follow from it");
