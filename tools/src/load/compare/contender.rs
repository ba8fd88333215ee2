//! Who takes part.

use crate::load::arguments::{Backend, Compare, Competitor};

use super::programs::Programs;

/// One that is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contender {
    /// The front end with nothing behind it.
    Bare,
    Booking(Durability),
    Postgres(Locking),
    Redis(Fsync),
    /// The bare server once more: what it differs by from itself is noise.
    Control,
}

/// When booking-manager answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durability {
    /// Once it is on disk.
    Commit,
    /// Once the operating system has it.
    Os,
}

/// How PostgreSQL takes seats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Locking {
    /// A function that locks them, looks, and changes them.
    ForUpdate,
    /// One statement that changes those which are free.
    OneStatement,
}

/// When Redis syncs its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fsync {
    /// Before it answers.
    Always,
    /// Every second.
    EverySecond,
}

impl Contender {
    /// All, in the order of the table.
    pub(super) const ALL: [Self; 8] = [
        Self::Bare,
        Self::Booking(Durability::Commit),
        Self::Booking(Durability::Os),
        Self::Postgres(Locking::ForUpdate),
        Self::Postgres(Locking::OneStatement),
        Self::Redis(Fsync::Always),
        Self::Redis(Fsync::EverySecond),
        Self::Control,
    ];

    /// Its name in the report.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Booking(Durability::Commit) => "booking-manager, commit",
            Self::Booking(Durability::Os) => "booking-manager, os",
            Self::Postgres(Locking::ForUpdate) => "PostgreSQL, for update",
            Self::Postgres(Locking::OneStatement) => "PostgreSQL, one statement",
            Self::Redis(Fsync::Always) => "Redis, fsync always",
            Self::Redis(Fsync::EverySecond) => "Redis, fsync everysec",
            Self::Control => "bare hyper again (A/A)",
        }
    }

    /// Why it does not take part, if it does not.
    pub(super) fn missing(self, order: &Compare, programs: &Programs) -> Option<&'static str> {
        if !order.only.is_empty() && self.competitor().is_some_and(|who| !order.only.contains(&who))
        {
            return Some("left out");
        }
        match self {
            Self::Postgres(_) if programs.postgres.is_none() => Some("PostgreSQL is not installed"),
            Self::Redis(_) if programs.redis.is_none() => Some("redis-server is not installed"),
            Self::Bare | Self::Booking(_) | Self::Postgres(_) | Self::Redis(_) | Self::Control => {
                None
            }
        }
    }

    /// `None` for what the others are compared with.
    const fn competitor(self) -> Option<Competitor> {
        match self {
            Self::Bare | Self::Control => None,
            Self::Booking(_) => Some(Competitor::BookingManager),
            Self::Postgres(_) => Some(Competitor::PostgreSql),
            Self::Redis(_) => Some(Competitor::Redis),
        }
    }
}

impl Locking {
    /// As the front end is told.
    pub(super) const fn backend(self) -> Backend {
        match self {
            Self::ForUpdate => Backend::PostgresForUpdate,
            Self::OneStatement => Backend::PostgresOneStatement,
        }
    }
}
