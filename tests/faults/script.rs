//! A short life of a server's clients, the same in every run: what they ask while a fault is waited
//! for, what they are told, and whether it is true afterwards.

use std::collections::BTreeMap;
use std::process::ExitStatus;

use serde_json::json;

use crate::audit::ask_for_snapshot;
use crate::harness::{
    Call, Client, Ending, Held, Holds, Ledger, Reply, Server, World, fresh_uuid, wait_until,
};
use crate::means::LIMIT;
use crate::trace::Syncs;

const SEATS: usize = 120;
/// Of log: more than a segment of a megabyte, padding included.
const LARGE_EVENTS: usize = 270;

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// A few bookings and a snapshot.
    Short,
    /// So much that a segment of a megabyte is filled, the next one made, and the first removed.
    Full,
}

/// What clients were told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    /// Events that were acknowledged.
    events: Vec<String>,
    pub(crate) answers: BTreeMap<(u16, String), u64>,
    /// Snapshots that were made, and that failed.
    pub(crate) snapshots: (u64, u64),
    /// Seats that are or may be taken: the next one is free.
    seats_used: usize,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) told: Told,
    /// How the process ended, if it did.
    pub(crate) ended: Option<ExitStatus>,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    GoesOn,
    /// The process is about to end, or has ended.
    IsOver,
}

/// Clients at work.
struct Play<'s> {
    server: &'s mut Server,
    told: Told,
    /// What the log has synced, if that is traced.
    syncs: Option<&'s Syncs>,
    /// Once the log has failed, nothing may be acknowledged any more.
    failed: bool,
}

/// An event with titles as long as they may be, so that few fill a segment.
pub(crate) fn large_event() -> Call {
    let long = "\u{1f3ab}".repeat(200);
    let event = json!({
        "name": long, "artist": long, "venue": long, "date": "2027-07-01T20:00:00Z",
        "total_seats": 1, "price": 1,
    });
    Call::post("/api/events", &event)
}

impl Told {
    /// What is there before anything happens.
    pub(crate) fn begin(client: &Client) -> Self {
        Self {
            world: World::create(client, 3, SEATS),
            ledger: Ledger::default(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            snapshots: (0, 0),
            seats_used: 0,
        }
    }

    /// Fails the test unless everything that was acknowledged is so.
    #[track_caller]
    pub(crate) fn check(&self, client: &Client) {
        self.ledger.check(client, &self.world, Holds::Last);
        for event in &self.events {
            client.event(event).expect(200);
        }
        self.ledger.check_replays(client, 3);
    }
}

/// Does what the script says until its end or that of the process, and checks each answer: given
/// the syncs, also that a change is acknowledged only once it was synced. What a failed sync
/// leaves in memory is there for the next server, so that nothing else tells a false
/// acknowledgement.
pub(crate) fn play(
    server: &mut Server,
    told: Told,
    length: Length,
    syncs: Option<&Syncs>,
) -> Played {
    let mut play = Play { server, told, syncs, failed: false };
    let mut life = play.run(length);
    if life == Life::GoesOn {
        life = play.goes_on_working();
    }
    play.end_with(life)
}

/// Makes events, until it is enough, a segment of a megabyte is nearly full, or something is refused;
/// and checks each answer as `play` does.
pub(crate) fn enlarge(
    server: &mut Server,
    told: Told,
    syncs: Option<&Syncs>,
    is_enough: impl Fn() -> bool,
) -> Played {
    let mut play = Play { server, told, syncs, failed: false };
    let life = play.enlarge_until(is_enough);
    play.end_with(life)
}

/// How the process ended, which it is about to do.
pub(crate) fn end_of(server: &mut Server) -> ExitStatus {
    let mut ended = None;
    wait_until(LIMIT, "the process has ended", || {
        ended = server.ended();
        ended.is_some()
    });
    ended.expect("it was waited for")
}

impl Play<'_> {
    fn end_with(self, life: Life) -> Played {
        let ended = (life == Life::IsOver).then(|| end_of(self.server));
        Played { told: self.told, ended }
    }

    fn run(&mut self, length: Length) -> Life {
        let mut steps: Vec<fn(&mut Self) -> Life> = vec![Self::book, Self::book, Self::book];
        steps.push(Self::snapshot);
        if length == Length::Full {
            for number in 0..LARGE_EVENTS {
                steps.push(Self::enlarge);
                if number % 90 == 45 {
                    steps.push(Self::book);
                }
            }
            // Segments go below the older of two snapshots.
            steps.extend([Self::snapshot, Self::book, Self::snapshot, Self::wait_for_segment]);
        }
        steps.extend([Self::book as fn(&mut Self) -> Life, Self::book]);
        for step in steps {
            if step(self) == Life::IsOver {
                return Life::IsOver;
            }
        }
        Life::GoesOn
    }

    /// Asks, and checks what may be answered; `None` once the process has gone.
    fn ask(&mut self, call: &Call) -> Option<Reply> {
        let asked = self.syncs.map(|syncs| (syncs, syncs.now()));
        let answer = self.server.try_send(call).ok()?;
        let kind = (answer.status, answer.code().to_owned());
        *self.told.answers.entry(kind).or_default() += 1;
        match answer.status {
            200 | 201 => {
                assert!(!self.failed, "acknowledged after the log had failed: {call:?}");
                // Nobody else asks for anything: the change's own sync began after the question.
                let synced = asked.map(|(syncs, moment)| syncs.first_since(moment));
                assert!(
                    matches!(synced, None | Some(Some(true))),
                    "acknowledged without a sync that succeeded ({synced:?}): {call:?}"
                );
            }
            503 => self.look_around(&answer),
            other => panic!("{call:?} was answered {other}: {}", answer.text),
        }
        Some(answer)
    }

    /// What a refusal means: the log has failed for good, or there is no room; then reads go on.
    fn look_around(&mut self, refusal: &Reply) {
        assert_eq!(refusal.code(), "storage_unavailable", "{}", refusal.text);
        assert!(refusal.header("retry-after").is_some(), "no Retry-After");
        let Ok(health) = self.server.try_send(&Call::get("/health")) else { return };
        if health.status == 503 {
            self.failed = true;
            return;
        }
        let show = format!("/api/events/{}", self.told.world.show().id);
        if let Ok(read) = self.server.try_send(&Call::get(&show)) {
            // It may have failed between the two.
            assert!(read.status == 200 || !self.is_healthy(), "{}", read.text);
        }
    }

    /// Holds a seat, and then confirms it, gives it back, or keeps it.
    fn book(&mut self) -> Life {
        let number = self.told.ledger.held.len();
        let world = &self.told.world;
        let user = world.users[number % world.users.len()].clone();
        let tickets = vec![world.show().tickets[self.told.seats_used].clone()];
        let call = Call::book(&user, &world.show().id, &tickets).key(&fresh_uuid());
        // Also if its outcome is unknown.
        self.told.seats_used += 1;
        let Some(answer) = self.ask(&call) else { return Life::IsOver };
        if answer.status == 503 {
            return self.life();
        }
        let held = Held { user, call, answer, tickets, ending: Ending::None };
        self.told.ledger.held.push(held);
        match number % 3 {
            0 => self.end("confirm", "confirmed"),
            1 => self.end("cancel", "cancelled"),
            _ => Life::GoesOn,
        }
    }

    fn end(&mut self, verb: &str, ending: &'static str) -> Life {
        let last = self.told.ledger.held.last_mut().expect("just held");
        last.ending = Ending::Unknown(ending);
        let body = json!({"user_id": last.user});
        let call = Call::post(&format!("/api/bookings/{}/{verb}", last.id()), &body);
        let Some(answer) = self.ask(&call) else { return Life::IsOver };
        if answer.status == 503 {
            return self.life();
        }
        let last = self.told.ledger.held.last_mut().expect("just held");
        last.ending = Ending::Acknowledged(ending);
        Life::GoesOn
    }

    fn enlarge(&mut self) -> Life {
        let Some(answer) = self.ask(&large_event()) else { return Life::IsOver };
        if answer.status == 503 {
            return self.life();
        }
        self.told.events.push(answer.str("event_id").to_owned());
        Life::GoesOn
    }

    fn enlarge_until(&mut self, is_enough: impl Fn() -> bool) -> Life {
        for _ in 0..LARGE_EVENTS {
            if is_enough() {
                break;
            }
            if self.enlarge() == Life::IsOver {
                return Life::IsOver;
            }
            if self.told.answers.keys().any(|(status, _)| *status == 503) {
                // What ends a hold has a reserve, beyond what takes seats.
                let open = self.told.ledger.held.iter().rposition(|h| h.ending == Ending::None);
                return open.map_or(Life::GoesOn, |index| self.give_back(index));
            }
        }
        Life::GoesOn
    }

    fn give_back(&mut self, index: usize) -> Life {
        let held = &self.told.ledger.held[index];
        let body = json!({"user_id": held.user});
        let call = Call::post(&format!("/api/bookings/{}/cancel", held.id()), &body);
        let Some(answer) = self.ask(&call) else { return Life::IsOver };
        assert_eq!(answer.status, 200, "the reserve is there for this: {}", answer.text);
        self.told.ledger.held[index].ending = Ending::Acknowledged("cancelled");
        Life::GoesOn
    }

    fn snapshot(&mut self) -> Life {
        match ask_for_snapshot(&self.server.data_dir()) {
            Ok(answer) if answer.get("error").is_none() => self.told.snapshots.0 += 1,
            Ok(_) => self.told.snapshots.1 += 1,
            // The bookings find out whether the process has gone.
            Err(_) => {}
        }
        Life::GoesOn
    }

    /// The segment behind the one that the script has entered is made, or never will be.
    fn wait_for_segment(&mut self) -> Life {
        let made = self.server.data_dir().join("wal-0000000000200000.seg");
        let mut healthy = true;
        wait_until(LIMIT, "the next segment is made, or the log has failed", || {
            // If there was no room so far, nobody has entered the segment before it.
            if !made.exists() {
                self.enlarge();
            }
            healthy = self.is_healthy();
            !healthy || made.exists()
        });
        if healthy { Life::GoesOn } else { Life::IsOver }
    }

    /// Whether the process is there and its log has not failed.
    fn is_healthy(&self) -> bool {
        let health = self.server.try_send(&Call::get("/health"));
        health.is_ok_and(|health| health.status == 200)
    }

    fn life(&self) -> Life {
        if self.failed { Life::IsOver } else { Life::GoesOn }
    }

    /// A fault that is over has no consequence: everything is as before. One that comes only now, to a
    /// thread that made fewer calls until here than in the run that was counted, has its own.
    fn goes_on_working(&mut self) -> Life {
        let before = self.told.events.len();
        let mut life = Life::GoesOn;
        wait_until(LIMIT, "events can be made", || {
            life = self.enlarge();
            life == Life::IsOver || self.told.events.len() > before
        });
        if life == Life::IsOver {
            return life;
        }
        let before = self.told.ledger.held.len();
        if self.book() == Life::IsOver {
            return Life::IsOver;
        }
        assert!(self.told.ledger.held.len() > before, "no seat could be taken");
        if self.is_healthy() { Life::GoesOn } else { Life::IsOver }
    }
}
