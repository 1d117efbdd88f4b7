//! Jobs: pods until enough of them succeeded or too many failed. Owns counting each pod exactly once, by a finalizer, and
//! when a Job is over. Indexed Jobs and policies of failure and success are refused before they get here.

use super::{Controller, Task, garbage, pods};
use crate::cluster::Cluster;
use crate::events::{self, Level};
use crate::object::{condition, flag, get, int, list, set, terminating, text};
use crate::store::Key;
use crate::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const COMPONENT: &str = "job-controller";
/// A pod that has it is not counted yet.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The first wait after a failure; each further one is twice as long. Source: the controller's `DefaultJobPodFailureBackOff`.
const BACKOFF: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait. Source: `MaxJobPodFailureBackOff`.
const LONGEST: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(job) = cluster.store.get(key).cloned() else {
        release_strays(cluster, key);
        return;
    };
    if is_over(&job) {
        for pod in pods::of(cluster, &job) {
            release(cluster, &pod);
        }
        forget_later(cluster, key, &job);
        return;
    }
    let mut tally = count(cluster, &job);
    let ending = ending(cluster, &job, &tally);
    let suspended = flag(&job, "spec.suspend");
    if !terminating(&job) {
        match &ending {
            Some(Ending { failed: true, .. }) => tally.failed += tally.stop(cluster, &job, usize::MAX),
            Some(_) => {}
            None if suspended => _ = tally.stop(cluster, &job, usize::MAX),
            None => fill_up(cluster, key, &job, &mut tally),
        }
    }
    write_status(cluster, key, &job, &tally, ending.as_ref());
}

/// How a Job stands.
struct Tally {
    active: Vec<Arc<Value>>,
    going: i64,
    succeeded: i64,
    failed: i64,
    /// When the last pod failed since the last that succeeded, and how many did.
    failures: Option<(Timestamp, u32)>,
}

impl Tally {
    fn ready(&self) -> i64 {
        number(self.active.iter().filter(|pod| pods::is_ready(pod)).count())
    }

    /// Deletes so many pods at most, those that are not ready first; how many it were.
    fn stop(&mut self, cluster: &mut Cluster, job: &Value, most: usize) -> i64 {
        self.active.sort_by_key(|pod| pods::is_ready(pod));
        let surplus: Vec<Arc<Value>> = self.active.drain(..most.min(self.active.len())).collect();
        for pod in &surplus {
            // Let go first: what the controller itself deletes did not fail.
            release(cluster, pod);
            cluster.delete(&pods::key(pod), text(pod, "metadata.uid"));
            let message = format!("Deleted pod: {}", text(pod, "metadata.name"));
            tell(cluster, job, Level::Normal, "SuccessfulDelete", &message);
        }
        number(surplus.len())
    }
}

/// Counts what ended since the last look, and lets it go.
fn count(cluster: &mut Cluster, job: &Value) -> Tally {
    let mut tally = Tally {
        active: Vec::new(),
        going: 0,
        succeeded: int(job, "status.succeeded").unwrap_or(0),
        failed: int(job, "status.failed").unwrap_or(0),
        failures: None,
    };
    let found = pods::of(cluster, job);
    tally.failures = failures(&found, cluster.now);
    for pod in found {
        let has_succeeded = text(&pod, "status.phase") == "Succeeded";
        let has_failed = text(&pod, "status.phase") == "Failed" || (terminating(&pod) && !has_succeeded);
        if terminating(&pod) && !pods::is_finished(&pod) {
            tally.going += 1;
        }
        if !has_succeeded && !has_failed {
            tally.active.push(pod);
        } else if is_tracked(&pod) {
            tally.succeeded += i64::from(has_succeeded);
            tally.failed += i64::from(has_failed);
            release(cluster, &pod);
        }
    }
    tally
}

fn failures(found: &[Arc<Value>], now: Timestamp) -> Option<(Timestamp, u32)> {
    let ended = |pod: &Value| {
        let containers = list(pod, "status.containerStatuses").iter();
        containers
            .filter_map(|status| time::parsed(text(status, "state.terminated.finishedAt")))
            .chain(time::parsed(text(pod, "metadata.deletionTimestamp")))
            .max()
            .unwrap_or(now)
    };
    let of_phase = |phase: &str| {
        let pods = found.iter().filter(|pod| text(pod, "status.phase") == phase);
        pods.map(|pod| ended(pod)).collect::<Vec<_>>()
    };
    let last_success = of_phase("Succeeded").into_iter().max();
    let since = of_phase("Failed")
        .into_iter()
        .filter(|at| last_success.is_none_or(|success| *at > success))
        .collect::<Vec<_>>();
    let last = since.iter().max()?;
    Some((*last, u32::try_from(since.len()).unwrap_or(u32::MAX)))
}

/// Makes as many pods as there are to be, once the wait after a failure is over, or deletes what is too many.
fn fill_up(cluster: &mut Cluster, key: &Key, job: &Value, tally: &mut Tally) {
    let most = int(job, "spec.parallelism").unwrap_or(1);
    let wanted = match int(job, "spec.completions") {
        Some(completions) => most.min((completions - tally.succeeded).max(0)),
        // Without a number, the first success ends it.
        None if tally.succeeded > 0 => number(tally.active.len()).min(most),
        None => most,
    };
    let missing = wanted - number(tally.active.len());
    if missing < 0 {
        let surplus = usize::try_from(-missing).unwrap_or(0);
        tally.stop(cluster, job, surplus);
        return;
    }
    if missing == 0 {
        return;
    }
    if let Some((last, many)) = tally.failures {
        let doubled = 1_i32.checked_shl(many.saturating_sub(1)).unwrap_or(i32::MAX);
        let again = last + BACKOFF.saturating_mul(doubled).min(LONGEST);
        if again > cluster.now {
            cluster.later(again, Task::new(Controller::Job, key.clone()));
            return;
        }
    }
    for _ in 0..missing {
        match create(cluster, job) {
            Some(pod) => tally.active.push(pod),
            None => {
                let again = cluster.now + BACKOFF;
                cluster.later(again, Task::new(Controller::Job, key.clone()));
                return;
            }
        }
    }
}

fn create(cluster: &mut Cluster, job: &Value) -> Option<Arc<Value>> {
    let template = get(job, "spec.template").cloned().unwrap_or_default();
    let mut pod = pods::from_template(job, &template, &[]);
    pod["metadata"]["generateName"] = format!("{}-", text(job, "metadata.name")).into();
    pod["metadata"]["finalizers"] = json!([TRACKING]);
    match cluster.create("pods", text(job, "metadata.namespace"), pod) {
        Ok(made) => {
            let message = format!("Created pod: {}", text(&made, "metadata.name"));
            tell(cluster, job, Level::Normal, "SuccessfulCreate", &message);
            Some(made)
        }
        Err(refusal) => {
            let message = format!("Error creating: {}", refusal.message);
            tell(cluster, job, Level::Warning, "FailedCreate", &message);
            None
        }
    }
}

/// Why a Job is over.
struct Ending {
    failed: bool,
    reason: &'static str,
    message: &'static str,
}

fn ending(cluster: &mut Cluster, job: &Value, tally: &Tally) -> Option<Ending> {
    let limit = int(job, "spec.backoffLimit").unwrap_or(6);
    if tally.failed > limit || restarted_too_often(job, tally, limit) {
        return Some(Ending {
            failed: true,
            reason: "BackoffLimitExceeded",
            message: "Job has reached the specified backoff limit",
        });
    }
    let started = time::parsed(text(job, "status.startTime"));
    if let (Some(seconds), Some(started)) = (int(job, "spec.activeDeadlineSeconds"), started)
        && !flag(job, "spec.suspend")
    {
        let deadline = started + SignedDuration::from_secs(seconds);
        if deadline <= cluster.now {
            return Some(Ending {
                failed: true,
                reason: "DeadlineExceeded",
                message: "Job was active longer than specified deadline",
            });
        }
        let key = Key::new(
            "jobs.batch",
            text(job, "metadata.namespace"),
            text(job, "metadata.name"),
        );
        cluster.later(deadline, Task::new(Controller::Job, key));
    }
    let complete = match int(job, "spec.completions") {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    complete.then_some(Ending {
        failed: false,
        reason: "CompletionsReached",
        message: "Reached expected number of succeeded pods",
    })
}

/// Containers that are restarted in their pod count as well.
fn restarted_too_often(job: &Value, tally: &Tally, limit: i64) -> bool {
    if text(job, "spec.template.spec.restartPolicy") != "OnFailure" {
        return false;
    }
    let restarts: i64 = tally
        .active
        .iter()
        .flat_map(|pod| list(pod, "status.containerStatuses"))
        .filter_map(|status| int(status, "restartCount"))
        .sum();
    restarts > 0 && restarts >= limit
}

fn write_status(cluster: &mut Cluster, key: &Key, job: &Value, tally: &Tally, ending: Option<&Ending>) {
    let suspended = flag(job, "spec.suspend");
    let now = time::seconds(cluster.now);
    let mut conditions = list(job, "status.conditions").to_vec();
    let mut status = json!({
        "ready": tally.ready(),
        "terminating": if ending.is_some() { 0 } else { tally.going },
        "uncountedTerminatedPods": {},
    });
    for (field, count) in [
        ("active", number(tally.active.len())),
        ("succeeded", tally.succeeded),
        ("failed", tally.failed),
    ] {
        if count > 0 {
            status[field] = count.into();
        }
    }
    if let Some(ending) = ending {
        let (first, last) = if ending.failed {
            ("FailureTarget", "Failed")
        } else {
            ("SuccessCriteriaMet", "Complete")
        };
        for kind in [first, last] {
            say(&mut conditions, kind, "True", ending.reason, ending.message, &now);
        }
        if !ending.failed {
            status["completionTime"] = now.as_str().into();
        }
        let (level, reason, message) = if ending.failed {
            (Level::Warning, ending.reason, ending.message)
        } else {
            (Level::Normal, "Completed", "Job completed")
        };
        tell(cluster, job, level, reason, message);
    } else if suspended {
        say(
            &mut conditions,
            "Suspended",
            "True",
            "JobSuspended",
            "Job suspended",
            &now,
        );
        if !holds(job, "Suspended") {
            tell(cluster, job, Level::Normal, "Suspended", "Job suspended");
        }
    } else if holds(job, "Suspended") {
        say(
            &mut conditions,
            "Suspended",
            "False",
            "JobResumed",
            "Job resumed",
            &now,
        );
        tell(cluster, job, Level::Normal, "Resumed", "Job resumed");
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    // A suspended Job begins anew.
    let begun = get(job, "status.startTime").filter(|_| !holds(job, "Suspended"));
    if !suspended || ending.is_some() {
        status["startTime"] = begun.cloned().unwrap_or_else(|| now.as_str().into());
    }
    cluster.set_status(key, status);
}

fn say(conditions: &mut Vec<Value>, kind: &str, holds: &str, reason: &str, message: &str, now: &str) {
    let said = json!({
        "type": kind,
        "status": holds,
        "reason": reason,
        "message": message,
        "lastProbeTime": now,
        "lastTransitionTime": now,
    });
    match conditions
        .iter_mut()
        .find(|condition| text(condition, "type") == kind)
    {
        Some(known) if text(known, "status") == holds => {}
        Some(known) => *known = said,
        None => conditions.push(said),
    }
}

fn holds(job: &Value, kind: &str) -> bool {
    condition(job, kind).is_some_and(|found| text(found, "status") == "True")
}

fn is_over(job: &Value) -> bool {
    holds(job, "Complete") || holds(job, "Failed")
}

/// A Job that says how long it is to be kept goes then, with its pods.
fn forget_later(cluster: &mut Cluster, key: &Key, job: &Value) {
    let Some(seconds) = int(job, "spec.ttlSecondsAfterFinished").filter(|_| !terminating(job)) else {
        return;
    };
    let over = ["Complete", "Failed"].into_iter().find_map(|kind| {
        let condition = condition(job, kind)?;
        time::parsed(text(condition, "lastTransitionTime"))
    });
    let Some(over) = over else { return };
    let due = over + SignedDuration::from_secs(seconds);
    if due <= cluster.now {
        cluster.delete(key, text(job, "metadata.uid"));
    } else {
        cluster.later(due, Task::new(Controller::Job, key.clone()));
    }
}

fn is_tracked(pod: &Value) -> bool {
    list(pod, "metadata.finalizers")
        .iter()
        .any(|each| each == TRACKING)
}

/// Lets a pod go that is counted.
fn release(cluster: &mut Cluster, pod: &Value) {
    let key = pods::key(pod);
    let Some(pod) = cluster.store.get(&key).filter(|pod| is_tracked(pod)).cloned() else {
        return;
    };
    if terminating(&pod) {
        garbage::without(cluster, &key, TRACKING);
        return;
    }
    cluster.modify(&key, |pod| {
        let mut left = list(pod, "metadata.finalizers").to_vec();
        left.retain(|each| each != TRACKING);
        if left.is_empty() {
            crate::object::remove(pod, "metadata.finalizers");
        } else {
            set(pod, "metadata.finalizers", left);
        }
    });
}

/// The pods of a Job that is gone wait for nobody.
fn release_strays(cluster: &mut Cluster, key: &Key) {
    let strays: Vec<Arc<Value>> = cluster
        .store
        .iter("pods", &key.namespace)
        .map(|(_, pod)| pod.clone())
        .filter(|pod| {
            let owner = crate::object::controller(pod);
            let of_job =
                owner.is_none_or(|owner| text(owner, "kind") == "Job" && text(owner, "name") == &*key.name);
            of_job && is_tracked(pod)
        })
        .collect();
    for pod in strays {
        release(cluster, &pod);
    }
}

fn tell(cluster: &mut Cluster, job: &Value, level: Level, reason: &str, message: &str) {
    events::record(cluster, COMPONENT, job, level, reason, message);
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
