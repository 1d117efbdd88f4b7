//! Which nodes the pods of a template may go to, as the scheduler and the DaemonSet controller decide it: node
//! selector, required node affinity, taints and tolerations. Owns no reading; room on a node is not its matter.

use astern_model::target::WorkloadKind;
use astern_model::template::Template;
use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};
use std::collections::BTreeMap;

/// The taint of a cordoned node. Source: `k8s.io/api/core/v1`, `TaintNodeUnschedulable`.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taints that the DaemonSet controller lets its pods tolerate. Source: its `AddOrUpdateDaemonPodTolerations`.
const BORNE_BY_DAEMONS: [&str; 6] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    UNSCHEDULABLE,
];

/// What of a node decides who may go there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ground {
    name: String,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
}

impl Ground {
    /// Reads a node. A cordoned one has its taint a moment later, and is taken to have it.
    pub(super) fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let mut taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        if spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
            taints.push(Taint {
                key: UNSCHEDULABLE.to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            });
        }
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints,
        }
    }
}

/// What a template demands and bears.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Placement {
    selector: BTreeMap<String, String>,
    /// Any of these; none where the template demands nothing.
    affinity: Option<Vec<NodeSelectorTerm>>,
    tolerations: Vec<Toleration>,
    daemon: bool,
}

impl Placement {
    /// Reads a template; none where it is not understood.
    pub(super) fn of(template: &Template, kind: WorkloadKind) -> Option<Self> {
        let spec = template.json().get("spec")?.clone();
        let spec: PodSpec = serde_json::from_value(spec).ok()?;
        let affinity = spec
            .affinity
            .and_then(|affinity| affinity.node_affinity)
            .and_then(|node| node.required_during_scheduling_ignored_during_execution)
            .map(|required| required.node_selector_terms);
        Some(Self {
            selector: spec.node_selector.unwrap_or_default(),
            affinity,
            tolerations: spec.tolerations.unwrap_or_default(),
            daemon: kind == WorkloadKind::DaemonSet,
        })
    }

    /// Whether the pods may go there.
    pub(super) fn allows(&self, node: &Ground) -> bool {
        let selected = self
            .selector
            .iter()
            .all(|(name, value)| node.labels.get(name) == Some(value));
        let near = self
            .affinity
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|term| fits(term, node)));
        selected && near && node.taints.iter().all(|taint| self.bears(taint))
    }

    fn bears(&self, taint: &Taint) -> bool {
        let hard = matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        !hard
            || (self.daemon && BORNE_BY_DAEMONS.contains(&taint.key.as_str()))
            || self
                .tolerations
                .iter()
                .any(|toleration| tolerates(toleration, taint))
    }
}

/// Source: `Toleration.ToleratesTaint`.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    let of_key = key.is_empty() || key == taint.key;
    let of_effect = effect.is_empty() || effect == taint.effect;
    let of_value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        Some("Equal" | "") | None => !key.is_empty() && value == taint.value.as_deref().unwrap_or_default(),
        Some(_) => false,
    };
    of_key && of_effect && of_value
}

/// A term that demands nothing fits no node. Source: the API's own word on `nodeSelectorTerms`.
fn fits(term: &NodeSelectorTerm, node: &Ground) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |key: &str| node.labels.get(key).map(String::as_str);
    let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|demand| meets(demand, label(&demand.key)))
        && fields.iter().all(|demand| meets(demand, field(&demand.key)))
}

fn meets(demand: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = demand.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let compared = number(value).zip(number(values.first().map(String::as_str)));
    match demand.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared.is_some_and(|(value, bound)| value > bound),
        "Lt" => compared.is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(kind: WorkloadKind, spec: &Value, node: &Value, expected: bool) {
        let placement = Placement::of(&Template::clean(json!({"spec": spec})), kind).unwrap();
        let node: Node = serde_json::from_value(node.clone()).unwrap();
        assert_eq!(
            placement.allows(&Ground::of(&node)),
            expected,
            "{spec} on {node:?}"
        );
    }

    fn pods(more: &Value) -> Value {
        let mut spec = json!({"containers": []});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    }

    #[test]
    fn a_tainted_node_takes_only_pods_that_bear_the_taint() {
        let kind = WorkloadKind::Deployment;
        let gpu = json!({"spec": {"taints": [{"key": "gpu", "value": "a100", "effect": "NoSchedule"}]}});
        let bears = |toleration: Value| pods(&json!({"tolerations": [toleration]}));
        check(kind, &pods(&json!({})), &gpu, false);
        check(kind, &bears(json!({"operator": "Exists"})), &gpu, true);
        check(kind, &bears(json!({"key": "gpu", "value": "a100"})), &gpu, true);
        check(kind, &bears(json!({"key": "gpu", "value": "h100"})), &gpu, false);
        check(
            kind,
            &bears(json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"})),
            &gpu,
            false,
        );
        let soft = json!({"spec": {"taints": [{"key": "gpu", "effect": "PreferNoSchedule"}]}});
        check(kind, &pods(&json!({})), &soft, true);
    }

    #[test]
    fn a_cordoned_node_takes_pods_of_daemonsets_only() {
        let cordoned = json!({"spec": {"unschedulable": true}});
        check(WorkloadKind::StatefulSet, &pods(&json!({})), &cordoned, false);
        check(WorkloadKind::DaemonSet, &pods(&json!({})), &cordoned, true);
    }

    #[test]
    fn required_node_affinity_and_the_node_selector_must_both_hold() {
        let kind = WorkloadKind::Deployment;
        let node = json!({"metadata": {"name": "n-1", "labels": {"zone": "a", "cores": "8"}}});
        let near = |terms: Value| {
            let required = json!({"nodeSelectorTerms": terms});
            let node = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
            pods(&json!({"affinity": {"nodeAffinity": node}}))
        };
        let term = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        check(kind, &near(json!([term("zone", "In", &["a", "b"])])), &node, true);
        check(kind, &near(json!([term("zone", "NotIn", &["a"])])), &node, false);
        check(
            kind,
            &near(json!([term("zone", "In", &["b"]), term("cores", "Gt", &["4"])])),
            &node,
            true,
        );
        check(kind, &near(json!([term("disk", "Exists", &[])])), &node, false);
        check(kind, &near(json!([{}])), &node, false);
        let by_name =
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n-1"]}]}]);
        check(kind, &near(by_name), &node, true);
        check(kind, &pods(&json!({"nodeSelector": {"zone": "a"}})), &node, true);
        check(kind, &pods(&json!({"nodeSelector": {"zone": "b"}})), &node, false);
    }
}
