//! Which revisions the cluster remembers of a workload, and which pod was made from which. Owns the joining by owner
//! references; judges no pod.

use super::workload::{texts, time};
use crate::effects::delivery;
use crate::effects::object::{Object, at};
use crate::effects::revision::template_in;
use astern_model::id::{TemplateHash, Uid};
use astern_model::target::WorkloadKind;
use astern_model::template::{POD_TEMPLATE_HASH, ROLLOUTS_POD_TEMPLATE_HASH};
use astern_model::workload::{Delivery, Pod, Revision, RevisionKind};
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;
use std::collections::BTreeMap;

/// The number of a ReplicaSet. Source: `kubernetes/pkg/controller/deployment/util`.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a ReplicaSet had before an undo brought it back, with commas.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The same of a Rollout's ReplicaSet. Source: `utils/annotations` of Argo Rollouts.
const ROLLOUT_REVISION: &str = "rollout.argoproj.io/revision";
const ROLLOUT_REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Which ControllerRevision a pod was made from: its name for StatefulSets, its hash for DaemonSets.
const CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
/// The prefix of annotations that are astern's own.
const OURS: &str = "astern.dev/";

/// A workload's revisions and pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    /// Newest first.
    pub(super) revisions: Vec<Revision>,
    /// In the order of their names.
    pub(super) pods: Vec<Pod>,
    /// How Argo Rollouts says that it stands.
    pub(super) delivery: Option<Delivery>,
}

/// The objects of a namespace by who controls them, so that each workload finds its own at once.
pub(super) struct Kept<'a> {
    by_owner: BTreeMap<String, Vec<&'a Value>>,
    pods: BTreeMap<(WorkloadKind, String), Vec<&'a ApiPod>>,
}

impl<'a> Kept<'a> {
    /// Sorts everything once.
    pub(super) fn new(replica_sets: &'a [Value], revisions: &'a [Value], pods: &'a [ApiPod]) -> Self {
        let mut by_owner: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for object in replica_sets.iter().chain(revisions) {
            if let Some(owner) = controller_uid(object) {
                by_owner.entry(owner.to_owned()).or_default().push(object);
            }
        }
        let mut by_workload: BTreeMap<(WorkloadKind, String), Vec<&ApiPod>> = BTreeMap::new();
        for pod in pods {
            if let Some(owner) = workload_of(&pod.metadata) {
                by_workload.entry(owner).or_default().push(pod);
            }
        }
        Self {
            by_owner,
            pods: by_workload,
        }
    }

    /// The revisions of a workload, newest first, still without what its pods tell.
    pub(super) fn revisions(&self, object: &Object) -> Vec<Revision> {
        let kept = self
            .by_owner
            .get(object.uid().as_str())
            .map_or(&[][..], Vec::as_slice);
        let mut revisions: Vec<Revision> = kept.iter().map(|json| revision(object.kind(), json)).collect();
        if let Some(live) = live_replica_set(object, &mut revisions) {
            live.template = object.template();
            live.hash = live.template.hash();
        }
        revisions.sort_by(|a, b| (b.number, b.created_at, &b.name).cmp(&(a.number, a.created_at, &a.name)));
        revisions
    }

    /// How Argo Rollouts says that a Rollout stands, with the revisions that its status names.
    pub(super) fn delivery(&self, object: &Object, revisions: &[Revision]) -> Option<Delivery> {
        if object.kind() != WorkloadKind::Rollout {
            return None;
        }
        let named = |hash: &str| {
            let name = format!("{}-{hash}", object.text("/metadata/name")?);
            revisions.iter().find(|revision| revision.name == name)
        };
        let current = object.current_replica_set().filter(|_| object.observed());
        let made = current.and_then(|current| {
            let kept = self.by_owner.get(object.uid().as_str())?;
            let name = |json: &Value| at(json, "/metadata/name").and_then(Value::as_str) == Some(&current);
            let replica_set = kept.iter().find(|json| name(json))?;
            Some(template_in(RevisionKind::ReplicaSet, replica_set))
        });
        Some(Delivery {
            stable: object
                .text("/status/stableRS")
                .and_then(named)
                .map(|revision| revision.hash.clone()),
            made,
            ..delivery::delivery(object)
        })
    }

    /// The pods of a workload.
    pub(super) fn pods(&self, kind: WorkloadKind, name: &str) -> &[&'a ApiPod] {
        self.pods.get(&(kind, name.to_owned())).map_or(&[], Vec::as_slice)
    }
}

/// The hash of the revision that a pod was made from, if it is remembered.
pub(super) fn revision_of(pod: &ObjectMeta, workload: &str, revisions: &[Revision]) -> Option<TemplateHash> {
    let owner = controller(pod)?;
    let label = |name: &str| pod.labels.as_ref()?.get(name).map(String::as_str);
    let made_from = |revision: &&Revision| match revision.kind {
        RevisionKind::ReplicaSet => revision.uid.as_str() == owner.uid,
        RevisionKind::ControllerRevision => label(CONTROLLER_REVISION_HASH)
            .is_some_and(|hash| revision.name == hash || revision.name == format!("{workload}-{hash}")),
        RevisionKind::HelmRecord => false,
    };
    revisions
        .iter()
        .find(made_from)
        .map(|revision| revision.hash.clone())
}

/// Adds to each revision what its pods tell.
pub(super) fn count(revisions: &mut [Revision], pods: &[Pod]) {
    for revision in revisions {
        let own = || {
            pods.iter()
                .filter(|pod| pod.revision.as_ref() == Some(&revision.hash) && !pod.terminating)
        };
        let ready = || own().filter(|pod| pod.ready);
        revision.pods = number(own().count());
        revision.ready = number(ready().count());
        revision.serving_since = ready().filter_map(|pod| pod.ready_since).min();
    }
}

/// The workload that a pod belongs to, by its owner reference. A Deployment's or Rollout's pods belong to a
/// ReplicaSet whose name is the workload's with the hash that its pods have as a label, so this holds where ReplicaSets may not be read.
pub(super) fn workload_of(pod: &ObjectMeta) -> Option<(WorkloadKind, String)> {
    let owner = controller(pod)?;
    match owner.kind.as_str() {
        "StatefulSet" => Some((WorkloadKind::StatefulSet, owner.name.clone())),
        "DaemonSet" => Some((WorkloadKind::DaemonSet, owner.name.clone())),
        "ReplicaSet" => {
            let labels = pod.labels.as_ref()?;
            let of = |label: &str, kind| {
                let name = owner.name.strip_suffix(labels.get(label)?.as_str())?;
                Some((kind, name.strip_suffix('-')?.to_owned()))
            };
            of(POD_TEMPLATE_HASH, WorkloadKind::Deployment)
                .or_else(|| of(ROLLOUTS_POD_TEMPLATE_HASH, WorkloadKind::Rollout))
        }
        _ => None,
    }
}

/// The revision of a Rollout's template of now. Its ReplicaSet keeps the template with the API server's defaults, which the Rollout
/// itself has not, so it is known by the name that the status has for it.
fn live_replica_set<'a>(object: &Object, revisions: &'a mut [Revision]) -> Option<&'a mut Revision> {
    let current = object.current_replica_set().filter(|_| object.observed())?;
    object.at("/spec/template")?;
    revisions.iter_mut().find(|revision| revision.name == current)
}

fn revision(kind: WorkloadKind, json: &Value) -> Revision {
    let text = |path: &str| at(json, path).and_then(Value::as_str).unwrap_or_default();
    let mut annotations = texts(at(json, "/metadata/annotations"));
    let annotated = |name: &str| annotations.get(name).and_then(|number| number.parse().ok());
    let (number, history) = match kind {
        WorkloadKind::Deployment => (annotated(REVISION), REVISION_HISTORY),
        WorkloadKind::Rollout => (annotated(ROLLOUT_REVISION), ROLLOUT_REVISION_HISTORY),
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
            (json.get("revision").and_then(Value::as_u64), REVISION_HISTORY)
        }
    };
    let kind = RevisionKind::of(kind);
    let former = annotations.get(history).map(String::as_str).unwrap_or_default();
    let template = template_in(kind, json);
    Revision {
        number: number.unwrap_or(0),
        former_numbers: former
            .split(',')
            .filter_map(|number| number.trim().parse().ok())
            .collect(),
        kind,
        name: text("/metadata/name").to_owned(),
        uid: Uid(text("/metadata/uid").to_owned()),
        created_at: time(at(json, "/metadata/creationTimestamp")).unwrap_or_default(),
        hash: template.hash(),
        template,
        change_cause: annotations.remove(CHANGE_CAUSE).filter(|cause| !cause.is_empty()),
        marks: annotations
            .into_iter()
            .filter(|(name, _)| name.starts_with(OURS))
            .collect(),
        pods: 0,
        ready: 0,
        serving_since: None,
    }
}

/// The reference to whoever controls the object.
pub(super) fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .as_ref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

fn controller_uid(object: &Value) -> Option<&str> {
    let owners = at(object, "/metadata/ownerReferences")?.as_array()?;
    owners
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?
        .get("uid")?
        .as_str()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
