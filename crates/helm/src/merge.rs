//! The pod template that stands once Helm has merged a manifest into an object: a three-way strategic merge, as the API's own
//! types prescribe it for the lists of a pod. Pure; what the API server then adds by itself is its own to say.

use serde_json::{Map, Value};

/// The lists of a pod that are merged by a field of their entries; every other list is replaced whole.
/// Source: `patchMergeKey` in `staging/src/k8s.io/api/core/v1/types.go` of Kubernetes.
const MERGED_BY: [(&str, &str); 13] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("schedulingGates", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("env", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
];

/// Lists whose entries have one of several fields (a volume its source), so that what the manifest does not say goes too.
/// Source: `patchStrategy:"merge,retainKeys"` there.
const ONE_OF: [&str; 2] = ["volumes", "resourceClaims"];

/// What stands once `to` is applied where `from` was applied before and `live` stands now: what `to` says holds, what only `from`
/// said goes, and what neither says stays. Source: `CreateThreeWayMergePatch` of apimachinery's `strategicpatch`, which Helm calls.
pub(crate) fn merged(live: &Value, from: &Value, to: &Value) -> Value {
    in_field("", live, from, to)
}

fn in_field(field: &str, live: &Value, from: &Value, to: &Value) -> Value {
    match (live, to) {
        (Value::Object(live), Value::Object(to)) => Value::Object(map(live, from, to)),
        (Value::Array(live), Value::Array(to)) => {
            let by = MERGED_BY.iter().find(|(list, _)| *list == field);
            let merged = by.and_then(|(_, key)| list(field, key, live, from, to));
            Value::Array(merged.unwrap_or_else(|| to.clone()))
        }
        (_, to) => to.clone(),
    }
}

fn map(live: &Map<String, Value>, from: &Value, to: &Map<String, Value>) -> Map<String, Value> {
    let mut after = live.clone();
    after.retain(|key, _| from.get(key).is_none() || to.contains_key(key));
    for (key, said) in to {
        if said.is_null() {
            after.remove(key);
            continue;
        }
        let before = from.get(key).unwrap_or(&Value::Null);
        let merged = in_field(key, live.get(key).unwrap_or(&Value::Null), before, said);
        after.insert(key.clone(), merged);
    }
    after
}

/// The list merged by `key`; none where an entry lacks it.
fn list(field: &str, key: &str, live: &[Value], from: &Value, to: &[Value]) -> Option<Vec<Value>> {
    let is_named = |entry: &Value| entry.get(key).is_some_and(|name| !name.is_null());
    if !live.iter().chain(to).all(is_named) {
        return None;
    }
    let before = from.as_array().map_or(&[][..], Vec::as_slice);
    let of =
        |entries: &'_ [Value], name: &Value| entries.iter().position(|entry| entry.get(key) == Some(name));
    let said = to.iter().map(|said| {
        let name = &said[key];
        let Some(place) = of(live, name) else {
            return (None, said.clone());
        };
        let before = of(before, name).map_or(&Value::Null, |place| &before[place]);
        let mut merged = in_field("", &live[place], before, said);
        if ONE_OF.contains(&field)
            && let (Some(entry), Some(said)) = (merged.as_object_mut(), said.as_object())
        {
            entry.retain(|key, _| said.contains_key(key));
        }
        (Some(place), merged)
    });
    let mut of_others = live.iter().enumerate().filter(|(_, entry)| {
        let name = &entry[key];
        of(to, name).is_none() && of(before, name).is_none()
    });
    // Entries that nobody's manifest knows keep their place among those that stood before.
    let mut after = Vec::new();
    let mut other = of_others.next();
    for (place, merged) in said {
        while let (Some((stood, entry)), Some(place)) = (other, place)
            && stood < place
        {
            after.push(entry.clone());
            other = of_others.next();
        }
        after.push(merged);
    }
    after.extend(other.into_iter().chain(of_others).map(|(_, entry)| entry.clone()));
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_merged_as_helm_merges_it_with_what_somebody_set_by_hand() {
        let check = |live: Value, from: Value, to: Value, expected: Value| {
            assert_eq!(merged(&live, &from, &to), expected);
        };
        // What the manifest says holds, what only the former one said goes, what somebody set stays, and so do defaults.
        check(
            json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now", "new": "x", "team": "shop"}}),
            json!({"annotations": {"new": "x", "team": "shop"}}),
            json!({"annotations": {"team": "shop"}}),
            json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now", "team": "shop"}}),
        );
        check(
            json!({"dnsPolicy": "ClusterFirst", "containers": [{"name": "api", "image": "api:v2", "imagePullPolicy": "Always", "tty": true,
                "env": [{"name": "MINE", "value": "1"}, {"name": "LEVEL", "value": "v2"}, {"name": "NEW", "value": "x"}]}]}),
            json!({"containers": [{"name": "api", "image": "api:v2", "tty": true,
                "env": [{"name": "LEVEL", "value": "v2"}, {"name": "NEW", "value": "x"}]}]}),
            json!({"containers": [{"name": "api", "image": "api:v1",
                "env": [{"name": "LEVEL", "value": "v1"}, {"name": "OLD", "value": "x"}]}]}),
            json!({"dnsPolicy": "ClusterFirst", "containers": [{"name": "api", "image": "api:v1", "imagePullPolicy": "Always",
                "env": [{"name": "MINE", "value": "1"}, {"name": "LEVEL", "value": "v1"}, {"name": "OLD", "value": "x"}]}]}),
        );
        // A map that only the former manifest has goes whole, with what somebody set in it.
        check(
            json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now", "new": "x"}}),
            json!({"annotations": {"new": "x"}}),
            json!({}),
            json!({}),
        );
    }

    #[test]
    fn entries_are_merged_by_their_key_and_other_lists_are_replaced() {
        let check = |field: &str, live: Value, from: Value, to: Value, expected: Value| {
            let of = |list: Value| json!({field: list});
            assert_eq!(merged(&of(live), &of(from), &of(to)), of(expected), "{field}");
        };
        // A sidecar of somebody's stays at its place; a container that came with the former manifest goes.
        check(
            "containers",
            json!([{"name": "a"}, {"name": "proxy"}, {"name": "b"}, {"name": "new"}]),
            json!([{"name": "a"}, {"name": "b"}, {"name": "new"}]),
            json!([{"name": "b", "x": 1}, {"name": "c"}]),
            json!([{"name": "proxy"}, {"name": "b", "x": 1}, {"name": "c"}]),
        );
        // A volume has one source.
        check(
            "volumes",
            json!([{"name": "v", "hostPath": {"path": "/by-hand"}}]),
            json!([{"name": "v", "configMap": {"name": "c"}}]),
            json!([{"name": "v", "emptyDir": {}}]),
            json!([{"name": "v", "emptyDir": {}}]),
        );
        let tolerations = json!([{"key": "a"}]);
        check(
            "tolerations",
            json!([{"key": "mine"}]),
            json!([]),
            tolerations.clone(),
            tolerations,
        );
        check(
            "ports",
            json!([{"containerPort": 80, "protocol": "TCP"}]),
            json!([]),
            json!([{"containerPort": 80}]),
            json!([{"containerPort": 80, "protocol": "TCP"}]),
        );
    }
}
