//! Waiting until the pods of a workload that asks for none are really gone, those on their way out among them: only then does
//! nothing of it write any more. Watches, and writes nothing.

use super::access::{Access, gone};
use super::object::Object;
use super::pin;
use super::watch::{Followed, Many, many, one, watching};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::Uid;
use astern_model::step::workload::After;
use astern_model::target::{Target, WorkloadKind};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::DynamicObject;
use kube::core::Selector;

/// A deadline has passed: a person waits for the failure, and it does not wait long for its explanation.
const EXPLAINED_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// Returns when no pod is left. The caller's deadline ends it otherwise, by dropping it.
///
/// # Errors
/// `Conflict` when the workload asks for pods again, `Permanent` when it is gone itself, `Refused` when its pods may not be watched.
pub(crate) async fn apply(
    access: &Access,
    target: &Target,
    uid: &Uid,
    since: Timestamp,
    operation: &str,
) -> Result<After, Failure> {
    let mut workload = one(access.follow(target), watching(target.kind.plural(), operation));
    let mut now = is_there(workload.next().await?, target, operation)?;
    let mut pods = followed(access, target, &now, operation)?;
    loop {
        asks_for_none(target, uid, &now, operation)?;
        if pods
            .known()
            .is_some_and(|known| known.values().all(Option::is_none))
        {
            return Ok(After::Gone {
                took: access.now().duration_since(since).max(SignedDuration::ZERO),
            });
        }
        tokio::select! {
            biased;
            next = workload.next() => now = is_there(next?, target, operation)?,
            change = pods.changed() => change?,
        }
    }
}

fn is_there(seen: Followed<DynamicObject>, target: &Target, operation: &str) -> Result<Object, Failure> {
    let Followed::Is(object) = seen else {
        return Err(gone(target, operation));
    };
    let json = serde_json::to_value(&object);
    let json = json.map_err(|_| watching(target.kind.plural(), operation).unreadable())?;
    Ok(Object::new(target.kind, json))
}

/// The pods that are left, for a person; nothing where they cannot be told in time.
pub(crate) async fn explain(access: &Access, target: &Target, operation: &str) -> Vec<String> {
    let looked = async {
        let now = access.workload(target, operation).await?;
        let mut pods = followed(access, target, &now, operation)?;
        while pods.known().is_none() {
            pods.changed().await?;
        }
        let left = pods.known().into_iter().flatten();
        let left = left.filter_map(|(name, how)| Some(format!("pod/{name} {}", how.as_ref()?)));
        Ok::<_, Failure>(left.collect())
    };
    let looked = tokio::time::timeout(EXPLAINED_WITHIN, looked).await;
    looked.ok().and_then(Result::ok).unwrap_or_default()
}

fn followed(
    access: &Access,
    target: &Target,
    now: &Object,
    operation: &str,
) -> Result<Many<Pod, Option<String>>, Failure> {
    let selector = now.at("/spec/selector").cloned();
    let selector = selector.and_then(|json| serde_json::from_value::<LabelSelector>(json).ok());
    let selector = selector
        .and_then(|selector| Selector::try_from(selector).ok())
        .ok_or_else(|| {
            let message = format!("the selector of {target} cannot be read; nothing was changed");
            Failure::new(FailureClass::Permanent, operation, message)
        })?;
    let events = access.follow_pods(&target.namespace, selector);
    let target = target.clone();
    let left = move |pod: &Pod| stays(pod, &target).then(|| how(pod));
    Ok(many(events, watching("pods", operation), left))
}

/// Whether a pod may still write: one that has ended does not, though nobody clears it away; and a pod that something else
/// controls is none of the workload's.
fn stays(pod: &Pod, target: &Target) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    let owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    let theirs = controller.is_none_or(|owner| match target.kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout => {
            owner.kind != "ReplicaSet" || !owner.name.starts_with(&format!("{}-", target.name))
        }
        WorkloadKind::StatefulSet => owner.kind != "StatefulSet" || owner.name != target.name,
        WorkloadKind::DaemonSet => owner.kind != "DaemonSet" || owner.name != target.name,
    });
    !ended && !theirs
}

/// How a pod that is left stands.
fn how(pod: &Pod) -> String {
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or("no node");
    match &pod.metadata.deletion_timestamp {
        Some(at) => format!("on {node} is on its way out, and should be gone by {}", at.0),
        None => format!("on {node} is not on its way out yet"),
    }
}

fn asks_for_none(target: &Target, uid: &Uid, now: &Object, operation: &str) -> Result<(), Failure> {
    let again =
        (now.replicas() > 0).then(|| format!("somebody has scaled {target} to {} again", now.replicas()));
    match pin::another(uid, now).or(again) {
        None => Ok(()),
        Some(message) => Err(Failure::new(
            FailureClass::Conflict,
            operation,
            format!("{message}; nothing was written"),
        )),
    }
}
