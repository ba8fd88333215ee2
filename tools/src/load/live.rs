//! A line that tells how it goes, on standard error, if that is a terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::beat::Beat;

/// The line; gone once dropped.
#[derive(Debug)]
pub(super) struct Live(ProgressBar);

impl Live {
    /// For a stretch of load.
    pub(super) fn new(what: &'static str, span: Duration) -> Self {
        let bar = bar(Some(span.as_secs()), "{prefix} {wide_bar} {pos}/{len} s  {msg}");
        bar.set_prefix(what);
        Self(bar)
    }

    /// For work of which nobody knows how long it takes.
    pub(super) fn waiting(what: impl Into<String>) -> Self {
        let bar = bar(None, "{spinner} {msg}");
        bar.set_message(what.into());
        Self(bar)
    }

    /// A second is over.
    pub(super) fn show(&mut self, beat: &Beat) {
        let latencies = &beat.latencies;
        let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
        let max = latencies.max() as f64 / 1e6;
        self.0.set_position(beat.second + 1);
        self.0.set_message(format!(
            "{}/s  p50 {:.2} p99 {:.2} max {max:.2} ms",
            latencies.len(),
            millis(0.5),
            millis(0.99)
        ));
    }
}

fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(length, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
