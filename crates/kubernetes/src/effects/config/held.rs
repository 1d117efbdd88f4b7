//! The object that a write leaves: what it held then, in what stands now; or made anew from what was kept of it.

use crate::effects::last_applied::{LAST_APPLIED, with_content_of};
use crate::effects::object::set_annotations;
use astern_model::config::with_content;
use serde_json::Value;
use std::collections::BTreeMap;

/// The whole object as it shall be: what `then` held, and last-applied so that the next apply leaves it alone.
pub(crate) fn restored(now: Value, then: &Value) -> Value {
    let annotation = |object: &Value| {
        let annotations = object.pointer("/metadata/annotations")?;
        annotations.get(LAST_APPLIED)?.as_str().map(str::to_owned)
    };
    let last_applied =
        annotation(&now).map(|today| with_content_of(&today, annotation(then).as_deref(), then));
    let mut object = with_content(now, then);
    if last_applied.is_some() {
        set_annotations(&mut object, BTreeMap::from([(LAST_APPLIED, last_applied)]));
    }
    object
}

/// An object that is made anew from what was kept of it: what belonged to the object of then stays behind.
pub(crate) fn anew(mut then: Value) -> Value {
    if let Some(metadata) = then.get_mut("metadata").and_then(Value::as_object_mut) {
        for gone in ["ownerReferences", "finalizers", "generateName"] {
            metadata.remove(gone);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !name.starts_with("astern.dev/"));
        }
    }
    then
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn content_goes_back_and_nothing_else_of_the_object() {
        let now = json!({"metadata": {"name": "app", "labels": {"a": "now"}, "resourceVersion": "7"}, "immutable": false,
            "data": {"MODE": "storm", "NEW": "1"}, "binaryData": {"b": "AA=="}});
        let then = json!({"metadata": {"name": "app", "labels": {"a": "then"}}, "data": {"MODE": "calm"}});
        assert_eq!(
            restored(now, &then),
            json!({"metadata": {"name": "app", "labels": {"a": "now"}, "resourceVersion": "7"}, "immutable": false,
                "data": {"MODE": "calm"}})
        );
    }

    #[test]
    fn last_applied_names_what_was_applied_then_where_there_is_one() {
        let applied = |data: Value| {
            format!(
                "{}\n",
                json!({"kind": "ConfigMap", "metadata": {"name": "app"}, "data": data})
            )
        };
        let object = |data: Value, last: Option<Value>| {
            let mut object = json!({"metadata": {"name": "app"}, "data": data});
            if let Some(last) = last {
                object["metadata"]["annotations"] = json!({LAST_APPLIED: applied(last)});
            }
            object
        };
        let now = object(json!({"A": "2", "X": "1"}), Some(json!({"A": "2"})));
        let then = object(json!({"A": "1", "X": "1"}), Some(json!({"A": "1"})));
        let last = |object: Value| object.pointer("/metadata/annotations").cloned();
        assert_eq!(
            last(restored(now.clone(), &then)),
            Some(json!({LAST_APPLIED: applied(json!({"A": "1"}))}))
        );
        let bare = object(json!({"A": "1", "X": "1"}), None);
        assert_eq!(
            last(restored(now, &bare)),
            Some(json!({LAST_APPLIED: applied(json!({"A": "1", "X": "1"}))}))
        );
        assert_eq!(last(restored(bare.clone(), &bare)), None);
    }

    #[test]
    fn what_is_made_anew_belongs_to_nobody_and_bears_no_mark_of_an_earlier_run() {
        let then = json!({"metadata": {"name": "app-5f7", "labels": {"a": "b"}, "ownerReferences": [{"uid": "u"}],
            "finalizers": ["x"], "annotations": {"astern.dev/run": "r0", "team": "shop"}}, "immutable": true, "data": {}});
        assert_eq!(
            anew(then),
            json!({"metadata": {"name": "app-5f7", "labels": {"a": "b"}, "annotations": {"team": "shop"}}, "immutable": true,
                "data": {}})
        );
    }
}
