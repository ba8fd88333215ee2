//! Many clients at once want the same seats.

use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::{
    Client, Holds, Load, LoadReport, Server, Settings, World, millis, now, observe_for, shared,
    sweep, together, unix_millis, wait_until, wait_until_nothing_is_pending,
};

const CLIENTS: usize = 16;
/// What a slow disk may make of anything that a crowd does.
const LIMIT: Duration = Duration::from_secs(300);

/// What a crowd may be told when nothing is wrong with its requests.
#[track_caller]
fn expect_only_fair_answers(report: &LoadReport) {
    assert_eq!(report.unanswered, 0, "answers are missing");
    for ((status, code), count) in &report.answers {
        let fair = match status {
            200 | 201 => true,
            409 => matches!(code.as_str(), "seats_unavailable" | "booking_expired"),
            503 => code == "overloaded",
            _ => false,
        };
        assert!(fair, "{count} answers were {status} {code}");
    }
}

#[test]
fn each_of_ten_hot_seats_is_held_by_one_of_many() {
    let server = Settings::new().start();
    let world = World::create(&server, CLIENTS, 10);
    let show = world.show();
    let client = server.client();
    let statuses = together(CLIENTS, |number| {
        let attempts = show.tickets.iter().map(|ticket| {
            let reply = client.book(&world.users[number], &show.id, &[ticket]);
            assert!(matches!(reply.status, 201 | 409), "{}", reply.text);
            reply.status
        });
        attempts.collect::<Vec<u16>>()
    });
    for seat in 0..10 {
        let winners = statuses.iter().filter(|s| s[seat] == 201).count();
        assert_eq!(winners, 1, "seat {} has {winners} winners", seat + 1);
    }
    assert_eq!(server.event(&show.id).expect(200).json["reserved"], 10);
    sweep(&server, &world);
}

#[test]
fn a_whole_house_goes_to_one_of_many() {
    let client = shared();
    for _ in 0..5 {
        let world = World::create(client, CLIENTS, 10);
        let show = world.show();
        let statuses = together(CLIENTS, |number| {
            let mut wanted = show.tickets.clone();
            wanted.rotate_left(number % 10);
            let reply = client.book(&world.users[number], &show.id, &wanted);
            assert!(matches!(reply.status, 201 | 409), "{}", reply.text);
            reply.status
        });
        let winners = statuses.iter().filter(|&&status| status == 201).count();
        assert_eq!(winners, 1, "one house, {winners} winners");
        let event = client.event(&show.id).expect(200).json;
        assert_eq!(event["reserved"], 10, "the house was split: {event}");
    }
}

fn are_sold_out(client: &Client, world: &World) -> bool {
    world.shows.iter().all(|show| {
        let event = client.event(&show.id).expect(200).json;
        event["sold"] == show.tickets.len()
    })
}

/// Whether enough has come of a load: many bookings, or as many as can be, and a refusal.
fn has_seen_a_crowd(report: &LoadReport, client: &Client, world: &World) -> bool {
    let refused = report.answers.keys().any(|(_, code)| code == "seats_unavailable");
    refused && (report.ledger.held.len() > 20 || are_sold_out(client, world))
}

fn run_crowd(server: &Server, world: &World, seats_max: usize, holds: Holds) {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let load = Load::start(server, world, CLIENTS, seats_max, seed);
    observe_for(Duration::from_secs(4));
    wait_until(LIMIT, "many have booked and stood in each other's way", || {
        has_seen_a_crowd(&load.so_far(), server, world)
    });
    let report = load.stop();
    expect_only_fair_answers(&report);
    if holds == Holds::Lapse {
        wait_until_nothing_is_pending(server, world);
    }
    report.ledger.check(server, world, holds);
    report.ledger.check_replays(server, 50);
    sweep(server, world);
}

#[test]
fn overlapping_sets_never_share_a_seat() {
    let server = Settings::new().hold_ttl_seconds(86_400).start();
    let world = World::create(&server, 2 * CLIENTS, 40);
    run_crowd(&server, &world, 8, Holds::Last);
}

#[test]
fn lapsing_holds_never_share_a_seat() {
    let server = Settings::new().hold_ttl_seconds(1).start();
    let world = World::create(&server, 2 * CLIENTS, 40);
    run_crowd(&server, &world, 8, Holds::Lapse);
}

#[test]
fn the_same_holds_under_relaxed_durability() {
    let server = Settings::new().durability("interval:20").hold_ttl_seconds(86_400).start();
    let mut world = World::create(&server, 2 * CLIENTS, 12);
    world.shows.push(server.create_show(12));
    run_crowd(&server, &world, 3, Holds::Last);
}

#[test]
fn confirming_and_cancelling_at_once_has_one_outcome() {
    let client = shared();
    let show = client.create_show(20);
    let user = client.create_user();
    for ticket in &show.tickets {
        let id = client.hold(&user, &show.id, &[ticket]);
        let replies = together(8, |number| match number % 2 {
            0 => client.confirm(&id, &user),
            _ => client.cancel(&id, &user),
        });
        let status = client.booking(&id).expect(200).str("status").to_owned();
        let (won, code) = match status.as_str() {
            "confirmed" => (0, "already_confirmed"),
            "cancelled" => (1, "booking_cancelled"),
            other => panic!("all were asked to end it, and it is {other}"),
        };
        for (number, reply) in replies.into_iter().enumerate() {
            if number % 2 == won {
                assert_eq!(reply.expect(200).str("status"), status);
            } else {
                reply.expect_refusal(409, code);
            }
        }
    }
}

/// Whoever books is told when that hold lapses, and nobody else holds the seat before.
#[test]
fn confirming_at_the_deadline_has_one_outcome() {
    let server = Settings::new().hold_ttl_seconds(1).start();
    for millis_before in [40, 5, 0] {
        let world = World::create(&server, CLIENTS, 1);
        let (owner, show) = (&world.users[0], world.show());
        let made = server.book(owner, &show.id, &show.tickets).expect(201);
        let id = made.str("booking_id");
        let deadline = millis(&made.json["expires_at"]);
        let is_decided = AtomicBool::new(false);
        let won = together(CLIENTS, |number| {
            if number == 0 {
                let brink = deadline - millis_before;
                wait_until(LIMIT, "the deadline is near", || unix_millis() >= brink);
            }
            let start = now();
            while !is_decided.load(Ordering::Relaxed) {
                assert!(start.elapsed() < LIMIT, "neither confirmed nor free");
                let reply = match number {
                    0 => server.confirm(id, owner),
                    _ => server.book(&world.users[number], &show.id, &show.tickets),
                };
                if matches!(reply.status, 200 | 201) {
                    is_decided.store(true, Ordering::Relaxed);
                    return Some(reply);
                }
                reply.expect(409);
            }
            None
        });
        let [confirmed, taken_over @ ..] = &won[..] else { panic!("there are many") };
        let status = server.booking(id).expect(200).str("status").to_owned();
        assert_eq!(status, if confirmed.is_some() { "confirmed" } else { "expired" });
        let taken_over = taken_over.iter().flatten().map(|hold| millis(&hold.json["expires_at"]));
        let mut deadlines: Vec<i64> = iter::once(deadline).chain(taken_over).collect();
        deadlines.sort_unstable();
        assert_eq!(deadlines.len() == 1, confirmed.is_some(), "{status}, then {deadlines:?}");
        let one_by_one = deadlines.windows(2).all(|pair| pair[1] - pair[0] >= 1_000);
        assert!(one_by_one, "held by two at once: {deadlines:?}");
        wait_until_nothing_is_pending(&server, &world);
        sweep(&server, &world);
    }
}
