//! The long history.

use std::thread;

use booking_manager::domain::EventNumber;

use super::checker::{Checker, Figures, Round};
use super::course::{Course, RoundEnd};
use super::harness::now;

/// How many operations are recorded unless the environment says otherwise.
const OPERATIONS: u64 = 1_000_000;
/// How many operations a round has at most.
const ROUND_OPERATIONS: u64 = 125_000;
/// How many rounds there are at least: one less kills.
const ROUNDS_MIN: u64 = 8;
/// How long holds last: longer than a restart, so that some outlive it.
const HOLD_SECONDS: u32 = 3;
const MEMBERS: usize = 64;
const WATCHERS: usize = 8;

fn operations() -> u64 {
    match std::env::var("BOOKING_HISTORY_OPERATIONS") {
        Ok(text) => text.parse().expect("BOOKING_HISTORY_OPERATIONS is a number"),
        Err(_) => OPERATIONS,
    }
}

#[test]
fn every_answer_of_a_server_that_is_killed_again_and_again_is_justified() {
    let started = now();
    let operations = operations();
    let rounds = operations.div_ceil(ROUND_OPERATIONS).max(ROUNDS_MIN);
    let mut course = Course::start(HOLD_SECONDS, MEMBERS, WATCHERS, 20_260_701);
    let mut checker = Checker::default();
    let mut recorded = None;
    for number in 1..=rounds {
        let end = if number == rounds { RoundEnd::Stop } else { RoundEnd::Kill };
        // While one round is checked, the next one goes on.
        recorded = thread::scope(|scope| {
            let checking = scope.spawn(|| check(&mut checker, recorded));
            let round = course.round(operations.div_ceil(rounds), end);
            checking.join().expect("the history so far is good");
            Some((round, course.first_event))
        });
    }
    check(&mut checker, recorded);
    course.finish();
    let Figures { undecided, .. } = checker.figures;
    eprintln!("{} kills in {:.1?}; {:?}", rounds - 1, started.elapsed(), checker.figures);
    eprintln!("reached: {}", checker.reached);
    assert_eq!(checker.reached.missing(), [], "these states were never reached");
    assert!(undecided * 1_000 <= operations, "too many counters were given up: {undecided}");
}

/// Checks a round, after which nobody asks for the events before its first one.
fn check(checker: &mut Checker, recorded: Option<(Round, EventNumber)>) {
    if let Some((round, first_event)) = recorded {
        checker.check(&round);
        checker.forget_before(first_event);
        assert!(checker.violations.is_empty(), "{}", checker.violations);
    }
}
