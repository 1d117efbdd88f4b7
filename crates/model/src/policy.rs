//! What the owners allow, as data: thresholds, and the decision matrix whose rows the planner reads.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Thresholds and rows. [`Policy::default`] is the runbook's matrix, made consistent (one error threshold).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// A revision that was the newest for this long before its successor is presumed good. 30 minutes.
    pub presumed_good_after: SignedDuration,
    /// A recorded release that served healthily for this long becomes good. 30 minutes.
    pub bake: SignedDuration,
    /// Who may go back to a revision that is only presumed good.
    pub accept_presumed: Vec<Acceptor>,
    /// What a failed step leads to once a workload was restored.
    pub on_failure: OnFailure,
    /// How logs are judged.
    pub logs: LogPolicy,
    /// Which image tags say nothing, because somebody may move them.
    pub mutable_tags: Vec<String>,
    /// How long a plan may wait before it starts. 60 minutes.
    pub plan_expiry: SignedDuration,
    /// The rows, in the order in which they are printed. All that hold fire; the gravest answer wins.
    pub matrix: Vec<Row>,
}

/// Who approves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Acceptor {
    /// A person who read the plan and typed `y`.
    #[default]
    Person,
    /// `--yes`.
    Yes,
}

/// What happens to completed steps after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum OnFailure {
    /// They stay; a person decides.
    Hold,
    /// They are taken back in reverse order.
    Unwind,
}

/// How error lines in logs are counted and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPolicy {
    /// Words that make a line an error line, upper case; matched as whole words in any case.
    pub words: Vec<String>,
    /// The window. 5 minutes.
    pub window: SignedDuration,
    /// With old pods still there: live is bad when it has this many times their rate. 3.
    pub times_former: f64,
    /// … and at least this many lines a minute and pod. 1.
    pub at_least_per_minute: f64,
    /// Without old pods: bad from this many lines a minute and pod. 10.
    pub absolute_per_minute: f64,
}

/// One row of the matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Its id, as `--override-decision` takes it.
    pub id: String,
    /// When it fires.
    pub when: When,
    /// What it then says.
    pub then: Say,
    /// One sentence for a person.
    pub because: String,
}

/// The conditions that a row may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum When {
    /// Pods of the live version do not start: image, config, scheduling, quota.
    PodsNotStarting,
    /// Containers of the live version crash again and again.
    CrashLoop,
    /// Pods of the live version run and are not ready, or the rollout passed its progress deadline.
    NotReady,
    /// The live version logs far more errors than allowed.
    ErrorLines,
    /// A probe of the platform file fails.
    ProbeFails,
    /// The version to go back to fails in the same way now.
    FormerFailsAlike,
    /// Pods of the version to go back to serve, and restart often or log many errors.
    FormerUnwell,
    /// Evidence that a row needs could not be had.
    EvidenceMissing,
    /// Nothing is wrong that can be seen.
    AllHealthy,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Say {
    /// Roll back.
    RollBack,
    /// A person decides.
    Ask,
    /// Do not roll back.
    DoNot,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self {
            words: ["ERROR", "FATAL", "PANIC", "EXCEPTION", "CRITICAL"]
                .map(str::to_owned)
                .to_vec(),
            window: SignedDuration::from_mins(5),
            times_former: 3.0,
            at_least_per_minute: 1.0,
            absolute_per_minute: 10.0,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let row = |id: &str, when, then, because: &str| Row {
            id: id.to_owned(),
            when,
            then,
            because: because.to_owned(),
        };
        Self {
            presumed_good_after: SignedDuration::from_mins(30),
            bake: SignedDuration::from_mins(30),
            accept_presumed: vec![Acceptor::Person, Acceptor::Yes],
            on_failure: OnFailure::Hold,
            logs: LogPolicy::default(),
            mutable_tags: [
                "latest", "main", "master", "dev", "develop", "edge", "nightly", "stable",
            ]
            .map(str::to_owned)
            .to_vec(),
            plan_expiry: SignedDuration::from_mins(60),
            matrix: vec![
                row(
                    "pods-not-starting",
                    When::PodsNotStarting,
                    Say::RollBack,
                    "pods of the new version do not start",
                ),
                row(
                    "crash-loop",
                    When::CrashLoop,
                    Say::RollBack,
                    "the new version crashes again and again",
                ),
                row(
                    "not-ready",
                    When::NotReady,
                    Say::RollBack,
                    "pods of the new version do not become ready",
                ),
                row(
                    "error-lines",
                    When::ErrorLines,
                    Say::RollBack,
                    "the new version logs far more errors",
                ),
                row(
                    "probe-fails",
                    When::ProbeFails,
                    Say::RollBack,
                    "a probe of the platform file fails",
                ),
                row(
                    "former-fails-alike",
                    When::FormerFailsAlike,
                    Say::DoNot,
                    "the old version fails in the same way: going back would not help",
                ),
                row(
                    "former-unwell",
                    When::FormerUnwell,
                    Say::Ask,
                    "the old version is not well itself",
                ),
                row(
                    "evidence-missing",
                    When::EvidenceMissing,
                    Say::Ask,
                    "evidence is missing",
                ),
                row(
                    "all-healthy",
                    When::AllHealthy,
                    Say::Ask,
                    "nothing wrong can be seen; a person may know what no probe shows",
                ),
            ],
        }
    }
}
