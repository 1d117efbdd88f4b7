//! AST0226: a node drain that goes on is said: pods are moved meanwhile, and there is less room.

use super::{some, warn};
use crate::context::Context;
use astern_model::finding::Finding;
use std::collections::BTreeSet;

pub(crate) const CODE: &str = "AST0226";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let nodes = &context.inventory.cordoned_nodes;
    let workloads = context.changed_ahead();
    if nodes.is_empty() || workloads.is_empty() {
        return Vec::new();
    }
    let cordoned: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
    let on_them = workloads
        .values()
        .flat_map(|workload| &workload.pods)
        .filter(|pod| pod.node.as_deref().is_some_and(|node| cordoned.contains(node)))
        .count();
    let message = format!(
        "nodes take no new pods (cordoned; pods of this plan on them: {on_them}): {}",
        some(nodes)
    );
    let hint = "if a drain goes on, let it end first, or end it: `kubectl uncordon NODE`";
    vec![warn(CODE, None, message, hint)]
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, pod};

    #[test]
    fn cordoned_nodes_are_named() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.inventory.cordoned_nodes = vec!["node-1".to_owned(), "node-2".to_owned()],
            "nodes take no new pods (cordoned; pods of this plan on them: 0): node-1, node-2",
        );
        check(
            &|f| {
                f.workload().pods = vec![pod("api-1", None, "registry.test/api:v1.2.4")];
                f.inventory.cordoned_nodes = vec!["node-9".to_owned()];
            },
            "nodes take no new pods (cordoned; pods of this plan on them: 1): node-9",
        );
    }
}
