//! What holds of the gate as a whole, for any input of its kind.

use crate::context::Progress;
use crate::fixture::{Fixture, template};
use astern_model::approval::Approval;
use astern_model::finding::Severity;
use astern_model::id::{PlanHash, StepId, TemplateHash, Uid, sha256};
use astern_model::workload::{Condition, Strategy as Rollout};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeMap;

/// The plans that the properties are about.
fn plans() -> impl Strategy<Value = Fixture> {
    let fixtures: [fn() -> Fixture; 3] = [Fixture::sound, Fixture::paused, Fixture::stuck_statefulset];
    select(fixtures.to_vec()).prop_map(|fixture| fixture())
}

/// What a plan pins.
#[derive(Clone, Copy, Debug)]
enum Pinned {
    Uid,
    Template,
    Strategy,
    Paused,
}

/// Changes one pinned thing: in the cluster, or in the plan's first step.
fn mutate(fixture: &mut Fixture, pinned: Pinned, in_cluster: bool, salt: u32) {
    let other = Rollout::RollingUpdate {
        max_surge: Some(format!("{}%", salt % 90 + 5)),
        max_unavailable: Some(format!("{}", salt % 7 + 1)),
        partition: 0,
        ordered: false,
    };
    let uid = Uid(format!("other-{salt}"));
    match (pinned, in_cluster) {
        (Pinned::Uid, true) => fixture.workload().uid = uid,
        (Pinned::Uid, false) => fixture.pin(0).uid = uid,
        (Pinned::Template, true) => fixture.workload().template = template(&format!("v9.{salt}")),
        (Pinned::Template, false) => fixture.pin(0).template = TemplateHash(sha256(&salt.to_le_bytes())),
        (Pinned::Strategy, true) => fixture.workload().strategy = other,
        (Pinned::Strategy, false) => fixture.pin(0).strategy = other,
        (Pinned::Paused, true) => fixture.workload().paused ^= true,
        (Pinned::Paused, false) => fixture.pin(0).paused ^= true,
    }
    fixture.seal();
}

/// The cluster after the steps that are done, and after some of the one whose outcome is not known.
fn carry_out(fixture: &mut Fixture, done: usize, intended: bool, effect: bool) -> BTreeMap<StepId, Progress> {
    let ids: Vec<StepId> = fixture.plan.steps.iter().map(|step| step.id.clone()).collect();
    let reached = |place: usize| match place {
        _ if place < done => Progress::Done,
        _ if place == done && intended => Progress::Intended,
        _ => Progress::Pending,
    };
    for (place, id) in ids.iter().enumerate() {
        let there = match reached(place) {
            Progress::Done => true,
            Progress::Intended => effect,
            Progress::Pending | Progress::Dropped => false,
        };
        let kind = id.as_str().split(':').next();
        match kind.filter(|_| there) {
            Some("template") => fixture.workload().template = template("v1.2.3"),
            Some("resume") => fixture.workload().paused = false,
            Some("pod") => fixture.workload().pods.clear(),
            _ => {}
        }
    }
    ids.into_iter()
        .enumerate()
        .map(|(place, id)| (id, reached(place)))
        .collect()
}

fn codes(fixture: &Fixture, approval: Approval, progress: &BTreeMap<StepId, Progress>) -> Vec<String> {
    let rejected = fixture
        .readmit(approval, progress)
        .map_or_else(|rejected| rejected.findings, |_| Vec::new());
    let refusals = rejected
        .into_iter()
        .filter(|finding| finding.severity == Severity::Refuse);
    refusals.map(|finding| finding.code).collect()
}

proptest! {
    #[test]
    fn what_moves_by_itself_makes_no_finding(
        counts in any::<[u16; 5]>(),
        observed in any::<bool>(),
        annotations in btree_map("[a-z.]{1,8}/[a-z]{1,8}", ".{0,12}", 0..4),
        labels in btree_map("[a-z]{1,8}", "[a-z0-9]{0,8}", 0..4),
        reason in ".{0,12}",
    ) {
        let mut fixture = Fixture::sound();
        let [desired, replicas, updated, ready, available] = counts.map(u32::from);
        let workload = fixture.workload();
        workload.desired = desired;
        workload.annotations = annotations;
        workload.labels = labels;
        workload.status.replicas = replicas;
        workload.status.updated = updated;
        workload.status.ready = ready;
        workload.status.available = available;
        workload.status.observed = observed;
        let kind = "Progressing".to_owned();
        let (status, message) = ("False".to_owned(), reason.clone());
        workload.status.conditions.push(Condition { kind, status, reason, message, since: None });
        prop_assert_eq!(fixture.findings(), []);
    }

    #[test]
    fn any_pin_that_no_longer_holds_is_refused_by_name(
        pinned in select(vec![Pinned::Uid, Pinned::Template, Pinned::Strategy, Pinned::Paused]),
        in_cluster in any::<bool>(),
        salt in any::<u32>(),
        mut fixture in plans(),
    ) {
        mutate(&mut fixture, pinned, in_cluster, salt);
        let rejected = fixture.check().unwrap_err();
        let target = fixture.workload().target.clone();
        let word = match pinned {
            Pinned::Uid => "uid",
            Pinned::Template => "template",
            Pinned::Strategy => "strategy",
            Pinned::Paused => "paused",
        };
        let named = rejected.refusals().any(|finding| {
            let message = &finding.message;
            finding.code == "AST0212" && message.contains(&target.to_string()) && message.contains(word)
        });
        prop_assert!(named, "{:?}", rejected.findings);
    }

    #[test]
    fn a_run_is_never_readmitted_with_other_bytes(
        place in any::<Index>(), bit in 0u8..8, tail in vec(any::<u8>(), 0..4), fixture in plans(),
    ) {
        let approval = fixture.approval();
        let mut changed = fixture.clone();
        if tail.is_empty() {
            let place = place.index(changed.sealed.len());
            changed.sealed[place] ^= 1 << bit;
        } else {
            changed.sealed.extend(tail);
        }
        let codes = codes(&changed, approval, &BTreeMap::new());
        prop_assert!(codes.contains(&"AST0240".to_owned()), "{codes:?}");
    }

    #[test]
    fn a_run_is_never_readmitted_with_an_approval_for_another_plan(other in vec(any::<u8>(), 0..64), fixture in plans()) {
        let mut approval = fixture.approval();
        approval.plan = PlanHash::of(&other);
        prop_assert_eq!(codes(&fixture, approval, &BTreeMap::new()), ["AST0240"]);
    }

    #[test]
    fn a_run_is_readmitted_wherever_it_was_killed(
        done in 0usize..4, intended in any::<bool>(), effect in any::<bool>(), mut fixture in plans(),
    ) {
        let approval = fixture.approval();
        let progress = carry_out(&mut fixture, done, intended, effect);
        prop_assert_eq!(codes(&fixture, approval, &progress), Vec::<String>::new());
    }

    #[test]
    fn a_run_is_not_readmitted_over_somebody_elses_template(
        done in 0usize..4, intended in any::<bool>(), effect in any::<bool>(), mut fixture in plans(),
    ) {
        let approval = fixture.approval();
        let progress = carry_out(&mut fixture, done, intended, effect);
        fixture.workload().template = template("v1.2.5");
        let ahead = progress.values().any(|progress| *progress == Progress::Pending);
        let expected: &[&str] = if ahead { &["AST0212"] } else { &[] };
        prop_assert_eq!(codes(&fixture, approval, &progress), expected);
    }
}

#[test]
fn a_run_that_is_only_taken_back_is_readmitted_whatever_the_world_says() {
    let mut fixture = Fixture::sound();
    let approval = fixture.approval();
    fixture.answers = astern_model::question::Answers::default();
    fixture.workload().revisions.clear();
    let progress = fixture
        .plan
        .steps
        .iter()
        .map(|step| (step.id.clone(), Progress::Dropped))
        .collect();
    assert_eq!(codes(&fixture, approval, &progress), Vec::<String>::new());
}

#[test]
fn the_questions_are_asked_in_one_order_and_once_each() {
    let fixture = Fixture::many(20);
    let asked = crate::questions(&fixture.plan, &fixture.inventory);
    let mut sorted = asked.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(asked, sorted);
}

#[test]
fn a_plan_of_many_workloads_passes_as_a_small_one_does() {
    assert_eq!(Fixture::many(200).findings(), []);
}
