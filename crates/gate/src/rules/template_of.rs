//! AST0239: a Rollout with `workloadRef` has no template of its own: it takes that of another object, so none is written into it.

use super::refuse;
use crate::context::Context;
use astern_model::finding::Finding;
use std::collections::BTreeSet;

pub(crate) const CODE: &str = "AST0239";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let refused = context.written_ahead().filter_map(|(write, workload)| {
        let target = write.target;
        let of = workload.delivery.as_ref()?.template_of.as_ref()?;
        if !told.insert(target) {
            return None;
        }
        let message = format!("{target} takes its template from {of} (workloadRef), and has none of its own to write");
        let hint = format!(
            "`kubectl argo rollouts undo {} -n {} --to-revision={}` writes that revision's template into {of}; leave it out \
             of this rollback with --only for the others",
            target.name, target.namespace, write.to.number
        );
        Some(refuse(CODE, Some(target), message, hint))
    });
    refused.collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use astern_model::workload::Delivery;

    #[test]
    fn a_rollout_that_takes_its_template_from_elsewhere_is_refused() {
        let change = |fixture: &mut Fixture| {
            fixture.workload().delivery = Some(Delivery {
                template_of: Some("deployment/web".to_owned()),
                ..Delivery::default()
            });
        };
        let told = Fixture::messages(super::check, &change);
        assert_eq!(
            told,
            "deployment/api-gateway takes its template from deployment/web (workloadRef), and has none of its own to write"
        );
    }
}
