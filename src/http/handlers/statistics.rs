//! Statistics.

use hyper::StatusCode;

use crate::engine::Engine;
use crate::http::reply::{Content, Outcome, Success};
use crate::stats::Stats;

/// `GET /api/bookings/stats`
pub(in crate::http) fn read<'e>(engine: &'e Engine, stats: &Stats) -> Outcome<'e> {
    let text = stats.stats_json(engine).to_string();
    let success = Success::new(StatusCode::OK, Content::Json(text.into_bytes().into()));
    // Taken last: it covers everything that the figures could have seen.
    Outcome::seen(success, engine.position())
}

/// `GET /metrics`
pub(in crate::http) fn metrics(engine: &Engine, stats: &Stats) -> Success {
    Success::new(StatusCode::OK, Content::Metrics(stats.metrics_text(engine)))
}
