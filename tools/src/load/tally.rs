//! What was measured: how long each kind of request took, and how it was answered.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::operation::Operation;

/// Decimal digits to which a latency is exact.
const DIGITS: u8 = 3;

/// More than any answer takes: what is longer counts as this. An hour, in nanoseconds.
const NANOS_MAX: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(NANOS_MAX, DIGITS).expect("the bounds are in order")
}

/// An answer as it is counted: its status and, for a problem, its code.
pub(super) type AnswerKey = (Operation, u16, Box<str>);

/// Requests whose latencies are counted together. A refusal may be quicker than what it refuses, or
/// slower, and is told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Series {
    pub(super) operation: Operation,
    /// The status is 400 or more.
    pub(super) refused: bool,
}

impl Series {
    /// What it is called in reports and names of files.
    pub(super) fn name(self) -> String {
        let name = self.operation.name();
        if self.refused { format!("{name}-refused") } else { name.into() }
    }
}

/// What went wrong below HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub(super) struct Faults {
    /// Connections that could not be made.
    pub(super) unconnected: u64,
    /// Connections that ended while an answer was awaited, or brought what is none.
    pub(super) broken: u64,
    /// Answers that did not come in time.
    pub(super) late: u64,
    /// Requests that were due and not sent before the end, since all connections were busy.
    pub(super) unsent: u64,
}

/// Everything that one thread, or all of them, have measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    latencies: BTreeMap<Series, Histogram<u64>>,
    /// Few enough that looking through them is quicker than hashing.
    answers: Vec<(AnswerKey, u64)>,
    pub(super) faults: Faults,
    /// CPU time that the threads took while this was measured, in nanoseconds.
    pub(super) cpu_nanos: u64,
}

impl Tally {
    /// Counts an answer that came after so many nanoseconds.
    pub(super) fn record(&mut self, operation: Operation, status: u16, code: &[u8], nanos: u64) {
        let series = Series { operation, refused: status >= 400 };
        self.latencies.entry(series).or_insert_with(histogram).saturating_record(nanos);
        let known = self.answers.iter_mut().find(|((asked, answered, name), _)| {
            *asked == operation && *answered == status && name.as_bytes() == code
        });
        match known {
            Some((_, count)) => *count += 1,
            None => {
                let code = String::from_utf8_lossy(code).into();
                self.answers.push(((operation, status, code), 1));
            }
        }
    }

    /// Adds what another thread has measured.
    pub(super) fn add(&mut self, other: &Self) {
        for (series, latencies) in &other.latencies {
            let sum = self.latencies.entry(*series).or_insert_with(histogram);
            sum.add(latencies).expect("all histograms have the same bounds");
        }
        for (key, count) in &other.answers {
            match self.answers.iter_mut().find(|(known, _)| known == key) {
                Some((_, sum)) => *sum += count,
                None => self.answers.push((key.clone(), *count)),
            }
        }
        self.faults.unconnected += other.faults.unconnected;
        self.faults.broken += other.faults.broken;
        self.faults.late += other.faults.late;
        self.faults.unsent += other.faults.unsent;
        self.cpu_nanos += other.cpu_nanos;
    }

    /// Latencies of each kind of request.
    pub(super) const fn latencies(&self) -> &BTreeMap<Series, Histogram<u64>> {
        &self.latencies
    }

    /// Latencies of all requests.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = histogram();
        for latencies in self.latencies.values() {
            all.add(latencies).expect("all histograms have the same bounds");
        }
        all
    }

    /// How many answers came.
    pub(super) fn requests(&self) -> u64 {
        self.answers.iter().map(|(_, count)| count).sum()
    }

    /// How many answers of each kind came, in order.
    pub(super) fn answers(&self) -> BTreeMap<&AnswerKey, u64> {
        self.answers.iter().map(|(key, count)| (key, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut one = Tally::default();
        one.record(Operation::Hold, 201, b"", 1_000);
        one.record(Operation::Hold, 409, b"seats_unavailable", 2_000);
        let mut sum = Tally::default();
        sum.add(&one);
        one.record(Operation::Cancel, 200, b"", 5_000);
        sum.add(&one);
        assert_eq!(sum.requests(), 5);
        let answers: Vec<_> =
            sum.answers().into_iter().map(|((o, s, c), n)| (*o, *s, &**c, n)).collect();
        assert_eq!(
            answers,
            [
                (Operation::Hold, 201, "", 2),
                (Operation::Hold, 409, "seats_unavailable", 2),
                (Operation::Cancel, 200, "", 1)
            ]
        );
        assert_eq!(sum.all().len(), 5);
        let series: Vec<_> =
            sum.latencies().iter().map(|(series, all)| (series.name(), all.len())).collect();
        let named = [("hold", 2), ("hold-refused", 2), ("cancel", 1)];
        assert_eq!(series, named.map(|(name, count)| (name.into(), count)));
    }
}
