//! What a plan stops before it writes, with which counts it comes back, and what cannot be stopped.

use crate::support::{Build, crashing, deployment, inventory, of_kind, plan, platform, request, target};
use astern_model::plan::Plan;
use astern_model::step::workload::Spec as WorkloadSpec;
use astern_model::step::{Spec, Step};
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::Autoscaler;
use astern_plan::Request;

fn stopped(workloads: impl IntoIterator<Item = Build>) -> Plan {
    let request = Request {
        stop: true,
        ..request()
    };
    plan(&request, &inventory(workloads), &platform()).unwrap()
}

/// From which count to which a workload is scaled, in the plan's order.
fn counts(plan: &Plan, of: &Target) -> Vec<(Option<u32>, u32)> {
    let scale = |step: &Step| match &step.spec {
        Spec::Workload(WorkloadSpec::Scale { target, from, to, .. }) if target == of => Some((*from, *to)),
        _ => None,
    };
    plan.steps.iter().filter_map(scale).collect()
}

fn scaled_by(min: u32) -> Option<Autoscaler> {
    Some(Autoscaler {
        name: "api".to_owned(),
        min,
        max: 9,
        current: 2,
        wanted: 2,
    })
}

#[test]
fn a_stopped_workload_comes_back_with_the_count_it_had_and_no_less_than_its_autoscaler_sets() {
    let of = deployment("api");
    let with = |desired: u32, autoscaler: Option<Autoscaler>| {
        crashing("api").with(move |workload| {
            workload.desired = desired;
            workload.autoscaler = autoscaler;
        })
    };
    // What an autoscaler moves is no pin of the plan.
    for (desired, autoscaler, expected) in [
        (4, None, [(Some(4), 0), (Some(0), 4)]),
        (4, scaled_by(2), [(None, 0), (Some(0), 4)]),
        // Somebody raised minReplicas, and the autoscaler has not come to it yet.
        (2, scaled_by(3), [(None, 0), (Some(0), 3)]),
    ] {
        let plan = stopped([with(desired, autoscaler.clone())]);
        assert_eq!(counts(&plan, &of), expected, "{desired} {autoscaler:?}");
    }
}

#[test]
fn what_has_no_count_or_would_lose_its_volumes_is_not_stopped_and_that_is_said() {
    let store = target(WorkloadKind::StatefulSet, "store");
    let agent = target(WorkloadKind::DaemonSet, "agent");
    let failing = |of: &Target, deletes_claims: bool| {
        let mut build = of_kind(of.clone()).revision(1, "v1.2.3", "2026-11-19T10:00:00Z");
        build = build.revision(2, "v1.2.4", "14:02:00");
        build
            .troubled(2, 1, "14:03:00", crate::support::crash_loop())
            .with(move |workload| workload.deletes_claims = deletes_claims)
    };
    let plan = stopped([failing(&store, true), failing(&agent, false)]);
    for of in [&store, &agent] {
        assert_eq!(counts(&plan, of), [], "{of}");
    }
    for words in [
        "statefulset/store is not stopped, since its persistentVolumeClaimRetentionPolicy would delete its volumes",
        "daemonset/agent is not stopped, since it has no count",
    ] {
        let said = plan.warnings.iter().any(|warning| warning.contains(words));
        assert!(said, "no {words:?}: {:#?}", plan.warnings);
    }
}
