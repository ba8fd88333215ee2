//! Many clients at once want the same seats.

use std::time::Duration;

use crate::harness::{
    Holds, Load, Server, Settings, World, now, observe_for, shared, sweep, together,
    wait_until_nothing_is_pending,
};

const CLIENTS: usize = 16;

/// What a crowd may be told when nothing is wrong with its requests.
#[track_caller]
fn expect_only_fair_answers(report: &crate::harness::LoadReport) {
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

fn run_crowd(server: &Server, world: &World, seats_max: usize, holds: Holds) {
    let seed = rand::random();
    eprintln!("seed {seed}");
    let load = Load::start(server, world, CLIENTS, seats_max, seed);
    observe_for(Duration::from_secs(4));
    let report = load.stop();
    expect_only_fair_answers(&report);
    let booked = report.ledger.held.len();
    assert!(booked > 20, "only {booked} bookings were made");
    let refused = report.answers.keys().any(|(status, _)| *status == 409);
    assert!(refused, "nobody stood in anybody's way");
    if holds == Holds::Lapse {
        wait_until_nothing_is_pending(server, world);
    }
    report.ledger.check(server, world, holds);
    report.ledger.check_replays(server, 50);
    sweep(server, world);
}

#[test]
fn overlapping_sets_never_share_a_seat() {
    let server = Settings::new().start();
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
    let server = Settings::new().durability("interval:20").start();
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

#[test]
fn confirming_at_the_deadline_has_one_outcome() {
    let server = Settings::new().hold_ttl_seconds(1).start();
    let world = World::create(&server, CLIENTS, 1);
    let show = world.show();
    let client = server.client();
    for _ in 0..3 {
        let owner = &world.users[0];
        let made = client.book(owner, &show.id, &show.tickets);
        if made.status != 201 {
            break;
        }
        let id = made.str("booking_id").to_owned();
        let start = now();
        let taken_over = together(CLIENTS, |number| {
            let mut replies = 0;
            while start.elapsed() < Duration::from_millis(1_600) {
                let at_the_brink = start.elapsed() > Duration::from_millis(960);
                if number == 0 && at_the_brink {
                    let reply = client.confirm(&id, owner);
                    assert!(matches!(reply.status, 200 | 409), "{}", reply.text);
                }
                if number > 0 {
                    let user = &world.users[number];
                    let reply = client.book(user, &show.id, &show.tickets);
                    assert!(matches!(reply.status, 200 | 201 | 409), "{}", reply.text);
                    replies += usize::from(reply.status == 201);
                }
            }
            replies
        });
        let taken_over: usize = taken_over.iter().sum();
        match client.booking(&id).expect(200).str("status") {
            "confirmed" => assert_eq!(taken_over, 0, "confirmed and taken over"),
            "expired" => assert_eq!(taken_over, 1, "free, and not taken by one of many"),
            other => panic!("neither confirmed nor expired at its deadline: {other}"),
        }
        wait_until_nothing_is_pending(&client, &world);
        sweep(&client, &world);
    }
}
