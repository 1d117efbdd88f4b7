//! AST0222: where only a deletion replaces pods (`OnDelete`), the plan deletes every pod of another version, and
//! waits afterwards.

use super::{NOT_OURS, PLAN_AGAIN, refuse, some, warn};
use crate::context::{Context, Progress, spec};
use astern_model::evidence::Trouble;
use astern_model::finding::Finding;
use astern_model::id::{TemplateHash, Uid};
use astern_model::step::Step;
use astern_model::step::workload::Spec;
use astern_model::target::Target;
use astern_model::workload::{Pod, Strategy, Workload};
use std::collections::BTreeMap;

pub(crate) const CODE: &str = "AST0222";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let ahead = context
        .renewals()
        .filter(|(step, _, _)| context.progress(&step.id) == Progress::Pending);
    let by_hand = ahead.filter_map(|(step, target, asks)| {
        let workload = context.inventory.workloads.get(target)?;
        (workload.strategy == Strategy::OnDelete).then_some((step, asks, workload))
    });
    by_hand
        .flat_map(|(step, asks, workload)| {
            let promoted = match step.spec.workload() {
                Some(Spec::Restart { pin, .. }) => promoted([&pin.template, asks], workload),
                _ => None,
            };
            judge(context, asks, workload).into_iter().chain(promoted)
        })
        .collect()
}

/// A restart that would bring pods of another version to the template that it marks.
fn promoted(own: [&TemplateHash; 2], workload: &Workload) -> Option<Finding> {
    let is_other =
        |pod: &&Pod| !pod.terminating && !own.iter().any(|own| pod.revision.as_ref() == Some(*own));
    let others: Vec<&Pod> = workload.pods.iter().filter(is_other).collect();
    let target = &workload.target;
    let message = || {
        format!(
            "{target} replaces pods only when they are deleted (OnDelete), and its restart would bring {} to another version",
            names(&others)
        )
    };
    (!others.is_empty()).then(|| refuse(CODE, Some(target), message(), PLAN_AGAIN))
}

/// `asks` is the template that its pods are to take.
fn judge(context: &Context<'_>, asks: &TemplateHash, workload: &Workload) -> Vec<Finding> {
    let target = &workload.target;
    let steps = &context.by_target[target];
    let deletions: BTreeMap<&Uid, &Step> = steps.iter().filter_map(|step| deletion(step)).collect();
    let left = workload
        .pods
        .iter()
        .filter(|pod| !pod.terminating && pod.revision.as_ref() != Some(asks))
        .filter(|pod| !deletions.contains_key(&pod.uid));
    let (lost, left): (Vec<&Pod>, Vec<&Pod>) =
        left.partition(|pod| matches!(pod.trouble, Some(Trouble::NodeLost { .. })));
    let waits = steps
        .iter()
        .filter(|step| matches!(spec(step), Spec::AwaitRollout { .. }));
    let early = |wait: &Step| {
        deletions
            .values()
            .any(|step| !context.order.follows(&wait.id, &step.id))
    };
    let early = waits.clone().any(|wait| early(wait));
    [
        left_behind(target, &left),
        lost_behind(target, &lost),
        awaited_early(target, early),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn left_behind(target: &Target, pods: &[&Pod]) -> Option<Finding> {
    if pods.is_empty() {
        return None;
    }
    let message = format!(
        "{target} replaces pods only when they are deleted (OnDelete), and the plan leaves {} as they are",
        names(pods)
    );
    Some(refuse(CODE, Some(target), message, PLAN_AGAIN))
}

/// A pod on a lost node is never deleted, and need not keep the others from coming back.
fn lost_behind(target: &Target, pods: &[&Pod]) -> Option<Finding> {
    if pods.is_empty() {
        return None;
    }
    let message = format!(
        "{target} replaces pods only when they are deleted (OnDelete), and those on nodes that do not answer are left \
         alone: {}",
        names(pods)
    );
    let hint = "bring the nodes back or remove them for good (`kubectl delete node NODE`), or expect the run to hold";
    Some(warn(CODE, Some(target), message, hint))
}

fn awaited_early(target: &Target, early: bool) -> Option<Finding> {
    let message =
        || format!("the rollout of {target} is awaited before its pods are deleted: the wait could not end");
    early.then(|| refuse(CODE, Some(target), message(), NOT_OURS))
}

fn names(pods: &[&Pod]) -> String {
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    some(&names)
}

fn deletion(step: &Step) -> Option<(&Uid, &Step)> {
    match spec(step) {
        Spec::DeletePod { pod_uid, .. } => Some((pod_uid, step)),
        Spec::WriteTemplate { .. }
        | Spec::Restart { .. }
        | Spec::AwaitRollout { .. }
        | Spec::AwaitGone { .. }
        | Spec::Scale { .. }
        | Spec::SetPaused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, pod};

    #[test]
    fn every_pod_of_another_version_is_deleted_where_nothing_else_replaces_it() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::stuck_statefulset();
            fixture.workload().strategy = Strategy::OnDelete;
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(&|_| (), "");
        check(
            &|f| {
                f.workload()
                    .pods
                    .push(pod("store-1", None, "registry.test/api:v1.2.4"))
            },
            "statefulset/store replaces pods only when they are deleted (OnDelete), and the plan leaves store-1 as \
             they are",
        );
        check(
            &|f| {
                let target = f.to(0).template.clone();
                f.workload()
                    .pods
                    .push(pod("store-1", Some(&target), "registry.test/api:v1.2.3"));
            },
            "",
        );
        check(
            &|f| {
                let mut lost = pod("store-1", None, "registry.test/api:v1.2.4");
                lost.trouble = Some(Trouble::NodeLost {
                    node: "node-1".to_owned(),
                });
                f.workload().pods.push(lost);
            },
            "statefulset/store replaces pods only when they are deleted (OnDelete), and those on nodes that do not \
             answer are left alone: store-1",
        );
        // A restart reaches such pods by their deletion alone as well.
        let restarted = |f: &mut Fixture| {
            let Spec::WriteTemplate { target, pin, to, .. } = f.spec(0).clone() else {
                unreachable!("the fixture writes a template first")
            };
            for pod in &mut f.workload().pods {
                pod.revision = Some(pin.template.clone());
            }
            *f.spec(0) = Spec::Restart {
                target,
                pin,
                at: "2026-11-23T14:10:00Z".to_owned(),
                template: to.template,
            };
        };
        check(&restarted, "");
        check(
            &|f| {
                restarted(f);
                f.workload()
                    .pods
                    .push(pod("store-1", None, "registry.test/api:v1.2.4"));
            },
            "statefulset/store replaces pods only when they are deleted (OnDelete), and its restart would bring store-1 to \
             another version\n\
             statefulset/store replaces pods only when they are deleted (OnDelete), and the plan leaves store-1 as \
             they are",
        );
        // With the mark of a restart, those of the good version are others as well.
        check(
            &|f| {
                let target = f.to(0).template.clone();
                f.mark(0);
                f.workload()
                    .pods
                    .push(pod("store-1", Some(&target), "registry.test/api:v1.2.3"));
            },
            "statefulset/store replaces pods only when they are deleted (OnDelete), and the plan leaves store-1 as \
             they are",
        );
        check(
            &|f| f.plan.steps[2].after = vec![f.plan.steps[0].id.clone()],
            "the rollout of statefulset/store is awaited before its pods are deleted: the wait could not end",
        );
    }
}
