//! The run lock: taken, given back, renewed while the run goes on. Owns whose lock is nobody's any more; who may write is the
//! journal's word.

use super::{ExecError, Ports, namespaces};
use crate::book::{Book, BookError};
use astern_engine::Phase;
use astern_model::id::RunId;
use astern_model::plan::Plan;
use astern_model::record::Holder;
use astern_port::lock::{Holding, RENEWALS, Taking};
use astern_port::{Failure, FailureClass};
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, Mutex, PoisonError};

/// A lock this many of its durations old, of a run that no journal knows, is nobody's: its holder would have written
/// its plan down within one, and looks again before its first effect when that took long.
const LONG_DEAD: i32 = 3;

/// Looks under the lock whether another run of the namespace is open: one that came to rest while this one was being
/// planned has given its lock back, and may be held.
pub(super) async fn nothing_open(ports: &Ports, plan: &Plan, run: &RunId) -> Result<(), ExecError> {
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

pub(super) async fn lock(ports: &Ports, plan: &Plan, run: &RunId, holder: &Holder) -> Result<(), ExecError> {
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

pub(super) async fn unlock(ports: &Ports, namespaces: &[String], run: &RunId, holder: &Holder) {
    if let Err(failure) = ports.lock.release(namespaces, run, holder).await {
        tracing::warn!(%failure, "the run lock could not be given back; it runs out by itself");
    }
}

/// Renews the lock until it is dropped. A lock that is somebody else's stops the run. While the API server is away
/// nothing can be renewed, and nobody else can take it either; whoever takes it later writes a takeover record, and
/// from then on this holder's appends are refused.
pub(super) struct Heartbeat {
    task: tokio::task::JoinHandle<()>,
    lost: Arc<tokio::sync::Notify>,
    renewed_at: Arc<Mutex<Timestamp>>,
    good_for: SignedDuration,
}

impl Heartbeat {
    pub(super) fn start(
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
    pub(super) fn lapsed(&self, now: Timestamp) -> bool {
        let renewed_at = *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        now.duration_since(renewed_at) > self.good_for
    }

    pub(super) async fn lost(&self) {
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
