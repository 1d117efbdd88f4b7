//! What a journal may say. A run is the fold over its records, and nothing else is stored.

use crate::approval::Approval;
use crate::content::ContentRef;
use crate::failure::Failure;
use crate::id::{EffectKey, Epoch, RunId, Seq, StepId};
use crate::step::{After, Before};
use crate::verdict::Verdict;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One record, in the order of its sequence number. Record 0 is not one of these: it is the plan's sealed bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its place.
    pub seq: Seq,
    /// The epoch of whoever wrote it; none for requests, which anybody may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// When it was written, by the writer's clock. Shown, never used for order.
    pub at: Timestamp,
    /// What it says.
    pub event: Event,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "event")]
pub enum Event {
    /// The run was approved. Always the first record after the plan.
    Approved {
        /// The run's id.
        run: RunId,
        /// Who, why.
        approval: Approval,
    },
    /// A holder took the run over. Its sequence number is the new epoch.
    Taken {
        /// Who.
        holder: Holder,
    },
    /// Evidence was saved before the first change.
    Saved {
        /// What, and where it lies.
        evidence: Vec<SavedEvidence>,
        /// What was not had in time.
        missed: Vec<String>,
    },
    /// A step is about to take effect: this is durable before the effect.
    Intended {
        /// Which step.
        step: StepId,
        /// The key it leaves.
        key: EffectKey,
        /// 1 for the first attempt.
        attempt: u32,
        /// What is there now.
        before: Before,
    },
    /// The effect is there.
    Applied {
        /// Which step.
        step: StepId,
        /// What is there now.
        after: After,
    },
    /// The effect is not there, and nothing is left behind.
    Failed {
        /// Which step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// It is not known whether the effect is there.
    Unsettled {
        /// Which step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// A step is about to be taken back.
    ReverseIntended {
        /// Which step.
        step: StepId,
        /// The key it leaves.
        key: EffectKey,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// The step is taken back.
    Reversed {
        /// Which step.
        step: StepId,
        /// What is there now.
        after: After,
    },
    /// The step could not be taken back.
    ReverseFailed {
        /// Which step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// Somebody asks for something; the holder folds it in at its next append.
    Requested {
        /// What.
        request: Request,
        /// Who.
        by: String,
    },
    /// The run stops here and waits for a person.
    Held {
        /// Why.
        why: String,
    },
    /// A held run goes on.
    Resumed {
        /// Who said so.
        by: String,
    },
    /// From here on steps are taken back.
    Unwinding {
        /// Why.
        why: String,
    },
    /// The last workload serves.
    Restored,
    /// The judge's word over the soak window.
    Judged {
        /// The verdict.
        verdict: Verdict,
    },
    /// The end.
    Finished {
        /// How it ended.
        outcome: Outcome,
    },
}

/// Who carries a run out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// New for each process.
    pub id: String,
    /// The user, as the API server names it.
    pub user: String,
    /// The host's name.
    pub host: String,
    /// The process id there.
    pub pid: u32,
}

/// A request to a running run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Start nothing new after what is in flight.
    Pause,
    /// Take back what was done.
    Abort,
}

/// One piece of evidence that a rollback would destroy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedEvidence {
    /// What it is: `log pod/api-gateway-… container api (previous)`.
    pub what: String,
    /// Where it lies, together with the other pieces that were saved with it: a Secret for each would fill a namespace.
    pub content: ContentRef,
    /// Its place in that content; none when it is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Its last lines, masked, for the report.
    pub tail: Vec<String>,
}

impl SavedEvidence {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.part.map_or(self.content.size, |part| part.size)
    }
}

/// Some bytes of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The first of them.
    pub from: u64,
    /// How many.
    pub size: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Outcome {
    /// Every step is done; the verdict is a record of its own.
    Restored,
    /// Every effect was taken back: the world is as before.
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
