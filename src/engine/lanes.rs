//! Lanes: bounded admission, so that one event's rush cannot take the commit capacity of others.
//!
//! Events are hashed to lanes. A lane counts the booking requests between admission and durable
//! answer; a request that finds its lane full is refused at once. The count is one word, changed
//! by read-modify-write operations alone, and nothing else is read on the strength of it, so
//! `Relaxed` is enough.

use crossbeam::utils::CachePadded;

use crate::domain::EventNumber;
use crate::sync::{AtomicU32, Ordering};

/// The admission lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    lengths: Box<[CachePadded<AtomicU32>]>,
    capacity: u32,
}

/// One place in a lane; dropping it leaves the lane.
#[derive(Debug)]
pub(super) struct LanePlace<'e>(&'e AtomicU32);

impl Drop for LanePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    pub(super) fn new(count: u32, capacity: u32) -> Self {
        let lengths = (0..count.max(1)).map(|_| CachePadded::new(AtomicU32::new(0))).collect();
        Self { lengths, capacity }
    }

    /// A place in the lane of `event`, unless it is full.
    pub(super) fn enter(&self, event: EventNumber) -> Option<LanePlace<'_>> {
        let length: &AtomicU32 = &self.lengths[self.lane_of(event)];
        let place = length.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |length| {
            (length < self.capacity).then_some(length + 1)
        });
        place.ok().map(|_| LanePlace(length))
    }

    /// How many requests each lane holds now.
    pub(super) fn lengths(&self) -> impl Iterator<Item = u32> + '_ {
        self.lengths.iter().map(|length| length.load(Ordering::Relaxed))
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Fibonacci hashing: neighbouring event numbers spread evenly over any number of lanes.
    fn lane_of(&self, event: EventNumber) -> usize {
        let spread = u64::from(event.get().wrapping_mul(0x9E37_79B9));
        let lane = (spread * self.lengths.len() as u64) >> 32;
        usize::try_from(lane).expect("less than the number of lanes, which is a usize")
    }
}

#[cfg(all(test, not(booking_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_refuses_until_somebody_leaves() {
        let lanes = Lanes::new(1, 2);
        let event = EventNumber::new(7);
        let first = lanes.enter(event).unwrap();
        let _second = lanes.enter(event).unwrap();
        assert!(lanes.enter(event).is_none());
        drop(first);
        assert!(lanes.enter(event).is_some());
    }

    #[test]
    fn events_spread_over_all_lanes() {
        let lanes = Lanes::new(3, 1);
        let mut seen = [0; 3];
        for number in 0..300 {
            seen[lanes.lane_of(EventNumber::new(number))] += 1;
        }
        assert!(seen.iter().all(|&events| events > 80), "{seen:?}");
    }
}
