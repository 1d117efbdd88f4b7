//! Whether a platform could be taken back tonight, as far as that can be told on a calm day.

use crate::choice::KnownGood;
use crate::finding::{Finding, Severity};
use crate::id::RunId;
use crate::target::Target;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a rollback would meet if it were asked for now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// The platform's name.
    pub platform: String,
    /// Its namespace.
    pub namespace: String,
    /// When it was looked at.
    pub at: Timestamp,
    /// Whether nothing would stop a rollback.
    pub ready: bool,
    /// Each workload that was looked at, by name.
    pub workloads: Vec<Readiness>,
    /// What would stop a rollback, then what makes one less sure; each in the order of codes and workloads.
    pub findings: Vec<Finding>,
    /// Reads that failed, as sentences: what is therefore unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// What there is to go back to for one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Which workload.
    pub target: Target,
    /// The version that it asks for now.
    pub version: String,
    /// How many earlier revisions are believed good.
    pub good_revisions: usize,
    /// The one that would be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_back_to: Option<KnownGood>,
    /// Whether it has had one version only, so that there is no release of it to take back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_version: bool,
    /// The run that went back to what it asks for now, where there is nothing else to go back to: its release is taken back already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_by: Option<RunId>,
}

impl Audit {
    /// Puts what was found in order.
    pub fn of(
        (platform, namespace): (String, String),
        at: Timestamp,
        workloads: Vec<Readiness>,
        mut findings: Vec<Finding>,
        unread: Vec<String>,
    ) -> Self {
        findings.sort();
        findings.dedup();
        Self {
            platform,
            namespace,
            at,
            ready: !findings.iter().any(stops),
            workloads,
            findings,
            unread,
        }
    }

    /// The gravest of what was found about a workload itself.
    pub fn gravest(&self, target: &Target) -> Option<Severity> {
        let about = self.findings.iter();
        let about = about.filter(|finding| finding.target.as_ref() == Some(target));
        about.map(|finding| finding.severity).min()
    }
}

/// Whether a rollback would be refused for it.
fn stops(finding: &Finding) -> bool {
    finding.severity == Severity::Refuse
}
