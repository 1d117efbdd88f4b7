//! The simulation holds what it promises: its storage is a journal, a seed is a run, and some seeds are played each time.

use astern_conformance::{Damage, Damaged, journal};
use astern_model::id::{Epoch, RunId, Seq};
use astern_model::policy::OnFailure;
use astern_model::record::Outcome;
use astern_port::journal::{Author, Journal};
use astern_sim::case::CaseId;
use astern_sim::fault::{Class, ContentEdit, Fault, Loss};
use astern_sim::seed::{Drawn, Undone};
use astern_sim::{Rest, SimDisk, play, play_drawn, seed};
use async_trait::async_trait;
use jiff::SignedDuration;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Default)]
struct Store(SimDisk);

#[async_trait]
impl journal::Store for Store {
    async fn open(&self) -> Arc<dyn Journal> {
        self.0.journal()
    }

    async fn damage(&self, run: &RunId, seq: Seq, how: Damage) -> Damaged {
        match how {
            Damage::Alter => self.0.alter(run, seq),
            Damage::Lose => self.0.lose(run, seq),
        }
        Damaged::Done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_disk_keeps_the_promises_of_a_journal() {
    journal::suite(async |_| Store::default()).await.assert_holds();
}

#[tokio::test(start_paused = true)]
async fn a_torn_write_is_cut_off_and_what_was_acknowledged_stays() {
    for share in [0, 1, 100, 200, 255] {
        let disk = SimDisk::default();
        let (journal, run) = (disk.journal(), RunId::from("r1"));
        let batch = [b"plan".to_vec(), b"approved".to_vec()];
        journal
            .append(&run, Seq(0), Author::Opening, &batch)
            .await
            .unwrap();
        let torn = [b"half".to_vec(), b"of it".to_vec()];
        disk.torn(&run, Seq(2), Author::Takeover, &torn, share);
        let read = journal.read(&run, Seq(0)).await.unwrap();
        // A batch is there whole or not at all.
        let whole = share == 255;
        assert_eq!(read.len(), if whole { 4 } else { 2 }, "{share}");
        assert_eq!(read[1].bytes, b"approved");
        let at = Seq(read.len() as u64);
        let holder = if whole {
            Author::Holder(Epoch(3))
        } else {
            Author::Request
        };
        journal
            .append(&run, at, holder, &[b"next".to_vec()])
            .await
            .unwrap();
    }
}

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    for seed in 0..6 {
        let (one, other) = (
            play(seed, &BTreeSet::new(), false),
            play(seed, &BTreeSet::new(), true),
        );
        assert_eq!(one.digest, other.digest, "{seed}");
        assert_eq!(one.met, other.met, "{seed}");
    }
}

#[test]
fn a_run_to_which_nothing_happens_restores_every_platform() {
    let mut seen = BTreeSet::new();
    for number in 0..4_000 {
        let drawn = seed::drawn(number);
        if !drawn.faults.is_empty() || drawn.undone.is_some() || !seen.insert((drawn.case, drawn.slow)) {
            continue;
        }
        let played = play(number, &BTreeSet::new(), false);
        assert!(played.violations.is_empty(), "{number}: {:?}", played.violations);
        let Rest::Over(outcomes) = &played.rest else {
            panic!("{number}: {:?}", played.rest)
        };
        assert_eq!(outcomes, &[astern_model::record::Outcome::Restored], "{number}");
    }
    assert_eq!(seen.len(), 12, "{seen:?}");
}

#[test]
fn a_restored_run_is_undone_and_its_release_rolled_back_once_more() {
    let mut seen = 0;
    for case in CaseId::ALL {
        for (undone, restored, last) in [
            (Undone::StillBad, 1, "unwound"),
            (Undone::Mended { again: false }, 2, "restored"),
            (Undone::Mended { again: true }, 3, "restored"),
        ] {
            let drawn = Drawn {
                case,
                slow: false,
                on_failure: OnFailure::Hold,
                faults: Vec::new(),
                undone: Some(undone),
            };
            let played = play_drawn(1, &drawn, false);
            let told = format!("{case:?}, {undone:?}: {:?} {:?}", played.rest, played.violations);
            assert!(played.violations.is_empty(), "{told}");
            let Rest::Over(outcomes) = &played.rest else {
                panic!("{told}")
            };
            let is_restored = |outcome: &&Outcome| **outcome == Outcome::Restored;
            assert_eq!(outcomes.iter().filter(is_restored).count(), restored, "{told}");
            let unwound = matches!(outcomes.last(), Some(Outcome::Unwound { .. }));
            assert_eq!(unwound, last == "unwound", "{told}");
            seen += 1;
        }
    }
    assert_eq!(seen, 18);
}

/// The platform whose ConfigMaps changed, with these faults.
fn configured(faults: Vec<Fault>) -> Drawn {
    Drawn {
        case: CaseId::Configured,
        slow: false,
        on_failure: OnFailure::Unwind,
        faults,
        undone: None,
    }
}

#[test]
fn a_creation_that_arrives_long_after_its_answer_was_lost_leaves_nothing_behind_when_the_run_is_taken_back() {
    // Seed 31's first write makes the ConfigMap that the bad release pruned.
    let drawn = configured(vec![
        Fault::Request {
            process: 0,
            class: Class::Write,
            nth: 0,
            how: Loss::Late(SignedDuration::from_secs(48)),
        },
        Fault::Ask {
            at: SignedDuration::from_secs(2),
            abort: true,
        },
    ]);
    let played = play_drawn(31, &drawn, true);
    assert!(played.violations.is_empty(), "{:?}", played.violations);
    let Rest::Over(outcomes) = &played.rest else {
        panic!("{:?}", played.rest)
    };
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Unwound { .. }]),
        "{outcomes:?}"
    );
    let deletes = |line: &&String| line.contains("Process(0) DELETE") && line.contains("configmaps/flags");
    assert_eq!(played.log.iter().filter(deletes).count(), 1);
    assert!(played.took > SignedDuration::from_secs(48), "{:?}", played.took);
}

#[test]
fn content_that_somebody_edits_before_it_is_put_back_is_left_as_they_have_it() {
    // After the plan was made, and before the first write.
    let edit = Fault::Content {
        at: SignedDuration::from_millis(50),
        object: 0,
        what: ContentEdit::Edit,
    };
    let played = play_drawn(31, &configured(vec![edit]), true);
    assert!(played.violations.is_empty(), "{:?}", played.violations);
    let Rest::Over(outcomes) = &played.rest else {
        panic!("{:?}", played.rest)
    };
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Unwound { .. }]),
        "{outcomes:?}"
    );
    let writes = |line: &&String| line.contains("Process(0) PUT") && line.contains("configmaps/app ");
    assert_eq!(played.log.iter().filter(writes).count(), 0);
}

#[test]
fn a_takeover_that_cannot_fence_stops_though_a_request_comes_in_between() {
    // One ConfigMap that the dead process was about to write was made anew by somebody, and an abort arrives while the next process
    // is about to hold the run for that: its decision is lost, and a Secret behind it in the row must be fenced all the same.
    let without = BTreeSet::from([2, 3, 4]);
    let played = play(12_681, &without, false);
    assert!(
        played.violations.is_empty(),
        "cargo xtask sim --seed 12681 --without 2,3,4: {:?}",
        played.violations
    );
}

#[test]
fn two_who_watch_the_same_hear_of_it_in_the_same_order_in_every_replay() {
    // Two rollouts of an undo end with one change: tokio's watch channel told either of them first.
    let digests: BTreeSet<String> = (0..12)
        .map(|_| play(734, &BTreeSet::new(), false).digest)
        .collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[test]
fn a_stuck_run_says_what_its_step_did_and_what_somebody_else_did_since() {
    // The step's write came through, its process died before it heard so, and then somebody set an image.
    let played = play(8700, &BTreeSet::new(), false);
    let Rest::Over(outcomes) = &played.rest else {
        panic!("{:?}", played.rest)
    };
    let [Outcome::Stuck { step, why }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert_eq!(step.as_str(), "template:deployment/web");
    assert!(
        why.contains("this step wrote it, and then somebody else wrote a template"),
        "{why}"
    );
}

#[test]
fn a_lock_that_a_dead_process_dated_ahead_blocks_nobody() {
    // Its clock was 23 minutes ahead, and it died before it wrote its plan down.
    let played = play(21_817, &BTreeSet::new(), false);
    assert!(
        played.violations.is_empty(),
        "cargo xtask sim --seed 21817: {:?}",
        played.violations
    );
}

#[test]
fn a_clock_that_jumps_while_a_creation_is_on_its_way_does_not_make_it_absent() {
    // The request arrives after 58 seconds, and meanwhile the process's clock is set 11 minutes ahead.
    let played = play(42_781, &BTreeSet::new(), false);
    assert!(
        played.violations.is_empty(),
        "cargo xtask sim --seed 42781: {:?}",
        played.violations
    );
}

#[test]
fn a_workload_that_leaves_what_it_reads_starts_with_it_again_on_the_way_back() {
    // An undo goes back to versions that do not read `flags`, which it writes; it fails, and what reads `flags` comes back.
    let played = play(60_965, &BTreeSet::from([0, 2, 3, 5]), false);
    assert!(
        played.violations.is_empty(),
        "cargo xtask sim --seed 60965 --without 0,2,3,5: {:?}",
        played.violations
    );
}

#[test]
fn some_dozen_seeds_are_as_they_must_be() {
    for number in 10_000..10_040 {
        let played = play(number, &BTreeSet::new(), false);
        assert!(
            played.violations.is_empty(),
            "cargo xtask sim --seed {number}: {:?}",
            played.violations
        );
    }
}

#[test]
fn a_run_that_somebody_elses_process_carries_out_is_waited_for_until_its_rollouts_deadline() {
    let played = play(8700, &BTreeSet::new(), false);
    assert!(
        played.violations.is_empty(),
        "cargo xtask sim --seed 8700: {:?}",
        played.violations
    );
}
