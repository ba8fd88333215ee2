//! The negative controls: a server that tells something else afterwards than before is found out.

use crate::liar::lie;
use crate::program::{Run, run};
use crate::server::Server;

/// A short run through a liar.
fn through(
    server: &Server,
    scenario: &str,
    tale: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
) -> Run {
    let url = lie(server.port, tale);
    let arguments = [
        scenario,
        "--url",
        &url,
        "--json",
        "--warmup",
        "0s",
        "--duration",
        "2s",
        "--users",
        "5",
        "--connections",
        "4",
        "--seats",
        "400",
        "--events",
        "2",
    ];
    run(&arguments)
}

/// Whether this is the list of a user's bookings.
fn lists_bookings(line: &str) -> bool {
    line.starts_with("GET /api/users/") && line.contains("/bookings")
}

/// Whether this is the sweep's list of tickets: it comes after the lists of bookings, and the one that
/// the run began with knows of no reserved ticket.
fn lists_tickets(line: &str, body: &str) -> bool {
    line.contains("/tickets?") && body.contains("\"reserved\"")
}

/// Replaces the first `from`.
fn once(body: &str, from: &str, to: &str) -> Option<String> {
    body.contains(from).then(|| body.replacen(from, to, 1))
}

#[test]
fn a_liar_who_does_not_lie_is_believed() {
    let server = Server::start();
    let report = through(&server, "many-events", |_, _| None).sound();
    assert!(report["sweep"]["bookings"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_booking_that_is_lost_or_changed_is_found() {
    let server = Server::start();
    type Tale = fn(&str, &str) -> Option<String>;
    let lost: Tale = |line, _| lists_bookings(line).then(|| "[]".into());
    let changed: Tale = |line, body| {
        lists_bookings(line)
            .then(|| once(body, "\"status\":\"pending\"", "\"status\":\"confirmed\""))?
    };
    let expired: Tale = |line, body| {
        lists_bookings(line)
            .then(|| once(body, "\"status\":\"pending\"", "\"status\":\"expired\""))?
    };
    let dearer: Tale = |line, body| {
        lists_bookings(line)
            .then(|| once(body, "\"total_amount\":75.00", "\"total_amount\":75.01"))?
    };
    for (tale, says) in [
        (lost, "was acknowledged and is lost"),
        (changed, "and its client knows of this end"),
        (expired, "expired before its deadline"),
        (dearer, "has a total of 75.01"),
    ] {
        let wrongs = through(&server, "many-events", tale).wrongs();
        assert!(wrongs.iter().any(|wrong| wrong.contains(says)), "{says}: {wrongs:?}");
    }
}

#[test]
fn a_ticket_that_is_sold_twice_is_found() {
    let server = Server::start();
    // The second booking of a list is given the tickets of the first.
    let wrongs = through(&server, "hot-event", |line, body| {
        let ids = |part: &str| Some(part.split_once("\"ticket_ids\":[\"")?.1[..36].to_owned());
        let (first, second) = lists_bookings(line).then(|| body.split_once("},{"))??;
        Some(body.replace(&ids(second)?, &ids(first)?))
    })
    .wrongs();
    for says in ["is in two live bookings", "other tickets than its client was told"] {
        assert!(wrongs.iter().any(|wrong| wrong.contains(says)), "{says}: {wrongs:?}");
    }
}

#[test]
fn a_ticket_that_is_free_for_some_is_found() {
    let server = Server::start();
    let wrongs = through(&server, "many-events", |line, body| {
        lists_tickets(line, body).then(|| once(body, "\"reserved\"", "\"available\""))?
    })
    .wrongs();
    assert!(wrongs.iter().any(|wrong| wrong.contains("is available, and booking")), "{wrongs:?}");
}

#[test]
fn counters_that_do_not_add_up_are_found() {
    let server = Server::start();
    let wrongs = through(&server, "many-events", |line, body| {
        let single = line.starts_with("GET /api/events/") && !line.contains("/tickets");
        single.then(|| once(body, "\"sold\":0", "\"sold\":1"))?
    })
    .wrongs();
    for says in ["and its bookings come to", "took 0 cents for 1 tickets"] {
        assert!(wrongs.iter().any(|wrong| wrong.contains(says)), "{says}: {wrongs:?}");
    }
}

#[test]
fn an_answer_that_is_wrong_at_once_is_found() {
    let server = Server::start();
    let wrongs = through(&server, "many-events", |line, body| {
        line.starts_with("POST /api/bookings ")
            .then(|| once(body, "\"total_amount\":75.00", "\"total_amount\":57.00"))?
    })
    .wrongs();
    assert!(
        wrongs.iter().any(|wrong| wrong.contains("a hold of 7500 cents was answered with")),
        "{wrongs:?}"
    );
}
