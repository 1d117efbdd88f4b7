//! The simulation finds what is wrong: each defect, planted alone, within so many runs.
#![cfg(feature = "planted")]

use astern_sim::{Defect, found, violations_with};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The best hidden one needs a third of these.
const RUNS: u64 = 2_000;

#[test]
fn every_planted_defect_is_found() {
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        // One is planted on one thread: each thread has its own.
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(defect) = Defect::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if found(*defect, 0, RUNS).is_none() {
                        missed.lock().unwrap().push(defect);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found within {RUNS} runs: {missed:?}");
}

#[test]
fn what_the_first_run_of_a_seed_left_wrong_is_found_though_the_next_one_hides_it() {
    let only_then = (0..RUNS).find(|seed| {
        let wrong = violations_with(Defect::ForgetChangeCause, *seed);
        !wrong.is_empty() && wrong.iter().all(|what| what.starts_with("as r"))
    });
    assert!(only_then.is_some(), "nothing was found as another run began");
}

#[test]
fn no_run_is_wrong_because_a_defect_was_planted_before() {
    assert!(found(Defect::ForgetReplicas, 0, 1).is_some());
    let played = astern_sim::play(0, &Default::default(), false);
    assert!(played.violations.is_empty(), "{:?}", played.violations);
}
