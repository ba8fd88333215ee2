//! Waiting for the log, in random schedules: the real line of waiters, the real asking and release
//! tasks, the real log with its threads. Each thread is a runtime; what stands in is the executor, and time,
//! which never runs out, so that a lost wake-up is a deadlock. (Seen once by hand: without the bells hung up
//! the model fails so. It is no test, since what a deadlock leaves behind ends the process.)
//!
//! `Notify` and `watch` of tokio are not modelled: each of their operations is one step.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use tokio::sync::Notify;

use super::Shared;
use super::durability::{Wait, Waiters, settled};
use crate::clock::Clock;
use crate::domain::{Email, PersonName, Timestamp};
use crate::engine::Engine;
use crate::models::{directory, engine, sample, thread};
use crate::stats::Stats;

const SCHEDULES: usize = 300;
const RUNTIMES: usize = 2;

/// What an answer waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    WhatItSays,
    /// A mistake: what it tells may be undone by a crash.
    WhatWasThereBefore,
}

/// Creates a user and waits until that may be told.
async fn request(waiters: &Rc<Waiters>, engine: &Engine, who: &str, awaits: Awaits) {
    let before = engine.log().reserved();
    let email = Email::parse(&format!("{who}@example.com")).unwrap();
    let answer = engine.create_user(email, PersonName::parse(who).unwrap(), None);
    answer.result.unwrap();
    let wait_for = match awaits {
        Awaits::WhatItSays => answer.position.wait_for,
        Awaits::WhatWasThereBefore => before,
    };
    settled(waiters, engine.log(), wait_for).await.unwrap();
    assert!(engine.log().answerable() >= answer.position.wait_for, "told too early");
}

/// A client that goes away while its answer waits.
async fn given_up(waiters: &Rc<Waiters>, engine: &Engine) {
    let mut wait = Wait::new(waiters, engine.log().reserved());
    std::future::poll_fn(|cx| {
        let _ = wait.poll(engine.log(), cx);
        Poll::Ready(())
    })
    .await;
}

/// One runtime: its two tasks, and requests beside each other.
fn runtime(shared: &Shared, bell: &Notify, number: usize, awaits: Awaits) {
    let waiters = Rc::new(Waiters::default());
    let engine = shared.engine().unwrap();
    let who = |request: &str| format!("{request}{number}");
    let (first, second, third) = (who("first"), who("second"), who("third"));
    let request = |who| request(&waiters, engine, who, awaits);
    let clients = async {
        let together = join(request(&first), request(&second));
        join(together, given_up(&waiters, engine)).await;
        request(&third).await;
    };
    let release = waiters.run(shared, bell, Duration::from_secs(3_600));
    let tasks = join(Box::pin(waiters.ask(shared)), Box::pin(release));
    shuttle::future::block_on(async {
        match select(Box::pin(clients), Box::pin(tasks)).await {
            Either::Left(((), _)) => {}
            Either::Right(_) => unreachable!("the tasks run for ever"),
        }
    });
}

fn serve(durability: wal::Durability, awaits: Awaits) {
    // Timers want a runtime to belong to; nobody drives it, so they never end.
    let timers = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = timers.enter();
    sample(SCHEDULES, move || {
        let directory = directory();
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let shared = Shared::new(Stats::new(), clock.clone());
        let hung: Vec<Arc<Notify>> = (0..RUNTIMES).map(|_| Arc::default()).collect();
        shared.bells.hang(hung.clone().into());
        shared.open(Arc::new(engine(directory.path(), durability, &clock)));
        let threads: Vec<_> = hung
            .into_iter()
            .enumerate()
            .map(|(number, bell)| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || runtime(&shared, &bell, number, awaits))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        shared.engine().unwrap().log().seal().unwrap();
    });
}

#[test]
fn every_answer_leaves_once_it_is_durable() {
    serve(wal::Durability::Commit, Awaits::WhatItSays);
}

#[test]
#[should_panic(expected = "told too early")]
fn an_answer_that_waits_for_less_than_it_says_is_found() {
    serve(wal::Durability::Commit, Awaits::WhatWasThereBefore);
}

#[test]
fn every_answer_leaves_where_none_waits_for_the_disk() {
    serve(wal::Durability::Os, Awaits::WhatItSays);
}
