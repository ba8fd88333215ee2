//! How far long work has come, on standard error, if that is a terminal.
//!
//! Nothing is shown in the first half second, so that short work leaves the terminal alone; and
//! nothing while lines are being listed on a terminal too, which a bar would tear. What was shown is
//! gone when the work ends, also when it is ended by a signal.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use wal::Lsn;

const PATIENCE: Duration = Duration::from_millis(500);
/// How far apart two looks at the clock are, in bytes of the log.
const STEP_BYTES: u64 = 256 << 10;
/// And in rows.
const STEP_ROWS: u64 = 1_024;
/// How often something that has no measure shows that it goes on.
const TICK: Duration = Duration::from_millis(100);

const BYTES: &str = "{msg} {wide_bar} {percent:>3}% {binary_bytes}/{binary_total_bytes} \
                     {binary_bytes_per_sec} {eta} left";
const ROWS: &str =
    "{msg} {wide_bar} {percent:>3}% {human_pos}/{human_len} rows {per_sec} {eta} left";
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// What is shown, for whoever ends the process.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A bar over a part of the log, or over rows; or a sign that something goes on.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    from: Lsn,
    next: u64,
    shown: bool,
    may_show: bool,
    /// Shows what has no measure; ends when it is hung up on.
    spinner: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Over the bytes from `from` to `to`.
    pub fn over(what: &'static str, from: Lsn, to: Lsn) -> Self {
        let mut progress = Self::begin(what, BYTES, Some(to.since(from)));
        progress.from = from;
        progress
    }

    /// As [`Progress::over`], for work that writes lines to standard output as it goes.
    pub fn beside_lines(what: &'static str, from: Lsn, to: Lsn) -> Self {
        let mut progress = Self::over(what, from, to);
        progress.may_show &= !io::stdout().is_terminal();
        progress
    }

    /// Over so many rows.
    pub fn counting(what: &'static str, rows: u64) -> Self {
        Self::begin(what, ROWS, Some(rows))
    }

    /// Of something that does not say how far it has come.
    pub fn waiting(what: &'static str) -> Self {
        let mut progress = Self::begin(what, SPINNER, None);
        if progress.may_show {
            let (hang_up, ended) = mpsc::channel::<()>();
            let bar = progress.bar.clone();
            let spin = move || {
                if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    show(&bar);
                    bar.enable_steady_tick(TICK);
                    // Until it is hung up.
                    let _ = ended.recv();
                }
            };
            // Without a thread nothing is shown.
            let thread = thread::Builder::new().name("spinner".to_owned()).spawn(spin);
            progress.spinner = thread.ok().map(|thread| (hang_up, thread));
        }
        progress
    }

    fn begin(what: &'static str, template: &str, length: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        let may_show = io::stderr().is_terminal();
        Self { bar, what, from: Lsn::ZERO, next: 0, shown: false, may_show, spinner: None }
    }

    /// The work has come to `lsn`.
    pub fn reach(&mut self, lsn: Lsn) {
        self.come_to(lsn.since(self.from), STEP_BYTES);
    }

    /// As [`Progress::reach`], for work whose measure is the record: shows how many a second.
    pub fn reach_after(&mut self, lsn: Lsn, records: u64) {
        if self.may_show {
            let rate = per_second(records, self.elapsed());
            self.bar.set_message(format!("{}, {rate} records/s", self.what));
        }
        self.reach(lsn);
    }

    /// So many rows are done.
    pub fn count(&mut self, rows: u64) {
        self.come_to(rows, STEP_ROWS);
    }

    fn come_to(&mut self, place: u64, step: u64) {
        if !self.may_show || place < self.next {
            return;
        }
        self.next = place + step;
        self.bar.set_position(place);
        if !self.shown && self.bar.elapsed() >= PATIENCE {
            self.shown = true;
            show(&self.bar);
        }
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

fn show(bar: &ProgressBar) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    clear_when_ended();
    bar.set_draw_target(ProgressDrawTarget::stderr());
}

fn clear() {
    if let Some(bar) = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bar.finish_and_clear();
    }
}

/// From now on the signals that end the process first clear what is shown.
fn clear_when_ended() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // If they cannot be had, the last bar stays on the terminal: no more than that.
        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
        let wait = move || {
            for signal in signals.forever() {
                clear();
                let _ = emulate_default_handler(signal);
            }
        };
        drop(thread::Builder::new().name("signals".to_owned()).spawn(wait));
    });
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((hang_up, thread)) = self.spinner.take() {
            drop(hang_up);
            self.shown |= thread.join().is_ok();
        }
        if self.shown {
            clear();
        }
    }
}
