//! Whether the API server would take a write, or a pod, made from a revision's template: all of admission, nothing
//! stored.

use super::super::fetch::{Part, get, post, try_replace};
use super::Around;
use crate::effects::object::{Object, collection};
use crate::failure::{Attempt, Verb, is_missing_right};
use astern_model::failure::{Failure, FailureClass};
use astern_model::question::{Answer, RevisionKey};
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use serde_json::{Value, json};

/// Tries the write of the template on the workload as it stands.
pub(super) async fn write(around: &Around<'_>, target: &Target, revision: &RevisionKey) -> Answer {
    let Some(template) = template(around, target, revision) else {
        return forgotten(revision);
    };
    // The object of the inventory is mostly still the newest, which saves a read; where it is not, the server says so.
    if let Some(object) = around.seen.objects.get(target) {
        match replace(around, target, object.clone(), template).await {
            Err(failure) if failure.class == FailureClass::Conflict => {}
            tried => return accepted(tried),
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
        Ok(json) => accepted(replace(around, target, Object::new(target.kind, json), template).await),
        Err(failure) => Answer::Unknown { why: failure.message },
    }
}

/// Tries a pod made from the template. The controller makes the real one, so the right to create pods says nothing
/// about it, and a quota that is full now may be free once old pods have gone.
pub(super) async fn pod(around: &Around<'_>, target: &Target, revision: &RevisionKey) -> Answer {
    let Some(template) = template(around, target, revision) else {
        return forgotten(revision);
    };
    let body = pod_from(template, target, around.seen.objects.get(target));
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

async fn replace(
    around: &Around<'_>,
    target: &Target,
    object: Object,
    template: &Template,
) -> Result<Value, Failure> {
    let operation = format!("try the write of {target}");
    let attempt = Attempt::new(Verb::Update, target.kind.plural(), operation).without_effect();
    let body = object.with_template(template);
    try_replace(
        around.client,
        &collection(target),
        &target.name,
        body.json(),
        &attempt,
    )
    .await
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

fn template<'a>(around: &Around<'a>, target: &Target, revision: &RevisionKey) -> Option<&'a Template> {
    let workload = around.inventory.workloads.get(target)?;
    let found = workload
        .revisions
        .iter()
        .find(|kept| kept.hash == revision.template)?;
    Some(&found.template)
}

fn forgotten(revision: &RevisionKey) -> Answer {
    Answer::Unknown {
        why: format!("the inventory holds no template of revision {}", revision.name),
    }
}

/// The pod that the workload's controller would make, as far as admission looks at it.
fn pod_from(template: &Template, target: &Target, object: Option<&Object>) -> Value {
    let empty = json!({});
    let template = template.json();
    let metadata = template.get("metadata").unwrap_or(&empty);
    let mut spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let Some(object) = object.filter(|_| target.kind == WorkloadKind::StatefulSet) {
        add_claims(&mut spec, object);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-", target.name),
            "namespace": target.namespace,
            "labels": metadata.get("labels").unwrap_or(&empty),
            "annotations": metadata.get("annotations").unwrap_or(&empty),
        },
        "spec": spec,
    })
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

    #[test]
    fn a_pod_is_tried_with_the_claims_of_its_statefulset() {
        let target = Target {
            kind: WorkloadKind::StatefulSet,
            namespace: "shop".to_owned(),
            name: "db".to_owned(),
        };
        let object = Object::new(
            WorkloadKind::StatefulSet,
            json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}),
        );
        let template = Template::clean(json!({
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "db", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]},
        }));
        let pod = pod_from(&template, &target, Some(&object));
        assert_eq!(pod["metadata"]["generateName"], json!("db-"));
        assert_eq!(
            pod["spec"]["volumes"],
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}])
        );
    }
}
