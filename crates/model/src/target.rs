//! What can be taken back, and on which cluster.

use crate::id::Uid;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The workload kinds whose template astern takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment; its revisions are ReplicaSets.
    Deployment,
    /// `apps/v1` StatefulSet; its revisions are ControllerRevisions.
    StatefulSet,
    /// `apps/v1` DaemonSet; its revisions are ControllerRevisions.
    DaemonSet,
    /// `argoproj.io/v1alpha1` Rollout of Argo Rollouts; its revisions are ReplicaSets.
    Rollout,
}

impl WorkloadKind {
    /// All kinds, in the order in which they are printed.
    pub const ALL: [Self; 4] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Rollout,
    ];

    /// `kind` as manifests spell it: `Deployment`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Rollout => "Rollout",
        }
    }

    /// The API group that serves it.
    pub fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps",
            Self::Rollout => "argoproj.io",
        }
    }

    /// The version of that group.
    pub fn version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "v1",
            Self::Rollout => "v1alpha1",
        }
    }

    /// `apiVersion` as manifests have it: `apps/v1`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Rollout => "argoproj.io/v1alpha1",
        }
    }

    /// The resource name as the API's path has it: `deployments`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::Rollout => "rollouts",
        }
    }

    /// The lower-case singular that kubectl prints: `deployment`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Rollout => "rollout",
        }
    }

    /// Reads `deployment`, `Deployment`, `deploy`, `sts`, `ds`, `ro` and the plurals, as kubectl does.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => Some(Self::Deployment),
            "statefulset" | "statefulsets" | "sts" => Some(Self::StatefulSet),
            "daemonset" | "daemonsets" | "ds" => Some(Self::DaemonSet),
            "rollout" | "rollouts" | "ro" => Some(Self::Rollout),
            _ => None,
        }
    }
}

/// One workload, by name. Its text form is `deployment/api-gateway`; the namespace is said once, elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Which kind of workload.
    pub kind: WorkloadKind,
    /// The namespace it lives in.
    pub namespace: String,
    /// Its `metadata.name`.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.singular(), self.name)
    }
}

/// Which cluster, and as whom: the head of every plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The identity that a plan pins.
    pub identity: ClusterIdentity,
    /// The kubeconfig context's name, or `in-cluster`.
    pub context: String,
    /// The API server's address.
    pub server: String,
    /// The user as the API server names it (SelfSubjectReview), or the kubeconfig's name for it.
    pub user: String,
    /// The API server's version, `v1.34.4`.
    pub version: String,
}

/// The cluster in which Argo CD runs, where that is another one, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hub {
    /// The kubeconfig context's name.
    pub context: String,
    /// The user as the hub's API server names it, or the kubeconfig's name for it.
    pub user: String,
}

/// What tells one cluster from another, also when both are reached by the same address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "by",
    content = "uid"
)]
pub enum ClusterIdentity {
    /// The uid of the namespace `kube-system`.
    KubeSystem(Uid),
    /// Without the right to read that: the uid of ConfigMap `kube-root-ca.crt` in the plan's namespace.
    RootCa(Uid),
}

impl ClusterIdentity {
    /// The uid itself.
    pub fn uid(&self) -> &Uid {
        match self {
            Self::KubeSystem(uid) | Self::RootCa(uid) => uid,
        }
    }
}
