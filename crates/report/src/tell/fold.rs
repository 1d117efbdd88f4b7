//! What the records mean, read once in order. Owns the reading; draws no conclusion and makes no sentence.
//!
//! It reads as the engine folds (a resumed run tries failed steps anew), but never refuses: a report of a damaged or
//! unfinished journal says what there is.

use crate::report::{Cited, Ending, Moment, PLAN};
use crate::story::StepState;
use astern_model::approval::Approval;
use astern_model::failure::Failure;
use astern_model::id::{EffectKey, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Holder, Outcome, Record, SavedEvidence};
use astern_model::step::After;
use astern_model::verdict::Verdict;
use std::collections::BTreeMap;

/// The records, sorted by what they are about.
#[derive(Debug)]
pub(crate) struct Fold<'a> {
    pub(crate) approval: Option<Cited<&'a Approval>>,
    pub(crate) holders: Vec<Cited<Holder>>,
    pub(crate) saving: Option<Moment>,
    pub(crate) saved: Vec<Cited<SavedEvidence>>,
    pub(crate) missed: Vec<Cited<String>>,
    pub(crate) steps: BTreeMap<&'a StepId, Doing<'a>>,
    pub(crate) restored: Option<Moment>,
    pub(crate) verdict: Option<Cited<&'a Verdict>>,
    pub(crate) ending: Cited<Ending>,
}

/// What was done about one step.
#[derive(Debug, Default)]
pub(crate) struct Doing<'a> {
    pub(crate) state: Option<StepState>,
    pub(crate) started: Option<Moment>,
    pub(crate) ended: Option<Moment>,
    pub(crate) attempts: u32,
    pub(crate) key: Option<&'a EffectKey>,
    pub(crate) after: Option<&'a After>,
    pub(crate) failures: Vec<Cited<Failure>>,
    /// The newest record about it.
    pub(crate) last: Option<Moment>,
}

impl<'a> Fold<'a> {
    /// Reads all records of a run of `plan`.
    pub(crate) fn of(plan: &'a Plan, records: &'a [Record]) -> Self {
        let mut fold = Self {
            approval: None,
            holders: Vec::new(),
            saving: None,
            saved: Vec::new(),
            missed: Vec::new(),
            steps: plan
                .steps
                .iter()
                .map(|step| (&step.id, Doing::default()))
                .collect(),
            restored: None,
            verdict: None,
            ending: Cited {
                seq: PLAN,
                at: plan.made_at,
                what: Ending::UnderWay,
            },
        };
        for record in records {
            fold.read(record);
        }
        fold
    }

    /// What was done about a step.
    pub(crate) fn step(&self, id: &StepId) -> Option<&Doing<'a>> {
        self.steps.get(id)
    }

    /// The first intent of any step: nothing was changed before it.
    pub(crate) fn first_intent(&self) -> Option<Moment> {
        self.steps
            .values()
            .filter_map(|step| step.started)
            .min_by_key(|moment| moment.seq)
    }

    fn read(&mut self, record: &'a Record) {
        let moment = Moment {
            seq: record.seq,
            at: record.at,
        };
        match &record.event {
            Event::Approved { approval, .. } => self.approval = Some(cited(moment, approval)),
            Event::Taken { holder } => self.holders.push(cited(moment, holder.clone())),
            Event::Saved { evidence, missed } => {
                self.saving = Some(moment);
                self.saved
                    .extend(evidence.iter().map(|piece| cited(moment, piece.clone())));
                self.missed
                    .extend(missed.iter().map(|what| cited(moment, what.clone())));
            }
            Event::Restored => self.restored = Some(moment),
            Event::Judged { verdict } => self.verdict = Some(cited(moment, verdict)),
            Event::Held { why } => self.ending = cited(moment, Ending::Held { why: why.clone() }),
            Event::Resumed { .. } => self.resume(moment),
            Event::Unwinding { why } => {
                self.restored = None;
                self.ending = cited(moment, Ending::Unwinding { why: why.clone() });
            }
            Event::Finished { outcome } => self.ending = cited(moment, ending(outcome)),
            Event::Requested { .. } => {}
            Event::Intended { step, .. }
            | Event::Applied { step, .. }
            | Event::Failed { step, .. }
            | Event::Unsettled { step, .. }
            | Event::ReverseIntended { step, .. }
            | Event::Reversed { step, .. }
            | Event::ReverseFailed { step, .. } => self.do_step(step, moment, &record.event),
        }
        if self.ending.what == Ending::UnderWay {
            self.ending = cited(moment, Ending::UnderWay);
        }
    }

    fn resume(&mut self, moment: Moment) {
        let taking_back = self
            .steps
            .values()
            .any(|step| step.state.is_some_and(is_way_back));
        self.ending = if taking_back {
            cited(
                moment,
                Ending::Unwinding {
                    why: "resumed".to_owned(),
                },
            )
        } else {
            cited(moment, Ending::UnderWay)
        };
        for step in self
            .steps
            .values_mut()
            .filter(|step| step.state == Some(StepState::Failed))
        {
            step.started = None;
            step.ended = None;
        }
    }

    fn do_step(&mut self, id: &StepId, moment: Moment, event: &'a Event) {
        let Some(step) = self.steps.get_mut(id) else {
            return;
        };
        step.last = Some(moment);
        match event {
            Event::Intended { key, attempt, .. } => {
                step.state = Some(StepState::UnderWay);
                step.started.get_or_insert(moment);
                step.ended = None;
                step.attempts = step.attempts.max(*attempt);
                step.key = Some(key);
            }
            Event::Applied { after, .. } => {
                step.state = Some(StepState::Done);
                step.ended = Some(moment);
                step.after = Some(after);
            }
            Event::Failed { failure, .. } => {
                step.state = Some(StepState::Failed);
                step.started.get_or_insert(moment);
                step.ended = Some(moment);
                step.attempts = step.attempts.max(1);
                step.failures.push(cited(moment, failure.clone()));
            }
            Event::Unsettled { failure, .. } => {
                step.state = Some(StepState::Unsettled);
                step.failures.push(cited(moment, failure.clone()));
            }
            Event::ReverseIntended { .. } => step.state = Some(StepState::BeingTakenBack),
            Event::Reversed { .. } => step.state = Some(StepState::TakenBack),
            Event::ReverseFailed { failure, .. } => {
                step.state = Some(StepState::NotTakenBack);
                step.failures.push(cited(moment, failure.clone()));
            }
            _ => {}
        }
    }
}

fn cited<T>(moment: Moment, what: T) -> Cited<T> {
    Cited {
        seq: moment.seq,
        at: moment.at,
        what,
    }
}

fn is_way_back(state: StepState) -> bool {
    matches!(
        state,
        StepState::BeingTakenBack | StepState::TakenBack | StepState::NotTakenBack
    )
}

fn ending(outcome: &Outcome) -> Ending {
    match outcome {
        Outcome::Restored => Ending::Restored,
        Outcome::Unwound { why } => Ending::Unwound { why: why.clone() },
        Outcome::Stuck { step, why } => Ending::Stuck {
            step: step.clone(),
            why: why.clone(),
        },
        Outcome::Superseded { by } => Ending::Superseded { by: by.clone() },
    }
}
