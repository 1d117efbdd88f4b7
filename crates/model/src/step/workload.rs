//! Steps on workloads: write a template, wait for a rollout, pause or resume, delete one pod.

use crate::choice::RevisionRef;
use crate::content::ContentRef;
use crate::evidence::Trouble;
use crate::id::{EffectKey, TemplateHash, Uid};
use crate::target::{Target, WorkloadKind};
use crate::workload::{RevisionKind, Strategy};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What must still be true of a workload when it is written. Never status, generation or resourceVersion: those move
/// without anybody changing the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Its uid: it is the same object.
    pub uid: Uid,
    /// The hash of its template.
    pub template: TemplateHash,
    /// How it replaces pods.
    pub strategy: Strategy,
    /// Whether it is paused.
    pub paused: bool,
}

/// What makes pods of a template anew that stand already: its mark of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartMark {
    /// `kubectl.kubernetes.io/restartedAt`.
    pub at: String,
    /// The hash of the template with that mark.
    pub template: TemplateHash,
}

/// What a workload step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Spec {
    /// Write a remembered revision's template back, whole, but for the mark of a restart where the step has one. Nothing else of
    /// the workload changes.
    WriteTemplate {
        /// The workload.
        target: Target,
        /// What must hold.
        pin: Pin,
        /// Where the template is taken from.
        to: RevisionRef,
        /// Where a run or the ledger has kept the same template, should that object be pruned meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<ContentRef>,
        /// The mark of a restart in what is written, where pods of the revision that stand already must be made anew too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<RestartMark>,
    },
    /// Make the pods anew from the template as it is, but for the mark of a restart: they read what has changed beside it.
    Restart {
        /// The workload.
        target: Target,
        /// What must hold.
        pin: Pin,
        /// The mark: `kubectl.kubernetes.io/restartedAt`.
        at: String,
        /// The hash of the template with that mark.
        template: TemplateHash,
    },
    /// Watch until the template's pods serve and the old ones are gone, or until it is plain that they cannot.
    AwaitRollout {
        /// The workload.
        target: Target,
        /// Its uid.
        uid: Uid,
        /// The template whose pods must serve.
        template: TemplateHash,
        /// The version, for people.
        version: String,
    },
    /// Pause or resume a Deployment or Rollout.
    SetPaused {
        /// The workload.
        target: Target,
        /// What must hold just before; its `paused` is the opposite of `paused`, its template the one then live.
        pin: Pin,
        /// What to set.
        paused: bool,
    },
    /// Set how many pods a Deployment, StatefulSet or Rollout asks for: none while nothing may serve, and the count of before again.
    Scale {
        /// The workload.
        target: Target,
        /// What must hold just before; its template the one then live.
        pin: Pin,
        /// The count that must be there just before. None where an autoscaler may have moved it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        /// The count that is set.
        to: u32,
    },
    /// Watch until no pod of a workload that asks for none is there any more.
    AwaitGone {
        /// The workload.
        target: Target,
        /// Its uid.
        uid: Uid,
        /// Its template then.
        template: TemplateHash,
    },
    /// Delete one pod that stands in the way, so that its controller makes it anew from the template.
    DeletePod {
        /// The workload.
        target: Target,
        /// The workload's uid.
        uid: Uid,
        /// The pod's name.
        pod: String,
        /// The pod's uid: another pod of that name is left alone.
        pod_uid: Uid,
        /// The template that the controller must have taken in first.
        template: TemplateHash,
        /// Why it must go.
        why: DeleteWhy,
    },
}

/// Why a pod is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum DeleteWhy {
    /// It is broken for a cause that cannot pass, and an ordered StatefulSet waits for it.
    Stuck {
        /// The cause when the plan was made; the step checks that it is still one that cannot pass.
        trouble: Trouble,
    },
    /// The workload's strategy replaces pods only when somebody deletes them (`OnDelete`).
    OnDelete,
}

impl Spec {
    /// The workload.
    pub fn target(&self) -> &Target {
        match self {
            Self::WriteTemplate { target, .. }
            | Self::Restart { target, .. }
            | Self::AwaitRollout { target, .. }
            | Self::SetPaused { target, .. }
            | Self::Scale { target, .. }
            | Self::AwaitGone { target, .. }
            | Self::DeletePod { target, .. } => target,
        }
    }

    /// The workload's uid.
    pub fn uid(&self) -> &Uid {
        match self {
            Self::WriteTemplate { pin, .. }
            | Self::Restart { pin, .. }
            | Self::SetPaused { pin, .. }
            | Self::Scale { pin, .. } => &pin.uid,
            Self::AwaitRollout { uid, .. } | Self::AwaitGone { uid, .. } | Self::DeletePod { uid, .. } => uid,
        }
    }

    /// The template that the workload asks for once the step has written it; none where the step writes none.
    pub fn writes(&self) -> Option<&TemplateHash> {
        match self {
            Self::WriteTemplate { mark: Some(mark), .. } => Some(&mark.template),
            Self::WriteTemplate { to, mark: None, .. } => Some(&to.template),
            Self::Restart { template, .. } => Some(template),
            Self::AwaitRollout { .. }
            | Self::SetPaused { .. }
            | Self::Scale { .. }
            | Self::AwaitGone { .. }
            | Self::DeletePod { .. } => None,
        }
    }

    /// Whether it only looks.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::AwaitRollout { .. } | Self::AwaitGone { .. })
    }

    /// An imperative phrase.
    pub fn phrase(&self) -> String {
        match self {
            Self::WriteTemplate {
                target,
                to,
                mark: None,
                ..
            } => {
                format!("put {target} back to {} ({})", to.version, to.label())
            }
            Self::WriteTemplate {
                target,
                to,
                mark: Some(_),
                ..
            } => {
                format!(
                    "put {target} back to {} ({}), with all pods made anew",
                    to.version,
                    to.label()
                )
            }
            Self::Restart { target, .. } => format!("restart {target}"),
            Self::AwaitRollout { target, version, .. } => format!("wait until {target} serves {version}"),
            Self::SetPaused {
                target, paused: true, ..
            } => format!("pause {target}"),
            Self::SetPaused {
                target,
                paused: false,
                ..
            } => format!("resume {target}"),
            Self::Scale { target, to: 0, .. } => format!("stop {target}: scale it to 0"),
            Self::Scale { target, to, .. } => format!("start {target}: scale it to {to}"),
            Self::AwaitGone { target, .. } => format!("wait until the pods of {target} are gone"),
            Self::DeletePod {
                pod,
                why: DeleteWhy::Stuck { trouble },
                ..
            } => {
                format!("delete pod/{pod}, which cannot recover ({})", trouble.phrase())
            }
            Self::DeletePod {
                pod,
                why: DeleteWhy::OnDelete,
                ..
            } => {
                format!("delete pod/{pod}, so that it is made anew (OnDelete)")
            }
        }
    }

    /// The API verbs that the step needs: (verb, group, resource, subresource).
    pub fn verbs(&self) -> Vec<Verb> {
        let own = |verb, kind: WorkloadKind| Verb {
            verb,
            group: kind.group(),
            resource: kind.plural(),
        };
        let core = |verb, resource| Verb {
            verb,
            group: "",
            resource,
        };
        let kind = self.target().kind;
        let revisions = Verb {
            verb: "get",
            group: "apps",
            resource: RevisionKind::of(kind).plural(),
        };
        match self {
            Self::WriteTemplate { .. } => vec![own("get", kind), own("update", kind), revisions],
            Self::Restart { .. } | Self::SetPaused { .. } | Self::Scale { .. } => {
                vec![own("get", kind), own("update", kind)]
            }
            Self::AwaitGone { .. } => vec![
                own("get", kind),
                own("list", kind),
                own("watch", kind),
                core("watch", "pods"),
                core("list", "pods"),
            ],
            Self::AwaitRollout { .. } => vec![
                own("get", kind),
                own("list", kind),
                own("watch", kind),
                core("watch", "pods"),
                core("list", "pods"),
                revisions,
            ],
            // After a takeover the workload and the pod are marked, so that the predecessor's deletion is refused.
            Self::DeletePod { .. } => vec![
                own("get", kind),
                own("list", kind),
                own("watch", kind),
                own("update", kind),
                core("get", "pods"),
                core("list", "pods"),
                core("watch", "pods"),
                revisions,
                core("delete", "pods"),
                core("patch", "pods"),
            ],
        }
    }
}

/// One right that a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verb {
    /// `get`, `update`, …
    pub verb: &'static str,
    /// The API group, empty for core.
    pub group: &'static str,
    /// The resource's plural.
    pub resource: &'static str,
}

/// What was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum Before {
    /// Before a template was written or marked: all that putting it back needs.
    Template {
        /// The template, in the vault.
        template: ContentRef,
        /// Its hash.
        hash: TemplateHash,
        /// `kubectl.kubernetes.io/last-applied-configuration`, in the vault, where there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_applied: Option<ContentRef>,
        /// Annotations that astern will overwrite (change-cause and its own), as they were; absent ones are not here.
        annotations: BTreeMap<String, String>,
    },
    /// Before waiting: when the wait began.
    Waiting {
        /// When.
        since: Timestamp,
    },
    /// Before pausing or resuming.
    Paused {
        /// What it was.
        paused: bool,
        /// astern's own annotations of the workload, as they were.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// Before its count was set.
    Count {
        /// The pods it asked for.
        replicas: u32,
        /// astern's own annotations of the workload, as they were.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
    /// Before a pod was deleted.
    Pod {
        /// Its uid.
        uid: Uid,
        /// Why it did not serve then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<Trouble>,
        /// astern's own annotations of the workload, as they were.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        annotations: BTreeMap<String, String>,
    },
}

impl Before {
    /// The annotations of the workload that were recorded; none before a wait.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        match self {
            Self::Template { annotations, .. }
            | Self::Paused { annotations, .. }
            | Self::Count { annotations, .. }
            | Self::Pod { annotations, .. } => annotations.get(name).map(String::as_str),
            Self::Waiting { .. } => None,
        }
    }
}

/// What is there after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "of")]
pub enum After {
    /// After a write of the workload.
    Written {
        /// The hash of the template that it now asks for.
        template: TemplateHash,
        /// Its `metadata.generation`.
        generation: u64,
    },
    /// After a rollout.
    Serving {
        /// Ready pods of the template.
        ready: u32,
        /// Pods that the workload asks for.
        desired: u32,
        /// The images that really run: reference → digest.
        digests: BTreeMap<String, String>,
        /// How long the wait took.
        took: SignedDuration,
    },
    /// After its pods were gone.
    Gone {
        /// How long the wait took.
        took: SignedDuration,
    },
    /// After a pod was deleted.
    Deleted {
        /// The pod that is gone.
        uid: Uid,
    },
    /// After a pod was found to serve by now, and left.
    Kept {
        /// The pod.
        uid: Uid,
    },
}

/// What a write says about itself on the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// `astern.dev/effect`.
    pub key: EffectKey,
    /// `astern.dev/epoch`.
    pub epoch: crate::id::Epoch,
    /// `astern.dev/run`.
    pub run: crate::id::RunId,
    /// For `kubernetes.io/change-cause`: run and reason.
    pub reason: String,
    /// How long its outcome has been open at least, by what the process that asks has itself measured: since its newest intent,
    /// or since that attempt ended unanswered. No clock that somebody sets comes into it.
    pub open_for: jiff::SignedDuration,
}
