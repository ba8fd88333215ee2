//! The figures as text.

use std::io::Write;

use crate::output::Output;

use super::summary::{Measured, Row, Summary};

/// Writes the table and the verdict.
pub(super) fn write(summary: &Summary, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    output.line(format_args!(
        "{}, {}; {} rounds of {} slices of {} s",
        summary.scenario,
        summary.pace(),
        summary.rounds,
        summary.slices_per_round,
        summary.slice_seconds
    ))?;
    output.line("")?;
    output.line(format_args!(
        "{:<26}{:>10}{:>9}{:>9}{:>9}{:>12}{:>10}{:>13}{:>10}",
        "contender",
        "booked/s",
        "of bare",
        "p50 ms",
        "p99 ms",
        "CPU us each",
        "sync us",
        "acknowledged",
        "stored"
    ))?;
    for row in &summary.contenders {
        self::row(row, output)?;
    }
    output.line("")?;
    output.line(format_args!("A/A ratio     {}", decimals(summary.aa_ratio, 3)))?;
    for wrong in &summary.wrongs {
        output.line(format_args!("wrong         {wrong}"))?;
    }
    match summary.wrong {
        0 => output.line("verdict       what was acknowledged is stored, and no seat twice"),
        count => output.line(format_args!("verdict       {count} things are wrong")),
    }
}

fn row(row: &Row, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let name = row.contender;
    let Some(measured) = &row.measured else {
        return output.line(format_args!("{name:<26}  {}", row.missing.unwrap_or("no turn")));
    };
    let Measured { requests_per_second, p50_ms, p99_ms, acknowledged, .. } = measured;
    output.line(format_args!(
        "{name:<26}{requests_per_second:>10.0}{:>9}{p50_ms:>9.3}{p99_ms:>9.3}{:>12}{:>10.0}\
         {acknowledged:>13}{:>10}",
        decimals(measured.of_bare, 3),
        decimals(measured.server_cpu_us_per_request, 1),
        measured.raw_fdatasync_us,
        measured.stored.map_or_else(|| "-".into(), |stored| stored.bookings.to_string()),
    ))
}

fn decimals(value: Option<f64>, count: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.count$}"))
}
