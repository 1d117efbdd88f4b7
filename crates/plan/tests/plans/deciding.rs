//! Deciding: which rows fire, and which answer is the gravest.

use crate::support::{
    crash_loop, crashing, deployment, errors, evidence, inventory, platform, released, replaced,
};
use astern_model::decision::Decision;
use astern_model::evidence::{Known, Side};
use astern_model::inventory::Inventory;
use astern_model::policy::{Policy, Say};
use astern_plan::{assess, decide};

fn decision(inventory: &Inventory) -> Decision {
    decide(&assess(inventory, &platform(), &[]), &[], &Policy::default())
}

fn told(decision: &Decision) -> String {
    let mut lines = vec![format!("{:?}", decision.say)];
    for fired in &decision.fired {
        lines.push(format!("{}: {}", fired.row, fired.because));
        lines.extend(fired.on.iter().map(|(target, why)| format!("  {target}: {why}")));
    }
    lines.join("\n")
}

#[test]
fn missing_evidence_does_not_stand_in_the_way_of_what_is_plain() {
    let decision = decision(&inventory([crashing("api"), replaced("worker")]));
    assert_eq!(decision.say, Say::RollBack);
    insta::assert_snapshot!(told(&decision), @r#"
    RollBack
    crash-loop: the new version crashes again and again
      deployment/api: CrashLoopBackOff, exit 1, 4 restarts: "panic: no DATABASE_URL" (2 pods, api-rs2-2)
    evidence-missing: evidence is missing
      deployment/api: logs were not read
      deployment/worker: logs were not read
    "#);
}

#[test]
fn do_not_is_graver_than_roll_back() {
    let alike =
        released("api")
            .troubled(1, 2, "13:00:00", crash_loop())
            .troubled(2, 1, "14:02:20", crash_loop());
    let decision = decision(&inventory([alike]));
    assert_eq!(decision.say, Say::DoNot);
    insta::assert_snapshot!(told(&decision), @r#"
    DoNot
    crash-loop: the new version crashes again and again
      deployment/api: CrashLoopBackOff, exit 1, 4 restarts: "panic: no DATABASE_URL" (1 pod, api-rs2-2)
    former-fails-alike: the old version fails in the same way: going back would not help
      deployment/api: the earlier version: CrashLoopBackOff, exit 1, 4 restarts: "panic: no DATABASE_URL" (2 pods, api-rs1-0)
    evidence-missing: evidence is missing
      deployment/api: logs were not read
    "#);
}

#[test]
fn when_everything_looks_healthy_a_person_is_asked() {
    let mut all = inventory([replaced("api"), replaced("worker")]);
    all.evidence = ["api", "worker"]
        .map(|name| evidence(&deployment(name), Side::Live, errors(Known::Is(0.0))))
        .to_vec();
    insta::assert_snapshot!(told(&decision(&all)), @r"
    Ask
    all-healthy: nothing wrong can be seen; a person may know what no probe shows
      deployment/api: 3 of 3 ready, healthy
      deployment/worker: 3 of 3 ready, healthy
    ");
}

#[test]
fn without_any_row_the_answer_is_to_ask() {
    let policy = Policy {
        matrix: Vec::new(),
        ..Policy::default()
    };
    let decision = decide(
        &assess(&inventory([crashing("api")]), &platform(), &[]),
        &[],
        &policy,
    );
    assert_eq!(
        decision,
        Decision {
            say: Say::Ask,
            fired: Vec::new()
        }
    );
}
