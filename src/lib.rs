//! booking-manager: a ticket-booking engine in one process.
//!
//! # Bird's eye
//!
//! ```text
//!  HTTP (hyper)  -> domain checks -> engine: take slots, reserve, decide -> log record -> durable -> answer
//!                                                                |  group commit (one syncer)
//!                                        snapshots <- fold  <-  log  -> tail -> mirror -> PostgreSQL
//! ```
//!
//! A request is parsed and checked at the edge ([`http`]), decided by the [`engine`] with a few
//! compare-and-swaps in memory, and recorded in the log (crate `wal`). The engine answers at once,
//! with the position in the log that must be durable before its answer may be given; the edge waits
//! for that, many requests for one sync of the disk. Nothing a client was told is taken back by a
//! crash, because nothing is told before the log has it.
//!
//! # Reading order
//!
//! 1. [`domain`]: what users, events, tickets, bookings, money and ids are, and the facts logged
//!    about them.
//! 2. [`engine`]: the slot protocol first (`engine/slots.rs`, where its proof stands), then what is
//!    around it.
//! 3. [`codec`]: the bytes of a fact. The bytes of the log itself are in `wal/README.md`.
//! 4. [`image`]: how facts make a state, and the snapshots of it; [`checkpoint`]: when they are made.
//! 5. [`http`]: from a socket to the engine and back.
//! 6. [`mirror`]: the copy in PostgreSQL, which follows the log and which nobody waits for.
//! 7. [`clock`], [`config`], [`stats`], [`telemetry`], and `main.rs`, which wires them.
//!
//! # Architecture invariants
//!
//! A test (`tests/tidy.rs`) holds those that can be read off the sources.
//!
//! - `wal` knows bytes, positions and durability, and nothing of bookings.
//! - [`domain`] depends on the standard library, a table of currencies and a hash alone.
//! - [`engine`] knows the domain, the codec, the log and the clock: no async, no serde, no HTTP. It
//!   never waits for a disk.
//! - [`http`] knows the engine's face and nothing below it. Status codes are in `http/problem.rs`
//!   alone.
//! - [`mirror`] knows the domain, the codec, images and the log's reader, and never the engine.
//! - Only [`clock`] reads the time of day; everywhere else time is a parameter.
//! - Recovery is a pure function of the log: [`image`] alone knows how records make a state.
//! - [`checkpoint`] reads the log as any reader does, and never the engine's tables.
//! - `unsafe` is in the few files that the tidy test lists, all of them in `wal`.
//! - A broken invariant stops the process (release builds abort on panic); no input causes one.

#![cfg_attr(booking_loom, allow(dead_code, reason = "the models run a part of the crate"))]

#[cfg(not(booking_loom))]
pub mod checkpoint;
pub mod clock;
pub mod codec;
#[cfg(not(booking_loom))]
pub mod config;
pub mod domain;
pub mod engine;
#[cfg(not(booking_loom))]
pub mod http;
pub mod image;
pub mod mirror;
#[cfg(all(test, any(booking_loom, booking_shuttle)))]
mod models;
#[cfg(not(booking_loom))]
pub mod stats;
/// The part of the statistics that models run.
#[cfg(booking_loom)]
mod stats {
    mod layout;
    mod operation;
    mod shard;
}
mod sync;
#[cfg(not(booking_loom))]
pub mod telemetry;
