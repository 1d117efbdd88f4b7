//! Whether the API server would take a write, or a pod, made from a revision's template: all of admission, nothing
//! stored.

use super::super::fetch::{Part, get, post, try_delete, try_replace};
use super::super::workload::texts;
use super::Around;
use crate::effects::config::{anew, restored};
use crate::effects::last_applied::LAST_APPLIED;
use crate::effects::mask;
use crate::effects::object::{Object, collection};
use crate::failure::{Attempt, Verb, is_missing_right};
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::content::ContentRef;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::question::{Answer, RevisionKey};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::{POD_TEMPLATE_HASH, ROLLOUTS_POD_TEMPLATE_HASH, Template};
use astern_model::workload::{Revision, Workload};
use kube::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What the values of a ConfigMap or Secret may take together, and what the annotations of any object may. Source:
/// `MaxSecretSize` of `pkg/apis/core/types.go` and `TotalAnnotationSizeLimitB` of `apimachinery/pkg/api/validation`.
const VALUES_BYTES: usize = 1024 * 1024;
const ANNOTATIONS_BYTES: usize = 256 * 1024;

/// More places than these say no more about who changes a template.
const PLACES: usize = 5;

/// Tries the write of the template on the workload as it stands.
pub(super) async fn write(around: &Around<'_>, target: &Target, revision: &RevisionKey) -> Answer {
    let Some(kept) = remembered(around, target, revision) else {
        return forgotten(revision);
    };
    update(around, target, &|object| object.with_template(&kept.template)).await
}

/// Tries the mark of a restart on the workload as it stands.
pub(super) async fn restart(around: &Around<'_>, target: &Target, at: &str) -> Answer {
    let marked = |object: Object| {
        let template = object.template().restarted(at);
        object.with_template(&template)
    };
    update(around, target, &marked).await
}

/// Tries the content of then on a ConfigMap or Secret as it stands, or to make it.
pub(super) async fn config(
    around: &Around<'_>,
    object: &ConfigName,
    namespace: &str,
    kept: &ContentRef,
) -> Answer {
    let unknown = |why: String| Answer::Unknown { why };
    let then = match around.vault.get(kept).await {
        Ok(bytes) => serde_json::from_slice::<Value>(&bytes).ok(),
        Err(failure) => return unknown(failure.to_string()),
    };
    let Some(then) = then else {
        return unknown(format!("what the vault keeps as {} is no object", kept.name));
    };
    let plural = object.kind.plural();
    let path = format!("/api/v1/namespaces/{namespace}/{plural}");
    let operation = format!("try the content of {object}");
    let attempt = |verb| Attempt::new(verb, plural, &operation).without_effect();
    let now: Result<Value, Failure> = get(
        around.client,
        &path,
        &object.name,
        Part::Whole,
        &attempt(Verb::Get),
    )
    .await;
    match now {
        Ok(now) if is_fixed(&now, &then) => {
            // It is made anew under its name, which is taken until then.
            let mut wanted = anew(then);
            set_generated_name(&mut wanted, &object.name);
            if let Some(why) = too_large(object, &wanted) {
                return Answer::No { why };
            }
            let tried = post(around.client, &path, &wanted, true, &attempt(Verb::Create)).await;
            accepted(tried.map_err(|failure| mask::without_values(failure, object, &[&wanted])))
        }
        Ok(now) => {
            let wanted = restored(now.clone(), &then);
            if let Some(why) = too_large(object, &wanted) {
                return Answer::No { why };
            }
            let attempt = attempt(Verb::Update);
            let tried = try_replace(around.client, &path, &object.name, &wanted, &attempt).await;
            accepted(tried.map_err(|failure| mask::without_values(failure, object, &[&now, &wanted])))
        }
        Err(failure) if failure.class == FailureClass::Permanent => {
            let wanted = anew(then);
            if let Some(why) = too_large(object, &wanted) {
                return Answer::No { why };
            }
            let tried = post(around.client, &path, &wanted, true, &attempt(Verb::Create)).await;
            accepted(tried.map_err(|failure| mask::without_values(failure, object, &[&wanted])))
        }
        Err(failure) => unknown(failure.message),
    }
}

/// Whether an object cannot hold something else under its name.
fn is_fixed(now: &Value, then: &Value) -> bool {
    let immutable = now.get("immutable").and_then(Value::as_bool);
    let types = [now, then].map(|object| object.get("type").and_then(Value::as_str));
    astern_model::config::fixed(immutable.unwrap_or_default(), types).is_some()
}

/// Another name that begins alike.
fn set_generated_name(object: &mut Value, name: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("name");
        metadata.insert("generateName".to_owned(), Value::from(format!("{name}-")));
    }
}

/// Tries to pause or resume the Deployment with the template that it asks for by then.
pub(super) async fn pause(
    around: &Around<'_>,
    target: &Target,
    paused: bool,
    revision: Option<&RevisionKey>,
) -> Answer {
    let template = match revision {
        None => None,
        Some(key) => match remembered(around, target, key) {
            Some(kept) => Some(&kept.template),
            None => return forgotten(key),
        },
    };
    let change = |object: Object| match template {
        Some(template) => object.with_template(template).with_paused(paused),
        None => object.with_paused(paused),
    };
    update(around, target, &change).await
}

/// Tries the deletion of a pod. One that is gone, or another one of that name, is nothing to refuse.
pub(super) async fn delete(client: &Client, namespace: &str, pod: &str, uid: &Uid) -> Answer {
    let operation = format!("try the deletion of pod/{pod}");
    let attempt = Attempt::new(Verb::Delete, "pods", operation).without_effect();
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    match try_delete(client, &path, pod, uid, &attempt).await {
        Err(failure) if matches!(failure.class, FailureClass::Permanent | FailureClass::Conflict) => {
            Answer::Yes
        }
        tried => accepted(tried),
    }
}

type Change<'a> = dyn Fn(Object) -> Object + Sync + 'a;

/// Tries a change of the workload as it stands.
async fn update(around: &Around<'_>, target: &Target, change: &Change<'_>) -> Answer {
    // The object of the inventory is mostly still the newest, which saves a read; where it is not, the server says so.
    if let Some(object) = around.seen.objects.get(target) {
        let wanted = change(object.clone());
        match replace(around, target, &wanted).await {
            Err(failure) if failure.class == FailureClass::Conflict => {}
            tried => return as_planned(tried, &template_of(wanted.json())),
        }
    }
    let attempt = Attempt::new(Verb::Get, target.kind.plural(), format!("read {target}"));
    match get::<Value>(
        around.client,
        &collection(target),
        &target.name,
        Part::Whole,
        &attempt,
    )
    .await
    {
        Ok(json) => {
            let wanted = change(Object::new(target.kind, json));
            as_planned(
                replace(around, target, &wanted).await,
                &template_of(wanted.json()),
            )
        }
        Err(failure) => Answer::Unknown { why: failure.message },
    }
}

fn template_of(workload: &Value) -> Template {
    Template::clean(workload.pointer("/spec/template").cloned().unwrap_or(Value::Null))
}

/// Tries a pod made from the template. The controller makes the real one, so the right to create pods says nothing
/// about it, and a quota that is full now may be free once old pods have gone.
pub(super) async fn pod(around: &Around<'_>, target: &Target, revision: &RevisionKey) -> Answer {
    let Some((workload, kept)) = around
        .inventory
        .workloads
        .get(target)
        .zip(remembered(around, target, revision))
    else {
        return forgotten(revision);
    };
    let body = pod_from(workload, kept, around.seen.objects.get(target));
    let operation = format!("try a pod of {target} as {}", revision.name);
    let attempt = Attempt::new(Verb::Create, "pods", operation).without_effect();
    let path = format!("/api/v1/namespaces/{}/pods", target.namespace);
    match post(around.client, &path, &body, true, &attempt).await {
        Err(failure) if is_missing_right(&failure) => Answer::Unknown {
            why: format!("pods may not be tried: {}", failure.message),
        },
        Err(failure) if failure.message.contains("exceeded quota") => Answer::Unknown {
            why: format!("a quota is full at the moment: {}", failure.message),
        },
        tried => accepted(tried),
    }
}

async fn replace(around: &Around<'_>, target: &Target, object: &Object) -> Result<Value, Failure> {
    let operation = format!("try the write of {target}");
    let attempt = Attempt::new(Verb::Update, target.kind.plural(), operation).without_effect();
    try_replace(
        around.client,
        &collection(target),
        &target.name,
        object.json(),
        &attempt,
    )
    .await
}

/// Whether the write is taken, and stored as it was sent. A template that admission changes on the way, or to which a
/// newer server adds, is not the version that was chosen, and its rollout would be waited for in vain.
fn as_planned(tried: Result<Value, Failure>, template: &Template) -> Answer {
    let stored = match &tried {
        Ok(json) => template_of(json),
        Err(_) => return accepted(tried),
    };
    let mut places = Vec::new();
    differences("", template.json(), stored.json(), &mut places);
    if places.is_empty() {
        return Answer::Yes;
    }
    let more = places.len().saturating_sub(PLACES);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    places.truncate(PLACES);
    Answer::No {
        why: format!(
            "it would be stored with another {}{more} (a mutating webhook or policy, or a newer server's defaults)",
            places.join(", ")
        ),
    }
}

/// The paths at which two JSON documents differ, without the values: a template may hold secret ones.
fn differences(path: &str, one: &Value, other: &Value, places: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => differences(&path, a, b, places),
                    _ => places.push(path),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (place, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{place}]"), a, b, places);
            }
        }
        (one, other) if one == other => {}
        _ => places.push(path.to_owned()),
    }
}

/// Why no API server takes an object of this size; it would say so without what it comes from and what helps.
fn too_large(object: &ConfigName, wanted: &Value) -> Option<String> {
    let texts = |place: &str| {
        let held = wanted.pointer(place).and_then(Value::as_object);
        held.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    };
    // Secrets and binary data travel in base64: four characters for three bytes.
    let decoded = |text: &str| text.trim_end_matches('=').len() * 3 / 4;
    let plain = |text: &str| {
        if object.kind == ConfigKind::Secret {
            decoded(text)
        } else {
            text.len()
        }
    };
    let values = texts("/data").map(|(_, text)| plain(text)).sum::<usize>()
        + texts("/binaryData").map(|(_, text)| decoded(text)).sum::<usize>();
    if values > VALUES_BYTES {
        return Some(format!(
            "its values take {values} bytes, and those of an object may take {VALUES_BYTES}: divide {object} into several, and the \
             release with it"
        ));
    }
    let annotations: usize = texts("/metadata/annotations")
        .map(|(key, text)| key.len() + text.len())
        .sum();
    let remembered = texts("/metadata/annotations").find(|(key, _)| *key == LAST_APPLIED);
    let remembered = remembered.map_or(0, |(_, text)| text.len());
    (annotations > ANNOTATIONS_BYTES).then(|| {
        format!(
            "its annotations would take {annotations} bytes, {remembered} of them what kubectl apply remembers of the content, and \
             those of an object may take {ANNOTATIONS_BYTES}: have it remembered no more (`kubectl annotate {object} \
             {LAST_APPLIED}-`), and apply it with --server-side from then on"
        )
    })
}

fn accepted(tried: Result<Value, Failure>) -> Answer {
    match tried {
        Ok(_) => Answer::Yes,
        Err(Failure {
            class: FailureClass::Refused,
            message,
            ..
        }) => Answer::No { why: message },
        Err(failure) => Answer::Unknown { why: failure.message },
    }
}

pub(super) fn remembered<'a>(
    around: &Around<'a>,
    target: &Target,
    revision: &RevisionKey,
) -> Option<&'a Revision> {
    let workload = around.inventory.workloads.get(target)?;
    workload
        .all_revisions()
        .find(|kept| kept.hash == revision.template)
}

pub(super) fn forgotten(revision: &RevisionKey) -> Answer {
    Answer::Unknown {
        why: format!("the inventory holds no template of revision {}", revision.name),
    }
}

/// The pod that the workload's controller would make, as far as admission looks at it: with its owner, since policies
/// refuse pods that nobody owns, and with the labels that the controller adds.
fn pod_from(workload: &Workload, revision: &Revision, object: Option<&Object>) -> Value {
    let target = &workload.target;
    let empty = json!({});
    let template = revision.template.json();
    let metadata = template.get("metadata").unwrap_or(&empty);
    let mut spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(object) = object.filter(|_| target.kind == WorkloadKind::StatefulSet) {
        add_claims(&mut spec, object);
    }
    let mut labels = texts(metadata.get("labels"));
    // What no object of the cluster keeps has none yet: the live revision's stands for the one that will be made.
    let keeper = match workload.live_revision() {
        Some(live) if !revision.is_remembered() => live,
        _ => revision,
    };
    labels.extend(added_labels(target, keeper));
    let (api, kind, name, uid) = owner(workload, keeper);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{name}-"),
            "namespace": target.namespace,
            "labels": labels,
            "annotations": metadata.get("annotations").unwrap_or(&empty),
            // Without `blockOwnerDeletion`, for which the API server may ask for a right that only controllers have.
            "ownerReferences": [
                {"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": true},
            ],
        },
        "spec": spec,
    })
}

/// Whose pod it would be. A Deployment or Rollout brings its old ReplicaSet back.
fn owner<'a>(
    workload: &'a Workload,
    revision: &'a Revision,
) -> (&'static str, &'static str, &'a str, &'a str) {
    let target = &workload.target;
    let api = target.kind.api_version();
    let own = || {
        (
            api,
            target.kind.name(),
            target.name.as_str(),
            workload.uid.as_str(),
        )
    };
    match workload.target.kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout if !revision.is_remembered() => own(),
        WorkloadKind::Deployment | WorkloadKind::Rollout => {
            ("apps/v1", "ReplicaSet", &revision.name, revision.uid.as_str())
        }
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => own(),
    }
}

/// The labels that the controllers put on a pod. Sources: `apps/v1`'s `DefaultDeploymentUniqueLabelKey`,
/// `ControllerRevisionHashLabelKey` and `StatefulSetPodNameLabel`.
fn added_labels(target: &Target, revision: &Revision) -> Vec<(String, String)> {
    let hash = revision
        .name
        .strip_prefix(&format!("{}-", target.name))
        .unwrap_or(&revision.name)
        .to_owned();
    match target.kind {
        WorkloadKind::Deployment => vec![(POD_TEMPLATE_HASH.to_owned(), hash)],
        WorkloadKind::Rollout => vec![(ROLLOUTS_POD_TEMPLATE_HASH.to_owned(), hash)],
        WorkloadKind::DaemonSet => vec![("controller-revision-hash".to_owned(), hash)],
        WorkloadKind::StatefulSet => vec![
            ("controller-revision-hash".to_owned(), revision.name.clone()),
            (
                "statefulset.kubernetes.io/pod-name".to_owned(),
                format!("{}-0", target.name),
            ),
        ],
    }
}

/// A StatefulSet's claims are volumes that its controller adds; without them a mount would name nothing.
fn add_claims(spec: &mut Value, object: &Object) {
    let claims = object
        .json()
        .pointer("/spec/volumeClaimTemplates")
        .and_then(Value::as_array);
    let set = object.text("/metadata/name").unwrap_or_default();
    let volumes = claims.into_iter().flatten().filter_map(|claim| {
        let name = claim.pointer("/metadata/name")?.as_str()?;
        Some(json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{name}-{set}-0")}}))
    });
    let all: Vec<Value> = volumes.collect();
    let names: Vec<&Value> = all.iter().filter_map(|volume| volume.get("name")).collect();
    let own = spec
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let kept = own
        .filter(|volume| !volume.get("name").is_some_and(|name| names.contains(&name)))
        .cloned();
    let volumes: Vec<Value> = kept.chain(all.iter().cloned()).collect();
    if !volumes.is_empty() {
        spec["volumes"] = Value::Array(volumes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: WorkloadKind, name: &str, revision: &str, template: Value) -> Workload {
        let template = Template::clean(template);
        serde_json::from_value(json!({
            "target": {"kind": kind, "namespace": "shop", "name": name},
            "uid": "w-1",
            "createdAt": "2026-01-01T00:00:00Z",
            "template": template,
            "strategy": {"type": "onDelete"},
            "paused": false,
            "desired": 1,
            "status": astern_model::workload::Status::default(),
            "minReady": "PT0S",
            "historyLimit": 10,
            "annotations": {},
            "labels": {},
            "hasLastApplied": false,
            "revisions": [{
                "number": 1, "formerNumbers": [], "kind": "ReplicaSet", "name": revision, "uid": "r-1",
                "createdAt": "2026-01-01T00:00:00Z", "template": template, "hash": template.hash(),
                "marks": {}, "pods": 0, "ready": 0,
            }],
            "pods": [],
            "owners": [],
        }))
        .unwrap()
    }

    fn tried(workload: &Workload, object: Option<&Object>) -> Value {
        pod_from(workload, &workload.revisions[0], object)
    }

    #[test]
    fn a_template_that_would_be_stored_otherwise_is_told_by_its_places_and_never_its_values() {
        let sent = Template::clean(json!({
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "db", "image": "db:v1", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
        }));
        let check = |stored: Value, why: &str| {
            let answer = as_planned(Ok(json!({"spec": {"template": stored}})), &sent);
            let expected = match why {
                "" => Answer::Yes,
                why => Answer::No {
                    why: format!(
                        "it would be stored with another {why} (a mutating webhook or policy, or a newer server's defaults)"
                    ),
                },
            };
            assert_eq!(answer, expected);
        };
        let with = |pointer: &str, value: Value| {
            let mut stored = sent.json().clone();
            *stored.pointer_mut(pointer).unwrap() = value;
            stored
        };
        check(sent.json().clone(), "");
        check(
            with("/spec/containers/0/image", json!("mirror/db:v1")),
            "spec.containers[0].image",
        );
        check(
            with("/spec/containers/0/env/0/value", json!("hunter3")),
            "spec.containers[0].env[0].value",
        );
        check(
            with("/spec/containers", json!([{"name": "db"}, {"name": "sidecar"}])),
            "spec.containers",
        );
        check(
            json!({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}),
            "a, b, c, d, e and 2 more",
        );
    }

    #[test]
    fn a_pod_is_tried_with_the_claims_of_its_statefulset() {
        let object = Object::new(
            WorkloadKind::StatefulSet,
            json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}),
        );
        let template = json!({
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]},
        });
        let set = workload(WorkloadKind::StatefulSet, "db", "db-ccc", template);
        let pod = tried(&set, Some(&object));
        assert_eq!(pod["metadata"]["generateName"], json!("db-"));
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}])
        );
    }

    #[test]
    fn a_pod_is_tried_as_its_controllers_own_and_not_as_a_naked_one() {
        let check = |kind: WorkloadKind, revision: &str, owner: Value, labels: Value| {
            let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {}});
            let pod = tried(&workload(kind, "web", revision, template), None);
            let mut expected = json!({"apiVersion": "apps/v1", "controller": true});
            expected
                .as_object_mut()
                .unwrap()
                .extend(owner.as_object().unwrap().clone());
            assert_eq!(pod["metadata"]["ownerReferences"], json!([expected]));
            assert_eq!(pod["metadata"]["labels"], labels);
        };
        check(
            WorkloadKind::Deployment,
            "web-5f2k8",
            json!({"kind": "ReplicaSet", "name": "web-5f2k8", "uid": "r-1"}),
            json!({"app": "web", "pod-template-hash": "5f2k8"}),
        );
        check(
            WorkloadKind::DaemonSet,
            "web-7m4t6",
            json!({"kind": "DaemonSet", "name": "web", "uid": "w-1"}),
            json!({"app": "web", "controller-revision-hash": "7m4t6"}),
        );
        check(
            WorkloadKind::StatefulSet,
            "web-7m4t6",
            json!({"kind": "StatefulSet", "name": "web", "uid": "w-1"}),
            json!({
                "app": "web",
                "controller-revision-hash": "web-7m4t6",
                "statefulset.kubernetes.io/pod-name": "web-0",
            }),
        );
    }
}
