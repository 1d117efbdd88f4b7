//! The simulation finds what is wrong: each defect, planted alone, within so many runs.
#![cfg(feature = "planted")]

use astern_sim::{Defect, found};

/// The best hidden one (an epoch on the object that stops nobody) needs most of these.
const RUNS: u64 = 4_000;

#[test]
fn every_planted_defect_is_found() {
    let missed: Vec<&Defect> = Defect::ALL
        .iter()
        .filter(|defect| found(**defect, 0, RUNS).is_none())
        .collect();
    assert!(missed.is_empty(), "not found within {RUNS} runs: {missed:?}");
}

#[test]
fn no_run_is_wrong_because_a_defect_was_planted_before() {
    assert!(found(Defect::ForgetReplicas, 0, 1).is_some());
    let played = astern_sim::play(0, &Default::default(), false);
    assert!(played.violations.is_empty(), "{:?}", played.violations);
}
