//! The scheduler: which node a pod goes to, or why none. Owns the choice and its words; does not preempt.

use super::placing;
use crate::api::admission::requested;
use crate::cluster::Cluster;
use crate::controllers::pods;
use crate::events::{self, Level};
use crate::object::{Name, list, set, text};
use crate::quantity::Quantity;
use crate::store::Key;
use crate::time;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const COMPONENT: &str = "default-scheduler";

pub(crate) fn schedule(cluster: &mut Cluster, key: &Key) {
    let Some(pod) = cluster.store.get(key).cloned() else {
        cluster.nodes.gone(key);
        return;
    };
    let ours = text(&pod, "spec.schedulerName") == COMPONENT && list(&pod, "spec.schedulingGates").is_empty();
    if !text(&pod, "spec.nodeName").is_empty() || !pods::is_active(&pod) || !ours {
        cluster.nodes.placed(key);
        return;
    }
    match choose(cluster, &pod) {
        Ok(node) => bind(cluster, key, &pod, &node),
        Err(message) => give_up(cluster, key, &pod, &message),
    }
}

/// The node with the fewest pods of those that take this one, by name among equals; or why there is none.
fn choose(cluster: &Cluster, pod: &Value) -> Result<Name, String> {
    let need = |resource: &str| requested(pod, "requests", resource);
    let (cpu, memory) = (need("cpu"), need("memory"));
    let mut objections: BTreeMap<String, usize> = BTreeMap::new();
    let mut preemption: BTreeMap<String, usize> = BTreeMap::new();
    let mut best: Option<(i64, &Name)> = None;
    let mut total = 0;
    for (name, node) in cluster.store.iter("nodes", "") {
        total += 1;
        let mut against: Vec<String> = placing::objection(node, pod).into_iter().collect();
        let mut hopeless = !against.is_empty();
        if against.is_empty() {
            let used = cluster.nodes.usage(name);
            let over = |used: Quantity, need: Quantity, resource: &str| {
                need > Quantity::ZERO && used + need > placing::allocatable(node, resource)
            };
            if Quantity::whole(used.pods + 1) > placing::allocatable(node, "pods") {
                against.push("Too many pods".to_owned());
            }
            if over(used.cpu, cpu, "cpu") {
                against.push("Insufficient cpu".to_owned());
            }
            if over(used.memory, memory, "memory") {
                against.push("Insufficient memory".to_owned());
            }
            // More than the node has at all is not there when others leave.
            hopeless =
                cpu > placing::allocatable(node, "cpu") || memory > placing::allocatable(node, "memory");
            if against.is_empty() && best.is_none_or(|(pods, _)| used.pods < pods) {
                best = Some((used.pods, name));
            }
        }
        for objection in against {
            *objections.entry(objection).or_default() += 1;
        }
        let preempting = if hopeless {
            "Preemption is not helpful for scheduling"
        } else {
            "No preemption victims found for incoming pod"
        };
        *preemption.entry(preempting.to_owned()).or_default() += 1;
    }
    if let Some((_, name)) = best {
        return Ok(name.clone());
    }
    if total == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    Err(format!(
        "0/{total} nodes are available: {}. no new claims to deallocate, preemption: 0/{total} nodes are available: {}.",
        counted(&objections),
        counted(&preemption)
    ))
}

/// `1 this, 2 that`
fn counted(reasons: &BTreeMap<String, usize>) -> String {
    let mut told: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    told.sort();
    told.join(", ")
}

fn bind(cluster: &mut Cluster, key: &Key, pod: &Arc<Value>, node: &str) {
    cluster.nodes.placed(key);
    let now = time::seconds(cluster.now);
    cluster.modify_unmanaged(key, |pod| {
        set(pod, "spec.nodeName", node);
        let condition = json!({
            "type": "PodScheduled",
            "status": "True",
            "observedGeneration": pod["metadata"]["generation"],
            "lastProbeTime": null,
            "lastTransitionTime": now,
        });
        set(pod, "status.conditions", json!([condition]));
    });
    let name = &key.name;
    let message = format!("Successfully assigned {}/{name} to {node}", key.namespace);
    events::record(cluster, COMPONENT, pod, Level::Normal, "Scheduled", &message);
}

fn give_up(cluster: &mut Cluster, key: &Key, pod: &Arc<Value>, message: &str) {
    cluster.nodes.wait(key);
    let now = time::seconds(cluster.now);
    let told =
        crate::object::condition(pod, "PodScheduled").is_some_and(|said| text(said, "message") == message);
    if told {
        return;
    }
    cluster.modify(key, |pod| {
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "observedGeneration": pod["metadata"]["generation"],
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": now,
        });
        set(pod, "status.conditions", json!([condition]));
    });
    events::record(
        cluster,
        COMPONENT,
        pod,
        Level::Warning,
        "FailedScheduling",
        message,
    );
}
