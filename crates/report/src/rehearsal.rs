//! A rehearsal as data: what carrying a plan out on a copy of its namespace showed. Owns the nouns; the renderings only lay
//! them out. Times are spans since the rehearsal began: none of them ever was on a clock.

use crate::report::{Ending, Standing};
use crate::story::StepLine;
use astern_model::finding::Finding;
use astern_model::id::{PlanHash, StepId};
use astern_model::policy::OnFailure;
use astern_model::target::{Cluster, Target};
use astern_model::verdict::{CheckResult, Item};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What a rehearsal showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// What the plan does, as its own title says it.
    pub title: String,
    /// The plan.
    pub plan: PlanHash,
    /// The cluster that the copy was read from.
    pub cluster: Cluster,
    /// The namespace.
    pub namespace: String,
    /// What the copy was made of.
    pub copy: Copied,
    /// What the gate found of the plan on the real cluster.
    pub findings: Vec<Finding>,
    /// How pods behaved on the copy, by workload and version.
    pub paces: Vec<Pace>,
    /// How the run ended there.
    pub ending: Ending,
    /// From its start until the last workload served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_after: Option<SignedDuration>,
    /// What the plan forecasts for that.
    pub forecast: SignedDuration,
    /// The budget.
    pub rto: SignedDuration,
    /// What a failed step leads to.
    pub on_failure: OnFailure,
    /// When the run began, by the copy's clock: the steps' times count from here.
    pub began: Timestamp,
    /// The steps, in the plan's order.
    pub steps: Vec<StepLine>,
    /// Each workload's pods over time.
    pub lanes: Vec<PodLane>,
    /// What stood in the way of pods.
    pub blocks: Vec<Block>,
    /// Disruption budgets that a rollout, which they do not bind, went below.
    pub budgets: Vec<Budget>,
    /// On what each workload stood at the end.
    pub standings: Vec<Standing>,
    /// Whether that held over the soak window.
    pub checks: Vec<Item>,
    /// The window.
    pub soak: SignedDuration,
    /// The same with each step failing and with a crash at each point; none where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<Faults>,
    /// What it does not prove, a sentence each.
    pub proves_not: Vec<String>,
}

impl Rehearsal {
    /// Whether service was restored, and held.
    pub fn restores(&self) -> bool {
        self.ending == Ending::Restored && self.checks.iter().all(|item| item.result != CheckResult::Fail)
    }
}

/// What a copy was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// When it was read.
    pub at: Timestamp,
    /// All its objects.
    pub objects: u64,
    /// The namespace's pods.
    pub pods: u64,
    /// The nodes.
    pub nodes: u64,
    /// What could not be read, with what follows from that, a sentence each.
    pub missing: Vec<String>,
}

/// How the pods of one revision behave, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// The workload.
    pub target: Target,
    /// The version that a person would name.
    pub version: String,
    /// From being placed on a node to running.
    pub starts_after: SignedDuration,
    /// From running to ready; none: it never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_after: Option<SignedDuration>,
    /// How long it takes to stop: the longest that it may.
    pub stops_within: SignedDuration,
    /// How that is known.
    pub known_from: KnownFrom,
}

/// How a pace is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum KnownFrom {
    /// Pods of it that became ready and never restarted: the median of so many.
    Measured {
        /// How many.
        pods: u32,
    },
    /// Its pods do not serve now, and go on like that.
    Seen {
        /// What is wrong with them.
        what: String,
    },
    /// No pod of it tells: its probes' numbers.
    Probes,
    /// No pod of it tells, and it has no probes: a container is ready once it runs.
    NoProbes,
}

/// A workload's pods over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodLane {
    /// The workload.
    pub target: Target,
    /// The version before.
    pub from: String,
    /// The version that it goes back to.
    pub to: String,
    /// Pods that it asks for.
    pub desired: u32,
    /// Its pods whenever their number or readiness changed, in order; the first when the run began.
    pub points: Vec<PodPoint>,
}

/// A workload's pods from one moment on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPoint {
    /// Since the run began.
    pub after: SignedDuration,
    /// Pods of the version it goes back to.
    pub to: u32,
    /// Of them, ready.
    pub to_ready: u32,
    /// Pods of any other version.
    pub from: u32,
    /// Of them, ready.
    pub from_ready: u32,
}

impl PodPoint {
    /// Ready pods of any version.
    pub fn ready(&self) -> u32 {
        self.to_ready + self.from_ready
    }
}

/// Something that stood in the way of pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// The workload whose pods it concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The event's reason: `FailedCreate`, `FailedScheduling`.
    pub reason: String,
    /// What was lacking, in the words of the API server or the scheduler.
    pub what: String,
    /// When it was first said.
    pub first: SignedDuration,
    /// When it was last said.
    pub last: SignedDuration,
    /// How often it was said.
    pub times: u32,
}

/// A disruption budget that fewer pods stood under than it demands. It binds evictions, never a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// The PodDisruptionBudget's name.
    pub name: String,
    /// The workload.
    pub target: Target,
    /// Healthy pods that it demands.
    pub demands: u32,
    /// The fewest that were ready.
    pub lowest: u32,
    /// When.
    pub after: SignedDuration,
}

/// The same run with faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Faults {
    /// A step each that was made to fail for good.
    pub failures: Vec<FailedStep>,
    /// Where the run stood each time when whoever carried it out died, and what another one made of it.
    pub crashes: Vec<Crash>,
}

/// A step that was made to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedStep {
    /// Which.
    pub step: StepId,
    /// What it does.
    pub what: String,
    /// How the run ended.
    pub ending: Ending,
    /// On what each workload stood then.
    pub standings: Vec<Standing>,
    /// What an abort led to, where the run was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<Ending>,
    /// What was not as before once all was taken back; empty for what was not taken back.
    pub differs: Vec<String>,
}

impl FailedStep {
    /// Whether it came to rest where it should: held and then taken back, or taken back, with all as before.
    pub fn unwinds(&self) -> bool {
        let back = self.aborted.as_ref().unwrap_or(&self.ending);
        matches!(back, Ending::Unwound { .. }) && self.differs.is_empty()
    }
}

/// A crash at one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Crash {
    /// The steps that were being worked on, each with what it does; none for the run itself.
    pub steps: Vec<(StepId, String)>,
    /// The point: `before its intent is durable`.
    pub at: String,
    /// How the run ended once another one went on with it; none where it did not come into being yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// What was not as it is after the run without a crash.
    pub differs: Vec<String>,
}

impl Crash {
    /// Whether it ended as the run without a crash did, or nothing had begun and nothing was changed.
    pub fn recovers(&self) -> bool {
        self.differs.is_empty()
    }
}
