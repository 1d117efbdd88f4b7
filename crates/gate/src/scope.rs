//! Which pods a quota counts, by its scopes. Source: Kubernetes' `podMatchesScopeFunc`. Decides nothing.

use astern_model::inventory::{Quota, Scope};
use astern_model::template::Template;
use serde_json::Value;

/// Whether the quota counts a pod of this template: all of its scopes take it.
pub(crate) fn counts(quota: &Quota, template: &Template) -> bool {
    quota.scopes.iter().all(|scope| takes(scope, template))
}

fn takes(scope: &Scope, template: &Template) -> bool {
    let spec = template.json().get("spec").unwrap_or(&Value::Null);
    match scope.name.as_str() {
        "Terminating" => terminates(spec),
        "NotTerminating" => !terminates(spec),
        "BestEffort" => is_best_effort(template, spec),
        "NotBestEffort" => !is_best_effort(template, spec),
        "PriorityClass" => selects(scope, spec.get("priorityClassName").and_then(Value::as_str)),
        "CrossNamespacePodAffinity" => has_affinity_elsewhere(spec),
        // The other scopes are not about pods.
        _ => false,
    }
}

fn terminates(spec: &Value) -> bool {
    spec.get("activeDeadlineSeconds").is_some_and(Value::is_number)
}

/// No container, nor the pod itself, asks for or is held to any CPU or memory.
fn is_best_effort(template: &Template, spec: &Value) -> bool {
    let stated = |resources: Option<&Value>| {
        ["requests", "limits"].iter().any(|kind| {
            let amounts = resources.and_then(|resources| resources.get(kind));
            ["cpu", "memory"].iter().any(|name| {
                let amount = amounts.and_then(|amounts| amounts.get(name));
                amount.is_some_and(|amount| amount != "0" && *amount != 0)
            })
        })
    };
    let containers = template.containers();
    !stated(spec.get("resources"))
        && !containers
            .iter()
            .any(|container| stated(container.json.get("resources")))
}

/// As a label selector compares: a pod without a class has no value at all.
fn selects(scope: &Scope, class: Option<&str>) -> bool {
    let class = class.filter(|class| !class.is_empty());
    let listed = class.is_some_and(|class| scope.values.iter().any(|value| value == class));
    match scope.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        _ => false,
    }
}

/// Whether a term of pod affinity or anti-affinity looks into namespaces by name or by selector.
fn has_affinity_elsewhere(spec: &Value) -> bool {
    let terms = |kind: &str| {
        let all = spec.pointer(&format!("/affinity/{kind}"));
        let list = |name: &str| {
            let terms = all.and_then(|all| all.get(name)).and_then(Value::as_array);
            terms.cloned().unwrap_or_default()
        };
        let preferred = list("preferredDuringSchedulingIgnoredDuringExecution");
        let preferred = preferred
            .into_iter()
            .filter_map(|weighed| weighed.get("podAffinityTerm").cloned());
        list("requiredDuringSchedulingIgnoredDuringExecution")
            .into_iter()
            .chain(preferred)
            .collect::<Vec<_>>()
    };
    let elsewhere = |term: &Value| {
        let named = term.get("namespaces").and_then(Value::as_array);
        named.is_some_and(|names| !names.is_empty())
            || term.get("namespaceSelector").is_some_and(Value::is_object)
    };
    ["podAffinity", "podAntiAffinity"]
        .iter()
        .any(|kind| terms(kind).iter().any(elsewhere))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(name: &str, operator: &str, values: &[&str], spec: &Value, expected: bool) {
        let quota = Quota {
            name: "team".to_owned(),
            hard: [].into(),
            used: [].into(),
            scopes: vec![Scope {
                name: name.to_owned(),
                operator: operator.to_owned(),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }],
        };
        let template = Template::clean(json!({"spec": spec}));
        assert_eq!(
            counts(&quota, &template),
            expected,
            "{name} {operator} {values:?} on {spec}"
        );
    }

    #[test]
    fn a_quota_counts_only_the_pods_that_its_scopes_take() {
        let bare = json!({"containers": [{"name": "api"}]});
        let cpu = |amount: &str| json!({"containers": [{"name": "api", "resources": {"requests": {"cpu": amount}}}]});
        check("Terminating", "Exists", &[], &bare, false);
        check("NotTerminating", "Exists", &[], &bare, true);
        check(
            "Terminating",
            "Exists",
            &[],
            &json!({"activeDeadlineSeconds": 60}),
            true,
        );
        check("BestEffort", "Exists", &[], &bare, true);
        check("BestEffort", "Exists", &[], &cpu("0"), true);
        check("BestEffort", "Exists", &[], &cpu("100m"), false);
        check("NotBestEffort", "Exists", &[], &cpu("100m"), true);
        let high = json!({"priorityClassName": "high"});
        check("PriorityClass", "In", &["high"], &high, true);
        check("PriorityClass", "In", &["low"], &high, false);
        check("PriorityClass", "In", &["high"], &bare, false);
        check("PriorityClass", "NotIn", &["high"], &bare, true);
        check("PriorityClass", "Exists", &[], &high, true);
        check("PriorityClass", "DoesNotExist", &[], &bare, true);
        let affine = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "namespaces": ["other"]}]}}});
        check("CrossNamespacePodAffinity", "Exists", &[], &affine, true);
        check("CrossNamespacePodAffinity", "Exists", &[], &bare, false);
        check("VolumeAttributesClass", "Exists", &[], &bare, false);
    }
}
