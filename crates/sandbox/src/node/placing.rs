//! Whether a node takes a pod: labels, affinity to nodes, taints. Affinity between pods and topology spread are not looked
//! at. Decides nothing else.

use crate::object::{flag, get, list, set, text};
use crate::quantity::Quantity;
use serde_json::{Value, json};

/// Why a node does not take a pod, as the scheduler words it.
pub(crate) fn objection(node: &Value, pod: &Value) -> Option<String> {
    if pinned_to(pod).is_some_and(|pinned| pinned != text(node, "metadata.name")) {
        return Some("node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned());
    }
    if flag(node, "spec.unschedulable") && !tolerates(pod, &unschedulable()) {
        return Some("node(s) were unschedulable".to_owned());
    }
    if let Some(taint) = untolerated(node, pod, &["NoSchedule", "NoExecute"]) {
        let value = text(taint, "value");
        return Some(format!(
            "node(s) had untolerated taint {{{}: {value}}}",
            text(taint, "key")
        ));
    }
    (!selected(node, pod)).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

/// Whether a DaemonSet is to have a pod on a node. Its template already tolerates what daemons tolerate.
pub(crate) fn takes_daemon(node: &Value, template: &Value) -> bool {
    let cordoned = flag(node, "spec.unschedulable") && !tolerates(template, &unschedulable());
    !cordoned
        && untolerated(node, template, &["NoSchedule", "NoExecute"]).is_none()
        && selected(node, template)
}

/// What a node has for pods, of one resource.
pub(crate) fn allocatable(node: &Value, resource: &str) -> Quantity {
    get(node, "status.allocatable")
        .and_then(|allocatable| allocatable.get(resource))
        .and_then(Quantity::of)
        .unwrap_or(Quantity::ZERO)
}

const PIN: &str =
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

/// Lets a pod go to one node only, as a DaemonSet's pods do.
pub(crate) fn pin(pod: &mut Value, node: &str) {
    let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
    set(pod, PIN, terms);
}

/// The node that a pod is pinned to.
pub(crate) fn pinned_to(pod: &Value) -> Option<&str> {
    let term = list(pod, PIN).first()?;
    list(term, "matchFields").first()?["values"][0].as_str()
}

fn unschedulable() -> Value {
    json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
}

fn untolerated<'a>(node: &'a Value, pod: &Value, effects: &[&str]) -> Option<&'a Value> {
    list(node, "spec.taints")
        .iter()
        .find(|taint| effects.contains(&text(taint, "effect")) && !tolerates(pod, taint))
}

fn tolerates(pod: &Value, taint: &Value) -> bool {
    list(pod, "spec.tolerations").iter().any(|toleration| {
        let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
        let value =
            text(toleration, "operator") == "Exists" || text(toleration, "value") == text(taint, "value");
        (key.is_empty() || key == text(taint, "key"))
            && (effect.is_empty() || effect == text(taint, "effect"))
            && value
    })
}

fn selected(node: &Value, pod: &Value) -> bool {
    let labels = |key: &str| {
        get(node, "metadata.labels")
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    };
    let by_selector = get(pod, "spec.nodeSelector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| labels(key) == value.as_str());
    let terms = list(pod, PIN);
    let fits = |term: &Value| {
        let by_labels = list(term, "matchExpressions")
            .iter()
            .all(|each| expression(each, labels(text(each, "key"))));
        let by_fields = list(term, "matchFields")
            .iter()
            .all(|each| expression(each, Some(text(node, "metadata.name"))));
        by_labels && by_fields
    };
    by_selector && (terms.is_empty() || terms.iter().any(fits))
}

fn expression(expression: &Value, found: Option<&str>) -> bool {
    let values = list(expression, "values");
    let among = || found.is_some_and(|found| values.iter().any(|value| value == found));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let bound = || number(values.first().and_then(Value::as_str));
    match text(expression, "operator") {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => number(found) > bound(),
        "Lt" => number(found).is_some() && number(found) < bound(),
        _ => false,
    }
}
