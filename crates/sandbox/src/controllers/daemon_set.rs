//! DaemonSets: a pod on every node that takes it. Owns which nodes those are and in which order old pods are replaced.

use super::{Controller, Task, adoption, history, pods};
use crate::api::defaults::TEMPLATE_GENERATION;
use crate::cluster::Cluster;
use crate::events::{self, Level};
use crate::node::placing;
use crate::object::{Name, get, int, label, map_mut, terminating, text};
use crate::store::Key;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const COMPONENT: &str = "daemonset-controller";
const HASH: &str = "controller-revision-hash";

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(set) = cluster.store.get(key).cloned() else {
        return;
    };
    if terminating(&set) {
        return;
    }
    adoption::adopt(cluster, &set, "pods", |_| true);
    let Some(update) = history::newest(cluster, &set, HASH) else {
        return;
    };
    let hash = label(&update, HASH).unwrap_or_default().to_owned();
    let nodes: Vec<(Name, Arc<Value>)> = cluster
        .store
        .iter("nodes", "")
        .map(|(name, node)| (name.clone(), node.clone()))
        .collect();
    let template = tolerating(&set);
    let wanted: Vec<&Name> = nodes
        .iter()
        .filter(|(_, node)| placing::takes_daemon(node, &template))
        .map(|(name, _)| name)
        .collect();
    place(cluster, &set, &template, &wanted, &hash);
    if text(&set, "spec.updateStrategy.type") == "RollingUpdate" {
        roll(cluster, &set, wanted.len(), &hash);
    }
    write_status(cluster, key, &set, &wanted, &hash);
    let used: Vec<String> = pods::of(cluster, &set)
        .iter()
        .map(|pod| pods::revision(pod).to_owned())
        .collect();
    history::truncate(cluster, &set, &|revision| {
        let own = label(revision, HASH).unwrap_or_default();
        own == hash || used.iter().any(|each| each == own)
    });
}

/// The template with what every daemon tolerates.
fn tolerating(set: &Value) -> Value {
    let mut template = get(set, "spec.template").cloned().unwrap_or_default();
    let always = [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    let tolerations = map_mut(&mut template, "spec")
        .entry("tolerations")
        .or_insert_with(|| json!([]));
    if let Some(tolerations) = tolerations.as_array_mut() {
        tolerations
            .extend(always.map(|(key, effect)| json!({"key": key, "operator": "Exists", "effect": effect})));
    }
    template
}

/// The node that a daemon's pod is meant for.
fn node_of(pod: &Value) -> &str {
    match text(pod, "spec.nodeName") {
        "" => placing::pinned_to(pod).unwrap_or_default(),
        node => node,
    }
}

/// One pod where there is to be one, none elsewhere; a pod that ended is replaced.
fn place(cluster: &mut Cluster, set: &Value, template: &Value, wanted: &[&Name], hash: &str) {
    let found = pods::of(cluster, set);
    let mut by_node: BTreeMap<&str, Vec<&Arc<Value>>> = BTreeMap::new();
    for pod in found.iter().filter(|pod| !terminating(pod)) {
        by_node.entry(node_of(pod)).or_default().push(pod);
    }
    let going: Vec<&str> = found
        .iter()
        .filter(|pod| terminating(pod))
        .map(|pod| node_of(pod))
        .collect();
    for (node, pods) in &by_node {
        let keeps = usize::from(wanted.iter().any(|each| each.as_ref() == *node));
        let ended = pods.iter().filter(|pod| pods::is_finished(pod));
        let surplus = pods.iter().filter(|pod| !pods::is_finished(pod)).skip(keeps);
        for pod in ended.chain(surplus) {
            delete(cluster, set, pod);
        }
    }
    for node in wanted {
        if !by_node.contains_key(node.as_ref()) && !going.contains(&node.as_ref()) {
            create(cluster, set, template, node, hash);
        }
    }
}

fn create(cluster: &mut Cluster, set: &Value, template: &Value, node: &str, hash: &str) {
    let generation = crate::object::annotation(set, TEMPLATE_GENERATION).unwrap_or("1");
    let mut pod = pods::from_template(
        set,
        template,
        &[(HASH, hash), ("pod-template-generation", generation)],
    );
    pod["metadata"]["generateName"] = format!("{}-", text(set, "metadata.name")).into();
    placing::pin(&mut pod, node);
    let namespace = text(set, "metadata.namespace");
    match cluster.create("pods", namespace, pod) {
        Ok(made) => {
            let message = format!("Created pod: {}", text(&made, "metadata.name"));
            events::record(
                cluster,
                COMPONENT,
                set,
                Level::Normal,
                "SuccessfulCreate",
                &message,
            );
        }
        Err(refusal) => {
            let message = format!("Error creating: {}", refusal.message);
            events::record(cluster, COMPONENT, set, Level::Warning, "FailedCreate", &message);
            let key = Key::new("daemonsets.apps", namespace, text(set, "metadata.name"));
            let again = cluster.now + jiff::SignedDuration::from_secs(15);
            cluster.later(again, Task::new(Controller::DaemonSet, key));
        }
    }
}

fn delete(cluster: &mut Cluster, set: &Value, pod: &Value) {
    cluster.delete(&pods::key(pod), text(pod, "metadata.uid"));
    let message = format!("Deleted pod: {}", text(pod, "metadata.name"));
    events::record(
        cluster,
        COMPONENT,
        set,
        Level::Normal,
        "SuccessfulDelete",
        &message,
    );
}

/// Takes old pods away: those that do not serve at once, others as long as few enough are unavailable.
fn roll(cluster: &mut Cluster, set: &Value, wanted: usize, hash: &str) {
    let total = i64::try_from(wanted).unwrap_or(0);
    let limit = get(set, "spec.updateStrategy.rollingUpdate.maxUnavailable");
    let allowed = pods::scaled(limit, total, true);
    let min_ready = int(set, "spec.minReadySeconds").unwrap_or(0);
    let now = cluster.now;
    let found = pods::of(cluster, set);
    let serves = |pod: &Arc<Value>| !terminating(pod) && pods::is_available(pod, min_ready, now);
    let serving = i64::try_from(found.iter().filter(|pod| serves(pod)).count()).unwrap_or(0);
    let mut left = (allowed - (total - serving)).max(0);
    let old: Vec<&Arc<Value>> = found
        .iter()
        .filter(|pod| !terminating(pod) && pods::revision(pod) != hash)
        .collect();
    for pod in &old {
        if !serves(pod) {
            delete(cluster, set, pod);
        } else if left > 0 {
            left -= 1;
            delete(cluster, set, pod);
        }
    }
}

fn write_status(cluster: &mut Cluster, key: &Key, set: &Value, wanted: &[&Name], hash: &str) {
    let found = pods::of(cluster, set);
    let min_ready = int(set, "spec.minReadySeconds").unwrap_or(0);
    let now = cluster.now;
    let right = |pod: &Value| wanted.iter().any(|node| node.as_ref() == node_of(pod));
    let standing: Vec<&Arc<Value>> = found
        .iter()
        .filter(|pod| right(pod) && !terminating(pod))
        .collect();
    let count = |which: &dyn Fn(&Value) -> bool| standing.iter().filter(|pod| which(pod)).count();
    let available = count(&|pod| pods::is_available(pod, min_ready, now));
    let next = standing
        .iter()
        .filter_map(|pod| pods::available_at(pod, min_ready))
        .filter(|at| *at > now)
        .min();
    if let Some(next) = next {
        cluster.later(next, Task::new(Controller::DaemonSet, key.clone()));
    }
    let mut status = json!({
        "currentNumberScheduled": standing.len(),
        "desiredNumberScheduled": wanted.len(),
        "numberMisscheduled": found.iter().filter(|pod| !right(pod) && !terminating(pod)).count(),
        "numberReady": count(&|pod| pods::is_ready(pod)),
        "observedGeneration": int(set, "metadata.generation"),
    });
    for (field, count) in [
        (
            "updatedNumberScheduled",
            count(&|pod| pods::revision(pod) == hash),
        ),
        ("numberAvailable", available),
        ("numberUnavailable", wanted.len().saturating_sub(available)),
    ] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    cluster.set_status(key, status);
}
