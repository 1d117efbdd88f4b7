//! What one pod's status and warnings say of it: whether it serves, and if not, why. Owns the reading of kubelet and
//! scheduler; the time is an argument.

use super::warnings::Warnings;
use super::workload::count;
use astern_model::evidence::Trouble;
use astern_model::id::{TemplateHash, Uid};
use astern_model::workload::Pod;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod as ApiPod, PodCondition, Probe};
use std::collections::{BTreeMap, BTreeSet};

/// So many restarts of a container that ended with an error and is not ready are a crash loop, also in the moments
/// when it happens to run. One restart is what a slow dependency causes at any start.
const RESTARTS_OF_A_LOOP: i32 = 2;
/// A container that ran this long has its back-off reset: what keeps it from being ready now is no crash loop.
/// Source: kubelet's `MaxContainerBackOff` (5 min), doubled for the reset.
const BACK_OFF_RESET: SignedDuration = SignedDuration::from_mins(10);
/// A pod that is to end and has not, so long after its grace period, is on a node that does not answer. The kubelet
/// itself needs a moment after the period.
const PAST_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// What the kubelet says when an image cannot be had.
const IMAGE_REASONS: [&str; 6] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];
/// What the kubelet says when a container cannot be made from what its spec refers to.
const CANNOT_START_REASONS: [&str; 3] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// A pod, read.
pub(super) fn pod(
    api: &ApiPod,
    revision: Option<TemplateHash>,
    lost_nodes: &BTreeSet<String>,
    warnings: &Warnings<'_>,
    now: Timestamp,
) -> Pod {
    let ready = condition(api, "Ready").filter(|ready| ready.status == "True");
    let metadata = &api.metadata;
    Pod {
        name: metadata.name.clone().unwrap_or_default(),
        uid: Uid(metadata.uid.clone().unwrap_or_default()),
        revision,
        node: node(api).map(str::to_owned),
        created_at: metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0)
            .unwrap_or_default(),
        ready: ready.is_some(),
        ready_since: ready
            .and_then(|ready| ready.last_transition_time.as_ref())
            .map(|time| time.0),
        restarts: statuses(api).map(|status| count(status.restart_count)).sum(),
        trouble: trouble(api, lost_nodes, warnings, now),
        image_ids: image_ids(api),
        containers: specs(api).map(|container| container.name.clone()).collect(),
        failing: failing(api, now),
        terminating: metadata.deletion_timestamp.is_some(),
    }
}

/// Whether the pod ended for good, so that its controller no longer counts it.
pub(super) fn is_finished(api: &ApiPod) -> bool {
    let phase = api.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The node whose state must be looked at before this pod can be judged: the pod says that it is not ready while its
/// containers say that they are, or it should have ended long ago. Both are what a lost node leaves behind. Source:
/// the node lifecycle controller, which marks only the pod's own condition.
pub(super) fn doubtful_node(api: &ApiPod, now: Timestamp) -> Option<&str> {
    let node = node(api)?;
    let should_be_gone = api
        .metadata
        .deletion_timestamp
        .as_ref()
        .is_some_and(|at| now.duration_since(at.0) > PAST_GRACE);
    let containers = api
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    let unready = condition(api, "Ready").is_some_and(|ready| ready.status != "True");
    let contradicts = unready && !containers.is_empty() && containers.iter().all(|container| container.ready);
    let said = api.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("NodeLost");
    (should_be_gone || contradicts || said).then_some(node)
}

/// Why a pod does not serve; none when it is ready.
fn trouble(
    api: &ApiPod,
    lost_nodes: &BTreeSet<String>,
    warnings: &Warnings<'_>,
    now: Timestamp,
) -> Option<Trouble> {
    if let Some(node) = node(api).filter(|node| lost_nodes.contains(*node)) {
        return Some(Trouble::NodeLost {
            node: node.to_owned(),
        });
    }
    if api.metadata.deletion_timestamp.is_some() {
        return Some(Trouble::Terminating);
    }
    if condition(api, "Ready").is_some_and(|ready| ready.status == "True") {
        return None;
    }
    let scheduled = condition(api, "PodScheduled").filter(|scheduled| scheduled.status == "False");
    if let Some(scheduled) =
        scheduled.filter(|scheduled| scheduled.reason.as_deref() == Some("Unschedulable"))
    {
        return Some(Trouble::Unschedulable {
            message: scheduled.message.clone().unwrap_or_default(),
        });
    }
    let uid = api.metadata.uid.as_deref().unwrap_or_default();
    statuses(api)
        .find_map(|status| cannot_run(api, status, now))
        .or_else(|| missing_volume(api, uid, warnings))
        .or_else(|| not_ready(api, uid, warnings, now))
        .or(Some(Trouble::Starting))
}

/// Why a container cannot run, if its status says so.
fn cannot_run(api: &ApiPod, status: &ContainerStatus, now: Timestamp) -> Option<Trouble> {
    let name = status.name.clone();
    if is_crash_loop(status, now) {
        return Some(Trouble::CrashLoop {
            container: name,
            exit_code: ended(status).map(|ended| ended.exit_code),
            restarts: count(status.restart_count),
            last_line: None,
        });
    }
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_default();
    let message = waiting.message.clone().unwrap_or_default();
    if IMAGE_REASONS.contains(&reason.as_str()) {
        let image = spec(api, &name)
            .and_then(|spec| spec.image.clone())
            .unwrap_or_else(|| status.image.clone());
        return Some(Trouble::ImagePull {
            container: name,
            image,
            message,
        });
    }
    CANNOT_START_REASONS
        .contains(&reason.as_str())
        .then_some(Trouble::CannotStart {
            container: name,
            reason,
            message,
        })
}

fn is_crash_loop(status: &ContainerStatus, now: Timestamp) -> bool {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    if waiting.and_then(|waiting| waiting.reason.as_deref()) == Some("CrashLoopBackOff") {
        return true;
    }
    let started = state
        .and_then(|state| state.running.as_ref()?.started_at.as_ref())
        .map(|time| time.0);
    let runs_on = started.is_some_and(|at| now.duration_since(at) > BACK_OFF_RESET);
    !status.ready
        && !runs_on
        && status.restart_count >= RESTARTS_OF_A_LOOP
        && ended(status).is_some_and(|ended| ended.exit_code != 0)
}

/// A ConfigMap or Secret that a volume names and that is not there keeps the pod from starting for good, and only an
/// event tells. Other mount failures may pass.
fn missing_volume(api: &ApiPod, uid: &str, warnings: &Warnings<'_>) -> Option<Trouble> {
    let message = warnings.newest(uid, "FailedMount")?;
    let missing = message.contains("not found") || message.contains("non-existent");
    let waits =
        statuses(api).find(|status| status.state.as_ref().is_some_and(|state| state.waiting.is_some()))?;
    missing.then(|| Trouble::CannotStart {
        container: waits.name.clone(),
        reason: "FailedMount".to_owned(),
        message: message.to_owned(),
    })
}

/// A container that runs and is not ready, once it has had the time that its own probes allow (a probe that fails
/// before that is what any start looks like); a pod whose containers are ready and whose readiness gate is not met.
fn not_ready(api: &ApiPod, uid: &str, warnings: &Warnings<'_>, now: Timestamp) -> Option<Trouble> {
    let message = warnings.newest(uid, "Unhealthy").map(str::to_owned);
    let main = api
        .status
        .as_ref()?
        .container_statuses
        .as_deref()
        .unwrap_or_default();
    let running =
        |status: &&ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    if let Some(status) = main.iter().filter(running).find(|status| !status.ready) {
        let started = status
            .state
            .as_ref()
            .and_then(|state| state.running.as_ref()?.started_at.as_ref());
        let allowed = spec(api, &status.name).map_or(SignedDuration::ZERO, time_to_ready);
        let young = started.is_some_and(|at| now.duration_since(at.0) <= allowed);
        let container = status.name.clone();
        return (!young).then_some(Trouble::NotReady { container, message });
    }
    let container = main
        .first()
        .filter(|_| main.iter().all(|status| status.ready))?
        .name
        .clone();
    let gates = api
        .spec
        .as_ref()
        .and_then(|spec| spec.readiness_gates.as_deref())
        .unwrap_or_default();
    let unmet = gates
        .iter()
        .map(|gate| gate.condition_type.as_str())
        .find(|kind| condition(api, kind).is_none_or(|condition| condition.status != "True"))?;
    Some(Trouble::NotReady {
        container,
        message: Some(format!("readiness gate {unmet} is not met")),
    })
}

/// The longest that a container may take until it is ready by what its probes say, with the API's defaults.
fn time_to_ready(container: &Container) -> SignedDuration {
    let span = |probe: Option<&Probe>| {
        probe.map_or(0, |probe| {
            let failures = i64::from(probe.failure_threshold.unwrap_or(3));
            let period = i64::from(probe.period_seconds.unwrap_or(10));
            i64::from(probe.initial_delay_seconds.unwrap_or(0))
                .saturating_add(failures.saturating_mul(period))
        })
    };
    let startup = span(container.startup_probe.as_ref());
    SignedDuration::from_secs(startup.saturating_add(span(container.readiness_probe.as_ref())))
}

/// Containers that ran and failed, or run and are not ready: their logs tell something. Those that never ran have
/// none.
fn failing(api: &ApiPod, now: Timestamp) -> Vec<String> {
    let fails = |status: &&ContainerStatus| {
        let state = status.state.as_ref();
        let terminated = state.and_then(|state| state.terminated.as_ref());
        let running = state.is_some_and(|state| state.running.is_some());
        let ran_badly = terminated.is_some_and(|ended| ended.exit_code != 0);
        is_crash_loop(status, now) || ran_badly || (!status.ready && (running || status.restart_count > 0))
    };
    let init: BTreeSet<&str> = api
        .status
        .iter()
        .flat_map(|status| status.init_container_statuses.iter().flatten())
        // A sidecar runs on; any other init container that runs is at work, which is no failure.
        .filter(|status| status.restart_count == 0 && ended(status).is_none())
        .map(|status| status.name.as_str())
        .collect();
    statuses(api)
        .filter(fails)
        .map(|s| s.name.clone())
        .filter(|name| !init.contains(name.as_str()))
        .collect()
}

/// What really runs, by what the template names. The kubelet's own `image` may be spelled another way.
fn image_ids(api: &ApiPod) -> BTreeMap<String, String> {
    let id = |name: &str| {
        let status = statuses(api).find(|status| status.name == name)?;
        (!status.image_id.is_empty()).then(|| status.image_id.clone())
    };
    specs(api)
        .filter_map(|container| Some((container.image.clone()?, id(&container.name)?)))
        .collect()
}

fn ended(status: &ContainerStatus) -> Option<&k8s_openapi::api::core::v1::ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| {
        status
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
    })
}

fn node(api: &ApiPod) -> Option<&str> {
    api.spec.as_ref()?.node_name.as_deref()
}

fn condition<'a>(api: &'a ApiPod, kind: &str) -> Option<&'a PodCondition> {
    api.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Init containers first: what they wait for holds up the rest.
fn statuses(api: &ApiPod) -> impl Iterator<Item = &ContainerStatus> {
    let status = api.status.as_ref();
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

fn specs(api: &ApiPod) -> impl Iterator<Item = &Container> {
    let spec = api.spec.as_ref();
    let init = spec
        .and_then(|spec| spec.init_containers.as_ref())
        .into_iter()
        .flatten();
    init.chain(spec.map(|spec| spec.containers.iter()).into_iter().flatten())
}

fn spec<'a>(api: &'a ApiPod, name: &str) -> Option<&'a Container> {
    specs(api).find(|container| container.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T00:10:00Z";

    fn api(status: Value, metadata: Value) -> ApiPod {
        let mut pod = json!({
            "metadata": {"name": "web-1", "uid": "p-1"},
            "spec": {"nodeName": "n-1", "containers": [{
                "name": "api", "image": "api:v2",
                "readinessProbe": {"initialDelaySeconds": 5, "periodSeconds": 5, "failureThreshold": 3},
            }]},
            "status": status,
        });
        pod["metadata"]
            .as_object_mut()
            .unwrap()
            .extend(metadata.as_object().unwrap().clone());
        serde_json::from_value(pod).unwrap()
    }

    fn container(own: Value) -> Value {
        let mut status = json!({"name": "api", "image": "docker.io/api:v2", "imageID": "", "ready": false, "restartCount": 0});
        status
            .as_object_mut()
            .unwrap()
            .extend(own.as_object().unwrap().clone());
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [status]})
    }

    fn warnings() -> Vec<k8s_openapi::api::core::v1::Event> {
        let event = |reason: &str, message: &str| {
            json!({
                "metadata": {"name": reason}, "involvedObject": {"uid": "p-1"}, "reason": reason,
                "message": message, "lastTimestamp": "2026-01-01T00:09:00Z",
            })
        };
        let events = json!([
            event("Unhealthy", "Readiness probe failed: 503"),
            event("FailedMount", "configmap \"app-config-7f\" not found"),
        ]);
        serde_json::from_value(events).unwrap()
    }

    fn phrase(pod: &ApiPod, events: &[k8s_openapi::api::core::v1::Event]) -> String {
        let lost = BTreeSet::from(["n-9".to_owned()]);
        let trouble = trouble(pod, &lost, &Warnings::new(events), NOW.parse().unwrap());
        trouble.map_or_else(|| "none".to_owned(), |trouble| trouble.phrase())
    }

    #[test]
    fn a_pods_trouble_is_read_from_its_status() {
        let check =
            |status: Value, expected: &str| assert_eq!(phrase(&api(status, json!({})), &[]), expected);
        let waiting =
            |reason: &str| container(json!({"state": {"waiting": {"reason": reason, "message": "why"}}}));
        let ended = |code: i32| json!({"terminated": {"exitCode": code}});
        let running = |since: &str| json!({"running": {"startedAt": since}});
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
        check(waiting("ErrImageNeverPull"), "ImagePullBackOff api:v2");
        check(
            waiting("CreateContainerConfigError"),
            "CreateContainerConfigError: why",
        );
        check(
            container(
                json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(0)}),
            ),
            "CrashLoopBackOff, exit 0, 1 restart",
        );
        // Between two attempts.
        check(
            container(
                json!({"restartCount": 2, "state": running("2026-01-01T00:09:59Z"), "lastState": ended(3)}),
            ),
            "CrashLoopBackOff, exit 3, 2 restarts",
        );
        check(
            container(json!({"restartCount": 2, "state": ended(3)})),
            "CrashLoopBackOff, exit 3, 2 restarts",
        );
        // Once is no loop, and a container that ran on for long is none any more.
        check(
            container(
                json!({"restartCount": 1, "state": running("2026-01-01T00:09:59Z"), "lastState": ended(3)}),
            ),
            "starting",
        );
        check(
            container(
                json!({"restartCount": 9, "state": running("2025-12-31T23:00:00Z"), "lastState": ended(3)}),
            ),
            "container api runs and is not ready",
        );
    }

    #[test]
    fn a_container_is_not_ready_only_after_the_time_that_its_probes_allow() {
        let running = |since: &str| {
            api(
                container(json!({"state": {"running": {"startedAt": since}}})),
                json!({}),
            )
        };
        assert_eq!(
            phrase(&running("2026-01-01T00:09:45Z"), &warnings()[..1]),
            "starting"
        );
        assert_eq!(
            phrase(&running("2026-01-01T00:09:30Z"), &warnings()[..1]),
            "not ready: Readiness probe failed: 503"
        );
    }

    #[test]
    fn a_volume_that_names_a_missing_configmap_keeps_the_pod_from_starting() {
        let waits = container(json!({"state": {"waiting": {"reason": "ContainerCreating"}}}));
        assert_eq!(
            phrase(&api(waits, json!({})), &warnings()),
            "FailedMount: configmap \"app-config-7f\" not found"
        );
    }

    #[test]
    fn a_node_is_doubted_when_its_pod_contradicts_itself() {
        let check = |status: Value, metadata: Value, expected: Option<&str>| {
            assert_eq!(
                doubtful_node(&api(status, metadata), NOW.parse().unwrap()),
                expected
            );
        };
        check(container(json!({"ready": true})), json!({}), Some("n-1"));
        check(container(json!({"ready": false})), json!({}), None);
        check(
            container(json!({})),
            json!({"deletionTimestamp": "2026-01-01T00:08:00Z"}),
            Some("n-1"),
        );
        check(
            container(json!({})),
            json!({"deletionTimestamp": "2026-01-01T00:09:50Z"}),
            None,
        );
        let mut lost = api(
            container(json!({"ready": true})),
            json!({"deletionTimestamp": "2026-01-01T00:08:00Z"}),
        );
        lost.spec.as_mut().unwrap().node_name = Some("n-9".to_owned());
        assert_eq!(phrase(&lost, &[]), "node n-9 does not answer");
    }
}
