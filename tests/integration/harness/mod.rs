//! What every test speaks through: a real server process, one HTTP client, raw connections, and
//! checks that hold after any run.
//!
//! Nothing here knows how the server works: it knows the API, the names of the settings and the
//! names of the files.

mod client;
mod contract;
mod ledger;
mod load;
mod raw;
mod reply;
mod segments;
mod server;
mod snapshots;
mod sweep;
mod time;
mod together;

pub(crate) use client::{Call, Client, Show, event_body, fresh_email, fresh_uuid};
pub(crate) use contract::judge;
pub(crate) use ledger::{Ending, Held, Holds, Ledger};
pub(crate) use load::{Load, LoadReport};
pub(crate) use raw::Raw;
pub(crate) use reply::{Reply, millis, minor_units};
pub(crate) use segments::{find_in_segments, flip_byte, segment_bytes, write_behind_last_record};
pub(crate) use server::{Server, Settings, Shared, shared};
pub(crate) use snapshots::{
    ask, damage, files, fill_the_log, long_name, recovered_state, refused_snapshot, stopped_state,
    take_snapshot,
};
pub(crate) use sweep::{World, sweep, wait_until_nothing_is_pending};
pub(crate) use time::{now, observe_for, unix_millis, wait_until};
pub(crate) use together::together;
