//! Moving an object on, so that a write which was made from an older read is refused by the API server: after a
//! takeover (the predecessor's write), and before an outcome is called "not there" (our own, whose answer was lost).

use super::access::{Access, gone};
use super::delete_pod::epoch_on;
use super::object::Object;
use super::stamp::{Claim, EPOCH, RUN, SETTLED, epoch_of, strange, unexpected};
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId, Uid};
use astern_model::step::workload::{Before, Spec};
use astern_model::target::Target;
use astern_port::provider::Settled;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::collections::BTreeMap;

/// Stamps the workload, and for a deletion the pod as well: a deletion carries the pod's resourceVersion, which
/// nothing on the workload moves. `from` is the epoch of the newest write on the workload that the journal has a
/// result of, 0 where it has none. A step that only looks has nothing to fence.
pub(crate) async fn stamp(
    access: &Access,
    spec: &Spec,
    before: &Before,
    run: &RunId,
    from: Epoch,
    to: Epoch,
) -> Result<(), Failure> {
    let target = spec.target();
    let operation = format!("mark {target} as taken over by this process");
    let refused = |message: &str| {
        Failure::new(
            FailureClass::Conflict,
            operation.clone(),
            format!("{message}; nothing was written"),
        )
        .hint(format!(
            "look who writes it: kubectl get {target} -n {} -o yaml --show-managed-fields",
            target.namespace
        ))
    };
    let pod = match spec {
        Spec::AwaitRollout { .. } | Spec::AwaitGone { .. } => return Ok(()),
        Spec::WriteTemplate { .. } | Spec::Restart { .. } | Spec::SetPaused { .. } | Spec::Scale { .. } => {
            None
        }
        Spec::DeletePod { pod, pod_uid, .. } => Some((pod, pod_uid)),
    };
    let Some(now) = access.find(target, &operation).await? else {
        return Err(gone(target, &operation));
    };
    if let Some(message) = super::pin::another(spec.uid(), &now) {
        return Err(refused(&message));
    }
    let found = epoch_of(&now, run);
    if let Some(message) = unexpected(found, from, to).or_else(|| strange(&now, before, run)) {
        return Err(refused(&message));
    }
    if found != Some(to) {
        let marks = BTreeMap::from([(EPOCH, Some(to.to_string())), (RUN, Some(run.to_string()))]);
        access
            .replace(target, &now.with_annotations(marks), &operation)
            .await?;
    }
    let Some((name, uid)) = pod else {
        return Ok(());
    };
    let found = access.pod(&target.namespace, name, &operation).await?;
    let Some(pod) = found.filter(|pod| pod.metadata.uid.as_deref() == Some(uid.as_str())) else {
        return Ok(());
    };
    match epoch_on(&pod, run) {
        Some(epoch) if epoch > to => Err(refused(&format!(
            "the run was taken over again under epoch {epoch}"
        ))),
        Some(epoch) if epoch == to => Ok(()),
        _ => {
            let annotations = json!({EPOCH: to.to_string(), RUN: run.to_string()});
            access
                .annotate(&pod, &target.namespace, &annotations, &operation)
                .await
        }
    }
}

/// How often an object is looked at that moves between a look and the write after it: a rollout's status does that now
/// and then, and never so often in a row.
pub(crate) const LOOKS: u32 = 5;

/// Looks whether a write on the workload `uid` is there, as `judge` reads it. "Not there" is only said of an object that
/// was moved on after that look: a write is refused then that is still on its way.
pub(crate) async fn settle<A>(
    access: &Access,
    target: &Target,
    uid: &Uid,
    claim: &Claim<'_>,
    operation: &str,
    judge: impl Fn(&Object) -> Settled<A>,
) -> Settled<A> {
    for look in 1.. {
        let now = match access.find(target, operation).await {
            Ok(Some(now)) if &now.uid() == uid => now,
            // A write carries the uid: where the object is gone, or another one, it is not there and cannot arrive. The
            // next attempt says so.
            Ok(_) => break,
            Err(failure) => return Settled::Unknown(failure),
        };
        match judge(&now) {
            Settled::NotApplied if planted(Defect::SkipSettleMark) => break,
            Settled::NotApplied => {}
            found => return found,
        }
        if let Some(message) = claim.refused(&now) {
            return Settled::Unknown(Failure::new(FailureClass::Unknown, operation, message));
        }
        let version = now.resource_version().to_owned();
        let moved_on = now.with_annotations(BTreeMap::from([(SETTLED, Some(version))]));
        match access.replace(target, &moved_on, operation).await {
            Ok(_) => break,
            Err(failure) if failure.class == FailureClass::Conflict && look < LOOKS => {}
            Err(failure) => return Settled::Unknown(failure),
        }
    }
    Settled::NotApplied
}

/// The same for a pod that is still there: a deletion that is on its way is refused from then on.
pub(crate) async fn settle_pod(
    access: &Access,
    pod: &Pod,
    namespace: &str,
    operation: &str,
) -> Result<(), Failure> {
    let annotations = json!({SETTLED: pod.metadata.resource_version});
    access.annotate(pod, namespace, &annotations, operation).await
}
