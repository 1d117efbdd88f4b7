//! What planning reads: one inventory, and the answers to questions. Only reads and dry runs.

use crate::Failure;
use astern_model::inventory::Inventory;
use astern_model::owner::OwnerSeen;
use astern_model::question::{Answers, Question};
use astern_model::target::{Cluster, Target};
use astern_model::template::Template;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::BTreeMap;

/// A cluster, as the planner and the gate look at it.
#[async_trait]
pub trait Look: Send + Sync {
    /// Which cluster this is, as whom, seen from `namespace`.
    async fn identify(&self, namespace: &str) -> Result<Cluster, Failure>;

    /// Reads a namespace once, with as many requests side by side as it can. What could not be read is named in
    /// [`Inventory::unread`]; only a missing namespace, a missing right to list the workloads, or a server that
    /// does not answer is an error. `evidence` holds what status, pods and events tell, with the values of the
    /// Secrets that the pods consume masked; logs and probes come from [`crate::sense::Sense`].
    async fn inventory(&self, namespace: &str) -> Result<Inventory, Failure>;

    /// Answers all questions side by side. Each has an answer; one that could not be found out is
    /// [`astern_model::question::Answer::Unknown`]. `inventory` holds the templates that questions name by hash.
    async fn answer(&self, inventory: &Inventory, questions: &[Question]) -> Answers;

    /// `metadata.managedFields` of these workloads: who owns which field, and since when. Metadata alone, by one request a
    /// kind; a workload that is gone is left out.
    async fn managed(&self, targets: &[Target]) -> Result<BTreeMap<Target, Vec<Value>>, Failure>;

    /// What a workload would be once this manifest of it was applied by server-side apply, over whoever else owns a field: a dry
    /// run, nothing is stored. The answer has the API server's defaults, as the object that stands has them.
    async fn applied(&self, target: &Target, manifest: &Value, manager: &str) -> Result<Value, Failure>;

    /// What a workload would ask for if this were its pod template: a dry run on the workload as it stands, nothing is stored. The
    /// answer has the API server's defaults, and what its admission adds.
    async fn completed(&self, target: &Target, template: &Value) -> Result<Template, Failure>;

    /// What starts pods in a namespace beside its workloads' own controllers, CronJobs and ScaledObjects, with those above them.
    async fn starters(&self, namespace: &str) -> Result<Vec<OwnerSeen>, Failure>;

    /// Ends when something about `targets` or their pods changed, or after `within`. Watches; never polls.
    async fn changed(&self, targets: &[Target], within: jiff::SignedDuration) -> Result<(), Failure>;
}
