//! Models of the log: its real code in interleavings that no test would meet.
//!
//! * `append`, explored by loom: claiming, filling, walking and waking over modelled memory, in every
//!   interleaving (three models: in those with few switches), with every value that the orderings allow.
//!   `RUSTFLAGS="--cfg booking_loom" cargo test -p wal --profile models --lib models`
//! * `live`, sampled by shuttle: the whole log with its two threads on real files, in random
//!   schedules of sequentially consistent steps.
//!   `RUSTFLAGS="--cfg booking_shuttle" cargo test -p wal --profile models --lib models`
//!
//! (Each with a target directory of its own.)

#[cfg(booking_loom)]
mod append;
#[cfg(booking_shuttle)]
mod live;
