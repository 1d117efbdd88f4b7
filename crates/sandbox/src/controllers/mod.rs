//! Controllers: which change concerns whom, and in which order they act. Owns the work queue; what each does is its own
//! file.

mod adoption;
pub(crate) mod autoscaler;
mod daemon_set;
mod deployment;
mod endpoints;
mod garbage;
mod history;
mod job;
mod namespace;
pub(crate) mod pods;
mod queue;
mod quota;
mod replica_set;
mod stateful_set;

pub(crate) use queue::{Controller, Queue, Task};

use crate::cluster::Cluster;
use crate::kinds::qualified;
use crate::node;
use crate::object::{controller, flag, list, terminating, text};
use crate::store::{Change, Key};
use serde_json::Value;
use std::sync::Arc;

/// Does one task.
pub(crate) fn run(cluster: &mut Cluster, task: &Task) {
    let key = &task.key;
    match task.controller {
        Controller::Namespace => namespace::reconcile(cluster, key),
        Controller::Garbage => garbage::collect(cluster, key),
        Controller::Deployment => deployment::reconcile(cluster, key),
        Controller::ReplicaSet => replica_set::reconcile(cluster, key),
        Controller::StatefulSet => stateful_set::reconcile(cluster, key),
        Controller::DaemonSet => daemon_set::reconcile(cluster, key),
        Controller::Job => job::reconcile(cluster, key),
        Controller::Endpoints => endpoints::reconcile(cluster, key),
        Controller::Quota => quota::reconcile(cluster, key),
        Controller::Scheduler => node::scheduler::schedule(cluster, key),
        Controller::Kubelet => node::kubelet::sync(cluster, key),
        Controller::Claims => pods::bind_claim(cluster, key),
        Controller::Events => crate::events::expire(cluster, key),
        Controller::Autoscaler => autoscaler::reconcile(cluster, key),
    }
}

/// Puts on the queue whom a change concerns.
pub(crate) fn noticed(cluster: &mut Cluster, change: &Change) {
    let key = &change.key;
    match &*key.resource {
        "pods" => pod_changed(cluster, change),
        "deployments.apps" => cluster.queue.add(Controller::Deployment, key.clone()),
        "replicasets.apps" => {
            cluster.queue.add(Controller::ReplicaSet, key.clone());
            owner_concerned(cluster, change);
        }
        "statefulsets.apps" => cluster.queue.add(Controller::StatefulSet, key.clone()),
        "daemonsets.apps" => cluster.queue.add(Controller::DaemonSet, key.clone()),
        "jobs.batch" => cluster.queue.add(Controller::Job, key.clone()),
        "controllerrevisions.apps" => owner_concerned(cluster, change),
        "services" => cluster.queue.add(Controller::Endpoints, key.clone()),
        "namespaces" => cluster.queue.add(Controller::Namespace, key.clone()),
        "resourcequotas" => cluster.queue.add(Controller::Quota, key.clone()),
        "persistentvolumeclaims" => cluster.queue.add(Controller::Claims, key.clone()),
        autoscaler::RESOURCE if autoscaler::changed(change.before.as_deref(), change.after.as_deref()) => {
            autoscaler::soon(cluster, &key.namespace);
        }
        "nodes" => node_changed(cluster),
        "customresourcedefinitions.apiextensions.k8s.io" => definition_changed(cluster, change),
        _ => {}
    }
    if matches!(
        &*key.resource,
        "deployments.apps" | "statefulsets.apps" | "daemonsets.apps"
    ) {
        node::kubelet::workload_changed(cluster, change);
        if autoscaler::concerned(change.before.as_deref(), change.after.as_deref()) {
            autoscaler::soon(cluster, &key.namespace);
        }
    }
    let object = change.after.as_ref().or(change.before.as_ref());
    let Some(object) = object else { return };
    if change.after.is_none() {
        let uid = text(object, "metadata.uid");
        for dependent in cluster.store.dependents(&key.namespace, uid) {
            cluster.queue.add(Controller::Garbage, dependent);
        }
        waiting_owners(cluster, key, object);
        contents_gone(cluster, key);
    } else if terminating(object)
        || (change.before.is_none() && !list(object, "metadata.ownerReferences").is_empty())
    {
        cluster.queue.add(Controller::Garbage, key.clone());
    }
    if cluster.store.count("resourcequotas", &key.namespace) > 0 && &*key.resource != "resourcequotas" {
        let quotas: Vec<Key> = cluster
            .store
            .iter("resourcequotas", &key.namespace)
            .map(|(name, _)| Key::new("resourcequotas", key.namespace.clone(), name.clone()))
            .collect();
        for quota in quotas {
            cluster.queue.add(Controller::Quota, quota);
        }
    }
}

fn pod_changed(cluster: &mut Cluster, change: &Change) {
    let key = &change.key;
    let before = change.before.as_deref();
    let after = change.after.as_deref();
    cluster.nodes.counted(before, after);
    match after {
        Some(pod) if text(pod, "spec.nodeName").is_empty() => {
            cluster.queue.add(Controller::Scheduler, key.clone());
        }
        _ => cluster.queue.add(Controller::Kubelet, key.clone()),
    }
    let freed = after.is_none_or(|pod| !pods::is_active(pod));
    if freed {
        let waiting: Vec<Key> = cluster.nodes.waiting().cloned().collect();
        for pod in waiting.into_iter().filter(|pod| pod != key) {
            cluster.queue.add(Controller::Scheduler, pod);
        }
    }
    owner_concerned(cluster, change);
    let Some(pod) = after.or(before) else { return };
    if controller(pod).is_none() && change.before.is_none() {
        adopters(cluster, key, pod);
    }
    if after.is_none()
        && let Some(owner) = controller(pod).filter(|owner| text(owner, "kind") == "ReplicaSet")
        && let Some(set) = cluster
            .store
            .find("replicasets.apps", &key.namespace, text(owner, "name"))
        && let Some(deployment) = controller(set)
    {
        let key = Key::new(
            "deployments.apps",
            key.namespace.clone(),
            text(deployment, "name"),
        );
        cluster.queue.add(Controller::Deployment, key);
    }
    if after.is_none() {
        let claims: Vec<Key> = pods::claims(pod)
            .map(|claim| Key::new("persistentvolumeclaims", key.namespace.clone(), claim))
            .collect();
        for claim in claims {
            cluster.queue.add(Controller::Claims, claim);
        }
    }
    endpoints::noticed(cluster, &key.namespace, before, after);
}

/// The workloads that may take over a pod without a controller.
fn adopters(cluster: &mut Cluster, key: &Key, pod: &Value) {
    for (resource, which) in [
        ("replicasets.apps", Controller::ReplicaSet),
        ("statefulsets.apps", Controller::StatefulSet),
        ("daemonsets.apps", Controller::DaemonSet),
    ] {
        let owners: Vec<Key> = cluster
            .store
            .iter(resource, &key.namespace)
            .filter(|(_, owner)| crate::selector::Labels::of(owner["spec"].get("selector")).matches(pod))
            .map(|(name, _)| Key::new(resource, key.namespace.clone(), name.clone()))
            .collect();
        for owner in owners {
            cluster.queue.add(which, owner);
        }
    }
}

fn owner_concerned(cluster: &mut Cluster, change: &Change) {
    for object in [&change.before, &change.after].into_iter().flatten() {
        let Some(owner) = controller(object) else { continue };
        let (which, resource) = match text(owner, "kind") {
            "Deployment" => (Controller::Deployment, "deployments.apps"),
            "ReplicaSet" => (Controller::ReplicaSet, "replicasets.apps"),
            "StatefulSet" => (Controller::StatefulSet, "statefulsets.apps"),
            "DaemonSet" => (Controller::DaemonSet, "daemonsets.apps"),
            "Job" => (Controller::Job, "jobs.batch"),
            _ => continue,
        };
        let key = Key::new(resource, change.key.namespace.clone(), text(owner, "name"));
        cluster.queue.add(which, key);
    }
}

/// Owners that are deleted in the foreground wait for this one.
fn waiting_owners(cluster: &mut Cluster, key: &Key, object: &Value) {
    for owner in list(object, "metadata.ownerReferences") {
        if !flag(owner, "blockOwnerDeletion") {
            continue;
        }
        if let Some(resource) = resource_of(cluster, owner) {
            let key = Key::new(resource, key.namespace.clone(), text(owner, "name"));
            cluster.queue.add(Controller::Garbage, key);
        }
    }
}

fn contents_gone(cluster: &mut Cluster, key: &Key) {
    let ends = cluster
        .store
        .find("namespaces", "", &key.namespace)
        .is_some_and(|namespace| terminating(namespace));
    if ends {
        let key = Key::new("namespaces", "", key.namespace.clone());
        cluster.queue.add(Controller::Namespace, key);
    }
}

fn node_changed(cluster: &mut Cluster) {
    let waiting: Vec<Key> = cluster.nodes.waiting().cloned().collect();
    for pod in waiting {
        cluster.queue.add(Controller::Scheduler, pod);
    }
    for namespace in cluster.store.namespaces("daemonsets.apps") {
        let sets: Vec<Key> = cluster
            .store
            .iter("daemonsets.apps", &namespace)
            .map(|(name, _)| Key::new("daemonsets.apps", namespace.clone(), name.clone()))
            .collect();
        for set in sets {
            cluster.queue.add(Controller::DaemonSet, set);
        }
    }
}

/// A custom resource is served as long as its definition is there, and goes with it.
fn definition_changed(cluster: &mut Cluster, change: &Change) {
    if let Some(definition) = &change.after {
        Arc::make_mut(&mut cluster.kinds).define(definition);
        return;
    }
    let Some(definition) = &change.before else { return };
    let resource = qualified(
        text(definition, "spec.names.plural"),
        text(definition, "spec.group"),
    );
    for namespace in cluster.store.namespaces(&resource) {
        let names: Vec<_> = cluster
            .store
            .iter(&resource, &namespace)
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            cluster.erase(&Key::new(resource.clone(), namespace.clone(), name));
        }
    }
    Arc::make_mut(&mut cluster.kinds).forget(&resource);
}

/// The resource that an owner reference names.
fn resource_of(cluster: &Cluster, owner: &Value) -> Option<crate::object::Name> {
    let kind = cluster.kinds.of(text(owner, "apiVersion"), text(owner, "kind"))?;
    Some(kind.resource())
}
