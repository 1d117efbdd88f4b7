//! Strategic merge patches of built-in kinds. Owns the merge keys, as data, and the directives; a directive that is not
//! known is refused.

use super::status::{Outcome, Refusal};
use crate::object::{Name, text};
use serde_json::{Map, Value};

/// How a list is merged.
enum Merge {
    /// By a field of its items.
    By(&'static str),
    /// As a set of plain values.
    Set,
    /// Not: the patch's list replaces it.
    Replace,
}

fn merge_of(above: &str, field: &str) -> Merge {
    let in_container = matches!(above, "containers" | "initContainers" | "ephemeralContainers");
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "schedulingGates"
        | "resourceClaims"
        | "secrets" => Merge::By("name"),
        "ports" if in_container => Merge::By("containerPort"),
        "ports" => Merge::By("port"),
        "volumeMounts" => Merge::By("mountPath"),
        "volumeDevices" => Merge::By("devicePath"),
        "hostAliases" | "podIPs" | "hostIPs" => Merge::By("ip"),
        "topologySpreadConstraints" => Merge::By("topologyKey"),
        "conditions" | "addresses" => Merge::By("type"),
        "ownerReferences" => Merge::By("uid"),
        "finalizers" | "podCIDRs" => Merge::Set,
        _ => Merge::Replace,
    }
}

const ORDER: &str = "$setElementOrder/";
const DELETE_PLAIN: &str = "$deleteFromPrimitiveList/";

/// Merges a patch into an object.
pub(crate) fn merge(object: &mut Value, patch: &Value) -> Outcome<()> {
    let patch = patch
        .as_object()
        .ok_or_else(|| Refusal::bad_request("a strategic merge patch is a JSON object"))?;
    merge_map(object, patch, "")
}

fn merge_map(into: &mut Value, patch: &Map<String, Value>, above: &str) -> Outcome<()> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove("$patch");
            *into = Value::Object(whole);
            return Ok(());
        }
        Some("delete") => {
            *into = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            let map = as_go(&Value::Object(patch.clone()));
            return Err(Refusal::internal(format!(
                "unknown patch type: {other} in map: {map}"
            )));
        }
    }
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(map) = into.as_object_mut() else {
        return Ok(());
    };
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|key, _| kept.iter().any(|each| each == key.as_str()));
    }
    let before = map.clone();
    for (field, change) in patch {
        if field == "$patch" || field == "$retainKeys" || field.starts_with(ORDER) {
            continue;
        }
        if let Some(field) = field.strip_prefix(DELETE_PLAIN) {
            let gone = change.as_array().cloned().unwrap_or_default();
            if let Some(items) = map.get_mut(field).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if field.starts_with('$') {
            return Err(unknown(field));
        }
        match change {
            Value::Null => _ = map.remove(field),
            // What is nothing yet is not replaced with anything: so a real server has it.
            Value::Object(change) if change.contains_key("$patch") && !map.contains_key(field) => {}
            Value::Object(change) => {
                let old = map.entry(field.as_str()).or_insert(Value::Null);
                merge_map(old, change, field)?;
            }
            Value::Array(change) => {
                let old = map
                    .entry(field.as_str())
                    .or_insert_with(|| Value::Array(Vec::new()));
                merge_list(old, change, above, field)?;
            }
            plain => _ = map.insert(field.clone(), plain.clone()),
        }
    }
    for (field, order) in patch {
        if let Some(field) = field.strip_prefix(ORDER)
            && let (Some(items), Some(order)) =
                (map.get_mut(field).and_then(Value::as_array_mut), order.as_array())
        {
            let before = before.get(field).and_then(Value::as_array);
            reorder(items, order, before.map_or(&[], Vec::as_slice), above, field);
        }
    }
    Ok(())
}

fn merge_list(into: &mut Value, patch: &[Value], above: &str, field: &str) -> Outcome<()> {
    let replaces = |item: &Value| text(item, "$patch") == "replace";
    let by = merge_of(above, field);
    if patch.iter().any(replaces) {
        *into = patch.iter().filter(|item| !replaces(item)).cloned().collect();
        return Ok(());
    }
    let Some(items) = into.as_array_mut() else {
        *into = Value::Array(patch.to_vec());
        return Ok(());
    };
    let before = items.clone();
    match &by {
        Merge::Replace => *items = patch.to_vec(),
        Merge::Set => {
            for item in patch {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        Merge::By(key) => {
            for item in patch {
                let Some(change) = item.as_object() else {
                    return Err(Refusal::bad_request(format!(
                        "{field}: items are merged by {key}, and one is no object"
                    )));
                };
                let Some(wanted) = change.get(*key) else {
                    return Err(Refusal::internal(format!(
                        "map: {} does not contain declared merge key: {key}",
                        as_go(item)
                    )));
                };
                let place = items.iter().position(|each| each.get(*key) == Some(wanted));
                match (place, text(item, "$patch")) {
                    (Some(place), "delete") => _ = items.remove(place),
                    (None, "delete") => {}
                    (Some(place), _) => merge_map(&mut items[place], change, field)?,
                    (None, _) => {
                        let mut new = Value::Object(Map::new());
                        merge_map(&mut new, change, field)?;
                        items.push(new);
                    }
                }
            }
        }
    }
    if !matches!(by, Merge::Replace) {
        reorder(items, patch, &before, above, field);
    }
    Ok(())
}

/// Sorts the items that the patch knows as the patch says; those that only the server knows stay between the
/// neighbours that they had before.
fn reorder(items: &mut Vec<Value>, order: &[Value], before: &[Value], above: &str, field: &str) {
    let identity = |item: &Value| match merge_of(above, field) {
        Merge::By(key) => item.get(key).cloned().unwrap_or_default(),
        Merge::Set | Merge::Replace => item.clone(),
    };
    let order: Vec<Value> = order.iter().map(identity).collect();
    let rank = |item: &Value| order.iter().position(|each| *each == identity(item));
    let before: Vec<Value> = before.iter().map(identity).collect();
    let place = |item: &Value| before.iter().position(|each| *each == identity(item));
    let (mut known, only_here): (Vec<Value>, Vec<Value>) = std::mem::take(items)
        .into_iter()
        .partition(|item| rank(item).is_some());
    known.sort_by_key(rank);
    let mut known = known.into_iter().peekable();
    for item in only_here {
        while known.peek().is_some_and(|next| place(next) < place(&item)) {
            items.extend(known.next());
        }
        items.push(item);
    }
    items.extend(known);
}

/// A value as the real server's words show it: `map[a:1 b:[2 3]]`.
fn as_go(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", as_go(value)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(as_go).collect();
            format!("[{}]", items.join(" "))
        }
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        plain => plain.to_string(),
    }
}

fn unknown(directive: &str) -> Refusal {
    let directive: Name = directive.into();
    Refusal::bad_request(format!(
        "the sandbox does not know the strategic merge directive {directive:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut object: Value, patch: Value, expected: Value) {
        merge(&mut object, &patch).unwrap();
        assert_eq!(object, expected);
    }

    #[test]
    fn containers_and_their_env_are_merged_by_name() {
        let object = json!({"spec": {"containers": [
            {"name": "web", "image": "web:v1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"name": "sidecar", "image": "s:v1"},
        ]}});
        let patch = json!({"spec": {"containers": [
            {"name": "web", "image": "web:v2", "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}]},
            {"name": "new", "image": "n:v1"},
        ]}});
        let expected = json!({"spec": {"containers": [
            {"name": "web", "image": "web:v2", "env": [{"name": "B", "value": "3"}]},
            {"name": "new", "image": "n:v1"},
            {"name": "sidecar", "image": "s:v1"},
        ]}});
        check(object, patch, expected);
    }

    #[test]
    fn the_patch_orders_what_it_knows_and_the_rest_stays_in_its_place() {
        let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Value>();
        check(
            json!({"volumes": named(&["a", "server", "b"])}),
            json!({"$setElementOrder/volumes": named(&["b", "a", "c"]), "volumes": named(&["c"])}),
            json!({"volumes": named(&["server", "b", "a", "c"])}),
        );
    }

    #[test]
    fn directives_replace_keep_and_take_away() {
        check(
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}),
            json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}),
            json!({"strategy": {"type": "Recreate"}}),
        );
        check(
            json!({"labels": {"a": "1"}, "tolerations": [{"key": "a"}]}),
            json!({"labels": {"$patch": "replace", "b": "2"}, "tolerations": [{"key": "b"}]}),
            json!({"labels": {"b": "2"}, "tolerations": [{"key": "b"}]}),
        );
        check(
            json!({"finalizers": ["a", "b"], "x": 1}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "x": null}),
            json!({"finalizers": ["b"]}),
        );
        assert!(merge(&mut json!({}), &json!({"$later": 1})).is_err());
    }

    #[test]
    fn ports_of_containers_and_of_services_have_different_keys() {
        check(
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}], "ports": [{"port": 80}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}], "ports": [{"port": 81}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}], "ports": [{"port": 81}, {"port": 80}]}),
        );
    }
}
