//! How workloads stand, as far as a run must leave it or put it back: what the pins hold, counts, and annotations of others.

use astern_model::inventory::Inventory;
use astern_model::target::Target;
use astern_model::workload::Workload;
use std::collections::BTreeMap;

/// Annotations that controllers renumber and that say nothing of who wrote what.
const CONTROLLERS_OWN: &str = "deployment.kubernetes.io/";
/// Annotations of ours.
const OURS: &str = "astern.dev/";

/// What must be as before, by workload.
pub(crate) type Standing = BTreeMap<Target, BTreeMap<&'static str, String>>;

/// How the workloads of a namespace stand.
pub(crate) fn standing(inventory: &Inventory) -> Standing {
    let of = |workload: &Workload| {
        let annotations: BTreeMap<&String, &String> = workload
            .annotations
            .iter()
            .filter(|(name, _)| !name.starts_with(CONTROLLERS_OWN) && !name.starts_with(OURS))
            .collect();
        BTreeMap::from([
            ("uid", workload.uid.to_string()),
            ("template", workload.template.hash().to_string()),
            ("strategy", format!("{:?}", workload.strategy)),
            ("paused", workload.paused.to_string()),
            ("count", workload.desired.to_string()),
            ("annotations", format!("{annotations:?}")),
        ])
    };
    inventory
        .workloads
        .iter()
        .map(|(target, workload)| (target.clone(), of(workload)))
        .collect()
}

/// What differs, a phrase each. Values are not told: annotations may hold anything.
pub(crate) fn differs(before: &Standing, after: &Standing) -> Vec<String> {
    let mut told = Vec::new();
    for (target, was) in before {
        let Some(is) = after.get(target) else {
            told.push(format!("{target} is gone"));
            continue;
        };
        let other: Vec<&str> = was
            .iter()
            .filter(|(name, value)| is.get(*name) != Some(value))
            .map(|(name, _)| *name)
            .collect();
        if !other.is_empty() {
            told.push(format!("{target} has another {}", other.join(", ")));
        }
    }
    told.extend(
        after
            .keys()
            .filter(|target| !before.contains_key(target))
            .map(|target| format!("{target} is new")),
    );
    told
}
