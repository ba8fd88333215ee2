//! Which part of the log has to stay.

use std::time::Duration;

use wal::Lsn;
use wal::retention::SegmentFacts;

use crate::domain::Timestamp;

/// What is kept of the log beyond what snapshots and mirror need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Bytes before the log's end that are kept.
    pub bytes: u64,
    /// Segments with records younger than this are kept.
    pub age: Duration,
    /// How much of the log is kept for a mirror that does not come after it. Beyond, the mirror
    /// has to begin again from a snapshot.
    pub mirror_bytes_max: u64,
}

/// What somebody else still has to read of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needed {
    /// Nothing: there is no mirror.
    Nothing,
    /// Everything from here on.
    From(Lsn),
    /// Nobody knows yet.
    Unknown,
}

impl Retention {
    /// Everything before this may go. `older` is the position of the older of two snapshots; with
    /// fewer of them nothing may go, since the one there is may turn out to be damaged.
    pub(super) fn floor(
        &self,
        segments: &[SegmentFacts],
        durable: Lsn,
        older: Option<Lsn>,
        needed: Needed,
        now: Timestamp,
    ) -> Lsn {
        let Some(older) = older else { return Lsn::ZERO };
        let behind = |bytes: u64| Lsn::new(durable.get().saturating_sub(bytes));
        let for_mirror = match needed {
            Needed::Nothing => older,
            Needed::From(lsn) => lsn.max(behind(self.mirror_bytes_max)),
            Needed::Unknown => behind(self.mirror_bytes_max),
        };
        older.min(for_mirror).min(behind(self.bytes)).min(self.young_from(segments, now))
    }

    /// Where the records begin that are too young to go. A segment is made when the one before it
    /// is begun, so the records of a segment are no younger than the second one behind it.
    fn young_from(&self, segments: &[SegmentFacts], now: Timestamp) -> Lsn {
        if self.age.is_zero() {
            return Lsn::new(u64::MAX);
        }
        let old = |made: &SegmentFacts| Timestamp::from_millis(made.created_ms) + self.age < now;
        let old_ones = segments.windows(3).take_while(|trio| old(&trio[2])).last();
        let first = segments.first().map_or(Lsn::ZERO, |first| first.base);
        old_ones.map_or(first, |trio| trio[1].base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_NOTHING: Retention =
        Retention { bytes: 0, age: Duration::ZERO, mirror_bytes_max: 500 };

    fn floor(retention: Retention, older: Option<u64>, needed: Needed, now: u64) -> u64 {
        let segment = |base, created_ms| SegmentFacts {
            base: Lsn::new(base),
            bytes: 100,
            epoch: 1,
            created_ms,
        };
        let segments = [segment(0, 0), segment(100, 10), segment(200, 20), segment(300, 30)];
        let older = older.map(Lsn::new);
        let now = Timestamp::from_millis(now);
        retention.floor(&segments, Lsn::new(1_000), older, needed, now).get()
    }

    #[test]
    fn the_older_snapshot_bounds_it() {
        assert_eq!(floor(KEEP_NOTHING, None, Needed::Nothing, 99), 0);
        assert_eq!(floor(KEEP_NOTHING, Some(300), Needed::Nothing, 99), 300);
    }

    #[test]
    fn the_mirror_bounds_it_up_to_its_own_bound() {
        let from = |lsn| Needed::From(Lsn::new(lsn));
        assert_eq!(floor(KEEP_NOTHING, Some(900), from(700), 99), 700);
        assert_eq!(floor(KEEP_NOTHING, Some(900), from(950), 99), 900);
        assert_eq!(floor(KEEP_NOTHING, Some(900), from(100), 99), 500);
        assert_eq!(floor(KEEP_NOTHING, Some(900), Needed::Unknown, 99), 500);
        assert_eq!(floor(KEEP_NOTHING, Some(300), Needed::Unknown, 99), 300);
    }

    #[test]
    fn bytes_and_age_are_retained() {
        let bytes = Retention { bytes: 950, ..KEEP_NOTHING };
        assert_eq!(floor(bytes, Some(300), Needed::Nothing, 99), 50);
        let age = Retention { age: Duration::from_millis(70), ..KEEP_NOTHING };
        assert_eq!(floor(age, Some(300), Needed::Nothing, 95), 100);
        assert_eq!(floor(age, Some(300), Needed::Nothing, 105), 200);
        assert_eq!(floor(age, Some(300), Needed::Nothing, 85), 0);
    }
}
