//! What is observed beyond the API objects: logs and HTTP probes. It decides nothing.

use astern_model::evidence::Evidence;
use astern_model::inventory::Inventory;
use astern_model::platform::Probe;
use astern_model::policy::LogPolicy;
use astern_model::record::SavedEvidence;
use astern_model::target::Target;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The senses.
#[async_trait]
pub trait Sense: Send + Sync {
    /// Error lines in the logs of the targets' pods, the live version's and the former ones' apart, every
    /// container, within the window or since `since` if that is later. At most `within` in all: what was not had
    /// in time is `Known::Unknown`.
    async fn error_lines(
        &self,
        inventory: &Inventory,
        targets: &[Target],
        policy: &LogPolicy,
        since: Option<Timestamp>,
        within: SignedDuration,
    ) -> Vec<Evidence>;

    /// One evidence a probe.
    async fn probe(
        &self,
        namespace: &str,
        probes: &[(Target, Probe)],
        within: SignedDuration,
    ) -> Vec<Evidence>;

    /// Saves what a rollback would destroy: logs of failing containers (current and previous), events, pod status.
    /// Values of Secrets that the pods consume are masked first. Bounded in time (`within` is for reading; storing has
    /// its own bound) and bytes; returns what was saved and what was not had, by name. Never an error: evidence must not stand in the way.
    async fn save(
        &self,
        inventory: &Inventory,
        targets: &[Target],
        within: SignedDuration,
        bytes: u64,
    ) -> Saved;
}

/// What was saved and what was missed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Saved.
    pub evidence: Vec<SavedEvidence>,
    /// Not had in time, or not readable, each as a phrase with the reason.
    pub missed: Vec<String>,
}
