//! Which revisions the cluster remembers of a workload, and which pod was made from which. Owns the joining by owner
//! references; judges no pod.

use super::workload::{texts, time};
use crate::effects::object::{Object, at};
use astern_model::id::{TemplateHash, Uid};
use astern_model::target::WorkloadKind;
use astern_model::template::{POD_TEMPLATE_HASH, Template};
use astern_model::workload::{Pod, Revision, RevisionKind};
use k8s_openapi::api::core::v1::Pod as ApiPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;
use std::collections::BTreeMap;

/// The number of a ReplicaSet. Source: `kubernetes/pkg/controller/deployment/util`.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a ReplicaSet had before an undo brought it back, with commas.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
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
        revisions.sort_by(|a, b| (b.number, b.created_at, &b.name).cmp(&(a.number, a.created_at, &a.name)));
        revisions
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

/// The workload that a pod belongs to, by its owner reference. A Deployment's pods belong to a ReplicaSet whose name
/// is the Deployment's with the pod-template-hash, so this holds where ReplicaSets may not be read.
pub(super) fn workload_of(pod: &ObjectMeta) -> Option<(WorkloadKind, String)> {
    let owner = controller(pod)?;
    match owner.kind.as_str() {
        "StatefulSet" => Some((WorkloadKind::StatefulSet, owner.name.clone())),
        "DaemonSet" => Some((WorkloadKind::DaemonSet, owner.name.clone())),
        "ReplicaSet" => {
            let hash = pod.labels.as_ref()?.get(POD_TEMPLATE_HASH)?;
            let name = owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
            Some((WorkloadKind::Deployment, name.to_owned()))
        }
        _ => None,
    }
}

fn revision(kind: WorkloadKind, json: &Value) -> Revision {
    let text = |path: &str| at(json, path).and_then(Value::as_str).unwrap_or_default();
    let mut annotations = texts(at(json, "/metadata/annotations"));
    let (number, kind, template) = match kind {
        WorkloadKind::Deployment => (
            annotations.get(REVISION).and_then(|number| number.parse().ok()),
            RevisionKind::ReplicaSet,
            at(json, "/spec/template"),
        ),
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => (
            json.get("revision").and_then(Value::as_u64),
            RevisionKind::ControllerRevision,
            at(json, "/data/spec/template"),
        ),
    };
    let former = annotations
        .get(REVISION_HISTORY)
        .map(String::as_str)
        .unwrap_or_default();
    let template = Template::clean(template.cloned().unwrap_or_default());
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
