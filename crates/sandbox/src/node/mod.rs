//! Nodes: what they hold, and the stand-ins that make pods live on them. Owns what is not in any object: how much each
//! node is used, which pods wait for room, and what each kubelet knows of its containers.

mod container;
pub(crate) mod environment;
pub(crate) mod kubelet;
pub(crate) mod placing;
pub(crate) mod scheduler;

use crate::api::admission::requested;
use crate::cluster::NodeSpec;
use crate::controllers::pods;
use crate::object::{Name, text};
use crate::quantity::Quantity;
use crate::store::Key;
use crate::time;
use environment::Environment;
use jiff::Timestamp;
use kubelet::Running;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of nodes beyond their objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes {
    usage: BTreeMap<Name, Usage>,
    waiting: Arc<BTreeSet<Key>>,
    running: Arc<BTreeMap<Key, Arc<Running>>>,
}

/// What the pods of a node take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Quantity,
    pub(crate) memory: Quantity,
    pub(crate) pods: i64,
}

impl Nodes {
    /// Keeps the sums when a pod changes.
    pub(crate) fn counted(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let place = |pod: Option<&Value>| {
            let pod = pod.filter(|pod| !pods::is_finished(pod))?;
            let node = text(pod, "spec.nodeName");
            (!node.is_empty()).then(|| Name::from(node))
        };
        if place(before) == place(after) {
            return;
        }
        if let (Some(node), Some(pod)) = (place(before), before) {
            let usage = self.usage.entry(node).or_default();
            usage.cpu -= requested(pod, "requests", "cpu");
            usage.memory -= requested(pod, "requests", "memory");
            usage.pods -= 1;
        }
        if let (Some(node), Some(pod)) = (place(after), after) {
            let usage = self.usage.entry(node).or_default();
            usage.cpu += requested(pod, "requests", "cpu");
            usage.memory += requested(pod, "requests", "memory");
            usage.pods += 1;
        }
    }

    pub(crate) fn usage(&self, node: &str) -> Usage {
        self.usage.get(node).copied().unwrap_or_default()
    }

    /// The pods that no node had room for.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Key> {
        self.waiting.iter()
    }

    pub(crate) fn wait(&mut self, pod: &Key) {
        Arc::make_mut(&mut self.waiting).insert(pod.clone());
    }

    pub(crate) fn placed(&mut self, pod: &Key) {
        if self.waiting.contains(pod) {
            Arc::make_mut(&mut self.waiting).remove(pod);
        }
    }

    pub(crate) fn running(&self, pod: &Key) -> Option<&Arc<Running>> {
        self.running.get(pod)
    }

    /// What a pod's containers found when they started; nothing of one that no kubelet has.
    pub(crate) fn environment(&self, pod: &Value) -> Environment {
        let (namespace, name) = (text(pod, "metadata.namespace"), text(pod, "metadata.name"));
        let running = self.running(&Key::new("pods", namespace, name));
        running
            .map(|running| running.environment.clone())
            .unwrap_or_default()
    }

    pub(crate) fn set_running(&mut self, pod: &Key, running: Running) {
        Arc::make_mut(&mut self.running).insert(pod.clone(), Arc::new(running));
    }

    pub(crate) fn gone(&mut self, pod: &Key) {
        if self.running.contains_key(pod) {
            Arc::make_mut(&mut self.running).remove(pod);
        }
        self.placed(pod);
    }
}

/// A node's object at the beginning.
pub(crate) fn object(spec: &NodeSpec, now: Timestamp) -> Value {
    let at = time::seconds(now);
    let amounts = json!({"cpu": spec.cpu, "memory": spec.memory, "pods": spec.pods.to_string()});
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
        })
    };
    json!({
        "metadata": {
            "name": spec.name,
            "labels": {
                "kubernetes.io/hostname": spec.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "addresses": [{"type": "Hostname", "address": spec.name}],
            "nodeInfo": {"kubeletVersion": "sandbox", "osImage": "sandbox", "operatingSystem": "linux", "architecture": "amd64"},
        },
    })
}
