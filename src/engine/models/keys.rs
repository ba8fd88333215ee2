//! Requests that carry the same idempotency key at the same time.

use std::sync::Arc;

use crate::domain::{KEY_RETENTION, Refusal, RequestStamp, Subject, Timestamp, UserNumber};
use crate::engine::idempotency::{Key, Keys};
use crate::models::{Reach, explore, thread};
use crate::sync::map::{self, Mistake};
use crate::sync::{AtomicU32, Ordering};

const NOW: Timestamp = Timestamp::from_millis(1_000);
const STAMP: RequestStamp<'_> = RequestStamp { key: "k", fingerprint: 1 };

/// What a request with a key came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    /// It did the work, as which one of all.
    Did(u32),
    /// It was told what an earlier one did.
    Told(Subject),
    Refused,
}

/// Keys, how many requests are at work under the one key, and how many have been.
struct Desk {
    keys: Keys,
    at_work: AtomicU32,
    done: AtomicU32,
}

impl Desk {
    fn new(keys_max: usize) -> Arc<Self> {
        let (at_work, done) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { keys: Keys::new(keys_max), at_work, done })
    }

    /// A request that succeeds if it gets to work, or that comes to nothing.
    fn request(&self, stamp: RequestStamp<'_>, succeeds: bool) -> Came {
        match self.keys.begin(stamp) {
            Ok(Key::Seen(subject, at)) => {
                assert_eq!(at, NOW);
                Came::Told(subject)
            }
            Ok(mut key @ Key::New(_)) => {
                assert_eq!(self.at_work.fetch_add(1, Ordering::Relaxed), 0, "two do the work");
                let number = self.done.fetch_add(1, Ordering::Relaxed);
                if succeeds {
                    key.succeeded(subject(number), NOW);
                }
                self.at_work.fetch_sub(1, Ordering::Relaxed);
                Came::Did(number)
            }
            Ok(Key::None) => panic!("the request has a key"),
            Err(Refusal::RequestInFlight) => Came::Refused,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    fn spawn(self: &Arc<Self>, succeeds: bool) -> thread::JoinHandle<Came> {
        let desk = Arc::clone(self);
        thread::spawn(move || desk.request(STAMP, succeeds))
    }
}

fn subject(number: u32) -> Subject {
    Subject::UserCreated(UserNumber::new(number))
}

fn the_same_request_twice(mistake: Mistake) {
    map::make(mistake);
    explore(Reach::Everything, || {
        let desk = Desk::new(8);
        let others = [desk.spawn(true), desk.spawn(true)];
        let mut did = 0;
        for came in others.map(|other| other.join().unwrap()) {
            match came {
                Came::Did(number) => {
                    assert_eq!(number, 0, "the work was done already");
                    did += 1;
                }
                Came::Told(told) => assert_eq!(told, subject(0), "the work of another"),
                Came::Refused => {}
            }
        }
        assert_eq!(did, 1, "the work is done once");
        assert_eq!(desk.request(STAMP, true), Came::Told(subject(0)), "and it stays done");
    });
}

#[test]
fn the_same_request_is_done_once() {
    the_same_request_twice(Mistake::None);
}

#[test]
#[should_panic(expected = "the work")]
fn a_key_that_is_taken_in_two_steps_is_found() {
    the_same_request_twice(Mistake::InsertsLate);
}

#[test]
fn a_request_that_came_to_nothing_leaves_the_key_to_the_next() {
    explore(Reach::Everything, || {
        let desk = Desk::new(8);
        let (fails, succeeds) = (desk.spawn(false), desk.spawn(true));
        let came = (fails.join().unwrap(), succeeds.join().unwrap());
        assert!(came != (Came::Refused, Came::Refused), "a key that nobody has");
        match came.1 {
            Came::Did(number) => {
                assert_eq!(desk.request(STAMP, true), Came::Told(subject(number)));
            }
            Came::Refused => assert!(matches!(desk.request(STAMP, true), Came::Did(1))),
            Came::Told(told) => panic!("nothing was done before: {told:?}"),
        }
    });
}

#[test]
fn a_key_belongs_to_one_request() {
    explore(Reach::Everything, || {
        let desk = Desk::new(8);
        let other = Arc::clone(&desk);
        let first = thread::spawn(move || {
            let stamp = RequestStamp { fingerprint: 2, ..STAMP };
            let key = other.keys.begin(stamp);
            match key {
                Ok(mut key) => {
                    key.succeeded(subject(2), NOW);
                    true
                }
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::KeyReused);
                    false
                }
            }
        });
        let own = match desk.keys.begin(STAMP) {
            Ok(mut key) => {
                key.succeeded(subject(1), NOW);
                true
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::KeyReused);
                false
            }
        };
        assert!(own ^ first.join().unwrap(), "both are never done, one always is");
    });
}

/// Keys are forgotten while one is in flight, one is fresh and one is old.
fn forgetting(mistake: Mistake) {
    map::make(mistake);
    explore(Reach::Preemptions(3), || {
        let desk = Desk::new(8);
        let old = RequestStamp { key: "old", fingerprint: 7 };
        desk.keys.restore(old.key, old.fingerprint, subject(7), Timestamp::from_millis(0));
        let now = Timestamp::from_millis(1) + KEY_RETENTION;
        // Two sweepers, which no server has: what one of them saw is gone when it removes it.
        let sweepers = [(), ()].map(|()| {
            let desk = Arc::clone(&desk);
            thread::spawn(move || desk.keys.purge(now))
        });
        let came = desk.keys.begin(old);
        let is_new = match &came {
            Ok(Key::New(_)) => true,
            Ok(Key::Seen(seen, _)) => {
                assert_eq!(*seen, subject(7));
                false
            }
            other => panic!("{other:?}"),
        };
        sweepers.into_iter().for_each(|sweeper| sweeper.join().unwrap());
        if is_new {
            let again = desk.keys.begin(old);
            assert!(again.is_err(), "forgotten in flight");
        }
        drop(came);
    });
}

#[test]
fn a_key_in_flight_is_not_forgotten() {
    forgetting(Mistake::None);
}

#[test]
#[should_panic(expected = "forgotten in flight")]
fn a_purge_that_removes_what_it_has_not_seen_is_found() {
    forgetting(Mistake::RemovesUnseen);
}

#[test]
fn a_fresh_success_is_not_forgotten() {
    explore(Reach::Everything, || {
        let desk = Desk::new(8);
        let request = desk.spawn(true);
        desk.keys.purge(NOW + KEY_RETENTION / 2);
        assert_eq!(request.join().unwrap(), Came::Did(0));
        assert_eq!(desk.request(STAMP, true), Came::Told(subject(0)));
    });
}

/// The bound is looked at before a key is taken, so requests that look at once pass it together: by
/// as many as they are, less one.
#[test]
fn the_bound_on_keys_is_passed_by_those_who_look_at_once_at_most() {
    explore(Reach::Everything, || {
        let desk = Desk::new(1);
        let requests = ["a", "b"].map(|key| {
            let desk = Arc::clone(&desk);
            thread::spawn(move || {
                let begun = desk.keys.begin(RequestStamp { key, fingerprint: 1 });
                let Ok(mut key) = begun else {
                    assert_eq!(begun.unwrap_err(), Refusal::Overloaded);
                    return false;
                };
                key.succeeded(subject(0), NOW);
                true
            })
        });
        let begun = requests.map(|request| request.join().unwrap());
        assert!(begun != [false, false], "there was room for one");
        assert!(desk.keys.len() <= 2);
        let another = desk.keys.begin(RequestStamp { key: "c", fingerprint: 1 });
        assert_eq!(another.unwrap_err(), Refusal::Overloaded, "now it holds");
    });
}
