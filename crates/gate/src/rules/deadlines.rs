//! AST0206: nothing in a plan waits without an end, and no end lies beyond an incident.

use super::{NOT_OURS, refuse};
use crate::context::{Context, target};
use astern_model::choice::human;
use astern_model::finding::Finding;
use astern_model::step::Step;
use astern_model::step::workload::Spec;
use jiff::SignedDuration;

pub(crate) const CODE: &str = "AST0206";

/// A write is a few requests with retries; one that takes longer is lost.
const LONGEST_WRITE: SignedDuration = SignedDuration::from_mins(30);
/// A large ordered StatefulSet may roll for hours, and a pod may take its grace period to go; what takes longer than a day is not carried out, it is waited for.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let plan = context.plan;
    let mut findings: Vec<Finding> = plan.steps.iter().filter_map(of_step).collect();
    for (what, span) in [
        ("soak window", plan.recovered_when.soak),
        ("time budget", plan.rto),
    ] {
        if span.is_negative() || span > LONGEST_WAIT {
            let message = format!(
                "the plan's {what} is {}, not between 0s and {}",
                human(span),
                human(LONGEST_WAIT)
            );
            findings.push(refuse(CODE, None, message, NOT_OURS));
        }
    }
    findings
}

fn of_step(step: &Step) -> Option<Finding> {
    let longest = match step.spec.workload() {
        Some(
            Spec::WriteTemplate { .. } | Spec::Restart { .. } | Spec::SetPaused { .. } | Spec::Scale { .. },
        ) => LONGEST_WRITE,
        // A release's hooks may take as long as they are given.
        Some(Spec::AwaitRollout { .. } | Spec::AwaitGone { .. } | Spec::DeletePod { .. }) | None => {
            LONGEST_WAIT
        }
    };
    if step.deadline.is_positive() && step.deadline <= longest {
        return None;
    }
    let message = format!(
        "the deadline of step {} is {}, not above 0s and at most {}",
        step.id,
        human(step.deadline),
        human(longest)
    );
    Some(refuse(CODE, target(step), message, NOT_OURS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn every_wait_has_an_end_within_bounds() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.plan.steps[0].deadline = SignedDuration::ZERO,
            "the deadline of step template:deployment/api-gateway is 0s, not above 0s and at most 30m",
        );
        check(
            &|f| f.plan.steps[0].deadline = SignedDuration::from_hours(1),
            "the deadline of step template:deployment/api-gateway is 1h, not above 0s and at most 30m",
        );
        check(&|f| f.plan.steps[1].deadline = SignedDuration::from_hours(24), "");
        check(
            &|f| f.plan.steps[1].deadline = SignedDuration::MAX,
            "the deadline of step rollout:deployment/api-gateway is 106751991167300d 15h, not above 0s and at most 1d",
        );
        check(
            &|f| f.plan.recovered_when.soak = SignedDuration::from_hours(48),
            "the plan's soak window is 2d, not between 0s and 1d",
        );
    }
}
