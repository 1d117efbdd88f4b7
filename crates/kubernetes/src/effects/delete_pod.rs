//! Deleting one pod that stands in the way. Owns what is read, what is decided and the deletion; the pod that comes
//! in its place is the controller's.

use super::Seen;
use super::access::Access;
use super::await_rollout;
use super::fence;
use super::mask;
use super::object::{Object, writer_phrase};
use super::pin;
use super::pod::{is_ready as serves, node, trouble_with};
use super::stamp::{Claim, EPOCH, MARKS, RUN, epoch_in, fenced, found as marks_on};
use super::watch::{Followed, one, watching};
use astern_model::choice::human;
use astern_model::evidence::Trouble;
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Epoch, RunId, TemplateHash, Uid};
use astern_model::step::workload::{After, Before, DeleteWhy};
use astern_model::target::Target;
use astern_port::provider::Settled;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

/// A controller that lives takes a new spec in within a second; one that needs longer than this is not working, and
/// the pod would come back from the old template.
const OBSERVED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// The step, as its spec says it.
pub(crate) struct Deletion<'a> {
    pub(crate) target: &'a Target,
    pub(crate) uid: &'a Uid,
    pub(crate) pod: &'a str,
    pub(crate) pod_uid: &'a Uid,
    pub(crate) template: &'a TemplateHash,
    pub(crate) why: &'a DeleteWhy,
    pub(crate) operation: &'a str,
}

/// Reads the pod and checks what can be checked before the controller has taken the template in.
pub(crate) async fn prepare(access: &Access, deletion: &Deletion<'_>) -> Result<Before, Failure> {
    let Deletion {
        target,
        pod,
        pod_uid,
        operation,
        ..
    } = *deletion;
    let (now, found) = futures::try_join!(
        access.workload(target, operation),
        access.pod(&target.namespace, pod, operation)
    )?;
    if let Some(message) = not_asked_for(deletion, &now) {
        return Err(moved(operation, &message));
    }
    let trouble = match found.filter(|found| is_it(found, pod_uid)) {
        Some(found) => troubled(access, deletion, &found).await,
        None => None,
    };
    Ok(Before::Pod {
        uid: pod_uid.clone(),
        trouble,
        annotations: marks_on(&now, &MARKS),
    })
}

/// Deletes the pod with its own grace period, once the controller has taken the template in; and one that serves and
/// that only a deletion replaces, once those before it serve again. A pod that is gone, or
/// on its way out, needs no deletion, and one that serves by now stands in nobody's way.
pub(crate) async fn apply(
    access: &Access,
    seen: &Seen,
    deletion: &Deletion<'_>,
    claim: &Claim<'_>,
) -> Result<After, Failure> {
    let Deletion {
        target,
        pod,
        pod_uid,
        operation,
        ..
    } = *deletion;
    if deletion.why == &DeleteWhy::OnDelete && is_missed(access, deletion).await? {
        let wait = await_rollout::Wait {
            target,
            uid: deletion.uid,
            template: deletion.template,
            operation,
        };
        await_rollout::renewed(access, seen, &wait).await?;
    }
    observed(access, deletion, claim).await?;
    let gone = After::Deleted { uid: pod_uid.clone() };
    let Some(found) = access.pod(&target.namespace, pod, operation).await? else {
        return Ok(gone);
    };
    if !is_it(&found, pod_uid) || found.metadata.deletion_timestamp.is_some() {
        return Ok(gone);
    }
    if let Some(message) = fenced(epoch_on(&found, &claim.stamp.run), claim.stamp.epoch) {
        return Err(moved(operation, &message));
    }
    match need(deletion.why, troubled(access, deletion, &found).await) {
        Need::MustGo => {}
        Need::Serves => return Ok(After::Kept { uid: pod_uid.clone() }),
        Need::Unclear(message) => return Err(moved(operation, &message)),
    }
    if let Some(name) = node(&found) {
        reachable(access, name, operation).await?;
    }
    access.delete(&found, &target.namespace, operation).await?;
    Ok(gone)
}

/// Whether the pod serves now, so that the service has one less without it.
async fn is_missed(access: &Access, deletion: &Deletion<'_>) -> Result<bool, Failure> {
    let found = access
        .pod(&deletion.target.namespace, deletion.pod, deletion.operation)
        .await?;
    Ok(found.is_some_and(|found| is_it(&found, deletion.pod_uid) && serves(&found)))
}

/// Finds out whether the pod is gone or on its way out. A deletion leaves no key; whoever asked for it, it is there.
pub(crate) async fn settle(
    access: &Access,
    target: &Target,
    pod: &str,
    pod_uid: &Uid,
    operation: &str,
) -> Settled<After> {
    for look in 1.. {
        let found = match access.pod(&target.namespace, pod, operation).await {
            Ok(Some(found)) if is_it(&found, pod_uid) && found.metadata.deletion_timestamp.is_none() => found,
            Ok(_) => return Settled::Applied(After::Deleted { uid: pod_uid.clone() }),
            Err(failure) => return Settled::Unknown(failure),
        };
        match fence::settle_pod(access, &found, &target.namespace, operation).await {
            Ok(()) => break,
            Err(failure) if failure.class == FailureClass::Conflict && look < fence::LOOKS => {}
            Err(failure) => return Settled::Unknown(failure),
        }
    }
    Settled::NotApplied
}

/// The epoch that `run` left on a pod.
pub(crate) fn epoch_on(pod: &Pod, run: &RunId) -> Option<Epoch> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let text = |name: &str| annotations.get(name).map(String::as_str);
    epoch_in(text(RUN), text(EPOCH), run)
}

/// Waits until the controller has taken in the template that the pod is to be made anew from.
async fn observed(access: &Access, deletion: &Deletion<'_>, claim: &Claim<'_>) -> Result<(), Failure> {
    let Deletion {
        target, operation, ..
    } = *deletion;
    let now = access.workload(target, operation).await?;
    if is_observed(deletion, claim, &now)? {
        return Ok(());
    }
    let mut watched = one(access.watch(target), watching(target.kind.plural(), operation));
    let until_observed = async {
        loop {
            let Followed::Is(object) = watched.next().await? else {
                return Err(super::access::gone(target, operation));
            };
            if is_observed(deletion, claim, &await_rollout::read(object, target, operation)?)? {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(OBSERVED_WITHIN.unsigned_abs(), until_observed).await.unwrap_or_else(|_| {
        let message = format!(
            "its controller has not taken in the new template within {}, so the pod would come back from the old one; it was not deleted",
            human(OBSERVED_WITHIN)
        );
        let class = FailureClass::Transient { retry_after_ms: None };
        Err(Failure::new(class, operation, message)
            .hint("look whether kube-controller-manager runs: kubectl get lease kube-controller-manager -n kube-system"))
    })
}

fn is_observed(deletion: &Deletion<'_>, claim: &Claim<'_>, now: &Object) -> Result<bool, Failure> {
    let refused = not_asked_for(deletion, now).or_else(|| claim.refused(now));
    match refused {
        Some(message) => Err(moved(deletion.operation, &message)),
        None => Ok(now.observed()),
    }
}

fn not_asked_for(deletion: &Deletion<'_>, now: &Object) -> Option<String> {
    if let Some(message) = pin::another(deletion.uid, now) {
        return Some(message);
    }
    let hash = now.template_hash();
    (&hash != deletion.template).then(|| {
        format!(
            "{} does not ask for the planned template: {hash} instead of {}, {}",
            deletion.target,
            deletion.template,
            writer_phrase(now.template_manager().as_ref())
        )
    })
}

fn is_it(pod: &Pod, uid: &Uid) -> bool {
    pod.metadata.uid.as_deref() == Some(uid.as_str())
}

/// Why the pod does not serve now, masked: it is written into the journal. Without the right to read events its status alone must do.
async fn troubled(access: &Access, deletion: &Deletion<'_>, pod: &Pod) -> Option<Trouble> {
    let events = access
        .events_of(&deletion.target.namespace, deletion.pod_uid, deletion.operation)
        .await;
    let mut trouble = trouble_with(pod, &events.unwrap_or_default(), access.now())?;
    let quotes = mask::may_quote(&trouble);
    if let Some(words) = mask::words_of(&mut trouble) {
        match mask::masks_of(access, pod, &deletion.target.namespace).await {
            Ok(masks) => *words = masks.apply(words),
            Err(failure) if quotes => *words = mask::not_shown(&failure.message),
            Err(_) => {}
        }
    }
    Some(trouble)
}

/// Whether a pod must go, as it is now.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    MustGo,
    /// It stands in nobody's way: its controller goes on with it.
    Serves,
    /// It may yet recover, or cannot be seen.
    Unclear(String),
}

fn need(why: &DeleteWhy, now: Option<Trouble>) -> Need {
    let DeleteWhy::Stuck { trouble: planned } = why else {
        return Need::MustGo;
    };
    match now {
        None => Need::Serves,
        Some(now) if now.cannot_pass() => Need::MustGo,
        Some(Trouble::NodeLost { node }) => Need::Unclear(format!(
            "node {node} does not answer, and nothing is deleted by force"
        )),
        Some(now) => Need::Unclear(format!(
            "it is not stuck any more: it was {}, and now: {}",
            planned.phrase(),
            now.phrase()
        )),
    }
}

/// Whether the node can carry a deletion out. Nodes are a cluster-wide right that few have: without it the pod's
/// own status, which was looked at before, must do.
async fn reachable(access: &Access, name: &str, operation: &str) -> Result<(), Failure> {
    let node = match access.node(name, operation).await {
        Ok(Some(node)) => node,
        Ok(None)
        | Err(Failure {
            class: FailureClass::Refused,
            ..
        }) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if is_ready(&node) {
        return Ok(());
    }
    let message = format!(
        "node {name} does not answer, so the pod cannot end there; it was not deleted, and never is by force"
    );
    Err(Failure::new(FailureClass::Permanent, operation, message).hint(format!(
        "bring the node back, or take it out of the cluster so that its pods are freed: kubectl describe node {name}"
    )))
}

fn is_ready(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let text =
        |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).map(str::to_owned);
    conditions.into_iter().flatten().any(|condition| {
        text(condition, "type").as_deref() == Some("Ready")
            && text(condition, "status").as_deref() == Some("True")
    })
}

fn moved(operation: &str, message: &str) -> Failure {
    Failure::new(
        FailureClass::Conflict,
        operation,
        format!("{message}; the pod was not deleted"),
    )
    .hint("look at what changed, then make a new plan: astern plan")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stuck_pod_is_deleted_only_while_its_cause_cannot_pass() {
        let planned = DeleteWhy::Stuck {
            trouble: Trouble::ImagePull {
                container: "a".into(),
                image: "a:v2".into(),
                message: String::new(),
            },
        };
        let check = |why: &DeleteWhy, status: Value, says: &str| {
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {"name": "web-2"}, "status": status})).unwrap();
            let now = trouble_with(&pod, &[], jiff::Timestamp::UNIX_EPOCH);
            let told = match need(why, now) {
                Need::MustGo => String::new(),
                Need::Serves => "it serves now".to_owned(),
                Need::Unclear(message) => message,
            };
            assert_eq!(told, says);
        };
        let container = |state: Value| {
            json!({"containerStatuses": [{"name": "a", "image": "a:v2", "imageID": "", "ready": false,
                "restartCount": 0, "state": state}]})
        };
        let waiting = |reason: &str| container(json!({"waiting": {"reason": reason}}));
        check(&planned, waiting("ImagePullBackOff"), "");
        check(&planned, waiting("CreateContainerConfigError"), "");
        check(
            &planned,
            container(json!({"running": {}})),
            "it is not stuck any more: it was ImagePullBackOff a:v2, and now: container a runs and is not ready",
        );
        check(
            &planned,
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
            "it serves now",
        );
        check(
            &planned,
            json!({"reason": "NodeLost"}),
            "node  does not answer, and nothing is deleted by force",
        );
        check(
            &DeleteWhy::OnDelete,
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
            "",
        );
    }
}
