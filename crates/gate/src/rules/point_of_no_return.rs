//! AST0204: what may still fail once there is no way back is said beforehand.

use super::{some, warn};
use crate::context::{Context, target};
use astern_model::finding::Finding;
use astern_model::reversal::Reversal;
use astern_model::step::Step;

pub(crate) const CODE: &str = "AST0204";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    context
        .plan
        .steps
        .iter()
        .filter_map(|step| after(context, step))
        .collect()
}

/// Every step can fail, and every step that need not be done before may run after.
fn after(context: &Context<'_>, step: &Step) -> Option<Finding> {
    let Reversal::PointOfNoReturn { lost } = &step.reversal else {
        return None;
    };
    let may_follow = |other: &&Step| other.id != step.id && !context.order.follows(&step.id, &other.id);
    let later: Vec<_> = context
        .plan
        .steps
        .iter()
        .filter(may_follow)
        .map(|other| &other.id)
        .collect();
    if later.is_empty() {
        return None;
    }
    let message = format!(
        "after step {} there is no way back ({lost}), and steps that may fail come after it: {}",
        step.id,
        some(&later)
    );
    let hint =
        "should one of them fail, the run stops and a person decides; say yes only if that can be borne";
    Some(warn(CODE, target(step), message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn steps_that_may_fail_after_a_point_of_no_return_are_named() {
        let check = |place: usize, expected: &str| {
            let change = |f: &mut Fixture| {
                f.plan.steps[place].reversal = Reversal::PointOfNoReturn {
                    lost: "column tier".to_owned(),
                };
            };
            assert_eq!(Fixture::messages(super::check, &change), expected);
        };
        check(
            0,
            "after step template:deployment/api-gateway there is no way back (column tier), and steps that may fail \
             come after it: rollout:deployment/api-gateway",
        );
        check(1, "");
    }
}
