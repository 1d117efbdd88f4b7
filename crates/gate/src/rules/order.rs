//! AST0201: every step has an id of its own and comes after steps that stand before it, so that there is no cycle.

use super::{NOT_OURS, refuse};
use crate::context::{self, Context};
use astern_model::finding::Finding;
use std::collections::BTreeSet;

pub(crate) const CODE: &str = "AST0201";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if context.plan.steps.is_empty() {
        findings.push(refuse(CODE, None, "the plan has no steps", NOT_OURS));
    }
    let mut seen = BTreeSet::new();
    for step in &context.plan.steps {
        let target = context::target(step);
        for before in step.after.iter().filter(|before| !seen.contains(before)) {
            let what = if context.order.place(before).is_some() {
                "does not stand before it"
            } else {
                "does not exist"
            };
            let message = format!("step {} comes after step {before}, which {what}", step.id);
            findings.push(refuse(CODE, target, message, NOT_OURS));
        }
        if !seen.insert(&step.id) {
            findings.push(refuse(
                CODE,
                target,
                format!("two steps have the id {}", step.id),
                NOT_OURS,
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn steps_form_an_order_without_repetition_or_cycle() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(&|f| f.plan.steps.clear(), "the plan has no steps");
        check(
            &|f| f.plan.steps[1].after = vec!["nowhere".into()],
            "step rollout:deployment/api-gateway comes after step nowhere, which does not exist",
        );
        check(
            &|f| f.plan.steps[0].after = vec![f.plan.steps[1].id.clone()],
            "step template:deployment/api-gateway comes after step rollout:deployment/api-gateway, which does not \
             stand before it",
        );
        check(
            &|f| f.plan.steps[0].after = vec![f.plan.steps[0].id.clone()],
            "step template:deployment/api-gateway comes after step template:deployment/api-gateway, which does not \
             stand before it",
        );
        check(
            &|f| {
                let twin = f.plan.steps[0].clone();
                f.plan.steps.push(twin);
            },
            "two steps have the id template:deployment/api-gateway",
        );
    }
}
