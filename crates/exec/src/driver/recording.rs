//! The way into the journal and out of it: what this run appends, and what others did. Owns which events outlive a conflict,
//! and the patience with a journal that is away.

use super::{Driver, ExecError, JOURNAL_AWAY, passing};
use crate::book::BookError;
use astern_engine::Phase;
use astern_model::record::{Event, Record, Request};
use astern_model::reversal::Reversal;
use astern_port::Failure;
use astern_port::journal::AppendError;
use jiff::{SignedDuration, Timestamp};

impl Driver {
    /// Appends what is known and what was decided, as one batch. Facts survive a conflict; decisions are made again
    /// from the new state.
    pub(super) async fn append(&mut self, decisions: Vec<Event>) -> Result<(), ExecError> {
        let mut decisions = decisions;
        let mut events: Vec<Event> = std::mem::take(&mut self.facts);
        let mut away_since: Option<Timestamp> = None;
        let mut attempt = 0;
        loop {
            events.retain(|event| self.follows(event));
            let batch: Vec<Event> = events.iter().chain(&decisions).cloned().collect();
            if batch.is_empty() {
                return Ok(());
            }
            let from = self.book.records.len();
            let now = self.ports.clock.now();
            match self
                .book
                .record(&*self.ports.journal, self.epoch, batch, now)
                .await
            {
                Ok(_) => {
                    for record in &self.book.records[from..] {
                        tracing::debug!(run = %self.book.id, record = record.seq.0, epoch = self.epoch.0, "recorded");
                        self.ports.observer.see(record, &self.book.run);
                    }
                    if matches!(self.book.run.phase, Phase::Held { .. })
                        && let Some(handle) = self.judging.take()
                    {
                        handle.abort();
                    }
                    return Ok(());
                }
                Err(AppendError::Conflict { .. }) => {
                    decisions.clear();
                    events.retain(is_fact);
                    self.look_for_others().await?;
                }
                Err(AppendError::Fenced { by }) => {
                    return Err(ExecError::Superseded {
                        run: self.book.id.clone(),
                        by,
                    });
                }
                Err(AppendError::Store(failure)) => {
                    let since = *away_since.get_or_insert(now);
                    attempt += 1;
                    self.journal_away(failure, since, attempt).await?;
                    // The batch may have been stored: what came meanwhile is not said twice, and what was decided
                    // before is decided anew.
                    decisions.clear();
                    events.retain(is_fact);
                    events.retain(|event| !self.book.records[from..].iter().any(|came| &came.event == event));
                }
            }
        }
    }

    /// Reads and folds what others appended: requests, or a takeover.
    pub(super) async fn fold_in_others(&mut self) -> Result<(), ExecError> {
        let from = self.book.records.len();
        self.book.catch_up(&*self.ports.journal).await?;
        for record in &self.book.records[from..] {
            self.ports.observer.see(record, &self.book.run);
        }
        self.still_ours()?;
        if matches!(self.book.run.request, Some((Request::Abort, _))) {
            self.stop_watching();
        }
        Ok(())
    }

    /// The same, but a journal that cannot be read for the moment is looked at again later: whatever must be written
    /// meanwhile has its own patience.
    pub(super) async fn look_for_others(&mut self) -> Result<(), ExecError> {
        match self.fold_in_others().await {
            Err(ExecError::Book(BookError::Store { source, .. })) if passing(&source) => {
                tracing::warn!(failure = %source, "the journal cannot be read; looking again");
                self.ports.clock.sleep(SignedDuration::from_secs(1)).await;
                Ok(())
            }
            other => other,
        }
    }

    fn still_ours(&self) -> Result<(), ExecError> {
        match self.book.run.epoch {
            Some(by) if by > self.epoch => Err(ExecError::Superseded {
                run: self.book.id.clone(),
                by,
            }),
            _ => Ok(()),
        }
    }

    /// An abort need not wait for a rollout that is only being watched, nor for the judge.
    fn stop_watching(&mut self) {
        if let Some(handle) = self.judging.take() {
            handle.abort();
        }
        let graph = &self.book.graph;
        self.in_flight.retain(|step, handle| {
            let watches = graph
                .node(step)
                .is_some_and(|node| node.reversal == Reversal::Nothing);
            if watches {
                handle.abort();
            }
            !watches
        });
    }

    /// Waits for a journal that may come back; what it may have taken meanwhile is found by reading.
    async fn journal_away(
        &mut self,
        failure: Failure,
        since: Timestamp,
        attempt: u32,
    ) -> Result<(), ExecError> {
        let now = self.ports.clock.now();
        if !passing(&failure) || now.duration_since(since) > JOURNAL_AWAY {
            return Err(ExecError::Journal {
                run: self.book.id.clone(),
                source: failure,
            });
        }
        tracing::warn!(%failure, attempt, "the journal does not answer; trying again");
        self.ports
            .clock
            .sleep(astern_engine::backoff::pause(
                attempt,
                self.book.id.as_str(),
                &failure,
            ))
            .await;
        match self.fold_in_others().await {
            Err(ExecError::Book(BookError::Store { .. })) => Ok(()),
            other => other,
        }
    }

    /// Whether an event still follows from the folded state: an append whose answer was lost may be there already.
    fn follows(&self, event: &Event) -> bool {
        let record = Record {
            seq: self.book.run.head,
            epoch: Some(self.epoch),
            at: Timestamp::UNIX_EPOCH,
            event: event.clone(),
        };
        match event {
            Event::Saved { .. } => !self.book.run.saved,
            _ => self.book.run.clone().then(&record).is_ok(),
        }
    }
}

/// Facts are about the world and stay true when somebody else appended first; decisions are made again.
fn is_fact(event: &Event) -> bool {
    matches!(
        event,
        Event::Saved { .. }
            | Event::Applied { .. }
            | Event::Failed { .. }
            | Event::Unsettled { .. }
            | Event::Reversed { .. }
            | Event::ReverseFailed { .. }
            | Event::Judged { .. }
    )
}
