//! A memory-mapped write-ahead log with group commit.
//!
//! The crate knows bytes, positions and durability, and nothing of what the records mean. The
//! byte-exact format, the assumptions about the medium, the recovery table and the numbered
//! invariants are in `wal/README.md`; this is the reading order of the code:
//!
//! 1. [`lsn`]: positions, and how a position maps to a segment file and an offset.
//! 2. [`frame`]: the frame, the unit that is written, checked and refused.
//! 3. [`header`]: the first 4,096 bytes of each segment file, and the file's name.

#[cfg(not(booking_loom))]
mod ahead;
mod append;
mod bell;
pub mod chain;
pub mod damage;
pub mod directory;
pub mod frame;
pub mod header;
#[cfg(not(booking_loom))]
mod log;
pub mod lsn;
mod marks;
mod options;
mod poison;
pub mod reader;
pub mod recovery;
mod ring;
mod scan;
#[cfg(not(booking_loom))]
mod segment;
mod sigbus;
mod stats;
mod stopwatch;
mod sync;
#[cfg(not(booking_loom))]
mod syncer;
mod walk;

pub use damage::{Damage, Reason};
pub use directory::{DirectoryError, IoFault, LockedDirectory};
pub use frame::{
    FRAME_ALIGN, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Kind, PAYLOAD_BYTES_MAX, Record, RecordType,
};
pub use header::{SEGMENT_BYTES_DEFAULT, SEGMENT_HEADER_BYTES};
pub use lsn::{Lsn, SegmentSize};
pub use reader::{ReadError, Reader};
pub use recovery::{RecoveryError, RecoveryReport, TornTail, verify};

pub use append::{Reservation, ReserveError, Urgency};
#[cfg(not(booking_loom))]
pub use log::{Log, OpenError, SealError};
pub use options::{
    Durability, INTERVAL_MAX, OptionError, Options, ParseDurabilityError, SEGMENTS_AHEAD_MAX,
    UNSYNCED_BYTES_LIMIT,
};
pub use poison::Poison;
pub use stats::LogStats;
