//! HTTP: JSON over HTTP/1.1, on hyper.
//!
//! One request goes through these steps, each of which may refuse it, in this order:
//!
//! 1. transport: the head is unambiguous and within bounds (`head`), the path and the method name
//!    an action (`route`), the server is ready, the parameters are acceptable, the body is JSON by
//!    its type and arrives within its bounds (`intake`);
//! 2. JSON, then validation, all faults at once (`body`);
//! 3. the engine: unknown user, unknown event, unknown tickets, idempotency, seats.
//!
//! The engine is called synchronously and has decided when it returns. From here on nothing can be
//! refused any more, but nothing has been told yet either: the answer waits until the log holds
//! everything that it stands on (`durability`), and only then leaves.
//!
//! Every thread is a runtime of its own with its own listener on the same port; what belongs to one
//! thread (its waiters, its latencies) needs no atomics. Refusals become problem documents in one
//! place (`problem`), the only one that knows status codes of refusals.
//!
//! Architecture invariant: this module knows the engine's public face, the domain and the
//! statistics; nothing knows this module but `main`.

mod body;
mod connection;
mod cors;
mod digits;
mod dress;
mod durability;
mod exchange;
mod handlers;
mod head;
mod heard;
mod intake;
mod json;
mod list;
#[cfg(all(test, booking_shuttle))]
mod models;
mod openapi;
#[doc(hidden)]
pub mod parsers;
mod problem;
mod query;
mod reply;
mod rfc3339;
mod route;
mod server;
mod shape;
#[cfg(test)]
mod sockets;
mod wire;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use cors::AllowedOrigins;
pub use server::{Running, Server};

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::engine::Engine;
use crate::stats::Stats;
use durability::Bells;
use list::PageBytes;

/// How the HTTP side is set up.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 for any.
    pub port: u16,
    /// How many runtime threads there are, each with its own listener.
    pub runtimes: usize,
    /// How many connections there may be, over all threads.
    pub max_connections: usize,
    /// The longest body accepted, in bytes.
    pub max_body_bytes: usize,
    /// How long a head, a body, a slow reader and the log may each take; also how long an idle
    /// connection is kept.
    pub request_timeout: Duration,
    /// Which web pages of other origins may read the answers.
    pub cors: AllowedOrigins,
}

/// What the server's threads and the rest of the process share.
pub struct Shared {
    engine: OnceLock<Arc<Engine>>,
    stats: Arc<Stats>,
    clock: Clock,
    /// Set once, and only read to decide what to answer: nothing is published by it.
    draining: AtomicBool,
    connections: AtomicUsize,
    bells: Arc<Bells>,
    page_bytes: PageBytes,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("ready", &self.engine.get().is_some())
            .field("draining", &self.draining)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl HttpOptions {
    /// How many files there may be open for clients that have no place among `max_connections`.
    pub fn files_beside(&self) -> usize {
        self.runtimes.max(1) * server::TURNED_AWAY_MAX
    }
}

impl Shared {
    /// The state of a server that has no engine yet; `clock` tells the time until it has.
    pub fn new(stats: Arc<Stats>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            engine: OnceLock::new(),
            stats,
            clock,
            draining: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            bells: Arc::default(),
            page_bytes: PageBytes::default(),
        })
    }

    /// Opens the API: from here on requests reach `engine`.
    ///
    /// # Panics
    ///
    /// If called twice.
    pub fn open(&self, engine: Arc<Engine>) {
        let bells = Arc::clone(&self.bells);
        engine.log().on_progress(Box::new(move || bells.ring()));
        let first = self.engine.set(engine).is_ok();
        assert!(first, "a server has one engine");
    }

    /// Turns `/readyz` to 503, so that no new clients are sent here. [`Running::drain`] does it
    /// too; a load balancer that looks only now and then wants to know earlier.
    pub fn announce_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.get()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        self.engine().map_or(&self.clock, |engine| engine.clock()).now()
    }
}
