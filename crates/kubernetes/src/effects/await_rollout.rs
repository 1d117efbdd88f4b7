//! Waiting for a rollout: watches the workload and its pods, and asks [`super::rollout`] and [`super::standing`]
//! after each change. Owns the watching; decides neither completeness nor hopelessness, and writes nothing.

use super::Seen;
use super::access::{Access, gone};
use super::delivery::Halt;
use super::evidence;
use super::object::Object;
use super::pod::PodView;
use super::revision::template_in;
use super::rollout::{Belongs, Lack, Member, Rollout, not_renewed, rollout};
use super::stamp::{Annotated, EFFECT};
use super::standing::{Finding, Outlook, Sight, Standing, Suspect, told};
use super::watch::{Events, Followed, Many, events, many, one, watching};
use astern_model::choice::human;
use astern_model::defect::{Defect, planted};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::{TemplateHash, Uid};
use astern_model::step::workload::After;
use astern_model::target::{Target, WorkloadKind};
use astern_model::workload::RevisionKind;
use astern_port::provider::Settled;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, DynamicObject};
use kube::core::Selector;
use kube::runtime::watcher;
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::time::Instant;

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

/// What one look leads to.
enum Next {
    Done {
        ready: u32,
        desired: u32,
        digests: std::collections::BTreeMap<String, String>,
    },
    Watch {
        again: Option<SignedDuration>,
    },
}

/// What is known beside the watched objects themselves.
struct Watched<'a> {
    access: &'a Access,
    seen: &'a Seen,
    wait: &'a Wait<'a>,
    /// Revisions of another workload whose pods the selector finds as well.
    foreign: BTreeSet<String>,
    /// Revisions that were deleted while pods of them were still there.
    gone: BTreeSet<String>,
}

type Pods = std::collections::BTreeMap<String, PodView>;

impl<'a> Watched<'a> {
    fn new(access: &'a Access, seen: &'a Seen, wait: &'a Wait<'a>) -> Self {
        Self {
            access,
            seen,
            wait,
            foreign: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    async fn judge(
        &mut self,
        now: &Object,
        pods: Option<&Pods>,
        not_created: Option<&str>,
        standing: &mut Standing,
        elapsed: SignedDuration,
    ) -> Result<Next, Failure> {
        loop {
            let members = self.members(now, pods);
            let known = match self.stands(now, &members) {
                Rollout::Moved { message } => return Err(moved(self.wait, &message)),
                Rollout::Halted(halt) => return Err(halted(self.wait, &halt)),
                _ if pods.is_none() => return Ok(Next::Watch { again: None }),
                Rollout::Serving {
                    ready,
                    desired,
                    digests,
                } => {
                    return Ok(Next::Done {
                        ready,
                        desired,
                        digests,
                    });
                }
                Rollout::Unclear { revisions } => self.read(now, revisions).await?,
                Rollout::Waiting { why } => {
                    tracing::debug!(target = %self.wait.target, "waiting: {why}");
                    let unresolved = needed(now, &members);
                    if unresolved.is_empty() {
                        Reading::Nothing
                    } else {
                        self.read(now, unresolved).await?
                    }
                }
            };
            match known {
                Reading::Done => continue,
                Reading::Later => {
                    return Ok(Next::Watch {
                        again: Some(READ_AGAIN),
                    });
                }
                Reading::Nothing => {}
            }
            let sight = Sight {
                workload: now,
                members: &members,
                not_created,
            };
            match standing.look(&sight, elapsed) {
                Outlook::Open { again } => return Ok(Next::Watch { again }),
                Outlook::Hopeless { finding, stood } => {
                    if let Some(failure) = self.hopeless(&finding, stood, standing).await {
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// How the rollout stands. What the status of a Rollout concludes is believed once the ReplicaSet that it names is
    /// the template's: its controller may call a spec seen whose template it has not taken in.
    fn stands(&self, now: &Object, members: &[Member]) -> Rollout {
        let found = rollout(now, self.wait.uid, self.wait.template, members);
        match (&found, now.current_replica_set()) {
            (Rollout::Serving { .. } | Rollout::Halted(_), Some(current)) => {
                match self.seen.get(self.wait.uid, &current) {
                    Some(hash) if &hash == self.wait.template => found,
                    _ if self.gone.contains(&current) || self.foreign.contains(&current) => {
                        Rollout::Waiting {
                            why: format!("replicaset/{current}, which its status names, is not there"),
                        }
                    }
                    Some(_) | None => Rollout::Unclear {
                        revisions: BTreeSet::from([current]),
                    },
                }
            }
            _ => found,
        }
    }

    fn members(&self, now: &Object, pods: Option<&Pods>) -> Vec<Member> {
        let current = now.current_replica_set();
        let member = |pod: &PodView| {
            let revision = pod
                .revision
                .as_ref()
                .filter(|revision| !self.foreign.contains(*revision))?;
            let belongs = match self.seen.get(self.wait.uid, revision) {
                Some(hash) if &hash == self.wait.template => Belongs::Target,
                // Whether it is the template's is known once its controller has marked it.
                Some(_) if current.as_ref() == Some(revision) => Belongs::Unresolved,
                Some(_) => Belongs::Other,
                None if self.gone.contains(revision) => Belongs::Other,
                None => Belongs::Unresolved,
            };
            Some(Member {
                pod: pod.clone(),
                belongs,
            })
        };
        pods.into_iter()
            .flat_map(|pods| pods.values())
            .filter_map(member)
            .collect()
    }

    /// Reads revisions that pods name, side by side.
    async fn read(&mut self, now: &Object, names: BTreeSet<String>) -> Result<Reading, Failure> {
        let Wait {
            target,
            uid,
            operation,
            ..
        } = *self.wait;
        let kind = RevisionKind::of(target.kind);
        let access = self.access;
        let reads = names
            .iter()
            .map(|name| access.revision(target, kind, name, operation));
        let found = futures::future::join_all(reads).await;
        let mut later = false;
        for (name, found) in names.iter().zip(found) {
            match found {
                Ok(Some(object)) if is_owned(&object, uid) => {
                    let kept = template_in(kind, &object).hash();
                    if now.current_replica_set().as_ref() != Some(name) {
                        self.seen.insert(uid, name, kept);
                    } else if kept == now.template_hash() || has_mark_of(now, &object) {
                        self.seen.insert(uid, name, now.template_hash());
                    } else {
                        later = true;
                    }
                }
                Ok(Some(_)) => {
                    self.foreign.insert(name.clone());
                }
                Ok(None) => {
                    self.gone.insert(name.clone());
                }
                Err(Failure {
                    class: FailureClass::Transient { .. },
                    ..
                }) => later = true,
                Err(failure) => return Err(failure),
            }
        }
        Ok(if later { Reading::Later } else { Reading::Done })
    }

    /// The failure of a rollout that cannot succeed; none when an event says that what it lacks is on its way.
    async fn hopeless(
        &self,
        finding: &Finding,
        stood: SignedDuration,
        standing: &mut Standing,
    ) -> Option<Failure> {
        let evidence = match &finding.pod {
            Some(suspect) => {
                evidence::of(
                    self.access,
                    &self.wait.target.namespace,
                    suspect,
                    &finding.message,
                )
                .await
            }
            None => evidence::Told {
                message: finding.message.clone(),
                ..evidence::Told::default()
            },
        };
        if let Some(suspect) = finding
            .pod
            .as_ref()
            .filter(|suspect| suspect.unscheduled && evidence.node_comes)
        {
            standing.excuse(&suspect.uid);
            return None;
        }
        let mut masked = finding.clone();
        masked.message = evidence.message;
        let message = format!("{}; the template stays written", told(&masked, stood));
        let failure = Failure::new(FailureClass::Permanent, self.wait.operation, message);
        Some(
            failure
                .hint(way_out(self.wait.target, finding.pod.as_ref()))
                .evidence(evidence.lines),
        )
    }
}

/// How reading revisions went.
enum Reading {
    /// There was nothing to read.
    Nothing,
    /// All is known now.
    Done,
    /// The server did not answer for some; ask again.
    Later,
}

/// The revisions that must be read now to tell which pods are the template's. For a Deployment only when its status
/// counts pods of the template and none is known as such: mostly the write before has told which ReplicaSet it is.
fn needed(now: &Object, members: &[Member]) -> BTreeSet<String> {
    let has_target = members
        .iter()
        .any(|member| member.belongs == Belongs::Target && member.stands());
    let updated = now.number("/status/updatedReplicas").unwrap_or(0);
    let must = match now.kind() {
        WorkloadKind::Deployment | WorkloadKind::Rollout => now.observed() && updated > 0 && !has_target,
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => true,
    };
    let unresolved = members
        .iter()
        .filter(|member| must && member.belongs == Belongs::Unresolved);
    unresolved
        .filter_map(|member| member.pod.revision.clone())
        .collect()
}

/// Whether a ReplicaSet is made from a Rollout's template of now although it keeps that with the API server's defaults, which the
/// Rollout itself has not: its controller copies the Rollout's annotations to the ReplicaSet of the template alone.
fn has_mark_of(now: &Object, replica_set: &Value) -> bool {
    let marked = replica_set.pointer("/metadata/annotations");
    let marked = marked.and_then(|annotations| annotations.get(EFFECT)?.as_str());
    marked.is_some() && marked == now.annotation(EFFECT)
}

fn is_owned(revision: &Value, uid: &Uid) -> bool {
    let owners = revision
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner.get("uid").and_then(Value::as_str) == Some(uid.as_str()))
}

fn is_there(followed: Followed<DynamicObject>, wait: &Wait<'_>) -> Result<Object, Failure> {
    let Followed::Is(object) = followed else {
        return Err(gone(wait.target, wait.operation));
    };
    read(object, wait.target, wait.operation)
}

/// A watched workload as effects read it.
pub(crate) fn read(object: DynamicObject, target: &Target, operation: &str) -> Result<Object, Failure> {
    let json = serde_json::to_value(object).map_err(|error| {
        Failure::new(
            FailureClass::Permanent,
            operation,
            format!("the object was not understood: {error}"),
        )
    })?;
    Ok(Object::new(target.kind, json))
}

/// What finds the workload's pods.
fn selector(wait: &Wait<'_>, now: &Object) -> Result<Selector, Failure> {
    let unreadable = |why: String| {
        Failure::new(
            FailureClass::Permanent,
            wait.operation,
            format!("its selector was not understood: {why}"),
        )
    };
    let selector = now
        .json()
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or(Value::Null);
    let selector: LabelSelector =
        serde_json::from_value(selector).map_err(|error| unreadable(error.to_string()))?;
    Selector::try_from(selector).map_err(|error| unreadable(error.to_string()))
}

/// A watch of the workload's pods alone. What it says first is a consistent list.
fn pods(access: &Access, wait: &Wait<'_>, now: &Object) -> Result<Many<Pod, PodView>, Failure> {
    let selector = selector(wait, now)?;
    Ok(seen_as_views(
        access,
        wait,
        access.watch_pods(&wait.target.namespace, &selector),
    ))
}

fn seen_as_views(access: &Access, wait: &Wait<'_>, pods: Events<Pod>) -> Many<Pod, PodView> {
    let (target, uid, clock) = (wait.target.clone(), wait.uid.clone(), access.clock());
    many(pods, watching("pods", wait.operation), move |pod| {
        PodView::of(&target, &uid, pod, clock.now())
    })
}

/// The words with which the API server last refused to make a pod, and whether that was since the wait began.
type Refusals = Many<Event, Option<(Option<Timestamp>, String)>>;

/// Watches the `FailedCreate` events of a StatefulSet or DaemonSet, whose status does not tell of them.
fn refusals(access: &Access, wait: &Wait<'_>, now: &Object, since: Timestamp) -> Option<Refusals> {
    if RevisionKind::of(now.kind()) == RevisionKind::ReplicaSet {
        return None;
    }
    let fields = format!("involvedObject.uid={},reason=FailedCreate", wait.uid);
    Some(many(
        events(
            Api::namespaced(access.watching(), &wait.target.namespace),
            watcher::Config::default().fields(&fields),
        ),
        watching("events", wait.operation),
        move |event: &Event| {
            let at = event.last_timestamp.as_ref().map(|time| time.0);
            let recent = at.is_some_and(|at| at >= since);
            recent.then(|| (at, event.message.clone().unwrap_or_default()))
        },
    ))
}

fn newest(refusals: &Refusals) -> Option<&str> {
    let known = refusals.known()?.values().flatten();
    known
        .max_by_key(|(at, _)| *at)
        .map(|(_, message)| message.as_str())
}

/// Returns at the next refusal. Events are evidence beside the matter: without the right to watch them the wait
/// goes on without them.
async fn changed(refusals: &mut Option<Refusals>) {
    if let Some(watched) = refusals {
        match watched.changed().await {
            Ok(()) => return,
            Err(failure) => {
                tracing::debug!("{failure}");
                *refusals = None;
            }
        }
    }
    std::future::pending().await
}

async fn sleep(span: Option<SignedDuration>) {
    match span {
        Some(span) => tokio::time::sleep(span.unsigned_abs()).await,
        None => std::future::pending().await,
    }
}

fn moved(wait: &Wait<'_>, message: &str) -> Failure {
    let message = format!("{message}; what was written before stays as it is");
    Failure::new(FailureClass::Conflict, wait.operation, message).hint(format!(
        "look at it: kubectl describe {} -n {}",
        wait.target, wait.target.namespace
    ))
}

/// It goes on once a person has said so, or not at all.
fn halted(wait: &Wait<'_>, halt: &Halt) -> Failure {
    let Target { name, namespace, .. } = wait.target;
    let (message, hint) = match halt {
        Halt::ForAPerson { why } => (
            format!("{why}, and goes on once somebody promotes it"),
            format!(
                "look at it, then type `kubectl argo rollouts promote {name} -n {namespace}` and `astern resume RUN`, which waits on"
            ),
        ),
        Halt::Aborted { why } => (
            format!(
                "Argo Rollouts has aborted the update, so the version that it calls stable serves: {why}"
            ),
            format!(
                "see why: kubectl argo rollouts get rollout {name} -n {namespace}; `kubectl argo rollouts retry rollout {name} -n {namespace}` tries again, and `astern resume RUN` waits for that"
            ),
        ),
        Halt::Invalid { why } => (
            format!("Argo Rollouts refuses its spec: {why}"),
            format!("look at it: kubectl describe {} -n {namespace}", wait.target),
        ),
    };
    let message = format!("{message}; the template stays written");
    Failure::new(FailureClass::Permanent, wait.operation, message).hint(hint)
}

fn way_out(target: &Target, suspect: Option<&Suspect>) -> String {
    let namespace = &target.namespace;
    match suspect {
        Some(Suspect {
            name,
            in_the_way: true,
            ..
        }) => format!(
            "an OrderedReady StatefulSet does not replace a broken pod by itself: kubectl delete pod {name} -n {namespace}"
        ),
        Some(Suspect {
            name,
            crashed: Some(container),
            ..
        }) => {
            format!("read the whole log: kubectl logs {name} -c {container} --previous -n {namespace}")
        }
        Some(Suspect { name, .. }) => format!("look at the pod: kubectl describe pod {name} -n {namespace}"),
        None => format!("look at it: kubectl describe {target} -n {namespace}"),
    }
}
