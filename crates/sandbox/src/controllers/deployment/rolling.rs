//! The rolling update: the new ReplicaSet grows and the old ones shrink within what the strategy allows.

use super::{Sets, bounds, replicas, revisions, scale_set};
use crate::cluster::Cluster;
use crate::object::int;
use crate::store::Key;
use serde_json::Value;

pub(super) fn roll(cluster: &mut Cluster, key: &Key, deployment: &Value) {
    let mut sets = Sets::of(cluster, deployment);
    revisions::sync(cluster, key, &mut sets, true);
    if grow(cluster, key, deployment, &sets) {
        return;
    }
    shrink(cluster, key, deployment, &sets);
}

/// Brings the new ReplicaSet nearer to what is asked for; whether it changed.
fn grow(cluster: &mut Cluster, key: &Key, deployment: &Value, sets: &Sets) -> bool {
    let Some(new) = &sets.new else { return false };
    let wanted = replicas(deployment);
    let has = int(new, "spec.replicas").unwrap_or(0);
    let to = if has > wanted {
        wanted
    } else {
        first_replicas(deployment, sets.sum("spec.replicas"), has)
    };
    scale_set(cluster, key, new, to)
}

/// How many replicas the new ReplicaSet may have now, where all together have `total`.
pub(super) fn first_replicas(deployment: &Value, total: i64, has: i64) -> i64 {
    let wanted = replicas(deployment);
    let room = wanted + bounds(deployment).0 - total;
    if room <= 0 {
        return has;
    }
    has + room.min(wanted - has).max(0)
}

/// Takes away from the old ReplicaSets: first what does not serve anyway, then what can be missed.
fn shrink(cluster: &mut Cluster, key: &Key, deployment: &Value, sets: &Sets) -> bool {
    let old: i64 = sets.old.iter().filter_map(|set| int(set, "spec.replicas")).sum();
    if old == 0 {
        return false;
    }
    let least = replicas(deployment) - bounds(deployment).1;
    let new_unavailable = sets.new.as_ref().map_or(0, |new| {
        int(new, "spec.replicas").unwrap_or(0) - int(new, "status.availableReplicas").unwrap_or(0)
    });
    let spare = sets.sum("spec.replicas") - least - new_unavailable;
    if spare <= 0 {
        return false;
    }
    let mut left = spare;
    let mut changed = false;
    let mut shrunk: Vec<(usize, i64)> = Vec::new();
    for (at, set) in sets.old.iter().enumerate() {
        let has = int(set, "spec.replicas").unwrap_or(0);
        let unhealthy = has - int(set, "status.availableReplicas").unwrap_or(0);
        let less = unhealthy.min(left).max(0);
        left -= less;
        if less > 0 {
            changed |= scale_set(cluster, key, set, has - less);
        }
        shrunk.push((at, has - less));
    }
    let mut spare = sets.sum("status.availableReplicas") - least;
    for (at, has) in shrunk {
        let less = has.min(spare).max(0);
        spare -= less;
        if less > 0
            && let Some(now) = Sets::of(cluster, deployment).old.get(at).cloned()
        {
            changed |= scale_set(cluster, key, &now, has - less);
        }
    }
    changed
}
