//! Deployments: how a change of the template becomes a change of ReplicaSets. Owns the order of one look; the parts are
//! below it.

mod progress;
mod revisions;
mod rolling;
mod scaling;

use super::{Controller, Task, adoption, pods};
use crate::cluster::Cluster;
use crate::events::{self, Level};
use crate::object::{flag, get, int, set, terminating, text};
use crate::selector::Labels;
use crate::store::Key;
use serde_json::Value;
use std::sync::Arc;

const COMPONENT: &str = "deployment-controller";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return;
    };
    if Labels::of(get(&deployment, "spec.selector")).is_empty() {
        return;
    }
    if terminating(&deployment) {
        let sets = Sets::of(cluster, &deployment);
        progress::write_status(cluster, key, &sets, false);
        return;
    }
    adoption::adopt(cluster, &deployment, "replicasets.apps", |_| true);
    progress::note_pause(cluster, key);
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return;
    };
    let paused = flag(&deployment, "spec.paused");
    if paused || scaling::was_scaled(cluster, &deployment) {
        let mut sets = Sets::of(cluster, &deployment);
        revisions::sync(cluster, key, &mut sets, false);
        scaling::scale(cluster, key, &sets);
        if paused {
            revisions::clean_up(cluster, key, &Sets::of(cluster, &deployment));
        }
        progress::write_status(cluster, key, &Sets::of(cluster, &deployment), false);
        return;
    }
    if text(&deployment, "spec.strategy.type") == "Recreate" {
        recreate(cluster, key, &deployment);
    } else {
        rolling::roll(cluster, key, &deployment);
    }
    let sets = Sets::of(cluster, &deployment);
    let complete = progress::write_status(cluster, key, &sets, true);
    if complete {
        revisions::clean_up(cluster, key, &sets);
    }
}

/// Old pods first go all, then the new ones come.
fn recreate(cluster: &mut Cluster, key: &Key, deployment: &Value) {
    let mut sets = Sets::of(cluster, deployment);
    revisions::sync(cluster, key, &mut sets, false);
    let mut scaled = false;
    for old in sets.old.clone() {
        scaled |= scale_set(cluster, key, &old, 0);
    }
    if scaled || old_pods_run(cluster, &sets) {
        return;
    }
    revisions::sync(cluster, key, &mut sets, true);
    if let Some(new) = &sets.new {
        scale_set(cluster, key, new, replicas(deployment));
    }
}

fn old_pods_run(cluster: &Cluster, sets: &Sets) -> bool {
    let mut old = sets.old.iter().flat_map(|set| pods::of(cluster, set));
    old.any(|pod| !pods::is_finished(&pod))
}

/// A Deployment's ReplicaSets.
#[derive(Clone, Debug, Default)]
struct Sets {
    /// That of the template, if there is one.
    new: Option<Arc<Value>>,
    /// The others, oldest first.
    old: Vec<Arc<Value>>,
}

impl Sets {
    fn of(cluster: &Cluster, deployment: &Value) -> Self {
        let uid = text(deployment, "metadata.uid");
        let namespace = text(deployment, "metadata.namespace");
        let mut all: Vec<Arc<Value>> = cluster
            .store
            .owned("replicasets.apps", namespace, uid)
            .map(|(_, set)| set.clone())
            .collect();
        all.sort_by_key(|set| {
            (
                text(set, "metadata.creationTimestamp").to_owned(),
                revisions::number(set),
                text(set, "metadata.name").to_owned(),
            )
        });
        let template = &deployment["spec"]["template"];
        let new = all.iter().position(|set| same_template(set, template));
        Self {
            new: new.map(|at| all.remove(at)),
            old: all,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    /// The sum of a field over all.
    fn sum(&self, field: &str) -> i64 {
        self.all().filter_map(|set| int(set, field)).sum()
    }
}

/// Equal but for the hash that only a ReplicaSet's template has.
fn same_template(set: &Value, template: &Value) -> bool {
    let own = &set["spec"]["template"];
    let fields = |template: &Value| {
        let metadata = template["metadata"].as_object().into_iter().flatten();
        metadata
            .filter(|(name, value)| *name != "labels" && !value.is_null())
            .count()
    };
    let labels = |template: &Value| {
        let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
        labels.filter(|(name, _)| *name != HASH).count()
    };
    let has = |path: &str, name: &str, value: &Value| {
        get(template, path).and_then(|map| map.get(name)) == Some(value)
    };
    let every = |path: &str, skipped: &str| {
        let map = get(own, path).and_then(Value::as_object).into_iter().flatten();
        map.filter(|(name, value)| *name != skipped && !value.is_null())
            .all(|(name, value)| has(path, name, value))
    };
    own["spec"] == template["spec"]
        && fields(own) == fields(template)
        && labels(own) == labels(template)
        && every("metadata", "labels")
        && every("metadata.labels", HASH)
}

fn replicas(deployment: &Value) -> i64 {
    int(deployment, "spec.replicas").unwrap_or(1)
}

/// How many pods there may be above and how few below what is asked for.
fn bounds(deployment: &Value) -> (i64, i64) {
    if text(deployment, "spec.strategy.type") == "Recreate" {
        return (0, 0);
    }
    let total = replicas(deployment);
    let rolling = "spec.strategy.rollingUpdate";
    let surge = pods::scaled(get(deployment, &format!("{rolling}.maxSurge")), total, true);
    let unavailable = pods::scaled(
        get(deployment, &format!("{rolling}.maxUnavailable")),
        total,
        false,
    );
    // With neither, nothing could ever move.
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        (surge, unavailable) => (surge, unavailable.min(total.max(1))),
    }
}

/// Tells on a ReplicaSet how many replicas its Deployment is to have, and may.
fn annotate(cluster: &mut Cluster, deployment: &Value, set_key: &Key) {
    let desired = replicas(deployment);
    let max = desired + bounds(deployment).0;
    cluster.modify(set_key, |object| {
        let annotations = crate::object::map_mut(object, "metadata.annotations");
        annotations.insert(DESIRED.to_owned(), desired.to_string().into());
        annotations.insert(MAX.to_owned(), max.to_string().into());
    });
}

/// Sets how many replicas a ReplicaSet has, with the annotations that tell what for; whether the number changed. One that
/// has as many already is left as it is.
fn scale_set(cluster: &mut Cluster, key: &Key, replica_set: &Value, to: i64) -> bool {
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return false;
    };
    let name = text(replica_set, "metadata.name");
    let from = int(replica_set, "spec.replicas").unwrap_or(0);
    if from == to {
        return false;
    }
    let set_key = Key::new("replicasets.apps", key.namespace.clone(), name);
    annotate(cluster, &deployment, &set_key);
    cluster.modify(&set_key, |object| {
        set(object, "spec.replicas", to);
        let generation = int(object, "metadata.generation").unwrap_or(0) + 1;
        set(object, "metadata.generation", generation);
    });
    let direction = if from < to { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    events::record(
        cluster,
        COMPONENT,
        &deployment,
        Level::Normal,
        "ScalingReplicaSet",
        &message,
    );
    true
}

/// Has the Deployment looked at again, as when its deadline runs out.
fn again(cluster: &mut Cluster, key: &Key, at: jiff::Timestamp) {
    cluster.later(at, Task::new(Controller::Deployment, key.clone()));
}
