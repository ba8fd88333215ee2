//! Percentiles in the text format of HdrHistogram, which its plotters and many others read.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::phase::Phase;

/// Lines for each halving of the distance to 100 %, as in the original's default.
const TICKS_PER_HALF: u32 = 5;
/// Nanoseconds in the unit of the files, a millisecond.
const UNIT: f64 = 1e6;

/// Writes a file for each kind of request, and one for all, of each phase.
pub(super) fn write_files(directory: &Path, phases: &[Phase]) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for phase in phases {
        let each = phase.tally.latencies().iter();
        let each = each.map(|(series, latencies)| (series.name(), latencies.clone()));
        for (name, latencies) in each.chain([("all".into(), phase.tally.all())]) {
            let path = directory.join(format!("{}-{name}.hgrm", phase.name));
            write_file(&path, &latencies)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, latencies: &Histogram<u64>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file, latencies)?;
    file.flush()
}

/// Writes one distribution.
fn write(out: &mut impl Write, latencies: &Histogram<u64>) -> io::Result<()> {
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in latencies.iter_quantiles(TICKS_PER_HALF) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (millis(step.value_iterated_to()), step.quantile_iterated_to());
        write!(out, "{value:12.6} {quantile:2.12} {total:10}")?;
        // There is no such number for the last line.
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (latencies.mean() / UNIT, latencies.stdev() / UNIT);
    writeln!(out, "#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]")?;
    let (max, count) = (millis(latencies.max()), latencies.len());
    writeln!(out, "#[Max     = {max:12.6}, Total count    = {count:12}]")?;
    let (buckets, sub_buckets) = buckets(latencies);
    writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]")
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / UNIT
}

/// How the histogram divides its range: so many halvings, each in so many parts.
fn buckets(latencies: &Histogram<u64>) -> (usize, usize) {
    let precision = 10_u64.pow(u32::from(latencies.sigfig()));
    let sub_buckets = usize::try_from((2 * precision).next_power_of_two()).unwrap_or(usize::MAX);
    (2 * latencies.distinct_values() / sub_buckets - 1, sub_buckets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tally::histogram;

    #[test]
    fn the_format_is_that_of_the_original() {
        let mut latencies = histogram();
        for micros in 1..=1_000_u64 {
            latencies.record(micros * 1_000).unwrap();
        }
        let mut text = Vec::new();
        write(&mut text, &latencies).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        let cells = |line: &str| -> Vec<f64> {
            line.split_whitespace().map(|cell| cell.parse().unwrap()).collect()
        };
        let rows: Vec<Vec<f64>> = lines[2..]
            .iter()
            .filter(|line| !line.starts_with('#'))
            .map(|line| cells(line))
            .collect();
        assert!(
            rows.iter().map(|row| row[0]).is_sorted() && rows.iter().map(|row| row[1]).is_sorted()
        );
        let median = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!(
            (median[0] - 0.5).abs() < 0.001 && median[2] == 500.0 && median[3] == 2.0,
            "{median:?}"
        );
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, 1_000.0), "{last:?}");
        assert!(lines[lines.len() - 2].ends_with("Total count    =         1000]"), "{text}");
        assert!(lines[lines.len() - 1].ends_with("SubBuckets     =         2048]"), "{text}");
    }
}
