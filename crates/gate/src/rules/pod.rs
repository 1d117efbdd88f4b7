//! AST0231: a pod is deleted only while it is in the way: not when its node does not answer, and not when it has
//! recovered.

use super::{PLAN_AGAIN, refuse};
use crate::context::Context;
use astern_model::evidence::Trouble;
use astern_model::finding::Finding;
use astern_model::step::Step;
use astern_model::step::workload::{DeleteWhy, Spec};

pub(crate) const CODE: &str = "AST0231";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    context.ahead().filter_map(|step| judge(context, step)).collect()
}

/// A pod that is gone needs no deletion, and another one of its name is left alone by its uid.
fn judge(context: &Context<'_>, step: &Step) -> Option<Finding> {
    let Some(Spec::DeletePod {
        target, pod_uid, why, ..
    }) = step.spec.workload()
    else {
        return None;
    };
    let workload = context.inventory.workloads.get(target)?;
    let pod = workload.pods.iter().find(|pod| &pod.uid == pod_uid)?;
    let name = &pod.name;
    let (message, hint) = match (&pod.trouble, why) {
        (Some(Trouble::NodeLost { node }), _) => (
            format!(
                "pod/{name} of {target} would be deleted, and its node {node} does not answer: it may still run"
            ),
            format!(
                "bring the node back or make sure that it is off, then plan again: `kubectl describe node {node}`"
            ),
        ),
        (None, DeleteWhy::Stuck { .. }) if pod.ready => (
            format!("pod/{name} of {target} would be deleted as stuck, and it serves now"),
            PLAN_AGAIN.to_owned(),
        ),
        _ => return None,
    };
    Some(refuse(CODE, Some(target), message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn a_pod_on_a_node_that_does_not_answer_and_one_that_recovered_are_left_alone() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            let mut fixture = Fixture::stuck_statefulset();
            change(&mut fixture);
            assert_eq!(fixture.told(super::check), expected);
        };
        check(&|_| (), "");
        check(
            &|f| {
                f.workload().pods[0].trouble = Some(Trouble::NodeLost {
                    node: "node-1".to_owned(),
                })
            },
            "pod/store-0 of statefulset/store would be deleted, and its node node-1 does not answer: it may still run",
        );
        check(
            &|f| {
                f.workload().pods[0].trouble = None;
                f.workload().pods[0].ready = true;
            },
            "pod/store-0 of statefulset/store would be deleted as stuck, and it serves now",
        );
        check(&|f| f.workload().pods.clear(), "");
    }
}
