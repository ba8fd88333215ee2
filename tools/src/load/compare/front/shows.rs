//! Which events there are and how many seats they have: for listing tickets, which is not measured.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Shared by all runtimes.
#[derive(Debug, Default)]
pub(super) struct Shows(Mutex<HashMap<Uuid, u32>>);

impl Shows {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, u32>> {
        // Each change is a single step, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new event.
    pub(super) fn add(&self, event: Uuid, seats: u32) {
        self.lock().insert(event, seats);
    }

    /// How many seats an event has.
    pub(super) fn seats(&self, event: Uuid) -> Option<u32> {
        self.lock().get(&event).copied()
    }
}
