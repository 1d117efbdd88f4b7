//! What the evidence says, workload by workload.

use crate::evidence::Evidence;
use crate::target::Target;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The state of every workload in scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// One entry a workload, in the order of their names.
    pub workloads: Vec<WorkloadAssessment>,
}

impl Assessment {
    /// The entry for `target`.
    pub fn of(&self, target: &Target) -> Option<&WorkloadAssessment> {
        self.workloads.iter().find(|entry| &entry.target == target)
    }
}

/// One workload, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadAssessment {
    /// Which workload.
    pub target: Target,
    /// The version that its template asks for.
    pub version: String,
    /// `sha256:…` of the first container's image, where a running pod tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The number of the live revision, if the cluster remembers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Ready pods, of any version.
    pub ready: u32,
    /// Pods that it asks for.
    pub desired: u32,
    /// Ready pods of earlier versions: who still serves while the new one fails.
    pub former_ready: u32,
    /// Since when the live version is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_since: Option<Timestamp>,
    /// How long ago that was when the inventory was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<SignedDuration>,
    /// The state.
    pub state: Health,
    /// Why, in one phrase; empty when healthy.
    pub reason: String,
    /// The conditions of the policy's matrix that hold.
    pub holds: Vec<crate::policy::When>,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

/// How a workload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Health {
    /// All pods of the newest template serve.
    Healthy,
    /// A rollout is under way and nothing speaks against it.
    Progressing,
    /// It serves, and something is wrong.
    Degraded,
    /// The live version cannot serve.
    Failing,
    /// Not enough is known.
    Unknown,
}

impl Health {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Progressing => "progressing",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}
