//! What controllers share about pods: making them from templates, how they stand, and the claims they bring.

use crate::api::admission::PROTECTION;
use crate::cluster::Cluster;
use crate::object::{condition, get, label, list, set, terminating, text};
use crate::store::Key;
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// Whether the pod did not end and is not to end.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !terminating(pod)
}

pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| text(ready, "status") == "True")
}

/// Since when the pod is ready; none when it is not.
pub(crate) fn ready_since(pod: &Value) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| text(ready, "status") == "True")?;
    time::parsed(text(ready, "lastTransitionTime"))
}

/// Whether the pod has been ready for so many seconds.
pub(crate) fn is_available(pod: &Value, min_ready: i64, now: Timestamp) -> bool {
    is_ready(pod) && (min_ready == 0 || available_at(pod, min_ready).is_some_and(|at| at <= now))
}

/// When a ready pod becomes available.
pub(crate) fn available_at(pod: &Value, min_ready: i64) -> Option<Timestamp> {
    Some(ready_since(pod)? + SignedDuration::from_secs(min_ready))
}

/// The reference to a controlling owner.
pub(crate) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A pod of a template, with these labels added.
pub(crate) fn from_template(owner: &Value, template: &Value, labels: &[(&str, &str)]) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"ownerReferences": [owner_reference(owner)]},
        "spec": template.get("spec").cloned().unwrap_or_default(),
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = get(template, "metadata").and_then(|metadata| metadata.get(field)) {
            pod["metadata"][field] = value.clone();
        }
    }
    for (name, value) in labels {
        pod["metadata"]["labels"][*name] = (*value).into();
    }
    pod
}

/// The pods that an owner controls, by name.
pub(crate) fn of(cluster: &Cluster, owner: &Value) -> Vec<Arc<Value>> {
    let uid = text(owner, "metadata.uid");
    cluster
        .store
        .owned("pods", text(owner, "metadata.namespace"), uid)
        .filter(|(_, pod)| crate::object::controller(pod).is_some_and(|owner| text(owner, "uid") == uid))
        .map(|(_, pod)| pod.clone())
        .collect()
}

pub(crate) fn key(pod: &Value) -> Key {
    Key::new(
        "pods",
        text(pod, "metadata.namespace"),
        text(pod, "metadata.name"),
    )
}

/// A number, or a share of a total, as strategies have it.
pub(crate) fn scaled(value: Option<&Value>, total: i64, up: bool) -> i64 {
    match value {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let rounding = if up { 99 } else { 0 };
            (percent * total + rounding) / 100
        }
        _ => 0,
    }
}

/// The revision that a pod was made from, as StatefulSets and DaemonSets label it.
pub(crate) fn revision(pod: &Value) -> &str {
    label(pod, "controller-revision-hash").unwrap_or_default()
}

/// The claims that a pod's volumes name.
pub(crate) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    list(pod, "spec.volumes")
        .iter()
        .map(|volume| text(volume, "persistentVolumeClaim.claimName"))
        .filter(|claim| !claim.is_empty())
}

/// Every claim finds a volume: there are no provisioners to wait for. One that is deleted goes when no pod uses it.
pub(crate) fn bind_claim(cluster: &mut Cluster, key: &Key) {
    let Some(claim) = cluster.store.get(key).cloned() else {
        return;
    };
    if terminating(&claim) {
        let used = cluster
            .store
            .iter("pods", &key.namespace)
            .any(|(_, pod)| claims(pod).any(|claim| claim == &*key.name));
        if !used {
            super::garbage::without(cluster, key, PROTECTION);
        }
        return;
    }
    cluster.modify(key, |claim| {
        if text(claim, "status.phase") == "Bound" {
            return;
        }
        let volume = format!("pvc-{}", text(claim, "metadata.uid"));
        let capacity = get(claim, "spec.resources.requests")
            .cloned()
            .unwrap_or_else(|| json!({}));
        let modes: Value = list(claim, "spec.accessModes").iter().cloned().collect();
        set(claim, "spec.volumeName", volume);
        claim["status"] = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
    });
}
