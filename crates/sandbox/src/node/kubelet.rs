//! The stand-in for kubelets: makes pods that were placed live, and end, by their behaviour. Owns a pod's status from then
//! on; placing is the scheduler's.

use super::container::{About, Container, Happened};
use super::environment::Environment;
use crate::behaviour::{Behaviours, Ready};
use crate::cluster::Cluster;
use crate::controllers::{Controller, Task};
use crate::events::{self, Level};
use crate::object::{Name, condition, get, int, list, set, terminating, text};
use crate::store::{Change, Key};
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const COMPONENT: &str = "kubelet";
/// How often a container is probed whose readiness hangs on another workload.
const PROBED_EVERY: SignedDuration = SignedDuration::from_secs(2);

/// A pod as its kubelet knows it.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    uid: Name,
    address: u32,
    /// What its containers found when they started.
    pub(crate) environment: Environment,
    init: Vec<Container>,
    main: Vec<Container>,
    stops_at: Option<Timestamp>,
    /// Whether it was told that the pod is not ready.
    unready_told: bool,
}

impl Running {
    fn any_runs(&self) -> bool {
        let mut all = self.main.iter().chain(&self.init);
        all.any(|container| container.running_since().is_some())
    }

    /// The container of a name, in the order of the pod's spec.
    pub(crate) fn container(&self, pod: &Value, name: &str) -> Option<&Container> {
        let named = |field: &str| {
            list(pod, field)
                .iter()
                .position(|spec| text(spec, "name") == name)
        };
        match named("spec.containers") {
            Some(at) => self.main.get(at),
            None => self.init.get(named("spec.initContainers")?),
        }
    }

    /// When the run that began at a time ended.
    pub(crate) fn ended_after(&self, started: Timestamp) -> Option<Timestamp> {
        let all = self.main.iter().chain(&self.init);
        all.filter_map(|container| container.last.as_ref())
            .find(|last| last.started == started)
            .map(|last| last.finished)
    }
}

/// Since when a container runs.
pub(crate) fn since(container: &Container) -> Option<Timestamp> {
    container.running_since()
}

pub(crate) fn sync(cluster: &mut Cluster, key: &Key) {
    let Some(pod) = cluster.store.get(key).cloned() else {
        cluster.nodes.gone(key);
        return;
    };
    if text(&pod, "spec.nodeName").is_empty() {
        return;
    }
    let mut running = known(cluster, key, &pod);
    if terminating(&pod) {
        stop(cluster, key, &pod, running);
        return;
    }
    if crate::controllers::pods::is_finished(&pod) {
        return;
    }
    let behaviours = cluster.options.clone();
    if behaviours.behaviours.hang_on_config() && !running.any_runs() {
        running.environment = Environment::of(&pod, &cluster.store);
    }
    let happened = live(&mut running, &behaviours.behaviours, &pod, cluster.now);
    for (level, reason, message) in happened {
        events::record(cluster, COMPONENT, &pod, level, reason, &message);
    }
    let ready = readiness(cluster, &behaviours.behaviours, &pod, &running);
    let unready = ready
        .iter()
        .zip(&running.main)
        .any(|(ready, container)| !ready.now && ready.due.is_none() && container.running_since().is_some());
    if unready && !running.unready_told {
        running.unready_told = true;
        let message = "Readiness probe failed: HTTP probe failed with statuscode: 503";
        events::record(cluster, COMPONENT, &pod, Level::Warning, "Unhealthy", message);
    }
    let environment = &running.environment;
    let abouts = abouts(
        &behaviours.behaviours,
        environment,
        &pod,
        "spec.containers",
        false,
    );
    let inits = self::abouts(
        &behaviours.behaviours,
        environment,
        &pod,
        "spec.initContainers",
        true,
    );
    let changes = running
        .main
        .iter()
        .zip(&abouts)
        .chain(running.init.iter().zip(&inits));
    let due = changes
        .filter_map(|(container, about)| container.due(about))
        .chain(ready.iter().filter_map(|ready| ready.due))
        .filter(|due| *due > cluster.now)
        .min();
    if let Some(due) = due {
        cluster.later(due, Task::new(Controller::Kubelet, key.clone()));
    }
    let status = status(&running, &pod, &behaviours.behaviours, &ready, cluster.now);
    cluster.nodes.set_running(key, running);
    keep_images(cluster, &pod, &status);
    cluster.set_status(key, status);
}

/// A node lists the images that it has, and no more than so many. Source: the kubelet's `nodeStatusMaxImages`.
const IMAGES_LISTED: usize = 50;

/// An image's name as container runtimes list it: with its registry and its tag. Source: `distribution/reference`.
fn full_name(image: &str) -> String {
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let name = match image.split_once('/') {
        Some((first, _)) if is_registry(first) => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
        None => format!("docker.io/library/{image}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        name
    } else {
        format!("{name}:latest")
    }
}

/// What ran on a node is among its images from then on.
fn keep_images(cluster: &mut Cluster, pod: &Value, status: &Value) {
    let node = Key::new("nodes", "", text(pod, "spec.nodeName"));
    let Some(listed) = cluster.store.get(&node).map(|node| list(node, "status.images")) else {
        return;
    };
    let is_listed = |image: &str| {
        listed
            .iter()
            .any(|each| list(each, "names").iter().any(|name| name == image))
    };
    let had: Vec<String> = list(status, "initContainerStatuses")
        .iter()
        .chain(list(status, "containerStatuses"))
        .filter(|container| !text(container, "imageID").is_empty())
        .map(|container| full_name(text(container, "image")))
        .collect();
    let mut new: Vec<Value> = Vec::new();
    for image in had {
        if !is_listed(&image) && !new.iter().any(|each| each["names"][0] == *image) {
            new.push(json!({"names": [image], "sizeBytes": 1 << 24}));
        }
    }
    if new.is_empty() {
        return;
    }
    new.extend_from_slice(listed);
    new.truncate(IMAGES_LISTED);
    cluster.modify(&node, |node| set(node, "status.images", new));
}

/// What is known of the pod: from before, from its status where another kubelet had it, or nothing yet.
fn known(cluster: &mut Cluster, key: &Key, pod: &Value) -> Running {
    let uid = text(pod, "metadata.uid");
    if let Some(running) = cluster.nodes.running(key).filter(|running| &*running.uid == uid) {
        return Running::clone(running);
    }
    let now = cluster.now;
    let containers = |field: &str, statuses: &str| {
        list(pod, field)
            .iter()
            .map(|spec| {
                let status = list(pod, statuses)
                    .iter()
                    .find(|status| status["name"] == spec["name"]);
                status.map_or_else(Container::new, |status| Container::found(status, now))
            })
            .collect()
    };
    Running {
        uid: uid.into(),
        address: cluster.next_address(),
        environment: Environment::default(),
        init: containers("spec.initContainers", "status.initContainerStatuses"),
        main: containers("spec.containers", "status.containerStatuses"),
        stops_at: None,
        unready_told: false,
    }
}

fn abouts<'a>(
    behaviours: &'a Behaviours,
    environment: &Environment,
    pod: &'a Value,
    field: &str,
    init: bool,
) -> Vec<About<'a>> {
    list(pod, field)
        .iter()
        .map(|spec| About {
            behaviour: behaviours.of(pod, spec, environment),
            spec,
            pod,
            // A sidecar among the init containers goes on running.
            init: init && text(spec, "restartPolicy") != "Always",
        })
        .collect()
}

/// Lets the containers do what is due: first one init container after the other, then the rest side by side.
fn live(running: &mut Running, behaviours: &Behaviours, pod: &Value, now: Timestamp) -> Vec<Happened> {
    let mut happened = Vec::new();
    let environment = &running.environment;
    for (container, about) in
        running
            .init
            .iter_mut()
            .zip(abouts(behaviours, environment, pod, "spec.initContainers", true))
    {
        container.begin(&about, now);
        happened.extend(container.step(&about, now));
        let passed = container.succeeded() || (!about.init && container.running_since().is_some());
        if !passed {
            return happened;
        }
    }
    for (container, about) in
        running
            .main
            .iter_mut()
            .zip(abouts(behaviours, environment, pod, "spec.containers", false))
    {
        container.begin(&about, now);
        happened.extend(container.step(&about, now));
    }
    happened
}

/// Whether a container is ready, and when that may change.
struct Readiness {
    now: bool,
    due: Option<Timestamp>,
}

fn readiness(cluster: &Cluster, behaviours: &Behaviours, pod: &Value, running: &Running) -> Vec<Readiness> {
    let never = Readiness {
        now: false,
        due: None,
    };
    let of = |(container, about): (&Container, About<'_>)| {
        let Some(since) = container.running_since() else {
            return Readiness {
                now: false,
                due: None,
            };
        };
        match &about.behaviour.ready {
            Ready::Never => Readiness { ..never },
            Ready::After(span) => {
                let at = since + *span;
                Readiness {
                    now: at <= cluster.now,
                    due: Some(at),
                }
            }
            Ready::While { resource, name } => {
                let namespace = text(pod, "metadata.namespace");
                let workload = cluster.store.find(resource, namespace, name);
                Readiness {
                    now: workload.is_some_and(|workload| serves(workload)),
                    due: None,
                }
            }
        }
    };
    let abouts = abouts(behaviours, &running.environment, pod, "spec.containers", false);
    running.main.iter().zip(abouts).map(of).collect()
}

fn serves(workload: &Value) -> bool {
    ["status.readyReplicas", "status.numberReady"]
        .iter()
        .any(|field| int(workload, field).unwrap_or(0) > 0)
}

/// Has the pods probed soon whose readiness may hang on a workload that began or ceased to serve.
pub(crate) fn workload_changed(cluster: &mut Cluster, change: &Change) {
    let serves = |workload: &Option<Arc<Value>>| workload.as_ref().is_some_and(|workload| serves(workload));
    if serves(&change.before) == serves(&change.after) || !cluster.options.behaviours.hang_on_one_another() {
        return;
    }
    let namespace = &change.key.namespace;
    let pods: Vec<Key> = cluster
        .store
        .iter("pods", namespace)
        .map(|(name, _)| Key::new("pods", namespace.clone(), name.clone()))
        .collect();
    for pod in pods {
        cluster.later(cluster.now + PROBED_EVERY, Task::new(Controller::Kubelet, pod));
    }
}

/// Ends a pod that is to end: after what its containers need, at the latest with its grace period.
fn stop(cluster: &mut Cluster, key: &Key, pod: &Arc<Value>, mut running: Running) {
    let options = cluster.options.clone();
    let grace = int(pod, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
    let environment = &running.environment;
    let needs = abouts(&options.behaviours, environment, pod, "spec.containers", false)
        .iter()
        .zip(&running.main)
        .filter(|(_, container)| container.running_since().is_some())
        .map(|(about, _)| about.behaviour.stops_after)
        .max()
        .unwrap_or(SignedDuration::ZERO)
        .min(SignedDuration::from_secs(grace));
    if running.stops_at.is_none() {
        for spec in list(pod, "spec.containers") {
            let message = format!("Stopping container {}", text(spec, "name"));
            events::record(cluster, COMPONENT, pod, Level::Normal, "Killing", &message);
        }
    }
    let latest = cluster.now + needs;
    let ends = running.stops_at.map_or(latest, |ends| ends.min(latest));
    if ends > cluster.now {
        running.stops_at = Some(ends);
        cluster.nodes.set_running(key, running);
        cluster.later(ends, Task::new(Controller::Kubelet, key.clone()));
        return;
    }
    if list(pod, "metadata.finalizers").is_empty() {
        cluster.nodes.gone(key);
        cluster.erase(key);
    } else {
        cluster.modify_unmanaged(key, |pod| set(pod, "metadata.deletionGracePeriodSeconds", 0));
    }
}

fn status(
    running: &Running,
    pod: &Value,
    behaviours: &Behaviours,
    ready: &[Readiness],
    now: Timestamp,
) -> Value {
    let environment = &running.environment;
    let initialized = running
        .init
        .iter()
        .zip(abouts(behaviours, environment, pod, "spec.initContainers", true))
        .all(|(container, about)| {
            container.succeeded() || (!about.init && container.running_since().is_some())
        });
    let all_ready = !ready.is_empty() && ready.iter().all(|ready| ready.now);
    let phase = phase(running, initialized);
    let started = running
        .main
        .iter()
        .any(|container| container.running_since().is_some() || container.restarts > 0);
    let mut status = get(pod, "status").cloned().unwrap_or_default();
    let at = time::seconds(now);
    let generation = int(pod, "metadata.generation");
    let unready: Vec<&str> = list(pod, "spec.containers")
        .iter()
        .zip(ready)
        .filter(|(_, ready)| !ready.now)
        .map(|(spec, _)| text(spec, "name"))
        .collect();
    let unready = format!("containers with unready status: [{}]", unready.join(" "));
    let completed = phase == "Succeeded";
    let not_ready = match completed {
        true => Some(("PodCompleted", String::new())),
        false => Some(("ContainersNotReady", unready)),
    };
    let mut conditions = vec![
        said(pod, "PodReadyToStartContainers", true, None, &at, generation),
        said(
            pod,
            "Initialized",
            initialized,
            (!initialized).then(|| {
                (
                    "ContainersNotInitialized",
                    "containers with incomplete status".to_owned(),
                )
            }),
            &at,
            generation,
        ),
        said(
            pod,
            "Ready",
            all_ready,
            not_ready.clone().filter(|_| !all_ready),
            &at,
            generation,
        ),
        said(
            pod,
            "ContainersReady",
            all_ready,
            not_ready.filter(|_| !all_ready),
            &at,
            generation,
        ),
    ];
    if let Some(scheduled) = condition(pod, "PodScheduled") {
        conditions.push(scheduled.clone());
    }
    let main = statuses(
        running,
        &running.main,
        abouts(behaviours, environment, pod, "spec.containers", false),
        ready,
    );
    let init = statuses(
        running,
        &running.init,
        abouts(behaviours, environment, pod, "spec.initContainers", true),
        &[],
    );
    set(&mut status, "phase", phase);
    set(&mut status, "conditions", conditions);
    set(&mut status, "containerStatuses", main);
    if !list(pod, "spec.initContainers").is_empty() {
        set(&mut status, "initContainerStatuses", init);
    }
    if let Some(generation) = generation {
        set(&mut status, "observedGeneration", generation);
    }
    crate::object::default(&mut status, "startTime", at);
    crate::object::default(&mut status, "hostIP", "10.0.0.1");
    crate::object::default(&mut status, "hostIPs", json!([{"ip": "10.0.0.1"}]));
    if started && get(&status, "podIP").is_none() {
        let number = running.address;
        let address = format!("10.244.{}.{}", (number / 254) % 254, number % 254 + 1);
        set(&mut status, "podIPs", json!([{"ip": address}]));
        set(&mut status, "podIP", address);
    }
    status
}

fn phase(running: &Running, initialized: bool) -> &'static str {
    use super::container::State;
    let done = |container: &Container| container.state == State::Done;
    let begun = |container: &Container| {
        container.running_since().is_some() || container.restarts > 0 || container.last.is_some()
    };
    if running
        .init
        .iter()
        .any(|container| done(container) && !container.succeeded())
    {
        return "Failed";
    }
    if !initialized || !running.main.iter().all(begun) {
        return "Pending";
    }
    if running.main.iter().all(done) {
        let succeeded = running.main.iter().all(Container::succeeded);
        return if succeeded { "Succeeded" } else { "Failed" };
    }
    "Running"
}

fn statuses(
    running: &Running,
    containers: &[Container],
    abouts: Vec<About<'_>>,
    ready: &[Readiness],
) -> Vec<Value> {
    containers
        .iter()
        .zip(abouts)
        .enumerate()
        .map(|(at, (container, about))| {
            let ready = ready.get(at).is_some_and(|ready| ready.now);
            container.status(&about, ready, &running.uid)
        })
        .collect()
}

/// A condition, with the time since when it is so.
fn said(
    pod: &Value,
    kind: &str,
    holds: bool,
    why: Option<(&str, String)>,
    now: &str,
    generation: Option<i64>,
) -> Value {
    let status = if holds { "True" } else { "False" };
    let former = condition(pod, kind).filter(|former| text(former, "status") == status);
    let since = former.map_or(now, |former| text(former, "lastTransitionTime"));
    let mut said = json!({
        "type": kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": since,
    });
    if let Some((reason, message)) = why {
        said["reason"] = reason.into();
        if !message.is_empty() {
            said["message"] = message.into();
        }
    }
    if let Some(generation) = generation {
        said["observedGeneration"] = generation.into();
    }
    said
}
