//! What pods and pod templates must say, and what of a pod may change.

use super::super::status::Cause;
use super::{metadata, one_of};
use crate::object::{get, int, list, remove, text};
use crate::quantity::Quantity;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn object(object: &Value, causes: &mut Vec<Cause>) {
    spec(object, "spec", causes);
}

/// The rules of everything that holds containers.
pub(super) fn spec(object: &Value, path: &str, causes: &mut Vec<Cause>) {
    let volumes = volumes(object, path, causes);
    let mut names = BTreeSet::new();
    let containers = list(object, &format!("{path}.containers"));
    if containers.is_empty() {
        causes.push(Cause::required(&format!("{path}.containers"), ""));
    }
    for field in ["containers", "initContainers"] {
        for (at, each) in list(object, &format!("{path}.{field}")).iter().enumerate() {
            let path = format!("{path}.{field}[{at}]");
            container(each, &path, &volumes, causes);
            let name = text(each, "name");
            if !name.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(&format!("{path}.name"), &each["name"]));
            }
        }
    }
    one_of(
        object,
        &format!("{path}.restartPolicy"),
        &["Always", "OnFailure", "Never"],
        causes,
    );
    one_of(
        object,
        &format!("{path}.dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        causes,
    );
}

/// The names of the volumes that can be mounted.
fn volumes<'a>(object: &'a Value, path: &str, causes: &mut Vec<Cause>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, volume) in list(object, &format!("{path}.volumes")).iter().enumerate() {
        let path = format!("{path}.volumes[{at}]");
        let name = text(volume, "name");
        let sources: Vec<&str> = volume
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(field, value)| field.as_str() != "name" && !value.is_null())
            .map(|(field, _)| field.as_str())
            .collect();
        // The real server looks at empty folders first, and names the others.
        let first = sources.iter().find(|source| **source == "emptyDir");
        let first = first.or(sources.first()).copied();
        for other in sources.iter().filter(|source| Some(**source) != first) {
            causes.push(Cause::forbidden(
                &format!("{path}.{other}"),
                "may not specify more than 1 volume type",
            ));
        }
        let twice = sources.len() > 1;
        if name.is_empty() {
            causes.push(Cause::required(&format!("{path}.name"), ""));
        } else if !metadata::is_label(name) {
            causes.push(Cause::invalid(
                &format!("{path}.name"),
                &json!(name),
                metadata::LABEL,
            ));
        } else if names.contains(name) {
            causes.push(Cause::duplicate(&format!("{path}.name"), &json!(name)));
        } else if !twice {
            names.insert(name);
        }
    }
    names
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let name = text(container, "name");
    if name.is_empty() {
        causes.push(Cause::required(&format!("{path}.name"), ""));
    } else if !metadata::is_label(name) {
        causes.push(Cause::invalid(
            &format!("{path}.name"),
            &json!(name),
            metadata::LABEL,
        ));
    }
    if text(container, "image").is_empty() {
        causes.push(Cause::required(&format!("{path}.image"), ""));
    }
    probes(container, path, causes);
    ports(container, path, causes);
    for (at, variable) in list(container, "env").iter().enumerate() {
        if text(variable, "name").is_empty() {
            causes.push(Cause::required(&format!("{path}.env[{at}].name"), ""));
        }
    }
    for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
        let name = text(mount, "name");
        if !volumes.contains(name) {
            let path = format!("{path}.volumeMounts[{at}].name");
            causes.push(Cause::not_found(&path, &json!(name)));
        }
    }
    if let Some(policy) = container.get("imagePullPolicy")
        && !matches!(policy.as_str(), Some("Always" | "IfNotPresent" | "Never"))
    {
        causes.push(Cause::not_supported(
            &format!("{path}.imagePullPolicy"),
            policy,
            &["Always", "IfNotPresent", "Never"],
        ));
    }
    amounts(container, path, causes);
}

fn probes(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(name).filter(|probe| probe.is_object()) else {
            continue;
        };
        let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
        if handlers.iter().all(|handler| probe.get(*handler).is_none()) {
            let words = "must specify a handler type";
            causes.push(Cause::required(&format!("{path}.{name}"), words));
        }
    }
}

fn ports(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (at, port) in list(container, "ports").iter().enumerate() {
        for field in ["containerPort", "hostPort"] {
            let number = int(port, field);
            if number.is_some_and(|number| !is_port(number)) {
                causes.push(Cause::invalid(
                    &format!("{path}.ports[{at}].{field}"),
                    &port[field],
                    PORT,
                ));
            }
        }
    }
}

pub(super) const PORT: &str = "must be between 1 and 65535, inclusive";

pub(super) fn is_port(number: i64) -> bool {
    (1..=65535).contains(&number)
}

/// Nobody asks for more than may be taken.
fn amounts(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let requests = get(container, "resources.requests").and_then(Value::as_object);
    for (resource, asked) in requests.into_iter().flatten() {
        let limit = get(container, "resources.limits").and_then(|limits| limits.get(resource));
        if let (Some(limit), Some(amount)) = (limit.and_then(Quantity::of), Quantity::of(asked))
            && amount > limit
        {
            causes.push(Cause::invalid(
                &format!("{path}.resources.requests"),
                asked,
                &format!("must be less than or equal to {resource} limit of {limit}"),
            ));
        }
    }
}

pub(super) fn update(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    for field in ["spec.containers", "spec.initContainers"] {
        if list(old, field).len() != list(object, field).len() {
            causes.push(Cause::forbidden(
                field,
                "pod updates may not add or remove containers",
            ));
            return;
        }
    }
    deadline(old, object, causes);
    tolerations(old, object, causes);
    let rest = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        for field in ["activeDeadlineSeconds", "tolerations"] {
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

/// A deadline may come and become shorter.
fn deadline(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    const PATH: &str = "spec.activeDeadlineSeconds";
    match (int(old, PATH), int(object, PATH)) {
        (Some(before), Some(after)) if after > before => causes.push(Cause::invalid(
            PATH,
            &json!(after),
            "must be less than or equal to previous value",
        )),
        (Some(_), None) => causes.push(Cause::invalid(
            PATH,
            &Value::Null,
            "must not update from a positive integer to nil value",
        )),
        _ => {}
    }
}

fn tolerations(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    let without_time = |toleration: &Value| {
        let mut toleration = toleration.clone();
        remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    let now: Vec<Value> = list(object, "spec.tolerations")
        .iter()
        .map(without_time)
        .collect();
    let kept = list(old, "spec.tolerations")
        .iter()
        .all(|each| now.contains(&without_time(each)));
    if !kept {
        causes.push(Cause::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}
