//! AST0229: under server-side apply the pipeline's next apply conflicts with what astern writes. Named are the
//! manager, the field, and what that apply needs.

use super::warn;
use crate::context::Context;
use astern_model::finding::Finding;

pub(crate) const CODE: &str = "AST0229";

/// `operation` of a managedFields entry that server-side apply made.
const APPLY: &str = "Apply";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let managed = context
        .written_ahead()
        .filter_map(|(write, workload)| Some((write, workload.template_manager.as_ref()?)))
        .filter(|(_, manager)| manager.operation == APPLY);
    managed
        .map(|(write, manager)| {
            let message = format!(
                "spec.template of {} is managed by {} (server-side apply), whose next apply conflicts with field \
                 manager astern",
                write.target, manager.name
            );
            let hint = "let that apply take its fields back once: `kubectl apply --server-side --force-conflicts`, \
                        `helm upgrade --force-conflicts`";
            warn(CODE, Some(write.target), message, hint)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use astern_model::workload::FieldManager;

    #[test]
    fn the_manager_whose_next_apply_conflicts_is_named() {
        let check = |operation: &str, expected: &str| {
            let mut fixture = Fixture::sound();
            fixture.workload().template_manager = Some(FieldManager {
                name: "helm".to_owned(),
                operation: operation.to_owned(),
                at: None,
            });
            assert_eq!(fixture.told(super::check), expected);
        };
        check("Update", "");
        check(
            "Apply",
            "spec.template of deployment/api-gateway is managed by helm (server-side apply), whose next apply conflicts \
             with field manager astern",
        );
    }
}
