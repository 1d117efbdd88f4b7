//! After a takeover: the new epoch on what the step writes, so that a write of the predecessor, which was made from
//! an older read, is refused by the API server.

use super::access::{Access, gone};
use super::delete_pod::epoch_on;
use super::stamp::{EPOCH, RUN, epoch_of, unexpected};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId};
use astern_model::step::workload::Spec;
use serde_json::json;
use std::collections::BTreeMap;

/// Stamps the workload, and for a deletion the pod as well: a deletion carries the pod's resourceVersion, which
/// nothing on the workload moves. `from` is the epoch of the newest write on the workload that the journal has a
/// result of, 0 where it has none. A step that only looks has nothing to fence.
pub(crate) async fn stamp(
    access: &Access,
    spec: &Spec,
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
        Spec::AwaitRollout { .. } => return Ok(()),
        Spec::WriteTemplate { .. } | Spec::SetPaused { .. } => None,
        Spec::DeletePod { pod, pod_uid, .. } => Some((pod, pod_uid)),
    };
    let Some(now) = access.find(target, &operation).await? else {
        return Err(gone(target, &operation));
    };
    if let Some(message) = super::pin::another(spec.uid(), &now) {
        return Err(refused(&message));
    }
    let found = epoch_of(&now, run);
    if let Some(message) = unexpected(found, from, to) {
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
