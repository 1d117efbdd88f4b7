//! A merge patch as the JSON patch that does the same to one version of an object, and to no other. Pure.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What the patch names the object by; it is tested, not written.
const TESTED: [&str; 2] = ["uid", "resourceVersion"];

/// The operations. `now` is the object that the patch was made for.
///
/// A part that changes is written whole, since a JSON patch cannot make what lies between: the version is tested first, so
/// nobody else's change is in it.
pub(super) fn operations(now: &Value, patch: &Value) -> Vec<Value> {
    let tested = TESTED.iter().filter_map(|field| {
        let wanted = patch.get("metadata")?.get(*field)?;
        Some(json!({"op": "test", "path": format!("/metadata/{field}"), "value": wanted}))
    });
    let mut operations: Vec<Value> = tested.collect();
    let mut wanted = now.clone();
    merge(&mut wanted, patch);
    for part in ["metadata", "spec"] {
        let (before, after) = (now.get(part), wanted.get(part));
        let keys = |object: Option<&Value>| {
            let keys = object.and_then(Value::as_object).into_iter();
            keys.flat_map(Map::keys).cloned().collect::<BTreeSet<String>>()
        };
        for key in keys(before).union(&keys(after)) {
            let of = |object: Option<&Value>| object.and_then(|object| object.get(key)).cloned();
            let path = format!("/{part}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (of(before), of(after)) {
                (before, after) if before == after => {}
                _ if part == "metadata" && TESTED.contains(&key.as_str()) => {}
                (_, Some(value)) => operations.push(json!({"op": "add", "path": path, "value": value})),
                (_, None) => operations.push(json!({"op": "remove", "path": path})),
            }
        }
    }
    operations
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_becomes_a_patch_of_this_version_alone() {
        let now = json!({
            "metadata": {"name": "shop", "uid": "u", "resourceVersion": "7", "annotations": {"keep": "1", "gone": "2"}},
            "spec": {"project": "default", "syncPolicy": {"automated": {"selfHeal": true}, "retry": {"limit": 3}}},
        });
        let patch = json!({
            "metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"gone": null, "new": "3"}},
            "spec": {"syncPolicy": {"automated": null}},
        });
        assert_eq!(
            Value::from(operations(&now, &patch)),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "add", "path": "/metadata/annotations", "value": {"keep": "1", "new": "3"}},
                {"op": "add", "path": "/spec/syncPolicy", "value": {"retry": {"limit": 3}}},
            ])
        );
    }

    #[test]
    fn what_was_not_there_is_made_and_what_does_not_change_is_left_out() {
        let now = json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"project": "default"}});
        let patch = json!({
            "metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"new": "3"}},
            "spec": {"project": "default", "syncPolicy": {"automated": {"prune": true}}},
        });
        let told = operations(&now, &patch);
        assert_eq!(
            told[2..],
            [
                json!({"op": "add", "path": "/metadata/annotations", "value": {"new": "3"}}),
                json!({"op": "add", "path": "/spec/syncPolicy", "value": {"automated": {"prune": true}}}),
            ]
        );
    }
}
