//! How long a group gathers before it is synced.
//!
//! A sync costs processor time, in the kernel and for waking everybody, that a busy machine has not
//! got, and some virtual machines answer thousands a second with stalls far longer than a sync. So
//! where groups are shared, the next one gathers a little, until [`PERIOD_SYNCS`] times as long as the
//! last sync took has passed since that began, or [`PERIOD_MAX`] if that is less. (Linux's timers add
//! some 50 us, its usual slack.) Who comes alone does not wait; nor does anybody whom waiting brings
//! nothing: where nobody ever comes during a sync, all that there are stand in the group already, as
//! when a few clients each wait for their answer, and gathering pauses.
//!
//! (PostgreSQL has the same in `commit_delay`, and with `commit_siblings` only beside others.)

use std::time::Duration;

/// Records of a group from which on it was shared.
const SHARED_RECORDS_MIN: u64 = 2;
/// The most that gathering may put between the beginnings of two syncs. During one that took longer
/// enough gathered. (Half a millisecond was 5 % slower at 64 clients, less than a quarter no faster.)
const PERIOD_MAX: Duration = Duration::from_micros(300);
/// The same as a multiple of how long a sync takes: a fast disk is not waited for that long. With
/// twice, a group gathers for as long as the one before it was synced.
const PERIOD_SYNCS: u32 = 2;
/// Groups in a row that could gather, and during whose sync nobody came, after which gathering pauses.
/// (Those count as well that came so late that they did not have to wait.)
const IN_VAIN_MAX: u32 = 8;
/// Groups that do not gather then.
const PAUSE_GROUPS: u32 = 256;

/// What the last groups teach for the next one.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    span: Duration,
    in_vain: u32,
    pause: u32,
}

impl Gathering {
    /// How long the next group gathers, from the end of the last sync on.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    /// Learns from a sync how long it took, how many records it made durable, and whether others
    /// came meanwhile.
    pub(crate) fn learn(&mut self, sync: Duration, records: u64, others: bool) {
        if others {
            self.in_vain = 0;
        } else if !self.span.is_zero() {
            self.in_vain += 1;
        }
        if self.in_vain == IN_VAIN_MAX {
            (self.in_vain, self.pause) = (0, PAUSE_GROUPS);
        } else {
            self.pause = self.pause.saturating_sub(1);
        }
        self.span = if records < SHARED_RECORDS_MIN || self.pause > 0 {
            Duration::ZERO
        } else {
            (PERIOD_SYNCS * sync).min(PERIOD_MAX).saturating_sub(sync)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(gathering: &mut Gathering, sync: u64, records: u64, others: bool) -> u128 {
        gathering.learn(Duration::from_micros(sync), records, others);
        gathering.span().as_micros()
    }

    #[test]
    fn a_group_gathers_where_groups_are_shared_and_syncs_are_short() {
        let mut gathering = Gathering::default();
        let mut after = |sync, records| micros(&mut gathering, sync, records, true);
        assert_eq!(after(100, 1), 0, "nobody else was there");
        assert_eq!(after(20, 2), 20);
        assert_eq!(after(100, 2), 100);
        assert_eq!(after(200, 100), 100, "together no longer than that");
        assert_eq!(after(300, 100), 0);
        assert_eq!(after(10_000, 100), 0);
    }

    #[test]
    fn nobody_gathers_for_long_in_vain() {
        let mut gathering = Gathering::default();
        let mut gathers = |others| micros(&mut gathering, 100, 16, others) > 0;
        assert!((0..8).all(|_| gathers(false)));
        assert!((0..256).all(|_| !gathers(false)));
        assert!((0..8).all(|_| gathers(false)), "it is tried again");
        assert!(!gathers(false));
        assert!((0..255).all(|_| !gathers(true)));
        assert!((0..1_000).all(|_| gathers(true)));
        // Now and then nobody comes by chance.
        assert!((0..1_000).all(|number| gathers(number % 8 == 0)));
    }
}
