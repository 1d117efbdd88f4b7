//! AST0203: a pod is deleted only where its controller makes it anew from the template that the plan has put back.

use super::{NOT_OURS, refuse};
use crate::context::Context;
use astern_model::finding::Finding;
use astern_model::step::Step;
use astern_model::step::workload::{DeleteWhy, Spec};
use astern_model::target::WorkloadKind;
use std::collections::BTreeMap;

pub(crate) const CODE: &str = "AST0203";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let renewed = context.renewals();
    let renewed: BTreeMap<_, _> = renewed
        .map(|(step, target, asks)| (target, (step, asks)))
        .collect();
    let wrong = |step: &Step| -> Option<Finding> {
        let Some(Spec::DeletePod {
            target,
            pod,
            template,
            why,
            ..
        }) = step.spec.workload()
        else {
            return None;
        };
        let renewal = renewed
            .get(target)
            .filter(|(renewal, _)| context.order.follows(&step.id, &renewal.id));
        let what = match (renewal, why) {
            (None, _) => "before the template of its workload is put back",
            (Some((_, asks)), _) if asks != &template => "for another template than the one put back",
            _ if target.kind == WorkloadKind::Deployment => "although a Deployment replaces its pods itself",
            _ if target.kind == WorkloadKind::Rollout => "although Argo Rollouts replaces its pods itself",
            (_, DeleteWhy::Stuck { trouble }) if !trouble.cannot_pass() => {
                "although its trouble can pass by itself"
            }
            _ => return None,
        };
        Some(refuse(
            CODE,
            Some(target),
            format!("the plan deletes pod/{pod} of {target} {what}"),
            NOT_OURS,
        ))
    };
    context.plan.steps.iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, hash};
    use astern_model::evidence::Trouble;

    fn check(change: &dyn Fn(&mut Fixture), expected: &str) {
        let mut fixture = Fixture::stuck_statefulset();
        change(&mut fixture);
        assert_eq!(fixture.told(super::check), expected);
    }

    #[test]
    fn a_pod_is_deleted_only_after_its_template_is_back_and_for_a_cause_that_cannot_pass() {
        check(&|_| (), "");
        check(
            &|f| f.plan.steps[1].after.clear(),
            "the plan deletes pod/store-0 of statefulset/store before the template of its workload is put back",
        );
        check(
            &|f| {
                if let Spec::DeletePod { template, .. } = f.spec(1) {
                    *template = hash('9');
                }
            },
            "the plan deletes pod/store-0 of statefulset/store for another template than the one put back",
        );
        check(
            &|f| {
                if let Spec::DeletePod { why, .. } = f.spec(1) {
                    *why = DeleteWhy::Stuck {
                        trouble: Trouble::Starting,
                    };
                }
            },
            "the plan deletes pod/store-0 of statefulset/store although its trouble can pass by itself",
        );
    }

    #[test]
    fn a_deployments_pod_is_never_deleted() {
        let mut fixture = Fixture::stuck_statefulset();
        fixture.retarget(WorkloadKind::Deployment, "store");
        assert_eq!(
            fixture.told(super::check),
            "the plan deletes pod/store-0 of deployment/store although a Deployment replaces its pods itself"
        );
    }
}
