//! The loop: fold, ask the engine, perform, append, fold. Owns the order "intent durable, then effect, then result", and
//! what happens when somebody else takes the run over.

mod error;
mod fencing;
mod flight;
mod locking;
mod recording;

pub use error::ExecError;

use crate::book::Book;
use crate::perform::Providers;
use astern_engine::{Command, Phase, Run, next};
use astern_gate::ApprovedPlan;
use astern_model::defect::{Defect, planted};
use astern_model::id::{Direction, Epoch, RunId, StepId};
use astern_model::plan::Plan;
use astern_model::record::{Event, Holder, Outcome, Record};
use astern_model::verdict::Verdict;
use astern_port::clock::Clock;
use astern_port::journal::{AppendError, Journal};
use astern_port::lock::Lock;
use astern_port::sense::Saved;
use astern_port::{Failure, FailureClass};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use locking::{Heartbeat, lock, nothing_open, unlock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::{AbortHandle, JoinSet};

/// Finished runs that a journal keeps. Fifty bad nights are a year's memory; more belongs into an archive.
pub const RUNS_KEPT: usize = 50;
/// How long the journal may be away before the run stops: longer than an API server's restart, shorter than the
/// patience of whoever watches.
const JOURNAL_AWAY: SignedDuration = SignedDuration::from_mins(5);
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

/// Carries out one approved plan.
pub struct Driver {
    ports: Ports,
    approved: ApprovedPlan,
    holder: Holder,
    epoch: Epoch,
    book: Book,
    tasks: JoinSet<Done>,
    in_flight: BTreeMap<StepId, AbortHandle>,
    open: BTreeMap<StepId, flight::Open>,
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
            open: BTreeMap::new(),
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

impl Ended {
    /// How the run ended, if it is over; none while it is held.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.book.run.phase {
            Phase::Finished(outcome) => Some(outcome),
            Phase::Running | Phase::Held { .. } | Phase::Unwinding { .. } => None,
        }
    }
}
