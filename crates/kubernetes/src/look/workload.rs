//! What a workload object itself says: how it rolls, what it asks for, what its status claims. Owns the reading of
//! one object; revisions, pods and owners are joined elsewhere.

use super::revisions::Remembered;
use crate::effects::object::Object;
use astern_model::target::{Target, WorkloadKind};
use astern_model::template::Template;
use astern_model::workload::{Autoscaler, Condition, Delivery, RevisionKind, Status, Workload};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;
use std::collections::BTreeMap;

/// `progressDeadlineSeconds` where a Deployment or Rollout says nothing. Source: `apps/v1` defaults, and Argo Rollouts'.
const DEFAULT_PROGRESS_DEADLINE: u64 = 600;
/// `revisionHistoryLimit` where a workload says nothing. Source: `apps/v1` defaults.
const DEFAULT_HISTORY_LIMIT: u32 = 10;
/// What `kubectl apply` remembers of the manifest. It holds whole manifests, so only its presence is told.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The workload without its pods and owners.
pub(super) fn workload(object: &Object, namespace: &str, remembered: Remembered) -> Workload {
    let kind = object.kind();
    let mut annotations = texts(object.at("/metadata/annotations"));
    let has_last_applied = annotations.remove(LAST_APPLIED).is_some();
    let number = |pointer: &str| {
        object
            .number(pointer)
            .and_then(|number| u32::try_from(number).ok())
    };
    let deadline = object
        .number("/spec/progressDeadlineSeconds")
        .unwrap_or(DEFAULT_PROGRESS_DEADLINE);
    Workload {
        target: target(object, namespace),
        uid: object.uid(),
        created_at: time(object.at("/metadata/creationTimestamp")).unwrap_or_default(),
        template: template(object, remembered.delivery.as_ref()),
        strategy: object.strategy(),
        paused: object.paused(),
        desired: match kind {
            WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout => {
                number("/spec/replicas").unwrap_or(1)
            }
            WorkloadKind::DaemonSet => number("/status/desiredNumberScheduled").unwrap_or(0),
        },
        deletes_claims: object.text("/spec/persistentVolumeClaimRetentionPolicy/whenScaled")
            == Some("Delete"),
        status: status(object),
        progress_deadline: (RevisionKind::of(kind) == RevisionKind::ReplicaSet).then(|| seconds(deadline)),
        min_ready: seconds(object.number("/spec/minReadySeconds").unwrap_or(0)),
        history_limit: number("/spec/revisionHistoryLimit").unwrap_or(DEFAULT_HISTORY_LIMIT),
        labels: texts(object.at("/metadata/labels")),
        annotations,
        has_last_applied,
        delivery: remembered.delivery,
        revisions: remembered.revisions,
        pods: remembered.pods,
        autoscaler: None,
        owners: Vec::new(),
        template_manager: object.template_manager(),
        paused_manager: object.paused_manager().filter(|_| object.paused()),
        released: Vec::new(),
        foretold: Vec::new(),
        recalled: Vec::new(),
    }
}

/// The template that it asks for: where a Rollout takes that of another object, as its ReplicaSet has it.
fn template(object: &Object, delivery: Option<&Delivery>) -> Template {
    let elsewhere = delivery.filter(|delivery| delivery.template_of.is_some());
    elsewhere
        .and_then(|delivery| delivery.made.clone())
        .unwrap_or_else(|| object.template())
}

/// The workload's name.
pub(super) fn target(object: &Object, namespace: &str) -> Target {
    Target {
        kind: object.kind(),
        namespace: namespace.to_owned(),
        name: object.text("/metadata/name").unwrap_or_default().to_owned(),
    }
}

/// The HorizontalPodAutoscaler that sets the count of `target`.
pub(super) fn autoscaler(target: &Target, all: &[HorizontalPodAutoscaler]) -> Option<Autoscaler> {
    let kind = target.kind.name();
    all.iter().find_map(|scaler| {
        let spec = scaler.spec.as_ref()?;
        let aim = &spec.scale_target_ref;
        if aim.kind != kind || aim.name != target.name {
            return None;
        }
        let status = scaler.status.as_ref();
        Some(Autoscaler {
            name: scaler.metadata.name.clone().unwrap_or_default(),
            // The API's own default, for objects older than it.
            min: count(spec.min_replicas.unwrap_or(1)),
            max: count(spec.max_replicas),
            current: count(status.and_then(|status| status.current_replicas).unwrap_or(0)),
            wanted: count(status.map_or(0, |status| status.desired_replicas)),
        })
    })
}

fn status(object: &Object) -> Status {
    let number = |name: &str| {
        object
            .number(&format!("/status/{name}"))
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(0)
    };
    let conditions = object.at("/status/conditions").and_then(Value::as_array);
    let conditions = conditions
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(condition)
        .collect();
    let observed = object.observed();
    match object.kind() {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout => Status {
            replicas: number("replicas"),
            updated: number("updatedReplicas"),
            ready: number("readyReplicas"),
            available: number("availableReplicas"),
            observed,
            conditions,
        },
        WorkloadKind::DaemonSet => Status {
            replicas: number("currentNumberScheduled"),
            updated: number("updatedNumberScheduled"),
            ready: number("numberReady"),
            available: number("numberAvailable"),
            observed,
            conditions,
        },
    }
}

fn condition(json: &Value) -> Condition {
    let text = |name: &str| {
        json.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Condition {
        kind: text("type"),
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        since: time(json.get("lastTransitionTime")),
    }
}

/// A map of texts, such as labels.
pub(super) fn texts(json: Option<&Value>) -> BTreeMap<String, String> {
    let entries = json.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A time as the API writes it.
pub(super) fn time(json: Option<&Value>) -> Option<Timestamp> {
    json?.as_str()?.parse().ok()
}

/// A count, which the API writes as a signed number and never below zero.
pub(super) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn seconds(number: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(number).unwrap_or(i64::MAX))
}
