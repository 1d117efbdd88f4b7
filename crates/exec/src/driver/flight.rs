//! What is under way: each step's effect, and the judge, as tasks of their own. Owns a task's deadline; what comes of it is
//! written down by the loop.

use super::{Done, Driver};
use crate::perform::{self, Providers, Receipt};
use astern_engine::Status;
use astern_model::defect::{Defect, planted};
use astern_model::id::{Direction, StepId};
use astern_model::record::Event;
use astern_model::step::workload::Stamp;
use astern_model::step::{After, Before, Spec};
use astern_port::provider::Settled;
use astern_port::{Failure, FailureClass};
use jiff::{SignedDuration, Timestamp};
use std::mem::{Discriminant, discriminant};
use tokio::time::Instant;

/// Since when this process has known of a step's attempt in that status.
#[derive(Clone, Copy)]
pub(super) struct Open {
    status: Discriminant<Status>,
    attempt: u32,
    since: Instant,
}

impl Driver {
    /// A conflict after an attempt whose answer was lost may be that attempt's own late effect: then its intent stands
    /// again, and carrying it out finds it done.
    pub(super) fn prepare(&mut self, step: StepId, attempt: u32) {
        let (providers, run) = (self.ports.providers.clone(), self.book.id.clone());
        let spec = perform::spec(&self.book.plan, &step);
        let earlier = match self.book.run.status(&step) {
            Status::Failed(failing) => failing.before.clone(),
            _ => None,
        };
        let stamp = self.stamp(&step, Direction::Forward);
        self.fly(step.clone(), async move {
            let mut result = perform::prepare(&providers, &spec).await;
            if planted(Defect::SkipIntent)
                && let Ok(before) = &result
            {
                let _ = perform::apply(&providers, &spec, before, &stamp).await;
            }
            if let (Err(failure), Some(before)) = (&result, earlier)
                && failure.class == FailureClass::Conflict
                && let Settled::Applied(_) = perform::settle(&providers, &spec, &before, &stamp).await
            {
                result = Ok(before);
            }
            perform::prepared(&run, step, attempt, result)
        });
    }

    pub(super) fn apply(&mut self, step: StepId, until: Timestamp) {
        let Some(before) = self.before(&step) else { return };
        let (providers, clock) = (self.ports.providers.clone(), self.ports.clock.clone());
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = self.stamp(&step, Direction::Forward);
        let only_reads = spec.only_reads();
        self.fly(step.clone(), async move {
            let left = until.duration_since(clock.now());
            let result = tokio::select! {
                biased;
                result = perform::apply(&providers, &spec, &before, &stamp) => result,
                () = clock.sleep(left) => match only_reads {
                    true => last_look(&providers, &spec, &before, &stamp).await,
                    false => Err(unanswered(&spec.phrase())),
                }
            };
            perform::applied(step, result)
        });
    }

    pub(super) fn settle(&mut self, step: StepId) {
        let Some(before) = self.before(&step) else { return };
        let providers = self.ports.providers.clone();
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = self.stamp(&step, Direction::Forward);
        self.fly(step.clone(), async move {
            let result: Settled<After> = perform::settle(&providers, &spec, &before, &stamp).await;
            perform::settled(step, result)
        });
    }

    pub(super) fn reverse(&mut self, step: StepId, until: Timestamp) {
        let Some(receipt) = self.receipt(&step) else {
            return;
        };
        let (providers, clock) = (self.ports.providers.clone(), self.ports.clock.clone());
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = self.stamp(&step, Direction::Back);
        self.fly(step.clone(), async move {
            let left = until.duration_since(clock.now());
            let result = tokio::select! {
                biased;
                result = perform::reverse(&providers, &spec, &receipt, &stamp) => result,
                () = clock.sleep(left) => Err(unanswered(&format!("take back: {}", spec.phrase()))),
            };
            perform::reversed(step, result)
        });
    }

    pub(super) fn settle_reverse(&mut self, step: StepId) {
        let Some(receipt) = self.receipt(&step) else {
            return;
        };
        let providers = self.ports.providers.clone();
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = self.stamp(&step, Direction::Back);
        self.fly(step.clone(), async move {
            let result = perform::settle_reverse(&providers, &spec, &receipt, &stamp).await;
            perform::settled_reverse(step, result)
        });
    }

    fn fly(&mut self, step: StepId, task: impl Future<Output = Event> + Send + 'static) {
        let name = step.clone();
        let handle = self.tasks.spawn(async move { Done::Step(name, task.await) });
        self.in_flight.insert(step, handle);
    }

    pub(super) fn judge(&mut self) {
        if self.judging.is_some() {
            return;
        }
        let (judge, plan) = (self.ports.judge.clone(), self.book.plan.clone());
        let since = self.book.run.started_at.unwrap_or_else(|| self.ports.clock.now());
        self.judging = Some(
            self.tasks
                .spawn(async move { Done::Judged(judge.judge(&plan, since).await) }),
        );
    }

    fn before(&self, step: &StepId) -> Option<Before> {
        match self.book.run.status(step) {
            Status::Intended(attempt)
            | Status::Unsettled(attempt, _)
            | Status::Reversing(attempt)
            | Status::ReverseUnsettled(attempt, _)
            | Status::ReverseFailed(attempt, _) => Some(attempt.before.clone()),
            Status::Done { before, .. } => Some(before.clone()),
            Status::Pending | Status::Failed(_) | Status::Reversed => None,
        }
    }

    fn receipt(&self, step: &StepId) -> Option<Receipt> {
        perform::receipt(&self.book, step, self.before(step)?)
    }

    fn stamp(&mut self, step: &StepId, direction: Direction) -> Stamp {
        let open_for = self.open_for(step);
        let reason = &self.approved.approval().reason;
        perform::stamp(&self.book.id, step, direction, self.epoch, reason, open_for)
    }

    /// How long this process has known the step's newest attempt to be open, by a clock that nobody can set: the records' times
    /// jump with the machine's clock, and a look that spans a jump would call a creation absent that is still on its way.
    fn open_for(&mut self, step: &StepId) -> SignedDuration {
        let status = self.book.run.status(step);
        let number = match status {
            Status::Intended(attempt)
            | Status::Unsettled(attempt, _)
            | Status::Reversing(attempt)
            | Status::ReverseUnsettled(attempt, _)
            | Status::ReverseFailed(attempt, _) => attempt.number,
            Status::Pending | Status::Failed(_) | Status::Done { .. } | Status::Reversed => {
                self.open.remove(step);
                return SignedDuration::ZERO;
            }
        };
        let found = Open {
            status: discriminant(status),
            attempt: number,
            since: Instant::now(),
        };
        let open = self.open.entry(step.clone()).or_insert(found);
        if (open.status, open.attempt) != (found.status, found.attempt) {
            *open = found;
        }
        SignedDuration::try_from(open.since.elapsed()).unwrap_or(SignedDuration::MAX)
    }
}

/// A wait's deadline has passed: one look decides, for what was waited for may have come while nothing could be seen.
async fn last_look(
    providers: &Providers,
    spec: &Spec,
    before: &Before,
    stamp: &Stamp,
) -> Result<After, Failure> {
    match perform::settle(providers, spec, before, stamp).await {
        Settled::Applied(after) => Ok(after),
        Settled::NotApplied => {
            let lines = perform::explain(providers, spec).await;
            Err(
                Failure::new(FailureClass::Permanent, spec.phrase(), "its deadline passed")
                    .hint("look with `astern status`; then `astern resume RUN` waits again, `astern abort RUN` takes back what was done")
                    .evidence(lines),
            )
        }
        Settled::Unknown(failure) => {
            let class = FailureClass::Transient { retry_after_ms: None };
            let message = format!("its deadline passed, and it cannot be seen: {}", failure.message);
            Err(Failure {
                hint: failure.hint,
                ..Failure::new(class, spec.phrase(), message)
            })
        }
    }
}

fn unanswered(phrase: &str) -> Failure {
    Failure::new(
        FailureClass::Unknown,
        phrase,
        "no answer came before its deadline",
    )
}
