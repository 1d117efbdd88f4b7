//! A workload as it stands: its template, the revisions that the cluster remembers, its pods and its owners.

use crate::content::ContentRef;
use crate::evidence::{Known, Trouble};
use crate::helm;
use crate::id::{TemplateHash, Uid};
use crate::image::Image;
use crate::reconstruction::{Period, Provenance};
use crate::release::{ReleaseName, Standing};
use crate::target::{Target, WorkloadKind};
use crate::template::Template;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One workload, read once before planning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its name.
    pub target: Target,
    /// Its uid.
    pub uid: Uid,
    /// When it was made.
    pub created_at: Timestamp,
    /// The template that it asks for now.
    pub template: Template,
    /// How it replaces pods.
    pub strategy: Strategy,
    /// Whether a Deployment or Rollout is paused by its spec: it takes a template and rolls nothing.
    pub paused: bool,
    /// The pods it asks for.
    pub desired: u32,
    /// Whether scaling it down deletes its volumes: `persistentVolumeClaimRetentionPolicy.whenScaled: Delete`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes_claims: bool,
    /// What its status says.
    pub status: Status,
    /// `spec.progressDeadlineSeconds`, 600 s where a Deployment or Rollout says nothing; none for other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<SignedDuration>,
    /// `spec.minReadySeconds`.
    pub min_ready: SignedDuration,
    /// `spec.revisionHistoryLimit`, 10 where it says nothing.
    pub history_limit: u32,
    /// Its annotations, without `last-applied-configuration`, whose presence alone is told below.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it carries `kubectl.kubernetes.io/last-applied-configuration`.
    pub has_last_applied: bool,
    /// The revisions that the cluster remembers, the live one among them, newest first.
    pub revisions: Vec<Revision>,
    /// Its pods, of every revision.
    pub pods: Vec<Pod>,
    /// The autoscaler that sets its count, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Autoscaler>,
    /// Who else would write it.
    pub owners: Vec<Owner>,
    /// The field manager that wrote `spec.template` last, with when: `kubectl-client-side-apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_manager: Option<FieldManager>,
    /// The field manager that set `spec.paused` last, with when: `kubectl-rollout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_manager: Option<FieldManager>,
    /// How Argo Rollouts says that it stands; none for other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What the ledger's releases hold of it, newest first; empty without a ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Released>,
    /// What it would ask for once its Helm release has gone back to revisions of whose templates the cluster keeps nothing: those that
    /// Helm deployed first, and of these the newest; empty where nobody asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foretold: Vec<Foretold>,
    /// What it asked for by what its owner had deployed from Git, where neither the cluster nor the ledger nor Helm keeps it: what was
    /// deployed last first; empty where nobody asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recalled: Vec<Recalled>,
}

/// A template of then by its manifest of then: told by a dry run, and kept in the vault, since no object keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recalled {
    /// Who says it.
    pub provenance: Provenance,
    /// While it was what was deployed; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Period>,
    /// The template; or why it cannot be told.
    pub template: Known<Kept>,
}

/// A template that the vault keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Where it lies.
    pub content: ContentRef,
    /// It as a revision, named by its content and without a uid.
    pub revision: Revision,
}

impl Recalled {
    /// The template as a revision, where it is known.
    pub fn revision(&self) -> Option<&Revision> {
        self.template.value().map(|kept| &kept.revision)
    }
}

/// The template that a revision of a Helm release stands for, told by a dry run of what helm would write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Foretold {
    /// The release's name.
    pub release: String,
    /// The revision's number.
    pub revision: u64,
    /// What Helm says of it.
    pub status: helm::Status,
    /// While Helm's newest manifest wrote this template, by when the records were made; none where they do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Period>,
    /// The template as a revision that Helm's record keeps; or why it cannot be told.
    pub template: Known<Revision>,
}

/// What one release of the ledger holds of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The release.
    pub release: ReleaseName,
    /// What is believed of it.
    pub standing: Standing,
    /// The hash of its template.
    pub template: TemplateHash,
    /// Where the template lies.
    pub content: ContentRef,
    /// Its images, with the digests that ran.
    pub images: Vec<RunningImage>,
    /// The template read back as a revision, where the cluster keeps none of it and somebody may want to go back to
    /// it. It is named by its content and has no uid: no object keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Known<Revision>>,
}

impl Foretold {
    /// Whether Helm has deployed the revision.
    pub fn was_deployed(&self) -> bool {
        self.status.was_deployed()
    }
}

impl Workload {
    /// The revision that the template asks for now, if the cluster remembers it.
    pub fn live_revision(&self) -> Option<&Revision> {
        let live = self.template.hash();
        self.revisions.iter().find(|revision| revision.hash == live)
    }

    /// Every revision that can be gone back to: those that the cluster remembers, then those that the ledger keeps, then those that
    /// Helm's records stand for, then those that the owner had deployed from Git.
    pub fn all_revisions(&self) -> impl Iterator<Item = &Revision> {
        let kept = self
            .released
            .iter()
            .filter_map(|released| released.kept.as_ref()?.value());
        let foretold = self
            .foretold
            .iter()
            .filter_map(|foretold| foretold.template.value());
        let recalled = self.recalled.iter().filter_map(Recalled::revision);
        self.revisions.iter().chain(kept).chain(foretold).chain(recalled)
    }

    /// The live template, as a revision's is compared with it: a Rollout's own lacks the defaults that its ReplicaSets have.
    pub fn made(&self) -> &Template {
        let made = self.delivery.as_ref().and_then(|delivery| delivery.made.as_ref());
        made.unwrap_or(&self.template)
    }

    /// The version that a person would name: the first container's image tag.
    pub fn version(&self) -> String {
        version_of(&self.template)
    }
}

/// The version that a person would name: the tag of the first container that is not an init container.
pub fn version_of(template: &Template) -> String {
    template
        .containers()
        .iter()
        .find(|container| !container.init)
        .and_then(crate::template::Container::image)
        .map_or_else(|| "unknown".to_owned(), |image| image.version())
}

/// How a workload replaces its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "type")]
pub enum Strategy {
    /// Pods are replaced step by step. `max_surge` and `max_unavailable` as written, `25%` or `1`.
    RollingUpdate {
        /// Pods above the count while rolling. Deployments and DaemonSets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_surge: Option<String>,
        /// Pods below the count while rolling.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_unavailable: Option<String>,
        /// StatefulSets: pods below this ordinal keep the old revision. 0 where it says nothing.
        partition: u32,
        /// StatefulSets: whether pods go one by one in order.
        ordered: bool,
    },
    /// A Deployment ends all pods, then makes new ones.
    Recreate,
    /// Nothing is replaced until somebody deletes a pod.
    OnDelete,
    /// A Rollout gives a new version more and more of the pods or the traffic, step by step.
    Canary {
        /// Pods above the count while rolling.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_surge: Option<String>,
        /// Pods below the count while rolling.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_unavailable: Option<String>,
        /// What a new version goes through; the way back to the stable one skips all of it.
        steps: Vec<CanaryStep>,
        /// Whether a router shifts traffic, so that pods of the former version may stay for a while.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        routed: bool,
        /// `spec.rollbackWindow.revisions`: a way back over fewer revisions than this skips the steps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollback_window: Option<u32>,
    },
    /// A Rollout makes all pods of a new version beside the former ones and then moves the Service over.
    BlueGreen {
        /// Who moves it.
        promotion: Promotion,
        /// `spec.rollbackWindow.revisions`, as above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollback_window: Option<u32>,
    },
}

/// One step of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "step")]
pub enum CanaryStep {
    /// The new version gets this share.
    SetWeight {
        /// Percent.
        percent: u32,
    },
    /// Nothing goes on for a while.
    Pause {
        /// How long; none until somebody promotes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasts: Option<SignedDuration>,
    },
    /// Any other: an analysis, an experiment, a plugin.
    Other {
        /// Its name in the spec.
        name: String,
    },
}

/// Who moves the Service of a blue-green Rollout over to the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "by")]
pub enum Promotion {
    /// The controller, as soon as all pods serve.
    Controller,
    /// The controller, so long after that.
    ControllerAfter {
        /// `autoPromotionSeconds`.
        waits: SignedDuration,
    },
    /// A person: `autoPromotionEnabled: false`.
    Person,
}

impl Strategy {
    /// The step at which a new version waits until somebody promotes it, with its place from 1.
    pub fn waits_for_a_person(&self) -> Option<String> {
        match self {
            Self::Canary { steps, .. } => steps
                .iter()
                .position(|step| matches!(step, CanaryStep::Pause { lasts: None }))
                .map(|place| {
                    format!(
                        "step {} of {} is a pause without a duration",
                        place + 1,
                        steps.len()
                    )
                }),
            Self::BlueGreen {
                promotion: Promotion::Person,
                ..
            } => Some("autoPromotionEnabled is false".to_owned()),
            Self::BlueGreen { .. } | Self::RollingUpdate { .. } | Self::Recreate | Self::OnDelete => None,
        }
    }

    /// `spec.rollbackWindow.revisions` of a Rollout.
    pub fn rollback_window(&self) -> Option<u32> {
        match self {
            Self::Canary { rollback_window, .. } | Self::BlueGreen { rollback_window, .. } => {
                *rollback_window
            }
            Self::RollingUpdate { .. } | Self::Recreate | Self::OnDelete => None,
        }
    }
}

/// How Argo Rollouts says that a Rollout stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `status.phase`: `Healthy`, `Progressing`, `Paused`, `Degraded`.
    pub phase: String,
    /// `status.message`: why, where it says so.
    pub message: String,
    /// The revision that it calls stable and goes back to by itself, if the cluster remembers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<TemplateHash>,
    /// Whether the update to the template was aborted: the stable version serves, and the template stays.
    pub aborted: bool,
    /// `spec.workloadRef`: the object whose template it takes, as `deployment/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_of: Option<String>,
    /// The live template as its ReplicaSet keeps it, with the defaults of the API server: what another revision's template is
    /// compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Template>,
}

/// What `status` says. It moves all the time and is never pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Pods that exist.
    pub replicas: u32,
    /// Pods of the newest template.
    pub updated: u32,
    /// Ready pods.
    pub ready: u32,
    /// Pods ready for `minReadySeconds`.
    pub available: u32,
    /// Whether the controller has seen the newest spec.
    pub observed: bool,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

/// One condition of a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Progressing`, `Available`, `ReplicaFailure`.
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// The object that keeps a revision's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RevisionKind {
    /// Deployments and Rollouts.
    ReplicaSet,
    /// StatefulSets and DaemonSets.
    ControllerRevision,
    /// Any workload of a Helm release: the record of one of its revisions, whose manifest stands for the template. Helm alone goes
    /// back to it.
    HelmRecord,
}

impl RevisionKind {
    /// The object that keeps the revisions of this kind of workload.
    pub fn of(kind: WorkloadKind) -> Self {
        match kind {
            WorkloadKind::Deployment | WorkloadKind::Rollout => Self::ReplicaSet,
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => Self::ControllerRevision,
        }
    }

    /// How one such object is called before its name: `replicaset`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::ReplicaSet => "replicaset",
            Self::ControllerRevision => "controllerrevision",
            Self::HelmRecord => "secret",
        }
    }

    /// The resource of the Kubernetes API: `replicasets`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ReplicaSet => "replicasets",
            Self::ControllerRevision => "controllerrevisions",
            Self::HelmRecord => "secrets",
        }
    }
}

/// One revision that the cluster remembers, with the evidence that it really keeps. What is not here is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its number now. An undo renumbers; it is a hint for people, never arithmetic.
    pub number: u64,
    /// Numbers it had before an undo brought it back (`deployment.kubernetes.io/revision-history`).
    pub former_numbers: Vec<u64>,
    /// Which object keeps it.
    pub kind: RevisionKind,
    /// That object's name.
    pub name: String,
    /// That object's uid.
    pub uid: Uid,
    /// When that object was made. Not "served since": an undo uses the object again.
    pub created_at: Timestamp,
    /// The template, cleaned.
    pub template: Template,
    /// Its hash.
    pub hash: TemplateHash,
    /// `kubernetes.io/change-cause`, if somebody wrote one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_cause: Option<String>,
    /// Annotations of that object that are astern's own (`astern.dev/…`): rolled back by which run, marked bad.
    pub marks: BTreeMap<String, String>,
    /// Pods of it that exist now.
    pub pods: u32,
    /// Pods of it that are ready now.
    pub ready: u32,
    /// The time of its oldest ready pod's `Ready` condition: serving at least since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving_since: Option<Timestamp>,
}

impl Revision {
    /// A template as a revision that no object keeps and of which no pod is: named by what keeps it, without a number and a uid.
    pub fn kept_as(name: &str, kind: WorkloadKind, created_at: Timestamp, template: Template) -> Self {
        Self {
            number: 0,
            former_numbers: Vec::new(),
            kind: RevisionKind::of(kind),
            name: name.to_owned(),
            uid: Uid(String::new()),
            created_at,
            hash: template.hash(),
            template,
            change_cause: None,
            marks: BTreeMap::new(),
            pods: 0,
            ready: 0,
            serving_since: None,
        }
    }

    /// Whether an object of the cluster keeps this very template. Others are kept in the vault, or foretold from a manifest.
    pub fn is_remembered(&self) -> bool {
        self.kind != RevisionKind::HelmRecord && !self.uid.as_str().is_empty()
    }

    /// The version that a person would name.
    pub fn version(&self) -> String {
        version_of(&self.template)
    }
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
    /// The hash of the revision's template that it was made from, if the revision is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<TemplateHash>,
    /// Its node, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is ready.
    pub ready: bool,
    /// Since when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Restarts of all its containers.
    pub restarts: u32,
    /// Why it does not serve; none when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// The images that really run, with digest, as the kubelet reports them: reference → image id.
    pub image_ids: BTreeMap<String, String>,
    /// All containers' names, init containers first.
    pub containers: Vec<String>,
    /// Containers that fail, whose logs (current and previous) are evidence.
    pub failing: Vec<String>,
    /// Whether its deletion was asked for.
    pub terminating: bool,
}

/// A HorizontalPodAutoscaler that targets the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// The lowest count it sets.
    pub min: u32,
    /// The highest count it sets.
    pub max: u32,
    /// The count it has set.
    pub current: u32,
    /// The count that it wants.
    pub wanted: u32,
}

/// Whoever would write the workload back, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Which program.
    pub kind: OwnerKind,
    /// Its object's name: the Application, the Kustomization, the release, the controller.
    pub name: String,
    /// The mark on the workload by which it is known, such as `label helm.sh/chart`.
    pub known_by: String,
    /// What its own object says.
    pub state: OwnerState,
    /// Its object, where it is of a kind that can be paused: [`crate::inventory::Inventory::owner`] has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<crate::owner::OwnerName>,
}

/// The programs that write workloads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum OwnerKind {
    /// An Argo CD Application.
    ArgoCd,
    /// A Flux Kustomization or HelmRelease.
    Flux,
    /// A Helm release: writes at the next upgrade only, which may be Flux'.
    Helm,
    /// Any other controller that owns the workload by an owner reference.
    Controller,
    /// The Operator Lifecycle Manager, by a ClusterServiceVersion.
    Olm,
    /// A Flagger Canary, whose target the workload is, or what Flagger made of that.
    Canary,
    /// A VerticalPodAutoscaler: it changes what pods request, and no template.
    PodAutoscaler,
    /// A program that may be an operator, known only by what it left on the workload.
    Presumed,
}

/// What an owner's own object says about whether it writes back now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum OwnerState {
    /// It writes back by itself, at once or at its next interval.
    WritesBack {
        /// The setting that says so: `automated.selfHeal: true`.
        because: String,
    },
    /// It does not write by itself now.
    Passive {
        /// The setting that says so.
        because: String,
    },
    /// An operation of it is under way.
    Busy {
        /// What it does.
        operation: String,
    },
    /// Its object could not be read, so it cannot be paused either.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// The name under which astern writes.
pub const FIELD_MANAGER: &str = "astern";

/// Who wrote a field last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldManager {
    /// The manager's name: `kubectl-client-side-apply`, `helm`, `argocd-controller`.
    pub name: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A ReplicaSet's image, for a table: reference and, where a running pod tells, the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningImage {
    /// As the template names it.
    pub image: Image,
    /// `sha256:…` as the kubelet reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Pod {
    /// The digest that it runs of an image, as the kubelet reports it; none before it was pulled.
    pub fn digest_of(&self, image: &Image) -> Option<&str> {
        let id = self.image_ids.get(&image.reference)?;
        Some(id.rsplit_once('@').map_or(id.as_str(), |(_, digest)| digest))
    }
}

impl Workload {
    /// The images of a revision with the digests that its pods really run, where any pod tells.
    pub fn running_images(&self, hash: &TemplateHash) -> Vec<RunningImage> {
        let Some(revision) = self.revisions.iter().find(|revision| &revision.hash == hash) else {
            return Vec::new();
        };
        let digest = |image: &Image| {
            self.pods
                .iter()
                .filter(|pod| pod.revision.as_ref() == Some(hash))
                .find_map(|pod| pod.digest_of(image))
                .map(ToOwned::to_owned)
        };
        let images = revision.template.images();
        images
            .into_iter()
            .map(|image| RunningImage {
                digest: digest(&image),
                image,
            })
            .collect()
    }
}
