//! Garbage collection: what goes with its owner, what waits for its dependents, and what is set free.

use super::resource_of;
use crate::api::delete::{self, FOREGROUND, ORPHAN, Options};
use crate::cluster::Cluster;
use crate::object::{flag, list, set, terminating, text};
use crate::store::Key;
use serde_json::Value;

pub(super) fn collect(cluster: &mut Cluster, key: &Key) {
    let Some(object) = cluster.store.get(key).cloned() else {
        return;
    };
    if terminating(&object) {
        finalize(cluster, key, &object);
        return;
    }
    let owners = list(&object, "metadata.ownerReferences");
    if owners.is_empty() {
        return;
    }
    let stands = |owner: &Value| {
        let Some(resource) = resource_of(cluster, owner) else {
            // Of a kind that is not served: nobody can say that it is gone.
            return true;
        };
        let found = [key.namespace.as_ref(), ""]
            .into_iter()
            .find_map(|namespace| cluster.store.find(&resource, namespace, text(owner, "name")));
        found
            .is_some_and(|found| text(found, "metadata.uid") == text(owner, "uid") && !has(found, FOREGROUND))
    };
    let standing: Vec<Value> = owners.iter().filter(|owner| stands(owner)).cloned().collect();
    if standing.is_empty() {
        let foreground = owners.iter().any(|owner| {
            resource_of(cluster, owner)
                .and_then(|resource| cluster.store.find(&resource, &key.namespace, text(owner, "name")))
                .is_some_and(|owner| has(owner, FOREGROUND))
        });
        delete_dependent(cluster, key, foreground);
    } else if standing.len() < owners.len() {
        cluster.modify(key, |object| set(object, "metadata.ownerReferences", standing));
    }
}

fn delete_dependent(cluster: &mut Cluster, key: &Key, foreground: bool) {
    let Some(kind) = cluster.kinds.named(&key.resource).cloned() else {
        return;
    };
    let has_dependents = cluster.store.get(key).is_some_and(|object| {
        !cluster
            .store
            .dependents(&key.namespace, text(object, "metadata.uid"))
            .is_empty()
    });
    let options = if foreground && has_dependents {
        Options::foreground()
    } else {
        Options::background()
    };
    let _ = delete::delete(cluster, &kind, key, &options);
}

/// Does what a deleted object's finalizers of ours wait for.
fn finalize(cluster: &mut Cluster, key: &Key, object: &Value) {
    let uid = text(object, "metadata.uid");
    let dependents = cluster.store.dependents(&key.namespace, uid);
    if has(object, ORPHAN) {
        for dependent in &dependents {
            cluster.modify(dependent, |object| {
                let left: Vec<Value> = list(object, "metadata.ownerReferences")
                    .iter()
                    .filter(|owner| text(owner, "uid") != uid)
                    .cloned()
                    .collect();
                if left.is_empty() {
                    crate::object::remove(object, "metadata.ownerReferences");
                } else {
                    set(object, "metadata.ownerReferences", left);
                }
            });
        }
        without(cluster, key, ORPHAN);
    } else if has(object, FOREGROUND) {
        let blocking = |cluster: &Cluster, key: &Key| {
            cluster.store.get(key).is_some_and(|dependent| {
                list(dependent, "metadata.ownerReferences")
                    .iter()
                    .any(|owner| text(owner, "uid") == uid && flag(owner, "blockOwnerDeletion"))
            })
        };
        for dependent in &dependents {
            let going = cluster
                .store
                .get(dependent)
                .is_none_or(|object| terminating(object));
            if !going {
                collect(cluster, dependent);
            }
        }
        if !dependents.iter().any(|dependent| blocking(cluster, dependent)) {
            without(cluster, key, FOREGROUND);
        }
    }
}

/// Takes a finalizer away; the last one takes the object along.
pub(super) fn without(cluster: &mut Cluster, key: &Key, finalizer: &str) {
    let left = cluster.modify(key, |object| {
        let left: Vec<Value> = list(object, "metadata.finalizers")
            .iter()
            .filter(|each| *each != finalizer)
            .cloned()
            .collect();
        set(object, "metadata.finalizers", left);
    });
    let Some(object) = left else { return };
    let by_kubelet = &*key.resource == "pods" && !text(&object, "spec.nodeName").is_empty();
    if list(&object, "metadata.finalizers").is_empty() && !by_kubelet && &*key.resource != "namespaces" {
        cluster.erase(key);
    }
}

fn has(object: &Value, finalizer: &str) -> bool {
    terminating(object)
        && list(object, "metadata.finalizers")
            .iter()
            .any(|each| each == finalizer)
}
