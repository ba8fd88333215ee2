//! How far long work has come, on standard error, if that is a terminal.
//!
//! Nothing is shown in the first half second, so that short work leaves the terminal alone; and
//! nothing while lines are being listed on a terminal too, which a bar would tear.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wal::Lsn;

const PATIENCE: Duration = Duration::from_millis(500);
/// How far apart two looks at the clock are, in bytes of the log.
const STEP_BYTES: u64 = 256 << 10;

const TEMPLATE: &str =
    "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// A bar over a part of the log.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    from: Lsn,
    next: Lsn,
    shown: bool,
    may_show: bool,
}

impl Progress {
    /// Over the bytes from `from` to `to`.
    pub fn over(what: &'static str, from: Lsn, to: Lsn) -> Self {
        let bar = ProgressBar::with_draw_target(Some(to.since(from)), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar, what, from, next: from, shown: false, may_show: io::stderr().is_terminal() }
    }

    /// As [`Progress::over`], for work that writes lines to standard output as it goes.
    pub fn beside_lines(what: &'static str, from: Lsn, to: Lsn) -> Self {
        let mut progress = Self::over(what, from, to);
        progress.may_show &= !io::stdout().is_terminal();
        progress
    }

    /// The work has come to `lsn`.
    pub fn reach(&mut self, lsn: Lsn) {
        if !self.may_show || lsn < self.next {
            return;
        }
        self.next = lsn.plus(STEP_BYTES);
        self.bar.set_position(lsn.since(self.from));
        if !self.shown && self.bar.elapsed() >= PATIENCE {
            self.shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// As [`Progress::reach`], for work whose measure is the record: shows how many a second.
    pub fn reach_after(&mut self, lsn: Lsn, records: u64) {
        if self.may_show {
            let rate = per_second(records, self.elapsed());
            self.bar.set_message(format!("{}, {rate} records/s", self.what));
        }
        self.reach(lsn);
    }

    /// How long the work has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.bar.elapsed()
    }
}

/// So many a second, rounded down.
pub fn per_second(count: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            self.bar.finish_and_clear();
        }
    }
}
