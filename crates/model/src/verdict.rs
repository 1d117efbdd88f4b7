//! Whether it is over: the same judge and thresholds that opened it, over a soak window.

use crate::target::Target;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The checklist, computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// When the window began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// How long it held without a break, at the end of the window.
    pub held_for: SignedDuration,
    /// The items.
    pub items: Vec<Item>,
}

impl Verdict {
    /// Passes only when every item passes: unknown is not a pass.
    pub fn passes(&self) -> bool {
        self.items.iter().all(|item| item.result == CheckResult::Pass)
    }
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// About which workload.
    pub target: Target,
    /// What was checked: `pods serving`, `restarts`, `error lines`, `probe health`.
    pub check: String,
    /// How it came out.
    pub result: CheckResult,
    /// What it rests on: numbers, a message.
    pub evidence: String,
}

/// How an item came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CheckResult {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// It could not be found out.
    Unknown,
}
