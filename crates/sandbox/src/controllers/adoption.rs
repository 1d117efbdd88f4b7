//! Adoption: objects that nobody controls and that a workload selects become its own, as after a deletion that orphaned
//! them. Owns the taking; whom a change concerns is the queue's matter.

use super::pods;
use crate::cluster::Cluster;
use crate::object::{get, set, terminating, text};
use crate::selector::Labels;
use crate::store::Key;
use serde_json::{Value, json};

/// Takes over what matches the owner's selector, belongs to it by its own rule, and has no controller.
pub(super) fn adopt(cluster: &mut Cluster, owner: &Value, resource: &str, belongs: impl Fn(&Value) -> bool) {
    let selector = Labels::of(get(owner, "spec.selector"));
    let namespace = text(owner, "metadata.namespace");
    let strays: Vec<Key> = cluster
        .store
        .owned(resource, namespace, "")
        .filter(|(_, stray)| selector.matches(stray) && !terminating(stray) && belongs(stray))
        .map(|(name, _)| Key::new(resource, namespace, name.clone()))
        .collect();
    for stray in strays {
        let reference = pods::owner_reference(owner);
        cluster.modify(&stray, |stray| {
            set(stray, "metadata.ownerReferences", json!([reference]));
        });
    }
}
