//! How workloads stand, and ConfigMaps and Secrets that a plan writes, as far as a run must leave it or put it back: what the pins
//! hold, counts, and labels and annotations of others.

use astern_model::config::content;
use astern_model::id::sha256;
use astern_model::inventory::Inventory;
use astern_model::plan::Plan;
use astern_model::step::config;
use astern_model::template::canonical;
use astern_model::workload::Workload;
use astern_port::config::ConfigObject;
use serde_json::Value;
use std::collections::BTreeMap;

/// Annotations that the API server and controllers count up, and nobody can set back.
/// Sources: `kubernetes/pkg/controller/deployment/util`, and the DaemonSet's registry strategy.
const COUNTED: [&str; 2] = [
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
];
/// Annotations of ours.
const OURS: &str = "astern.dev/";

/// What must be as before, by object: `deployment/api`.
pub(crate) type Standing = BTreeMap<String, BTreeMap<&'static str, String>>;

/// How the workloads of a namespace stand, and of its ConfigMaps and Secrets those that the plan writes.
pub(crate) fn standing(plan: &Plan, inventory: &Inventory, config: &[ConfigObject]) -> Standing {
    let mut standing = workloads(inventory);
    for spec in plan.steps.iter().filter_map(|step| step.spec.config()) {
        let found = config.iter().find(|object| &object.name == spec.object());
        standing.extend(found.map(|object| (object.name.to_string(), held(spec, object))));
    }
    standing
}

/// One that the plan makes has another uid each time.
fn held(spec: &config::Spec, object: &ConfigObject) -> BTreeMap<&'static str, String> {
    let metadata = |field: &str| object.json.pointer(field).map(canonical).unwrap_or_default();
    let mut annotations = object
        .json
        .pointer("/metadata/annotations")
        .cloned()
        .unwrap_or_default();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|name, _| !name.starts_with(OURS));
    }
    let uid = match spec {
        config::Spec::Restore { .. } | config::Spec::Repin { .. } | config::Spec::AwaitDrawn { .. } => {
            object.uid.to_string()
        }
        config::Spec::Create { .. } => String::new(),
    };
    BTreeMap::from([
        ("uid", uid),
        ("content", sha256(canonical(&content(&object.json)).as_bytes())),
        ("labels", metadata("/metadata/labels")),
        (
            "annotations",
            if annotations == Value::Null {
                String::from("{}")
            } else {
                canonical(&annotations)
            },
        ),
    ])
}

fn workloads(inventory: &Inventory) -> Standing {
    let of = |workload: &Workload| {
        let annotations: BTreeMap<&String, &String> = workload
            .annotations
            .iter()
            .filter(|(name, _)| !name.starts_with(OURS) && !COUNTED.iter().any(|one| name.starts_with(one)))
            .collect();
        BTreeMap::from([
            ("uid", workload.uid.to_string()),
            ("template", workload.template.hash().to_string()),
            ("strategy", format!("{:?}", workload.strategy)),
            ("paused", workload.paused.to_string()),
            ("count", count(workload)),
            ("annotations", format!("{annotations:?}")),
        ])
    };
    inventory
        .workloads
        .iter()
        .map(|(target, workload)| (target.to_string(), of(workload)))
        .collect()
}

/// Within its bounds the count is its autoscaler's, which goes on meanwhile.
fn count(workload: &Workload) -> String {
    match &workload.autoscaler {
        Some(scaler) if (scaler.min..=scaler.max).contains(&workload.desired) => scaler.name.clone(),
        _ => workload.desired.to_string(),
    }
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
            told.push(format!("{target} differs in {}", other.join(", ")));
        }
    }
    told.extend(
        after
            .keys()
            .filter(|target| !before.contains_key(*target))
            .map(|target| format!("{target} is new")),
    );
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_its_value_is_not() {
        let target = |name: &str| format!("deployment/{name}");
        let stands =
            |paused: &str| BTreeMap::from([("paused", paused.to_owned()), ("count", "3".to_owned())]);
        let before = Standing::from([(target("api"), stands("false")), (target("web"), stands("false"))]);
        assert!(differs(&before, &before.clone()).is_empty());
        let after = Standing::from([(target("api"), stands("true")), (target("new"), stands("false"))]);
        assert_eq!(
            differs(&before, &after),
            [
                "deployment/api differs in paused",
                "deployment/web is gone",
                "deployment/new is new"
            ]
        );
    }
}
