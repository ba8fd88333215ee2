//! Health: for people and monitors (`/health`), and for whoever starts, stops and feeds the process
//! (`/livez`, `/readyz`). None of them waits for the log.

use std::fmt::Write;

use hyper::StatusCode;

use crate::domain::Timestamp;
use crate::http::Shared;
use crate::http::json::Json;
use crate::http::reply::{Content, Success};

const SERVICE: &str = "booking-manager";
const FEATURES: [&str; 10] = [
    "concurrent_booking",
    "ticket_locks",
    "load_balanced_queues",
    "write_ahead_log",
    "group_commit",
    "idempotency_keys",
    "all_or_nothing_bookings",
    "hold_expiry",
    "streamed_lists",
    "crash_recovery",
];

/// How the process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::http) enum Health {
    Healthy,
    /// Up, but without an engine so far.
    Starting,
    /// The log has failed, for this reason.
    Unhealthy(String),
}

fn health_of(shared: &Shared) -> Health {
    match shared.engine().map(|engine| engine.log().poisoned()) {
        None => Health::Starting,
        Some(None) => Health::Healthy,
        Some(Some(poison)) => Health::Unhealthy(poison.to_string()),
    }
}

/// `GET /health`
pub(in crate::http) fn health(shared: &Shared) -> Success {
    describe(&health_of(shared), shared.now())
}

pub(in crate::http) fn describe(health: &Health, now: Timestamp) -> Success {
    let (status, word, reason) = match health {
        Health::Healthy => (StatusCode::OK, "healthy", None),
        Health::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting", Some("the log is being replayed"))
        }
        Health::Unhealthy(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", Some(reason.as_str()))
        }
    };
    let mut json = Json::with_capacity(384);
    json.raw("{\"status\":").string(word);
    json.raw(",\"timestamp\":").time(now);
    json.raw(",\"service\":").string(SERVICE);
    json.raw(",\"version\":").string(env!("CARGO_PKG_VERSION"));
    json.raw(",\"features\":").list(FEATURES, |json, feature| {
        json.string(feature);
    });
    if let Some(reason) = reason {
        json.raw(",\"reason\":").string(reason);
    }
    json.raw("}");
    Success::new(status, Content::Json(json.into_bytes().into()))
}

/// `GET /livez`: the process answers, and that is all.
pub(in crate::http) fn liveness() -> Success {
    Success::new(StatusCode::OK, Content::Text("ok\n".into()))
}

/// `GET /readyz`
pub(in crate::http) fn readiness(shared: &Shared) -> Success {
    report(&health_of(shared), shared.is_draining())
}

/// One line per check, as `name: ok` or `name: what is wrong`.
fn report(health: &Health, draining: bool) -> Success {
    let (replay, log) = match health {
        Health::Healthy => ("ok", "ok"),
        Health::Starting => ("in progress", "not open yet"),
        Health::Unhealthy(reason) => ("ok", reason.as_str()),
    };
    let drain = if draining { "draining" } else { "ok" };
    let mut lines = String::new();
    let mut ready = true;
    for (name, state) in [("replay", replay), ("log", log), ("accepting", drain)] {
        ready &= state == "ok";
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{name}: {state}");
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Success::new(status, Content::Text(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(success: Success) -> (u16, String) {
        let text = match success.content {
            Content::Text(text) => text,
            Content::Json(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Content::Empty | Content::Document(_) | Content::Metrics(_) | Content::Listing(_) => {
                panic!("no text")
            }
        };
        (success.status.as_u16(), text)
    }

    #[test]
    fn readiness_has_a_line_per_check() {
        let (status, lines) = text(report(&Health::Healthy, false));
        assert_eq!((status, lines.as_str()), (200, "replay: ok\nlog: ok\naccepting: ok\n"));
        assert_eq!(text(report(&Health::Healthy, true)).0, 503);
        assert_eq!(text(report(&Health::Starting, false)).0, 503);
        let (status, lines) = text(report(&Health::Unhealthy("EIO".into()), false));
        assert_eq!(status, 503);
        assert!(lines.contains("log: EIO\n"), "{lines}");
    }

    #[test]
    fn health_says_why() {
        let describe = |health| {
            let (status, text) = text(super::describe(&health, Timestamp::from_millis(0)));
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            (status, json)
        };
        let (status, json) = describe(Health::Healthy);
        assert_eq!(status, 200);
        assert_eq!(json["status"], "healthy");
        assert_eq!(json["service"], "booking-manager");
        assert_eq!(json["features"][0], "concurrent_booking");
        assert!(json.get("reason").is_none());
        let (status, json) = describe(Health::Unhealthy("EIO at 7".into()));
        assert_eq!((status, &json["reason"]), (503, &serde_json::json!("EIO at 7")));
    }
}
