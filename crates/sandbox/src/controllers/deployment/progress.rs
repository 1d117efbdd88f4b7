//! What a Deployment's status says: counts, and the conditions Available, Progressing and ReplicaFailure with the reasons
//! and words that a real controller has.

use super::{Sets, again, bounds, replicas};
use crate::cluster::Cluster;
use crate::object::{condition, flag, get, int, list, map_mut, text};
use crate::store::Key;
use crate::time;
use jiff::SignedDuration;
use serde_json::{Value, json};

const AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// One condition, before it has its times.
struct Said<'a> {
    kind: &'static str,
    status: &'static str,
    reason: &'a str,
    message: String,
}

/// Writes down that the Deployment was paused or resumed.
pub(super) fn note_pause(cluster: &mut Cluster, key: &Key) {
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return;
    };
    let reason = condition(&deployment, "Progressing")
        .map(|said| text(said, "reason"))
        .unwrap_or_default();
    if deadline(&deployment).is_none() || reason == TIMED_OUT {
        return;
    }
    let paused = flag(&deployment, "spec.paused");
    let (reason, message) = match (paused, reason == PAUSED) {
        (true, false) => (PAUSED, "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return,
    };
    say(cluster, key, progressing("Unknown", reason, message.to_owned()));
}

/// A ReplicaSet of the template was there: said only where nothing was said yet.
pub(super) fn found(cluster: &mut Cluster, key: &Key, name: &str) {
    let silent = cluster.store.get(key).is_some_and(|deployment| {
        deadline(deployment).is_some() && condition(deployment, "Progressing").is_none()
    });
    if silent {
        let message = format!("Found new replica set {name:?}");
        say(cluster, key, progressing("True", "FoundNewReplicaSet", message));
    }
}

pub(super) fn created(cluster: &mut Cluster, key: &Key, name: &str) {
    let message = format!("Created new replica set {name:?}");
    say(cluster, key, progressing("True", "NewReplicaSetCreated", message));
}

pub(super) fn failed(cluster: &mut Cluster, key: &Key, message: &str) {
    say(
        cluster,
        key,
        progressing("False", "ReplicaSetCreateError", message.to_owned()),
    );
}

fn progressing<'a>(status: &'static str, reason: &'a str, message: String) -> Said<'a> {
    Said {
        kind: "Progressing",
        status,
        reason,
        message,
    }
}

fn say(cluster: &mut Cluster, key: &Key, said: Said<'_>) {
    let now = time::seconds(cluster.now);
    cluster.modify(key, |deployment| {
        let mut conditions = list(deployment, "status.conditions").to_vec();
        put(&mut conditions, &said, &now, false);
        map_mut(deployment, "status").insert("conditions".to_owned(), conditions.into());
    });
}

/// Replaces the condition of a type. One that says the same keeps its times, unless `anew`.
fn put(conditions: &mut Vec<Value>, said: &Said<'_>, now: &str, anew: bool) {
    let place = conditions.iter().position(|each| text(each, "type") == said.kind);
    let former = place.map(|place| conditions[place].clone());
    let same = former
        .as_ref()
        .is_some_and(|former| text(former, "status") == said.status && text(former, "reason") == said.reason);
    if same && !anew {
        return;
    }
    let since = former
        .filter(|former| text(former, "status") == said.status)
        .map_or_else(
            || now.to_owned(),
            |former| text(&former, "lastTransitionTime").to_owned(),
        );
    let written = json!({
        "type": said.kind,
        "status": said.status,
        "reason": said.reason,
        "message": said.message,
        "lastUpdateTime": now,
        "lastTransitionTime": since,
    });
    if let Some(place) = place {
        conditions.remove(place);
    }
    conditions.push(written);
}

fn deadline(deployment: &Value) -> Option<i64> {
    // The largest number means that there is none.
    int(deployment, "spec.progressDeadlineSeconds").filter(|seconds| *seconds != i64::from(i32::MAX))
}

/// Writes counts and conditions; whether the rollout is complete. Progress is judged only while one goes on.
pub(super) fn write_status(cluster: &mut Cluster, key: &Key, sets: &Sets, judged: bool) -> bool {
    let Some(deployment) = cluster.store.get(key).cloned() else {
        return false;
    };
    let counts = Counts::of(&deployment, sets);
    let now = time::seconds(cluster.now);
    let mut conditions = list(&deployment, "status.conditions").to_vec();
    let least = counts.wanted - bounds(&deployment).1;
    put(
        &mut conditions,
        &availability(counts.available >= least),
        &now,
        false,
    );
    let complete = counts.complete();
    if judged {
        judge(cluster, key, &deployment, sets, &counts, &mut conditions);
    }
    let failure = sets
        .all()
        .find_map(|set| condition(set, "ReplicaFailure").cloned());
    match failure {
        Some(failure) => {
            let said = Said {
                kind: "ReplicaFailure",
                status: "True",
                reason: text(&failure, "reason"),
                message: text(&failure, "message").to_owned(),
            };
            put(&mut conditions, &said, &now, false);
        }
        None => conditions.retain(|each| text(each, "type") != "ReplicaFailure"),
    }
    let mut status = json!({"observedGeneration": int(&deployment, "metadata.generation")});
    for (field, count) in [
        ("replicas", counts.replicas),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.ready),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", counts.unavailable),
    ] {
        if count != 0 {
            status[field] = count.into();
        }
    }
    status["conditions"] = conditions.into();
    cluster.set_status(key, status);
    complete
}

fn availability(enough: bool) -> Said<'static> {
    let (status, reason, message) = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    Said {
        kind: "Available",
        status,
        reason,
        message: message.to_owned(),
    }
}

struct Counts {
    wanted: i64,
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
}

impl Counts {
    fn of(deployment: &Value, sets: &Sets) -> Self {
        let available = sets.sum("status.availableReplicas");
        Self {
            wanted: replicas(deployment),
            replicas: sets.sum("status.replicas"),
            updated: sets
                .new
                .as_ref()
                .and_then(|new| int(new, "status.replicas"))
                .unwrap_or(0),
            ready: sets.sum("status.readyReplicas"),
            available,
            unavailable: (sets.sum("spec.replicas") - available).max(0),
        }
    }

    fn complete(&self) -> bool {
        self.updated == self.wanted && self.replicas == self.wanted && self.available == self.wanted
    }

    /// Whether more of the new or less of the old is there than the status said so far.
    fn moved(&self, deployment: &Value) -> bool {
        let was = |field: &str| {
            get(deployment, "status")
                .and_then(|status| int(status, field))
                .unwrap_or(0)
        };
        self.updated > was("updatedReplicas")
            || self.replicas - self.updated < was("replicas") - was("updatedReplicas")
            || self.ready > was("readyReplicas")
            || self.available > was("availableReplicas")
    }
}

fn judge(
    cluster: &mut Cluster,
    key: &Key,
    deployment: &Value,
    sets: &Sets,
    counts: &Counts,
    conditions: &mut Vec<Value>,
) {
    let Some(deadline) = deadline(deployment) else {
        conditions.retain(|each| text(each, "type") != "Progressing");
        return;
    };
    let former = condition(deployment, "Progressing");
    let reason = former.map(|former| text(former, "reason")).unwrap_or_default();
    if counts.replicas == counts.updated && reason == AVAILABLE {
        return;
    }
    let now = time::seconds(cluster.now);
    let name = match &sets.new {
        Some(new) => format!("ReplicaSet {:?}", text(new, "metadata.name")),
        None => format!("Deployment {:?}", key.name),
    };
    if counts.complete() {
        let message = format!("{name} has successfully progressed.");
        put(conditions, &progressing("True", AVAILABLE, message), &now, false);
        return;
    }
    if counts.moved(deployment) {
        let message = format!("{name} is progressing.");
        put(
            conditions,
            &progressing("True", "ReplicaSetUpdated", message),
            &now,
            true,
        );
    }
    let said = conditions.iter().find(|each| text(each, "type") == "Progressing");
    let reason = said.map(|said| text(said, "reason")).unwrap_or_default();
    if reason == AVAILABLE || reason == TIMED_OUT {
        return;
    }
    let Some(since) = said.and_then(|said| time::parsed(text(said, "lastUpdateTime"))) else {
        return;
    };
    let ends = since + SignedDuration::from_secs(deadline);
    if ends < cluster.now {
        let message = format!("{name} has timed out progressing.");
        put(conditions, &progressing("False", TIMED_OUT, message), &now, false);
    } else {
        again(cluster, key, ends + SignedDuration::from_secs(1));
    }
}
