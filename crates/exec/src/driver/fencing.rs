//! After a takeover: what the predecessor left open is fenced before anything is settled.

use super::{Driver, ExecError, JOURNAL_AWAY, passing};
use crate::perform;
use astern_engine::{Phase, Status};
use astern_model::defect::{Defect, planted};
use astern_model::id::{Epoch, StepId};
use astern_model::record::{Event, Outcome};
use astern_model::step::{Before, Spec};
use astern_port::{Failure, FailureClass};

impl Driver {
    /// After a takeover: the predecessor's open writes are fenced before anything is settled. What stands in the way
    /// of that holds the run, so that it goes on once the cause has passed or a person has dealt with it; only an object
    /// that is gone ends the way back.
    pub(super) async fn fence(&mut self) -> Result<(), ExecError> {
        if planted(Defect::SkipFence) {
            return Ok(());
        }
        while let Some(stops) = self.fence_open().await {
            self.append(vec![stops]).await?;
            if matches!(self.book.run.phase, Phase::Held { .. } | Phase::Finished(_)) {
                break;
            }
            // A request came in between, and what was decided is not written down: it is decided anew, for nothing may go on
            // that is not fenced.
        }
        Ok(())
    }

    /// Fences all that is open; what stops the run where something cannot be.
    async fn fence_open(&mut self) -> Option<Event> {
        let open: Vec<(StepId, Before)> = self
            .book
            .run
            .steps
            .iter()
            .filter_map(|(step, status)| match status {
                Status::Intended(attempt)
                | Status::Unsettled(attempt, _)
                | Status::Reversing(attempt)
                | Status::ReverseUnsettled(attempt, _)
                    if attempt.epoch < self.epoch =>
                {
                    Some((step.clone(), attempt.before.clone()))
                }
                _ => None,
            })
            .collect();
        for (step, before) in open {
            let spec = perform::spec(&self.book.plan, &step);
            if spec.only_reads() {
                continue;
            }
            let from = perform::last_write(&self.book, &spec);
            if let Err(failure) = self.fence_one(&spec, &before, from).await {
                let why = format!("step {step} cannot be taken over: {failure}");
                let unwinding = matches!(self.book.run.phase, Phase::Unwinding { .. });
                let event = if unwinding && failure.class == FailureClass::Permanent {
                    let outcome = Outcome::Stuck { step, why };
                    Event::Finished { outcome }
                } else {
                    Event::Held { why }
                };
                return Some(event);
            }
        }
        None
    }

    async fn fence_one(&self, spec: &Spec, before: &Before, from: Epoch) -> Result<(), Failure> {
        let since = self.ports.clock.now();
        for attempt in 1.. {
            let Err(failure) = perform::fence(
                &self.ports.providers,
                spec,
                before,
                &self.book.id,
                from,
                self.epoch,
            )
            .await
            else {
                return Ok(());
            };
            let lost_race =
                failure.class == FailureClass::Conflict && attempt < astern_engine::backoff::LOST_RACES;
            let away = passing(&failure) && self.ports.clock.now().duration_since(since) <= JOURNAL_AWAY;
            if !lost_race && !away {
                return Err(failure);
            }
            let pause = astern_engine::backoff::pause(attempt, self.book.id.as_str(), &failure);
            self.ports.clock.sleep(pause).await;
        }
        Ok(())
    }
}
