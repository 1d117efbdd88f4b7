//! A Deployment's revisions: finding or making the ReplicaSet of the template, numbering, and forgetting the oldest.

use super::{COMPONENT, DESIRED, HASH, MAX, Sets, bounds, progress, replicas, rolling};
use crate::api::status::Refusal;
use crate::cluster::Cluster;
use crate::controllers::pods;
use crate::events::{self, Level};
use crate::managed::Part;
use crate::object::{annotation, get, int, map_mut, set, terminating, text};
use crate::random::safe_hash;
use crate::store::Key;
use serde_json::{Value, json};
use std::sync::Arc;

const REVISION: &str = "deployment.kubernetes.io/revision";
const FORMER: &str = "deployment.kubernetes.io/revision-history";
const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    FORMER,
    DESIRED,
    MAX,
];

pub(super) fn number(replica_set: &Value) -> u64 {
    annotation(replica_set, REVISION)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Brings the numbers up to date, and makes the ReplicaSet of the template where it is missing and wanted.
pub(super) fn sync(cluster: &mut Cluster, key: &Key, sets: &mut Sets, create: bool) {
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return;
    };
    let newest = sets.old.iter().map(|set| number(set)).max().unwrap_or(0) + 1;
    match sets.new.clone() {
        Some(new) => {
            let set_key = Key::new(
                "replicasets.apps",
                key.namespace.clone(),
                text(&new, "metadata.name"),
            );
            sets.new = cluster.modify(&set_key, |set| annotate(set, &deployment, newest));
            let told = sets.new.as_ref().map_or(newest, |set| number(set));
            tell(cluster, key, told);
            progress::found(cluster, key, text(&new, "metadata.name"));
        }
        None if create => sets.new = make(cluster, key, &deployment, sets, newest),
        None => {}
    }
}

/// Copies the Deployment's annotations and gives the number; a former number is remembered.
fn annotate(replica_set: &mut Value, deployment: &Value, newest: u64) {
    let own = number(replica_set);
    let min_ready = get(deployment, "spec.minReadySeconds").cloned();
    let annotations = map_mut(replica_set, "metadata.annotations");
    let copied = get(deployment, "metadata.annotations").and_then(Value::as_object);
    for (name, value) in copied.into_iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    if own < newest {
        annotations.insert(REVISION.to_owned(), newest.to_string().into());
        if own > 0 {
            let former = annotations
                .get(FORMER)
                .and_then(Value::as_str)
                .unwrap_or_default();
            let former = if former.is_empty() {
                own.to_string()
            } else {
                format!("{former},{own}")
            };
            annotations.insert(FORMER.to_owned(), former.into());
        }
    }
    if let Some(min_ready) = min_ready {
        set(replica_set, "spec.minReadySeconds", min_ready);
    }
}

/// Writes the number of the live revision on the Deployment.
fn tell(cluster: &mut Cluster, key: &Key, number: u64) {
    let number = number.to_string();
    let told = cluster
        .store
        .get(key)
        .is_some_and(|deployment| annotation(deployment, REVISION) == Some(&number));
    if told {
        return;
    }
    // Its controller writes a Deployment by its status alone.
    cluster.modify_through(Part::Status, key, |deployment| {
        map_mut(deployment, "metadata.annotations").insert(REVISION.to_owned(), number.into());
    });
}

fn make(
    cluster: &mut Cluster,
    key: &Key,
    deployment: &Value,
    sets: &Sets,
    newest: u64,
) -> Option<Arc<Value>> {
    let mut template = get(deployment, "spec.template").cloned()?;
    let hash = safe_hash(template.to_string().as_bytes());
    map_mut(&mut template, "metadata.labels").insert(HASH.to_owned(), hash.as_str().into());
    let mut selector = get(deployment, "spec.selector").cloned().unwrap_or_default();
    map_mut(&mut selector, "matchLabels").insert(HASH.to_owned(), hash.as_str().into());
    let first = if text(deployment, "spec.strategy.type") == "Recreate" {
        replicas(deployment)
    } else {
        rolling::first_replicas(deployment, sets.sum("spec.replicas"), 0)
    };
    let name = format!("{}-{hash}", key.name);
    let mut replica_set = json!({
        "metadata": {
            "name": name,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [pods::owner_reference(deployment)],
        },
        "spec": {"replicas": first, "selector": selector, "template": template},
    });
    annotate(&mut replica_set, deployment, newest);
    let desired = replicas(deployment);
    let annotations = map_mut(&mut replica_set, "metadata.annotations");
    annotations.insert(DESIRED.to_owned(), desired.to_string().into());
    annotations.insert(
        MAX.to_owned(),
        (desired + bounds(deployment).0).to_string().into(),
    );
    match cluster.create("replicasets.apps", &key.namespace, replica_set) {
        Ok(made) => {
            if first > 0 {
                let message = format!("Scaled up replica set {name} from 0 to {first}");
                events::record(
                    cluster,
                    COMPONENT,
                    deployment,
                    Level::Normal,
                    "ScalingReplicaSet",
                    &message,
                );
            }
            tell(cluster, key, newest);
            progress::created(cluster, key, &name);
            Some(made)
        }
        Err(refusal) => {
            refused(cluster, key, deployment, &name, &refusal);
            None
        }
    }
}

fn refused(cluster: &mut Cluster, key: &Key, deployment: &Value, name: &str, refusal: &Refusal) {
    let message = format!("Failed to create new replica set {name:?}: {}", refusal.message);
    progress::failed(cluster, key, &message);
    events::record(
        cluster,
        COMPONENT,
        deployment,
        Level::Warning,
        "ReplicaSetCreateError",
        &message,
    );
}

/// Deletes the oldest ReplicaSets without pods beyond the limit.
pub(super) fn clean_up(cluster: &mut Cluster, key: &Key, sets: &Sets) {
    let Some(limit) = cluster
        .store
        .get(key)
        .and_then(|deployment| int(deployment, "spec.revisionHistoryLimit"))
        .and_then(|limit| usize::try_from(limit).ok())
    else {
        return;
    };
    let mut old: Vec<&Arc<Value>> = sets.old.iter().filter(|set| !terminating(set)).collect();
    old.sort_by_key(|set| number(set));
    let surplus = old.len().saturating_sub(limit);
    for set in old.into_iter().take(surplus) {
        let used = ["spec.replicas", "status.replicas"]
            .iter()
            .any(|field| int(set, field).unwrap_or(0) > 0);
        let seen = int(set, "status.observedGeneration") >= int(set, "metadata.generation");
        if !used && seen {
            let set_key = Key::new(
                "replicasets.apps",
                key.namespace.clone(),
                text(set, "metadata.name"),
            );
            cluster.delete(&set_key, text(set, "metadata.uid"));
        }
    }
}
