//! A change of how many replicas are asked for, also in the middle of a rollout: then it is shared out in proportion.

use super::{DESIRED, MAX, Sets, annotate, bounds, replicas, scale_set};
use crate::cluster::Cluster;
use crate::object::{annotation, int, text};
use crate::store::Key;
use serde_json::Value;
use std::cmp::Reverse;
use std::sync::Arc;

/// Whether a ReplicaSet in use was made for another number of replicas.
pub(super) fn was_scaled(cluster: &Cluster, deployment: &Value) -> bool {
    let wanted = replicas(deployment);
    Sets::of(cluster, deployment)
        .all()
        .filter(|set| size(set) > 0)
        .any(|set| {
            annotation(set, DESIRED)
                .and_then(|desired| desired.parse::<i64>().ok())
                .is_some_and(|desired| desired != wanted)
        })
}

pub(super) fn scale(cluster: &mut Cluster, key: &Key, sets: &Sets) {
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return;
    };
    let wanted = replicas(&deployment);
    let active: Vec<Arc<Value>> = sets.all().filter(|set| size(set) > 0).cloned().collect();
    let only = match active.as_slice() {
        [] => sets.new.clone().or_else(|| sets.old.last().cloned()),
        [one] => Some(one.clone()),
        _ => None,
    };
    if let Some(only) = only {
        scale_set(cluster, key, &only, wanted);
        return;
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(new, wanted)) {
        for old in sets.old.iter().filter(|old| size(old) > 0) {
            scale_set(cluster, key, old, 0);
        }
        return;
    }
    if text(&deployment, "spec.strategy.type") == "RollingUpdate" {
        share_out(cluster, key, &deployment, active);
    }
}

fn is_saturated(new: &Value, wanted: i64) -> bool {
    size(new) == wanted
        && annotation(new, DESIRED) == Some(&wanted.to_string())
        && int(new, "status.availableReplicas").unwrap_or(0) == wanted
}

fn share_out(cluster: &mut Cluster, key: &Key, deployment: &Value, mut active: Vec<Arc<Value>>) {
    let wanted = replicas(deployment);
    let allowed = if wanted > 0 {
        wanted + bounds(deployment).0
    } else {
        0
    };
    let to_add = allowed - active.iter().map(|set| size(set)).sum::<i64>();
    let created = |set: &Value| text(set, "metadata.creationTimestamp").to_owned();
    if to_add > 0 {
        active.sort_by_key(|set| (Reverse(size(set)), Reverse(created(set))));
    } else {
        active.sort_by_key(|set| (Reverse(size(set)), created(set)));
    }
    let mut added = 0;
    let mut sizes: Vec<i64> = Vec::new();
    for set in &active {
        let share = share(set, deployment, to_add, added);
        added += share;
        sizes.push(size(set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.iter().zip(sizes) {
        if !scale_set(cluster, key, set, size) {
            let set_key = Key::new(
                "replicasets.apps",
                key.namespace.clone(),
                text(set, "metadata.name"),
            );
            annotate(cluster, deployment, &set_key);
        }
    }
}

/// What of the change falls to one ReplicaSet.
fn share(set: &Value, deployment: &Value, to_add: i64, added: i64) -> i64 {
    if size(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let wanted = replicas(deployment);
    let fraction = if wanted == 0 {
        -size(set)
    } else {
        let all = wanted + bounds(deployment).0;
        let former = annotation(set, MAX)
            .and_then(|max| max.parse::<i64>().ok())
            .or_else(|| int(deployment, "status.replicas"))
            .filter(|former| *former > 0)
            .unwrap_or(all);
        // Rounded to the nearest, as all these are not negative.
        (2 * size(set) * all + former) / (2 * former) - size(set)
    };
    let left = to_add - added;
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

fn size(set: &Value) -> i64 {
    int(set, "spec.replicas").unwrap_or(0)
}
