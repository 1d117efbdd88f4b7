//! ReplicaSets: as many pods as are asked for. Owns which pods go first; what the template is, is a Deployment's matter.

use super::{Controller, Task, adoption, pods};
use crate::cluster::Cluster;
use crate::events::{self, Level};
use crate::object::{annotation, condition, get, int, list, terminating, text};
use crate::selector::Labels;
use crate::store::Key;
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

const COMPONENT: &str = "replicaset-controller";
/// Creating is tried again after this when it was refused. A real one waits ever longer, from milliseconds to minutes.
const RETRY: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(set) = cluster.store.get(key).cloned() else {
        return;
    };
    if !terminating(&set) {
        adoption::adopt(cluster, &set, "pods", pods::is_active);
    }
    let active = active(cluster, &set);
    let mut refused = None;
    if !terminating(&set) {
        let wanted = usize::try_from(int(&set, "spec.replicas").unwrap_or(1)).unwrap_or(0);
        if active.len() < wanted {
            refused = create(cluster, &set, wanted - active.len());
        } else if active.len() > wanted {
            delete(cluster, &set, &active, active.len() - wanted);
        }
    }
    if refused.is_some() {
        cluster.later(
            cluster.now + RETRY,
            Task::new(Controller::ReplicaSet, key.clone()),
        );
    }
    write_status(cluster, key, refused.as_deref());
}

/// The pods that count.
fn active(cluster: &Cluster, set: &Value) -> Vec<Arc<Value>> {
    let mut found = pods::of(cluster, set);
    found.retain(|pod| pods::is_active(pod));
    found
}

/// Makes pods; the first refusal ends it and is told.
fn create(cluster: &mut Cluster, set: &Value, count: usize) -> Option<String> {
    let namespace = text(set, "metadata.namespace");
    let template = get(set, "spec.template").cloned().unwrap_or_default();
    let mut pod = pods::from_template(set, &template, &[]);
    pod["metadata"]["generateName"] = format!("{}-", text(set, "metadata.name")).into();
    for _ in 0..count {
        match cluster.create("pods", namespace, pod.clone()) {
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
                return Some(refusal.message);
            }
        }
    }
    None
}

fn delete(cluster: &mut Cluster, set: &Value, active: &[Arc<Value>], count: usize) {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in active {
        *on_node.entry(text(pod, "spec.nodeName")).or_default() += 1;
    }
    let mut ranked: Vec<&Arc<Value>> = active.iter().collect();
    ranked.sort_by_key(|pod| worth(pod, on_node[text(pod, "spec.nodeName")], cluster.now));
    for pod in ranked.into_iter().take(count) {
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
}

/// How much a pod is worth keeping, smallest first: not placed, pending, not ready, cheap to lose, crowded, ready for a
/// short time, often restarted, young.
fn worth(pod: &Value, on_its_node: usize, now: Timestamp) -> impl Ord + use<> {
    let placed = !text(pod, "spec.nodeName").is_empty();
    let phase = match text(pod, "status.phase") {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost: i64 = annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0);
    // Times of one order of magnitude count as equal, so that not always the same node is emptied.
    let ready_for = pods::ready_since(pod).map_or(0, |since| magnitude(now.duration_since(since)));
    let restarts: i64 = list(pod, "status.containerStatuses")
        .iter()
        .filter_map(|status| int(status, "restartCount"))
        .max()
        .unwrap_or(0);
    let age = time::parsed(text(pod, "metadata.creationTimestamp"))
        .map_or(0, |created| magnitude(now.duration_since(created)));
    (
        placed,
        phase,
        pods::is_ready(pod),
        cost,
        Reverse(on_its_node),
        ready_for,
        Reverse(restarts),
        age,
        text(pod, "metadata.uid").to_owned(),
    )
}

fn magnitude(span: SignedDuration) -> u32 {
    u64::try_from(span.as_secs())
        .unwrap_or(0)
        .checked_ilog2()
        .map_or(0, |log| log + 1)
}

fn write_status(cluster: &mut Cluster, key: &Key, refused: Option<&str>) {
    let Some(set) = cluster.store.get(key).cloned() else {
        return;
    };
    let active = active(cluster, &set);
    let min_ready = int(&set, "spec.minReadySeconds").unwrap_or(0);
    let template = get(&set, "spec.template.metadata.labels").cloned();
    let labelled = Labels::pairs(template.as_ref());
    let count = |which: &dyn Fn(&Value) -> bool| active.iter().filter(|pod| which(pod)).count();
    let now = cluster.now;
    let ready = count(&|pod| pods::is_ready(pod));
    let available = count(&|pod| pods::is_available(pod, min_ready, now));
    let next = active
        .iter()
        .filter_map(|pod| pods::available_at(pod, min_ready))
        .filter(|at| *at > now)
        .min();
    if let Some(next) = next {
        cluster.later(next, Task::new(Controller::ReplicaSet, key.clone()));
    }
    let mut status = json!({
        "replicas": active.len(),
        "observedGeneration": int(&set, "metadata.generation"),
    });
    for (field, count) in [
        ("fullyLabeledReplicas", count(&|pod| labelled.matches(pod))),
        ("readyReplicas", ready),
        ("availableReplicas", available),
    ] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    if let Some(message) = refused {
        // Each refusal names another pod; the first one stands for them.
        let said = condition(&set, "ReplicaFailure").cloned().unwrap_or_else(|| {
            json!({
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": message,
                "lastTransitionTime": time::seconds(now),
            })
        });
        status["conditions"] = json!([said]);
    }
    cluster.set_status(key, status);
}
