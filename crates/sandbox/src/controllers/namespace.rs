//! Namespaces: what each has from its beginning, and how one ends with all that is in it.

use super::{Controller, pods};
use crate::api::delete::{self, Options};
use crate::cluster::Cluster;
use crate::object::{list, set, terminating, text};
use crate::store::Key;
use serde_json::json;

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(namespace) = cluster.store.get(key).cloned() else {
        return;
    };
    let name = text(&namespace, "metadata.name").to_owned();
    if !terminating(&namespace) {
        if cluster.store.find("serviceaccounts", &name, "default").is_none() {
            let _ = cluster.create("serviceaccounts", &name, json!({"metadata": {"name": "default"}}));
        }
        if cluster
            .store
            .find("configmaps", &name, "kube-root-ca.crt")
            .is_none()
        {
            let certificate = json!({
                "metadata": {
                    "name": "kube-root-ca.crt",
                    "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the \
                        kube-apiserver when using internal endpoints such as the internal service IP or \
                        kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
                        clusters."},
                },
                "data": {"ca.crt": ""},
            });
            let _ = cluster.create("configmaps", &name, certificate);
        }
        return;
    }
    empty(cluster, &name);
    if cluster.store.resources(&name).is_empty() {
        let finalized = cluster.modify(key, |namespace| set(namespace, "spec.finalizers", json!([])));
        if finalized.is_some_and(|namespace| list(&namespace, "metadata.finalizers").is_empty()) {
            cluster.erase(key);
        }
    }
}

/// Deletes what is there and not yet being deleted.
fn empty(cluster: &mut Cluster, namespace: &str) {
    for resource in cluster.store.resources(namespace) {
        let Some(kind) = cluster.kinds.named(&resource).cloned() else {
            continue;
        };
        let keys: Vec<Key> = cluster
            .store
            .iter(&resource, namespace)
            .filter(|(_, object)| !terminating(object))
            .map(|(name, _)| Key::new(resource.clone(), namespace, name.clone()))
            .collect();
        for key in keys {
            let _ = delete::delete(cluster, &kind, &key, &Options::background());
        }
    }
    let finished: Vec<Key> = cluster
        .store
        .iter("pods", namespace)
        .filter(|(_, pod)| pods::is_finished(pod))
        .map(|(_, pod)| pods::key(pod))
        .collect();
    for key in finished {
        cluster.queue.add(Controller::Kubelet, key);
    }
}
