//! The lock: one Lease in every namespace that a plan touches. Owns who holds a namespace and when that has lapsed;
//! knows nothing of journals and epochs, which say who may act.

use crate::failure::{Attempt, Verb};
use astern_model::failure::{Failure, FailureClass};
use astern_model::id::RunId;
use astern_model::record::Holder;
use astern_port::clock::Clock;
use astern_port::lock::{Holding, Lock, Taking};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The Lease's name in every namespace.
pub const LEASE: &str = "astern";
/// How often a holder says that it lives.
pub const RENEW_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// How long that is good for: three renewals, so that two may be lost to a slow API server, and a person who takes
/// over a dead run waits no longer than it takes to read why. The same ratio as kubelet's node Leases (10 s, 40 s)
/// rounded down, for a run has a person waiting.
pub const GOOD_FOR: SignedDuration = SignedDuration::from_secs(15);
/// A Lease that by the clocks ran out this many durations ago is watched for one renewal and a little only, instead of
/// its whole duration: then both clocks and our own watching say that its holder is dead.
const LONG_DEAD: i32 = 3;
/// A renewal on its way through a slow API server.
const RENEWAL_SLACK: SignedDuration = SignedDuration::from_secs(2);
/// The pause after a write whose answer was lost, before the Lease is asked what came of it: long enough for a dropped
/// connection or a new leader of etcd.
const AFTER_A_LOST_ANSWER: Duration = Duration::from_millis(500);
/// How often a taking that somebody else's write came in between is tried again: each loser has then seen a winner. And
/// how often the lock is given back that an API server does not take.
const TRIES: u32 = 5;

const RUN: &str = "astern.dev/run";
const JOURNAL: &str = "astern.dev/journal";
const HOLDER: &str = "astern.dev/holder";

/// The lock over a cluster's namespaces.
///
/// # Guarantees
/// - Every write of a Lease carries the resourceVersion of the one that was seen, so of two takers one loses.
/// - A Lease is taken over only when it was seen unchanged by our own monotonic clock, or is nobody's.
pub struct LeaseLock {
    client: kube::Client,
    clock: Arc<dyn Clock>,
    held: Mutex<BTreeMap<String, Lease>>,
}

impl LeaseLock {
    /// The lock behind this client. `clock` only dates what is written; spans are measured by tokio's.
    pub fn new(client: kube::Client, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            clock,
            held: Mutex::new(BTreeMap::new()),
        }
    }
}

/// Who wants a namespace.
#[derive(Clone, Copy)]
struct Claim<'a> {
    run: &'a RunId,
    holder: &'a Holder,
    journal: &'a str,
}

/// What a Lease says to somebody who wants it.
#[derive(Clone, Debug, PartialEq)]
enum Standing {
    /// Nobody holds it.
    Free,
    /// We do.
    Ours,
    /// Another holder of the same run does, or did: it may be taken over after it was seen unchanged for so long.
    SameRun { after: SignedDuration },
    /// Another run does, alive or not: that run is resumed, or ended, by its own id.
    OtherRun(Holding),
}

/// Whether a namespace may be taken.
enum Found {
    /// By writing over this Lease as it was seen; none has to be made.
    Claimable(Option<Box<Lease>>),
    /// Somebody else has it.
    Held(Holding),
}

#[async_trait]
impl Lock for LeaseLock {
    async fn take(
        &self,
        namespaces: &[String],
        run: &RunId,
        holder: &Holder,
        journal: &str,
    ) -> Result<Taking, Failure> {
        let claim = Claim { run, holder, journal };
        let namespaces: BTreeSet<&String> = namespaces.iter().collect();
        // Side by side, because each may have to be watched for a whole duration; then written in sorted order.
        let looks = namespaces.iter().map(|namespace| self.look(namespace, claim));
        let mut claims = Vec::new();
        for (namespace, found) in namespaces.iter().zip(futures::future::try_join_all(looks).await?) {
            match found {
                Found::Held(holding) => return Ok(Taking::Held(holding)),
                Found::Claimable(lease) => claims.push((namespace.as_str(), lease)),
            }
        }
        let mut taken = Vec::new();
        for (namespace, lease) in claims {
            let outcome = self.take_one(namespace, claim, lease).await;
            taken.push(namespace.to_owned());
            if let Ok(Taking::Taken) = outcome {
                continue;
            }
            // All or none, this one too: its taking may only not have been answered. What cannot be given back now
            // lapses by itself.
            if let Err(failure) = self.release(&taken, run, holder).await {
                tracing::warn!("{failure}");
            }
            return outcome;
        }
        Ok(Taking::Taken)
    }

    async fn renew(&self, namespaces: &[String], run: &RunId, holder: &Holder) -> Result<(), Failure> {
        let renewals = namespaces
            .iter()
            .map(|namespace| self.renew_one(namespace, run, holder));
        futures::future::try_join_all(renewals).await.map(|_| ())
    }

    async fn release(&self, namespaces: &[String], run: &RunId, holder: &Holder) -> Result<(), Failure> {
        let releases = namespaces
            .iter()
            .map(|namespace| self.release_one(namespace, run, holder));
        // Each is tried, also when another could not be given back; and no longer than until all of them lapse.
        let within = Duration::try_from(GOOD_FOR).unwrap_or_default();
        match tokio::time::timeout(within, futures::future::join_all(releases)).await {
            Ok(released) => released.into_iter().collect(),
            Err(_) => Err(Failure::new(
                FailureClass::Unknown,
                "give back the lock",
                "the API server did not answer before it lapsed by itself",
            )),
        }
    }

    async fn holding(&self, namespace: &str) -> Result<Option<Holding>, Failure> {
        let operation = format!("read who holds namespace {namespace}");
        Ok(self.read(namespace, &operation).await?.as_ref().and_then(holding))
    }

    async fn living(&self, namespace: &str) -> Result<Option<Holding>, Failure> {
        let operation = format!("look whether whoever holds namespace {namespace} lives");
        let Some(lease) = self.read(namespace, &operation).await? else {
            return Ok(None);
        };
        if holding(&lease).is_none() {
            return Ok(None);
        }
        let span = RENEW_EVERY + RENEWAL_SLACK;
        let changed = self.unchanged(namespace, &lease, span, &operation).await?;
        Ok(changed.flatten().as_ref().and_then(holding))
    }

    fn renew_every(&self) -> SignedDuration {
        RENEW_EVERY
    }
}

impl LeaseLock {
    /// Takes one namespace whose Lease was found claimable. Whoever wrote it since is looked at anew.
    async fn take_one(
        &self,
        namespace: &str,
        claim: Claim<'_>,
        mut lease: Option<Box<Lease>>,
    ) -> Result<Taking, Failure> {
        let operation = taking(namespace);
        let mut unanswered = None;
        for _ in 0..TRIES {
            let wanted = claimed(lease.map(|lease| *lease), namespace, claim, self.clock.now());
            match self.write(namespace, &wanted, &operation).await {
                Ok(written) => {
                    self.remember(namespace, Some(written));
                    return Ok(Taking::Taken);
                }
                Err(Failure {
                    class: FailureClass::Conflict,
                    ..
                }) => {}
                // It may have come through, and then the Lease bears our name: were it left so, nobody but this process
                // could take the namespace before it lapses.
                Err(failure) if failure.class == FailureClass::Unknown => {
                    unanswered = Some(failure);
                    tokio::time::sleep(AFTER_A_LOST_ANSWER).await;
                }
                Err(failure) => return Err(failure),
            }
            match self.look(namespace, claim).await? {
                Found::Held(holding) => return Ok(Taking::Held(holding)),
                Found::Claimable(found) => lease = found,
            }
        }
        Err(unanswered.unwrap_or_else(|| contended(operation)))
    }

    /// Whether the namespace may be taken; that of a silent holder of the same run only after it was watched.
    async fn look(&self, namespace: &str, claim: Claim<'_>) -> Result<Found, Failure> {
        let operation = taking(namespace);
        for _ in 0..TRIES {
            let Some(lease) = self.read(namespace, &operation).await? else {
                return Ok(Found::Claimable(None));
            };
            let after = match standing(&lease, claim, self.clock.now()) {
                Standing::Free | Standing::Ours => return Ok(Found::Claimable(Some(Box::new(lease)))),
                Standing::OtherRun(holding) => return Ok(Found::Held(holding)),
                Standing::SameRun { after } => after,
            };
            match self.unchanged(namespace, &lease, after, &operation).await? {
                None => return Ok(Found::Claimable(Some(Box::new(lease)))),
                Some(now) => {
                    if let Some(holding) = now.as_ref().and_then(holding) {
                        return Ok(Found::Held(holding));
                    }
                }
            }
        }
        Err(contended(operation))
    }

    /// Watches a Lease for `span` by our own clock. None when nothing changed; otherwise what it is now. A watch that
    /// drops costs nothing: the resourceVersion tells afterwards whether anything was missed.
    async fn unchanged(
        &self,
        namespace: &str,
        lease: &Lease,
        span: SignedDuration,
        operation: &str,
    ) -> Result<Option<Option<Lease>>, Failure> {
        let until = Instant::now() + span.unsigned_abs();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        while Instant::now() < until {
            let left = until - Instant::now();
            if tokio::time::timeout(left, self.change(namespace, &version, left))
                .await
                .is_err()
            {
                break;
            }
            let now = self.read(namespace, operation).await?;
            if now
                .as_ref()
                .and_then(|lease| lease.metadata.resource_version.as_ref())
                != Some(&version)
            {
                return Ok(Some(now));
            }
            // The watch ended without a change; the next one is not begun in a tight loop.
            tokio::time::sleep(Duration::from_millis(500).min(until - Instant::now().min(until))).await;
        }
        Ok(None)
    }

    /// Returns at the Lease's next change, or when the watch ends for any reason.
    async fn change(&self, namespace: &str, version: &str, within: Duration) {
        let seconds = u32::try_from(within.as_secs()).unwrap_or(u32::MAX).max(1);
        let parameters = WatchParams::default()
            .fields(&format!("metadata.name={LEASE}"))
            .timeout(seconds);
        let Ok(events) = self.leases(namespace).watch(&parameters, version).await else {
            return;
        };
        let mut events = events.into_stream().boxed();
        while let Some(Ok(event)) = events.next().await {
            if !matches!(event, WatchEvent::Bookmark(_)) {
                return;
            }
        }
    }

    async fn renew_one(&self, namespace: &str, run: &RunId, holder: &Holder) -> Result<(), Failure> {
        let operation = format!("renew the lock of namespace {namespace}");
        let lost = |now: Option<&Lease>| {
            self.remember(namespace, None);
            let by = now
                .and_then(holding)
                .map_or_else(|| "nobody holds it now".to_owned(), |holding| told(&holding));
            Failure::new(
                FailureClass::Conflict,
                operation.clone(),
                format!("it is not ours any more: {by}"),
            )
            .hint("this process writes nothing more; attach to the run to follow it: astern attach")
        };
        let mut last = self.remembered(namespace);
        for _ in 0..TRIES {
            let found = match last.take() {
                Some(lease) => Some(lease),
                None => self.read(namespace, &operation).await?,
            };
            let Some(mut lease) = found.filter(|lease| is_ours(lease, run, holder)) else {
                return Err(lost(self.read(namespace, &operation).await?.as_ref()));
            };
            lease.spec.get_or_insert_default().renew_time = Some(MicroTime(self.clock.now()));
            match self.write(namespace, &lease, &operation).await {
                Ok(written) => {
                    self.remember(namespace, Some(written));
                    return Ok(());
                }
                // What we remember is old, or the Lease was deleted: the next read tells.
                Err(Failure {
                    class: FailureClass::Conflict | FailureClass::Permanent,
                    ..
                }) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(lost(self.read(namespace, &operation).await?.as_ref()))
    }

    async fn release_one(&self, namespace: &str, run: &RunId, holder: &Holder) -> Result<(), Failure> {
        let operation = format!("give back the lock of namespace {namespace}");
        self.remember(namespace, None);
        let mut failed = None;
        for _ in 0..TRIES {
            let given_back = async {
                let found = self.read(namespace, &operation).await?;
                match found.filter(|lease| is_ours(lease, run, holder)) {
                    Some(lease) => self.write(namespace, &emptied(lease), &operation).await.map(drop),
                    None => Ok(()),
                }
            };
            match given_back.await {
                Ok(()) => return Ok(()),
                Err(Failure {
                    class: FailureClass::Conflict | FailureClass::Permanent,
                    ..
                }) => {}
                // Whoever comes next would have to wait until it lapses.
                Err(failure)
                    if matches!(
                        failure.class,
                        FailureClass::Transient { .. } | FailureClass::Unknown
                    ) =>
                {
                    failed = Some(failure);
                    tokio::time::sleep(AFTER_A_LOST_ANSWER).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn read(&self, namespace: &str, operation: &str) -> Result<Option<Lease>, Failure> {
        let attempt = Attempt::new(Verb::Get, "leases", operation);
        self.leases(namespace)
            .get_opt(LEASE)
            .await
            .map_err(|error| attempt.failed(&error))
    }

    /// Makes the Lease, or replaces the one that was read. `Conflict` when somebody was faster.
    async fn write(&self, namespace: &str, lease: &Lease, operation: &str) -> Result<Lease, Failure> {
        let parameters = PostParams {
            field_manager: Some(crate::effects::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let leases = self.leases(namespace);
        let (verb, outcome) = match lease.metadata.resource_version {
            Some(_) => (Verb::Update, leases.replace(LEASE, &parameters, lease).await),
            None => (Verb::Create, leases.create(&parameters, lease).await),
        };
        outcome.map_err(|error| Attempt::new(verb, "leases", operation).failed(&error))
    }

    fn leases(&self, namespace: &str) -> Api<Lease> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn remembered(&self, namespace: &str) -> Option<Lease> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(namespace)
            .cloned()
    }

    fn remember(&self, namespace: &str, lease: Option<Lease>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match lease {
            Some(lease) => held.insert(namespace.to_owned(), lease),
            None => held.remove(namespace),
        };
    }
}

/// What a Lease says to a claim. `now` only shortens how long a dead one of the same run is watched.
fn standing(lease: &Lease, claim: Claim<'_>, now: Timestamp) -> Standing {
    if is_ours(lease, claim.run, claim.holder) {
        return Standing::Ours;
    }
    let Some(holding) = holding(lease) else {
        return Standing::Free;
    };
    if &holding.run != claim.run {
        return Standing::OtherRun(holding);
    }
    let silent = now.duration_since(holding.renewed_at);
    let long_dead = holding
        .duration
        .checked_mul(LONG_DEAD)
        .is_some_and(|limit| silent > limit);
    let after = if long_dead {
        (RENEW_EVERY + RENEWAL_SLACK).min(holding.duration)
    } else {
        holding.duration
    };
    Standing::SameRun { after }
}

fn is_ours(lease: &Lease, run: &RunId, holder: &Holder) -> bool {
    identity(lease) == Some(holder.id.as_str()) && annotation(lease, RUN) == Some(run.as_str())
}

/// Who holds a Lease, if anybody. One that another program made under this name is held by an unnamed run.
fn holding(lease: &Lease) -> Option<Holding> {
    let id = identity(lease)?;
    let spec = lease.spec.as_ref()?;
    let holder = annotation(lease, HOLDER).and_then(|text| serde_json::from_str::<Holder>(text).ok());
    let unknown = || Holder {
        id: id.to_owned(),
        user: "unknown".into(),
        host: "unknown".into(),
        pid: 0,
    };
    Some(Holding {
        holder: holder.filter(|holder| holder.id == id).unwrap_or_else(unknown),
        run: RunId(annotation(lease, RUN).unwrap_or_default().to_owned()),
        journal: annotation(lease, JOURNAL).unwrap_or_default().to_owned(),
        renewed_at: spec
            .renew_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        duration: spec.lease_duration_seconds.map_or(GOOD_FOR, |seconds| {
            SignedDuration::from_secs(i64::from(seconds.max(1)))
        }),
    })
}

/// The Lease as the claimant's. What others put on it stays.
fn claimed(found: Option<Lease>, namespace: &str, claim: Claim<'_>, now: Timestamp) -> Lease {
    let mut lease = found.unwrap_or_default();
    lease.metadata.name = Some(LEASE.to_owned());
    lease.metadata.namespace = Some(namespace.to_owned());
    let new = identity(&lease) != Some(claim.holder.id.as_str());
    let annotations = lease.metadata.annotations.get_or_insert_default();
    let holder = serde_json::to_string(claim.holder).unwrap_or_default();
    for (name, value) in [
        (RUN, claim.run.to_string()),
        (JOURNAL, claim.journal.to_owned()),
        (HOLDER, holder),
    ] {
        annotations.insert(name.to_owned(), value);
    }
    let spec = lease.spec.get_or_insert_default();
    if new {
        spec.acquire_time = Some(MicroTime(now));
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.holder_identity = Some(claim.holder.id.clone());
    spec.lease_duration_seconds = i32::try_from(GOOD_FOR.as_secs()).ok();
    spec.renew_time = Some(MicroTime(now));
    lease
}

/// The Lease as nobody's. It stays, so that its transitions go on counting.
fn emptied(mut lease: Lease) -> Lease {
    if let Some(annotations) = &mut lease.metadata.annotations {
        annotations.retain(|name, _| ![RUN, JOURNAL, HOLDER].contains(&name.as_str()));
    }
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
    lease.spec = Some(LeaseSpec {
        lease_transitions: transitions,
        ..LeaseSpec::default()
    });
    lease
}

fn identity(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|id| !id.is_empty())
}

fn annotation<'a>(lease: &'a Lease, name: &str) -> Option<&'a str> {
    lease.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn taking(namespace: &str) -> String {
    format!("take the lock of namespace {namespace}")
}

fn contended(operation: String) -> Failure {
    let message = format!("others wrote its Lease {TRIES} times in between; it was not taken");
    Failure::new(
        FailureClass::Transient { retry_after_ms: None },
        operation,
        message,
    )
}

/// Who holds it, for people.
pub(crate) fn told(holding: &Holding) -> String {
    let Holder { user, host, pid, .. } = &holding.holder;
    let journal = match holding.journal.as_str() {
        "" => String::new(),
        place => format!(", whose journal is {place}"),
    };
    format!(
        "{user} holds it on host {host} (process {pid}) for run {}{journal}",
        holding.run
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(id: &str) -> Holder {
        Holder {
            id: id.to_owned(),
            user: "anna".to_owned(),
            host: "laptop".to_owned(),
            pid: 7,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held_by(run: &str, id: &str) -> Lease {
        let (run, holder) = (RunId::from(run), holder(id));
        claimed(
            None,
            "ns",
            Claim {
                run: &run,
                holder: &holder,
                journal: "Secrets",
            },
            at(1000),
        )
    }

    fn told_to(lease: &Lease, run: &str, id: &str, now: i64) -> Standing {
        let (run, holder) = (RunId::from(run), holder(id));
        standing(
            lease,
            Claim {
                run: &run,
                holder: &holder,
                journal: "Secrets",
            },
            at(now),
        )
    }

    #[test]
    fn a_namespace_is_free_ours_or_somebody_elses() {
        let lease = held_by("r1", "h1");
        assert_eq!(told_to(&Lease::default(), "r1", "h1", 1000), Standing::Free);
        assert_eq!(told_to(&emptied(lease.clone()), "r2", "h2", 1000), Standing::Free);
        assert_eq!(told_to(&lease, "r1", "h1", 5000), Standing::Ours);
        let of_another = holding(&lease).unwrap();
        assert_eq!(
            (&of_another.holder, of_another.run.as_str()),
            (&holder("h1"), "r1")
        );
        assert_eq!(
            told_to(&lease, "r2", "h2", 1001),
            Standing::OtherRun(of_another.clone())
        );
        // However dead: its own run is resumed, not pushed aside.
        assert_eq!(
            told_to(&lease, "r2", "h2", 900_000),
            Standing::OtherRun(of_another)
        );
    }

    #[test]
    fn a_dead_holder_of_the_same_run_is_watched_before_it_is_replaced() {
        let lease = held_by("r1", "h1");
        let check = |now: i64, after: SignedDuration| {
            assert_eq!(
                told_to(&lease, "r1", "h2", now),
                Standing::SameRun { after },
                "{now}"
            );
        };
        check(1001, GOOD_FOR);
        // Another machine's clock alone proves nothing, so an hour back is as fresh as a second ago.
        check(0, GOOD_FOR);
        check(1045, GOOD_FOR);
        check(1046, RENEW_EVERY + RENEWAL_SLACK);
    }

    #[test]
    fn a_lease_counts_its_holders_and_keeps_what_others_put_on_it() {
        let mut lease = emptied(held_by("r1", "h1"));
        assert_eq!(holding(&lease), None);
        lease.metadata.labels = Some(BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        let (run, second) = (RunId::from("r2"), holder("h2"));
        let taken = claimed(
            Some(lease),
            "ns",
            Claim {
                run: &run,
                holder: &second,
                journal: "",
            },
            at(2000),
        );
        let spec = taken.spec.clone().unwrap();
        assert_eq!(
            (spec.lease_transitions, spec.lease_duration_seconds),
            (Some(2), Some(15))
        );
        assert_eq!(holding(&taken).unwrap().renewed_at, at(2000));
        assert!(taken.metadata.labels.is_some());
    }

    #[test]
    fn a_lease_of_another_program_is_held_by_nobody_we_know() {
        let spec = LeaseSpec {
            holder_identity: Some("x".to_owned()),
            ..LeaseSpec::default()
        };
        let lease = Lease {
            spec: Some(spec),
            ..Lease::default()
        };
        assert!(
            matches!(told_to(&lease, "r1", "h1", 5), Standing::OtherRun(holding) if holding.holder.user == "unknown")
        );
    }
}
