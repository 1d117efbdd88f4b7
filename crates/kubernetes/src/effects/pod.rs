//! What a rollout needs to know of one pod, read from its status. Owns that reading; decides nothing.

use astern_model::evidence::Trouble;
use astern_model::id::Uid;
use astern_model::target::{Target, WorkloadKind};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use std::collections::BTreeMap;

/// The label by which the pods of StatefulSets and DaemonSets name their ControllerRevision.
const CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
/// So many restarts without having been ready are a crash loop, also while the container happens to run.
/// One restart is what a slow dependency causes at any start.
const RESTARTS_OF_A_LOOP: u32 = 2;
/// A container that ran this long has its back-off reset: its restarts are of the past, and no crash loop. Source:
/// the kubelet's `MaxContainerBackOff` (5 min), doubled for the reset.
const BACK_OFF_RESET: SignedDuration = SignedDuration::from_mins(10);
/// The event by which alone the kubelet tells of a volume that it cannot mount.
const FAILED_MOUNT: &str = "FailedMount";

/// One pod at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodView {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    /// The name of the ReplicaSet or ControllerRevision that it was made from; none for a pod that another
    /// controller, or nobody, owns.
    pub(crate) revision: Option<String>,
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
    /// Whether it ended for good, so that its controller no longer counts it.
    pub(crate) finished: bool,
    pub(crate) restarts: u32,
    pub(crate) trouble: Option<Trouble>,
    /// Image as the template names it → `sha256:…` as the kubelet reports it.
    pub(crate) digests: BTreeMap<String, String>,
}

impl PodView {
    /// Reads a pod that the selector of `target` found.
    pub(crate) fn of(target: &Target, workload: &Uid, pod: &Pod, now: Timestamp) -> Self {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .unwrap_or_default();
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: Uid(pod.metadata.uid.clone().unwrap_or_default()),
            revision: revision(target, workload, pod),
            ready: is_ready(pod),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, "Succeeded" | "Failed"),
            restarts: statuses(pod).map(restarts).sum(),
            trouble: trouble(pod, now),
            digests: digests(pod),
        }
    }

    /// The number at the end of a StatefulSet pod's name.
    pub(crate) fn ordinal(&self) -> Option<u64> {
        self.name.rsplit_once('-')?.1.parse().ok()
    }
}

/// Why a pod does not serve, by its status alone; none when it is ready.
pub(crate) fn trouble(pod: &Pod, now: Timestamp) -> Option<Trouble> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Trouble::Terminating);
    }
    if is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref();
    if status.and_then(|status| status.reason.as_deref()) == Some("NodeLost") {
        return Some(Trouble::NodeLost {
            node: node(pod).unwrap_or_default().to_owned(),
        });
    }
    if let Some(scheduled) = condition(pod, "PodScheduled")
        && scheduled.status == "False"
        && scheduled.reason.as_deref() == Some("Unschedulable")
    {
        return Some(Trouble::Unschedulable {
            message: scheduled.message.clone().unwrap_or_default(),
        });
    }
    let cannot = statuses(pod).find_map(|container| cannot_run(container, now));
    let waits = || {
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        containers
            .into_iter()
            .flatten()
            .find(|container| !container.ready && is_running(container))
            .map(|container| Trouble::NotReady {
                container: container.name.clone(),
                message: None,
            })
    };
    cannot.or_else(waits).or(Some(Trouble::Starting))
}

/// The same with what the pod's events add: a ConfigMap or Secret that a volume names and that is not there keeps the
/// pod from starting for good, and its status only says that it has not started. Other mount failures may pass.
pub(crate) fn trouble_with(pod: &Pod, events: &[Event], now: Timestamp) -> Option<Trouble> {
    let found = trouble(pod, now);
    if found != Some(Trouble::Starting) {
        return found;
    }
    let failed = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some(FAILED_MOUNT));
    let message = failed
        .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))
        .and_then(|event| event.message.clone())
        .filter(|message| message.contains("not found") || message.contains("non-existent"));
    let waiting = |container: &&ContainerStatus| {
        container
            .state
            .as_ref()
            .is_some_and(|state| state.waiting.is_some())
    };
    match (message, statuses(pod).find(waiting)) {
        (Some(message), Some(container)) => Some(Trouble::CannotStart {
            container: container.name.clone(),
            reason: FAILED_MOUNT.to_owned(),
            message,
        }),
        _ => found,
    }
}

/// The pod's node, once it has one.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The revision object that a pod was made from, if the workload owns the pod. A Deployment or Rollout owns it through
/// a ReplicaSet; whether that ReplicaSet is its own is for the reader of the ReplicaSet to see.
fn revision(target: &Target, workload: &Uid, pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.as_ref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let hash = || {
        pod.metadata
            .labels
            .as_ref()?
            .get(CONTROLLER_REVISION_HASH)
            .cloned()
    };
    match target.kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout => {
            (owner.kind == "ReplicaSet").then(|| owner.name.clone())
        }
        // The label of a StatefulSet's pod is the revision's name, that of a DaemonSet's pod its last part.
        WorkloadKind::StatefulSet => (owner.uid == workload.as_str()).then(hash).flatten(),
        WorkloadKind::DaemonSet => (owner.uid == workload.as_str())
            .then(hash)
            .flatten()
            .map(|hash| format!("{}-{hash}", target.name)),
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Init containers first: what they wait for holds up the rest.
fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|status| status.init_container_statuses.as_ref())
        .into_iter()
        .flatten();
    init.chain(
        status
            .and_then(|status| status.container_statuses.as_ref())
            .into_iter()
            .flatten(),
    )
}

fn restarts(container: &ContainerStatus) -> u32 {
    u32::try_from(container.restart_count).unwrap_or(0)
}

fn is_running(container: &ContainerStatus) -> bool {
    container
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

/// Why a container cannot run, if its status says so.
fn cannot_run(container: &ContainerStatus, now: Timestamp) -> Option<Trouble> {
    let state = container.state.as_ref()?;
    let name = container.name.clone();
    let restarts = restarts(container);
    let last = container
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    let crash = |exit_code| Trouble::CrashLoop {
        container: name.clone(),
        exit_code,
        restarts,
        last_line: None,
    };
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.clone().unwrap_or_default();
        return match waiting.reason.as_deref().unwrap_or_default() {
            "CrashLoopBackOff" => Some(crash(last.map(|last| last.exit_code))),
            "ImagePullBackOff"
            | "ErrImagePull"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable" => Some(Trouble::ImagePull {
                container: name,
                image: container.image.clone(),
                message,
            }),
            reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
                Some(Trouble::CannotStart {
                    container: name,
                    reason: reason.to_owned(),
                    message,
                })
            }
            _ => None,
        };
    }
    let ended = state
        .terminated
        .as_ref()
        .or(last)
        .filter(|ended| ended.exit_code != 0)?;
    let started = state
        .running
        .as_ref()
        .and_then(|running| running.started_at.as_ref());
    let runs_on = started.is_some_and(|at| now.duration_since(at.0) > BACK_OFF_RESET);
    (!container.ready && !runs_on && restarts >= RESTARTS_OF_A_LOOP).then(|| crash(Some(ended.exit_code)))
}

/// What really runs, by what the template names. The kubelet's own `image` may be spelled another way.
fn digests(pod: &Pod) -> BTreeMap<String, String> {
    let spec = pod.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.iter()).into_iter().flatten();
    let init = spec
        .and_then(|spec| spec.init_containers.as_ref())
        .into_iter()
        .flatten();
    let digest = |name: &str| {
        let id = &statuses(pod).find(|status| status.name == name)?.image_id;
        let digest = id.rsplit_once('@').map_or(id.as_str(), |(_, digest)| digest);
        digest.starts_with("sha256:").then(|| digest.to_owned())
    };
    containers
        .chain(init)
        .filter_map(|container| Some((container.image.clone()?, digest(&container.name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "uid": "p-1"},
            "spec": {"nodeName": "n", "containers": [{"name": "api", "image": "api:v2"}]},
            "status": status,
        }))
        .unwrap()
    }

    fn container(status: &Value) -> Value {
        let mut container = json!({"name": "api", "image": "docker.io/api:v2", "imageID": "", "ready": false, "restartCount": 0});
        container
            .as_object_mut()
            .unwrap()
            .extend(status.as_object().unwrap().clone());
        json!({"phase": "Running", "containerStatuses": [container]})
    }

    #[test]
    fn a_pods_trouble_is_read_from_its_status() {
        let check = |status: Value, phrase: &str| {
            let found = trouble(&pod(status), noon()).map(|trouble| trouble.phrase());
            assert_eq!(found.as_deref().unwrap_or("none"), phrase);
        };
        let waiting =
            |reason: &str| container(&json!({"state": {"waiting": {"reason": reason, "message": "why"}}}));
        let ended = json!({"terminated": {"exitCode": 3}});
        check(
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
            "none",
        );
        check(json!({"phase": "Pending"}), "starting");
        check(
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no cpu"}]}),
            "unschedulable: no cpu",
        );
        check(waiting("ContainerCreating"), "starting");
        check(waiting("ErrImagePull"), "ImagePullBackOff docker.io/api:v2");
        check(
            waiting("CreateContainerConfigError"),
            "CreateContainerConfigError: why",
        );
        check(
            container(
                &json!({"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}),
            ),
            "CrashLoopBackOff, exit 3, 4 restarts",
        );
        // Between two crashes the container runs for a moment.
        let running = json!({"running": {}});
        check(
            container(&json!({"restartCount": 2, "state": running, "lastState": ended})),
            "CrashLoopBackOff, exit 3, 2 restarts",
        );
        check(
            container(&json!({"restartCount": 1, "state": running, "lastState": ended})),
            "container api runs and is not ready",
        );
        check(
            container(&json!({"state": running})),
            "container api runs and is not ready",
        );
        // Restarts of last week are no crash loop of today.
        let since = |at: &str| {
            container(
                &json!({"restartCount": 9, "lastState": ended, "state": {"running": {"startedAt": at}}}),
            )
        };
        check(
            since("2026-01-01T11:59:00Z"),
            "CrashLoopBackOff, exit 3, 9 restarts",
        );
        check(
            since("2025-12-24T12:00:00Z"),
            "container api runs and is not ready",
        );
    }

    #[test]
    fn a_volume_whose_source_is_missing_is_known_by_its_event() {
        let starting = pod(container(
            &json!({"state": {"waiting": {"reason": "ContainerCreating"}}}),
        ));
        let check = |message: &str, phrase: &str| {
            let event =
                json!({"metadata": {}, "involvedObject": {}, "reason": "FailedMount", "message": message});
            let events = [serde_json::from_value::<Event>(event).unwrap()];
            assert_eq!(trouble_with(&starting, &events, noon()).unwrap().phrase(), phrase);
        };
        check(
            "configmap \"c\" not found",
            "FailedMount: configmap \"c\" not found",
        );
        check("timed out waiting for the condition", "starting");
    }

    #[test]
    fn what_runs_is_told_by_the_templates_name_for_it() {
        let status =
            container(&json!({"imageID": "docker.io/library/api@sha256:ab", "state": {"running": {}}}));
        let found = digests(&pod(status));
        assert_eq!(
            found,
            BTreeMap::from([("api:v2".to_owned(), "sha256:ab".to_owned())])
        );
    }
}
