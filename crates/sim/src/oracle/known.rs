//! What the sure records of a run say. Owns the oracle's own reading of them; judges nothing.

use super::{Transition, contents, path_of};
use astern_engine::status::event_name;
use astern_engine::{Graph, Run};
use astern_model::id::{Direction, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Outcome, Record};
use astern_model::step::{After, Before};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// What the sure records of a run say.
pub(super) struct Known {
    pub(super) plan: Plan,
    /// The newest takeover, and each process's own.
    pub(super) epoch: u64,
    pub(super) holders: BTreeMap<usize, u64>,
    pub(super) steps: BTreeMap<StepId, Progress>,
    pub(super) outcome: Option<Outcome>,
    /// Another run began after it: what it says it left has been looked at.
    pub(super) followed: bool,
    pub(super) read: u64,
    /// What the records mean to astern itself: for the coverage of its transitions only.
    pub(super) run: Run,
    pub(super) transitions: BTreeSet<Transition>,
}

#[derive(Clone, Default)]
pub(super) struct Progress {
    pub(super) open: Option<(Direction, u64)>,
    /// When its newest intent was stored.
    pub(super) since: Option<Instant>,
    pub(super) before: Option<Before>,
    pub(super) after: Option<After>,
    pub(super) reversed: bool,
}

impl Known {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            run: Run::opened(&Graph::of(&plan)),
            transitions: BTreeSet::new(),
            plan,
            epoch: 0,
            holders: BTreeMap::new(),
            steps: BTreeMap::new(),
            outcome: None,
            followed: false,
            read: 1,
        }
    }

    /// The paths of what it may write.
    pub(super) fn targets(&self) -> BTreeSet<String> {
        let contents = self.plan.steps.iter().filter_map(|step| step.spec.config());
        let workloads = self.plan.targets().into_iter().map(path_of);
        workloads.chain(contents.map(contents::path_of)).collect()
    }

    /// Whether it has begun, and no other has since.
    pub(super) fn is_last(&self) -> bool {
        !self.holders.is_empty() && !self.followed
    }

    pub(super) fn take_in(&mut self, record: &Record) {
        self.read = record.seq.0 + 1;
        if let Some(step) = step_of(&record.event) {
            let status = self.run.status(step).name();
            self.transitions.insert((status, event_name(&record.event)));
        }
        if let Ok(run) = self.run.clone().then(record) {
            self.run = run;
        }
        let epoch = record.epoch.map_or(0, |epoch| epoch.0);
        match &record.event {
            Event::Taken { holder } => {
                self.epoch = record.seq.0;
                let number = holder.pid as usize;
                self.holders.insert(number, self.epoch);
            }
            Event::Intended { step, before, .. } => {
                let progress = self.steps.entry(step.clone()).or_default();
                progress.open = Some((Direction::Forward, epoch));
                progress.since = Some(Instant::now());
                progress.before = Some(before.clone());
            }
            Event::ReverseIntended { step, .. } => {
                self.steps.entry(step.clone()).or_default().open = Some((Direction::Back, epoch));
            }
            Event::Applied { step, after } => {
                let progress = self.steps.entry(step.clone()).or_default();
                progress.open = None;
                progress.after = Some(after.clone());
            }
            Event::Reversed { step, .. } => {
                let progress = self.steps.entry(step.clone()).or_default();
                progress.open = None;
                progress.reversed = true;
            }
            Event::Failed { step, .. } | Event::ReverseFailed { step, .. } => {
                self.steps.entry(step.clone()).or_default().open = None;
            }
            Event::Finished { outcome } => self.outcome = Some(outcome.clone()),
            _ => {}
        }
    }
}

fn step_of(event: &Event) -> Option<&StepId> {
    match event {
        Event::Intended { step, .. }
        | Event::Applied { step, .. }
        | Event::Failed { step, .. }
        | Event::Unsettled { step, .. }
        | Event::ReverseIntended { step, .. }
        | Event::Reversed { step, .. }
        | Event::ReverseFailed { step, .. } => Some(step),
        _ => None,
    }
}
