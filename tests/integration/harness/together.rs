//! Doing one thing many times at the same moment.

use std::sync::Barrier;
use std::thread;

/// Calls `act` with 0 to `count - 1`, each on a thread of its own, all let go at once.
#[track_caller]
pub(crate) fn together<T: Send>(count: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (start, act) = (&start, &act);
                scope.spawn(move || {
                    start.wait();
                    act(number)
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|r| r.expect("one of many failed")).collect()
    })
}
