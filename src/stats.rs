//! Figures of the running server (stand-in with the agreed face).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::Engine;

/// What latencies are kept apart by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `POST /api/bookings`.
    Hold,
    /// `POST /api/bookings/{id}/confirm`.
    Confirm,
    /// `POST /api/bookings/{id}/cancel`.
    Cancel,
    /// A booking or a user's bookings were read.
    BookingRead,
    /// A user was created, changed or deleted.
    UserWrite,
    /// A user was read.
    UserRead,
    /// An event was created.
    EventCreate,
    /// An event or the events were read.
    EventRead,
    /// Tickets were listed.
    TicketList,
    /// Anything else.
    Other,
}

/// The figures.
#[derive(Debug, Default)]
pub struct Stats {
    admitted: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// One thread's way to record latencies.
#[derive(Debug)]
pub struct Recorder(std::marker::PhantomData<std::cell::Cell<()>>);

impl Recorder {
    /// Records one answer.
    pub fn record(&self, _operation: Operation, _elapsed: Duration, _status: u16) {}
}

impl Stats {
    /// All zero.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A recorder for the calling thread.
    pub fn recorder(&self) -> Recorder {
        Recorder(std::marker::PhantomData)
    }

    /// A booking request has a sound shape.
    pub fn booking_admitted(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
    }

    /// An admitted booking request succeeded.
    pub fn booking_succeeded(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    /// An admitted booking request failed.
    pub fn booking_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The document of `/api/bookings/stats`.
    pub fn stats_json(&self, _engine: &Engine) -> serde_json::Value {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "total_requests": load(&self.admitted),
            "successful_bookings": load(&self.succeeded),
            "failed_bookings": load(&self.failed),
        })
    }

    /// The figures in Prometheus's text format.
    pub fn metrics_text(&self, _engine: &Engine) -> String {
        String::new()
    }
}
