//! Carrying a run out, going on with one, and asking a running one for something.

use crate::config;
use crate::helm;
use crate::history;
use crate::judging::PlatformJudge;
use crate::ledger;
use crate::planning;
use crate::recall;
use crate::world::World;
use astern_engine::{Phase, Status};
use astern_exec::book::{Book, BookError};
use astern_exec::driver::{Driver, Ended, ExecError, Observer, Ports};
use astern_gate::{CheckedPlan, NotApproved, Progress, Rejected};
use astern_model::approval::Approval;
use astern_model::finding::Allowances;
use astern_model::id::{RunId, StepId};
use astern_model::platform::Platform;
use astern_model::record::{Event, Holder, Outcome, Record, Request};
use astern_port::journal::AppendError;
use astern_port::lock::Holding;
use astern_port::sense::Saved;
use astern_port::{Failure, FailureClass};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a run was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The approval does not fit the plan.
    #[error("the plan was not approved")]
    NotApproved(#[source] NotApproved),
    /// The gate does not let the rest of the run pass.
    #[error("the rest of run {run} cannot be admitted")]
    Rejected {
        /// The run.
        run: RunId,
        /// What it found.
        rejected: Box<Rejected>,
    },
    /// The cluster cannot be read.
    #[error("the cluster cannot be read")]
    Look(#[source] Failure),
    /// The run is over.
    #[error("run {run} is over: {how}")]
    Over {
        /// The run.
        run: RunId,
        /// How it ended.
        how: &'static str,
    },
    /// Somebody carries it out right now.
    #[error("run {run} is being carried out by {} on {}", holding.holder.user, holding.holder.host)]
    Alive {
        /// The run.
        run: RunId,
        /// Who.
        holding: Box<Holding>,
    },
    /// A request could not be written down.
    #[error("the request could not be written into the journal of {run}")]
    Request {
        /// The run.
        run: RunId,
        /// Why.
        #[source]
        source: AppendError,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The driver stopped.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// Whoever carries runs out here.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Who.
    pub holder: Holder,
    /// What the platform's owners allow and how its services are asked.
    pub platform: Platform,
}

/// What a person wants of a run that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on with it.
    GoOn,
    /// Take back what was done.
    TakeBack,
}

/// Carries a checked plan out.
///
/// # Errors
/// [`RunError`]. Whether anything was changed is in the journal of `run`, which may not exist yet.
pub async fn start(
    world: &World,
    runner: Runner,
    run: RunId,
    checked: CheckedPlan,
    approval: Approval,
    saved: Saved,
    observer: Arc<dyn Observer>,
) -> Result<Ended, RunError> {
    let ports = world.ports(judge(world, &runner), observer);
    let now = world.clock.now();
    let ended = start_on(ports, now, runner.holder, run, checked, approval, saved).await?;
    learn(world, &runner.platform, &ended).await;
    Ok(ended)
}

/// What a run that restored service took back is bad from now on, also once its journal is pruned.
async fn learn(world: &World, platform: &Platform, ended: &Ended) {
    if !matches!(ended.book.run.phase, Phase::Finished(Outcome::Restored)) {
        return;
    }
    if let Err(failure) = ledger::learn(world, platform).await {
        tracing::info!(%failure, "the ledger does not know of this run yet");
    }
}

/// The same on ports that somebody else put together.
///
/// # Errors
/// As [`start`].
pub async fn start_on(
    ports: Ports,
    now: Timestamp,
    holder: Holder,
    run: RunId,
    checked: CheckedPlan,
    approval: Approval,
    saved: Saved,
) -> Result<Ended, RunError> {
    let approved = astern_gate::approve(checked, approval, now).map_err(RunError::NotApproved)?;
    let driver = Driver::start(ports, approved, run, holder, saved).await?;
    Ok(driver.carry_out().await?)
}

/// Goes on with a run whose holder is gone, or that is held, or takes it back.
///
/// # Errors
/// [`RunError::Alive`] when somebody carries it out: then [`request`] is the way, and attaching.
pub async fn resume(
    world: &World,
    runner: Runner,
    run: &RunId,
    wish: Wish,
    allow: &Allowances,
    observer: Arc<dyn Observer>,
) -> Result<Ended, RunError> {
    let ports = world.ports(judge(world, &runner), observer);
    let ended = resume_on(world, ports, runner.holder, run, wish, allow).await?;
    learn(world, &runner.platform, &ended).await;
    Ok(ended)
}

/// The same with ports for the run that somebody else put together.
///
/// # Errors
/// As [`resume`].
pub async fn resume_on(
    world: &World,
    ports: Ports,
    holder: Holder,
    run: &RunId,
    wish: Wish,
    allow: &Allowances,
) -> Result<Ended, RunError> {
    let book = Book::open(&*world.journal, run).await?;
    if let Phase::Finished(_) = &book.run.phase {
        return Err(RunError::Over {
            run: run.clone(),
            how: history::word(&book.run.phase),
        });
    }
    // What is still being changed need not be admissible, so the holder's life is told first.
    let (alive, approved) = futures::join!(alive(world, &book), admit(world, &book, wish, allow));
    if let Some(holding) = alive? {
        return Err(RunError::Alive {
            run: run.clone(),
            holding: Box::new(holding),
        });
    }
    let approved = approved?;
    let by = holder.user.clone();
    let mut driver = Driver::resume(ports, approved, book, holder).await?;
    driver.answer(wish == Wish::TakeBack, &by).await?;
    Ok(driver.carry_out().await?)
}

/// Asks whoever carries the run out to pause or to take it back. Written into the journal without an epoch; the
/// holder folds it in at its next step.
///
/// # Errors
/// When the journal does not take it, or the run is over.
pub async fn request(world: &World, run: &RunId, request: Request, by: &str) -> Result<(), RunError> {
    loop {
        let mut book = Book::open(&*world.journal, run).await?;
        if let Phase::Finished(_) = &book.run.phase {
            return Err(RunError::Over {
                run: run.clone(),
                how: history::word(&book.run.phase),
            });
        }
        let event = Event::Requested {
            request,
            by: by.to_owned(),
        };
        match book.request(&*world.journal, event, world.clock.now()).await {
            Err(AppendError::Conflict { .. }) => {}
            Err(source) => {
                return Err(RunError::Request {
                    run: run.clone(),
                    source,
                });
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Whoever holds the run's lock, alive or not.
///
/// # Errors
/// When the lock cannot be read.
pub async fn holding(world: &World, book: &Book) -> Result<Option<Holding>, RunError> {
    let holding = world.lock.holding(&book.plan.namespace).await;
    Ok(holding
        .map_err(RunError::Look)?
        .filter(|holding| holding.run == book.id))
}

/// Whoever carries the run out: they renew its lock while we look, which takes some seconds where anybody holds it.
///
/// # Errors
/// When the lock cannot be read.
pub async fn alive(world: &World, book: &Book) -> Result<Option<Holding>, RunError> {
    if holding(world, book).await?.is_none() {
        return Ok(None);
    }
    let living = world.lock.living(&book.plan.namespace).await;
    Ok(living
        .map_err(RunError::Look)?
        .filter(|holding| holding.run == book.id))
}

/// Shows a run's records as they come until it rests: finished, held, or without a holder for longer than a lease.
///
/// # Errors
/// When the journal cannot be read.
pub async fn attach(world: &World, run: &RunId, observer: &dyn Observer) -> Result<Book, RunError> {
    let mut book = Book::open(&*world.journal, run).await?;
    let mut shown = 0;
    let mut quiet_since = world.clock.now();
    let mut away_since = None;
    loop {
        for record in &book.records[shown..] {
            observer.see(record, &book.run);
        }
        if book.records.len() > shown {
            quiet_since = world.clock.now();
        }
        shown = book.records.len();
        if rests(&book) {
            return Ok(book);
        }
        match news(world, &mut book, quiet_since).await {
            Ok(News::Abandoned) => return Ok(book),
            Ok(News::GoesOn) => away_since = None,
            Err(error) => {
                let now = world.clock.now();
                let since = *away_since.get_or_insert(now);
                if !passing(&error) || now.duration_since(since) > AWAY {
                    return Err(error);
                }
                // The runner could not renew its lock either.
                quiet_since = now;
                world.clock.sleep(LOOK_AGAIN_AFTER).await;
            }
        }
    }
}

/// Whether nothing more comes by itself. A held run that was taken over again is about to go on.
fn rests(book: &Book) -> bool {
    let newest = book
        .records
        .iter()
        .rev()
        .find(|record| matches!(record.event, Event::Held { .. } | Event::Taken { .. }));
    match &book.run.phase {
        Phase::Finished(_) => true,
        Phase::Held { .. } => newest.is_some_and(|record| matches!(record.event, Event::Held { .. })),
        Phase::Running | Phase::Unwinding { .. } => false,
    }
}

enum News {
    GoesOn,
    Abandoned,
}

/// Waits for records and takes them in; says whether anybody still carries the run out when none come.
async fn news(world: &World, book: &mut Book, quiet_since: Timestamp) -> Result<News, RunError> {
    let run = book.id.clone();
    let waited = world.journal.wait(&run, book.run.head, ATTACH_WAIT).await;
    waited.map_err(|source| BookError::Store { run, source })?;
    let came = book.catch_up(&*world.journal).await?;
    let quiet = world.clock.now().duration_since(quiet_since);
    if came > 0 || quiet <= ABANDONED_AFTER || alive(world, book).await?.is_some() {
        return Ok(News::GoesOn);
    }
    // Whoever ended the run while we looked has given its lock back too.
    match book.catch_up(&*world.journal).await? {
        0 => Ok(News::Abandoned),
        _ => Ok(News::GoesOn),
    }
}

/// Whether looking again may help: the run goes on without whoever watches it, also while its journal is away.
fn passing(error: &RunError) -> bool {
    let (RunError::Look(failure) | RunError::Book(BookError::Store { source: failure, .. })) = error else {
        return false;
    };
    matches!(
        failure.class,
        FailureClass::Transient { .. } | FailureClass::Unknown
    )
}

/// How long a journal may be away before watching ends: as long as the runner itself bears it.
const AWAY: SignedDuration = SignedDuration::from_mins(5);
/// The pause before a journal that did not answer is asked again.
const LOOK_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// One wait on the journal while attached.
const ATTACH_WAIT: SignedDuration = SignedDuration::from_secs(10);
/// How long a run may be quiet before its holder's life is looked at: a little more than a lease.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_secs(20);

async fn admit(
    world: &World,
    book: &Book,
    wish: Wish,
    allow: &Allowances,
) -> Result<astern_gate::ApprovedPlan, RunError> {
    let mut inventory = world
        .look
        .inventory(&book.plan.namespace)
        .await
        .map_err(RunError::Look)?;
    config::written_by(world, &mut inventory, &book.plan).await;
    let progress = progress(book, wish);
    let ahead = |step: &StepId| {
        progress
            .get(step)
            .is_none_or(|progress| *progress == Progress::Pending)
    };
    helm::contents::look_at(world, &mut inventory, &book.plan, ahead).await;
    helm::foretold::of_plan(world, &mut inventory, &book.plan, ahead).await;
    recall::of_plan(world, &mut inventory, &book.plan, ahead).await;
    inventory.config.logins = config::try_logins(world, &inventory, &book.plan, ahead).await;
    planning::paused_by(world, &mut inventory, &book.plan).await;
    let questions = astern_gate::questions(&book.plan, &inventory);
    let answers = planning::answer(world, &inventory, &questions).await;
    let approval = book
        .run
        .approval
        .clone()
        .ok_or_else(|| BookError::NotApproved { run: book.id.clone() })?;
    astern_gate::readmit(
        book.plan.clone(),
        book.sealed.clone(),
        approval,
        &progress,
        &inventory,
        &answers,
        allow,
    )
    .map_err(|rejected| RunError::Rejected {
        run: book.id.clone(),
        rejected: Box::new(rejected),
    })
}

/// Whether a run is being taken back, whatever is wished of it.
fn goes_back(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::Unwinding { .. } | Phase::Held { unwinding: true, .. }
    )
}

/// How far each step is, as the gate wants to know it. When a run is taken back, what has not begun never will.
pub fn progress(book: &Book, wish: Wish) -> BTreeMap<StepId, Progress> {
    let untouched = match wish {
        Wish::GoOn if !goes_back(&book.run.phase) => Progress::Pending,
        Wish::GoOn | Wish::TakeBack => Progress::Dropped,
    };
    let far = |status: &Status| match status {
        Status::Pending | Status::Failed(_) => untouched,
        Status::Reversed => Progress::Dropped,
        Status::Done { .. } => Progress::Done,
        Status::Intended(_)
        | Status::Unsettled(..)
        | Status::Reversing(_)
        | Status::ReverseUnsettled(..)
        | Status::ReverseFailed(..) => Progress::Intended,
    };
    book.run
        .steps
        .iter()
        .map(|(step, status)| (step.clone(), far(status)))
        .collect()
}

fn judge(world: &World, runner: &Runner) -> Arc<PlatformJudge> {
    Arc::new(PlatformJudge {
        world: world.clone(),
        platform: runner.platform.clone(),
    })
}

/// What a run's end means for a script: the exit codes of the command line, documented there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Done and validated.
    Validated,
    /// Everything is as before.
    Unwound,
    /// Done, but the validation failed or could not tell.
    NotValidated,
    /// A person is needed.
    NeedsPerson,
}

/// What a book's state means.
pub fn rest(book: &Book) -> Rest {
    match &book.run.phase {
        Phase::Finished(Outcome::Restored) => match &book.run.verdict {
            Some(verdict) if verdict.passes() => Rest::Validated,
            Some(_) | None => Rest::NotValidated,
        },
        Phase::Finished(Outcome::Unwound { .. }) => Rest::Unwound,
        Phase::Finished(Outcome::Stuck { .. } | Outcome::Superseded { .. })
        | Phase::Running
        | Phase::Held { .. }
        | Phase::Unwinding { .. } => Rest::NeedsPerson,
    }
}

/// An observer that shows nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn see(&self, _: &Record, _: &astern_engine::Run) {}
}
