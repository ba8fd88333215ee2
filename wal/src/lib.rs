//! A memory-mapped write-ahead log with group commit.
//!
//! The crate knows bytes, positions and durability, and nothing of what the records mean. The
//! byte-exact format, the assumptions about the medium, the recovery table and the numbered
//! invariants are in `wal/README.md`; this is the reading order of the code:
//!
//! 1. [`lsn`]: positions, and how a position maps to a segment file and an offset.
//! 2. [`frame`]: the frame, the unit that is written, checked and refused.
//! 3. [`header`]: the first 4,096 bytes of each segment file, and the file's name.
//! 4. [`directory`]: which files are the log's, and the lock that makes this process their owner.
//! 5. [`chain`]: the segments' headers, checked against each other.
//! 6. `scan` and `walk`: frame after frame, segment after segment; `start`: from where.
//! 7. [`recovery`]: decides where the log ends, or that it must not be opened.
//! 8. [`reader`]: reads a log without owning it, also that of a running server; `pieces`: and one
//!    whose segments do not hold together.
//! 9. `marks`: the four positions of a log in use, and how room is claimed.
//! 10. `ring`: the mapped memory behind them; `sigbus`: what is said when it fails.
//! 11. `append` and `reservation`: from a claim to a committed frame, and the walk that publishes.
//! 12. `syncer`, with `demand`, `gathering`, `bell` and `poison`: how groups become durable, and when that ends.
//! 13. `ahead` and `segment`: how room is made before it is needed.
//! 14. [`retention`]: which files there are, and how the oldest go.
//! 15. `shared`, `options`, `log`: what joins them, and the handle. `models`: the protocol, model-checked.

#![cfg_attr(booking_loom, allow(dead_code, reason = "the models run a part of the crate"))]

#[cfg(not(booking_loom))]
mod ahead;
mod append;
mod bell;
pub mod chain;
pub mod damage;
mod demand;
pub mod directory;
pub mod frame;
#[cfg(not(booking_loom))]
mod gathering;
pub mod header;
#[cfg(not(booking_loom))]
mod log;
pub mod lsn;
mod marks;
#[cfg(all(test, any(booking_loom, booking_shuttle)))]
mod models;
mod options;
mod pieces;
mod poison;
pub mod reader;
pub mod recovery;
mod reservation;
pub mod retention;
mod ring;
mod scan;
#[cfg(not(booking_loom))]
mod segment;
#[cfg(not(booking_loom))]
mod shared;
mod sigbus;
mod start;
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
pub use recovery::{Known, RecoveryError, RecoveryReport, TornTail, verify, verify_from};

pub use append::{ReserveError, Urgency};
#[cfg(not(booking_loom))]
pub use log::{Log, OpenError, SealError};
pub use options::{
    Durability, INTERVAL_MAX, OptionError, Options, ParseDurabilityError, SEGMENTS_AHEAD_MAX,
    UNSYNCED_BYTES_LIMIT, UNSYNCED_BYTES_MIN,
};
pub use poison::Poison;
pub use reservation::Reservation;
pub use retention::{Removed, SegmentFacts};
pub use stats::LogStats;
