//! The copy in PostgreSQL: a pure function of the log, written by nobody else.
//!
//! **Invariant (G8):** PostgreSQL holds exactly the records of the log before the position in
//! `booking_mirror_checkpoint`: no gap, no duplicate, whatever is killed when. The position and the
//! rows change in one transaction, and only from the position that the transaction began with.
//!
//! ```text
//!  log -> wal::Reader, up to the durable mark -> fold (final rows) -> COPY and UPDATE -> commit
//!              ^                                                                          |
//!              +------------- checkpoint read back after whatever goes wrong <------------+
//! ```
//!
//! # Reading order
//!
//! 1. [`session`]: from checkpoint to checkpoint, the core that server and command line share.
//! 2. [`fold`]: records to rows. [`rows`] and [`copy`]: rows to bytes.
//! 3. [`write`]: the transaction.
//!    [`load`]: all rows at once, from a snapshot. [`audit`]: all rows, compared.
//! 4. [`migrate`]: the tables and their versions.
//! 5. [`connect`], [`target`], [`tls`]: getting in.
//! 6. [`fault`]: what passes by itself, and what an operator must do. [`breaker`]: how long to wait.
//! 7. [`follow`]: the thread in the server. [`watch`]: what it tells.
//!
//! This module deliberately does not know the engine: a server without it behaves the same.

mod audit;
mod breaker;
mod connect;
mod copy;
mod fault;
mod fold;
mod follow;
mod load;
pub mod migrate;
mod rows;
mod session;
mod target;
mod tls;
mod watch;
mod write;

pub use audit::{Audit, Compared, Difference};
pub use breaker::{BLOCKED, FIRST, LONGEST};
pub use connect::{
    ANSWER_LIMIT, CONNECT_LIMIT, DOUBT_AFTER, LOCK_LIMIT, PROBE_LIMIT, SERVER_VERSION_MIN,
    STATEMENT_LIMIT, connect, unless_silent,
};
pub use fault::{Fault, Obstacle};
pub use follow::{Mirror, Options, runtime};
pub use session::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCH_SEATS_MAX, CLAIM_LIMIT, Doing, Limits, Progress,
    Session,
};
pub use target::{PORT_DEFAULT, Secret, SslMode, Target};
pub use watch::{Marks, ReadMarks, Reading, State, Watch};
pub use write::Checkpoint;
