//! What the users of a scenario want.

use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::ledger::{Ending, Ledger};
use super::operation::{Asked, Operation, SEATS_MAX, Seats};
use super::supply::Supply;

/// What somebody wants next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Hold {
        event: u32,
        seats: Seats,
    },
    Cancel(u32),
    Look {
        view: View,
        event: u32,
    },
    /// Nothing before something else has been answered.
    Wait,
    /// Nothing any more.
    Leave,
}

/// What can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum View {
    /// A page of events, from this one on.
    Events,
    /// An event by itself.
    Event,
    /// A page of its tickets.
    Tickets,
    /// A page of those that are free.
    FreeTickets,
}

impl View {
    /// As it is counted.
    pub(super) const fn operation(self) -> Operation {
        match self {
            Self::Events => Operation::ListEvents,
            Self::Event => Operation::ShowEvent,
            Self::Tickets => Operation::ListTickets,
            Self::FreeTickets => Operation::ListAvailable,
        }
    }
}

/// What becomes of a new booking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Confirm,
    Cancel,
    Leave,
}

/// The plan of one thread's users.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    /// Each hold is of a seat that nobody else wants. Once all are taken, the oldest are cancelled
    /// and taken again.
    Distinct(Rounds),
    /// Everybody wants one of the first seats of the first event, and lets go of what was got.
    Same { seats: u32 },
    /// Everybody wants a few seats next to each other, and lets go of what was got.
    Groups { seats: u32 },
    /// Look, hold what was seen to be free; then most confirm, some cancel, some do nothing.
    Checkout { events: u32 },
    /// Only look.
    Browse { events: u32 },
}

/// Distinct seats, over and over.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    fresh: Supply,
    /// Seats that were given back.
    free: Vec<(u32, u32)>,
    /// Up to here in the ledger every booking was cancelled.
    oldest: u32,
    /// Whether it ends when all seats are taken.
    once: bool,
}

impl Rounds {
    /// For ever.
    pub(super) const fn over(supply: Supply) -> Self {
        Self { fresh: supply, free: Vec::new(), oldest: 0, once: false }
    }

    /// Until all are taken.
    pub(super) const fn once(supply: Supply) -> Self {
        Self { fresh: supply, free: Vec::new(), oldest: 0, once: true }
    }

    fn wish(&mut self, ledger: &Ledger) -> Wish {
        if let Some((event, seat)) = self.fresh.next().or_else(|| self.free.pop()) {
            return Wish::Hold { event, seats: Seats::one(seat) };
        }
        if self.once {
            return Wish::Leave;
        }
        while (self.oldest as usize) < ledger.len() {
            let oldest = self.oldest;
            self.oldest += 1;
            if ledger.entry(oldest).ending == Ending::None {
                return Wish::Cancel(oldest);
            }
        }
        Wish::Wait
    }
}

impl Plan {
    /// What is wanted next.
    pub(super) fn wish(&mut self, rng: &mut SmallRng, ledger: &Ledger) -> Wish {
        match self {
            Self::Distinct(rounds) => rounds.wish(ledger),
            Self::Same { seats } => {
                Wish::Hold { event: 0, seats: Seats::one(rng.random_range(0..*seats)) }
            }
            Self::Groups { seats } => {
                let first = rng.random_range(0..*seats);
                let mut group = Seats::default();
                for place in 0..rng.random_range(1..=SEATS_MAX) {
                    group.add((first + place) % *seats);
                }
                Wish::Hold { event: 0, seats: group }
            }
            Self::Checkout { events } => {
                let event = rng.random_range(0..*events);
                Wish::Look { view: View::FreeTickets, event }
            }
            Self::Browse { events } => {
                let view = match rng.random_range(0..10) {
                    0 => View::Events,
                    1..5 => View::Event,
                    5..8 => View::FreeTickets,
                    _ => View::Tickets,
                };
                Wish::Look { view, event: rng.random_range(0..*events) }
            }
        }
    }

    /// What becomes of a new booking.
    pub(super) fn fate(&self, rng: &mut SmallRng) -> Fate {
        match self {
            Self::Distinct(_) | Self::Browse { .. } => Fate::Leave,
            Self::Same { .. } | Self::Groups { .. } => Fate::Cancel,
            Self::Checkout { .. } => match rng.random_range(0..10) {
                0..7 => Fate::Confirm,
                7..9 => Fate::Cancel,
                _ => Fate::Leave,
            },
        }
    }

    /// How many seats somebody takes who has looked; `None` if only looking was meant.
    pub(super) fn party(&self, rng: &mut SmallRng) -> Option<usize> {
        match self {
            Self::Checkout { .. } => Some(rng.random_range(1..=4)),
            Self::Distinct(_) | Self::Same { .. } | Self::Groups { .. } | Self::Browse { .. } => {
                None
            }
        }
    }

    /// Whether the same user may ask for the same set again.
    pub(super) const fn may_repeat(&self) -> bool {
        match self {
            Self::Same { .. } | Self::Groups { .. } | Self::Checkout { .. } => true,
            Self::Distinct(_) | Self::Browse { .. } => false,
        }
    }

    /// Whether seats may be taken by somebody else.
    pub(super) const fn may_be_refused(&self) -> bool {
        self.may_repeat()
    }

    /// There is one more event to ask for seats of, as large as the others; nothing to whoever asks
    /// for the same seats over and over.
    pub(super) fn grow(&mut self) {
        if let Self::Distinct(rounds) = self {
            rounds.fresh.grow();
        }
    }

    /// Seats that are free again.
    pub(super) fn give_back(&mut self, asked: &Asked) {
        if let Self::Distinct(rounds) = self {
            rounds.free.extend(asked.seats.iter().map(|seat| (asked.event, *seat)));
        }
    }
}
