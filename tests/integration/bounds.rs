//! Bounds on what is kept, reached: what would go beyond is refused, and all else goes on.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Call, Client, Reply, Server, Settings, World, fresh_email, sweep, together};

/// The refusal of what there is no room for: to be tried again, although that may be in vain.
#[track_caller]
fn expect_full(reply: Reply) {
    let reply = reply.expect_refusal(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.json["retryable"], true);
}

fn bookings_at_most(max: usize) -> Settings {
    Settings::new().env("BOOKINGS_MAX", max)
}

#[test]
fn bookings_are_made_up_to_their_bound_and_ended_ones_count() {
    const MAX: usize = 4;
    let directory = TempDir::new().unwrap();
    let settings = |max| bookings_at_most(max).data_dir(directory.path());
    let mut server = settings(MAX).start();
    let mut world = World::create(&server, 2, 10);
    let (user, other) = (world.users[0].clone(), world.users[1].clone());
    let show = world.show().clone();
    let seat = |number: usize| std::slice::from_ref(&show.tickets[number]);
    // What is refused for its seats is no booking.
    let first = server.hold(&user, &show.id, seat(0));
    for _ in 0..MAX {
        server.book(&other, &show.id, seat(0)).expect_refusal(409, "seats_unavailable");
        assert_eq!(server.book(&user, &show.id, seat(0)).expect(200).json["booking_id"], first);
    }
    let keyed = Call::book(&user, &show.id, seat(1)).key("made-before-the-bound");
    let second = server.send(&keyed).expect(201).str("booking_id").to_owned();
    for number in 2..MAX {
        server.hold(&user, &show.id, seat(number));
    }
    expect_full(server.book(&user, &show.id, seat(5)));
    expect_full(server.send(&Call::book(&other, &show.id, seat(5)).key("refused")));
    let counts = server.event(&show.id).expect(200).json;
    assert_eq!(counts["available"], 10 - MAX, "a refused booking takes no seat: {counts}");

    // All else goes on, and what asks for nothing new is answered as before.
    server.confirm(&first, &user).expect(200);
    server.cancel(&second, &user).expect(200);
    assert_eq!(server.bookings_of(&user).len(), MAX);
    assert_eq!(server.send(&keyed).expect(201).header("idempotent-replayed"), Some("true"));
    server.book(&other, &show.id, seat(0)).expect_refusal(409, "seats_unavailable");
    server.book(&user, &show.id, seat(2)).expect(200);
    world.users.push(server.create_user());
    world.shows.push(server.create_show(1));

    // Neither the end of a booking makes room, nor a restart.
    expect_full(server.book(&other, &show.id, seat(1)));
    sweep(&server, &world);
    server.kill9();
    server.restart();
    expect_full(server.book(&other, &show.id, seat(1)));
    assert!(server.terminate().success());
    let server = settings(MAX + 1).start();
    server.send(&Call::book(&other, &show.id, seat(1)).key("refused")).expect(201);
    expect_full(server.book(&other, &show.id, seat(5)));
    sweep(&server, &world);
}

#[test]
fn no_crowd_passes_the_bound_of_bookings() {
    const MAX: usize = 50;
    const CLIENTS: usize = 16;
    let server = bookings_at_most(MAX).durability("os").start();
    let world = World::create(&server, CLIENTS, CLIENTS * 20);
    let show = world.show();
    let seats: Vec<&[String]> = show.tickets.chunks(20).collect();
    let made = together(CLIENTS, |number| {
        let client = server.client();
        let mut made = 0;
        for seat in seats[number].iter().map(std::slice::from_ref) {
            let reply = client.book(&world.users[number], &show.id, seat);
            match reply.status {
                201 => made += 1,
                _ => expect_full(reply),
            }
        }
        made
    });
    assert_eq!(made.iter().sum::<usize>(), MAX, "bookings made");
    sweep(&server, &world);
}

fn user() -> Value {
    json!({"email": fresh_email(), "name": "Ada"})
}

/// Sends the call with a key that no other has, for which there is no room.
#[track_caller]
fn refuse_new_key(client: &Client, call: Call) {
    let number: u64 = rand::random();
    expect_full(client.send(&call.key(&format!("new-{number}"))));
}

#[test]
fn idempotency_keys_are_kept_up_to_their_bound() {
    const MAX: usize = 3;
    let mut server = Settings::new().env("IDEMPOTENCY_KEYS_MAX", MAX).start();
    let world = World::create(&server, 1, 10);
    let (ada, show) = (&world.users[0], world.show());
    let (seat, other_seat) = (&show.tickets[..1], &show.tickets[1..2]);
    let body = user();
    let created = Call::post("/api/users", &body).key("a-user");
    let held = Call::book(ada, &show.id, seat).key("a-booking");
    // What is refused does not keep its key.
    let first = server.send(&created).expect(201).json;
    for number in 0..MAX {
        let taken = Call::post("/api/users", &body).key(&format!("refused-{number}"));
        server.send(&taken).expect_refusal(409, "email_taken");
    }
    let booking = server.send(&held).expect(201).str("booking_id").to_owned();
    let confirm = format!("/api/bookings/{booking}/confirm");
    let confirm = Call::post(&confirm, &json!({"user_id": ada}));
    let confirmed = confirm.clone().key("a-confirmation");
    server.send(&confirmed).expect(200);

    let check = |server: &Server| {
        refuse_new_key(server, Call::post("/api/users", &user()));
        refuse_new_key(server, Call::book(ada, &show.id, other_seat));
        refuse_new_key(server, confirm.clone());
        // Those that are kept still stand for what they stood for.
        for (call, status) in [(&created, 201), (&held, 201), (&confirmed, 200)] {
            let again = server.send(call).expect(status);
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
        }
        assert_eq!(server.send(&created).expect(201).json, first);
        let reused = Call::post("/api/users", &user()).key("a-user");
        server.send(&reused).expect_refusal(422, "idempotency_key_reused");
        // Who needs none is served.
        server.create_user();
        server.send(&confirm).expect(200);
        assert_eq!(server.bookings_of(ada).len(), 1, "a refused request was done");
        sweep(server, &world);
    };
    check(&server);
    server.kill9();
    server.restart();
    check(&server);
    server.hold(ada, &show.id, other_seat);
}
