//! `metadata.managedFields` as both sides are compared by it: who has which fields, but for what each draws for itself.

use serde_json::{Value, json};

/// Writes beside each object's metadata who manages which of its fields.
pub(crate) fn shown(body: &mut Value) {
    let items = body.get_mut("items").and_then(Value::as_array_mut);
    if let Some(items) = items {
        items.iter_mut().for_each(shown);
        return;
    }
    let Some(entries) = body.pointer("/metadata/managedFields").and_then(Value::as_array) else {
        return;
    };
    let mut told: Vec<Value> = entries.iter().filter_map(entry).collect();
    told.sort_by_key(Value::to_string);
    body["managers"] = told.into();
}

/// An entry without its time. The programs of the real control plane have their version in their names here; its kubelets
/// and scheduler are left out: a pod's status is theirs.
fn entry(entry: &Value) -> Option<Value> {
    let name = entry["manager"].as_str().unwrap_or_default();
    let program = name.split("-v1.").next().unwrap_or_default();
    let left_out = ["kubelet", "kube-scheduler"].contains(&program) || name.starts_with("kwok");
    let timed = entry["time"]
        .as_str()
        .is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok());
    (!left_out).then(|| {
        json!({
            "manager": program,
            "operation": entry["operation"],
            "apiVersion": entry["apiVersion"],
            "subresource": entry["subresource"],
            "fieldsType": entry["fieldsType"],
            "timed": timed,
            "fields": without_uids(&entry["fieldsV1"]),
        })
    })
}

/// Owners are told apart by their uids, which each side draws.
fn without_uids(fields: &Value) -> Value {
    let Some(map) = fields.as_object() else {
        return fields.clone();
    };
    let named = |name: &String| {
        if name.starts_with("k:{\"uid\"") {
            "k:{\"uid\"}".to_owned()
        } else {
            name.clone()
        }
    };
    map.iter()
        .map(|(name, inner)| (named(name), without_uids(inner)))
        .collect()
}
