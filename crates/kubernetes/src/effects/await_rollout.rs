//! Waiting for a rollout: watches the workload and its pods, and asks [`super::rollout`] and [`super::standing`]
//! after each change. Owns the watching; decides neither completeness nor hopelessness, and writes nothing.

mod followed;
mod watched;

use super::Seen;
use super::access::Access;
use super::evidence;
use super::rollout::{Lack, Rollout, not_renewed};
use super::standing::{Standing, Suspect};
use super::watch::{one, watching};
use astern_model::choice::human;
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{TemplateHash, Uid};
use astern_model::step::workload::After;
use astern_model::target::Target;
use astern_port::provider::Settled;
pub(crate) use followed::read;
use followed::{changed, is_there, newest, pods, refusals, seen_as_views, selector, sleep};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use watched::{Next, Reading, Watched, needed};

/// A revision that could not be read for a passing reason is asked for again after this.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// A deadline has passed: a person waits for the failure, and it does not wait long for its explanation.
const EXPLAINED_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// How long a pod of an `OnDelete` workload may take to come back and serve before the next is left alone: what a
/// Deployment that says nothing allows itself.
const RENEWED_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);

/// What stands is seen within two requests; a server that needs longer than this is away.
const LOOKED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The step, as its spec says it.
pub(crate) struct Wait<'a> {
    pub(crate) target: &'a Target,
    pub(crate) uid: &'a Uid,
    pub(crate) template: &'a TemplateHash,
    pub(crate) operation: &'a str,
}

/// Returns when the template's pods serve and the old ones are gone; ends early when they cannot. The caller's
/// deadline ends it otherwise, by dropping it: nothing needs to be cleaned up.
///
/// # Errors
/// `Conflict` when the workload asks for something else now, `Permanent` with evidence when the rollout cannot
/// succeed, `Refused` when it may not be watched. A server that does not answer is waited for.
pub(crate) async fn apply(
    access: &Access,
    seen: &Seen,
    wait: &Wait<'_>,
    since: Timestamp,
) -> Result<After, Failure> {
    let target = wait.target;
    let mut workload = one(
        access.follow(target),
        watching(target.kind.plural(), wait.operation),
    );
    let mut now = is_there(workload.next().await?, wait)?;
    if planted(Defect::ServesAtOnce) {
        return Ok(After::Serving {
            ready: 0,
            desired: 0,
            digests: Default::default(),
            took: elapsed_since(since, access.now()),
        });
    }
    let followed = access.follow_pods(&target.namespace, selector(wait, &now)?);
    let mut pods = seen_as_views(access, wait, followed);
    let mut refused = refusals(access, wait, &now, since);
    let mut watch = Watched::new(access, seen, wait);
    let mut standing = Standing::default();
    let started = Instant::now();
    loop {
        let elapsed = SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::MAX);
        let words = refused.as_ref().and_then(newest);
        let again = match watch
            .judge(&now, pods.known(), words, &mut standing, elapsed)
            .await?
        {
            Next::Done {
                ready,
                desired,
                digests,
            } => {
                return Ok(After::Serving {
                    ready,
                    desired,
                    digests,
                    took: elapsed_since(since, access.now()),
                });
            }
            Next::Watch { again } => again,
        };
        tokio::select! {
            biased;
            next = workload.next() => now = is_there(next?, wait)?,
            change = pods.changed() => change?,
            () = changed(&mut refused) => {}
            () = sleep(again) => {}
        }
    }
}

fn elapsed_since(since: Timestamp, now: Timestamp) -> SignedDuration {
    now.duration_since(since).max(SignedDuration::ZERO)
}

/// One look, as consistent as a list: whether the template's pods serve. Unknown where nothing can be seen in time.
pub(crate) async fn settle(
    access: &Access,
    seen: &Seen,
    wait: &Wait<'_>,
    since: Timestamp,
) -> Settled<After> {
    let looked = tokio::time::timeout(LOOKED_WITHIN, looked(access, seen, wait)).await;
    match looked {
        Ok(Ok(Some((ready, desired, digests)))) => Settled::Applied(After::Serving {
            ready,
            desired,
            digests,
            took: elapsed_since(since, access.now()),
        }),
        // The workload asks for something else, or it cannot succeed: it does not serve.
        Ok(Ok(None)) => Settled::NotApplied,
        Ok(Err(failure)) => match failure.class {
            FailureClass::Transient { .. } | FailureClass::Unknown => Settled::Unknown(failure),
            FailureClass::Conflict | FailureClass::Refused | FailureClass::Permanent => Settled::NotApplied,
        },
        Err(_) => Settled::Unknown(Failure::new(
            FailureClass::Unknown,
            wait.operation,
            format!(
                "the API server did not answer within {} s",
                LOOKED_WITHIN.as_secs()
            ),
        )),
    }
}

type Served = (u32, u32, std::collections::BTreeMap<String, String>);

async fn looked(access: &Access, seen: &Seen, wait: &Wait<'_>) -> Result<Option<Served>, Failure> {
    let mut workload = one(
        access.watch(wait.target),
        watching(wait.target.kind.plural(), wait.operation),
    );
    let now = is_there(workload.next().await?, wait)?;
    let mut pods = pods(access, wait, &now)?;
    while pods.known().is_none() {
        pods.changed().await?;
    }
    let mut watch = Watched::new(access, seen, wait);
    loop {
        let members = watch.members(&now, pods.known());
        match watch.stands(&now, &members) {
            Rollout::Serving {
                ready,
                desired,
                digests,
            } => return Ok(Some((ready, desired, digests))),
            Rollout::Moved { .. } | Rollout::Halted(_) => return Ok(None),
            Rollout::Unclear { revisions } => match watch.read(&now, revisions).await? {
                Reading::Later => tokio::time::sleep(READ_AGAIN.unsigned_abs()).await,
                Reading::Done | Reading::Nothing => {}
            },
            Rollout::Waiting { .. } => {
                let unresolved = needed(&now, &members);
                if unresolved.is_empty() {
                    return Ok(None);
                }
                if matches!(watch.read(&now, unresolved).await?, Reading::Later) {
                    tokio::time::sleep(READ_AGAIN.unsigned_abs()).await;
                }
            }
        }
    }
}

/// Returns once the pods of an `OnDelete` workload that were deleted before are there again and serve.
///
/// # Errors
/// `Permanent` when they cannot, or do not within [`RENEWED_WITHIN`]: then whoever asks deletes nothing.
pub(crate) async fn renewed(access: &Access, seen: &Seen, wait: &Wait<'_>) -> Result<(), Failure> {
    let mut lack = None;
    let until_renewed = until_renewed(access, seen, wait, &mut lack);
    match tokio::time::timeout(RENEWED_WITHIN, until_renewed).await {
        Ok(done) => done,
        Err(_) => {
            let why: String =
                lack.map_or_else(|| "its pods cannot be seen".to_owned(), |lack: Lack| lack.why);
            let after = SignedDuration::try_from(RENEWED_WITHIN).unwrap_or(SignedDuration::MAX);
            Err(not_renewed_in(wait, &format!("{why} after {}", human(after))))
        }
    }
}

async fn until_renewed(
    access: &Access,
    seen: &Seen,
    wait: &Wait<'_>,
    lack: &mut Option<Lack>,
) -> Result<(), Failure> {
    let mut workload = one(
        access.watch(wait.target),
        watching(wait.target.kind.plural(), wait.operation),
    );
    let mut now = is_there(workload.next().await?, wait)?;
    let mut pods = pods(access, wait, &now)?;
    let mut watch = Watched::new(access, seen, wait);
    loop {
        let mut again = None;
        if pods.known().is_some() {
            let members = watch.members(&now, pods.known());
            let unresolved = needed(&now, &members);
            if unresolved.is_empty() {
                *lack = not_renewed(&now, &members);
                match lack {
                    None => return Ok(()),
                    Some(Lack { why, for_good: true }) => return Err(not_renewed_in(wait, why)),
                    Some(_) => {}
                }
            } else {
                match watch.read(&now, unresolved).await? {
                    Reading::Later => again = Some(READ_AGAIN),
                    Reading::Done | Reading::Nothing => continue,
                }
            }
        }
        tokio::select! {
            biased;
            next = workload.next() => now = is_there(next?, wait)?,
            change = pods.changed() => change?,
            () = sleep(again) => {}
        }
    }
}

fn not_renewed_in(wait: &Wait<'_>, why: &str) -> Failure {
    let message = format!("{why}; this pod was not deleted, so that no more of the service is missing");
    Failure::new(FailureClass::Permanent, wait.operation, message).hint(format!(
        "kubectl get pods -n {} shows them; once they serve, `astern resume RUN` goes on with the next",
        wait.target.namespace
    ))
}

/// Which pod of the template does not serve, and why: its trouble, its last warning, its last lines. Nothing where it
/// cannot be told in time.
pub(crate) async fn explain(access: &Access, seen: &Seen, wait: &Wait<'_>) -> Vec<String> {
    let Ok(Ok(Some((waiting, suspect)))) =
        tokio::time::timeout(EXPLAINED_WITHIN, waiting(access, seen, wait)).await
    else {
        return Vec::new();
    };
    let told = evidence::of(access, &wait.target.namespace, &suspect, &waiting).await;
    std::iter::once(told.message).chain(told.lines).collect()
}

async fn waiting(
    access: &Access,
    seen: &Seen,
    wait: &Wait<'_>,
) -> Result<Option<(String, Suspect)>, Failure> {
    let mut workload = one(
        access.watch(wait.target),
        watching(wait.target.kind.plural(), wait.operation),
    );
    let now = is_there(workload.next().await?, wait)?;
    let mut pods = pods(access, wait, &now)?;
    while pods.known().is_none() {
        pods.changed().await?;
    }
    let mut watch = Watched::new(access, seen, wait);
    let unresolved = needed(&now, &watch.members(&now, pods.known()));
    if !unresolved.is_empty() {
        watch.read(&now, unresolved).await?;
    }
    Ok(super::standing::waiting(&watch.members(&now, pods.known())))
}
