//! What can be chosen when a log is opened, and the bounds on it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use thiserror::Error;

use crate::{
    frame::FRAME_BYTES_MAX,
    header::{SEGMENT_BYTES_DEFAULT, SEGMENT_HEADER_BYTES},
    lsn::{Lsn, SegmentSize},
    sigbus::RING_SLOTS_MAX,
};

/// The smallest `unsynced_bytes_max`: the longest frame, behind the rest of a segment that it just
/// does not fit, and a header.
pub const UNSYNCED_BYTES_MIN: u64 = 2 * FRAME_BYTES_MAX as u64 + SEGMENT_HEADER_BYTES;
/// The largest `unsynced_bytes_max`: a frame's durable claim is a 32-bit distance.
pub const UNSYNCED_BYTES_LIMIT: u64 = 2 << 30;
/// The largest `segments_ahead`.
pub const SEGMENTS_AHEAD_MAX: u32 = 8;
/// The longest interval of [`Durability::Interval`].
pub const INTERVAL_MAX: Duration = Duration::from_secs(60);

const _: () = {
    // A claim must be able to say the distance, a segment's header and one frame included.
    assert!(UNSYNCED_BYTES_LIMIT + 2 * FRAME_BYTES_MAX as u64 + 4096 < u32::MAX as u64);
    // Slots of the ring: ahead, the one in use, one that is being given back, one to spare.
    assert!(SEGMENTS_AHEAD_MAX as usize + 3 <= RING_SLOTS_MAX);
};

/// When an answer may leave.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When its record is on disk: survives the loss of power.
    Commit,
    /// At once; a sync follows within this time while there is something to sync. Survives a kill of
    /// the process; a crash of the kernel loses at most the interval and one sync, always a suffix.
    Interval(Duration),
    /// At once, and the kernel writes when it likes: survives a kill of the process only.
    Os,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => f.write_str("commit"),
            Self::Interval(interval) => write!(f, "interval:{}", interval.as_millis()),
            Self::Os => f.write_str("os"),
        }
    }
}

/// The text names no durability.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no durability: expected `commit`, `interval:<milliseconds>` (1 to 60000) or `os`"
)]
pub struct ParseDurabilityError(String);

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseDurabilityError(text.to_owned());
        match text {
            "commit" => Ok(Self::Commit),
            "os" => Ok(Self::Os),
            _ => {
                let digits = text.strip_prefix("interval:").ok_or_else(unknown)?;
                let interval = digits.parse().map(Duration::from_millis);
                match interval {
                    Ok(interval) if !interval.is_zero() && interval <= INTERVAL_MAX => {
                        Ok(Self::Interval(interval))
                    }
                    Ok(_) | Err(_) => Err(unknown()),
                }
            }
        }
    }
}

/// How to open a log. Start from [`Options::new`] and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where the segments lie; made if missing. One process at a time.
    pub directory: PathBuf,
    /// When an answer may leave.
    pub durability: Durability,
    /// Bytes of one segment file: a power of two from 128 KiB to 4 GiB. A log keeps the size it was
    /// made with. Default 64 MiB.
    pub segment_bytes: u64,
    /// Segments that are ready beyond the one in use, 1 to [`SEGMENTS_AHEAD_MAX`]. Default 1.
    pub segments_ahead: u32,
    /// Bytes of prepared room that only `Urgency::Release` may use: what lets bookings end when the
    /// disk is full. At most a quarter of a segment is kept. Default 1 MiB.
    pub reserve_bytes: u64,
    /// Bound on `reserved - durable`; beyond it `reserve` refuses with `TooFarAhead`.
    /// From [`UNSYNCED_BYTES_MIN`] to [`UNSYNCED_BYTES_LIMIT`]. Default 128 MiB. The room that is
    /// prepared bounds it as well.
    pub unsynced_bytes_max: u64,
    /// A group of at least this many bytes is padded to the next 4 KiB boundary, so that no page is
    /// written twice; a smaller one is not worth the space. Default 1 KiB.
    pub pad_group_bytes_min: u64,
    /// What is known from elsewhere (a snapshot, a mirror) to have been durable: a log that ends
    /// before it is damaged. Default 0.
    pub durable_floor: Lsn,
    /// Where to begin reading: the position of a snapshot that holds everything before it. It must be
    /// where a frame begins or ends, and counts as known to have been durable. Default 0, which
    /// only a log from which nothing was removed can be read from.
    pub start: Lsn,
}

/// A value outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("option `{name}` is {value}: expected {expected}")]
pub struct OptionError {
    /// The field of [`Options`].
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What would be accepted.
    pub expected: &'static str,
}

impl Options {
    /// The defaults, for a log in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::Commit,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            segments_ahead: 1,
            reserve_bytes: 1 << 20,
            unsynced_bytes_max: 128 << 20,
            pad_group_bytes_min: 1 << 10,
            durable_floor: Lsn::ZERO,
            start: Lsn::ZERO,
        }
    }

    /// Checks every bound; gives the segment size as the format knows it.
    pub(crate) fn check(&self) -> Result<SegmentSize, OptionError> {
        let bound = |holds: bool, name, value, expected| {
            if holds { Ok(()) } else { Err(OptionError { name, value, expected }) }
        };
        let size = SegmentSize::new(self.segment_bytes).ok_or(OptionError {
            name: "segment_bytes",
            value: self.segment_bytes,
            expected: "a power of two from 131072 (128 KiB) to 4294967296 (4 GiB)",
        })?;
        bound(
            (1..=SEGMENTS_AHEAD_MAX).contains(&self.segments_ahead),
            "segments_ahead",
            self.segments_ahead.into(),
            "1 to 8",
        )?;
        bound(
            (UNSYNCED_BYTES_MIN..=UNSYNCED_BYTES_LIMIT).contains(&self.unsynced_bytes_max),
            "unsynced_bytes_max",
            self.unsynced_bytes_max,
            "135168 (two frames and a header) to 2147483648 (2 GiB)",
        )?;
        Ok(size)
    }

    /// What is kept for releases, scaled down where segments are small.
    pub(crate) fn effective_reserve_bytes(&self) -> u64 {
        self.reserve_bytes.min(self.segment_bytes / 4)
    }

    /// Slots of the ring: enough for what is ahead, the segment in use and what may be unsynced.
    pub(crate) fn ring_slots(&self) -> u64 {
        let unsynced = self.unsynced_bytes_max.div_ceil(self.segment_bytes);
        let slots = u64::from(self.segments_ahead) + 3 + unsynced;
        slots.next_power_of_two().min(RING_SLOTS_MAX as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_reads_what_it_writes() {
        for text in ["commit", "os", "interval:1", "interval:60000"] {
            let durability: Durability = text.parse().expect("valid");
            assert_eq!(durability.to_string(), text);
        }
        for text in
            ["", "sync", "interval", "interval:", "interval:0", "interval:60001", "interval:-1"]
        {
            assert!(text.parse::<Durability>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_within_bounds() {
        let options = Options::new("/nowhere");
        assert!(options.check().is_ok());
        assert!(options.ring_slots() * options.segment_bytes <= 1 << 30);
    }

    #[test]
    fn the_ring_holds_what_is_ahead_in_use_and_unsynced() {
        let mut options = Options::new("/nowhere");
        options.segment_bytes = 1 << 20;
        // One segment in use, and on either side of what may be unsynced one that is cut into.
        for (ahead, unsynced_mib, slots) in [(1, 4, 8), (1, 5, 16), (2, 3, 8), (5, 8, 16)] {
            options.segments_ahead = ahead;
            options.unsynced_bytes_max = unsynced_mib << 20;
            assert_eq!(options.ring_slots(), slots, "{ahead} ahead, {unsynced_mib} MiB unsynced");
        }
    }

    #[test]
    fn each_bound_names_its_option() {
        let check = |change: fn(&mut Options), name| {
            let mut options = Options::new("/nowhere");
            change(&mut options);
            assert_eq!(options.check().expect_err(name).name, name);
        };
        check(|o| o.segment_bytes = 100_000, "segment_bytes");
        check(|o| o.segments_ahead = 0, "segments_ahead");
        check(|o| o.segments_ahead = SEGMENTS_AHEAD_MAX + 1, "segments_ahead");
        check(|o| o.unsynced_bytes_max = UNSYNCED_BYTES_MIN - 1, "unsynced_bytes_max");
        check(|o| o.unsynced_bytes_max = u64::MAX, "unsynced_bytes_max");
    }
}
