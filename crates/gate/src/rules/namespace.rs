//! AST0208: a plan touches its own namespace, and the one that was looked at.

use super::{NOT_OURS, PLAN_AGAIN, refuse};
use crate::context::Context;
use astern_model::finding::Finding;

pub(crate) const CODE: &str = "AST0208";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let (plan, looked_at) = (&context.plan.namespace, &context.inventory.namespace);
    let judged = context.plan.recovered_when.targets.iter();
    let outside = context
        .by_target
        .keys()
        .copied()
        .chain(judged)
        .filter(|target| &target.namespace != plan);
    let mut findings: Vec<Finding> = outside
        .map(|target| {
            let message = format!(
                "{target} is in namespace {}, and the plan is for namespace {plan}",
                target.namespace
            );
            refuse(CODE, Some(target), message, NOT_OURS)
        })
        .collect();
    let elsewhere = context.config().filter(|(_, spec)| spec.namespace() != plan);
    findings.extend(elsewhere.map(|(_, spec)| {
        let message = format!(
            "{} is in namespace {}, and the plan is for namespace {plan}",
            spec.object(),
            spec.namespace()
        );
        refuse(CODE, None, message, NOT_OURS)
    }));
    if plan != looked_at {
        let message = format!("the plan is for namespace {plan}, and namespace {looked_at} was looked at");
        findings.push(refuse(
            CODE,
            None,
            message,
            format!("name its namespace (`-n {plan}`), or {PLAN_AGAIN}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    #[test]
    fn a_plan_stays_in_its_namespace() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.inventory.namespace = "staging".to_owned(),
            "the plan is for namespace shop, and namespace staging was looked at",
        );
        check(
            &|f| f.plan.recovered_when.targets[0].namespace = "kube-system".to_owned(),
            "deployment/api-gateway is in namespace kube-system, and the plan is for namespace shop",
        );
    }
}
