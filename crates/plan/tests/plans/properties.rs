//! What holds for every plan, whatever the inventory.

use crate::support::{
    Build, at, crash_loop, deployment, errors, evidence, inventory, plan, platform, request, workload,
};
use astern_model::evidence::{Known, Side};
use astern_model::inventory::Inventory;
use astern_model::platform::{Member, Platform};
use astern_model::step::Spec;
use astern_model::step::workload::Spec as WorkloadSpec;
use jiff::SignedDuration;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// How one workload came to be: minutes between its revisions, serving old pods, crashing new pods, an undo.
#[derive(Clone, Debug)]
struct Past {
    minutes: Vec<i64>,
    serving: u32,
    crashing: u32,
    undone: bool,
    depends_on: Vec<usize>,
}

fn past() -> impl Strategy<Value = Past> {
    let minutes = prop::collection::vec(1..120_i64, 1..5);
    let depends_on = prop::collection::vec(0..6_usize, 0..3);
    (minutes, 0..3_u32, 0..3_u32, any::<bool>(), depends_on).prop_map(
        |(minutes, serving, crashing, undone, depends_on)| Past {
            minutes,
            serving,
            crashing,
            undone,
            depends_on,
        },
    )
}

fn build(index: usize, past: &Past) -> Build {
    let mut build = workload(&format!("w{index}"));
    let mut ago = past.minutes.iter().sum::<i64>();
    let mut number = 0;
    for minutes in &past.minutes {
        number += 1;
        let created = at("14:10:00") - SignedDuration::from_mins(ago);
        build = build.revision(number, &format!("v{number}"), &created.to_string());
        ago -= minutes;
    }
    if past.undone && number > 1 {
        build = build.brought_back(1, number + 1);
        number += 1;
    }
    let former = build
        .workload
        .revisions
        .iter()
        .map(|revision| revision.number)
        .find(|other| *other != number);
    if let Some(former) = former {
        build = build.serving(former, past.serving, "13:00:00");
    }
    build.troubled(number, past.crashing, "14:05:00", crash_loop())
}

fn world(pasts: &[Past]) -> (Inventory, Platform) {
    let mut inventory = inventory(pasts.iter().enumerate().map(|(index, past)| build(index, past)));
    for index in 0..pasts.len() {
        let target = deployment(&format!("w{index}"));
        inventory
            .evidence
            .push(evidence(&target, Side::Live, errors(Known::Is(0.5))));
        inventory
            .evidence
            .push(evidence(&target, Side::Former, errors(Known::Is(0.1))));
    }
    // Depending only on workloads of lower numbers, so that there is no circle.
    let members = pasts.iter().enumerate().map(|(index, past)| Member {
        reloads: false,
        stops: false,
        target: deployment(&format!("w{index}")),
        depends_on: past
            .depends_on
            .iter()
            .filter(|on| **on < index)
            .map(|on| deployment(&format!("w{on}")))
            .collect(),
        probes: Vec::new(),
    });
    (
        inventory.clone(),
        Platform {
            members: members.collect(),
            ..platform()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_ordered_complete_and_goes_to_another_version(pasts in prop::collection::vec(past(), 1..6)) {
        let (inventory, platform) = world(&pasts);
        let Ok(plan) = plan(&request(), &inventory, &platform) else { return Ok(()) };
        let mut seen = BTreeSet::new();
        let mut waits = Vec::new();
        for step in &plan.steps {
            prop_assert!(step.after.iter().all(|id| seen.contains(id)), "{} before what it waits for", step.id);
            prop_assert!(seen.insert(step.id.clone()), "{} twice", step.id);
            prop_assert!(step.deadline >= step.forecast.expected);
            let Spec::Workload(spec) = &step.spec else {
                return Err(TestCaseError::fail("no workload belongs to a release here"));
            };
            match spec {
                WorkloadSpec::AwaitRollout { target, .. } => waits.push(target.clone()),
                WorkloadSpec::WriteTemplate { pin, to, .. } => prop_assert_ne!(&pin.template, &to.template),
                _ => {}
            }
        }
        let targets: Vec<_> = plan.targets().into_iter().cloned().collect();
        waits.sort();
        prop_assert_eq!(waits, targets);
    }

    #[test]
    fn the_same_world_makes_the_same_bytes_in_whatever_order_it_was_read(
        pasts in prop::collection::vec(past(), 1..6),
        turn in 0..7_usize,
    ) {
        let (inventory, platform) = world(&pasts);
        let mut shuffled = inventory.clone();
        let by = turn % shuffled.evidence.len();
        shuffled.evidence.rotate_left(by);
        for workload in shuffled.workloads.values_mut() {
            workload.pods.reverse();
            workload.revisions.reverse();
        }
        let bytes = |inventory| match plan(&request(), inventory, &platform) {
            Ok(plan) => serde_json::to_string(&plan).unwrap(),
            Err(refusal) => serde_json::to_string(&refusal).unwrap(),
        };
        prop_assert_eq!(bytes(&inventory), bytes(&inventory));
        prop_assert_eq!(bytes(&inventory), bytes(&shuffled));
    }
}
