//! How the pods of each revision behave on a copy: measured on the pods that are there, otherwise by the template's probes.
//! Reads the copy's objects and nothing else; each pace says how it is known.

use astern_model::target::{Target, WorkloadKind};
use astern_model::template::{POD_TEMPLATE_HASH, Template};
use astern_model::workload::version_of;
use astern_plan::{Promise, promise};
use astern_report::rehearsal::{KnownFrom, Pace};
use astern_sandbox::{Behaviour, BehaviourRule, Behaviours, Crash, Image, Ready, When};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The label by which StatefulSets and DaemonSets know a pod's revision.
const CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
/// So many restarts of a container that is not ready are a crash loop, also while it happens to run.
const RESTARTS_OF_A_LOOP: i64 = 2;
/// What is taken for a span whose ends are of the same second.
const LESS_THAN_A_SECOND: SignedDuration = SignedDuration::from_millis(500);
/// Whoever is not ready so long after the time that its probes promise is not merely slow.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// The paces of all revisions that the objects hold, and the behaviours that make pods keep them.
#[derive(Clone, Debug, Default)]
pub struct Paces {
    /// For the sandbox.
    pub behaviours: Behaviours,
    /// For people, each with the revision's object: its name.
    pub told: Vec<(String, Pace)>,
}

/// What `objects` (each with kind and status) tell of the pods of each revision, at `now`.
pub fn paces(objects: &[Value], now: Timestamp) -> Paces {
    let pods: Vec<&Value> = of_kind(objects, "Pod").collect();
    let mut paces = Paces::default();
    for revision in objects.iter().filter_map(|object| Revision::of(object, objects)) {
        let own: Vec<&Value> = pods.iter().copied().filter(|pod| revision.made(pod)).collect();
        let promised = promise(&revision.template);
        let (behaviour, known_from) = behaviour(&own, &revision.template, &promised, now);
        let ready_after = match &behaviour.ready {
            Ready::After(span) => Some(*span),
            Ready::Never | Ready::While { .. } => None,
        };
        let pace = Pace {
            target: revision.target.clone(),
            version: version_of(&revision.template),
            starts_after: behaviour.starts_after,
            ready_after,
            stops_within: behaviour.stops_after,
            known_from,
        };
        paces.behaviours.rules.push(BehaviourRule {
            when: When::Label {
                name: revision.label.to_owned(),
                value: revision.value.clone(),
            },
            behaviour,
        });
        paces.told.push((revision.name, pace));
    }
    paces
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &'static str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// A revision, by the object that keeps it and the label that its pods carry.
struct Revision {
    target: Target,
    name: String,
    template: Template,
    label: &'static str,
    value: String,
    owner: String,
}

impl Revision {
    fn of(object: &Value, objects: &[Value]) -> Option<Self> {
        let (keeps, label) = match object["kind"].as_str()? {
            "ReplicaSet" => ("/spec/template", POD_TEMPLATE_HASH),
            "ControllerRevision" => ("/data/spec/template", CONTROLLER_REVISION_HASH),
            _ => return None,
        };
        let owner = controller(object)?;
        let kind = WorkloadKind::parse(owner["kind"].as_str()?)?;
        let workload = of_kind(objects, owner["kind"].as_str().map(kind_word)?)
            .find(|workload| workload["metadata"]["uid"] == owner["uid"])?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let name = text(&object["metadata"]["name"])?;
        let value = match kind {
            WorkloadKind::StatefulSet => name.clone(),
            WorkloadKind::Deployment | WorkloadKind::DaemonSet | WorkloadKind::Rollout => {
                text(&object["metadata"]["labels"][label])?
            }
        };
        // A Deployment's pods belong to the ReplicaSet, others' to the workload.
        let owner = match kind {
            WorkloadKind::Deployment | WorkloadKind::Rollout => text(&object["metadata"]["uid"])?,
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => text(&workload["metadata"]["uid"])?,
        };
        Some(Self {
            target: Target {
                kind,
                namespace: text(&workload["metadata"]["namespace"])?,
                name: text(&workload["metadata"]["name"])?,
            },
            name,
            template: Template::clean(object.pointer(keeps)?.clone()),
            label,
            value,
            owner,
        })
    }

    fn made(&self, pod: &Value) -> bool {
        controller(pod).is_some_and(|owner| owner["uid"] == *self.owner)
            && pod["metadata"]["labels"][self.label] == *self.value
    }
}

/// The kinds that have revisions, as constants.
fn kind_word(kind: &str) -> &'static str {
    match kind {
        "StatefulSet" => "StatefulSet",
        "DaemonSet" => "DaemonSet",
        _ => "Deployment",
    }
}

/// The reference to the controlling owner.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}

fn behaviour(
    pods: &[&Value],
    template: &Template,
    promised: &Promise,
    now: Timestamp,
) -> (Behaviour, KnownFrom) {
    let by_promise = Behaviour {
        starts_after: promised.starts_after,
        ready: Ready::After(promised.ready_after),
        stops_after: promised.stops_within,
        ..Behaviour::default()
    };
    let measured: Vec<Measure> = pods.iter().filter_map(|pod| Measure::of(pod)).collect();
    if !measured.is_empty() {
        let behaviour = Behaviour {
            starts_after: median(measured.iter().map(|measure| measure.starts_after)),
            ready: Ready::After(median(measured.iter().map(|measure| measure.ready_after))),
            ..by_promise
        };
        let pods = u32::try_from(measured.len()).unwrap_or(u32::MAX);
        return (behaviour, KnownFrom::Measured { pods });
    }
    let serves = pods.iter().any(|pod| condition(pod, "Ready").is_some());
    let broken = pods
        .iter()
        .filter(|_| !serves)
        .find_map(|pod| broken(pod, promised, now));
    if let Some(broken) = broken {
        let behaviour = Behaviour {
            image: broken.image,
            crash: broken.crash,
            ready: Ready::Never,
            ..by_promise
        };
        return (behaviour, KnownFrom::Seen { what: broken.what });
    }
    let has_probes = template.containers().iter().any(|container| {
        ["startupProbe", "readinessProbe"]
            .iter()
            .any(|probe| container.json.get(probe).is_some())
    });
    let known_from = if has_probes {
        KnownFrom::Probes
    } else {
        KnownFrom::NoProbes
    };
    (by_promise, known_from)
}

/// How long a pod took that came up without a detour.
struct Measure {
    starts_after: SignedDuration,
    ready_after: SignedDuration,
}

impl Measure {
    /// None of a pod that is not ready, or that restarted: its times tell of something else too.
    fn of(pod: &Value) -> Option<Self> {
        let (scheduled, ready) = (condition(pod, "PodScheduled")?, condition(pod, "Ready")?);
        let statuses = pod["status"]["containerStatuses"].as_array()?;
        if statuses.iter().any(|status| status["restartCount"] != 0) {
            return None;
        }
        let started = statuses
            .iter()
            .map(|status| time(&status["state"]["running"]["startedAt"]))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .max()?;
        (scheduled <= started && started <= ready).then(|| Self {
            starts_after: between(scheduled, started),
            ready_after: between(started, ready),
        })
    }
}

/// The span between two times that count in whole seconds: what is less than one is not nothing.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> SignedDuration {
    to.duration_since(from).max(LESS_THAN_A_SECOND)
}

/// The lower one of the two in the middle.
pub(crate) fn median(spans: impl Iterator<Item = SignedDuration>) -> SignedDuration {
    let mut spans: Vec<SignedDuration> = spans.collect();
    spans.sort();
    spans
        .get(spans.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or_default()
}

/// Since when a condition is true.
fn condition(pod: &Value, kind: &str) -> Option<Timestamp> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind && condition["status"] == "True")?;
    time(&found["lastTransitionTime"])
}

pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// What is wrong with a pod that does not serve.
struct Broken {
    image: Image,
    crash: Option<Crash>,
    what: String,
}

fn broken(pod: &Value, promised: &Promise, now: Timestamp) -> Option<Broken> {
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|field| pod["status"][field].as_array())
        .flatten();
    statuses
        .filter(|status| status["ready"] != true)
        .find_map(|status| broken_container(status, promised, now))
}

fn broken_container(status: &Value, promised: &Promise, now: Timestamp) -> Option<Broken> {
    let waits = status["state"]["waiting"]["reason"].as_str().unwrap_or_default();
    let last = [&status["lastState"]["terminated"], &status["state"]["terminated"]]
        .into_iter()
        .find(|ended| ended.is_object());
    let code = last.and_then(|last| last["exitCode"].as_i64());
    let restarts = status["restartCount"].as_i64().unwrap_or_default();
    let loops = waits == "CrashLoopBackOff" || (restarts >= RESTARTS_OF_A_LOOP && code != Some(0));
    if loops {
        let ran = last.and_then(|last| Some(between(time(&last["startedAt"])?, time(&last["finishedAt"])?)));
        let code = code.unwrap_or(1);
        let crash = Crash {
            after: ran.unwrap_or(LESS_THAN_A_SECOND),
            code,
        };
        return Some(Broken {
            image: Image::Present,
            crash: Some(crash),
            what: format!("crash loop, exit {code}"),
        });
    }
    let never = |image, what: &str| {
        Some(Broken {
            image,
            crash: None,
            what: what.to_owned(),
        })
    };
    match waits {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            never(Image::Missing, "no image")
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            never(Image::Present, "no container")
        }
        _ => {
            let since = time(&status["state"]["running"]["startedAt"])?;
            let late = now.duration_since(since) > promised.ready_after + PATIENCE;
            late.then(|| never(Image::Present, "not ready")).flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-01T12:10:00Z".parse().unwrap()
    }

    /// A Deployment, one ReplicaSet of it with these probes, and pods with these statuses.
    fn objects(container: &Value, statuses: &[Value]) -> Vec<Value> {
        let owner =
            |kind: &str, uid: &str| json!([{"kind": kind, "name": "web", "uid": uid, "controller": true}]);
        let mut spec = json!({"name": "web", "image": "web:v1"});
        spec.as_object_mut()
            .unwrap()
            .extend(container.as_object().unwrap().clone());
        let template = json!({"spec": {"terminationGracePeriodSeconds": 20, "containers": [spec]}});
        let labels = json!({"pod-template-hash": "5f2k8"});
        let mut objects = vec![
            json!({"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "d"}}),
            json!({
                "kind": "ReplicaSet",
                "metadata": {"name": "web-5f2k8", "uid": "r", "labels": labels, "ownerReferences": owner("Deployment", "d")},
                "spec": {"template": template},
            }),
        ];
        objects.extend(statuses.iter().map(|status| {
            json!({
                "kind": "Pod",
                "metadata": {"labels": labels, "ownerReferences": owner("ReplicaSet", "r")},
                "status": status,
            })
        }));
        objects
    }

    fn check(container: &Value, statuses: &[Value], expected: (KnownFrom, i64, Option<i64>)) -> Behaviour {
        let paces = paces(&objects(container, statuses), now());
        let [(revision, pace)] = paces.told.as_slice() else {
            panic!("{:?}", paces.told)
        };
        assert_eq!(revision, "web-5f2k8");
        let (known_from, starts, ready) = expected;
        assert_eq!(pace.known_from, known_from);
        assert_eq!(pace.starts_after, SignedDuration::from_secs(starts));
        assert_eq!(pace.ready_after, ready.map(SignedDuration::from_secs));
        assert_eq!(pace.stops_within, SignedDuration::from_secs(20));
        paces.behaviours.rules[0].behaviour.clone()
    }

    /// A pod that came up: scheduled at noon, started and ready so many seconds later.
    fn came_up(started: u32, ready: u32, restarts: u32) -> Value {
        let at = |seconds: u32| format!("2026-01-01T12:00:{seconds:02}Z");
        json!({
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(0)},
                {"type": "Ready", "status": "True", "lastTransitionTime": at(ready)},
            ],
            "containerStatuses": [
                {"ready": true, "restartCount": restarts, "state": {"running": {"startedAt": at(started)}}},
            ],
        })
    }

    #[test]
    fn a_revision_with_ready_pods_is_measured_on_those_that_came_up_without_a_restart() {
        let pods = [
            came_up(2, 9, 0),
            came_up(3, 20, 0),
            came_up(4, 12, 0),
            came_up(1, 59, 3),
        ];
        check(&json!({}), &pods, (KnownFrom::Measured { pods: 3 }, 3, Some(8)));
    }

    #[test]
    fn a_revision_without_pods_goes_by_its_probes_and_without_probes_that_is_said() {
        let probed = json!({"readinessProbe": {"initialDelaySeconds": 5, "periodSeconds": 3}});
        check(&probed, &[], (KnownFrom::Probes, 2, Some(8)));
        check(&json!({}), &[], (KnownFrom::NoProbes, 2, Some(0)));
    }

    #[test]
    fn a_revision_whose_pods_do_not_serve_goes_on_like_that() {
        let status = |status: Value| json!({"containerStatuses": [status]});
        let crashes = status(json!({
            "ready": false,
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {
                "exitCode": 3, "startedAt": "2026-01-01T12:00:00Z", "finishedAt": "2026-01-01T12:00:07Z",
            }},
        }));
        let seen = |what: &str| KnownFrom::Seen {
            what: what.to_owned(),
        };
        let behaviour = check(&json!({}), &[crashes], (seen("crash loop, exit 3"), 2, None));
        let crash = Crash {
            after: SignedDuration::from_secs(7),
            code: 3,
        };
        assert_eq!(behaviour.crash, Some(crash));
        let missing = status(
            json!({"ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}}),
        );
        let behaviour = check(&json!({}), &[missing], (seen("no image"), 2, None));
        assert_eq!(behaviour.image, Image::Missing);
        let runs = |since: &str| {
            status(json!({"ready": false, "restartCount": 0, "state": {"running": {"startedAt": since}}}))
        };
        check(
            &json!({}),
            &[runs("2026-01-01T12:00:00Z")],
            (seen("not ready"), 2, None),
        );
        check(
            &json!({}),
            &[runs("2026-01-01T12:09:50Z")],
            (KnownFrom::NoProbes, 2, Some(0)),
        );
    }

    #[test]
    fn pods_that_serve_outweigh_one_that_does_not() {
        let starting = json!({"containerStatuses": [{
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}},
        }]});
        let pods = [came_up(1, 2, 0), starting];
        check(&json!({}), &pods, (KnownFrom::Measured { pods: 1 }, 1, Some(1)));
    }
}
