//! The platform as its owners describe it in `astern.yaml`, parsed: what is rolled back together.

use crate::id::Uid;
use crate::login::Proof;
use crate::policy::Policy;
use crate::target::Target;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A platform. Without an `astern.yaml` it is a namespace with all its workloads and the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// Its name: what a person types to confirm a loss of data.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The only cluster it may be, if its owners pinned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<Uid>,
    /// Its members; empty means every workload of the namespace.
    pub members: Vec<Member>,
    /// Secrets whose content goes back with a release, each with what proves that it still works, where that is said. Others stay:
    /// a credential that was rotated would lock everybody out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restore_secrets: BTreeMap<String, Option<Proof>>,
    /// The time within which service must be back. 15 minutes.
    pub rto: SignedDuration,
    /// How long the verdict must hold after the last workload serves. 5 minutes.
    pub soak: SignedDuration,
    /// For how long an owner that a run has paused may stay so before people are told that it is due. 24 hours.
    pub guard: SignedDuration,
    /// Where Argo CD is, where it is not in the platform's own cluster or not in namespace `argocd`.
    #[serde(default)]
    pub argocd: ArgoCd,
    /// How helm is told to roll a release back.
    #[serde(default)]
    pub helm: crate::helm::Settings,
    /// What its owners allow.
    pub policy: Policy,
}

/// Where Argo CD's Applications lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArgoCd {
    /// The kubeconfig's context of the cluster that has them; none for the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Their namespace where a mark names none; none for `argocd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Argo CD's own API server, where it is asked instead of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ArgoCdServer>,
}

/// Argo CD's own API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArgoCdServer {
    /// `https://argocd.example`, with its root path where it has one.
    pub address: String,
    /// Where the token of its account is found; never the token itself.
    pub token: SecretRef,
    /// A file with the certificates that its own is signed with, in PEM; none for those that this machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

impl Platform {
    /// The runbook's budget for an application rollback.
    pub const DEFAULT_RTO: SignedDuration = SignedDuration::from_mins(15);
    /// Long enough to see a crash loop's second restart and a slow leak of readiness.
    pub const DEFAULT_SOAK: SignedDuration = SignedDuration::from_mins(5);

    /// A working day: long enough to merge a revert, short enough that nobody forgets why nothing is deployed.
    pub const DEFAULT_GUARD: SignedDuration = SignedDuration::from_hours(24);

    /// The platform that a bare namespace is.
    pub fn of_namespace(namespace: &str) -> Self {
        Self {
            name: namespace.to_owned(),
            namespace: namespace.to_owned(),
            cluster_uid: None,
            members: Vec::new(),
            restore_secrets: BTreeMap::new(),
            rto: Self::DEFAULT_RTO,
            soak: Self::DEFAULT_SOAK,
            guard: Self::DEFAULT_GUARD,
            argocd: ArgoCd::default(),
            helm: crate::helm::Settings::default(),
            policy: Policy::default(),
        }
    }

    /// The member that describes `target`, if there is one.
    pub fn member(&self, target: &Target) -> Option<&Member> {
        self.members.iter().find(|member| &member.target == target)
    }
}

/// One workload of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Which workload.
    pub target: Target,
    /// Workloads that must serve before this one is rolled back.
    pub depends_on: Vec<Target>,
    /// Whether it takes in what changes in its ConfigMaps and Secrets by itself, so that it need not be restarted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reloads: bool,
    /// Whether it is stopped before a rollback writes anything of it, and started again afterwards: two versions of it must
    /// not run beside each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stops: bool,
    /// How its service is asked whether it works.
    pub probes: Vec<Probe>,
}

/// An HTTP request that tells whether a service works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Its name in reports.
    pub name: String,
    /// Where it goes.
    pub to: ProbeTarget,
    /// The status that it must answer.
    pub status: u16,
    /// A value that the JSON answer must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonExpectation>,
    /// A header that the answer must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderExpectation>,
    /// Where the bearer token is found, never the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretRef>,
}

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ProbeTarget {
    /// The member's Service through the API server's proxy.
    Service {
        /// The Service's name.
        service: String,
        /// Its port.
        port: u16,
        /// The path with a leading `/`.
        path: String,
    },
    /// Any address.
    Url(String),
}

/// A value inside a JSON answer, by RFC 6901 pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JsonExpectation {
    /// The pointer, `/status`.
    pub path: String,
    /// The value it must have.
    pub equals: serde_json::Value,
}

/// A header of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderExpectation {
    /// Its name, in any case.
    pub name: String,
    /// Its value.
    pub equals: String,
}

/// Where a secret value is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SecretRef {
    /// An environment variable of the process.
    Env(String),
    /// A file; a trailing line end is dropped.
    File(String),
    /// A key of a Kubernetes Secret in the platform's namespace.
    Secret {
        /// The Secret's name.
        secret: String,
        /// The key in its data.
        key: String,
    },
}
