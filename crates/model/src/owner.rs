//! Owners by their own objects: which one it is, what it is set to, who in turn writes that back, and the mark of a pause.

use crate::id::{RunId, Uid};
use crate::target::Target;
use crate::workload::{Owner, OwnerState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// The kinds of owners that have a setting by which they leave things alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PausableKind {
    /// An Argo CD Application: without `spec.syncPolicy.automated` it compares and does not write.
    Application,
    /// An Argo CD ApplicationSet: with `spec.syncPolicy.applicationsSync: create-only` it leaves its Applications as they are.
    ApplicationSet,
    /// A Flux Kustomization: `spec.suspend`.
    Kustomization,
    /// A Flux HelmRelease: `spec.suspend`.
    HelmRelease,
    /// A ScaledObject of KEDA: annotation `autoscaling.keda.sh/paused-replicas`, which also holds the count.
    ScaledObject,
    /// A CronJob: `spec.suspend`.
    CronJob,
}

impl PausableKind {
    /// As people call it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Application => "Argo CD application",
            Self::ApplicationSet => "Argo CD application set",
            Self::Kustomization => "Flux Kustomization",
            Self::HelmRelease => "Flux HelmRelease",
            Self::ScaledObject => "KEDA ScaledObject",
            Self::CronJob => "CronJob",
        }
    }

    /// Its API group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Application | Self::ApplicationSet => "argoproj.io",
            Self::Kustomization => "kustomize.toolkit.fluxcd.io",
            Self::HelmRelease => "helm.toolkit.fluxcd.io",
            Self::ScaledObject => "keda.sh",
            Self::CronJob => "batch",
        }
    }

    /// Its resource in that group.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Application => "applications",
            Self::ApplicationSet => "applicationsets",
            Self::Kustomization => "kustomizations",
            Self::HelmRelease => "helmreleases",
            Self::ScaledObject => "scaledobjects",
            Self::CronJob => "cronjobs",
        }
    }

    /// Whether a resource is one of Argo CD's, which may lie in a hub cluster. Rollouts have its group, and lie with their pods.
    pub fn is_of_argo_cd(group: &str, resource: &str) -> bool {
        [Self::Application, Self::ApplicationSet]
            .iter()
            .any(|kind| kind.group() == group && kind.plural() == resource)
    }

    /// The fields that lead to the setting which a pause changes.
    pub fn setting(self) -> &'static [&'static str] {
        match self {
            Self::Application => &["spec", "syncPolicy", "automated"],
            Self::ApplicationSet => &["spec", "syncPolicy", "applicationsSync"],
            Self::Kustomization | Self::HelmRelease | Self::CronJob => &["spec", "suspend"],
            Self::ScaledObject => &["metadata", "annotations", "autoscaling.keda.sh/paused-replicas"],
        }
    }

    /// What the setting is while it is paused; null where the field is then not there.
    ///
    /// Source: <https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/>,
    /// <https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Controlling-Resource-Modification/>,
    /// <https://fluxcd.io/flux/components/kustomize/kustomizations/#suspend>,
    /// <https://keda.sh/docs/latest/reference/scaledobject-spec/#pausing-autoscaling>.
    pub fn paused(self) -> Value {
        match self {
            Self::Application => Value::Null,
            Self::ApplicationSet => json!("create-only"),
            Self::Kustomization | Self::HelmRelease | Self::CronJob => json!(true),
            Self::ScaledObject => json!("0"),
        }
    }

    /// Whether it only makes work or pods, and changes no template: it is stopped with what it would start, and goes on in
    /// the same run.
    pub fn only_starts(self) -> bool {
        matches!(self, Self::ScaledObject | Self::CronJob)
    }

    /// What its setting is in an object; null where the field is not there.
    pub fn setting_of(self, object: &Value) -> Value {
        let found = self.setting().iter().try_fold(object, |at, field| at.get(*field));
        found.cloned().unwrap_or(Value::Null)
    }

    /// A setting for people: `automated: {"selfHeal":true}`.
    pub fn describe(self, setting: &Value) -> String {
        let field = self.setting().last().copied().unwrap_or_default();
        match setting {
            Value::Null => format!("{field} is not set"),
            setting => format!("{field}: {setting}"),
        }
    }
}

/// One owner's object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerName {
    /// Its kind.
    pub kind: PausableKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for OwnerName {
    /// `Argo CD application argocd/shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.noun(), self.namespace, self.name)
    }
}

/// An owner's object as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerSeen {
    /// Which.
    pub name: OwnerName,
    /// Its uid.
    pub uid: Uid,
    /// Whether it writes.
    pub state: OwnerState,
    /// What its setting is; null where the field is not there.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub setting: Value,
    /// Who writes this object back, and with it the setting: the application above it, the set that makes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Owner>,
    /// The mark of a run that has paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Whether what it follows is what runs: by its own word, or by its source held against what runs. None where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync: Option<InSync>,
    /// The workload that a ScaledObject scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scales: Option<Target>,
}

impl OwnerSeen {
    /// Whether it has its paused setting.
    pub fn is_paused(&self) -> bool {
        self.setting == self.name.kind.paused()
    }

    /// Whether a run has paused it, and it is on again though nobody has let it go on by astern: the mark is taken off then.
    pub fn is_on_again(&self) -> bool {
        self.paused.is_some() && !self.is_paused()
    }
}

/// What an owner's source says beside what runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum InSync {
    /// What runs is what the source says, at this revision of it.
    Yes {
        /// The source's revision, a commit.
        revision: String,
    },
    /// It differs.
    No {
        /// What it says: `OutOfSync at 3f2a…: Deployment api`.
        says: String,
    },
    /// It cannot be told.
    Untold {
        /// Why, a clause: `it follows a Bucket`.
        why: String,
    },
}

/// The mark that a pause leaves on an owner's object, so that anyone can see who stopped it and what it was set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// The run.
    pub run: RunId,
    /// The namespace that the run rolled back.
    pub namespace: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when its source should say what runs.
    pub due: Timestamp,
    /// What its setting was.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub was: Value,
}

/// The annotation that holds [`Paused`] as JSON.
pub const PAUSED: &str = "astern.dev/paused";

impl Paused {
    /// The mark on an object; none where there is none that can be read.
    pub fn on(object: &Value) -> Option<Self> {
        let text = object
            .get("metadata")?
            .get("annotations")?
            .get(PAUSED)?
            .as_str()?;
        serde_json::from_str(text).ok()
    }
}
