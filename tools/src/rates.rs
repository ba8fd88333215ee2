//! How many records of each kind there were over time.
//!
//! Records are counted in buckets of equal width. Unless a width was asked for it begins at a second
//! and grows as the log does, so that the table stays short however long the log is.

use std::collections::BTreeMap;
use std::fmt;

use booking_manager::domain::{Fact, Timestamp};
use serde::Serialize;

use crate::fields::{self, KINDS};
use crate::instant;

/// Lines of the table, if its width may grow.
const BUCKETS_MAX: usize = 24;
/// Widths in seconds, each a multiple of the one before it.
const WIDTHS: [u64; 11] =
    [1, 5, 10, 60, 600, 3_600, 21_600, 86_400, 864_000, 8_640_000, 86_400_000];
const _: () = {
    let mut at = 1;
    while at < WIDTHS.len() {
        assert!(WIDTHS[at].is_multiple_of(WIDTHS[at - 1]), "a bucket falls into one wider bucket");
        at += 1;
    }
};

type Counts = [u64; KINDS.len()];

/// Records by kind and time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rates {
    width_seconds: u64,
    fixed: bool,
    /// By the number of the bucket: seconds since 1970, divided by the width.
    buckets: BTreeMap<u64, Counts>,
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Bucket {
    from: String,
    seconds: u64,
    records: u64,
    records_per_second: f64,
    kinds: BTreeMap<&'static str, u64>,
}

impl Rates {
    /// None so far, in buckets of `width_seconds` if that is given.
    pub fn new(width_seconds: Option<u32>) -> Self {
        Self {
            width_seconds: width_seconds.map_or(WIDTHS[0], u64::from).max(1),
            fixed: width_seconds.is_some(),
            buckets: BTreeMap::new(),
        }
    }

    /// Counts a fact.
    pub fn count(&mut self, fact: &Fact<'_>) {
        let name = fields::kind(fact);
        let Some(kind) = KINDS.iter().position(|known| *known == name) else {
            return;
        };
        let bucket = fact.at().millis() / 1_000 / self.width_seconds;
        self.buckets.entry(bucket).or_default()[kind] += 1;
        while !self.fixed && self.buckets.len() > BUCKETS_MAX && self.widen() {}
    }

    /// Goes on with the next wider bucket, if there is one.
    fn widen(&mut self) -> bool {
        let Some(wider) = WIDTHS.into_iter().find(|width| *width > self.width_seconds) else {
            return false;
        };
        let factor = wider / self.width_seconds;
        for (bucket, counts) in std::mem::take(&mut self.buckets) {
            let sums = self.buckets.entry(bucket / factor).or_default();
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        self.width_seconds = wider;
        true
    }

    /// The lines of the table, without those in which nothing happened.
    pub fn buckets(&self) -> Vec<Bucket> {
        let bucket = |(number, counts): (&u64, &Counts)| {
            let seconds = number.saturating_mul(self.width_seconds);
            let from = Timestamp::from_millis(seconds.saturating_mul(1_000));
            let records: u64 = counts.iter().sum();
            let kinds = KINDS.into_iter().zip(*counts).filter(|(_, count)| *count > 0);
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let records_per_second = records as f64 / self.width_seconds as f64;
            Bucket {
                from: instant::show(from),
                seconds: self.width_seconds,
                records,
                records_per_second,
                kinds: kinds.collect(),
            }
        };
        self.buckets.iter().map(bucket).collect()
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = self.buckets();
        let occurs = |kind: &&str| buckets.iter().any(|bucket| bucket.kinds.contains_key(*kind));
        let kinds: Vec<_> = KINDS.into_iter().filter(occurs).collect();
        write!(
            f,
            "{:<24} {:>10} {:>10}",
            format!("{} s from", self.width_seconds),
            "records",
            "/s"
        )?;
        kinds.iter().try_for_each(|kind| write!(f, " {kind:>13}"))?;
        for bucket in &buckets {
            write!(f, "\n{} {:>10}", bucket.from, bucket.records)?;
            write!(f, " {:>10.1}", bucket.records_per_second)?;
            for kind in &kinds {
                write!(f, " {:>13}", bucket.kinds.get(kind).copied().unwrap_or(0))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use booking_manager::domain::{UserDeleted, UserNumber};

    use super::*;

    fn counted(rates: &mut Rates, seconds: u64) {
        let at = Timestamp::from_millis(seconds * 1_000);
        rates.count(&Fact::UserDeleted(UserDeleted { user: UserNumber::new(1), at }));
    }

    #[test]
    fn buckets_widen_and_lose_nothing() {
        let mut rates = Rates::new(None);
        for second in 0..10_000 {
            counted(&mut rates, second);
        }
        let buckets = rates.buckets();
        assert_eq!(rates.width_seconds, 600);
        assert_eq!(buckets.len(), 17);
        assert_eq!(buckets.iter().map(|bucket| bucket.records).sum::<u64>(), 10_000);
        assert_eq!(buckets[1].from, "1970-01-01T00:10:00.000Z");
        assert!(buckets[1].records_per_second.eq(&1.0));
    }

    #[test]
    fn a_width_that_was_asked_for_stays() {
        let mut rates = Rates::new(Some(7));
        for second in 0..700 {
            counted(&mut rates, second);
        }
        assert_eq!((rates.width_seconds, rates.buckets().len()), (7, 100));
    }
}
