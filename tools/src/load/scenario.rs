//! The scenarios: how much each needs, and what its users do.

use super::arguments::Run;
use super::plan::{Plan, Rounds};
use super::setup::{self, Size};
use super::supply::{Order, Supply};

/// Holds a second that seats are made for, where each is asked for once.
const HOLDS_PER_SECOND: u32 = 80_000;
/// How many seats everybody wants.
const HOT_SEATS: u32 = 100;
/// The most events that are made unasked.
const EVENTS_MAX: u64 = 1_000;

/// What users do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Distinct seats of one event.
    HotEvent,
    /// The same seats.
    HotSeats,
    /// Overlapping sets.
    Groups,
    /// Distinct seats of many events.
    ManyEvents,
    /// From looking to paying.
    Checkout,
    /// Only looking.
    Browse,
    /// Very many holds that lapse together.
    ExpiryStorm,
}

impl Scenario {
    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::HotEvent => "hot-event",
            Self::HotSeats => "hot-seats",
            Self::Groups => "groups",
            Self::ManyEvents => "many-events",
            Self::Checkout => "checkout",
            Self::Browse => "browse",
            Self::ExpiryStorm => "expiry-storm",
        }
    }

    /// How much it makes.
    pub(super) fn size(self, run: &Run) -> Size {
        let needed = needed(run);
        let share = |events: u64| (events, needed.div_ceil(events));
        let (events, seats) = match self {
            Self::HotEvent => {
                let seats = run.seats.unwrap_or(setup::SEATS_MAX);
                share(run.events.map_or(needed.div_ceil(u64::from(seats)), u64::from))
            }
            Self::ManyEvents | Self::ExpiryStorm => share(u64::from(run.events.unwrap_or(100))),
            Self::HotSeats => (1, u64::from(HOT_SEATS)),
            Self::Groups => (1, 500),
            // About a third of the requests are holds, of 2.5 seats each, and most of those stay taken.
            Self::Checkout => {
                let events = u64::from(run.events.unwrap_or(20));
                (events, (needed * 3 / 4).div_ceil(events))
            }
            Self::Browse => (20, 1_000),
        };
        let bounded = |number: u64, most: u32| u32::try_from(number).unwrap_or(most).clamp(1, most);
        Size {
            // Each thread has users of its own.
            users: run.users.max(run.threads),
            events: run.events.unwrap_or_else(|| bounded(events.min(EVENTS_MAX), u32::MAX)),
            seats: run.seats.unwrap_or_else(|| bounded(seats, setup::SEATS_MAX)),
        }
    }

    /// What the users of one thread do.
    pub(super) fn plan(self, size: Size, thread: u32, threads: u32) -> Plan {
        let Size { events, seats, .. } = size;
        let supply = |order| Rounds::over(Supply::new(order, events, seats, thread, threads));
        match self {
            Self::HotEvent => Plan::Distinct(supply(Order::EventByEvent)),
            Self::ManyEvents | Self::ExpiryStorm => Plan::Distinct(supply(Order::InTurns)),
            Self::HotSeats => Plan::Same { seats: seats.min(HOT_SEATS) },
            Self::Groups => Plan::Groups { seats },
            Self::Checkout => Plan::Checkout { events },
            Self::Browse => Plan::Browse { events },
        }
    }
}

/// For how many requests of a run there must be seats: rather too many.
pub(super) fn needed(run: &Run) -> u64 {
    let millis = (run.warmup + run.duration).as_millis();
    let per_second = run.rate.unwrap_or(HOLDS_PER_SECOND);
    let requests = u64::try_from(millis).unwrap_or(u64::MAX).saturating_mul(u64::from(per_second));
    // A few more than are due, so that none has to wait for another's end.
    (requests / 1_000 + 1_000).max(u64::from(run.connections) * 2)
}
