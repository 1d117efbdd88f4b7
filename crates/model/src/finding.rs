//! What the gate found wrong with, or remarkable about, a plan.

use crate::policy::{Acceptor, Policy};
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One finding of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whether the plan may run with it.
    pub severity: Severity,
    /// The rule's code, which has a page: `AST0203`.
    pub code: String,
    /// About which workload, if about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What is the matter, one sentence without a full stop.
    pub message: String,
    /// What a person can type or do.
    pub hint: String,
}

/// Whether a plan may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Severity {
    /// It may not.
    Refuse,
    /// It may, once somebody has read this.
    Warn,
}

/// What was settled beforehand: by whoever asks, with flags, and by the platform's owners, with their policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Allowances {
    /// Owners whose writing back is accepted (`--accept-revert OWNER`), by name.
    pub accept_revert: BTreeSet<String>,
    /// Owners whose source says what runs by somebody's word (`--source-matches OWNER`), where the cluster cannot tell.
    pub source_matches: BTreeSet<String>,
    /// Image tags that say nothing, because somebody may move them (`policy.mutableTags`).
    pub mutable_tags: BTreeSet<String>,
    /// Paused workloads that may be resumed without asking (`--resume-paused WORKLOAD`), as `NAME` or `KIND/NAME`.
    pub resume_paused: BTreeSet<String>,
    /// Who says yes to the plan. With `--yes` nobody reads a warning.
    pub acceptor: Acceptor,
    /// Whether the run is written down in a file (`--store FILE`), so that no right on Secrets is needed for it.
    pub journal_in_file: bool,
}

impl Allowances {
    /// What a policy settles, and no flag.
    pub fn of(policy: &Policy) -> Self {
        Self {
            accept_revert: BTreeSet::new(),
            source_matches: BTreeSet::new(),
            mutable_tags: policy.mutable_tags.iter().cloned().collect(),
            resume_paused: BTreeSet::new(),
            acceptor: Acceptor::default(),
            journal_in_file: false,
        }
    }
}

impl Default for Allowances {
    fn default() -> Self {
        Self::of(&Policy::default())
    }
}
