//! A run is the fold over its records. Nothing else is stored; a [`Run`] may be thrown away at any time.

use crate::graph::Graph;
use crate::status::{IllegalEvent, Status};
use astern_model::approval::Approval;
use astern_model::id::{Epoch, RunId, Seq, StepId};
use astern_model::record::{Event, Holder, Outcome, Record, Request};
use astern_model::verdict::Verdict;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A run as its journal tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id, once approved.
    pub id: Option<RunId>,
    /// Who said yes.
    pub approval: Option<Approval>,
    /// Where it stands.
    pub phase: Phase,
    /// Every step's status.
    pub steps: BTreeMap<StepId, Status>,
    /// The newest takeover's sequence number.
    pub epoch: Option<Epoch>,
    /// The epoch before it.
    pub former_epoch: Option<Epoch>,
    /// Who took it over last.
    pub holder: Option<Holder>,
    /// A request that was not yet acted on, and who made it.
    pub request: Option<(Request, String)>,
    /// Whether evidence was saved.
    pub saved: bool,
    /// When the last workload served.
    pub restored_at: Option<Timestamp>,
    /// The judge's last word.
    pub verdict: Option<Verdict>,
    /// The next free sequence number.
    pub head: Seq,
    /// When the first holder took it.
    pub started_at: Option<Timestamp>,
    /// When a holder wrote its last record: by its own clock, which is not that of whoever made a request since.
    pub held_at: Option<Timestamp>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Steps are carried out.
    Running,
    /// It waits for a person.
    Held {
        /// Why.
        why: String,
        /// Whether steps were being taken back when it stopped.
        unwinding: bool,
    },
    /// Steps are taken back.
    Unwinding {
        /// Why.
        why: String,
    },
    /// The end.
    Finished(Outcome),
}

/// A record that cannot follow what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IllegalRecord {
    /// Not the next sequence number.
    OutOfOrder {
        /// The one that should come.
        expected: Seq,
        /// The one that came.
        found: Seq,
    },
    /// A step that the plan does not have.
    UnknownStep {
        /// At which record.
        seq: Seq,
        /// The step.
        step: StepId,
    },
    /// An event that a step's status does not allow.
    Step {
        /// At which record.
        seq: Seq,
        /// The step.
        step: StepId,
        /// The pair.
        illegal: IllegalEvent,
    },
    /// A holder's record without an epoch, or with one that is not the newest.
    Epoch {
        /// At which record.
        seq: Seq,
    },
    /// A record after the end.
    AfterEnd {
        /// At which record.
        seq: Seq,
    },
}

impl std::fmt::Display for IllegalRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfOrder { expected, found } => write!(f, "record {expected} is missing (found {found})"),
            Self::UnknownStep { seq, step } => {
                write!(f, "record {seq} names step {step}, which the plan does not have")
            }
            Self::Step { seq, step, illegal } => {
                write!(
                    f,
                    "record {seq} says that step {step} is {}, but it was {}",
                    illegal.event, illegal.at
                )
            }
            Self::Epoch { seq } => write!(f, "record {seq} was written by a holder that had been replaced"),
            Self::AfterEnd { seq } => write!(f, "record {seq} comes after the end of the run"),
        }
    }
}

impl std::error::Error for IllegalRecord {}

impl Run {
    /// A run of which only the plan is known (record 0).
    pub fn opened(graph: &Graph) -> Self {
        Self {
            id: None,
            approval: None,
            phase: Phase::Running,
            steps: graph
                .nodes
                .iter()
                .map(|node| (node.id.clone(), Status::Pending))
                .collect(),
            epoch: None,
            former_epoch: None,
            holder: None,
            request: None,
            saved: false,
            restored_at: None,
            verdict: None,
            head: Seq(1),
            started_at: None,
            held_at: None,
        }
    }

    /// The fold over all records after the plan.
    ///
    /// # Errors
    /// The first record that cannot follow.
    pub fn fold<'a>(
        graph: &Graph,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Self, IllegalRecord> {
        records.into_iter().try_fold(Self::opened(graph), Self::then)
    }

    /// The run after one more record.
    ///
    /// # Errors
    /// When the record cannot follow; the run is then lost to the caller, as it must be.
    pub fn then(mut self, record: &Record) -> Result<Self, IllegalRecord> {
        let seq = record.seq;
        if seq != self.head {
            return Err(IllegalRecord::OutOfOrder {
                expected: self.head,
                found: seq,
            });
        }
        if matches!(self.phase, Phase::Finished(_)) && !after_the_end(&record.event) {
            return Err(IllegalRecord::AfterEnd { seq });
        }
        self.check_epoch(record)?;
        match &record.event {
            Event::Approved { run, approval } => {
                self.id = Some(run.clone());
                self.approval = Some(approval.clone());
            }
            Event::Taken { holder } => self.taken(seq, record.at, holder),
            Event::Saved { .. } => self.saved = true,
            Event::Requested { request, by } => self.request = Some((*request, by.clone())),
            Event::Held { why } => {
                let unwinding = matches!(self.phase, Phase::Unwinding { .. });
                self.phase = Phase::Held {
                    why: why.clone(),
                    unwinding,
                };
                self.request = None;
            }
            Event::Resumed { .. } => self.resumed(record.at),
            Event::Unwinding { why } => {
                if matches!(self.phase, Phase::Held { .. }) {
                    self.patience_anew(record.at);
                }
                self.phase = Phase::Unwinding { why: why.clone() };
                self.request = None;
            }
            Event::Restored => self.restored_at = Some(record.at),
            Event::Judged { verdict } => self.verdict = Some(verdict.clone()),
            Event::Finished { outcome } => self.phase = Phase::Finished(outcome.clone()),
            Event::Intended { step, .. }
            | Event::Applied { step, .. }
            | Event::Failed { step, .. }
            | Event::Unsettled { step, .. }
            | Event::ReverseIntended { step, .. }
            | Event::Reversed { step, .. }
            | Event::ReverseFailed { step, .. } => self.step(step, record)?,
        }
        self.head = Seq(seq.0 + 1);
        if record.epoch.is_some() {
            self.held_at = Some(record.at);
        }
        Ok(self)
    }

    /// The status of a step.
    pub fn status(&self, step: &StepId) -> &Status {
        self.steps.get(step).unwrap_or(&Status::Pending)
    }

    /// Whether any effect of the run is in the world, or may be.
    pub fn has_effects(&self) -> bool {
        self.steps.values().any(Status::may_have_effect)
    }

    fn check_epoch(&self, record: &Record) -> Result<(), IllegalRecord> {
        let fits = match record.event {
            Event::Approved { .. }
            | Event::Taken { .. }
            | Event::Requested { .. }
            | Event::Resumed { .. } => true,
            _ => record.epoch.is_some() && record.epoch == self.epoch,
        };
        if fits {
            Ok(())
        } else {
            Err(IllegalRecord::Epoch { seq: record.seq })
        }
    }

    fn taken(&mut self, seq: Seq, at: Timestamp, holder: &Holder) {
        self.former_epoch = self.epoch;
        self.epoch = Some(Epoch(seq.0));
        self.holder = Some(holder.clone());
        self.started_at.get_or_insert(at);
        let Some(last) = self.held_at else { return };
        let gap = at.duration_since(last);
        for status in self.steps.values_mut() {
            match status {
                Status::Intended(attempt)
                | Status::Unsettled(attempt, _)
                | Status::Reversing(attempt)
                | Status::ReverseUnsettled(attempt, _)
                | Status::ReverseFailed(attempt, _) => attempt.moved_on(gap),
                Status::Failed(failing) => failing.moved_on(gap),
                Status::Pending | Status::Done { .. } | Status::Reversed => {}
            }
        }
    }

    /// A held run goes on, and a request that nobody has acted on is void: steps that had failed for good may be tried
    /// again, since a person has looked.
    fn resumed(&mut self, at: Timestamp) {
        match self.phase {
            Phase::Held { unwinding: true, .. } => {
                self.phase = Phase::Unwinding {
                    why: "resumed".to_owned(),
                }
            }
            Phase::Held { unwinding: false, .. } => self.phase = Phase::Running,
            Phase::Running | Phase::Unwinding { .. } | Phase::Finished(_) => {}
        }
        self.request = None;
        for status in self.steps.values_mut() {
            match status {
                Status::Failed(_) => *status = Status::Pending,
                Status::Pending
                | Status::Intended(_)
                | Status::Unsettled(..)
                | Status::Done { .. }
                | Status::Reversing(_)
                | Status::ReverseUnsettled(..)
                | Status::ReverseFailed(..)
                | Status::Reversed => {}
            }
        }
        self.patience_anew(at);
    }

    /// What could not be found out or taken back gets its whole time again: a person has looked, the world may answer.
    fn patience_anew(&mut self, at: Timestamp) {
        for status in self.steps.values_mut() {
            if let Status::Unsettled(attempt, _)
            | Status::ReverseUnsettled(attempt, _)
            | Status::ReverseFailed(attempt, _) = status
            {
                attempt.since = at;
                attempt.unknown_for = attempt.unknown_for.map(|_| SignedDuration::ZERO);
                attempt.at = at;
                attempt.number = 1;
            }
        }
    }

    fn step(&mut self, id: &StepId, record: &Record) -> Result<(), IllegalRecord> {
        let seq = record.seq;
        let epoch = record.epoch.ok_or(IllegalRecord::Epoch { seq })?;
        let status = self.steps.get_mut(id).ok_or_else(|| IllegalRecord::UnknownStep {
            seq,
            step: id.clone(),
        })?;
        *status = std::mem::replace(status, Status::Pending)
            .after(&record.event, epoch, record.at)
            .map_err(|illegal| IllegalRecord::Step {
                seq,
                step: id.clone(),
                illegal,
            })?;
        Ok(())
    }
}

/// What may still be written once a run is finished: a verdict that was being formed, or somebody's late request.
fn after_the_end(event: &Event) -> bool {
    matches!(
        event,
        Event::Judged { .. } | Event::Requested { .. } | Event::Taken { .. }
    )
}
