//! What all turns come to, as figures. As JSON, times are in the unit that the member's name ends with.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::arguments::Compare;
use crate::load::ledger::Wrongs;
use crate::load::tally::histogram;

use super::contender::Contender;
use super::programs::Programs;
use super::stored::Stored;
use super::turn::{Turn, slices_per_round};

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) scenario: &'static str,
    pub(super) connections: u32,
    /// Requests a second; `null` in a closed loop.
    pub(super) rate: Option<u32>,
    pub(super) rounds: u32,
    pub(super) slices_per_round: u32,
    pub(super) slice_seconds: f64,
    /// The rate of the bare server's second turn by that of its first, median of the rounds.
    pub(super) aa_ratio: Option<f64>,
    pub(super) contenders: Vec<Row>,
    pub(super) wrong: u64,
    /// The first of them.
    pub(super) wrongs: Vec<String>,
}

/// One contender.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) contender: &'static str,
    /// Why it did not take part.
    pub(super) missing: Option<&'static str>,
    pub(super) measured: Option<Measured>,
}

/// What was measured of one.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// Median of all slices.
    pub(super) requests_per_second: f64,
    /// By the bare server's rate in the same round, median of the rounds.
    pub(super) of_bare: Option<f64>,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Of the front end and the database together, median of all slices.
    pub(super) server_cpu_us_per_request: Option<f64>,
    /// Right after its slices, median of the rounds.
    pub(super) raw_fdatasync_us: f64,
    /// In all rounds, while warming up, too.
    pub(super) acknowledged: u64,
    /// `null` if it stores nothing.
    pub(super) stored: Option<Stored>,
    /// Whether a seat that was taken was refused in every round; `null` if it stores nothing.
    pub(super) refuses_taken: Option<bool>,
    /// Slice by slice.
    pub(super) rates: Vec<f64>,
}

impl Summary {
    /// Of all turns.
    pub(super) fn of(order: &Compare, programs: &Programs, turns: &[Turn]) -> Self {
        let mut wrongs = Wrongs::default();
        for turn in turns {
            wrongs.add(turn.wrongs.clone());
        }
        let rows = Contender::ALL.map(|contender| Row {
            contender: contender.name(),
            missing: contender.missing(order, programs),
            measured: Measured::of(contender, turns),
        });
        Self {
            scenario: "hot-event",
            connections: order.connections,
            rate: order.rate,
            rounds: order.rounds,
            slices_per_round: slices_per_round(order),
            slice_seconds: order.slice.as_secs_f64(),
            aa_ratio: of_bare(Contender::Control, turns),
            contenders: rows.into(),
            wrong: wrongs.count,
            wrongs: wrongs.told,
        }
    }

    /// How requests were sent.
    pub(super) fn pace(&self) -> String {
        let pace = self.rate.map(|rate| format!("open loop of {rate}/s"));
        let pace = pace.unwrap_or_else(|| "closed loop".into());
        format!("{pace}, {} connections", self.connections)
    }

    /// Whether every answer was honest.
    pub(super) const fn is_sound(&self) -> bool {
        self.wrong == 0
    }
}

impl Measured {
    /// `None` if it took no turn.
    fn of(contender: Contender, turns: &[Turn]) -> Option<Self> {
        let own: Vec<&Turn> = turns.iter().filter(|turn| turn.contender == contender).collect();
        let slices = || own.iter().flat_map(|turn| &turn.slices);
        let rates: Vec<f64> = slices().map(|slice| slice.rate).collect();
        if rates.is_empty() {
            return None;
        }
        let cpu: Option<Vec<f64>> = slices().map(|slice| slice.cpu_micros).collect();
        let syncs: Vec<f64> = own.iter().map(|turn| turn.sync_micros).collect();
        let mut latencies = histogram();
        for turn in &own {
            latencies.add(&turn.latencies).expect("all have the same bounds");
        }
        let stored = own.iter().map(|turn| turn.stored).reduce(|one, other| {
            let (one, other) = (one?, other?);
            Some(Stored { bookings: one.bookings + other.bookings, seats: one.seats + other.seats })
        });
        let taken: Option<Vec<u16>> = own.iter().map(|turn| turn.taken).collect();
        Some(Self {
            requests_per_second: median(&rates),
            of_bare: of_bare(contender, turns),
            p50_ms: millis(&latencies, 0.5),
            p99_ms: millis(&latencies, 0.99),
            server_cpu_us_per_request: cpu.map(|cpu| median(&cpu)),
            raw_fdatasync_us: median(&syncs),
            acknowledged: own.iter().map(|turn| turn.acknowledged).sum(),
            stored: stored.flatten(),
            refuses_taken: taken.map(|taken| taken.iter().all(|status| *status == 409)),
            rates,
        })
    }
}

/// A contender's rate by that of the bare server in the same round, median of the rounds.
fn of_bare(contender: Contender, turns: &[Turn]) -> Option<f64> {
    let of = |wanted| turns.iter().filter(move |turn: &&Turn| turn.contender == wanted);
    let ratios: Vec<f64> = of(contender)
        .filter_map(|turn| {
            let bare = of(Contender::Bare).find(|bare| bare.round == turn.round)?;
            Some(rate(turn) / rate(bare))
        })
        .collect();
    (!ratios.is_empty()).then(|| median(&ratios))
}

fn rate(turn: &Turn) -> f64 {
    median(&turn.slices.iter().map(|slice| slice.rate).collect::<Vec<_>>())
}

fn millis(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e6
}

/// The middle one, or what is between the two in the middle. Of nothing it is not a number.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::compare::contender::Durability;
    use crate::load::compare::turn::Slice;

    fn turn(contender: Contender, round: u32, rates: &[f64]) -> Turn {
        let slice = |rate: &f64| Slice { rate: *rate, cpu_micros: Some(1e6 / rate) };
        Turn {
            contender,
            round,
            slices: rates.iter().map(slice).collect(),
            latencies: histogram(),
            sync_micros: 100.0,
            acknowledged: 10,
            stored: Some(Stored { bookings: 10, seats: 10 }),
            taken: Some(409),
            wrongs: Wrongs::default(),
        }
    }

    #[test]
    fn ratios_are_to_the_same_round() {
        let booking = Contender::Booking(Durability::Commit);
        // The machine is half as fast in the second round.
        let turns = [
            turn(Contender::Bare, 0, &[100.0, 90.0, 110.0]),
            turn(booking, 0, &[80.0]),
            turn(Contender::Bare, 1, &[50.0]),
            turn(booking, 1, &[40.0]),
        ];
        let measured = Measured::of(booking, &turns).unwrap();
        assert_eq!((measured.of_bare, measured.requests_per_second), (Some(0.8), 60.0));
        assert_eq!(measured.acknowledged, 20);
        assert_eq!(measured.stored, Some(Stored { bookings: 20, seats: 20 }));
        assert_eq!(measured.refuses_taken, Some(true));
        assert!(Measured::of(Contender::Control, &turns).is_none());
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
