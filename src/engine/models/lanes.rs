//! Requests that enter and leave a lane.

use std::sync::Arc;

use crate::domain::EventNumber;
use crate::engine::lanes::Lanes;
use crate::models::{Reach, explore, thread};
use crate::sync::{AtomicU32, Ordering};

const EVENT: EventNumber = EventNumber::new(3);

/// How a request gets its place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entering {
    AtOnce,
    /// A mistake: it looks whether there is a place, and takes one at another instant.
    LooksThenEnters,
}

/// What becomes of a place when its request is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Leaves,
    StaysForEver,
}

fn rush(reach: Reach, requests: u32, capacity: u32, entering: Entering, leaving: Leaving) {
    explore(reach, move || {
        // Who has looked already takes a place even if there is none.
        let places = if entering == Entering::AtOnce { capacity } else { requests };
        let lanes = Arc::new(Lanes::new(1, places));
        let inside = Arc::new(AtomicU32::new(0));
        let request = move |lanes: &Lanes, inside: &AtomicU32| {
            if entering == Entering::LooksThenEnters && lanes.lengths().sum::<u32>() >= capacity {
                return false;
            }
            let Some(place) = lanes.enter(EVENT) else {
                return false;
            };
            let others = inside.fetch_add(1, Ordering::Relaxed);
            assert!(others < capacity, "a lane is fuller than it may be");
            inside.fetch_sub(1, Ordering::Relaxed);
            if leaving == Leaving::StaysForEver {
                std::mem::forget(place);
            }
            true
        };
        let others: Vec<_> = (1..requests)
            .map(|_| {
                let (lanes, inside) = (Arc::clone(&lanes), Arc::clone(&inside));
                thread::spawn(move || request(&lanes, &inside))
            })
            .collect();
        let own = request(&lanes, &inside);
        let mut admitted = u32::from(own);
        admitted += others.into_iter().map(|other| u32::from(other.join().unwrap())).sum::<u32>();
        assert!(admitted >= capacity.min(requests), "refused by a lane that was not full");
        assert_eq!(lanes.lengths().sum::<u32>(), 0, "somebody has not left");
    });
}

#[test]
fn a_lane_is_never_fuller_than_its_capacity() {
    // Every interleaving of three was not through after half an hour on a busy machine.
    rush(Reach::Preemptions(4), 3, 2, Entering::AtOnce, Leaving::Leaves);
}

#[test]
fn a_lane_for_one_takes_one_after_the_other() {
    rush(Reach::Everything, 3, 1, Entering::AtOnce, Leaving::Leaves);
}

#[test]
#[should_panic(expected = "has not left")]
fn a_request_that_never_leaves_is_found() {
    rush(Reach::Everything, 2, 2, Entering::AtOnce, Leaving::StaysForEver);
}

#[test]
#[should_panic(expected = "fuller than it may be")]
fn a_place_that_is_taken_in_two_steps_is_found() {
    rush(Reach::Everything, 2, 1, Entering::LooksThenEnters, Leaving::Leaves);
}
