//! A manifest, which says no defaults, held against an object of the cluster, which has them: whether the object says what
//! the manifest says, and what the object is once the manifest is applied.

use crate::diff::keyed;
use serde_json::{Map, Value};

/// Whether everything that the manifest says is there. The server drops what is empty, and writes quantities its own way.
pub(crate) fn holds(whole: &Value, manifest: &Value) -> bool {
    match (whole, manifest) {
        (Value::Object(whole), Value::Object(said)) => said.iter().all(|(key, said)| match whole.get(key) {
            Some(whole) => holds(whole, said),
            None => is_empty(said),
        }),
        (Value::Array(whole), Value::Array(said)) => {
            whole.len() == said.len() && whole.iter().zip(said).all(|(whole, said)| holds(whole, said))
        }
        _ => whole == manifest || same_quantity(whole, manifest),
    }
}

/// The object once `to` is applied to it after `from` was, as Helm merges the three: what `to` says holds, what only
/// `from` said goes, and all else stays. `field` is the name under which it stands.
pub(crate) fn applied(field: &str, live: &Value, from: &Value, to: &Value) -> Value {
    match (live, to) {
        (Value::Object(live), Value::Object(said)) => {
            let none = Map::new();
            let before = from.as_object().unwrap_or(&none);
            let mut after = live.clone();
            after.retain(|key, _| said.contains_key(key) || !before.contains_key(key));
            for (key, said) in said {
                let before = before.get(key).unwrap_or(&Value::Null);
                match live.get(key) {
                    Some(live) => after.insert(key.clone(), applied(key, live, before, said)),
                    None if is_empty(said) => None,
                    None => after.insert(key.clone(), said.clone()),
                };
            }
            Value::Object(after)
        }
        (Value::Array(entries), Value::Array(said)) => Value::Array(list(field, entries, from, said)),
        (live, said) if holds(live, said) => live.clone(),
        (_, said) => said.clone(),
    }
}

/// Entries with names are merged by them, those of lists of the same length by their places; any other list is replaced.
fn list(field: &str, live: &[Value], from: &Value, said: &[Value]) -> Vec<Value> {
    if let Some((_, by_name, named)) = keyed(field, live, said) {
        let entry = |(name, said): (String, &Value)| match by_name.iter().find(|(other, _)| *other == name) {
            Some((_, live)) => applied("", live, &Value::Null, said),
            None => said.clone(),
        };
        return named.into_iter().map(entry).collect();
    }
    if live.len() == said.len() {
        let before = |place: usize| from.get(place).unwrap_or(&Value::Null);
        let pairs = live.iter().zip(said).enumerate();
        return pairs
            .map(|(place, (live, said))| applied("", live, before(place), said))
            .collect();
    }
    said.to_vec()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

/// `0.5` and `500m`, `1024Mi` and `1Gi`.
fn same_quantity(one: &Value, other: &Value) -> bool {
    matches!((quantity(one), quantity(other)), (Some(a), Some(b)) if a == b)
}

/// A quantity in thousandths. Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
fn quantity(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let thousandths: i128 = match unit {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let scaled = whole.checked_mul(scale)?.checked_add(fraction)?;
    Some(scaled.checked_mul(thousandths)? / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_is_found_in_a_template_with_defaults_and_quantities_as_the_server_writes_them() {
        let check = |whole: Value, manifest: Value, expected: bool| {
            assert_eq!(holds(&whole, &manifest), expected, "{whole} {manifest}");
        };
        let live = json!({"spec": {
            "containers": [{"name": "api", "image": "api:v1", "imagePullPolicy": "IfNotPresent",
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}],
            "restartPolicy": "Always",
        }});
        let said = |image: &str, cpu: Value| {
            json!({"metadata": {"annotations": null}, "spec": {"volumes": [], "containers": [
                {"name": "api", "image": image, "resources": {"requests": {"cpu": cpu, "memory": "1024Mi"}}}]}})
        };
        check(live.clone(), said("api:v1", json!("0.5")), true);
        check(live.clone(), said("api:v1", json!(0.5)), true);
        check(live.clone(), said("api:v1", json!("501m")), false);
        check(live.clone(), said("api:v2", json!("0.5")), false);
        check(live, json!({"spec": {"containers": []}}), false);
        check(json!({"a": 1}), json!({"a": 1, "b": "x"}), false);
    }

    #[test]
    fn a_manifest_is_applied_as_helm_merges_it_with_what_stands() {
        let check = |live: Value, from: Value, to: Value, expected: Value| {
            assert_eq!(applied("spec", &live, &from, &to), expected);
        };
        // What it says holds, also over somebody's hand; what only the former one said goes; all else stays.
        check(
            json!({"replicas": 5, "paused": true, "minReadySeconds": 3, "strategy": {"type": "RollingUpdate"}}),
            json!({"replicas": 2, "minReadySeconds": 3}),
            json!({"replicas": 2}),
            json!({"replicas": 2, "paused": true, "strategy": {"type": "RollingUpdate"}}),
        );
        // Entries with names keep the defaults that the server gave them.
        check(
            json!({"ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "extra", "port": 9}]}),
            json!({"ports": [{"name": "http", "port": 80}]}),
            json!({"ports": [{"name": "http", "port": 81}, {"name": "grpc", "port": 90}]}),
            json!({"ports": [{"name": "http", "port": 81, "protocol": "TCP"}, {"name": "grpc", "port": 90}]}),
        );
        // Quantities as the server writes them are the same.
        check(
            json!({"cpu": "500m"}),
            json!({}),
            json!({"cpu": "0.5", "labels": {}}),
            json!({"cpu": "500m"}),
        );
    }
}
