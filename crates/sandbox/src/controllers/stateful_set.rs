//! StatefulSets: pods with a name of their own, one after the other. Owns their order, also where a broken pod stops it.

use super::{Controller, Task, adoption, history, pods};
use crate::cluster::Cluster;
use crate::events::{self, Level};
use crate::object::{get, int, list, list_mut, set, terminating, text};
use crate::store::Key;
use serde_json::{Value, json};
use std::sync::Arc;

const COMPONENT: &str = "statefulset-controller";
const HASH: &str = "controller.kubernetes.io/hash";

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(set) = cluster.store.get(key).cloned() else {
        return;
    };
    if terminating(&set) {
        return;
    }
    let prefix = format!("{}-", text(&set, "metadata.name"));
    adoption::adopt(cluster, &set, "pods", |pod| {
        let ordinal = text(pod, "metadata.name").strip_prefix(&prefix);
        ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
    });
    let Some(update) = history::newest(cluster, &set, HASH) else {
        return;
    };
    let named = |name: &str| {
        let key = Key::new("controllerrevisions.apps", key.namespace.clone(), name);
        cluster.store.get(&key).cloned()
    };
    let current = named(text(&set, "status.currentRevision")).unwrap_or_else(|| update.clone());
    let view = View {
        set: &set,
        current: &current,
        update: &update,
    };
    act(cluster, &view);
    write_status(cluster, key, &view);
    let live = [name_of(&current).to_owned(), name_of(&update).to_owned()];
    let used: Vec<String> = pods::of(cluster, &set)
        .iter()
        .map(|pod| pods::revision(pod).to_owned())
        .collect();
    history::truncate(cluster, &set, &|revision| {
        let name = name_of(revision);
        live.iter().chain(&used).any(|each| each == name)
    });
}

/// What one look goes by.
struct View<'a> {
    set: &'a Value,
    current: &'a Value,
    update: &'a Value,
}

impl View<'_> {
    fn ordered(&self) -> bool {
        text(self.set, "spec.podManagementPolicy") != "Parallel"
    }

    fn first(&self) -> i64 {
        int(self.set, "spec.ordinals.start").unwrap_or(0)
    }

    fn end(&self) -> i64 {
        self.first() + int(self.set, "spec.replicas").unwrap_or(1)
    }

    fn partition(&self) -> i64 {
        int(self.set, "spec.updateStrategy.rollingUpdate.partition").unwrap_or(0)
    }

    fn min_ready(&self) -> i64 {
        int(self.set, "spec.minReadySeconds").unwrap_or(0)
    }

    fn rolls(&self) -> bool {
        text(self.set, "spec.updateStrategy.type") == "RollingUpdate"
    }

    fn pod_name(&self, ordinal: i64) -> String {
        format!("{}-{ordinal}", text(self.set, "metadata.name"))
    }

    fn ordinal(&self, pod: &Value) -> Option<i64> {
        let prefix = format!("{}-", text(self.set, "metadata.name"));
        text(pod, "metadata.name").strip_prefix(&prefix)?.parse().ok()
    }

    /// The revision that a new pod of this ordinal is made from.
    fn revision_for(&self, ordinal: i64) -> &Value {
        if self.rolls() && ordinal < self.first() + self.partition() {
            self.current
        } else {
            self.update
        }
    }
}

fn name_of(revision: &Value) -> &str {
    text(revision, "metadata.name")
}

/// Does the next thing, or as many as may be done at once.
fn act(cluster: &mut Cluster, view: &View<'_>) {
    let found = pods::of(cluster, view.set);
    let at = |ordinal: i64| {
        found
            .iter()
            .find(|pod| view.ordinal(pod) == Some(ordinal))
            .cloned()
    };
    let now = cluster.now;
    let serves = |pod: &Value| is_running(pod) && pods::is_available(pod, view.min_ready(), now);
    let mut replicas: Vec<(i64, Arc<Value>)> = Vec::new();
    for ordinal in view.first()..view.end() {
        match at(ordinal) {
            None => {
                create(cluster, view, ordinal);
                if view.ordered() {
                    return;
                }
            }
            Some(pod) if pods::is_finished(&pod) && !terminating(&pod) => {
                delete(cluster, view, &pod);
                if view.ordered() {
                    return;
                }
            }
            Some(pod) => {
                if view.ordered() && (terminating(&pod) || !serves(&pod)) {
                    return;
                }
                replicas.push((ordinal, pod));
            }
        }
    }
    let inside = view.first()..view.end();
    let mut condemned: Vec<&Arc<Value>> = found
        .iter()
        .filter(|pod| view.ordinal(pod).is_none_or(|ordinal| !inside.contains(&ordinal)))
        .collect();
    condemned.sort_by_key(|pod| std::cmp::Reverse(view.ordinal(pod)));
    for pod in condemned {
        if !terminating(pod) {
            delete(cluster, view, pod);
        }
        if view.ordered() {
            return;
        }
    }
    if view.rolls() {
        roll(cluster, view, &replicas);
    }
}

/// From the highest ordinal down to the partition, one at a time, each only when those above it serve; one that was made
/// just now does not.
fn roll(cluster: &mut Cluster, view: &View<'_>, replicas: &[(i64, Arc<Value>)]) {
    let from = view.first() + view.partition();
    for ordinal in (from..view.end()).rev() {
        let Some((_, pod)) = replicas.iter().find(|(each, _)| *each == ordinal) else {
            return;
        };
        if terminating(pod) {
            return;
        }
        if pods::revision(pod) != name_of(view.update) {
            delete(cluster, view, pod);
            return;
        }
        if !is_running(pod) || !pods::is_available(pod, view.min_ready(), cluster.now) {
            return;
        }
    }
}

fn is_running(pod: &Value) -> bool {
    text(pod, "status.phase") == "Running"
}

fn create(cluster: &mut Cluster, view: &View<'_>, ordinal: i64) {
    let namespace = text(view.set, "metadata.namespace").to_owned();
    let name = view.pod_name(ordinal);
    claims(cluster, view, &namespace, &name);
    let revision = view.revision_for(ordinal);
    let number = ordinal.to_string();
    let mut pod = pods::from_template(
        view.set,
        &history::template(revision),
        &[
            ("controller-revision-hash", name_of(revision)),
            ("statefulset.kubernetes.io/pod-name", &name),
            ("apps.kubernetes.io/pod-index", &number),
        ],
    );
    set(&mut pod, "metadata.name", name.as_str());
    set(&mut pod, "spec.hostname", name.as_str());
    let service = text(view.set, "spec.serviceName");
    if !service.is_empty() {
        set(&mut pod, "spec.subdomain", service);
    }
    volumes(view, &mut pod, &name);
    match cluster.create("pods", &namespace, pod) {
        Ok(_) => tell(
            cluster,
            view,
            Level::Normal,
            "SuccessfulCreate",
            "create",
            &name,
            "successful",
        ),
        Err(refusal) => {
            let result = format!("failed error: {}", refusal.message);
            tell(
                cluster,
                view,
                Level::Warning,
                "FailedCreate",
                "create",
                &name,
                &result,
            );
            let key = Key::new("statefulsets.apps", namespace, text(view.set, "metadata.name"));
            let again = cluster.now + jiff::SignedDuration::from_secs(15);
            cluster.later(again, Task::new(Controller::StatefulSet, key));
        }
    }
}

fn delete(cluster: &mut Cluster, view: &View<'_>, pod: &Value) {
    let name = text(pod, "metadata.name").to_owned();
    cluster.delete(&pods::key(pod), text(pod, "metadata.uid"));
    tell(
        cluster,
        view,
        Level::Normal,
        "SuccessfulDelete",
        "delete",
        &name,
        "successful",
    );
}

fn tell(
    cluster: &mut Cluster,
    view: &View<'_>,
    level: Level,
    reason: &str,
    verb: &str,
    pod: &str,
    result: &str,
) {
    let set = text(view.set, "metadata.name");
    let message = format!("{verb} Pod {pod} in StatefulSet {set} {result}");
    events::record(cluster, COMPONENT, view.set, level, reason, &message);
}

fn claims(cluster: &mut Cluster, view: &View<'_>, namespace: &str, pod: &str) {
    for template in list(view.set, "spec.volumeClaimTemplates") {
        let name = format!("{}-{pod}", text(template, "metadata.name"));
        let mut claim = json!({"metadata": {"name": name}, "spec": template["spec"]});
        if let Some(labels) = get(view.set, "spec.selector.matchLabels") {
            claim["metadata"]["labels"] = labels.clone();
        }
        // One that is there already is the pod's from before.
        let _ = cluster.create("persistentvolumeclaims", namespace, claim);
    }
}

fn volumes(view: &View<'_>, pod: &mut Value, name: &str) {
    let templates = list(view.set, "spec.volumeClaimTemplates");
    if templates.is_empty() {
        return;
    }
    let spec = crate::object::map_mut(pod, "spec");
    spec.entry("volumes").or_insert_with(|| json!([]));
    let kept: Vec<Value> = list_mut(pod, "spec.volumes")
        .iter()
        .filter(|volume| {
            templates
                .iter()
                .all(|template| template["metadata"]["name"] != volume["name"])
        })
        .cloned()
        .collect();
    let claimed = templates.iter().map(|template| {
        let volume = text(template, "metadata.name");
        json!({"name": volume, "persistentVolumeClaim": {"claimName": format!("{volume}-{name}")}})
    });
    let all: Vec<Value> = claimed.chain(kept).collect();
    set(pod, "spec.volumes", all);
}

fn write_status(cluster: &mut Cluster, key: &Key, view: &View<'_>) {
    let found = pods::of(cluster, view.set);
    let now = cluster.now;
    let count = |which: &dyn Fn(&Value) -> bool| {
        i64::try_from(found.iter().filter(|pod| which(pod)).count()).unwrap_or(0)
    };
    let standing =
        |pod: &Value, revision: &Value| !terminating(pod) && pods::revision(pod) == name_of(revision);
    let replicas = count(&|_| true);
    let ready = count(&|pod| is_running(pod) && pods::is_ready(pod));
    let updated = count(&|pod| standing(pod, view.update));
    let mut current = count(&|pod| standing(pod, view.current));
    let mut current_revision = name_of(view.current);
    let complete = view.rolls() && updated == replicas && ready == replicas;
    if complete {
        current = updated;
        current_revision = name_of(view.update);
    }
    let next = found
        .iter()
        .filter_map(|pod| pods::available_at(pod, view.min_ready()))
        .filter(|at| *at > now)
        .min();
    if let Some(next) = next {
        cluster.later(next, Task::new(Controller::StatefulSet, key.clone()));
    }
    let mut status = json!({
        "observedGeneration": int(view.set, "metadata.generation"),
        "replicas": replicas,
        "availableReplicas": count(&|pod| {
            is_running(pod) && pods::is_available(pod, view.min_ready(), now)
        }),
        "currentRevision": current_revision,
        "updateRevision": name_of(view.update),
        "collisionCount": 0,
    });
    for (field, count) in [
        ("readyReplicas", ready),
        ("currentReplicas", current),
        ("updatedReplicas", updated),
    ] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    cluster.set_status(key, status);
}
