//! What workloads must say and may change. Pod templates are `pods`' to judge.

use super::super::status::Cause;
use super::{NOT_NEGATIVE, metadata, not_negative, pods};
use crate::object::{get, int, list, remove, same, text};
use crate::selector::Labels;
use serde_json::{Value, json};

pub(super) fn deployment(object: &Value, causes: &mut Vec<Cause>) {
    not_negative(object, "spec.replicas", causes);
    selected(object, "deployment", causes);
    strategy(object, causes);
    not_negative(object, "spec.minReadySeconds", causes);
    not_negative(object, "spec.revisionHistoryLimit", causes);
    if let Some(seconds) = int(object, "spec.progressDeadlineSeconds") {
        not_negative(object, "spec.progressDeadlineSeconds", causes);
        if seconds <= int(object, "spec.minReadySeconds").unwrap_or(0) {
            causes.push(Cause::invalid(
                "spec.progressDeadlineSeconds",
                &json!(seconds),
                "must be greater than minReadySeconds",
            ));
        }
    }
}

pub(super) fn replica_set(object: &Value, causes: &mut Vec<Cause>) {
    not_negative(object, "spec.replicas", causes);
    not_negative(object, "spec.minReadySeconds", causes);
    selected(object, "deployment", causes);
}

pub(super) fn stateful_set(object: &Value, causes: &mut Vec<Cause>) {
    let order = text(object, "spec.podManagementPolicy");
    if !matches!(order, "OrderedReady" | "Parallel") {
        causes.push(Cause::invalid(
            "spec.podManagementPolicy",
            &json!(order),
            "must be 'OrderedReady' or 'Parallel'",
        ));
    }
    let rolling = get(object, "spec.updateStrategy.rollingUpdate");
    match text(object, "spec.updateStrategy.type") {
        "OnDelete" => {
            if let Some(rolling) = rolling {
                let told =
                    json!({"Partition": rolling["partition"], "MaxUnavailable": rolling["maxUnavailable"]});
                causes.push(Cause::invalid(
                    "spec.updateStrategy.rollingUpdate",
                    &in_order(&told, &["Partition", "MaxUnavailable"]),
                    "only allowed for updateStrategy 'RollingUpdate'",
                ));
            }
        }
        "RollingUpdate" => not_negative(object, "spec.updateStrategy.rollingUpdate.partition", causes),
        _ => causes.push(Cause::invalid(
            "spec.updateStrategy",
            &strategy_told(object, "spec.updateStrategy"),
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
    for when in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
        match text(object, &path) {
            "" | "Retain" => {}
            "Delete" => causes.push(Cause::forbidden(&path, "the sandbox always retains claims")),
            other => causes.push(Cause::not_supported(&path, &json!(other), &["Retain", "Delete"])),
        }
    }
    not_negative(object, "spec.replicas", causes);
    not_negative(object, "spec.minReadySeconds", causes);
    not_negative(object, "spec.revisionHistoryLimit", causes);
    not_negative(object, "spec.ordinals.start", causes);
    selected(object, "statefulset", causes);
}

pub(super) fn daemon_set(object: &Value, causes: &mut Vec<Cause>) {
    selected(object, "daemonset", causes);
    let rolling = "spec.updateStrategy.rollingUpdate";
    match text(object, "spec.updateStrategy.type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let surge = get(object, &format!("{rolling}.maxSurge"));
            let unavailable = get(object, &format!("{rolling}.maxUnavailable"));
            if is_none(unavailable) && is_none(surge) {
                causes.push(Cause::required(
                    &format!("{rolling}.maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                ));
            }
            if !is_none(surge) {
                causes.push(Cause::forbidden(
                    "spec.updateStrategy.rollingUpdate.maxSurge",
                    "the sandbox does not support a surge of DaemonSets",
                ));
            }
        }
        _ => causes.push(Cause::not_supported(
            "spec.updateStrategy",
            &strategy_told(object, "spec.updateStrategy"),
            &["RollingUpdate", "OnDelete"],
        )),
    }
    not_negative(object, "spec.minReadySeconds", causes);
    not_negative(object, "spec.revisionHistoryLimit", causes);
}

/// The selector, and the template that it must match. `called` is what the words call the kind.
fn selected(object: &Value, called: &str, causes: &mut Vec<Cause>) {
    let selector = get(object, "spec.selector").filter(|selector| !selector.is_null());
    let template = get(object, "spec.template").cloned().unwrap_or_default();
    let before = causes.len();
    match selector {
        None if called == "daemonset" => {}
        None => causes.push(Cause::required("spec.selector", "")),
        Some(selector) => {
            self::selector(object, causes);
            if causes.len() > before {
                // As the real server goes on: it cannot ask a selector that it cannot read.
                let told = in_order(selector, &["matchLabels", "matchExpressions"]);
                causes.push(Cause::invalid("spec.selector", &told, "invalid label selector"));
                pods_of(object, called, causes);
                return;
            }
            if Labels::of(Some(selector)).is_empty() {
                let words = format!("empty selector is invalid for {called}");
                causes.push(Cause::invalid("spec.selector", &json!({}), &words));
            }
        }
    }
    let matches = selector.is_some_and(|selector| Labels::of(Some(selector)).matches(&template));
    if !matches {
        let labels = get(&template, "metadata.labels").cloned().unwrap_or_default();
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            &labels,
            "`selector` does not match template `labels`",
        ));
    }
    pods_of(object, called, causes);
}

fn pods_of(object: &Value, called: &str, causes: &mut Vec<Cause>) {
    metadata::labels(object, "spec.template.metadata.labels", causes);
    pods::spec(object, "spec.template.spec", causes);
    let policy = text(object, "spec.template.spec.restartPolicy");
    if !matches!(policy, "" | "Always") {
        causes.push(Cause::not_supported(
            "spec.template.spec.restartPolicy",
            &json!(policy),
            &["Always"],
        ));
    }
    if get(object, "spec.template.spec.activeDeadlineSeconds").is_some() {
        let called = match called {
            "statefulset" => "StatefulSet",
            "daemonset" => "DaemonSet",
            _ => "ReplicaSet",
        };
        causes.push(Cause::forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            &format!("activeDeadlineSeconds in {called} is not Supported"),
        ));
    }
}

fn selector(object: &Value, causes: &mut Vec<Cause>) {
    metadata::labels(object, "spec.selector.matchLabels", causes);
    for (at, each) in list(object, "spec.selector.matchExpressions").iter().enumerate() {
        let path = format!("spec.selector.matchExpressions[{at}]");
        let values = list(each, "values");
        match text(each, "operator") {
            "In" | "NotIn" if values.is_empty() => causes.push(Cause::required(
                &format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => causes.push(Cause::forbidden(
                &format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => causes.push(Cause::invalid(
                &format!("{path}.operator"),
                &json!(other),
                "not a valid selector operator",
            )),
        }
        for words in metadata::bad_key(text(each, "key")) {
            causes.push(Cause::invalid(&format!("{path}.key"), &each["key"], &words));
        }
    }
}

fn strategy(object: &Value, causes: &mut Vec<Cause>) {
    let rolling = get(object, "spec.strategy.rollingUpdate");
    match text(object, "spec.strategy.type") {
        "Recreate" => {
            if !same(rolling, None) || rolling.is_some_and(Value::is_object) {
                causes.push(Cause::forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        "RollingUpdate" => {
            let path = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
            let amount = |field: &str, causes: &mut Vec<Cause>| {
                let value = get(object, &path(field));
                self::amount(&path(field), value, causes);
                is_none(value)
            };
            let unavailable = amount("maxUnavailable", causes);
            let surge = amount("maxSurge", causes);
            let value = get(object, &path("maxUnavailable")).cloned().unwrap_or_default();
            if unavailable && surge {
                let words = "may not be 0 when `maxSurge` is 0";
                causes.push(Cause::invalid(&path("maxUnavailable"), &value, words));
            }
            let share = value.as_str().and_then(share);
            if share.is_some_and(|share| share > 100) {
                let words = "must not be greater than 100%";
                causes.push(Cause::invalid(&path("maxUnavailable"), &value, words));
            }
        }
        _ => causes.push(Cause::not_supported(
            "spec.strategy",
            &strategy_told(object, "spec.strategy"),
            &["Recreate", "RollingUpdate"],
        )),
    }
}

/// A number or a share of all.
fn amount(path: &str, value: Option<&Value>, causes: &mut Vec<Cause>) {
    match value {
        Some(Value::String(text)) if share(text).is_none() => causes.push(Cause::invalid(
            path,
            &json!(text),
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used \
             for validation is '[0-9]+%')",
        )),
        Some(value) if value.as_i64().is_some_and(|number| number < 0) => {
            causes.push(Cause::invalid(path, value, NOT_NEGATIVE));
        }
        _ => {}
    }
}

fn share(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// No pods, as a number or as a share.
fn is_none(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => share(text) == Some(0),
        Some(value) => value.as_i64() == Some(0),
    }
}

/// A strategy as the real server's words show it.
fn strategy_told(object: &Value, path: &str) -> String {
    let told = json!({
        "Type": text(object, &format!("{path}.type")),
        "RollingUpdate": get(object, &format!("{path}.rollingUpdate")),
    });
    in_order(&told, &["Type", "RollingUpdate"])
}

/// The fields that are there, as JSON in this order.
fn in_order(value: &Value, fields: &[&str]) -> String {
    let present = fields
        .iter()
        .filter_map(|field| Some(format!("{field:?}:{}", value.get(*field)?)));
    format!("{{{}}}", present.collect::<Vec<_>>().join(","))
}

pub(super) fn deployment_status(object: &Value, causes: &mut Vec<Cause>) {
    let fields = [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ];
    for field in fields {
        not_negative(object, &format!("status.{field}"), causes);
    }
    let number = |field: &str| int(object, &format!("status.{field}")).unwrap_or(0);
    let compared = [
        ("updatedReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ];
    for (field, most) in compared {
        if number(field) > number(most) {
            let words = format!(
                "cannot be greater than {}",
                if most == "replicas" {
                    "status.replicas"
                } else {
                    most
                }
            );
            causes.push(Cause::invalid(
                &format!("status.{field}"),
                &json!(number(field)),
                &words,
            ));
        }
    }
}

pub(super) fn stateful_set_update(old: &Value, object: &Value, causes: &mut Vec<Cause>) {
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
