//! What all other kinds must say and may change.

use super::super::defaults::CONTROLLER_UID;
use super::super::status::Cause;
use super::{NOT_NEGATIVE, immutable, not_negative, one_of, pods};
use crate::kinds::Kind;
use crate::object::{flag, get, int, list, same, text};
use crate::quantity::Quantity;
use crate::selector::Labels;
use serde_json::{Value, json};

pub(super) fn object(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    match &*kind.resource() {
        "configmaps" => keys(object, &["data", "binaryData"], causes),
        "secrets" => secret(object, causes),
        "services" => service(object, causes),
        "events" => event(object, causes),
        "leases.coordination.k8s.io" => lease(object, causes),
        "controllerrevisions.apps" => {
            if same(object.get("data"), None) {
                causes.push(Cause::required("data", "data is mandatory"));
            }
            not_negative(object, "revision", causes);
        }
        "resourcequotas" => quota(object, causes),
        "limitranges" => limit_range(object, causes),
        "poddisruptionbudgets.policy" => budget(object, causes),
        "horizontalpodautoscalers.autoscaling" => autoscaler(object, causes),
        "persistentvolumeclaims" => claim(object, causes),
        "jobs.batch" => job(object, causes),
        "customresourcedefinitions.apiextensions.k8s.io" => definition(object, causes),
        _ => {}
    }
}

pub(super) fn update(kind: &Kind, old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    match &*kind.resource() {
        "configmaps" => kept(old, object, causes),
        "secrets" => {
            kept(old, object, causes);
            immutable(old, object, "type", causes);
        }
        "services" => address(old, object, causes),
        "controllerrevisions.apps" => immutable(old, object, "data", causes),
        "jobs.batch" => {
            for path in [
                "spec.completions",
                "spec.selector",
                "spec.template",
                "spec.completionMode",
            ] {
                immutable(old, object, path, causes);
            }
        }
        _ => {}
    }
}

const DATA_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
    'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn keys(object: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    let good = |key: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !key.is_empty() && key.bytes().all(known)
    };
    for field in fields {
        for (key, _) in object
            .get(*field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if !good(key) {
                causes.push(Cause::invalid(&format!("{field}[{key}]"), &json!(key), DATA_KEY));
            }
        }
    }
}

fn secret(object: &Value, causes: &mut Vec<Cause>) {
    keys(object, &["data"], causes);
    let needed: &[&str] = match text(object, "type") {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    };
    for key in needed {
        if object.pointer(&format!("/data/{key}")).is_none() {
            causes.push(Cause::required(&format!("data[{key}]"), ""));
        }
    }
}

/// An immutable ConfigMap or Secret. Its values are not told.
fn kept(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
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

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let ports = list(object, "spec.ports");
    let kind = text(object, "spec.type");
    if ports.is_empty() && kind != "ExternalName" && text(object, "spec.clusterIP") != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        if ports.len() > 1 && text(port, "name").is_empty() {
            causes.push(Cause::required(&format!("{path}.name"), ""));
        }
        for field in ["port", "targetPort"] {
            let number = int(port, field);
            if number.is_some_and(|number| !pods::is_port(number)) {
                causes.push(Cause::invalid(
                    &format!("{path}.{field}"),
                    &port[field],
                    pods::PORT,
                ));
            }
        }
    }
    one_of(
        object,
        "spec.type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        causes,
    );
}

/// A Service keeps its address.
fn address(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
    let (before, now) = (get(old, "spec.clusterIP"), get(object, "spec.clusterIP"));
    if before.is_some() && before != now && text(old, "spec.type") == text(object, "spec.type") {
        let told = json!([now]);
        causes.push(Cause::invalid(
            "spec.clusterIPs[0]",
            &told,
            "may not change once set",
        ));
    }
}

/// As core/v1 has it. Source: `pkg/apis/core/validation/events.go`.
fn event(object: &Value, causes: &mut Vec<Cause>) {
    if text(object, "eventTime").is_empty() {
        let about = text(object, "involvedObject.namespace");
        if !about.is_empty() && about != text(object, "metadata.namespace") {
            let words = "does not match event.namespace";
            causes.push(Cause::invalid("involvedObject.namespace", &json!(about), words));
        }
    } else {
        timed_event(object, "reportingComponent", causes);
    }
}

/// As long as an event's words about who reports what may be.
const EVENT_WORDS: [(&str, usize); 3] = [("reportingInstance", 128), ("action", 128), ("reason", 128)];
const EVENT_MESSAGE: usize = 1024;

/// An event that says when it was, with its fields as core/v1 calls them; `reporter` is how its request calls who reports it.
fn timed_event(object: &Value, reporter: &str, causes: &mut Vec<Cause>) {
    let namespace = text(object, "metadata.namespace");
    let about = text(object, "involvedObject.namespace");
    if about.is_empty() && !["default", "kube-system"].contains(&namespace) {
        let words = "does not match event.namespace";
        causes.push(Cause::invalid("involvedObject.namespace", &json!(about), words));
    }
    let component = text(object, "reportingComponent");
    if component.is_empty() {
        causes.push(Cause::required(reporter, ""));
    }
    for words in super::metadata::bad_key(component) {
        causes.push(Cause::invalid(reporter, &json!(component), &words));
    }
    for (field, most) in EVENT_WORDS {
        let value = text(object, field);
        if value.is_empty() {
            causes.push(Cause::required(field, ""));
        }
        if value.len() > most {
            let words = format!("can have at most {most} characters");
            causes.push(Cause::invalid(field, &json!(""), &words));
        }
    }
    if text(object, "message").len() > EVENT_MESSAGE {
        let words = format!("can have at most {EVENT_MESSAGE} characters");
        causes.push(Cause::invalid("message", &json!(""), &words));
    }
}

/// A new event that comes as events.k8s.io/v1, with its fields as core/v1 calls them.
pub(crate) fn new_event(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let about = text(object, "involvedObject.namespace");
    if !text(object, "eventTime").is_empty() {
        timed_event(object, "reportingController", &mut causes);
    } else if about != text(object, "metadata.namespace") {
        let words = "does not match event.namespace";
        causes.push(Cause::invalid("involvedObject.namespace", &json!(about), words));
    }
    if let Some(series) = object.get("series").filter(|series| !series.is_null()) {
        if int(series, "count").unwrap_or(0) < 2 {
            causes.push(Cause::invalid("series.count", &json!(""), "should be at least 2"));
        }
        if text(series, "lastObservedTime").is_empty() {
            causes.push(Cause::required("series.lastObservedTime", ""));
        }
    }
    if text(object, "eventTime").is_empty() {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = text(object, "type");
    if !["Normal", "Warning"].contains(&kind) {
        causes.push(Cause::invalid(
            "type",
            &json!(""),
            &format!("has invalid value: {kind}"),
        ));
    }
    let is_set = |field: &&&str| match object.get(**field) {
        None | Some(Value::Null) => false,
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(value) => value != &json!(0),
    };
    let unset = ["firstTimestamp", "lastTimestamp", "count", "source"];
    causes.extend(
        unset
            .iter()
            .filter(is_set)
            .map(|field| Cause::invalid(field, &json!(""), "needs to be unset")),
    );
    causes
}

fn lease(object: &Value, causes: &mut Vec<Cause>) {
    if let Some(seconds) = int(object, "spec.leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        let words = "must be greater than 0";
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            &json!(seconds),
            words,
        ));
    }
    not_negative(object, "spec.leaseTransitions", causes);
}

/// What a quota can count of the core's own.
const COUNTED: [&str; 14] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "requests.storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "services.nodeports",
    "services.loadbalancers",
    "pods",
    "resourcequotas",
];
const COUNTED_KINDS: [&str; 5] = [
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];

fn quota(object: &Value, causes: &mut Vec<Cause>) {
    for (resource, amount) in get(object, "spec.hard")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = format!("spec.hard[{resource}]");
        let counted = COUNTED_KINDS.contains(&resource.as_str());
        let whole = counted || matches!(resource.as_str(), "pods" | "resourcequotas");
        if !counted && !COUNTED.contains(&resource.as_str()) && !resource.contains('/') {
            for words in [
                "must be a standard resource type or fully qualified",
                "must be a standard resource for quota",
            ] {
                causes.push(Cause::invalid(&path, &json!(resource), words));
            }
        }
        let Some(quantity) = Quantity::of(amount) else {
            continue;
        };
        if quantity < Quantity::ZERO {
            causes.push(Cause::invalid(&path, amount, NOT_NEGATIVE));
        } else if whole && quantity.to_string().ends_with('m') {
            causes.push(Cause::invalid(&path, amount, "must be an integer"));
        }
    }
    if !same(get(object, "spec.scopes"), None) || get(object, "spec.scopeSelector").is_some() {
        causes.push(Cause::forbidden(
            "spec.scopes",
            "the sandbox does not support scopes of quotas",
        ));
    }
}

/// Only what fills in containers is imitated.
fn limit_range(object: &Value, causes: &mut Vec<Cause>) {
    for (at, limit) in list(object, "spec.limits").iter().enumerate() {
        let requests = limit["defaultRequest"].as_object();
        for (resource, request) in requests.into_iter().flatten() {
            let most = limit["default"].get(resource);
            if let (Some(most), Some(asked)) = (most.and_then(Quantity::of), Quantity::of(request))
                && asked > most
            {
                let words =
                    format!("default request value {asked} is greater than default limit value {most}");
                let path = format!("spec.limits[{at}].defaultRequest[{resource}]");
                causes.push(Cause::invalid(&path, request, &words));
            }
        }
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

fn budget(object: &Value, causes: &mut Vec<Cause>) {
    let (least, most) = (
        get(object, "spec.minAvailable"),
        get(object, "spec.maxUnavailable"),
    );
    if let (Some(least), Some(most)) = (least, most) {
        let selector = get(object, "spec.selector").cloned().unwrap_or_default();
        let told = format!(
            "{{\"MinAvailable\":{least},\"Selector\":{selector},\"MaxUnavailable\":{most},\
             \"UnhealthyPodEvictionPolicy\":null}}"
        );
        causes.push(Cause::invalid(
            "spec",
            &told,
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
}

fn autoscaler(object: &Value, causes: &mut Vec<Cause>) {
    let target = |field: &str| text(object, &format!("spec.scaleTargetRef.{field}"));
    for field in ["kind", "name"] {
        if target(field).is_empty() {
            causes.push(Cause::required(&format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    if target("apiVersion").is_empty() {
        causes.push(Cause::invalid(
            "spec.scaleTargetRef.apiVersion",
            &json!(""),
            "apiVersion must specify API group",
        ));
    }
    let most = int(object, "spec.maxReplicas").unwrap_or(0);
    if most < 1 {
        let words = "must be greater than 0";
        causes.push(Cause::invalid("spec.maxReplicas", &json!(most), words));
    }
    if most < int(object, "spec.minReplicas").unwrap_or(1) {
        let words = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &json!(most), words));
    }
}

fn claim(object: &Value, causes: &mut Vec<Cause>) {
    if list(object, "spec.accessModes").is_empty() {
        let words = "at least 1 access mode is required";
        causes.push(Cause::required("spec.accessModes", words));
    }
    if get(object, "spec.resources.requests.storage").is_none() {
        causes.push(Cause::required("spec.resources[storage]", ""));
    }
}

fn job(object: &Value, causes: &mut Vec<Cause>) {
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
    ] {
        not_negative(object, &format!("spec.{field}"), causes);
    }
    let selector = get(object, "spec.selector").cloned().unwrap_or_default();
    let uid = text(object, "metadata.uid");
    let generated = json!({"matchLabels": {CONTROLLER_UID: uid}});
    if !flag(object, "spec.manualSelector") && selector != generated {
        causes.push(Cause::invalid(
            "spec.selector",
            &selector,
            "`selector` not auto-generated",
        ));
    }
    let template = get(object, "spec.template").cloned().unwrap_or_default();
    if !Labels::of(Some(&selector)).matches(&template) {
        let labels = get(&template, "metadata.labels").cloned().unwrap_or_default();
        let words = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &labels, words));
    }
    for field in [
        "podFailurePolicy",
        "successPolicy",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        let path = format!("spec.{field}");
        if get(object, &path).is_some() {
            causes.push(Cause::forbidden(&path, "the sandbox does not support it"));
        }
    }
    if text(object, "spec.completionMode") == "Indexed" {
        causes.push(Cause::forbidden(
            "spec.completionMode",
            "the sandbox does not support indexed Jobs",
        ));
    }
    pods::spec(object, "spec.template.spec", causes);
    if text(object, "spec.template.spec.restartPolicy") == "Always" {
        causes.push(Cause::required(
            "spec.template.spec.restartPolicy",
            "valid values: \"OnFailure\", \"Never\"",
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
