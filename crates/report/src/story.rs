//! The parts of a report that tell what happened in the order of time: the failure, the decision, the rollback.

use crate::report::{Cited, Moment};
use astern_model::assessment::Health;
use astern_model::evidence::{Side, Source};
use astern_model::failure::Failure;
use astern_model::id::{EffectKey, Seq, StepId};
use astern_model::policy::{OnFailure, Say};
use astern_model::reversal::Reversal;
use astern_model::step::Forecast;
use astern_model::target::Target;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What was wrong. From the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureStory {
    /// Every workload as it stood when the plan was made.
    pub workloads: Vec<WorkloadLine>,
    /// The first and the last moment of the picture.
    pub from: Timestamp,
    /// … to.
    pub to: Timestamp,
    /// One lane a workload that the plan changes.
    pub lanes: Vec<Lane>,
    /// What happened, in the order of time.
    pub marks: Vec<Mark>,
}

/// One workload as it stood when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadLine {
    /// Which.
    pub target: Target,
    /// The version that its template asked for.
    pub version: String,
    /// Ready pods of any version.
    pub ready: u32,
    /// Of them, pods of earlier versions.
    pub former_ready: u32,
    /// Pods that it asked for.
    pub desired: u32,
    /// How it stood.
    pub state: Health,
    /// Why.
    pub reason: String,
    /// Since when that version was the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Which version of a workload was the newest, when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// Which workload.
    pub target: Target,
    /// The spans, in the order of time.
    pub spans: Vec<Span>,
}

/// A version's time as the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The version.
    pub version: String,
    /// Whether it is the one that was taken back.
    pub suspect: bool,
    /// Since when; none: that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when; none: until the end of what the journal tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The record that tells of it.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// What, in a few words.
    pub what: String,
}

/// The decision, and what it rests on. From the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStory {
    /// The matrix's answer.
    pub say: Say,
    /// The rows that fired.
    pub rows: Vec<FiredRow>,
    /// What was observed about the workloads that rows fired for.
    pub evidence: Vec<Observation>,
}

/// A row that fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FiredRow {
    /// The row's id.
    pub row: String,
    /// What it says.
    pub say: Say,
    /// The row's sentence.
    pub because: String,
    /// For which workloads, each with the phrase that made it fire.
    pub on: Vec<(Target, String)>,
}

/// One observation as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// About which workload.
    pub target: Target,
    /// About which of its versions.
    pub side: Side,
    /// Who said so.
    pub source: Source,
    /// What was observed.
    pub what: String,
    /// When.
    pub at: Timestamp,
    /// The span of time that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<SignedDuration>,
}

/// What was done, against what was forecast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStory {
    /// Where its clock starts: the approval, or without one the plan.
    pub start: Moment,
    /// The last moment that the journal tells of a step.
    pub end: Timestamp,
    /// When the last workload served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Moment>,
    /// The steps, in the plan's order.
    pub steps: Vec<StepLine>,
    /// The expected time until the last workload serves.
    pub forecast: SignedDuration,
    /// The budget.
    pub rto: SignedDuration,
    /// What a failed step leads to.
    pub on_failure: OnFailure,
}

/// One step: planned, and done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepLine {
    /// Its id.
    pub id: StepId,
    /// Its wave, from 1. Waves are how a plan is printed.
    pub wave: u32,
    /// What it does, as an imperative phrase.
    pub what: String,
    /// On which workload; none of a step on a Helm release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether it only looks and waits.
    pub only_reads: bool,
    /// How it came out.
    pub state: StepState,
    /// Its intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// When its outcome was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// How often it was tried.
    pub attempts: u32,
    /// The key that it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<EffectKey>,
    /// How long it was expected to take.
    pub forecast: Forecast,
    /// How it could be taken back.
    pub reversal: Reversal,
    /// What went wrong, in order.
    pub failures: Vec<Cited<Failure>>,
}

impl StepLine {
    /// From the intent to the known outcome, if both are there.
    pub fn took(&self) -> Option<SignedDuration> {
        Some(self.ended?.at.duration_since(self.started?.at))
    }
}

/// How a step came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// Nothing was tried.
    NotStarted,
    /// The effect may be there.
    UnderWay,
    /// The effect is there.
    Done,
    /// The effect is not there.
    Failed,
    /// It is not known whether the effect is there.
    Unsettled,
    /// It is being taken back.
    BeingTakenBack,
    /// It was taken back.
    TakenBack,
    /// It could not be taken back: the effect is there.
    NotTakenBack,
}
