//! ControllerRevisions: how StatefulSets and DaemonSets remember their templates. Owns finding, making, numbering and
//! forgetting them.

use super::{adoption, pods};
use crate::cluster::Cluster;
use crate::object::{get, int, map_mut, set, text};
use crate::random::safe_hash;
use crate::store::Key;
use serde_json::{Value, json};
use std::sync::Arc;

const REVISIONS: &str = "controllerrevisions.apps";

/// The revisions of a workload, oldest first.
pub(super) fn of(cluster: &Cluster, owner: &Value) -> Vec<Arc<Value>> {
    let namespace = text(owner, "metadata.namespace");
    let mut found: Vec<Arc<Value>> = cluster
        .store
        .owned(REVISIONS, namespace, text(owner, "metadata.uid"))
        .map(|(_, revision)| revision.clone())
        .collect();
    found.sort_by_key(|revision| (number(revision), text(revision, "metadata.name").to_owned()));
    found
}

pub(super) fn number(revision: &Value) -> i64 {
    int(revision, "revision").unwrap_or(0)
}

/// The revision of the workload's template: the newest, an older one under a new number, or a new one. `label` is the
/// label that holds its hash.
pub(super) fn newest(cluster: &mut Cluster, owner: &Value, label: &str) -> Option<Arc<Value>> {
    adoption::adopt(cluster, owner, REVISIONS, |_| true);
    let known = of(cluster, owner);
    let next = known.last().map_or(0, |revision| number(revision)) + 1;
    let mut template = get(owner, "spec.template").cloned()?;
    map_mut(&mut template, "").insert("$patch".to_owned(), "replace".into());
    let data = json!({"spec": {"template": template}});
    let equal = known.iter().rev().find(|revision| revision["data"] == data);
    if let Some(equal) = equal {
        if number(equal) + 1 == next {
            return Some(equal.clone());
        }
        let key = key(owner, equal);
        return cluster.modify(&key, |revision| set(revision, "revision", next));
    }
    let hash = safe_hash(data.to_string().as_bytes());
    let mut labels = get(owner, "spec.template.metadata.labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    labels[label] = hash.as_str().into();
    let mut metadata = json!({
        "name": format!("{}-{hash}", text(owner, "metadata.name")),
        "labels": labels,
        "ownerReferences": [pods::owner_reference(owner)],
    });
    if let Some(annotations) = get(owner, "metadata.annotations") {
        metadata["annotations"] = annotations.clone();
    }
    let revision = json!({"metadata": metadata, "data": data, "revision": next});
    cluster
        .create(REVISIONS, text(owner, "metadata.namespace"), revision)
        .ok()
}

/// The template that a revision remembers.
pub(super) fn template(revision: &Value) -> Value {
    let mut template = get(revision, "data.spec.template").cloned().unwrap_or_default();
    map_mut(&mut template, "").remove("$patch");
    template
}

/// Deletes the oldest revisions that are not in use beyond the workload's limit.
pub(super) fn truncate(cluster: &mut Cluster, owner: &Value, in_use: &dyn Fn(&Value) -> bool) {
    let limit = int(owner, "spec.revisionHistoryLimit").unwrap_or(10);
    let unused: Vec<Arc<Value>> = of(cluster, owner)
        .into_iter()
        .filter(|revision| !in_use(revision))
        .collect();
    let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in unused.iter().take(surplus) {
        let key = key(owner, revision);
        cluster.delete(&key, text(revision, "metadata.uid"));
    }
}

fn key(owner: &Value, revision: &Value) -> Key {
    Key::new(
        REVISIONS,
        text(owner, "metadata.namespace"),
        text(revision, "metadata.name"),
    )
}
