//! Over every kind of plan: each step repeats, each step fails and unwinds, each crash point recovers. Each harness
//! checks that the step that failed is the one that was meant to.
#![expect(
    clippy::unwrap_used,
    reason = "a test's support code fails the test where it cannot go on"
)]

mod support;

use astern_engine::{Phase, Status};
use astern_exec::driver::ExecError;
use astern_model::failure::FailureClass;
use astern_model::id::{Direction, EffectKey, RunId, StepId};
use astern_model::policy::OnFailure;
use astern_model::record::{Event, Outcome, Request};
use astern_model::template::Template;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::plans::cases;
use support::rig::Rig;
use support::twin::Fault;

/// The steps of a case that write, with their phrases.
fn writing_steps(rig: &Rig) -> Vec<(StepId, String)> {
    let steps = rig.case.plan.steps.iter().filter(|step| !step.spec.only_reads());
    steps.map(|step| (step.id.clone(), step.spec.phrase())).collect()
}

fn all_steps(rig: &Rig) -> Vec<(StepId, String)> {
    rig.case
        .plan
        .steps
        .iter()
        .map(|step| (step.id.clone(), step.spec.phrase()))
        .collect()
}

/// No key was written twice: an effect is made once, whatever happened to its answer.
fn each_effect_once(rig: &Rig) {
    let mut times: BTreeMap<EffectKey, u32> = BTreeMap::new();
    for (key, _) in rig.twin.writes() {
        *times.entry(key).or_default() += 1;
    }
    assert!(
        times.values().all(|times| *times == 1),
        "{}: an effect was made twice: {times:?}",
        rig.case.name
    );
}

fn restored(rig: &Rig, phase: &Phase) {
    assert_eq!(phase, &Phase::Finished(Outcome::Restored), "{}", rig.case.name);
    let written: BTreeSet<EffectKey> = rig.twin.writes().into_iter().map(|(key, _)| key).collect();
    for (step, _) in writing_steps(rig) {
        let key = EffectKey::of(&rig.run, &step, Direction::Forward);
        assert!(
            written.contains(&key),
            "{}: {step} was never carried out",
            rig.case.name
        );
    }
    each_effect_once(rig);
}

#[tokio::test(start_paused = true)]
async fn every_plan_is_carried_out_and_restored() {
    for case in cases(OnFailure::Hold) {
        let rig = Rig::new(case);
        let ended = rig.start().await.unwrap();
        restored(&rig, &ended.book.run.phase);
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_repeats_without_a_second_effect() {
    for fault in [
        Fault::LostAnswer,
        Fault::LostRequest,
        Fault::ArrivesLater,
        Fault::Transient,
    ] {
        for place in 0.. {
            let mut ran = false;
            for case in cases(OnFailure::Hold) {
                let rig = Rig::new(case);
                let steps = writing_steps(&rig);
                let Some((step, phrase)) = steps.get(place) else {
                    continue;
                };
                ran = true;
                rig.twin.fail(phrase, fault);
                let ended = rig.start().await.unwrap();
                let stumbled = ended.book.records.iter().any(|record| match &record.event {
                    Event::Unsettled { step: named, .. } => named == step && fault != Fault::Transient,
                    Event::Failed { step: named, .. } => named == step && fault == Fault::Transient,
                    _ => false,
                });
                assert!(stumbled, "{}: {step} did not meet {fault:?}", rig.case.name);
                restored(&rig, &ended.book.run.phase);
            }
            if !ran {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_fails_and_unwinds_to_the_state_before() {
    for place in 0.. {
        let mut ran = false;
        for case in cases(OnFailure::Unwind) {
            let rig = Rig::new(case);
            let before = rig.twin.standing();
            let steps = all_steps(&rig);
            let Some((step, phrase)) = steps.get(place) else {
                continue;
            };
            ran = true;
            rig.twin.fail(phrase, Fault::Permanent);
            let ended = rig.start().await.unwrap();
            let failed: Vec<&StepId> = ended
                .book
                .run
                .steps
                .iter()
                .filter(|(_, status)| matches!(status, Status::Failed(failing) if failing.failure.class == FailureClass::Permanent))
                .map(|(step, _)| step)
                .collect();
            assert_eq!(failed, [step], "{}: another step failed", rig.case.name);
            assert!(
                matches!(ended.book.run.phase, Phase::Finished(Outcome::Unwound { .. })),
                "{}: {:?}",
                rig.case.name,
                ended.book.run.phase
            );
            assert_eq!(rig.twin.standing(), before, "{}: not as before", rig.case.name);
            each_effect_once(&rig);
        }
        if !ran {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn content_is_taken_back_before_its_readers_start_again() {
    for case in cases(OnFailure::Unwind) {
        let rig = Rig::new(case);
        let config = |step: &StepId| step.as_str().starts_with("config:");
        let steps = writing_steps(&rig);
        if !steps.iter().any(|(step, _)| config(step)) {
            continue;
        }
        let (_, last) = all_steps(&rig).pop().unwrap();
        rig.twin.fail(&last, Fault::Permanent);
        rig.start().await.unwrap();
        let written: Vec<EffectKey> = rig.twin.writes().into_iter().map(|(key, _)| key).collect();
        let back: Vec<Option<usize>> = steps
            .iter()
            .map(|(step, _)| {
                let key = EffectKey::of(&rig.run, step, Direction::Back);
                written.iter().position(|written| written == &key)
            })
            .collect();
        assert!(back.iter().all(Option::is_some), "{}: {back:?}", rig.case.name);
        let (content, readers): (Vec<_>, Vec<_>) =
            steps.iter().zip(back).partition(|((step, _), _)| config(step));
        let latest = content.iter().map(|(_, place)| place).max();
        let earliest = readers.iter().map(|(_, place)| place).min();
        assert!(latest < earliest, "{}: {latest:?} {earliest:?}", rig.case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_came_to_be_held_while_another_was_planned_keeps_that_one_from_beginning() {
    for case in cases(OnFailure::Hold) {
        let mut rig = Rig::new(case);
        let steps = all_steps(&rig);
        rig.twin.fail(&steps[steps.len() - 1].1, Fault::Permanent);
        let held = rig.start().await.unwrap();
        assert!(
            matches!(held.book.run.phase, Phase::Held { .. }),
            "{}",
            rig.case.name
        );
        let written = rig.twin.writes();
        rig.run = RunId::from("r2");
        let refused = rig.start().await.unwrap_err();
        assert!(
            matches!(&refused, ExecError::RunOpen { open, .. } if open.as_str() == "r1"),
            "{}: {refused}",
            rig.case.name
        );
        assert_eq!(rig.twin.writes(), written, "{}", rig.case.name);
        assert!(!rig.begun().await, "{}: it was written down", rig.case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_arrives_late_is_refused_once_the_run_was_called_taken_back() {
    for place in 0.. {
        let mut ran = false;
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            let before = rig.twin.standing();
            let steps = writing_steps(&rig);
            let Some((step, phrase)) = steps.get(place) else {
                continue;
            };
            ran = true;
            // A creation has no version by which the server could refuse it.
            if phrase.starts_with("make ") {
                continue;
            }
            rig.twin.fail(phrase, Fault::ArrivesLater);
            let (ended, ()) = tokio::join!(rig.start(), rig.ask_once_stumbled(Request::Abort));
            let run = ended.unwrap().book.run;
            assert!(
                matches!(run.phase, Phase::Finished(Outcome::Unwound { .. })),
                "{}: {step}: {:?}",
                rig.case.name,
                run.phase
            );
            assert_eq!(rig.twin.standing(), before, "{}: {step} arrived", rig.case.name);
        }
        if !ran {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_reversal_repeats_without_a_second_effect() {
    for fault in [
        Fault::LostAnswer,
        Fault::LostRequest,
        Fault::ArrivesLater,
        Fault::Transient,
    ] {
        for case in cases(OnFailure::Unwind) {
            for place in 0.. {
                let rig = Rig::new(case.clone());
                let before = rig.twin.standing();
                let Some((_, phrase)) = writing_steps(&rig).get(place).cloned() else {
                    break;
                };
                let (_, last) = all_steps(&rig).pop().unwrap();
                rig.twin.fail(&last, Fault::Permanent);
                rig.twin.fail(&format!("back {phrase}"), fault);
                let phase = rig.start().await.unwrap().book.run.phase;
                assert!(
                    matches!(phase, Phase::Finished(Outcome::Unwound { .. })),
                    "{}: {phrase}: {fault:?}: {phase:?}",
                    rig.case.name
                );
                assert_eq!(
                    rig.twin.standing(),
                    before,
                    "{}: {phrase}: {fault:?}",
                    rig.case.name
                );
                each_effect_once(&rig);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_crash_point_is_recovered_in_time_by_a_holder_whose_clock_is_an_hour_off() {
    for ahead in [-3600, 3600] {
        for case in cases(OnFailure::Hold) {
            for place in 1.. {
                let rig = Rig::new(case.clone());
                let (_, phrase) = &writing_steps(&rig)[0];
                rig.twin.fail(phrase, Fault::LostRequest);
                rig.twin.points.arm(Some(place));
                if rig.start_and_maybe_die().await.is_some() {
                    break;
                }
                rig.twin.points.arm(None);
                if !rig.begun().await {
                    continue;
                }
                rig.ahead.store(ahead, Ordering::SeqCst);
                let since = tokio::time::Instant::now();
                let ended = rig.resume(false).await.unwrap();
                restored(&rig, &ended.book.run.phase);
                let took = since.elapsed();
                assert!(
                    took < Duration::from_secs(60),
                    "{}: {place}: {took:?}",
                    rig.case.name
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_holds_by_default_and_goes_on_when_resumed() {
    for case in cases(OnFailure::Hold) {
        let rig = Rig::new(case);
        let (step, phrase) = all_steps(&rig).pop().unwrap();
        rig.twin.fail(&phrase, Fault::Permanent);
        let ended = rig.start().await.unwrap();
        let Phase::Held { why, .. } = &ended.book.run.phase else {
            panic!("{}: {:?}", rig.case.name, ended.book.run.phase)
        };
        assert!(why.contains(step.as_str()), "{why}");
        let ended = rig.resume(false).await.unwrap();
        restored(&rig, &ended.book.run.phase);
    }
}

#[tokio::test(start_paused = true)]
async fn every_crash_point_recovers_to_the_same_end_with_no_effect_made_twice() {
    for place in 1.. {
        let mut died = false;
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            rig.twin.points.arm(Some(place));
            if let Some(ended) = rig.start_and_maybe_die().await {
                restored(&rig, &ended.unwrap().book.run.phase);
                continue;
            }
            died = true;
            let point = rig.twin.points.stopped().unwrap();
            rig.twin.points.arm(None);
            if !rig.begun().await {
                assert!(
                    rig.twin.writes().is_empty(),
                    "an effect before the journal: {point}"
                );
                continue;
            }
            let ended = rig
                .resume(false)
                .await
                .unwrap_or_else(|error| panic!("{} died at {point}: {error}", rig.case.name));
            restored(&rig, &ended.book.run.phase);
        }
        if !died {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_crash_during_recovery_recovers_too() {
    for first in (1..).step_by(3) {
        let mut died = false;
        for second in 1..12 {
            let case = cases(OnFailure::Hold).pop().unwrap();
            let rig = Rig::new(case);
            rig.twin.points.arm(Some(first));
            if rig.start_and_maybe_die().await.is_some() {
                continue;
            }
            died = true;
            if !rig.begun().await {
                continue;
            }
            rig.twin.points.arm(Some(second));
            if let Some(ended) = rig.resume_and_maybe_die().await {
                restored(&rig, &ended.unwrap().book.run.phase);
                continue;
            }
            rig.twin.points.arm(None);
            let ended = rig.resume(false).await.unwrap();
            restored(&rig, &ended.book.run.phase);
        }
        if !died {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_crash_point_can_be_aborted_to_the_state_before() {
    for place in 1.. {
        let mut died = false;
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            let before = rig.twin.standing();
            rig.twin.points.arm(Some(place));
            if rig.start_and_maybe_die().await.is_some() {
                continue;
            }
            died = true;
            rig.twin.points.arm(None);
            if !rig.is_open().await {
                continue;
            }
            let ended = rig.resume(true).await.unwrap();
            match &ended.book.run.phase {
                Phase::Finished(Outcome::Unwound { .. }) => {
                    assert_eq!(rig.twin.standing(), before, "{}", rig.case.name)
                }
                phase => panic!("{}: {phase:?}", rig.case.name),
            }
            each_effect_once(&rig);
        }
        if !died {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_predecessor_that_wakes_up_writes_nothing_after_the_takeover() {
    for place in 1.. {
        let mut slept = false;
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            rig.twin.points.arm(Some(place));
            let first = rig.start();
            tokio::pin!(first);
            tokio::select! {
                biased;
                () = rig.twin.points.reached.notified() => {}
                ended = &mut first => { restored(&rig, &ended.unwrap().book.run.phase); continue; }
            }
            slept = true;
            rig.twin.points.arm(None);
            if !rig.is_open().await {
                continue;
            }
            let over = !rig.is_open().await;
            let ended = rig.resume(false).await.unwrap();
            restored(&rig, &ended.book.run.phase);
            let written = rig.twin.writes();
            rig.twin.points.release.notify_one();
            let woken = first.await;
            let fenced = matches!(woken, Err(ExecError::Superseded { .. }));
            assert!(
                fenced || over,
                "{}: it did not notice the takeover",
                rig.case.name
            );
            assert_eq!(
                rig.twin.writes(),
                written,
                "{}: the predecessor wrote",
                rig.case.name
            );
        }
        if !slept {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_predecessor_that_wakes_up_after_another_run_put_everything_back_writes_nothing() {
    for place in 1.. {
        let mut slept = false;
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            let before = rig.twin.inventory();
            rig.twin.points.arm(Some(place));
            let first = rig.start();
            tokio::pin!(first);
            tokio::select! {
                biased;
                () = rig.twin.points.reached.notified() => {}
                ended = &mut first => { restored(&rig, &ended.unwrap().book.run.phase); continue; }
            }
            slept = true;
            rig.twin.points.arm(None);
            if !rig.is_open().await {
                continue;
            }
            let ended = rig.resume(false).await.unwrap();
            restored(&rig, &ended.book.run.phase);
            rig.twin.put_back_by_another_run(&before);
            let (standing, written) = (rig.twin.standing(), rig.twin.writes());
            rig.twin.points.release.notify_one();
            // What it was about to do runs before it looks at the journal.
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(first.await.is_err(), "{}: it ended its run again", rig.case.name);
            assert_eq!(rig.twin.writes(), written, "{}: {place}", rig.case.name);
            assert_eq!(rig.twin.standing(), standing, "{}: {place}", rig.case.name);
        }
        if !slept {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_while_the_lock_has_not_been_renewed_for_its_duration() {
    for case in cases(OnFailure::Hold) {
        let rig = Rig::new(case);
        rig.lock.away.store(true, Ordering::SeqCst);
        // Stopped before its first intent, for longer than the lock is good for.
        rig.twin.points.arm(Some(3));
        let run = rig.start();
        tokio::pin!(run);
        let past = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        tokio::select! {
            biased;
            _ = &mut run => panic!("{}: it was not stopped", rig.case.name),
            () = past(16) => rig.twin.points.release.notify_one(),
        }
        tokio::select! {
            biased;
            _ = &mut run => panic!("{}: it went on without its lock", rig.case.name),
            () = past(20) => assert_eq!(rig.twin.writes(), [], "{}", rig.case.name),
        }
        rig.lock.away.store(false, Ordering::SeqCst);
        restored(&rig, &run.await.unwrap().book.run.phase);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_whose_deadline_passes_while_nothing_can_be_seen_is_looked_at_before_it_is_called_failed() {
    for case in cases(OnFailure::Hold) {
        let rig = Rig::new(case);
        let waits = |(step, _): &(StepId, String)| step.as_str().starts_with("rollout:");
        let (wait, phrase) = all_steps(&rig).into_iter().rfind(waits).unwrap();
        rig.twin.fail(&phrase, Fault::Unseen);
        let ended = rig.start().await.unwrap();
        let stumbled = ended.book.records.iter().any(|record| {
            matches!(&record.event, Event::Failed { step, failure } if step == &wait
                && matches!(failure.class, FailureClass::Transient { .. }))
        });
        assert!(stumbled, "{}: {wait} was seen in time", rig.case.name);
        restored(&rig, &ended.book.run.phase);
    }
}

/// Whoever carried the run out died after its first write, and nobody knows how that ended.
async fn died_in_a_write(rig: &Rig) {
    let (_, phrase) = &writing_steps(rig)[0];
    rig.twin.points.arm_named(&format!("after {phrase}"));
    assert!(rig.start_and_maybe_die().await.is_none(), "{}", rig.case.name);
    rig.twin.points.arm(None);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_a_takeover_holds_the_way_back_and_ends_it_not() {
    for case in cases(OnFailure::Hold) {
        let rig = Rig::new(case);
        let before = rig.twin.standing();
        died_in_a_write(&rig).await;
        // The one who takes it back dies as well, before anything was settled.
        rig.twin
            .points
            .arm_named(&format!("fence {}", writing_steps(&rig)[0].1));
        assert!(rig.take_back_and_maybe_die().await.is_none());
        rig.twin.points.arm(None);
        rig.twin.bar_fences(true);
        let held = rig.resume(false).await.unwrap().book.run.phase;
        assert!(
            matches!(held, Phase::Held { unwinding: true, .. }),
            "{}: {held:?}",
            rig.case.name
        );
        rig.twin.bar_fences(false);
        let ended = rig.resume(false).await.unwrap().book.run.phase;
        assert!(
            matches!(ended, Phase::Finished(Outcome::Unwound { .. })),
            "{ended:?}"
        );
        assert_eq!(rig.twin.standing(), before, "{}", rig.case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_found_nobody_at_work_is_void_once_somebody_resumes() {
    for request in [Request::Abort, Request::Pause] {
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            died_in_a_write(&rig).await;
            rig.ask(request).await;
            let ended = rig.resume(false).await.unwrap();
            restored(&rig, &ended.book.run.phase);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_while_somebody_waited_to_resume_it_stays_as_it_ended() {
    for take_back in [false, true] {
        for case in cases(OnFailure::Hold) {
            let rig = Rig::new(case);
            rig.twin
                .points
                .arm_named(&format!("after {}", writing_steps(&rig)[0].1));
            let first = rig.start();
            tokio::pin!(first);
            tokio::select! {
                biased;
                () = rig.twin.points.reached.notified() => {}
                _ = &mut first => panic!("{}: it was not stopped", rig.case.name),
            }
            let waiting = rig.read().await;
            rig.twin.points.arm(None);
            rig.twin.points.release.notify_one();
            let ended = first.await.unwrap();
            restored(&rig, &ended.book.run.phase);
            let late = rig.resume_from(waiting, take_back).await.unwrap();
            assert_eq!(late.book.records, ended.book.records, "{}", rig.case.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_by_somebody_else_stops_the_run_instead_of_being_overwritten() {
    for case in cases(OnFailure::Hold) {
        let rig = Rig::new(case);
        let first = rig.case.plan.steps[0].spec.clone();
        if let Some(spec) = first.config() {
            if rig.case.inventory.config.live(spec.object()).is_none() {
                continue;
            }
            rig.twin.edit_config(spec.object(), "a hotfix");
            let ended = rig.start().await.unwrap();
            assert!(
                !matches!(ended.book.run.phase, Phase::Finished(Outcome::Restored)),
                "{}",
                rig.case.name
            );
            let live = rig.twin.inventory().config.live(spec.object()).cloned();
            assert_eq!(live.unwrap().content.as_str(), "a hotfix", "{}", rig.case.name);
            assert_eq!(rig.twin.writes(), [], "{}: a reader was started", rig.case.name);
            continue;
        }
        if let Some(spec) = first.owner() {
            rig.twin.set_owner(spec.owner(), &json!({"prune": true}));
            let ended = rig.start().await.unwrap();
            assert!(
                !matches!(ended.book.run.phase, Phase::Finished(Outcome::Restored)),
                "{}",
                rig.case.name
            );
            let setting = rig.twin.inventory().owner(spec.owner()).unwrap().setting.clone();
            assert_eq!(setting, json!({"prune": true}), "{}", rig.case.name);
            assert_eq!(rig.twin.writes(), [], "{}: something was written", rig.case.name);
            continue;
        }
        let spec = first.workload().expect("a step on a workload");
        let edited = Template::clean(json!({"spec": {"containers": [{"name": "x", "image": "x:hotfix"}]}}));
        rig.twin.edit(spec.target(), edited.clone());
        let ended = rig.start().await.unwrap();
        assert!(
            !matches!(ended.book.run.phase, Phase::Finished(Outcome::Restored)),
            "{}",
            rig.case.name
        );
        assert_eq!(
            rig.twin.inventory().workloads[spec.target()].template,
            edited,
            "{}",
            rig.case.name
        );
    }
}

#[tokio::test]
async fn an_unknown_run_is_named() {
    let journal = astern_journal::MemoryJournal::default();
    let error = astern_exec::Book::open(&journal, &RunId::from("r9"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "there is no run r9 in {}",
            astern_port::journal::Journal::place(&journal)
        )
    );
}
