//! What the API server refuses of an object: names, what a workload must have, what may not change. Not all that a real
//! server checks: fields that are not named here are stored as they come.

use super::status::{Cause, Outcome, Refusal};
use crate::kinds::Kind;
use crate::object::{flag, get, int, list, remove, same, text};
use crate::selector::Labels;
use serde_json::{Value, json};

/// Whether the object may be stored at all.
pub(crate) fn object(kind: &Kind, object: &Value) -> Outcome<()> {
    let mut causes = Vec::new();
    name(kind, object, &mut causes);
    match &*kind.resource() {
        "pods" => pod_spec(object, "spec", &mut causes),
        "deployments.apps" | "replicasets.apps" | "statefulsets.apps" | "daemonsets.apps" => {
            workload(object, &mut causes);
            not_imitated(object, &mut causes);
        }
        "resourcequotas"
            if !same(get(object, "spec.scopes"), None) || get(object, "spec.scopeSelector").is_some() =>
        {
            causes.push(Cause::forbidden(
                "spec.scopes",
                "the sandbox does not support scopes of quotas",
            ));
        }
        "customresourcedefinitions.apiextensions.k8s.io" => definition(object, &mut causes),
        "limitranges" => limit_range(object, &mut causes),
        _ => {}
    }
    refused(kind, object, &causes)
}

/// Whether one may become the other.
pub(crate) fn update(kind: &Kind, old: &Value, object: &Value) -> Outcome<()> {
    let mut causes = Vec::new();
    let immutable = |path: &str, causes: &mut Vec<Cause>| {
        if !same(get(old, path), get(object, path)) {
            let value = get(object, path).cloned().unwrap_or_default();
            causes.push(Cause::invalid(path, &value, "field is immutable"));
        }
    };
    match &*kind.resource() {
        "deployments.apps" | "replicasets.apps" | "daemonsets.apps" => {
            immutable("spec.selector", &mut causes)
        }
        "statefulsets.apps" => stateful_set(old, object, &mut causes),
        "configmaps" | "secrets" => {
            kept_secret(old, object, &mut causes);
            if &*kind.resource() == "secrets" {
                immutable("type", &mut causes);
            }
        }
        "pods" => pod(old, object, &mut causes),
        "controllerrevisions.apps" => immutable("data", &mut causes),
        "jobs.batch" => {
            for path in ["spec.selector", "spec.template", "spec.completionMode"] {
                immutable(path, &mut causes);
            }
        }
        _ => {}
    }
    refused(kind, object, &causes)
}

fn refused(kind: &Kind, object: &Value, causes: &[Cause]) -> Outcome<()> {
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid(kind, text(object, "metadata.name"), causes))
    }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn name(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    let name = text(object, "metadata.name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    let resource = kind.resource();
    if resource.ends_with("rbac.authorization.k8s.io") {
        return;
    }
    let label = matches!(&*resource, "namespaces" | "services");
    let part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| inner(*byte))
            && bytes.last().is_some_and(|byte| inner(*byte))
            && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
    };
    let good = if label {
        part(name)
    } else {
        name.split('.').all(part)
    };
    if !good {
        let words = if label { LABEL } else { SUBDOMAIN };
        causes.push(Cause::invalid("metadata.name", &json!(name), words));
    }
}

fn workload(object: &Value, causes: &mut Vec<Cause>) {
    if int(object, "spec.replicas").is_some_and(|replicas| replicas < 0) {
        let value = get(object, "spec.replicas").cloned().unwrap_or_default();
        causes.push(Cause::invalid(
            "spec.replicas",
            &value,
            "must be greater than or equal to 0",
        ));
    }
    let selector = get(object, "spec.selector");
    if same(selector, None) {
        causes.push(Cause::required("spec.selector", ""));
    } else {
        let template = get(object, "spec.template").cloned().unwrap_or_default();
        if !Labels::of(selector).matches(&template) {
            let labels = get(&template, "metadata.labels")
                .cloned()
                .unwrap_or_else(|| json!({}));
            causes.push(Cause::invalid(
                "spec.template.metadata.labels",
                &labels,
                "`selector` does not match template `labels`",
            ));
        }
    }
    let policy = text(object, "spec.template.spec.restartPolicy");
    if !matches!(policy, "" | "Always") {
        causes.push(Cause::not_supported(
            "spec.template.spec.restartPolicy",
            &json!(policy),
            &["Always"],
        ));
    }
    pod_spec(object, "spec.template.spec", causes);
}

/// Settings that change how a workload rolls and that no controller here knows.
fn not_imitated(object: &Value, causes: &mut Vec<Cause>) {
    let surge = get(object, "spec.updateStrategy.rollingUpdate.maxSurge");
    if surge.is_some_and(|surge| *surge != json!(0) && *surge != json!("0%")) {
        causes.push(Cause::forbidden(
            "spec.updateStrategy.rollingUpdate.maxSurge",
            "the sandbox does not support a surge of DaemonSets",
        ));
    }
    for when in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
        if !matches!(text(object, &path), "" | "Retain") {
            causes.push(Cause::forbidden(&path, "the sandbox always retains claims"));
        }
    }
}

/// Only what fills in containers is imitated.
fn limit_range(object: &Value, causes: &mut Vec<Cause>) {
    for (at, limit) in list(object, "spec.limits").iter().enumerate() {
        let bounds = ["max", "min", "maxLimitRequestRatio"];
        let bounded = bounds.iter().any(|field| !same(limit.get(*field), None));
        if text(limit, "type") != "Container" || bounded {
            causes.push(Cause::forbidden(
                &format!("spec.limits[{at}]"),
                "the sandbox supports only default and defaultRequest of type Container",
            ));
        }
    }
}

fn pod_spec(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    let containers = list(object, &format!("{path}.containers"));
    if containers.is_empty() {
        causes.push(Cause::required(&format!("{path}.containers"), ""));
    }
    for (at, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if text(container, field).is_empty() {
                causes.push(Cause::required(&format!("{path}.containers[{at}].{field}"), ""));
            }
        }
        let twin = containers[..at]
            .iter()
            .any(|other| text(other, "name") == text(container, "name"));
        if twin {
            causes.push(Cause::duplicate(
                &format!("{path}.containers[{at}].name"),
                &container["name"],
            ));
        }
    }
}

fn stateful_set(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    const MAY_CHANGE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "revisionHistoryLimit",
    ];
    let rest = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for field in MAY_CHANGE {
            remove(&mut spec, field);
        }
        spec
    };
    if rest(old) != rest(object) {
        causes.push(Cause::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

/// An immutable ConfigMap or Secret. Its values are not told.
fn kept_secret(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    if !flag(old, "immutable") {
        return;
    }
    let words = "field is immutable when `immutable` is set";
    if !flag(object, "immutable") {
        causes.push(Cause::forbidden("immutable", words));
    }
    for field in ["data", "binaryData"] {
        if !same(old.get(field), object.get(field)) {
            causes.push(Cause::forbidden(field, words));
        }
    }
}

fn pod(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    let rest = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for field in [
            "activeDeadlineSeconds",
            "terminationGracePeriodSeconds",
            "tolerations",
            "nodeName",
        ] {
            remove(&mut spec, field);
        }
        for field in ["containers", "initContainers"] {
            for container in crate::object::list_mut(&mut spec, field) {
                remove(container, "image");
            }
        }
        spec
    };
    if rest(old) != rest(object) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

fn definition(object: &Value, causes: &mut Vec<Cause>) {
    let (group, plural) = (text(object, "spec.group"), text(object, "spec.names.plural"));
    let name = text(object, "metadata.name");
    if name != format!("{plural}.{group}") {
        causes.push(Cause::invalid(
            "metadata.name",
            &json!(name),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let served = list(object, "spec.versions")
        .iter()
        .filter(|version| flag(version, "served"));
    if served.count() != 1 {
        causes.push(Cause::forbidden(
            "spec.versions",
            "the sandbox serves exactly one version of a custom resource",
        ));
    }
}
