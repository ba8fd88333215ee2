//! The rates as bars, drawn as SVG.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::load::plot::{COLOURS, opening, rule, text};

use super::summary::Summary;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 64.0;
/// From one bar to the next, and how thick one is.
const STEP: f64 = 44.0;
const BAR: f64 = 28.0;
const BOTTOM: f64 = 30.0;

/// Writes the chart.
pub(super) fn write_file(path: &Path, summary: &Summary) -> anyhow::Result<()> {
    std::fs::write(path, svg(summary)).with_context(|| format!("cannot write {}", path.display()))
}

fn svg(summary: &Summary) -> String {
    let measured = || summary.contenders.iter().filter_map(|row| row.measured.as_ref());
    let most = measured().map(|measured| measured.requests_per_second).fold(1.0, f64::max);
    let height = TOP + STEP * summary.contenders.len() as f64 + BOTTOM;
    let mut svg = opening(WIDTH, height);
    let title = format!("{}: bookings per second, {}", summary.scenario, summary.pace());
    text(&mut svg, (24.0, 30.0), "start", 17, &title);
    rule(&mut svg, (LEFT, TOP), (LEFT, height - BOTTOM), "#cccccc");
    for (place, row) in summary.contenders.iter().enumerate() {
        let top = TOP + STEP * place as f64 + (STEP - BAR) / 2.0;
        let line = top + BAR / 2.0 + 4.0;
        text(&mut svg, (LEFT - 8.0, line), "end", 13, row.contender);
        let Some(measured) = &row.measured else {
            text(&mut svg, (LEFT + 8.0, line), "start", 13, row.missing.unwrap_or("no turn"));
            continue;
        };
        let rate = measured.requests_per_second;
        let width = rate / most * (WIDTH - LEFT - RIGHT);
        let colour = COLOURS[place % COLOURS.len()];
        // A string takes whatever is written to it.
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
        );
        let label = match measured.of_bare {
            Some(ratio) => format!("{rate:.0}/s, {ratio:.2} of bare"),
            None => format!("{rate:.0}/s"),
        };
        text(&mut svg, (LEFT + width + 8.0, line), "start", 13, &label);
    }
    svg.push_str("</svg>\n");
    svg
}
