//! The faults that a rehearsal injects: a process that dies before or after an append, and a step that fails for good.
//! Owns where they are; what follows from them is the run's.

use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{Direction, EffectKey, Epoch, RunId, Seq, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Record};
use astern_model::step::Layer;
use astern_model::step::workload::Stamp;
use astern_port::journal::{AppendError, Author, Entry, Journal};
use astern_port::provider::{Provider, Settled};
use astern_wire::envelope;
use async_trait::async_trait;
use jiff::SignedDuration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A place where a process may die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The steps that are worked on; none for the run itself.
    pub(crate) steps: Vec<StepId>,
    /// `before its intent is durable`.
    pub(crate) at: String,
}

/// The points that a process passes, and the one at which it dies.
#[derive(Debug, Default)]
pub(crate) struct Points {
    passed: Mutex<Vec<Point>>,
    dies_at: Option<usize>,
    /// Told when that one is reached.
    pub(crate) reached: Notify,
}

impl Points {
    /// The process dies when it reaches the point of this number.
    pub(crate) fn dying_at(number: usize) -> Self {
        Self {
            dies_at: Some(number),
            ..Self::default()
        }
    }

    /// Those that were passed, in order.
    pub(crate) fn passed(&self) -> Vec<Point> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Point>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, point: Point) {
        let number = {
            let mut passed = self.lock();
            passed.push(point);
            passed.len() - 1
        };
        if self.dies_at.is_some_and(|at| number >= at) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// A journal with a point before and after each append.
pub(crate) struct Mortal<J> {
    pub(crate) journal: J,
    pub(crate) points: Arc<Points>,
}

#[async_trait]
impl<J: Journal> Journal for Mortal<J> {
    async fn append(
        &self,
        run: &RunId,
        at: Seq,
        author: Author,
        batch: &[Vec<u8>],
    ) -> Result<Seq, AppendError> {
        let (steps, what) = told(batch);
        let point = |when: &str| Point {
            steps: steps.clone(),
            at: format!("{when} {what} is durable"),
        };
        self.points.pass(point("before")).await;
        let head = self.journal.append(run, at, author, batch).await?;
        self.points.pass(point("after")).await;
        Ok(head)
    }

    async fn read(&self, run: &RunId, from: Seq) -> Result<Vec<Entry>, Failure> {
        self.journal.read(run, from).await
    }

    async fn wait(&self, run: &RunId, from: Seq, within: SignedDuration) -> Result<(), Failure> {
        self.journal.wait(run, from, within).await
    }

    async fn runs(&self) -> Result<Vec<RunId>, Failure> {
        self.journal.runs().await
    }

    async fn settle(&self, run: &RunId, keep: usize) -> Result<(), Failure> {
        self.journal.settle(run, keep).await
    }

    fn place(&self) -> String {
        self.journal.place()
    }
}

/// About which steps a batch of records is, and what the first of them says.
fn told(batch: &[Vec<u8>]) -> (Vec<StepId>, &'static str) {
    let told: Vec<(Option<StepId>, &'static str)> = batch
        .iter()
        .filter_map(|bytes| envelope::open::<Record>(bytes).ok())
        .map(|record| about(&record.event))
        .collect();
    let of_steps = told.iter().find(|(step, _)| step.is_some());
    let what = of_steps.or(told.first()).map_or("the plan", |(_, what)| *what);
    let mut steps: Vec<StepId> = Vec::new();
    for step in told.into_iter().filter_map(|(step, _)| step) {
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    (steps, what)
}

fn about(event: &Event) -> (Option<StepId>, &'static str) {
    match event {
        Event::Intended { step, .. } => (Some(step.clone()), "its intent"),
        Event::Applied { step, .. } => (Some(step.clone()), "its result"),
        Event::Failed { step, .. } | Event::Unsettled { step, .. } => (Some(step.clone()), "its failure"),
        Event::ReverseIntended { step, .. } => (Some(step.clone()), "the intent to take it back"),
        Event::Reversed { step, .. } | Event::ReverseFailed { step, .. } => {
            (Some(step.clone()), "the result of taking it back")
        }
        Event::Approved { .. } => (None, "the approved plan"),
        Event::Taken { .. } => (None, "the takeover"),
        Event::Saved { .. } => (None, "the saved evidence"),
        Event::Requested { .. } => (None, "a request"),
        Event::Held { .. } => (None, "the hold"),
        Event::Resumed { .. } => (None, "the resumption"),
        Event::Unwinding { .. } => (None, "the decision to unwind"),
        Event::Restored => (None, "that all serve"),
        Event::Judged { .. } => (None, "the verdict"),
        Event::Finished { .. } => (None, "the end"),
    }
}

/// A layer of which one step cannot be carried out.
pub(crate) struct Failing<L: Layer> {
    layer: Arc<dyn Provider<L>>,
    key: EffectKey,
}

impl<L: Layer> Failing<L> {
    /// Of this run, that step fails.
    pub(crate) fn at(layer: Arc<dyn Provider<L>>, run: &RunId, step: &StepId) -> Self {
        Self {
            layer,
            key: EffectKey::of(run, step, Direction::Forward),
        }
    }
}

#[async_trait]
impl<L: Layer> Provider<L> for Failing<L> {
    async fn prepare(&self, spec: &L) -> Result<L::Before, Failure> {
        self.layer.prepare(spec).await
    }

    async fn apply(&self, spec: &L, before: &L::Before, stamp: &Stamp) -> Result<L::After, Failure> {
        if stamp.key == self.key {
            let message = "the rehearsal made it fail";
            return Err(Failure::new(FailureClass::Permanent, spec.phrase(), message));
        }
        self.layer.apply(spec, before, stamp).await
    }

    async fn settle(&self, spec: &L, before: &L::Before, stamp: &Stamp) -> Settled<L::After> {
        self.layer.settle(spec, before, stamp).await
    }

    async fn reverse(
        &self,
        spec: &L,
        before: &L::Before,
        after: &L::After,
        stamp: &Stamp,
    ) -> Result<L::After, Failure> {
        self.layer.reverse(spec, before, after, stamp).await
    }

    async fn settle_reverse(
        &self,
        spec: &L,
        before: &L::Before,
        after: &L::After,
        stamp: &Stamp,
    ) -> Settled<L::After> {
        self.layer.settle_reverse(spec, before, after, stamp).await
    }

    async fn fence(
        &self,
        spec: &L,
        before: &L::Before,
        run: &RunId,
        from: Epoch,
        to: Epoch,
    ) -> Result<(), Failure> {
        self.layer.fence(spec, before, run, from, to).await
    }

    async fn explain(&self, spec: &L) -> Vec<String> {
        self.layer.explain(spec).await
    }
}

/// What a step does.
pub(crate) fn what(plan: &Plan, step: &StepId) -> String {
    plan.step(step)
        .map_or_else(|| step.to_string(), |step| step.spec.phrase())
}
