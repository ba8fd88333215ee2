//! The users and events that a run has made for itself.

use uuid::Uuid;

/// An event and its tickets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Show {
    pub(super) id: Uuid,
    /// What each ticket costs, in cents.
    pub(super) price: u64,
    /// In seat order.
    pub(super) tickets: Vec<Uuid>,
}

/// Everything that a run deals with, and nobody else.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct World {
    pub(super) users: Vec<Uuid>,
    pub(super) shows: Vec<Show>,
}

impl World {
    /// A user's id.
    pub(super) fn user(&self, user: u32) -> Uuid {
        self.users[user as usize]
    }

    /// An event.
    pub(super) fn show(&self, event: u32) -> &Show {
        &self.shows[event as usize]
    }
}
