//! What a run has found out, for people and for machines.

use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Status;
use crate::output::Output;

use super::run::Outcome;

/// The quantiles that are reported, with their names.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// Writes the result.
pub(super) fn write(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    text(outcome, output)?;
    Ok(status(outcome))
}

/// What the exit code says of it.
pub(super) fn status(outcome: &Outcome) -> Status {
    match &outcome.sweep {
        Some((findings, _)) if findings.wrongs.count > 0 => Status::Damaged,
        _ => Status::Sound,
    }
}

fn text(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let Outcome { scenario, run, size, tally, measured, .. } = outcome;
    output.line(format_args!("scenario      {}", scenario.name()))?;
    output.line(format_args!("server        {}", run.url.url))?;
    match run.rate {
        None => output.line(format_args!(
            "loop          closed: {} connections, {} threads",
            run.connections, run.threads
        ))?,
        Some(rate) => output.line(format_args!(
            "loop          open: {rate} requests/s over {} connections, {} threads",
            run.connections, run.threads
        ))?,
    }
    output.line(format_args!(
        "made          {} users, {} events of {} seats in {}",
        size.users,
        size.events,
        size.seats,
        seconds(outcome.setup)
    ))?;
    output.line(format_args!(
        "measured      {} after {} of warming up",
        seconds(*measured),
        seconds(run.warmup)
    ))?;
    let requests = tally.requests();
    let rate = requests as f64 / measured.as_secs_f64();
    output.line(format_args!("requests      {requests}, {rate:.0} a second"))?;
    output.line("")?;
    let names = QUANTILES.map(|(name, _)| format!("{name:>10}")).concat();
    output.line(format_args!("{:<16}{:>10}{names}{:>10}  ms", "latency", "requests", "max"))?;
    for (operation, latencies) in tally.latencies() {
        line(operation.name(), latencies, output)?;
    }
    if tally.latencies().len() > 1 {
        line("all", &tally.all(), output)?;
    }
    output.line("")?;
    for ((operation, status, code), count) in tally.answers() {
        output.line(format_args!("{:<16}{count:>10}  {status} {code}", operation.name()))?;
    }
    faults(outcome, output)?;
    cost(outcome, output)?;
    verdict(outcome, output)
}

fn line(
    name: &str,
    latencies: &Histogram<u64>,
    output: &mut Output<impl Write>,
) -> anyhow::Result<()> {
    let quantiles = QUANTILES.map(|(_, at)| millis(latencies.value_at_quantile(at))).concat();
    let max = millis(latencies.max());
    output.line(format_args!("{name:<16}{:>10}{quantiles}{max}", latencies.len()))
}

fn faults(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let faults = outcome.tally.faults;
    for (count, what) in [
        (faults.unconnected, "connections could not be made"),
        (faults.broken, "connections broke while an answer was awaited"),
        (faults.late, "answers did not come in time"),
        (faults.unsent, "requests were due and not sent, since every connection was busy"),
    ] {
        if count > 0 {
            output.line(format_args!("fault         {count} {what}"))?;
        }
    }
    Ok(())
}

fn cost(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let requests = outcome.tally.requests().max(1) as f64;
    let each = |nanos: u64| nanos as f64 / 1e3 / requests;
    output.line("")?;
    output.line(format_args!(
        "generator     {:.2} us of CPU a request",
        each(outcome.tally.cpu_nanos)
    ))?;
    if let Some(nanos) = outcome.server_cpu {
        output.line(format_args!("server CPU    {:.2} us of CPU a request", each(nanos)))?;
    }
    Ok(())
}

fn verdict(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let Some((findings, took)) = &outcome.sweep else {
        return output.line("sweep         not made");
    };
    output.line(format_args!(
        "sweep         {} bookings (told of {}) and {} tickets in {}",
        findings.bookings,
        outcome.held,
        findings.tickets,
        seconds(*took)
    ))?;
    for wrong in &findings.wrongs.told {
        output.line(format_args!("wrong         {wrong}"))?;
    }
    match findings.wrongs.count {
        0 => output.line("verdict       every answer is still true"),
        count => output.line(format_args!("verdict       {count} things are wrong")),
    }
}

/// Nanoseconds as milliseconds, in ten columns.
fn millis(nanos: u64) -> String {
    format!("{:>10.3}", nanos as f64 / 1e6)
}

fn seconds(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}
