//! The loop: fold, ask the engine, perform, append, fold. Owns the order "intent durable, then effect, then result",
//! the lock's heartbeat, and what happens when somebody else takes the run over.

use crate::book::{Book, BookError};
use crate::perform::{self, Providers, Receipt};
use astern_engine::{Command, Phase, Run, Status, next};
use astern_gate::ApprovedPlan;
use astern_model::defect::{Defect, planted};
use astern_model::id::{Direction, Epoch, RunId, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Holder, Outcome, Record, Request};
use astern_model::reversal::Reversal;
use astern_model::step::workload::Stamp;
use astern_model::step::{After, Before, Spec};
use astern_model::verdict::Verdict;
use astern_port::clock::Clock;
use astern_port::journal::{AppendError, Journal};
use astern_port::lock::{Holding, Lock, RENEWALS, Taking};
use astern_port::sense::Saved;
use astern_port::workloads::Settled;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{AbortHandle, JoinSet};

/// Finished runs that a journal keeps. Fifty bad nights are a year's memory; more belongs into an archive.
pub const RUNS_KEPT: usize = 50;
/// How long the journal may be away before the run stops: longer than an API server's restart, shorter than the
/// patience of whoever watches.
const JOURNAL_AWAY: SignedDuration = SignedDuration::from_mins(5);
/// A lock this many of its durations old, of a run that no journal knows, is nobody's: its holder would have written
/// its plan down within one, and looks again before its first effect when that took long.
const LONG_DEAD: i32 = 3;
/// How soon a run looks again whether its lapsed lock was renewed.
const LAPSED: SignedDuration = SignedDuration::from_secs(1);
/// How long one wait on the journal for requests lasts before it is asked again.
const REQUEST_WAIT: SignedDuration = SignedDuration::from_secs(30);

/// What a run needs of the outside.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the run is written down.
    pub journal: Arc<dyn Journal>,
    /// Who else is alive.
    pub lock: Arc<dyn Lock>,
    /// The layers.
    pub providers: Providers,
    /// Who says whether it is over.
    pub judge: Arc<dyn Judge>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
}

/// Says, over the soak window, whether it is over: the same senses and thresholds that opened it.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Judges a plan's criteria since `since` (the run's first takeover). Takes as long as the soak window.
    async fn judge(&self, plan: &Plan, since: Timestamp) -> Verdict;
}

/// Sees every record once it is durable.
pub trait Observer: Send + Sync {
    /// One record, and the run after it.
    fn see(&self, record: &Record, run: &Run);
}

/// How the driver came to rest.
#[derive(Debug)]
pub struct Ended {
    /// The run's journal.
    pub book: Book,
}

/// Why the driver stopped before the run came to rest. No effect was begun without a durable intent.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Another run, or another holder of this one, is alive.
    #[error("run {} holds the lock of namespace {namespace}: {} on {} since {}; its journal: {}", holding.run, holding.holder.user, holding.holder.host, holding.renewed_at, holding.journal)]
    Busy {
        /// The namespace.
        namespace: String,
        /// Who.
        holding: Box<Holding>,
    },
    /// A run of this namespace is not over, though nobody carries it out now: nothing was begun.
    #[error("run {open} of namespace {namespace} is not over; nothing was begun")]
    RunOpen {
        /// The namespace.
        namespace: String,
        /// Which.
        open: RunId,
        /// How it stands.
        phase: Box<Phase>,
    },
    /// The lock could not be taken: nothing was begun.
    #[error("the run lock could not be taken; nothing was begun")]
    Lock(#[source] Failure),
    /// The lock was lost on the way.
    #[error("the run lock was lost; {run} stopped here")]
    LockLost {
        /// The run.
        run: RunId,
        /// How.
        #[source]
        source: Failure,
    },
    /// The plan could not be written down: there is no run.
    #[error("run {run} could not be written down, so it was not begun: nothing was changed")]
    NotBegun {
        /// The run that there would be.
        run: RunId,
        /// What the store said.
        #[source]
        source: Failure,
    },
    /// The run was taken over by another holder: this one has written nothing since.
    #[error("run {run} was taken over by another holder (epoch {by}); this one wrote nothing after that")]
    Superseded {
        /// The run.
        run: RunId,
        /// The newest epoch.
        by: Epoch,
    },
    /// The journal does not take records any more.
    #[error("the journal of {run} does not take records any more")]
    Journal {
        /// The run.
        run: RunId,
        /// What the store said.
        #[source]
        source: Failure,
    },
    /// The journal cannot be read or does not hold together.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Carries out one approved plan.
pub struct Driver {
    ports: Ports,
    approved: ApprovedPlan,
    holder: Holder,
    epoch: Epoch,
    book: Book,
    tasks: JoinSet<Done>,
    in_flight: BTreeMap<StepId, AbortHandle>,
    judging: Option<AbortHandle>,
    facts: Vec<Event>,
    locked_at: Timestamp,
}

/// What a task brought back.
enum Done {
    Step(StepId, Event),
    Judged(Verdict),
}

impl Driver {
    /// Starts a new run: lock, then the plan and its approval in the journal, then the takeover.
    ///
    /// # Errors
    /// [`ExecError`]; nothing was changed in the cluster but the lock and the journal.
    pub async fn start(
        ports: Ports,
        approved: ApprovedPlan,
        run: RunId,
        holder: Holder,
        saved: Saved,
    ) -> Result<Self, ExecError> {
        lock(&ports, approved.plan(), &run, &holder).await?;
        let locked_at = ports.clock.now();
        if let Err(error) = nothing_open(&ports, approved.plan(), &run).await {
            unlock(&ports, &namespaces(approved.plan()), &run, &holder).await;
            return Err(error);
        }
        let created = Book::create(
            &*ports.journal,
            run.clone(),
            approved.plan(),
            approved.sealed(),
            approved.approval(),
            locked_at,
        );
        let book = match created.await {
            Ok(book) => book,
            Err(error) => {
                // Nobody could resume what is not written down; the lock must not outlive it.
                unlock(&ports, &namespaces(approved.plan()), &run, &holder).await;
                return Err(ExecError::not_begun(&run, error));
            }
        };
        let facts = vec![Event::Saved {
            evidence: saved.evidence,
            missed: saved.missed,
        }];
        let driver = Self::take(ports, approved, book, holder, facts, locked_at).await?;
        driver.still_locked(locked_at).await?;
        Ok(driver)
    }

    /// Whoever took long to write the plan down may have been taken for dead, and its lock given away.
    async fn still_locked(&self, since: Timestamp) -> Result<(), ExecError> {
        let lock = &self.ports.lock;
        if self.ports.clock.now().duration_since(since) < lock.renew_every() {
            return Ok(());
        }
        match lock.renew(&self.namespaces(), &self.book.id, &self.holder).await {
            Err(failure) if failure.class == FailureClass::Conflict => Err(ExecError::Lock(failure)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Goes on with a run that the gate has admitted again.
    ///
    /// # Errors
    /// [`ExecError`]; nothing was changed in the cluster but the lock and the journal.
    pub async fn resume(
        ports: Ports,
        approved: ApprovedPlan,
        book: Book,
        holder: Holder,
    ) -> Result<Self, ExecError> {
        lock(&ports, &book.plan, &book.id, &holder).await?;
        let locked_at = ports.clock.now();
        Self::take(ports, approved, book, holder, Vec::new(), locked_at).await
    }

    async fn take(
        ports: Ports,
        approved: ApprovedPlan,
        mut book: Book,
        holder: Holder,
        facts: Vec<Event>,
        locked_at: Timestamp,
    ) -> Result<Self, ExecError> {
        let epoch = loop {
            // Its holder brought it to its end while this one waited for the lock: there is nothing to take over.
            if let (Phase::Finished(_), Some(last)) = (&book.run.phase, book.run.epoch) {
                break last;
            }
            if planted(Defect::SkipTakeover)
                && let Some(last) = book.run.epoch
            {
                break last;
            }
            match book.take_over(&*ports.journal, &holder, ports.clock.now()).await {
                Ok(epoch) => break epoch,
                Err(AppendError::Conflict { .. }) => {
                    let known = book.run.epoch;
                    book.catch_up(&*ports.journal).await?;
                    if let Some(by) = book.run.epoch.filter(|_| book.run.epoch != known) {
                        return Err(ExecError::Superseded { run: book.id, by });
                    }
                }
                Err(error) => return Err(ExecError::from_append(&book.id, error)),
            }
        };
        let driver = Self {
            ports,
            approved,
            holder,
            epoch,
            book,
            tasks: JoinSet::new(),
            in_flight: BTreeMap::new(),
            judging: None,
            facts,
            locked_at,
        };
        driver.show_all();
        Ok(driver)
    }

    /// Writes down what a person wants of a run that was held or left alone: go on, or take back what was done. A run
    /// that has come to its end meanwhile stays as it is.
    ///
    /// # Errors
    /// As [`Self::carry_out`].
    pub async fn answer(&mut self, take_back: bool, by: &str) -> Result<(), ExecError> {
        let run = &self.book.run;
        let held = matches!(run.phase, Phase::Held { .. });
        let event = if matches!(run.phase, Phase::Finished(_)) {
            return Ok(());
        } else if take_back {
            Event::Unwinding {
                why: format!("aborted by {by}"),
            }
        } else if held || run.request.is_some() {
            // A request that found nobody at work is older than this wish.
            Event::Resumed { by: by.to_owned() }
        } else {
            return Ok(());
        };
        self.append(vec![event]).await
    }

    /// Carries the run out until it rests: finished or held.
    ///
    /// # Flow
    /// fence what a predecessor left open; then: ask the engine, perform, append results (with what it decides) as
    /// one batch, fold, ask again. Requests by others are folded in as they come.
    ///
    /// # Errors
    /// [`ExecError`]: taken over, or the journal is gone. What had begun is settled by whoever resumes.
    pub async fn carry_out(mut self) -> Result<Ended, ExecError> {
        let beat = Heartbeat::start(
            &self.ports,
            self.namespaces(),
            &self.book.id,
            &self.holder,
            self.locked_at,
        );
        let result = self.fence_and_run(&beat).await;
        self.tasks.shutdown().await;
        drop(beat);
        // Also when it stopped on the way, so that whoever resumes need not wait for the lock to lapse; and before the
        // journal is tidied, so that nothing stands in the next run's way should this process end meanwhile.
        unlock(&self.ports, &self.namespaces(), &self.book.id, &self.holder).await;
        if result.is_ok()
            && matches!(self.book.run.phase, Phase::Finished(_))
            && let Err(failure) = self.ports.journal.settle(&self.book.id, RUNS_KEPT).await
        {
            tracing::warn!(%failure, "the finished run could not be compacted; it is complete all the same");
        }
        result.map(|()| Ended { book: self.book })
    }

    async fn fence_and_run(&mut self, beat: &Heartbeat) -> Result<(), ExecError> {
        self.fence().await?;
        loop {
            // What tasks brought back must be folded before the engine is asked: it would command them again.
            if self.facts.iter().any(|fact| !matches!(fact, Event::Saved { .. })) {
                self.append(Vec::new()).await?;
                continue;
            }
            let flying: BTreeSet<StepId> = self.in_flight.keys().cloned().collect();
            let commands = next(&self.book.run, &self.book.graph, &flying, self.ports.clock.now());
            let (events, wake) = self.begin(commands, beat);
            if !events.is_empty() {
                self.append(events).await?;
                continue;
            }
            if self.in_flight.is_empty() && self.judging.is_none() && wake.is_none() {
                return Ok(());
            }
            self.wait(wake, beat).await?;
        }
    }

    /// Starts what can be started; returns what is to be appended, and when to ask again.
    fn begin(&mut self, commands: Vec<Command>, beat: &Heartbeat) -> (Vec<Event>, Option<Timestamp>) {
        let mut events = Vec::new();
        let mut wake: Option<Timestamp> = None;
        let now = self.ports.clock.now();
        let lapsed = beat.lapsed(now);
        for command in commands {
            match command {
                // Whoever slept past its lease may have been replaced: it hears of that before it touches anything.
                Command::Prepare { .. }
                | Command::Apply { .. }
                | Command::PrepareReverse { .. }
                | Command::Reverse { .. }
                    if lapsed =>
                {
                    let at = now.saturating_add(LAPSED).unwrap_or(Timestamp::MAX);
                    wake = Some(wake.map_or(at, |earlier| earlier.min(at)));
                }
                Command::Append(event) => events.push(event),
                Command::WaitUntil(at) => wake = Some(wake.map_or(at, |earlier| earlier.min(at))),
                Command::Judge => self.judge(),
                Command::PrepareReverse { step, attempt } => {
                    let key = astern_model::id::EffectKey::of(&self.book.id, &step, Direction::Back);
                    events.push(Event::ReverseIntended { step, key, attempt });
                }
                Command::Prepare { step, attempt } => self.prepare(step, attempt),
                Command::Apply { step, until } => self.apply(step, until),
                Command::Settle { step } => self.settle(step),
                Command::Reverse { step, until } => self.reverse(step, until),
                Command::SettleReverse { step } => self.settle_reverse(step),
            }
        }
        (events, wake)
    }

    /// A conflict after an attempt whose answer was lost may be that attempt's own late effect: then its intent stands
    /// again, and carrying it out finds it done.
    fn prepare(&mut self, step: StepId, attempt: u32) {
        let (providers, run) = (self.ports.providers.clone(), self.book.id.clone());
        let spec = perform::spec(&self.book.plan, &step);
        let earlier = match self.book.run.status(&step) {
            Status::Failed(failing) => failing.before.clone(),
            _ => None,
        };
        let stamp = perform::stamp(
            &self.book.id,
            &step,
            Direction::Forward,
            self.epoch,
            self.reason(),
        );
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

    fn apply(&mut self, step: StepId, until: Timestamp) {
        let Some(before) = self.before(&step) else { return };
        let (providers, clock) = (self.ports.providers.clone(), self.ports.clock.clone());
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = perform::stamp(
            &self.book.id,
            &step,
            Direction::Forward,
            self.epoch,
            self.reason(),
        );
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

    fn settle(&mut self, step: StepId) {
        let Some(before) = self.before(&step) else { return };
        let providers = self.ports.providers.clone();
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = perform::stamp(
            &self.book.id,
            &step,
            Direction::Forward,
            self.epoch,
            self.reason(),
        );
        self.fly(step.clone(), async move {
            let result: Settled<After> = perform::settle(&providers, &spec, &before, &stamp).await;
            perform::settled(step, result)
        });
    }

    fn reverse(&mut self, step: StepId, until: Timestamp) {
        let Some(receipt) = self.receipt(&step) else {
            return;
        };
        let (providers, clock) = (self.ports.providers.clone(), self.ports.clock.clone());
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = perform::stamp(&self.book.id, &step, Direction::Back, self.epoch, self.reason());
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

    fn settle_reverse(&mut self, step: StepId) {
        let Some(receipt) = self.receipt(&step) else {
            return;
        };
        let providers = self.ports.providers.clone();
        let spec = perform::spec(&self.book.plan, &step);
        let stamp = perform::stamp(&self.book.id, &step, Direction::Back, self.epoch, self.reason());
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

    fn judge(&mut self) {
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

    /// Waits until something comes in: a task's result, a record by somebody else, the wake-up time, or the loss of
    /// the lock.
    async fn wait(&mut self, wake: Option<Timestamp>, beat: &Heartbeat) -> Result<(), ExecError> {
        let (clock, journal) = (self.ports.clock.clone(), self.ports.journal.clone());
        let (id, head) = (self.book.id.clone(), self.book.run.head);
        let sleep = async {
            match wake {
                Some(at) => clock.sleep(at.duration_since(clock.now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = beat.lost() => self.lost().await,
            Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                self.take_in(done);
                while let Some(done) = self.tasks.try_join_next() {
                    self.take_in(done);
                }
                Ok(())
            }
            waited = journal.wait(&id, head, REQUEST_WAIT) => {
                if waited.is_err() {
                    clock.sleep(SignedDuration::from_secs(1)).await;
                    return Ok(());
                }
                self.look_for_others().await
            }
            () = sleep => Ok(()),
        }
    }

    fn take_in(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Step(step, event)) => {
                self.in_flight.remove(&step);
                self.facts.push(event);
            }
            Ok(Done::Judged(verdict)) => {
                self.judging = None;
                self.facts.push(Event::Judged { verdict });
            }
            Err(error) if error.is_cancelled() => {}
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Reads and folds what others appended: requests, or a takeover.
    async fn fold_in_others(&mut self) -> Result<(), ExecError> {
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
    async fn look_for_others(&mut self) -> Result<(), ExecError> {
        match self.fold_in_others().await {
            Err(ExecError::Book(BookError::Store { source, .. })) if passing(&source) => {
                tracing::warn!(failure = %source, "the journal cannot be read; looking again");
                self.ports.clock.sleep(SignedDuration::from_secs(1)).await;
                Ok(())
            }
            other => other,
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

    fn still_ours(&self) -> Result<(), ExecError> {
        match self.book.run.epoch {
            Some(by) if by > self.epoch => Err(ExecError::Superseded {
                run: self.book.id.clone(),
                by,
            }),
            _ => Ok(()),
        }
    }

    /// The lock is gone: fail-stop. The journal tells who has it now.
    async fn lost(&mut self) -> Result<(), ExecError> {
        self.tasks.shutdown().await;
        self.fold_in_others().await?;
        let why = "somebody else has it, since it could not be renewed in time";
        Err(ExecError::LockLost {
            run: self.book.id.clone(),
            source: Failure::new(FailureClass::Conflict, "keep the run lock", why),
        })
    }

    /// Appends what is known and what was decided, as one batch. Facts survive a conflict; decisions are made again
    /// from the new state.
    async fn append(&mut self, decisions: Vec<Event>) -> Result<(), ExecError> {
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

    /// After a takeover: the predecessor's open writes are fenced before anything is settled. What stands in the way
    /// of that holds the run, so that it goes on once the cause has passed or a person has dealt with it; only an object
    /// that is gone ends the way back.
    async fn fence(&mut self) -> Result<(), ExecError> {
        if planted(Defect::SkipFence) {
            return Ok(());
        }
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
                return self.append(vec![event]).await;
            }
        }
        Ok(())
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

    fn reason(&self) -> &str {
        &self.approved.approval().reason
    }

    fn namespaces(&self) -> Vec<String> {
        namespaces(&self.book.plan)
    }

    fn show_all(&self) {
        for record in &self.book.records {
            self.ports.observer.see(record, &self.book.run);
        }
    }
}

/// Whether the same call may work later.
fn passing(failure: &Failure) -> bool {
    matches!(
        failure.class,
        FailureClass::Transient { .. } | FailureClass::Unknown
    )
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

/// The plan's own namespace among them: a plan may write nothing but a ConfigMap.
fn namespaces(plan: &Plan) -> Vec<String> {
    let names: BTreeSet<&String> = plan
        .targets()
        .into_iter()
        .map(|target| &target.namespace)
        .chain([&plan.namespace])
        .collect();
    names.into_iter().cloned().collect()
}

/// Looks under the lock whether another run of the namespace is open: one that came to rest while this one was being
/// planned has given its lock back, and may be held.
async fn nothing_open(ports: &Ports, plan: &Plan, run: &RunId) -> Result<(), ExecError> {
    let newest = Book::newest(&*ports.journal, &plan.namespace, 1).await;
    let newest = newest.map_err(|source| ExecError::NotBegun {
        run: run.clone(),
        source,
    })?;
    match newest.into_iter().next() {
        Some(book) if !matches!(book.run.phase, Phase::Finished(_)) => Err(ExecError::RunOpen {
            namespace: plan.namespace.clone(),
            open: book.id,
            phase: Box::new(book.run.phase),
        }),
        _ => Ok(()),
    }
}

async fn lock(ports: &Ports, plan: &Plan, run: &RunId, holder: &Holder) -> Result<(), ExecError> {
    let namespaces = namespaces(plan);
    let place = ports.journal.place();
    let take = || ports.lock.take(&namespaces, run, holder, &place);
    let mut taking = take().await.map_err(ExecError::Lock)?;
    if let Taking::Held(holding) = &taking
        && is_nobodys(ports, &namespaces, holding, run).await
    {
        unlock(ports, &namespaces, &holding.run, &holding.holder).await;
        taking = take().await.map_err(ExecError::Lock)?;
    }
    match taking {
        Taking::Taken => Ok(()),
        Taking::Held(holding) => Err(ExecError::Busy {
            namespace: namespaces.join(", "),
            holding: Box::new(holding),
        }),
    }
}

/// Whether a lock is what is left of a runner that died before it wrote its plan down, or after its run was over, or
/// whose journal was damaged since: then there is no run to resume.
/// Only a journal of the same place can tell, and not by the clocks of two machines alone: a renewal is waited for.
async fn is_nobodys(ports: &Ports, namespaces: &[String], holding: &Holding, run: &RunId) -> bool {
    let silent = ports.clock.now().duration_since(holding.renewed_at);
    // One that is dated so far ahead was written by a clock that is wrong, unless ours is: its age tells nothing, and
    // waiting for that time to come would block whoever comes next for as long as the clock was ahead.
    let long_dead = holding
        .duration
        .checked_mul(LONG_DEAD)
        .is_some_and(|limit| silent.abs() > limit);
    let elsewhere = holding.journal != ports.journal.place();
    if holding.run == *run || !long_dead || elsewhere {
        return false;
    }
    let looks = namespaces.iter().map(|namespace| ports.lock.living(namespace));
    let seen = futures::future::join_all(looks).await;
    if !seen.iter().all(|living| matches!(living, Ok(None))) {
        return false;
    }
    match Book::open(&*ports.journal, &holding.run).await {
        Ok(book) => matches!(book.run.phase, Phase::Finished(_)),
        Err(BookError::NoSuchRun { .. } | BookError::NotApproved { .. }) => true,
        Err(error) => error.is_damaged(),
    }
}

async fn unlock(ports: &Ports, namespaces: &[String], run: &RunId, holder: &Holder) {
    if let Err(failure) = ports.lock.release(namespaces, run, holder).await {
        tracing::warn!(%failure, "the run lock could not be given back; it runs out by itself");
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

impl ExecError {
    fn not_begun(run: &RunId, error: AppendError) -> Self {
        match Self::from_append(run, error) {
            Self::Journal { run, source } => Self::NotBegun { run, source },
            other => other,
        }
    }

    fn from_append(run: &RunId, error: AppendError) -> Self {
        match error {
            AppendError::Fenced { by } => Self::Superseded { run: run.clone(), by },
            AppendError::Conflict { head } => Self::Journal {
                run: run.clone(),
                source: Failure::new(
                    FailureClass::Conflict,
                    "append",
                    format!("somebody appended first, up to record {head}"),
                ),
            },
            AppendError::Store(source) => Self::Journal {
                run: run.clone(),
                source,
            },
        }
    }
}

impl Ended {
    /// How the run ended, if it is over; none while it is held.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.book.run.phase {
            Phase::Finished(outcome) => Some(outcome),
            Phase::Running | Phase::Held { .. } | Phase::Unwinding { .. } => None,
        }
    }
}

/// Renews the lock until it is dropped. A lock that is somebody else's stops the run. While the API server is away
/// nothing can be renewed, and nobody else can take it either; whoever takes it later writes a takeover record, and
/// from then on this holder's appends are refused.
struct Heartbeat {
    task: tokio::task::JoinHandle<()>,
    lost: Arc<tokio::sync::Notify>,
    renewed_at: Arc<Mutex<Timestamp>>,
    good_for: SignedDuration,
}

impl Heartbeat {
    fn start(
        ports: &Ports,
        namespaces: Vec<String>,
        run: &RunId,
        holder: &Holder,
        locked_at: Timestamp,
    ) -> Self {
        let renewed_at = Arc::new(Mutex::new(locked_at));
        let good_for = ports.lock.renew_every() * RENEWALS;
        let newest = renewed_at.clone();
        let lost = Arc::new(tokio::sync::Notify::new());
        let (lock, clock) = (ports.lock.clone(), ports.clock.clone());
        let (run, holder, tell) = (run.clone(), holder.clone(), lost.clone());
        let task = tokio::spawn(async move {
            loop {
                clock.sleep(lock.renew_every()).await;
                let asked_at = clock.now();
                let renewed = tokio::select! {
                    biased;
                    renewed = lock.renew(&namespaces, &run, &holder) => renewed,
                    () = clock.sleep(lock.renew_every()) => Err(no_answer()),
                };
                match renewed {
                    Ok(()) => *newest.lock().unwrap_or_else(PoisonError::into_inner) = asked_at,
                    Err(failure) if failure.class == FailureClass::Conflict => break,
                    Err(failure) => {
                        tracing::warn!(%failure, "the run lock could not be renewed; trying again")
                    }
                }
            }
            tell.notify_one();
        });
        Self {
            task,
            lost,
            renewed_at,
            good_for,
        }
    }

    /// Whether the lock may be somebody else's by now, by the wall clock: a machine that slept counts that time too.
    fn lapsed(&self, now: Timestamp) -> bool {
        let renewed_at = *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        now.duration_since(renewed_at) > self.good_for
    }

    async fn lost(&self) {
        self.lost.notified().await;
    }
}

fn no_answer() -> Failure {
    Failure::new(
        FailureClass::Unknown,
        "renew the run lock",
        "no answer came in time",
    )
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}
