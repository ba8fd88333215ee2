//! What a run has found out, for people.

use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Status;
use crate::output::Output;

use super::figures;
use super::percentiles;
use super::phase::Phase;
use super::plot;
use super::run::Outcome;

/// The quantiles that are reported, with their names.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// Writes the result, and the files that were asked for.
pub(super) fn write(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<Status> {
    if let Some(directory) = &outcome.run.hdr {
        percentiles::write_files(directory, &outcome.phases)?;
    }
    if let Some(path) = &outcome.run.plot {
        plot::write_file(path, outcome)?;
    }
    if outcome.run.json {
        output.json(&figures::Report::of(outcome))?;
    } else {
        text(outcome, output)?;
    }
    Ok(match &outcome.sweep {
        Some((findings, _)) if findings.wrongs.count > 0 => Status::Damaged,
        _ => Status::Sound,
    })
}

fn text(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let Outcome { scenario, run, size, .. } = outcome;
    output.line(format_args!("scenario      {}", scenario.name()))?;
    output.line(format_args!("server        {}", run.url.url))?;
    output.line(format_args!(
        "made          {} users, {} events of {} seats in {}",
        size.users,
        size.events,
        size.seats,
        seconds(outcome.setup)
    ))?;
    for phase in &outcome.phases {
        output.line("")?;
        self::phase(outcome, phase, output)?;
    }
    output.line("")?;
    for remark in &outcome.remarks {
        output.line(format_args!("seen          {remark}"))?;
    }
    verdict(outcome, output)
}

fn phase(outcome: &Outcome, phase: &Phase, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let Phase { tally, measured, .. } = phase;
    if outcome.phases.len() > 1 {
        output.line(format_args!("phase         {}", phase.name))?;
    }
    let kind = phase.rate.map_or_else(|| "closed".into(), |rate| format!("open, {rate} a second"));
    let (connections, threads) = (outcome.run.connections, outcome.run.threads);
    output.line(format_args!(
        "loop          {kind}; {connections} connections in {threads} threads"
    ))?;
    let requests = tally.requests();
    let rate = requests as f64 / measured.as_secs_f64();
    output.line(format_args!(
        "requests      {requests} in {}, {rate:.0} a second",
        seconds(*measured)
    ))?;
    let each = |nanos: u64| nanos as f64 / 1e3 / requests.max(1) as f64;
    output.line(format_args!("generator     {:.2} us of CPU a request", each(tally.cpu_nanos)))?;
    if let Some(nanos) = phase.server_cpu {
        output.line(format_args!("server CPU    {:.2} us of CPU a request", each(nanos)))?;
    }
    faults(phase, output)?;
    output.line("")?;
    let names = QUANTILES.map(|(name, _)| format!("{name:>10}")).concat();
    output.line(format_args!("{:<16}{:>10}{names}{:>10}", "latency, ms", "requests", "max"))?;
    for (series, latencies) in tally.latencies() {
        line(&series.name(), latencies, output)?;
    }
    if tally.latencies().len() > 1 {
        line("all", &tally.all(), output)?;
    }
    output.line("")?;
    for ((operation, status, code), count) in tally.answers() {
        let answer = format!("{} {status} {code}", operation.name());
        output.line(format_args!("{count:>10}  {}", answer.trim_end()))?;
    }
    Ok(())
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

fn faults(phase: &Phase, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let faults = phase.tally.faults;
    for (count, what) in [
        (faults.unconnected, "times a connection could not be made"),
        (faults.broken, "connections broke while an answer was awaited"),
        (faults.late, "answers did not come in time"),
        (faults.unsent, "requests were due and never sent, since every connection was busy"),
    ] {
        if count > 0 {
            output.line(format_args!("fault         {count} {what}"))?;
        }
    }
    Ok(())
}

fn verdict(outcome: &Outcome, output: &mut Output<impl Write>) -> anyhow::Result<()> {
    let Some((findings, took)) = &outcome.sweep else {
        return output.line("verdict       not asked for");
    };
    output.line(format_args!(
        "sweep         {} bookings ({} acknowledged) and {} tickets read back in {}",
        findings.bookings,
        outcome.held,
        findings.tickets,
        seconds(*took)
    ))?;
    let (whole, cents) = (findings.sold_cents / 100, findings.sold_cents % 100);
    output.line(format_args!("sold          for {whole}.{cents:02} USD"))?;
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
