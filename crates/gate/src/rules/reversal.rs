//! AST0205: what a step says about being taken back is true of what it does.

use super::{NOT_OURS, refuse};
use crate::context::{Context, target};
use astern_model::finding::Finding;
use astern_model::reversal::Reversal;
use astern_model::step::Step;
use astern_model::step::owner::Spec as OwnerSpec;
use astern_model::step::workload::Spec;

pub(crate) const CODE: &str = "AST0205";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let told = |step: &Step| -> Option<Finding> {
        let wrong = untrue(step)?;
        Some(refuse(
            CODE,
            target(step),
            format!("step {} {wrong}", step.id),
            NOT_OURS,
        ))
    };
    context.plan.steps.iter().filter_map(told).collect()
}

fn untrue(step: &Step) -> Option<&'static str> {
    if let Some(spec) = step.spec.config() {
        let silent = matches!(step.reversal, Reversal::Nothing);
        return match (spec.only_reads(), silent) {
            (true, true) | (false, false) => None,
            (true, false) => Some("only waits, and claims a reversal"),
            (false, true) => Some("writes, and claims that there is nothing to take back"),
        };
    }
    if let Some(spec) = step.spec.owner() {
        return match (spec, &step.reversal) {
            (OwnerSpec::AwaitPaused { .. }, Reversal::Nothing)
            | (OwnerSpec::Pause { .. } | OwnerSpec::Resume { .. }, Reversal::Exact) => None,
            (OwnerSpec::AwaitPaused { .. }, _) => Some("only waits, and claims a reversal"),
            (OwnerSpec::Pause { .. } | OwnerSpec::Resume { .. }, _) => {
                Some("changes an owner's setting, and does not say that it is put back")
            }
        };
    }
    let Some(spec) = step.spec.workload() else {
        if step.spec.only_reads() {
            let claims = !matches!(step.reversal, Reversal::Nothing);
            return claims.then_some("only looks, and claims a reversal");
        }
        let claims_less = matches!(step.reversal, Reversal::Exact | Reversal::Nothing);
        return claims_less.then_some("makes a revision of a release, and claims that it leaves no trace");
    };
    match (spec, &step.reversal) {
        (Spec::AwaitRollout { .. } | Spec::AwaitGone { .. }, Reversal::Nothing) => None,
        (Spec::AwaitRollout { .. } | Spec::AwaitGone { .. }, _) => Some("only waits, and claims a reversal"),
        (Spec::DeletePod { .. }, Reversal::Exact | Reversal::Nothing) => {
            Some("deletes a pod, and claims that nothing of it is lost")
        }
        (
            Spec::WriteTemplate { .. } | Spec::Restart { .. } | Spec::SetPaused { .. } | Spec::Scale { .. },
            Reversal::Nothing,
        ) => Some("writes, and claims that there is nothing to take back"),
        (
            Spec::WriteTemplate { .. }
            | Spec::Restart { .. }
            | Spec::SetPaused { .. }
            | Spec::Scale { .. }
            | Spec::DeletePod { .. },
            _,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn a_release_that_is_rolled_back_leaves_a_trace() {
        let mut fixture = Fixture::through_release();
        assert_eq!(fixture.told(super::check), "");
        fixture.plan.steps[0].reversal = Reversal::Exact;
        assert_eq!(
            fixture.told(super::check),
            "step template:deployment/api-gateway makes a revision of a release, and claims that it leaves no trace"
        );
    }

    #[test]
    fn a_step_cannot_claim_a_reversal_that_it_does_not_have() {
        let check = |place: usize, reversal: Reversal, expected: &str| {
            let mut fixture = Fixture::stuck_statefulset();
            fixture.plan.steps[place].reversal = reversal;
            assert_eq!(fixture.told(super::check), expected);
        };
        check(0, Reversal::Exact, "");
        check(
            0,
            Reversal::Nothing,
            "step template:statefulset/store writes, and claims that there is nothing to take back",
        );
        check(
            1,
            Reversal::Exact,
            "step pod:store-0 deletes a pod, and claims that nothing of it is lost",
        );
        check(
            1,
            Reversal::Nothing,
            "step pod:store-0 deletes a pod, and claims that nothing of it is lost",
        );
        check(
            1,
            Reversal::PointOfNoReturn {
                lost: "its logs".to_owned(),
            },
            "",
        );
        check(
            2,
            Reversal::Exact,
            "step rollout:statefulset/store only waits, and claims a reversal",
        );
    }
}
