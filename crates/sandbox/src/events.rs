//! Events as controllers and kubelets write them: one object for each thing that happens, counted when it happens again.

use crate::cluster::Cluster;
use crate::controllers::{Controller, Task};
use crate::object::{int, set, text};
use crate::random::{fnv, mix};
use crate::store::Key;
use crate::time;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// How long events are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// Whether an event is worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Normal,
    Warning,
}

/// Writes an event about an object.
pub(crate) fn record(
    cluster: &mut Cluster,
    component: &str,
    about: &Value,
    level: Level,
    reason: &str,
    message: &str,
) {
    let namespace = match text(about, "metadata.namespace") {
        "" => "default",
        namespace => namespace,
    }
    .to_owned();
    let uid = text(about, "metadata.uid");
    let identity = format!("{uid}/{reason}/{message}/{component}");
    let hash = mix(u64::from(fnv(identity.as_bytes())) << 20 ^ identity.len() as u64);
    let name = format!("{}.{hash:016x}", text(about, "metadata.name"));
    let key = Key::new("events", namespace.as_str(), name.as_str());
    let now = time::seconds(cluster.now);
    let again = cluster.modify(&key, |event| {
        let count = int(event, "count").unwrap_or(1) + 1;
        set(event, "count", count);
        set(event, "lastTimestamp", now.as_str());
    });
    if again.is_none() {
        let event = json!({
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "kind": about["kind"],
                "namespace": about["metadata"]["namespace"],
                "name": about["metadata"]["name"],
                "uid": uid,
                "apiVersion": about["apiVersion"],
                "resourceVersion": about["metadata"]["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": match level {
                Level::Normal => "Normal",
                Level::Warning => "Warning",
            },
            "eventTime": null,
            "reportingComponent": component,
            "reportingInstance": "",
        });
        // A namespace that ends takes no more events.
        let _ = cluster.create("events", &namespace, event);
    }
    cluster.later(cluster.now + KEPT, Task::new(Controller::Events, key));
}

/// Forgets an event that has not happened again for long.
pub(crate) fn expire(cluster: &mut Cluster, key: &Key) {
    let old = cluster
        .store
        .get(key)
        .and_then(|event| time::parsed(text(event, "lastTimestamp")))
        .is_some_and(|last| last + KEPT <= cluster.now);
    if old {
        cluster.erase(key);
    }
}
