//! Who said yes, why, and over what they set themselves.

use crate::finding::Finding;
use crate::id::PlanHash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The authority behind a run, bound to one plan's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The plan it is for.
    pub plan: PlanHash,
    /// The user, as the API server names it.
    pub by: String,
    /// How it was given.
    pub how: How,
    /// Why. Asked once, shown everywhere.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// What the approver decided against the evidence or without it, a sentence each.
    pub overrides: Vec<String>,
    /// Warnings of the gate that stood when it was given, as codes.
    pub warnings: Vec<String>,
    /// The same as they were shown: what is the matter, and what to do. None in a journal that was written before they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Finding>,
}

/// How an approval was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum How {
    /// A person at a terminal read the plan and said yes.
    Person,
    /// `--yes`.
    Yes,
}
