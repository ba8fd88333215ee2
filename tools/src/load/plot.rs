//! Latency by percentile, drawn as SVG.
//!
//! Across, each step is ten times nearer to 100 %, so that the tail, which is what matters, has the
//! room. Upwards is latency, also in powers of ten, since a tail is often a thousand times the median.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::phase::Phase;
use super::run::Outcome;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 60.0;
/// Points of a line for each power of ten.
const POINTS: u32 = 40;
/// The furthest percentile, as nines.
const NINES_MAX: u32 = 6;
/// Told apart also by those who see no red or green (Okabe and Ito).
pub(super) const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

/// Writes the plot.
pub(super) fn write_file(path: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    std::fs::write(path, svg(&title(outcome), &lines(&outcome.phases)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// One line: its name and what it shows.
type Line = (String, Histogram<u64>);

fn lines(phases: &[Phase]) -> Vec<Line> {
    let mut lines = Vec::new();
    for phase in phases {
        for (series, latencies) in phase.tally.latencies() {
            let name = match phases.len() {
                1 => series.name(),
                _ => format!("{}: {}", phase.name, series.name()),
            };
            if !latencies.is_empty() {
                lines.push((name, latencies.clone()));
            }
        }
    }
    lines
}

fn title(outcome: &Outcome) -> String {
    let how = match outcome.phases.last().and_then(|phase| phase.rate) {
        None => "closed loop".to_owned(),
        Some(rate) => format!("open loop at {rate} requests/s"),
    };
    format!("{}: {how}, {} connections", outcome.scenario.name(), outcome.run.connections)
}

/// Where things are.
struct Frame {
    /// How many nines lie between the left and the right edge.
    nines: u32,
    /// Powers of ten of milliseconds at the bottom and at the top.
    low: i32,
    high: i32,
}

impl Frame {
    fn of(lines: &[Line]) -> Self {
        let count = lines.iter().map(|(_, latencies)| latencies.len()).max().unwrap_or(1);
        let least = lines.iter().map(|(_, latencies)| latencies.value_at_quantile(0.0)).min();
        let most = lines.iter().map(|(_, latencies)| latencies.max()).max();
        let power = |nanos: Option<u64>| (nanos.unwrap_or(1).max(1) as f64 / 1e6).log10();
        let (low, high) = (power(least).floor(), power(most).ceil());
        // An hour of nanoseconds has 13 digits.
        #[allow(clippy::cast_possible_truncation, reason = "small by construction")]
        let (low, high) = (low as i32, (high as i32).max(low as i32 + 1));
        Self { nines: (count.ilog10() + 1).clamp(2, NINES_MAX), low, high }
    }

    /// Where so many nines are (a fraction of nines for what lies between).
    fn x(&self, nines: f64) -> f64 {
        LEFT + nines / f64::from(self.nines) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, power: f64) -> f64 {
        let share = (power - f64::from(self.low)) / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

fn svg(title: &str, lines: &[Line]) -> String {
    let frame = Frame::of(lines);
    let mut svg = opening(WIDTH, HEIGHT);
    text(&mut svg, (LEFT, 30.0), "start", 17, title);
    axes(&mut svg, &frame);
    for (place, line) in lines.iter().enumerate() {
        draw(&mut svg, &frame, place, line);
    }
    svg.push_str("</svg>\n");
    svg
}

/// What a drawing of this size begins with.
pub(super) fn opening(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    )
}

fn axes(svg: &mut String, frame: &Frame) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for nines in 0..=frame.nines {
        let x = frame.x(f64::from(nines));
        rule(svg, (x, TOP), (x, bottom), "#cccccc");
        text(svg, (x, bottom + 20.0), "middle", 13, &percentile(nines));
    }
    for power in frame.low..=frame.high {
        for part in 1..10 {
            let y = frame.y(f64::from(power) + f64::from(part).log10());
            if y >= TOP - 0.5 {
                rule(svg, (LEFT, y), (right, y), if part == 1 { "#cccccc" } else { "#eeeeee" });
            }
        }
        text(svg, (LEFT - 8.0, frame.y(f64::from(power)) + 4.0), "end", 13, &millis(power));
    }
    text(svg, (f64::midpoint(LEFT, right), HEIGHT - 14.0), "middle", 13, "percentile");
    let middle = f64::midpoint(TOP, bottom);
    let _ = writeln!(
        svg,
        "<text transform=\"translate(22 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">latency</text>"
    );
}

/// A line through the quantiles, and its name.
fn draw(svg: &mut String, frame: &Frame, place: usize, (name, latencies): &Line) {
    let colour = COLOURS[place % COLOURS.len()];
    let dashes = if place < COLOURS.len() { "" } else { " stroke-dasharray=\"6 4\"" };
    let mut points = String::new();
    // Beyond that there is nothing between the percentile and the maximum.
    let last = (latencies.len() as f64).log10().min(f64::from(frame.nines));
    for step in 0..=frame.nines * POINTS {
        let nines = (f64::from(step) / f64::from(POINTS)).min(last);
        let quantile = 1.0 - 10_f64.powf(-nines);
        let power = (latencies.value_at_quantile(quantile).max(1) as f64 / 1e6).log10();
        let _ = write!(points, "{:.1},{:.1} ", frame.x(nines), frame.y(power));
        if nines >= last {
            break;
        }
    }
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes} points=\"{}\"/>",
        points.trim_end()
    );
    let y = TOP + 10.0 + 20.0 * place as f64;
    let x = WIDTH - RIGHT + 14.0;
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>",
        x + 22.0
    );
    text(svg, (x + 28.0, y + 4.0), "start", 13, name);
}

/// A straight line.
pub(super) fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

/// All texts are of our own making and have nothing to escape.
pub(super) fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, size: u32, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
    );
}

/// `0`, `90 %`, `99 %`, `99.9 %` and so on.
fn percentile(nines: u32) -> String {
    match nines {
        0 => "0".into(),
        1 | 2 => format!(
            "{} %",
            "9".repeat(nines as usize).parse::<u32>().unwrap_or(0) * 10_u32.pow(2 - nines)
        ),
        _ => format!("99.{} %", "9".repeat(nines as usize - 2)),
    }
}

/// `10^power` milliseconds.
fn millis(power: i32) -> String {
    match power {
        ..0 => format!("{} us", 10_f64.powi(power + 3)),
        0..3 => format!("{} ms", 10_f64.powi(power)),
        _ => format!("{} s", 10_f64.powi(power - 3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tally::histogram;

    #[test]
    fn every_line_is_drawn_within_the_frame() {
        let mut quick = histogram();
        let mut slow = histogram();
        for nanos in 1..=100_000 {
            quick.record(nanos * 10).unwrap();
            slow.record(nanos * 10_000).unwrap();
        }
        let svg = svg("a test", &[("quick".into(), quick), ("slow".into(), slow)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(
            svg.contains(">quick<") && svg.contains(">99.99 %<") && svg.contains(">100 us<"),
            "{svg}"
        );
        for points in svg.split("points=\"").skip(1) {
            let points = points.split('"').next().unwrap();
            let points: Vec<(f64, f64)> = points
                .split(' ')
                .map(|point| point.split_once(',').unwrap())
                .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
                .collect();
            assert!(points.len() > 50 && points.is_sorted_by_key(|(x, _)| *x));
            assert!(points.iter().all(|(x, y)| *x >= LEFT
                && *x <= WIDTH - RIGHT
                && *y >= TOP
                && *y <= HEIGHT - BOTTOM));
            assert!(points.is_sorted_by_key(|(_, y)| -y), "latency rises with the percentile");
        }
    }

    #[test]
    fn labels_are_those_of_people() {
        assert_eq!([0, 1, 2, 3, 5].map(percentile), ["0", "90 %", "99 %", "99.9 %", "99.999 %"]);
        assert_eq!([-3, -1, 0, 2, 3].map(millis), ["1 us", "100 us", "1 ms", "100 ms", "1 s"]);
    }
}
