//! The report of a run as data. Owns the nouns; [`crate::report()`] fills them and the renderings only lay them out.
//!
//! Whatever is said carries the sequence number of the journal record that says it. Record 0 is the plan.

use crate::story::{DecisionStory, FailureStory, RollbackStory};
use astern_model::approval::Approval;
use astern_model::choice::Choice;
use astern_model::evidence::Known;
use astern_model::id::{Epoch, PlanHash, RunId, Seq, StepId};
use astern_model::plan::{ConfigChanges, Intent, TargetChanges};
use astern_model::record::{Holder, SavedEvidence};
use astern_model::target::{Cluster, Target};
use astern_model::verdict::Verdict;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The sequence number of the plan itself.
pub const PLAN: Seq = Seq(0);

/// Everything that plan and records say about one run, computed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which run.
    pub run: RunId,
    /// Where its journal lies: `Secrets in namespace vcci-scope3`.
    pub journal: String,
    /// One line: what was done, to what, how it ended.
    pub title: String,
    /// Where, who, why.
    pub head: Head,
    /// How it ended, or where it stands.
    pub ending: Cited<Ending>,
    /// Which service stands on which release now, by name.
    pub standings: Vec<Standing>,
    /// What it cost, as far as that is known.
    pub impact: Vec<Figure>,
    /// What was wrong, and since when.
    pub failure: FailureStory,
    /// Whether a rollback was right.
    pub decision: DecisionStory,
    /// What was done.
    pub rollback: RollbackStory,
    /// What was chosen to go back to, and what was passed over. From the plan.
    pub choices: Vec<Choice>,
    /// What changed, workload by workload. From the plan.
    pub changes: Vec<TargetChanges>,
    /// What changed in ConfigMaps and Secrets. From the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<ConfigChanges>,
    /// Whether it is over.
    pub checklist: Checklist,
    /// What was saved before the first change.
    pub evidence: EvidenceStory,
    /// What was not changed, a sentence each. From the plan.
    pub unchanged: Vec<String>,
    /// What was accepted knowingly.
    pub accepted: Vec<Accepted>,
    /// What remains to be done.
    pub follow_ups: Vec<FollowUp>,
    /// The journal, a line each.
    pub records: Vec<JournalLine>,
}

/// A thing, and the record that says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cited<T> {
    /// The record's sequence number.
    pub seq: Seq,
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
    /// What it says.
    pub what: T,
}

/// A record's place and time: all that a beginning or an end needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// The record's sequence number.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
}

/// Where, who, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The platform's name.
    pub platform: String,
    /// Its namespace.
    pub namespace: String,
    /// The cluster, and the user who planned.
    pub cluster: Cluster,
    /// What the run was for.
    pub intent: Intent,
    /// The plan's hash.
    pub plan: PlanHash,
    /// When the plan was made.
    pub planned_at: Timestamp,
    /// Who said yes, how and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Cited<Approval>>,
    /// Who carried it out, in order. More than one: it was taken over.
    pub holders: Vec<Cited<Holder>>,
}

/// How a run ended, or where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Ending {
    /// Steps are carried out.
    UnderWay,
    /// It waits for a person.
    Held {
        /// Why.
        why: String,
    },
    /// Steps are taken back.
    Unwinding {
        /// Why.
        why: String,
    },
    /// Every step is done.
    Restored,
    /// Every effect was taken back.
    Unwound {
        /// Why.
        why: String,
    },
    /// It can go neither way.
    Stuck {
        /// The step that cannot go on.
        step: StepId,
        /// What was done, what was not.
        why: String,
    },
    /// Another run or a person took the targets over.
    Superseded {
        /// By whom or what.
        by: String,
    },
}

/// How something is to be seen; the renderings turn it into an icon, a word and a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tone {
    /// As it should be.
    Good,
    /// Somebody must look.
    Warn,
    /// Not as it should be.
    Bad,
    /// Neither.
    Quiet,
}

impl Tone {
    /// How much it asks for a reader's eye: the largest of several is the one to show.
    pub(crate) fn gravity(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Quiet => 1,
            Self::Warn => 2,
            Self::Bad => 3,
        }
    }
}

/// On which release a workload stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Which workload.
    pub target: Target,
    /// On what.
    pub on: Stands,
    /// The record that says so.
    pub seq: Seq,
}

/// On what a workload stands, as far as the journal tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Stands {
    /// Pods of this version were seen to serve.
    Serves {
        /// The version.
        version: String,
        /// Ready pods.
        ready: u32,
        /// Pods that it asks for.
        desired: u32,
        /// The images that really run: reference → digest.
        digests: BTreeMap<String, String>,
    },
    /// Its template asks for this version; that its pods serve was not seen.
    Asks {
        /// The version.
        version: String,
    },
    /// Its template asks for this version, and its pods were seen not to come up.
    Fails {
        /// The version.
        version: String,
        /// Why, in the words of the failed wait.
        why: String,
    },
    /// The run did not change it.
    Untouched {
        /// The version.
        version: String,
    },
    /// The run changed it and took that back.
    TakenBack {
        /// The version that it is on again.
        version: String,
    },
    /// The write's outcome is not known.
    NotKnown {
        /// The version before the write.
        from: String,
        /// The version that was written.
        to: String,
    },
}

/// One figure of the impact. What no record tells is unknown, with the reason; nothing is ever typed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What it measures.
    pub what: String,
    /// The value as a person reads it.
    pub value: Known<String>,
    /// The records that it is computed from.
    pub seqs: Vec<Seq>,
}

/// Whether it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checklist {
    /// What counts as recovered, a sentence each. From the plan.
    pub criteria: Vec<String>,
    /// For how long it must hold.
    pub soak: SignedDuration,
    /// The judge's last word; none: nobody has validated, and nothing is claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CitedVerdict>,
}

/// A verdict and its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CitedVerdict {
    /// The record.
    pub seq: Seq,
    /// The verdict.
    pub verdict: Verdict,
}

/// What was saved before the first change, because a rollback destroys it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceStory {
    /// Whether anything was said about saving at all.
    pub tried: bool,
    /// What was saved, by reference, with its last lines (masked where it was saved).
    pub saved: Vec<Cited<SavedEvidence>>,
    /// What was not had in time.
    pub missed: Vec<Cited<String>>,
}

/// Something that was accepted knowingly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// What it is.
    pub kind: AcceptedKind,
    /// The sentence, or the code.
    pub what: String,
    /// The record that says so.
    pub seq: Seq,
}

/// What was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AcceptedKind {
    /// Decided against the evidence, or without it.
    Override,
    /// A warning that the plan itself showed.
    Warning,
    /// A finding of the gate, by its code.
    Finding,
}

/// Something that remains to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowUp {
    /// What, as an imperative sentence.
    pub what: String,
    /// The record that it follows from.
    pub seq: Seq,
}

/// One record of the journal as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalLine {
    /// The record.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// In which epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What it says.
    pub what: String,
    /// How it is to be seen.
    pub tone: Tone,
}

impl Report {
    /// The status in a few words, and how it is to be seen. "Validated" only with a verdict that passes.
    pub fn status(&self) -> (Tone, &'static str) {
        match (&self.ending.what, &self.checklist.verdict) {
            (Ending::Restored, Some(judged)) if judged.verdict.passes() => {
                (Tone::Good, "✓ restored and validated")
            }
            (Ending::Restored, Some(_)) => (Tone::Bad, "✗ restored, validation did not pass"),
            (Ending::Restored, None) => (Tone::Warn, "! restored, not validated"),
            (Ending::UnderWay, _) => (Tone::Warn, "▸ under way"),
            (Ending::Unwinding { .. }, _) => (Tone::Warn, "◂ being taken back"),
            (Ending::Unwound { .. }, _) => (Tone::Warn, "↩ unwound: as before"),
            (Ending::Held { .. }, _) => (Tone::Bad, "! held: a person is needed"),
            (Ending::Stuck { .. }, _) => (Tone::Bad, "✗ stuck: a person is needed"),
            (Ending::Superseded { .. }, _) => (Tone::Warn, "! superseded"),
        }
    }

    /// Why it stands where it stands, where the journal says.
    pub fn why(&self) -> Option<String> {
        match &self.ending.what {
            Ending::UnderWay | Ending::Restored => None,
            Ending::Held { why } | Ending::Unwinding { why } | Ending::Unwound { why } => Some(why.clone()),
            Ending::Stuck { step, why } => Some(format!("step {step}: {why}")),
            Ending::Superseded { by } => Some(format!("by {by}")),
        }
    }

    /// The time that every other one is told against: the rollback's start.
    pub fn origin(&self) -> Timestamp {
        self.rollback.start.at
    }
}
