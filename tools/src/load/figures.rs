//! What a run has found out, for machines. Times are in the unit that the member's name ends with.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::claims::Findings;
use super::phase::Phase;
use super::report::QUANTILES;
use super::run::Outcome;
use super::tally::Faults;

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Report<'o> {
    scenario: &'static str,
    url: &'o str,
    connections: u32,
    threads: u32,
    users: u32,
    events: u32,
    seats_per_event: u32,
    setup_seconds: f64,
    phases: Vec<Stretch>,
    remarks: &'o [String],
    acknowledged_bookings: usize,
    /// `null` if no sweep was wanted.
    sweep: Option<Swept<'o>>,
}

/// One phase.
#[derive(Debug, Serialize)]
struct Stretch {
    phase: &'static str,
    /// Requests a second that were due; `null` in a closed loop.
    rate: Option<u32>,
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    generator_cpu_us_per_request: f64,
    server_cpu_us_per_request: Option<f64>,
    faults: Faults,
    answers: Vec<Answers>,
    /// By operation, refusals apart, and `all`.
    latency: BTreeMap<String, Latency>,
    /// Warming up included.
    by_second: Vec<Second>,
}

/// How often an operation was answered so.
#[derive(Debug, Serialize)]
struct Answers {
    operation: &'static str,
    status: u16,
    /// Of a problem document.
    code: Option<String>,
    count: u64,
}

/// A distribution, in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    mean_ms: f64,
    /// By name, such as `p99`.
    #[serde(flatten)]
    quantiles: BTreeMap<String, f64>,
    max_ms: f64,
}

#[derive(Debug, Serialize)]
struct Second {
    second: u64,
    requests: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

#[derive(Debug, Serialize)]
struct Swept<'o> {
    verdict: &'static str,
    seconds: f64,
    bookings: u64,
    tickets: u64,
    sold_cents: u64,
    wrong: u64,
    /// The first of them.
    wrongs: &'o [String],
}

impl<'o> Report<'o> {
    /// Of a run.
    pub(super) fn of(outcome: &'o Outcome) -> Self {
        let Outcome { run, size, .. } = outcome;
        Self {
            scenario: outcome.scenario.name(),
            url: &run.url.url,
            connections: run.connections,
            threads: run.threads,
            users: size.users,
            events: size.events,
            seats_per_event: size.seats,
            setup_seconds: outcome.setup.as_secs_f64(),
            phases: outcome.phases.iter().map(Stretch::of).collect(),
            remarks: &outcome.remarks,
            acknowledged_bookings: outcome.held,
            sweep: outcome.sweep.as_ref().map(|(findings, took)| Swept {
                seconds: took.as_secs_f64(),
                ..Swept::of(findings)
            }),
        }
    }
}

impl<'o> Swept<'o> {
    fn of(findings: &'o Findings) -> Self {
        Self {
            verdict: if findings.wrongs.count == 0 { "true" } else { "wrong" },
            seconds: 0.0,
            bookings: findings.bookings,
            tickets: findings.tickets,
            sold_cents: findings.sold_cents,
            wrong: findings.wrongs.count,
            wrongs: &findings.wrongs.told,
        }
    }
}

impl Stretch {
    fn of(phase: &Phase) -> Self {
        let tally = &phase.tally;
        let requests = tally.requests();
        let each = |nanos: u64| nanos as f64 / 1e3 / requests.max(1) as f64;
        let latency = tally.latencies().iter();
        let latency = latency.map(|(series, latencies)| (series.name(), Latency::of(latencies)));
        let answers =
            tally.answers().into_iter().map(|((operation, status, code), count)| Answers {
                operation: operation.name(),
                status: *status,
                code: (!code.is_empty()).then(|| code.to_string()),
                count,
            });
        Self {
            phase: phase.name,
            rate: phase.rate,
            seconds: phase.measured.as_secs_f64(),
            requests,
            requests_per_second: requests as f64 / phase.measured.as_secs_f64(),
            generator_cpu_us_per_request: each(tally.cpu_nanos),
            server_cpu_us_per_request: phase.server_cpu.map(each),
            faults: tally.faults,
            answers: answers.collect(),
            latency: latency.chain([("all".into(), Latency::of(&tally.all()))]).collect(),
            by_second: phase
                .beats
                .iter()
                .map(|beat| Second::of(beat.second, &beat.latencies))
                .collect(),
        }
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let quantiles = QUANTILES.map(|(name, at)| {
            (format!("{}_ms", name.replace('.', "_")), millis(latencies.value_at_quantile(at)))
        });
        Self {
            count: latencies.len(),
            mean_ms: latencies.mean() / 1e6,
            quantiles: quantiles.into(),
            max_ms: millis(latencies.max()),
        }
    }
}

impl Second {
    fn of(second: u64, latencies: &Histogram<u64>) -> Self {
        Self {
            second,
            requests: latencies.len(),
            p50_ms: millis(latencies.value_at_quantile(0.5)),
            p99_ms: millis(latencies.value_at_quantile(0.99)),
            max_ms: millis(latencies.max()),
        }
    }
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
