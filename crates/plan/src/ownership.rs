//! Who owns a place of an object, by its `metadata.managedFields`. Owns the reading of `fieldsV1`; knows nothing of what
//! stands at the place. Source: Kubernetes' API concepts, "Field management".

use astern_model::template::RESTARTED_AT;
use astern_model::workload::FieldManager;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

/// The manager that owns the place which `path` names below `root`, or an enclosing one as a whole; of several the one
/// that wrote last. `root` are plain field names (`spec`, `template`); `path` is that of a
/// [`astern_model::diff::Change`]: `containers[api].env[LOG_LEVEL]`.
pub(crate) fn owner(managed: &[Value], root: &[&str], path: &str) -> Option<FieldManager> {
    let path = path.strip_suffix(" (order)").unwrap_or(path);
    let steps: Vec<Step<'_>> = root
        .iter()
        .map(|name| Step::Field(name))
        .chain(steps(path))
        .collect();
    managed
        .iter()
        .filter(|entry| entry.get("subresource").and_then(Value::as_str) != Some("status"))
        .filter(|entry| entry.get("fieldsV1").is_some_and(|fields| owns(fields, &steps)))
        .map(manager)
        .max_by_key(|manager| manager.at)
}

/// What some managers own below a place, and nobody else does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Alone {
    /// The outermost of each: `spec.containers[api].env[TIER]`.
    pub(crate) places: BTreeSet<String>,
    /// Whether the mark of a restart is among it, which is no version and none of the places.
    pub(crate) restart: bool,
}

/// What these entries of `managedFields` own below `root`, and none of the others.
pub(crate) fn alone(own: &[&Value], others: &[&Value], root: &[&str]) -> Alone {
    let below = |entry: &&'_ Value| -> Option<Value> {
        let fields = entry.get("fieldsV1")?;
        root.iter()
            .try_fold(fields, |at, name| at.get(format!("f:{name}")))
            .cloned()
    };
    let others: Vec<Value> = others.iter().filter_map(below).collect();
    let others: Vec<&Value> = others.iter().collect();
    let mut found = Alone::default();
    for fields in own.iter().filter_map(below) {
        outermost(&fields, &others, "", &mut found);
    }
    found
}

fn outermost(fields: &Value, others: &[&Value], path: &str, found: &mut Alone) {
    for (key, inner) in fields.as_object().into_iter().flatten() {
        let shared: Vec<&Value> = others.iter().filter_map(|other| other.get(key)).collect();
        let path = match key.split_once(':') {
            Some(("f", name)) if path.is_empty() => name.to_owned(),
            Some(("f", name)) => format!("{path}.{name}"),
            Some(("k", keys)) => format!("{path}[{}]", first_value(keys)),
            // The mark of the place itself, and the entries of a set.
            _ => continue,
        };
        if !shared.is_empty() {
            outermost(inner, &shared, &path, found);
        } else if is_restart(key, inner) {
            found.restart = true;
        } else {
            found.places.insert(path);
        }
    }
}

/// The mark of a restart, which is no version; and the annotations, where it is the only one.
fn is_restart(key: &str, inner: &Value) -> bool {
    let is = |key: &str| key.strip_prefix("f:") == Some(RESTARTED_AT);
    let mut inside = inner
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .filter(|key| *key != ".")
        .peekable();
    is(key) || (inside.peek().is_some() && inside.all(|key| is(key)))
}

/// `{"name":"api"}` as `api`.
fn first_value(keys: &str) -> String {
    let keys: Value = serde_json::from_str(keys).unwrap_or_default();
    let first = keys.as_object().and_then(|keys| keys.values().next());
    first.map_or_else(String::new, |value| {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    /// A field of a structure.
    Field(&'a str),
    /// A key of a map, or the entry of a list that is known by this value.
    Entry(&'a str),
}

/// The steps of a path: names are parted by dots, entries stand in brackets.
fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']').unwrap_or(inside.len());
            steps.push(Step::Entry(&inside[..end]));
            rest = inside.get(end + 1..).unwrap_or_default();
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Field(&rest[..end]));
            rest = &rest[end..];
        }
    }
    steps
}

fn owns(fields: &Value, steps: &[Step<'_>]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return true;
    };
    let Some(map) = fields.as_object() else {
        return false;
    };
    // A leaf, but for the mark of the place itself: whoever owns it owns all below.
    if map.keys().all(|key| key == ".") {
        return true;
    }
    map.iter()
        .filter(|(key, _)| step.is(key))
        .any(|(_, inner)| owns(inner, rest))
}

impl Step<'_> {
    /// Whether a key of `fieldsV1` stands for it: `f:NAME`, `k:{"name":"NAME"}` or `v:"NAME"`.
    fn is(self, key: &str) -> bool {
        match self {
            Self::Field(name) => key.strip_prefix("f:") == Some(name),
            Self::Entry(name) => {
                key.strip_prefix("f:") == Some(name)
                    || key.strip_prefix("k:").is_some_and(|keys| names(keys, name))
                    || key
                        .strip_prefix("v:")
                        .and_then(|value| serde_json::from_str::<Value>(value).ok())
                        .is_some_and(|value| is_called(&value, name))
            }
        }
    }
}

fn names(keys: &str, name: &str) -> bool {
    let keys: Option<Value> = serde_json::from_str(keys).ok();
    keys.as_ref()
        .and_then(Value::as_object)
        .is_some_and(|keys| keys.values().any(|value| is_called(value, name)))
}

fn is_called(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Number(number) => number.to_string() == name,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn manager(entry: &Value) -> FieldManager {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    FieldManager {
        name: text("manager").to_owned(),
        operation: text("operation").to_owned(),
        at: text("time").parse::<Timestamp>().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn managed() -> Vec<Value> {
        vec![
            json!({"manager": "helm", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {
                "f:replicas": {},
                "f:template": {"f:metadata": {"f:annotations": {".": {}, "f:team.example/owner": {}}}, "f:spec": {
                    "f:containers": {"k:{\"name\":\"api\"}": {
                        ".": {}, "f:image": {}, "f:env": {".": {}, "k:{\"name\":\"MODE\"}": {".": {}, "f:name": {}, "f:value": {}}},
                        "f:ports": {"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    }},
                }},
            }}}),
            json!({"manager": "kubectl-set", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"api\"}": {"f:image": {}}}}},
            }}}),
            json!({"manager": "kubelet", "operation": "Update", "time": "2026-01-03T00:00:00Z", "subresource": "status",
                "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
        ]
    }

    #[test]
    fn the_manager_that_wrote_a_place_last_owns_it_and_status_is_nobodys_word() {
        let check = |root: &[&str], path: &str, expected: Option<&str>| {
            let found = owner(&managed(), root, path).map(|manager| manager.name);
            assert_eq!(found.as_deref(), expected, "{root:?} {path}");
        };
        let pod = &["spec", "template", "spec"];
        check(pod, "containers[api].image", Some("kubectl-set"));
        check(pod, "containers[api].env[MODE]", Some("helm"));
        check(pod, "containers[api].env[OTHER]", None);
        check(pod, "containers[api].ports[8080]", Some("helm"));
        check(pod, "containers[other].image", None);
        check(pod, "terminationGracePeriodSeconds", None);
        check(
            &["spec", "template"],
            "metadata.annotations[team.example/owner]",
            Some("helm"),
        );
        check(&["spec"], "replicas", Some("helm"));
    }
}
