//! How far long work has come, on standard error, if that is a terminal.
//!
//! Nothing is shown in the first half second, so that short work leaves the terminal alone; and
//! nothing while lines are being listed on a terminal too, which a bar would tear. What was shown is
//! gone when the work ends, also when it is ended by a signal.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use wal::Lsn;

const PATIENCE: Duration = Duration::from_millis(500);
/// How far apart two looks at the clock are, in bytes of the log.
const STEP_BYTES: u64 = 256 << 10;
/// And in rows.
const STEP_ROWS: u64 = 1_024;
/// How often it is drawn anew though nothing was reached.
const TICK: Duration = Duration::from_millis(200);

const BYTES: &str = "{msg} {wide_bar} {percent:>3}% {binary_bytes}/{binary_total_bytes} \
                     {binary_bytes_per_sec}{left}";
const ROWS: &str =
    "{msg} {wide_bar} {percent:>3}% {human_pos}/{human_len} rows {rows_per_sec}{left}";
/// From which part on it is guessed how long the rest takes.
const GUESS_FROM: f32 = 0.02;
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
    /// Shows it; ends when it is hung up on.
    display: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Over the bytes from `from` to `to`.
    pub fn over(what: &'static str, from: Lsn, to: Lsn) -> Self {
        Self::begin(what, BYTES, Some((from, to.since(from))), io::stderr().is_terminal())
    }

    /// As [`Progress::over`], for work that writes lines to standard output as it goes.
    pub fn beside_lines(what: &'static str, from: Lsn, to: Lsn) -> Self {
        let may_show = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self::begin(what, BYTES, Some((from, to.since(from))), may_show)
    }

    /// Over so many rows.
    pub fn counting(what: &'static str, rows: u64) -> Self {
        Self::begin(what, ROWS, Some((Lsn::ZERO, rows)), io::stderr().is_terminal())
    }

    /// Of something that does not say how far it has come.
    pub fn waiting(what: &'static str) -> Self {
        Self::begin(what, SPINNER, None, io::stderr().is_terminal())
    }

    fn begin(
        what: &'static str,
        template: &str,
        extent: Option<(Lsn, u64)>,
        may_show: bool,
    ) -> Self {
        let (from, length) = extent.unzip();
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("left", left).with_key("rows_per_sec", rows_per_sec));
        }
        bar.set_message(what);
        let display = if may_show { display(bar.clone()) } else { None };
        Self { bar, what, from: from.unwrap_or_default(), next: 0, display }
    }

    /// The work has come to `lsn`.
    pub fn reach(&mut self, lsn: Lsn) {
        self.come_to(lsn.since(self.from), STEP_BYTES);
    }

    /// As [`Progress::reach`], for work whose measure is the record: shows how many a second.
    pub fn reach_after(&mut self, lsn: Lsn, records: u64) {
        self.reach(lsn);
        if self.display.is_some() {
            let rate = per_second(records, self.elapsed());
            self.bar.set_message(format!("{}, {rate} records/s", self.what));
        }
    }

    /// So many rows are done.
    pub fn count(&mut self, rows: u64) {
        self.come_to(rows, STEP_ROWS);
    }

    fn come_to(&mut self, place: u64, step: u64) {
        if self.display.is_some() && place >= self.next {
            self.next = place + step;
            self.bar.set_position(place);
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

/// How long the rest will take.
fn left(state: &ProgressState, out: &mut dyn fmt::Write) {
    if state.fraction() >= GUESS_FROM {
        // Nobody would learn of a failure, and there is none: it is text in memory.
        let _ = write!(out, ", {} s left", state.eta().as_secs());
    }
}

fn rows_per_sec(state: &ProgressState, out: &mut dyn fmt::Write) {
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// Shows a bar once it has taken long, however little it moves. Without a thread nothing is shown.
fn display(bar: ProgressBar) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (hang_up, ended) = mpsc::channel::<()>();
    let wait = move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
            clear_when_ended();
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            // Until it is hung up.
            let _ = ended.recv();
            clear();
        }
    };
    let thread = thread::Builder::new().name("progress".to_owned()).spawn(wait);
    Some((hang_up, thread.ok()?))
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
        if let Some((hang_up, thread)) = self.display.take() {
            drop(hang_up);
            // What it was to clear would stay if it panicked, and so would the message of that.
            let _ = thread.join();
        }
    }
}
