//! Counters of the log: what a statistics page shows.
//!
//! All are independent, monotone or plain values, written Relaxed by the background threads and by
//! refused reservations. A successful append touches none of them.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A reading of the counters. All start at zero when the log is opened.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Records published.
    pub records: u64,
    /// Bytes reserved, with the log's own frames and headers.
    pub bytes: u64,
    /// Reservations that became void, as far as published.
    pub void_frames: u64,
    /// The log's own frames published: padding, void, idle.
    pub internal_frames: u64,
    /// Groups synced.
    pub syncs: u64,
    /// Time spent in the syncs of all groups.
    pub sync_time: Duration,
    /// Time of the last group's sync.
    pub last_sync_time: Duration,
    /// The longest sync of a group.
    pub sync_time_max: Duration,
    /// Bytes of all groups synced.
    pub synced_bytes: u64,
    /// Bytes of the last group.
    pub last_group_bytes: u64,
    /// Bytes of the largest group.
    pub group_bytes_max: u64,
    /// Reservations that were not filled for 100 ms while others waited behind them.
    pub old_holes: u64,
    /// Segments made since the log was opened, the first one included.
    pub segments_made: u64,
    /// Whole segments prepared beyond the one in use.
    pub segments_ahead: u64,
    /// Segments mapped now.
    pub segments_mapped: u64,
    /// Bytes of segments mapped now.
    pub mapped_bytes: u64,
    /// Reservations refused because no room was prepared.
    pub refused_no_room: u64,
    /// Reservations refused because the log was too far ahead of what is synced.
    pub refused_too_far_ahead: u64,
    /// The last try to make a segment found the disk full.
    pub disk_full: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) sync_nanos: AtomicU64,
    pub(crate) last_sync_nanos: AtomicU64,
    pub(crate) sync_nanos_max: AtomicU64,
    pub(crate) synced_bytes: AtomicU64,
    pub(crate) last_group_bytes: AtomicU64,
    pub(crate) group_bytes_max: AtomicU64,
    pub(crate) old_holes: AtomicU64,
    pub(crate) segments_made: AtomicU64,
    pub(crate) refused_no_room: AtomicU64,
    pub(crate) refused_too_far_ahead: AtomicU64,
    pub(crate) disk_full: AtomicBool,
}

impl Counters {
    pub(crate) fn record_sync(&self, nanos: u64, bytes: u64) {
        self.syncs.fetch_add(1, Relaxed);
        self.sync_nanos.fetch_add(nanos, Relaxed);
        self.last_sync_nanos.store(nanos, Relaxed);
        self.sync_nanos_max.fetch_max(nanos, Relaxed);
        self.synced_bytes.fetch_add(bytes, Relaxed);
        self.last_group_bytes.store(bytes, Relaxed);
        self.group_bytes_max.fetch_max(bytes, Relaxed);
    }

    /// The part of the reading that is counted here.
    pub(crate) fn read(&self) -> LogStats {
        LogStats {
            syncs: self.syncs.load(Relaxed),
            sync_time: Duration::from_nanos(self.sync_nanos.load(Relaxed)),
            last_sync_time: Duration::from_nanos(self.last_sync_nanos.load(Relaxed)),
            sync_time_max: Duration::from_nanos(self.sync_nanos_max.load(Relaxed)),
            synced_bytes: self.synced_bytes.load(Relaxed),
            last_group_bytes: self.last_group_bytes.load(Relaxed),
            group_bytes_max: self.group_bytes_max.load(Relaxed),
            old_holes: self.old_holes.load(Relaxed),
            segments_made: self.segments_made.load(Relaxed),
            refused_no_room: self.refused_no_room.load(Relaxed),
            refused_too_far_ahead: self.refused_too_far_ahead.load(Relaxed),
            disk_full: self.disk_full.load(Relaxed),
            ..LogStats::default()
        }
    }
}
